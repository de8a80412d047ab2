/* Becoming primary: REPLICATION.md section 6. POLL, then the control store's compare-and-swap (who
 * may try), then the FENCE vote (who may act), then START. */
#include <string.h>

#include "replica/replica_priv.h"

static uint32_t count_polled(const Replica *r)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < r->config.member_count; i++)
        count += i != r->self && r->members[i].polled;
    return count;
}

/* Step 3: the row that makes us primary. The old one leaves the ISR, and we are in it: a member of
 * elr has all that was committed. */
static ShardConfig next_config(const Replica *r)
{
    ShardConfig next = r->config;
    next.parent_uid = r->config.cfg_uid;
    next.cfg_uid = r->new_cfg_uid;
    next.version++;
    next.term = MAX(MAX(r->config.term, r->term), r->polled_term) + 1;
    next.primary = (uint16_t)r->self;
    uint16_t me = (uint16_t)(1u << r->self);
    next.isr = (uint16_t)(next.isr | me);
    next.elr = (uint16_t)(next.elr & ~me);
    if (r->config.primary >= r->config.member_count || r->config.primary == r->self) return next;
    uint16_t old = (uint16_t)(1u << r->config.primary);
    bool was_in = (next.isr & old) != 0;
    next.isr = (uint16_t)(next.isr & ~old);
    if (was_in && (uint32_t)__builtin_popcount(next.isr) < next.min_isr) {
        next.elr = (uint16_t)(next.elr | old);
    }
    return next;
}

static void try_cas(Replica *r, Effects *effects)
{
    if (r->cas != CAS_NONE || count_polled(r) < replica_fence_quorum(&r->config)) return;
    effect_add(effects, EFFECT_CAS)->config = next_config(r);
    r->cas = CAS_SENT;
}

void replica_on_stand(Replica *r, const Event *event, Effects *effects)
{
    ASSERT(!id128_is_zero(event->new_cfg_uid));
    bool again = r->role == ROLE_CANDIDATE && r->cas != CAS_SENT;
    if (r->role != ROLE_FOLLOWER && r->role != ROLE_LEARNER && !again) return;
    if (event->config != NULL) replica_set_config(r, event->config, effects);
    if (r->self == MEMBERS_MAX) return;
    if (!replica_is_eligible(r, r->self)) { /* never outside isr and elr (section 10) */
        replica_set_role(r, ROLE_FOLLOWER, effects);
        return;
    }
    memset(r->members, 0, sizeof r->members);
    r->new_cfg_uid = event->new_cfg_uid;
    r->cas = CAS_NONE;
    r->polled_term = 0;
    ASSERT(r->start_lsn == 0 && !r->start_wanted);
    replica_set_role(r, ROLE_CANDIDATE, effects);
    replica_tick_candidate(r, effects);
    try_cas(r, effects);
}

void replica_tick_candidate(const Replica *r, Effects *effects)
{
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        const MemberState *m = &r->members[i];
        if (i == r->self) continue;
        if (r->cas == CAS_NONE && !m->polled) {
            (void)message_add(r, effects, MSG_POLL, i); /* filled in already */
        } else if (r->cas == CAS_IN_FORCE && !m->granted) {
            (void)message_add(r, effects, MSG_FENCE, i); /* filled in already */
        }
    }
}

void replica_on_polled(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_sender(r, in);
    if (r->role != ROLE_CANDIDATE || r->cas != CAS_NONE || from == MEMBERS_MAX) return;
    bool ahead = !replica_up_to_date(r->last_term, r->last_lsn, in->lsn_term, in->lsn);
    if (ahead && replica_is_eligible(r, from)) { /* step 1: the longest log stands */
        replica_set_role(r, ROLE_FOLLOWER, effects);
        return;
    }
    r->polled_term = MAX(r->polled_term, in->term);
    r->members[from].polled = true;
    try_cas(r, effects);
}

/* Our own vote is a promise like any other: durable before it counts (I1). */
void replica_on_cas(Replica *r, const Event *event, Effects *effects)
{
    if (!id128_eq(event->new_cfg_uid, r->new_cfg_uid)) return; /* of an attempt that we gave up */
    if (r->role != ROLE_CANDIDATE || r->cas != CAS_SENT) return;
    if (event->type != EVENT_CAS_DONE) {
        r->cas = CAS_NONE;
        replica_set_role(r, ROLE_FOLLOWER, effects);
        if (event->config != NULL) replica_set_config(r, event->config, effects);
        return;
    }
    ASSERT(id128_eq(event->config->cfg_uid, r->new_cfg_uid));
    ASSERT(event->config->term > r->term);
    r->cas = CAS_IN_FORCE;
    replica_set_config(r, event->config, effects);
    replica_set_term(r, event->config->term);
    r->voted_for = r->root;
    replica_store_state(r, effects);
    replica_tick_candidate(r, effects);
}

/* Step 5: F answers, self included. */
void replica_try_start(Replica *r, Effects *effects)
{
    if (r->role != ROLE_CANDIDATE || r->cas != CAS_IN_FORCE) return;
    if (!replica_vote_durable(r, r->root)) return;
    uint32_t votes = 1;
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        votes += i != r->self && r->members[i].granted;
    }
    if (votes < replica_fence_quorum(&r->config)) return;
    r->start_wanted = true;
    replica_set_role(r, ROLE_STARTING, effects);
    (void)effect_add(effects, EFFECT_START); /* it has no fields */
}

void replica_on_fenced(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_sender(r, in);
    if (from == MEMBERS_MAX) return;
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
    if (!replica_up_to_date(r->last_term, r->last_lsn, in->lsn_term, in->lsn)) {
        if (replica_is_eligible(r, from)) replica_set_role(r, ROLE_FOLLOWER, effects); /* yield */
        return;
    }
    if (!in->granted) return;
    r->members[from].granted = true;
    replica_link(r, from, in, effects);
    replica_try_start(r, effects);
}
