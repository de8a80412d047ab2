/* APPEND, taken: REPLICATION.md sections 3 and 7. A follower takes only what joins its own log by
 * lsn and hash, and acknowledges only what is durable here *and* known to be the primary's: an
 * older tail of its own may stand behind that. "Truncate only on the word of a fenced, voted
 * primary; only by lineage (to the last lsn whose hash is equal), never to the commit index, never
 * below the replica's own known commit." */
#include "replica/replica_priv.h"

typedef enum {
    JOIN_YES,
    JOIN_NO,         /* the entry before the message's first is not here */
    JOIN_PARTS,      /* it is, but another entry stands where the message has one: cut there */
    JOIN_CONTRADICTS /* … where we know what is committed (I5) */
} Join;

/* Is the entry (lsn, hash) in our log? */
static Join join_entry(const Replica *r, Lsn lsn, const Sha256 *hash, Join if_not)
{
    const Sha256 *mine = replica_hash_at(r, lsn);
    if (mine == NULL) return JOIN_NO;
    if (sha256_eq(mine, hash)) return JOIN_YES;
    if (lsn <= r->commit_lsn) return JOIN_CONTRADICTS;
    return lsn <= r->matched_lsn ? JOIN_NO : if_not; /* it showed another there, in this term */
}

/* The message's first entries up to our end, and the one before them. *known: how many are here. */
static Join join_message(const Replica *r, const Message *in, uint32_t *known)
{
    Join join = join_entry(r, in->lsn, &in->lsn_hash, JOIN_NO);
    if (join == JOIN_NO && in->lsn <= r->last_lsn && replica_bug(r, REPLICA_BUG_CUT_BY_LENGTH)) {
        join = JOIN_YES;
    }
    uint32_t i = 0;
    while (join == JOIN_YES && i < in->entry_count && in->entries[i].lsn <= r->last_lsn) {
        join = join_entry(r, in->entries[i].lsn, &in->entries[i].hash, JOIN_PARTS);
        if (join == JOIN_YES) i++;
    }
    *known = i;
    return join;
}

bool replica_follow(Replica *r, const Message *in, Effects *effects)
{
    if (in->term < r->term) {
        message_tell(r, effects, MSG_MISMATCH, in); /* says our term: it steps down */
        return false;
    }
    replica_see_term(r, in->term, effects);
    if (r->state_asked_term != r->term) {
        replica_store_state(r, effects); /* durable before we acknowledge anything in this term */
    }
    if (r->role == ROLE_CANDIDATE && !replica_bug(r, REPLICA_BUG_GRANT_AFTER_POLL)) {
        replica_step_down(r, effects); /* there is a primary: the attempt is given up whole */
    }
    if (replica_is_leading(r)) return false; /* two in one term: not from a sound peer */
    r->heard_ns = r->now_ns;
    return true;
}

void replica_acknowledge(Replica *r, Effects *effects)
{
    if (r->role != ROLE_FOLLOWER && r->role != ROLE_LEARNER && r->role != ROLE_INCOMPLETE) return;
    if (id128_is_zero(r->primary) || r->state_durable_term != r->term) return;
    Message in = {.from = r->primary, .from_incarnation = r->primary_incarnation};
    r->acked_lsn = MIN(r->durable_lsn, r->matched_lsn);
    if (replica_bug(r, REPLICA_BUG_ACK_BEFORE_SYNC)) r->acked_lsn = r->matched_lsn;
    if (replica_bug(r, REPLICA_BUG_ACK_UNMATCHED)) r->acked_lsn = r->durable_lsn;
    message_answer(r, effects, MSG_APPENDED, &in)->lsn = r->acked_lsn;
}

/* Commits what the primary told, as far as it is here. */
void replica_commit_told(Replica *r, Effects *effects)
{
    Lsn here = MIN(r->durable_lsn, r->matched_lsn);
    replica_set_commit(r, MIN(r->told_commit, here), effects);
    replica_try_complete(r, effects);
}

/* A CONFIG is the newest that we know of the row, too, unless we saw a later one. */
static void learn_config(Replica *r, const ShardConfig *config, Effects *effects)
{
    bool newer = config->term > r->config.term ||
                 (config->term == r->config.term && config->version > r->config.version);
    uint32_t self = replica_config_index(config, r->root);
    bool stale = self < MEMBERS_MAX && config->members[self].incarnation < r->incarnation;
    if (newer && !stale)
        replica_set_config(r, config, effects);
    else
        replica_refresh_role(r, effects);
}

static void take_entries(Replica *r, const Message *in, uint32_t known, Effects *effects)
{
    if (known == in->entry_count) return;
    for (uint32_t i = known; i < in->entry_count; i++)
        replica_window_add(r, &in->entries[i]);
    Effect *effect = effect_add(effects, EFFECT_STORE_ENTRIES);
    effect->entries = &in->entries[known];
    effect->entry_count = in->entry_count - known;
    for (uint32_t i = known; i < in->entry_count; i++) {
        if (in->entries[i].is_config) learn_config(r, in->entries[i].config, effects);
    }
}

void replica_on_append_msg(Replica *r, const Message *in, Effects *effects)
{
    if (in->term == 0 || !replica_follow(r, in, effects)) return;
    uint32_t known = 0;
    Join join = join_message(r, in, &known);
    if (join == JOIN_CONTRADICTS) {
        replica_set_role(r, ROLE_QUARANTINED, effects);
        effect_plain(effects, EFFECT_QUARANTINE);
        return;
    }
    if (join == JOIN_NO) {
        message_tell(r, effects, MSG_MISMATCH, in); /* our tail is in it already */
        return;
    }
    Lsn keep = in->lsn + known;
    if (join == JOIN_PARTS) {
        replica_truncate(r, keep, effects);
        replica_refresh_role(r, effects);
    }
    bool joins = known == in->entry_count || keep == r->last_lsn;
    if (!joins || (known < in->entry_count && in->entries[known].term < r->last_term)) {
        message_tell(r, effects, MSG_MISMATCH, in); /* the same */
        return;
    }
    r->primary = in->from;
    r->primary_incarnation = in->from_incarnation;
    take_entries(r, in, known, effects);
    r->matched_lsn = MAX(r->matched_lsn, in->lsn + in->entry_count);
    r->told_commit = MAX(r->told_commit, in->commit_lsn);
    replica_commit_told(r, effects);
    if (known == in->entry_count || replica_bug(r, REPLICA_BUG_ACK_BEFORE_SYNC)) {
        replica_acknowledge(r, effects);
    }
}

void replica_on_stored(Replica *r, const Event *event, Effects *effects)
{
    /* What was written before a cut may be gone since, and other entries stand there. */
    if (event->cuts != r->cuts && !replica_bug(r, REPLICA_BUG_STORED_BEFORE_CUT)) return;
    ASSERT(event->lsn <= r->last_lsn || replica_bug(r, REPLICA_BUG_STORED_BEFORE_CUT));
    r->reset_durable = true;
    if (event->lsn > r->durable_lsn) {
        r->durable_lsn = MIN(event->lsn, r->last_lsn);
        if (replica_is_leading(r)) {
            replica_advance_commit(r, effects);
            return;
        }
        replica_commit_told(r, effects);
        if (MIN(r->durable_lsn, r->matched_lsn) > r->acked_lsn) replica_acknowledge(r, effects);
    }
    replica_try_complete(r, effects);
}
