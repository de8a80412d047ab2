/* Answering candidates: REPLICATION.md section 6, steps 1 and 4. */
#include "replica/replica_priv.h"

static bool may_vote(const Replica *r)
{
    return r->self < MEMBERS_MAX && r->role != ROLE_LEARNER && r->role != ROLE_INCOMPLETE; /* I9 */
}

/* A poll changes nothing here and promises nothing. */
void replica_on_poll(Replica *r, const Message *in, Effects *effects)
{
    if (!may_vote(r)) return;
    (void)message_answer(r, effects, MSG_POLLED, in); /* term and tail are in it already */
}

/* One vote a term, for a log that is at least as long as ours. A candidate that lacks our last
 * CONFIG is refused too, as long as the fence does not compare the configurations themselves. */
void replica_on_fence(Replica *r, const Message *in, Effects *effects)
{
    if (!may_vote(r) || in->term == 0) return;
    if (in->term < r->term) {
        message_answer(r, effects, MSG_FENCED, in)->granted = false;
        return;
    }
    replica_see_term(r, in->term, effects);
    bool free_vote = id128_is_zero(r->voted_for) || id128_eq(r->voted_for, in->from);
    bool behind = replica_up_to_date(in->lsn_term, in->lsn, r->last_term, r->last_lsn);
    if (!free_vote || !behind || in->config_lsn < r->config_lsn) {
        message_answer(r, effects, MSG_FENCED, in)->granted = false;
        return;
    }
    r->voted_for = in->from;
    if (replica_vote_durable(r, in->from)) {
        message_answer(r, effects, MSG_FENCED, in)->granted = true; /* said before: a repeat */
        return;
    }
    replica_store_state(r, effects);
    r->fence_owed = true;
    r->fence_to = in->from;
    r->fence_to_incarnation = in->from_incarnation;
}

void replica_on_state_stored(Replica *r, const Event *event, Effects *effects)
{
    if (event->term != r->term) return; /* an older promise; a newer one is on its way */
    bool news = r->state_durable_term != r->term;
    r->state_durable_term = r->term;
    r->state_durable_vote = event->voted_for;
    if (r->fence_owed && replica_vote_durable(r, r->voted_for)) {
        r->fence_owed = false;
        Message in = {.from = r->fence_to, .from_incarnation = r->fence_to_incarnation};
        message_answer(r, effects, MSG_FENCED, &in)->granted = true;
    }
    if (news) replica_acknowledge(r, effects);
    replica_try_start(r, effects);
}
