/* POLL and POLLED: who has which term and tail (REPLICATION.md 6, step 1). */
#include "replica/replica_priv.h"

/* A poll changes nothing here and promises nothing. */
void replica_on_poll(Replica *r, const Message *in, Effects *effects)
{
    if (!replica_may_vote(r, in)) return;     /* I9 */
    message_tell(r, effects, MSG_POLLED, in); /* term and tail are in it already */
}

/* "Candidate: the member of isr ∪ elr with the longest (term, lsn)." A member outside of them may
 * stand only if it is the longest of a fence quorum, and longer than each of theirs that answered:
 * else nobody could (docs/decisions/0011). */
void replica_on_polled(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_sender(r, in);
    if (r->role != ROLE_CANDIDATE || r->cas != CAS_NONE || from == PEERS_MAX) return;
    if (in->unsound && !replica_bug(r, REPLICA_BUG_INCOMPLETE_COUNTS)) return;
    bool ahead = !replica_up_to_date(r->last_term, r->last_lsn, in->lsn_term, in->lsn);
    bool behind = !replica_up_to_date(in->lsn_term, in->lsn, r->last_term, r->last_lsn);
    bool eligible = replica_is_eligible(r, from);
    if (ahead && eligible && !replica_bug(r, REPLICA_BUG_NO_LOG_COMPARISON)) {
        replica_step_down(r, effects); /* the longest log stands */
        return;
    }
    if (ahead || (eligible && !behind)) r->polled_ahead = true;
    r->polled_term = MAX(r->polled_term, in->term);
    r->peers[from].polled = true;
    replica_try_cas(r, effects);
}
