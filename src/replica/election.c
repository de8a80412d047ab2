/* Becoming primary: REPLICATION.md section 6. POLL, then the control store's compare-and-swap (who
 * may try), then the FENCE vote (who may act), then START. */
#include <string.h>

#include "replica/replica_priv.h"

static PeerMask mask_of_polled(const Replica *r)
{
    PeerMask mask = PEER_SELF;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        if (r->peers[i].polled) mask |= (PeerMask)1 << i;
    }
    return mask;
}

static PeerMask mask_of_granted(const Replica *r)
{
    PeerMask mask = PEER_SELF;
    for (uint32_t i = 1; i < r->peer_count; i++) {
        if (r->peers[i].granted) mask |= (PeerMask)1 << i;
    }
    return mask;
}

/* Is there no term above all that we heard of? Somebody lied; an operator has to help. */
static bool terms_end(const Replica *r)
{
    return MAX(MAX(r->config.term, r->term), r->polled_term) >= TERM_LAST - 1;
}

/* Does the row name us, in this life? */
static bool may_try(const Replica *r)
{
    uint32_t self = replica_config_index(&r->config, r->root);
    return self < MEMBERS_MAX && r->config.members[self].incarnation == r->incarnation;
}

/* The last CONFIG of our log names us, and the row does not. It follows when its primary has
 * committed that CONFIG; but that one may have lost what we have behind it, and then can't be
 * elected, whether we know of the commit or not. We can: a fence asks for the quorum of the row, of
 * our last CONFIG and, while that is pending, of the one before. Who was removed without a word is
 * behind some of the row's quorum, and is told so by the poll. */
static bool may_try_by_log(const Replica *r)
{
    const LogConfig *last = replica_log_config(r);
    return replica_config_index(&r->config, r->root) == MEMBERS_MAX && last != NULL &&
           replica_names_us(r, &last->config);
}

static ShardConfig with_our_members(const Replica *r)
{
    ShardConfig next = replica_with_members(&r->config, &replica_log_config(r)->config);
    uint32_t self = replica_config_index(&next, r->root);
    if (self < MEMBERS_MAX) next.members[self].incarnation = r->incarnation;
    return next;
}

/* Step 3: the row that makes us primary. The old one leaves the ISR, and we are in it: a member of
 * elr has all that was committed, and so has the longest log of a fence quorum. */
static ShardConfig next_config(const Replica *r)
{
    ShardConfig next = may_try(r) ? r->config : with_our_members(r);
    uint32_t self = replica_config_index(&next, r->root);
    uint16_t before = next.primary;
    ASSERT(self < MEMBERS_MAX);
    next.parent_uid = r->config.cfg_uid;
    next.cfg_uid = r->new_cfg_uid;
    next.version++;
    next.term = MAX(MAX(r->config.term, r->term), r->polled_term) + 1;
    next.primary = (uint16_t)self;
    uint16_t me = (uint16_t)(1u << self);
    next.isr = (uint16_t)(next.isr | me);
    next.elr = (uint16_t)(next.elr & ~me);
    if (before >= next.member_count || before == self) return next;
    uint16_t old = (uint16_t)(1u << before);
    bool was_in = (next.isr & old) != 0;
    next.isr = (uint16_t)(next.isr & ~old);
    if (was_in && (uint32_t)__builtin_popcount(next.isr) < next.min_isr) {
        next.elr = (uint16_t)(next.elr | old);
    }
    return next;
}

/* Step 2: "wait until the candidate's own promise to the old primary has expired". */
static bool own_promise_over(const Replica *r)
{
    return !replica_is_promised(r, r->root) || replica_bug(r, REPLICA_BUG_OWN_PROMISE);
}

void replica_try_cas(Replica *r, Effects *effects)
{
    if (r->cas != CAS_NONE || !own_promise_over(r)) return;
    if (!replica_fenced(r, mask_of_polled(r))) return;
    if (terms_end(r)) {
        replica_step_down(r, effects);
        return;
    }
    if (!replica_is_eligible(r, 0) && r->polled_ahead) { /* never outside isr and elr, but … */
        replica_step_down(r, effects);
        return;
    }
    if (!may_try(r) && !may_try_by_log(r)) { /* the row changed, or our log */
        replica_step_down(r, effects);
        return;
    }
    effect_add(effects, EFFECT_CAS)->config = next_config(r);
    r->cas = CAS_SENT;
}

