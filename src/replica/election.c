/* Becoming primary: REPLICATION.md section 6. POLL, then the control store's compare-and-swap (who
 * may try), then the FENCE vote (who may act), then START. */
#include <string.h>

#include "replica/replica_priv.h"

/* Counts the members for which `is` holds, self always included. */
static uint32_t count_members(const Replica *r, bool (*is)(const MemberState *))
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        if (i != r->self && is(&r->members[i])) count++;
    }
    return count;
}

static bool is_polled(const MemberState *m)
{
    return m->polled;
}

static bool is_granted(const MemberState *m)
{
    return m->granted;
}

/* Step 3: with enough members polled, ask the control store for the term. */
static void try_cas(Replica *r, Effects *effects)
{
    if (r->cas_sent || count_members(r, is_polled) < replica_fence_quorum(&r->config)) return;
    Effect *effect = effect_add(effects, EFFECT_CAS);
    effect->config = r->config;
    effect->config.parent_uid = r->config.cfg_uid;
    effect->config.cfg_uid = r->new_cfg_uid;
    effect->config.version++;
    effect->config.term = MAX(r->config.term, r->term) + 1;
    effect->config.primary = (uint16_t)r->self;
    r->cas_sent = true;
}

void replica_on_stand(Replica *r, const Event *event, Effects *effects)
{
    ASSERT(!id128_is_zero(event->new_cfg_uid));
    if (r->role != ROLE_FOLLOWER || r->self == MEMBERS_MAX) return;
    uint16_t eligible = (uint16_t)(r->config.isr | r->config.elr);
    if ((eligible >> r->self & 1) == 0) return; /* never outside isr and elr (section 10) */
    memset(r->members, 0, sizeof r->members);
    r->new_cfg_uid = event->new_cfg_uid;
    r->cas_sent = false;
    r->polled_term = 0;
    r->start_lsn = 0;
    r->start_wanted = false;
    replica_set_role(r, ROLE_CANDIDATE, effects);
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        if (i != r->self) (void)message_add(r, effects, MSG_POLL, i); /* filled in already */
    }
    try_cas(r, effects);
}

/* A poll changes nothing here and promises nothing. */
void replica_on_poll(Replica *r, const Message *in, Effects *effects)
{
    if (r->self == MEMBERS_MAX) return;               /* I9 */
    (void)message_answer(r, effects, MSG_POLLED, in); /* term and tail are in it already */
}

void replica_on_polled(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_member_of(r, in->from);
    if (r->role != ROLE_CANDIDATE || r->cas_sent || from == MEMBERS_MAX) return;
    if (r->config.members[from].incarnation != in->from_incarnation) return; /* I6 */
    if (!replica_up_to_date(r->last_term, r->last_lsn, in->lsn_term, in->lsn)) {
        uint16_t eligible = (uint16_t)(r->config.isr | r->config.elr);
        if ((eligible >> from & 1) != 0) { /* step 1: the longest log stands */
            replica_set_role(r, ROLE_FOLLOWER, effects);
            return;
        }
    }
    r->polled_term = MAX(r->polled_term, in->term);
    r->members[from].polled = true;
    if (r->polled_term > r->term) {
        r->term = r->polled_term;
        r->voted_for = (Uuid){{0}};
    }
    try_cas(r, effects);
}

/* Our own vote is a promise like any other: durable before it counts (I1). */
void replica_on_cas(Replica *r, const Event *event, Effects *effects)
{
    if (r->role != ROLE_CANDIDATE || !r->cas_sent) return;
    if (event->type == EVENT_CAS_UNKNOWN || event->type == EVENT_CAS_REFUSED) {
        if (event->config != NULL) replica_set_config(r, event->config);
        replica_set_role(r, ROLE_FOLLOWER, effects);
        return;
    }
    ASSERT(event->type == EVENT_CAS_DONE);
    ASSERT(id128_eq(event->config->cfg_uid, r->new_cfg_uid));
    ASSERT(event->config->term > r->term);
    replica_set_config(r, event->config);
    r->term = event->config->term;
    r->voted_for = r->root;
    Effect *effect = effect_add(effects, EFFECT_STORE_STATE);
    effect->state = (ReplicaState){.shard = r->shard, .max_term = r->term, .voted_for = r->root};
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        if (i != r->self) (void)message_add(r, effects, MSG_FENCE, i); /* filled in already */
    }
}

/* Step 5: F answers, self included, none more up to date than mine. */
static void try_start(Replica *r, Effects *effects)
{
    bool own_vote = r->state_durable_term == r->term && id128_eq(r->state_durable_vote, r->root);
    if (r->role != ROLE_CANDIDATE || !own_vote || r->start_wanted) return;
    if (r->config.term != r->term) return;
    if (count_members(r, is_granted) < replica_fence_quorum(&r->config)) return;
    r->start_wanted = true;
    replica_set_role(r, ROLE_STARTING, effects);
    (void)effect_add(effects, EFFECT_START); /* it has no fields */
}

void replica_on_fence(Replica *r, const Message *in, Effects *effects)
{
    if (r->self == MEMBERS_MAX) return; /* I9: learners and strangers do not vote */
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
    if (r->state_durable_term == r->term && id128_eq(r->state_durable_vote, r->voted_for)) {
        message_answer(r, effects, MSG_FENCED, in)->granted = true; /* said before: a repeat */
        return;
    }
    Effect *effect = effect_add(effects, EFFECT_STORE_STATE);
    effect->state = (ReplicaState){
        .shard = r->shard, .max_term = r->term, .voted_for = r->voted_for};
    r->fence_owed = true;
    r->fence_to = in->from;
    r->fence_to_incarnation = in->from_incarnation;
}

void replica_on_state_stored(Replica *r, const Event *event, Effects *effects)
{
    if (event->term != r->term) return; /* an older promise; a newer one is on its way */
    r->state_durable_term = r->term;
    r->state_durable_vote = r->voted_for;
    if (r->fence_owed) {
        r->fence_owed = false;
        Message in = {.from = r->fence_to, .from_incarnation = r->fence_to_incarnation};
        message_answer(r, effects, MSG_FENCED, &in)->granted = true;
    }
    try_start(r, effects);
}

void replica_on_fenced(Replica *r, const Message *in, Effects *effects)
{
    uint32_t from = replica_member_of(r, in->from);
    if (from == MEMBERS_MAX || r->config.members[from].incarnation != in->from_incarnation) return;
    if (in->term > r->term) {
        replica_see_term(r, in->term, effects);
        return;
    }
    if (r->role != ROLE_CANDIDATE || in->term != r->term || !in->granted) return;
    ASSERT(replica_up_to_date(r->last_term, r->last_lsn, in->lsn_term, in->lsn));
    r->members[from].granted = true;
    r->members[from].last_term = in->lsn_term;
    r->members[from].last_lsn = in->lsn;
    /* Equal by lineage and of the same incarnation: its log may count from here (section 5). */
    if (in->lsn == r->last_lsn && sha256_eq(&in->lsn_hash, &r->last_hash)) {
        r->members[from].synced_up = true;
        r->members[from].sent = in->lsn;
        r->members[from].durable = in->lsn;
    }
    try_start(r, effects);
}
