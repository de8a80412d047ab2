/* What must hold before and after every step, as far as one replica can see it; the invariant of
 * REPLICATION.md section 2 is named. */
#include "replica/replica_priv.h"

static void check_log(const Replica *r)
{
    ASSERT(r->commit_lsn <= r->durable_lsn); /* I2: what this replica calls committed, it keeps */
    ASSERT(r->durable_lsn <= r->last_lsn);
    ASSERT(r->matched_lsn <= r->last_lsn);
    ASSERT(r->last_term <= r->term); /* I8 */
    ASSERT(r->window_first >= 1 && r->window_first <= r->last_lsn + 1);
    ASSERT(r->last_lsn + 1 - r->window_first <= REPLICA_WINDOW);
    ASSERT(replica_config_lsn(r) <= r->last_lsn);
}

static void check_leader(const Replica *r)
{
    ASSERT(replica_vote_durable(r, r->root) ||
           replica_bug(r, REPLICA_BUG_VOTE_BEFORE_SYNC)); /* I1, I8 */
    ASSERT(r->is_member && replica_is_sound(r));          /* I9 */
    if (r->role != ROLE_PRIMARY) return;
    ASSERT(r->start_lsn != 0 && r->start_lsn <= r->commit_lsn); /* I3: own START committed */
}

void replica_check(const Replica *r)
{
    if (!r->restarted) return;
    check_log(r);
    switch (r->role) { /* I9 */
    case ROLE_FOLLOWER:
    case ROLE_CANDIDATE:
    case ROLE_STARTING:
    case ROLE_PRIMARY: ASSERT(r->is_member && !r->incomplete); break;
    case ROLE_LEARNER: ASSERT(!r->is_member && !r->incomplete); break;
    case ROLE_INCOMPLETE: ASSERT(r->incomplete); break;
    case ROLE_QUARANTINED: break;
    }
    if (r->fence_owed) {
        ASSERT(!id128_is_zero(r->voted_for) && !replica_vote_durable(r, r->voted_for)); /* I1 */
    }
    if (replica_is_leading(r)) {
        check_leader(r);
    } else {
        ASSERT(r->start_lsn == 0 && !r->start_wanted && !r->config_wanted); /* I8 */
    }
}
