/* FENCE and FENCED: the vote (REPLICATION.md 6, step 4). "Each persists (term, voted_for), then
 * answers (last term, lsn, last CONFIG). F answers, self included, none more up to date than mine
 * and none that voted for another. If one is ahead: yield to it." */
#include "replica/replica_priv.h"

static void grant(const Replica *r, const Message *in, Effects *effects)
{
    Message *out = message_answer(r, effects, MSG_FENCED, in);
    out->granted = true;
    const LogConfig *config = replica_log_config(r);
    if (config != NULL) out->config = config->config;
}

/* No vote: our term and tail say why. Our CONFIG, which counts with a vote only, is left out. */
static void refuse(const Replica *r, const Message *in, Effects *effects)
{
    Message *out = message_answer(r, effects, MSG_FENCED, in);
    out->granted = false;
    out->config_lsn = 0;
}

/* A member by what it knows, or by the candidate's log: a CONFIG that named it may not have got
 * here, and without its vote nobody could be elected. The candidate counts it only where it is
 * named. */
bool replica_may_vote(const Replica *r, const Message *in)
{
    bool member = r->is_member || replica_bug(r, REPLICA_BUG_LEARNERS_COUNT);
    if (!member && in->config_lsn != 0) {
        uint32_t self = replica_config_index(&in->config, r->root);
        member = self < MEMBERS_MAX && in->config.members[self].incarnation <= r->incarnation;
    }
    return member && replica_is_sound(r); /* I9 */
}

/* Promises to another, or the grace after a restart, in which they may have been given. */
static bool is_bound(const Replica *r, const Message *in)
{
    if (r->now_ns < r->grace_until_ns) return true;
    return replica_is_promised(r, in->from) && !replica_bug(r, REPLICA_BUG_PROMISE_IGNORED);
}

/* One vote a term, for a log that is at least as long as ours. */
void replica_on_fence(Replica *r, const Message *in, Effects *effects)
{
    if (!replica_may_vote(r, in) || in->term == 0) return;
    if (in->term < r->term) {
        refuse(r, in, effects);
        return;
    }
    if (is_bound(r, in)) return; /* it asks again */
    replica_see_term(r, in->term, effects);
    bool free_vote = id128_is_zero(r->voted_for) || id128_eq(r->voted_for, in->from) ||
                     replica_bug(r, REPLICA_BUG_VOTE_TWICE);
    bool behind = replica_up_to_date(in->lsn_term, in->lsn, r->last_term, r->last_lsn) ||
                  replica_bug(r, REPLICA_BUG_NO_LOG_COMPARISON);
    if (!free_vote || !behind) {
        refuse(r, in, effects);
        return;
    }
    r->voted_for = in->from;
    if (replica_vote_durable(r, in->from)) {
        grant(r, in, effects); /* said before: a repeat */
        return;
    }
    replica_store_state(r, effects);
    if (replica_bug(r, REPLICA_BUG_VOTE_BEFORE_SYNC)) {
        grant(r, in, effects);
        return;
    }
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
        grant(r, &in, effects);
    }
    if (news) replica_acknowledge(r, effects);
    replica_try_start(r, effects);
}

/* An answer knows a CONFIG that is higher than our last: its members must be fenced, too. Not one
 * of a term before that of our last entry: whoever wrote that was elected with all that is or will
 * be committed in earlier terms, so it is in our log or will be cut. */
static void note_config(Replica *r, const Message *in)
{
    const LogConfig *own = replica_log_config(r);
    const LogConfig *known = r->fence_config.lsn != 0 ? &r->fence_config : own;
    if (in->config_lsn == 0 || in->config_term < r->last_term) return;
    if (known != NULL &&
        replica_up_to_date(known->term, known->lsn, in->config_term, in->config_lsn)) {
        return;
    }
    r->fence_config = (LogConfig){
        .lsn = in->config_lsn, .term = in->config_term, .config = in->config};
    replica_peers_rebuild(r);
}

void replica_on_fenced(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_sender(r, in);
    if (from == PEERS_MAX) return;
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        return;
    }
    if (in->term != r->term) return;
    if (replica_is_leading(r)) { /* a late answer still says where its log ends */
        replica_link(r, from, in, effects);
        return;
    }
    if (r->role != ROLE_CANDIDATE || r->cas != CAS_IN_FORCE) return;
    bool ahead = !replica_up_to_date(r->last_term, r->last_lsn, in->lsn_term, in->lsn);
    if (ahead && !replica_bug(r, REPLICA_BUG_NO_LOG_COMPARISON)) {
        if (replica_is_eligible(r, from)) replica_step_down(r, effects); /* yield */
        return;
    }
    if (!in->granted) return;
    r->peers[from].granted = true;
    replica_link(r, from, in, effects);
    note_config(r, in);
    replica_try_start(r, effects);
}
