/* The primary: REPLICATION.md section 3. */
#include "replica/replica_priv.h"

/* An APPEND behind prev, without entries yet. */
static Message *append_message(const Replica *r, uint32_t to, Lsn prev, Effects *effects)
{
    const Sha256 *hash = replica_hash_at(r, prev);
    ASSERT(hash != NULL);
    Message *out = message_add(r, effects, MSG_APPEND, to);
    out->lsn = prev;
    out->lsn_hash = *hash;
    return out;
}

/* Sends member `to` what it lacks, one message of it, from the window. */
static void send_entries(Replica *r, uint32_t to, Effects *effects)
{
    MemberState *m = &r->members[to];
    if (!m->linked || m->sent >= r->last_lsn) return;
    if (m->sent + 1 < r->window_first) return; /* behind the window: catch-up, with the copies */
    Message *out = append_message(r, to, m->sent, effects);
    while (out->entry_count < REPLICA_SEND_MAX && m->sent < r->last_lsn) {
        out->entries[out->entry_count++] = *replica_window_at(r, ++m->sent);
    }
}

void replica_advance_commit(Replica *r, Effects *effects)
{
    if (!replica_is_leading(r) || r->start_lsn == 0) return;
    if ((uint32_t)__builtin_popcount(r->required) < r->config.min_isr) return; /* I2 */
    Lsn lowest = r->durable_lsn;
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        if (i == r->self || (r->required >> i & 1) == 0) continue;
        lowest = MIN(lowest, r->members[i].durable);
    }
    /* Only a prefix that ends in an entry of the own term; all from START on are. */
    if (lowest < r->start_lsn) return;
    replica_set_commit(r, lowest, effects);
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
        if (i != r->self) send_entries(r, i, effects);
    }
}

void replica_link(Replica *r, uint32_t from, const Message *in, Effects *effects)
{
    MemberState *m = &r->members[from];
    const Sha256 *mine = replica_hash_at(r, in->lsn);
    if (mine == NULL || !sha256_eq(mine, &in->lsn_hash)) return;
    m->linked = true;
    m->matched = MAX(m->matched, in->lsn);
    m->sent = m->matched;
    if (replica_is_leading(r)) send_entries(r, from, effects); /* else with START */
}

void replica_on_appended(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_sender(r, in);
    if (from == MEMBERS_MAX) return;
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        return;
    }
    if (in->term != r->term || in->lsn > r->last_lsn || !replica_is_leading(r)) return;
    MemberState *m = &r->members[from];
    m->linked = true;
    m->durable = MAX(m->durable, in->lsn);
    m->commit = MAX(m->commit, in->commit_lsn);
    m->matched = MAX(m->matched, m->durable);
    m->sent = MAX(m->sent, m->matched);
    send_entries(r, from, effects);
    replica_advance_commit(r, effects);
}

/* The member's log does not go on where our message did: back to its end, if that is ours too. A
 * divergent tail is cut by lineage, which comes with the copies issue. */
void replica_on_mismatch(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_sender(r, in);
    if (from == MEMBERS_MAX) return;
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        return;
    }
    if (in->term == r->term && replica_is_leading(r)) replica_link(r, from, in, effects);
}

/* No answer since the last tick: the message or its answer was lost. */
void replica_tick_primary(Replica *r, Effects *effects)
{
    if (r->start_lsn == 0) return;
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        MemberState *m = &r->members[i];
        if (i == r->self) continue;
        bool stands_still = m->durable < r->last_lsn && m->durable == m->tick_durable;
        m->tick_durable = m->durable;
        if (stands_still && m->linked && m->matched < r->last_lsn) {
            m->sent = m->matched;
            send_entries(r, i, effects);
        } else if (stands_still || m->commit < r->commit_lsn) {
            (void)append_message(r, i, r->last_lsn, effects); /* complete: it asks and tells */
        }
    }
}
