/* Taking what a primary sends: REPLICATION.md section 3. A follower takes only what joins its own
 * log by lsn and hash, and acknowledges only what is durable here *and* known to be the primary's:
 * an older tail of its own may stand behind that. */
#include "replica/replica_priv.h"

typedef enum {
    JOIN_YES,
    JOIN_NO,         /* other entries stand here, or none */
    JOIN_CONTRADICTS /* ... where we know what is committed (I5) */
} Join;

/* Is the entry (lsn, hash) in our log? */
static Join join_entry(const Replica *r, Lsn lsn, const Sha256 *hash)
{
    const Sha256 *mine = replica_hash_at(r, lsn);
    if (mine == NULL) return JOIN_NO;
    if (sha256_eq(mine, hash)) return JOIN_YES;
    return lsn <= r->commit_lsn ? JOIN_CONTRADICTS : JOIN_NO;
}

/* The message's first entries up to our end, and the one before them. *known: how many. */
static Join join_message(const Replica *r, const Message *in, uint32_t *known)
{
    Join join = join_entry(r, in->lsn, &in->lsn_hash);
    uint32_t i = 0;
    while (join == JOIN_YES && i < in->entry_count && in->entries[i].lsn <= r->last_lsn) {
        join = join_entry(r, in->entries[i].lsn, &in->entries[i].hash);
        i++;
    }
    *known = i;
    return join;
}

/* Is this what a primary may send? Nothing here is asserted: a peer sent it. */
static bool well_formed(const Message *in)
{
    if (in->term == 0 || in->entry_count > REPLICA_SEND_MAX) return false;
    Term term = 1;
    for (uint32_t i = 0; i < in->entry_count; i++) {
        const LogEntry *entry = &in->entries[i];
        const Sha256 *prev = i == 0 ? &in->lsn_hash : &in->entries[i - 1].hash;
        if (entry->lsn != in->lsn + 1 + i || !sha256_eq(&entry->prev_hash, prev)) return false;
        if (entry->term < term || entry->term > in->term) return false;
        term = entry->term;
    }
    return true;
}

void replica_acknowledge(Replica *r, Effects *effects)
{
    if (r->role != ROLE_FOLLOWER && r->role != ROLE_LEARNER) return;
    if (id128_is_zero(r->primary) || r->state_durable_term != r->term) return;
    Message in = {.from = r->primary, .from_incarnation = r->primary_incarnation};
    r->acked_lsn = MIN(r->durable_lsn, r->matched_lsn);
    message_answer(r, effects, MSG_APPENDED, &in)->lsn = r->acked_lsn;
}

/* Commits what the primary told, as far as it is here. */
static void commit_told(Replica *r, Effects *effects)
{
    Lsn here = MIN(r->durable_lsn, r->matched_lsn);
    replica_set_commit(r, MIN(r->told_commit, here), effects);
}

static void take_entries(Replica *r, const Message *in, uint32_t known, Effects *effects)
{
    for (uint32_t i = known; i < in->entry_count; i++)
        replica_window_add(r, &in->entries[i]);
    if (known == in->entry_count) return;
    Effect *effect = effect_add(effects, EFFECT_STORE_ENTRIES);
    effect->entries = &in->entries[known];
    effect->entry_count = in->entry_count - known;
}

void replica_on_append_msg(Replica *r, const Message *in, Effects *effects)
{
    if (!well_formed(in)) {
        r->ignored_messages++;
        return;
    }
    if (in->term < r->term) {
        (void)message_answer(r, effects, MSG_MISMATCH, in); /* says our term: it steps down */
        return;
    }
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        replica_store_state(r, effects); /* durable before we acknowledge anything in this term */
    }
    if (r->role != ROLE_FOLLOWER && r->role != ROLE_LEARNER) return;
    uint32_t known = 0;
    Join join = join_message(r, in, &known);
    if (join == JOIN_CONTRADICTS) {
        replica_set_role(r, ROLE_QUARANTINED, effects);
        (void)effect_add(effects, EFFECT_QUARANTINE); /* it has no fields */
        return;
    }
    bool backwards = known < in->entry_count && in->entries[known].term < r->last_term;
    if (join == JOIN_NO || backwards) {
        (void)message_answer(r, effects, MSG_MISMATCH, in); /* our tail is in it already */
        return;
    }
    r->primary = in->from;
    r->primary_incarnation = in->from_incarnation;
    take_entries(r, in, known, effects);
    r->matched_lsn = MAX(r->matched_lsn, in->lsn + in->entry_count);
    r->told_commit = MAX(r->told_commit, in->commit_lsn);
    commit_told(r, effects);
    if (known == in->entry_count) replica_acknowledge(r, effects);
}

void replica_on_stored(Replica *r, const Event *event, Effects *effects)
{
    ASSERT(event->lsn <= r->last_lsn);
    if (event->lsn <= r->durable_lsn) return;
    r->durable_lsn = event->lsn;
    if (replica_is_leading(r)) {
        replica_advance_commit(r, effects);
        return;
    }
    commit_told(r, effects);
    if (MIN(r->durable_lsn, r->matched_lsn) > r->acked_lsn) replica_acknowledge(r, effects);
}
