/* Writing: REPLICATION.md section 3. */
#include "replica/replica_priv.h"

void replica_send_entries(Replica *r, uint32_t to, Effects *effects)
{
    MemberState *m = &r->members[to];
    if (!m->synced_up || m->sent >= r->last_lsn) return;
    if (m->sent + 1 < r->window_first) return; /* behind the window: catch-up, with the copies */
    Message *out = message_add(r, effects, MSG_APPEND, to);
    out->lsn = m->sent;
    const LogEntry *first = replica_window_at(r, m->sent + 1);
    ASSERT(first != NULL);
    out->lsn_hash = first->prev_hash;
    while (out->entry_count < REPLICA_SEND_MAX && m->sent < r->last_lsn) {
        out->entries[out->entry_count++] = *replica_window_at(r, ++m->sent);
    }
}

void replica_advance_commit(Replica *r, Effects *effects)
{
    if (r->role != ROLE_STARTING && r->role != ROLE_PRIMARY) return;
    if (r->start_lsn == 0) return;
    if ((uint32_t)__builtin_popcount(r->required) < r->config.min_isr) return; /* I2 */
    Lsn lowest = r->last_lsn;
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        if ((r->required >> i & 1) == 0) continue;
        lowest = MIN(lowest, i == r->self ? r->durable_lsn : r->members[i].durable);
    }
    /* Only a prefix that ends in an entry of the own term; all from START on are. */
    if (lowest < r->start_lsn || lowest <= r->commit_lsn) return;
    r->commit_lsn = lowest;
    Effect *effect = effect_add(effects, EFFECT_COMMIT);
    effect->lsn = lowest;
    if (r->role == ROLE_STARTING) replica_set_role(r, ROLE_PRIMARY, effects);
}

void replica_on_append(Replica *r, const Event *event, Effects *effects)
{
    ASSERT(replica_can_append(r)); /* I8: not before the fence quorum */
    ASSERT(event->entry.term == r->term);
    ASSERT(event->entry.is_start == (r->role == ROLE_STARTING));
    replica_window_add(r, &event->entry);
    if (event->entry.is_start) r->start_lsn = event->entry.lsn;
    Effect *effect = effect_add(effects, EFFECT_STORE_ENTRIES);
    effect->entries = &event->entry;
    effect->entry_count = 1;
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        if (i != r->self) replica_send_entries(r, i, effects);
    }
}

void replica_on_stored(Replica *r, const Event *event, Effects *effects)
{
    ASSERT(event->lsn <= r->last_lsn);
    if (event->lsn <= r->durable_lsn) return;
    r->durable_lsn = event->lsn;
    if (r->role == ROLE_FOLLOWER && !id128_is_zero(r->primary)) {
        Message in = {.from = r->primary, .from_incarnation = r->primary_incarnation};
        Message *out = message_answer(r, effects, MSG_APPENDED, &in);
        out->lsn = r->durable_lsn;
        return;
    }
    replica_advance_commit(r, effects);
}

/* How many of the message's first entries are here already; false if one contradicts what
 * is here. */
static bool skip_known(const Replica *r, const Message *in, uint32_t *known)
{
    uint32_t i = 0;
    while (i < in->entry_count && in->entries[i].lsn <= r->last_lsn) {
        const LogEntry *mine = replica_window_at(r, in->entries[i].lsn);
        if (mine == NULL || !sha256_eq(&mine->hash, &in->entries[i].hash)) return false;
        i++;
    }
    *known = i;
    return true;
}

/* Is the entry before the message's first one here, with the same hash? */
static bool prev_matches(const Replica *r, const Message *in)
{
    if (in->lsn > r->last_lsn) return false;
    if (in->lsn == r->last_lsn) return sha256_eq(&in->lsn_hash, &r->last_hash);
    const LogEntry *next = replica_window_at(r, in->lsn + 1);
    return next != NULL && sha256_eq(&next->prev_hash, &in->lsn_hash);
}

static bool entries_chain(const Message *in)
{
    for (uint32_t i = 0; i < in->entry_count; i++) {
        const Sha256 *prev = i == 0 ? &in->lsn_hash : &in->entries[i - 1].hash;
        if (in->entries[i].lsn != in->lsn + 1 + i) return false;
        if (!sha256_eq(&in->entries[i].prev_hash, prev)) return false;
        if (in->entries[i].term > in->term) return false;
    }
    return true;
}

/* A follower takes only what joins its own log: by lsn, term and hash. */
void replica_on_append_msg(Replica *r, const Message *in, Effects *effects)
{
    if (in->term < r->term) {
        (void)message_answer(r, effects, MSG_MISMATCH, in); /* says our term: it steps down */
        return;
    }
    if (in->term > r->term) replica_see_term(r, in->term, effects);
    if (r->role != ROLE_FOLLOWER && r->role != ROLE_LEARNER) return;
    if (in->entry_count > REPLICA_SEND_MAX || !entries_chain(in)) return;
    r->primary = in->from;
    r->primary_incarnation = in->from_incarnation;
    uint32_t known = 0;
    if (!prev_matches(r, in) || !skip_known(r, in, &known)) {
        (void)message_answer(r, effects, MSG_MISMATCH, in); /* our tail is in it */
        return;
    }
    for (uint32_t i = known; i < in->entry_count; i++) {
        replica_window_add(r, &in->entries[i]);
    }
    if (known < in->entry_count) {
        Effect *effect = effect_add(effects, EFFECT_STORE_ENTRIES);
        effect->entries = &in->entries[known];
        effect->entry_count = in->entry_count - known;
    } else if (r->durable_lsn >= in->lsn + in->entry_count) {
        message_answer(r, effects, MSG_APPENDED, in)->lsn = r->durable_lsn;
    }
    /* Commit only what this message proved to be on the primary's lineage. */
    Lsn commit = MIN(in->commit_lsn, in->lsn + in->entry_count);
    if (commit > r->commit_lsn) {
        r->commit_lsn = commit;
        effect_add(effects, EFFECT_COMMIT)->lsn = commit;
    }
}

void replica_on_appended(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_member_of(r, in->from);
    if (from == MEMBERS_MAX || r->config.members[from].incarnation != in->from_incarnation) return;
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        return;
    }
    if (in->term != r->term || in->lsn > r->last_lsn) return;
    if (r->role != ROLE_STARTING && r->role != ROLE_PRIMARY) return;
    MemberState *m = &r->members[from];
    if (in->lsn > m->durable) m->durable = in->lsn;
    replica_send_entries(r, from, effects);
    replica_advance_commit(r, effects);
}

/* The member's tail is not where we thought: go back, one message at a time, within the window. Its
 * own divergent tail is cut by lineage, which comes with the copies issue. */
void replica_on_mismatch(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_member_of(r, in->from);
    if (from == MEMBERS_MAX || r->config.members[from].incarnation != in->from_incarnation) return;
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        return;
    }
    if (in->term != r->term || (r->role != ROLE_STARTING && r->role != ROLE_PRIMARY)) return;
    MemberState *m = &r->members[from];
    const LogEntry *next = replica_window_at(r, in->lsn + 1);
    bool same = in->lsn == r->last_lsn ? sha256_eq(&in->lsn_hash, &r->last_hash)
                                       : next != NULL && sha256_eq(&next->prev_hash, &in->lsn_hash);
    m->synced_up = same;
    if (!same) return;
    m->sent = in->lsn;
    replica_send_entries(r, from, effects);
}