void replica_on_stand(Replica *r, const Event *event, Effects *effects)
{
    ASSERT(!id128_is_zero(event->new_cfg_uid));
    bool again = r->role == ROLE_CANDIDATE && r->cas != CAS_SENT;
    if (r->role != ROLE_FOLLOWER && r->role != ROLE_LEARNER && !again) return;
    replica_step_down(r, effects);
    if (event->config != NULL) replica_set_config(r, event->config, effects);
    if (r->role != ROLE_FOLLOWER || !replica_is_sound(r)) return;
    r->polled_term = 0;
    if (terms_end(r)) return;
    if (!may_try(r) && !may_try_by_log(r)) return;
    /* "… and does not stand as candidate (its own vote is an answer)". */
    bool in_grace = r->now_ns < r->grace_until_ns;
    if (in_grace && !replica_bug(r, REPLICA_BUG_OWN_VOTE_NO_GRACE)) return;
    replica_peers_forget(r);
    r->new_cfg_uid = event->new_cfg_uid;
    r->cas = CAS_NONE;
    r->polled_ahead = false;
    r->fence_config = (LogConfig){0};
    replica_peers_rebuild(r);
    replica_set_role(r, ROLE_CANDIDATE, effects);
    replica_tick_candidate(r, effects);
}

static void ask(const Replica *r, MessageType type, uint32_t to, Effects *effects)
{
    Message *out = message_add(r, effects, type, to);
    const LogConfig *config = replica_log_config(r);
    if (config != NULL) out->config = config->config;
}

void replica_tick_candidate(Replica *r, Effects *effects)
{
    for (uint32_t i = 1; i < r->peer_count; i++) {
        const Peer *peer = &r->peers[i];
        bool learner = (r->learners >> i & 1) != 0;
        if (learner && !replica_bug(r, REPLICA_BUG_LEARNERS_COUNT)) continue;
        if (r->cas == CAS_NONE && !peer->polled) {
            ask(r, MSG_POLL, i, effects);
        } else if (r->cas == CAS_IN_FORCE && !peer->granted) {
            ask(r, MSG_FENCE, i, effects);
        }
    }
    if (r->cas == CAS_NONE) replica_try_cas(r, effects);
    if (r->cas == CAS_IN_FORCE) replica_try_start(r, effects);
}

/* Our own vote is a promise like any other: durable before it counts (I1). */
void replica_cas_answered(Replica *r, const Event *event, Effects *effects)
{
    bool done = event->type == EVENT_CAS_DONE;
    ShardConfig asked = event->config != NULL ? *event->config : next_config(r);
    if (event->type == EVENT_CAS_UNKNOWN && replica_bug(r, REPLICA_BUG_UNKNOWN_IS_DONE)) {
        done = true;
    }
    if (!done) {
        replica_step_down(r, effects);
        if (event->config != NULL) replica_set_config(r, event->config, effects);
        return;
    }
    ASSERT(id128_eq(asked.cfg_uid, r->new_cfg_uid));
    if (asked.term <= r->term) { /* a higher term came meanwhile, without a word to us */
        replica_step_down(r, effects);
        return;
    }
    r->cas = CAS_IN_FORCE;
    replica_set_config(r, &asked, effects);
    if (r->role != ROLE_CANDIDATE) return;
    replica_set_term(r, asked.term);
    r->voted_for = r->root;
    replica_store_state(r, effects);
    replica_tick_candidate(r, effects);
}

/* Step 5: F answers, self included; of its own promises "it looks again when it counts its own
 * vote". */
void replica_try_start(Replica *r, Effects *effects)
{
    if (r->role != ROLE_CANDIDATE || r->cas != CAS_IN_FORCE) return;
    if (!replica_vote_durable(r, r->root) || !own_promise_over(r)) return;
    bool in_grace = r->now_ns < r->grace_until_ns;
    if (in_grace && !replica_bug(r, REPLICA_BUG_OWN_VOTE_NO_GRACE)) return;
    bool counted = replica_fenced(r, mask_of_granted(r));
    if (!counted && !replica_bug(r, REPLICA_BUG_NO_VOTE) &&
        !replica_bug(r, REPLICA_BUG_NO_FENCE_QUORUM)) {
        return;
    }
    r->start_wanted = true;
    replica_set_role(r, ROLE_STARTING, effects);
    effect_plain(effects, EFFECT_START);
}
