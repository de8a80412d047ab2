#include "replica/replica.h"

#include <stddef.h>
#include <string.h>

#include "replica/replica_priv.h"

#define TERM_LAST UINT32_MAX /* no term: an election above it would wrap */

/* The checks hold before and after every step; the invariant they belong to is named. */
static void check_log(const Replica *r)
{
    ASSERT(r->commit_lsn <= r->durable_lsn); /* I2: what this replica calls committed, it keeps */
    ASSERT(r->durable_lsn <= r->last_lsn);
    ASSERT(r->matched_lsn <= r->last_lsn);
    ASSERT(r->acked_lsn <= MIN(r->durable_lsn, r->matched_lsn));
    ASSERT(r->last_term <= r->term); /* I8 */
    ASSERT(r->window_first >= 1 && r->window_first <= r->last_lsn + 1);
    ASSERT(r->last_lsn + 1 - r->window_first <= REPLICA_WINDOW);
}

static void replica_check(const Replica *r)
{
    if (!r->restarted) return;
    check_log(r);
    ASSERT((r->self == MEMBERS_MAX) == (r->role == ROLE_LEARNER) || r->role == ROLE_INCOMPLETE ||
           r->role == ROLE_QUARANTINED); /* I9 */
    if (r->fence_owed) {
        ASSERT(!id128_is_zero(r->voted_for) && !replica_vote_durable(r, r->voted_for)); /* I1 */
    }
    if (replica_is_leading(r)) {
        ASSERT(replica_vote_durable(r, r->root) && r->config.term == r->term); /* I1, I8 */
        ASSERT((r->required >> r->self & 1) != 0);
    } else {
        ASSERT(r->start_lsn == 0 && !r->start_wanted); /* I8 */
    }
    if (r->role == ROLE_PRIMARY) {
        ASSERT(r->start_lsn != 0 && r->start_lsn <= r->commit_lsn); /* I3: own START committed */
        ASSERT((uint32_t)__builtin_popcount(r->required) >= r->config.min_isr); /* I2 */
    }
}

size_t replica_size(void)
{
    return sizeof(Replica);
}

Replica *replica_init(void *memory, ShardId shard, Uuid root, uint64_t incarnation)
{
    ASSERT(memory != NULL);
    ASSERT(!id128_is_zero(root));
    Replica *r = memory;
    memset(r, 0, offsetof(Replica, window));
    r->shard = shard;
    r->root = root;
    r->incarnation = incarnation;
    r->role = ROLE_FOLLOWER;
    r->self = MEMBERS_MAX;
    r->window_first = 1;
    return r;
}

static void replica_on_message(Replica *r, const Message *in, Effects *effects)
{
    bool ours = in->shard == r->shard && id128_eq(in->to, r->root) && !id128_eq(in->from, r->root);
    /* Meant for another life of this root, or from a term behind which there is none. */
    if (!ours || in->to_incarnation != r->incarnation || in->term >= TERM_LAST) {
        r->ignored_messages++;
        return;
    }
    switch (in->type) {
    case MSG_APPEND: replica_on_append_msg(r, in, effects); break;
    case MSG_APPENDED: replica_on_appended(r, in, effects); break;
    case MSG_MISMATCH: replica_on_mismatch(r, in, effects); break;
    case MSG_POLL: replica_on_poll(r, in, effects); break;
    case MSG_POLLED: replica_on_polled(r, in, effects); break;
    case MSG_FENCE: replica_on_fence(r, in, effects); break;
    case MSG_FENCED: replica_on_fenced(r, in, effects); break;
    case MSG_HEARTBEAT:
    case MSG_PROMISE:
    case MSG_FETCH:
    case MSG_FETCHED:
    case MSG_SNAPSHOT:
    case MSG_HAND_OVER:
    default: r->ignored_messages++; break;
    }
}

static void replica_on_tick(Replica *r, Effects *effects)
{
    if (r->role == ROLE_CANDIDATE)
        replica_tick_candidate(r, effects);
    else if (replica_is_leading(r))
        replica_tick_primary(r, effects);
}

void replica_step(Replica *r, const Event *event, Effects *effects)
{
    replica_check(r);
    effects->count = 0;
    ASSERT(r->restarted != (event->type == EVENT_RESTART));
    if (r->role != ROLE_QUARANTINED) {
        switch (event->type) {
        case EVENT_RESTART: replica_on_restart(r, event, effects); break;
        case EVENT_STAND: replica_on_stand(r, event, effects); break;
        case EVENT_APPEND: replica_on_append(r, event, effects); break;
        case EVENT_STORED: replica_on_stored(r, event, effects); break;
        case EVENT_STATE_STORED: replica_on_state_stored(r, event, effects); break;
        case EVENT_MESSAGE: replica_on_message(r, event->message, effects); break;
        case EVENT_CAS_DONE:
        case EVENT_CAS_REFUSED:
        case EVENT_CAS_UNKNOWN: replica_on_cas(r, event, effects); break;
        case EVENT_TICK: replica_on_tick(r, effects); break;
        default: ASSERT(event->type <= EVENT_TICK); break;
        }
    }
    replica_check(r);
}

Effect *effect_add(Effects *effects, EffectType type)
{
    ASSERT(effects->count < REPLICA_EFFECTS_MAX);
    Effect *effect = &effects->items[effects->count++];
    memset(effect, 0, offsetof(Effect, message.entries));
    effect->type = type;
    effect->lsn = 0;
    effect->message.entry_count = 0;
    return effect;
}

static Message *message_fill(const Replica *r, Effects *effects, MessageType type)
{
    Message *m = &effect_add(effects, EFFECT_SEND)->message;
    m->type = type;
    m->shard = r->shard;
    m->from = r->root;
    m->from_incarnation = r->incarnation;
    m->term = r->term;
    m->cfg_uid = r->config.cfg_uid;
    m->lsn = r->last_lsn;
    m->lsn_term = r->last_term;
    m->lsn_hash = r->last_hash;
    m->commit_lsn = r->commit_lsn;
    m->config_lsn = r->config_lsn;
    return m;
}

Message *message_add(const Replica *r, Effects *effects, MessageType type, uint32_t to)
{
    ASSERT(to < r->config.member_count && to != r->self);
    Message *m = message_fill(r, effects, type);
    m->to = r->config.members[to].root;
    m->to_incarnation = r->config.members[to].incarnation;
    return m;
}

Message *message_answer(const Replica *r, Effects *effects, MessageType type, const Message *in)
{
    Message *m = message_fill(r, effects, type);
    m->to = in->from;
    m->to_incarnation = in->from_incarnation;
    return m;
}

void replica_set_role(Replica *r, ReplicaRole role, Effects *effects)
{
    if (r->role == role) return;
    r->role = role;
    Effect *effect = effect_add(effects, EFFECT_ROLE);
    effect->role = role;
}

uint32_t replica_member_of(const Replica *r, Uuid root)
{
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        if (id128_eq(r->config.members[i].root, root)) return i;
    }
    return MEMBERS_MAX;
}

uint32_t replica_sender(const Replica *r, const Message *in)
{
    uint32_t i = replica_member_of(r, in->from);
    if (i < MEMBERS_MAX && r->config.members[i].incarnation != in->from_incarnation) {
        return MEMBERS_MAX;
    }
    return i;
}

bool replica_is_leading(const Replica *r)
{
    return r->role == ROLE_STARTING || r->role == ROLE_PRIMARY;
}

bool replica_is_eligible(const Replica *r, uint32_t i)
{
    return ((r->config.isr | r->config.elr) >> i & 1) != 0;
}

void replica_set_config(Replica *r, const ShardConfig *config, Effects *effects)
{
    ASSERT(config->member_count >= 1 && config->member_count <= MEMBERS_MAX);
    ASSERT(config->min_isr >= 1 && config->min_isr <= config->member_count);
    ASSERT(!replica_is_leading(r));
    r->config = *config;
    r->self = replica_member_of(r, r->root);
    if (r->self < MEMBERS_MAX && config->members[r->self].incarnation != r->incarnation) {
        r->self = MEMBERS_MAX; /* another life of this root: I6, I9 */
    }
    r->required = config->isr;
    if (r->self == MEMBERS_MAX) {
        replica_set_role(r, ROLE_LEARNER, effects);
    } else if (r->role == ROLE_LEARNER) {
        replica_set_role(r, ROLE_FOLLOWER, effects);
    }
}

void replica_set_term(Replica *r, Term term)
{
    ASSERT(term > r->term);
    r->term = term;
    r->voted_for = (Uuid){{0}};
    r->fence_owed = false;
    r->primary = (Uuid){{0}};
    r->matched_lsn = 0;
    r->acked_lsn = 0;
}

void replica_see_term(Replica *r, Term term, Effects *effects)
{
    if (term <= r->term) return;
    replica_set_term(r, term);
    r->start_lsn = 0;
    r->start_wanted = false;
    if (replica_is_leading(r) || r->role == ROLE_CANDIDATE) {
        replica_set_role(r, ROLE_FOLLOWER, effects);
    }
}

void replica_set_commit(Replica *r, Lsn lsn, Effects *effects)
{
    if (lsn <= r->commit_lsn) return;
    r->commit_lsn = lsn;
    effect_add(effects, EFFECT_COMMIT)->lsn = lsn;
}

void replica_store_state(const Replica *r, Effects *effects)
{
    effect_add(effects, EFFECT_STORE_STATE)->state = (ReplicaState){
        .shard = r->shard, .max_term = r->term, .voted_for = r->voted_for};
}

bool replica_vote_durable(const Replica *r, Uuid whom)
{
    return r->state_durable_term == r->term && id128_eq(r->state_durable_vote, whom);
}

const LogEntry *replica_window_at(const Replica *r, Lsn lsn)
{
    if (lsn < r->window_first || lsn > r->last_lsn) return NULL;
    return &r->window[lsn % REPLICA_WINDOW];
}

const Sha256 *replica_hash_at(const Replica *r, Lsn lsn)
{
    static const Sha256 before_first = {{0}};
    if (lsn == 0) return &before_first;
    if (lsn == r->last_lsn) return &r->last_hash;
    const LogEntry *entry = replica_window_at(r, lsn);
    if (entry != NULL) return &entry->hash;
    const LogEntry *next = replica_window_at(r, lsn + 1);
    return next == NULL ? NULL : &next->prev_hash;
}

void replica_window_add(Replica *r, const LogEntry *entry)
{
    ASSERT(entry->lsn == r->last_lsn + 1);
    ASSERT(sha256_eq(&entry->prev_hash, &r->last_hash));
    ASSERT(entry->term >= r->last_term);
    if (r->last_lsn + 1 - r->window_first == REPLICA_WINDOW) r->window_first++;
    r->window[entry->lsn % REPLICA_WINDOW] = *entry;
    r->last_lsn = entry->lsn;
    r->last_term = entry->term;
    r->last_hash = entry->hash;
    if (entry->is_config) r->config_lsn = entry->lsn;
}

bool replica_up_to_date(Term a_term, Lsn a_lsn, Term b_term, Lsn b_lsn)
{
    if (a_term != b_term) return a_term > b_term;
    return a_lsn >= b_lsn;
}

uint32_t replica_fence_quorum(const ShardConfig *config)
{
    uint32_t n = config->member_count;
    return MAX(n - config->min_isr + 1, n / 2 + 1);
}

bool replica_can_append(const Replica *r)
{
    if (r->role == ROLE_STARTING) return r->start_lsn == 0;
    return r->role == ROLE_PRIMARY && r->last_lsn - r->commit_lsn < REPLICA_WINDOW / 2;
}

void replica_next(const Replica *r, Lsn *lsn, Term *term, Sha256 *prev_hash)
{
    ASSERT(replica_is_leading(r));
    *lsn = r->last_lsn + 1;
    *term = r->term;
    *prev_hash = r->last_hash;
}

bool replica_can_read(const Replica *r, uint64_t now_ns)
{
    UNUSED(now_ns);
    /* With other members a read needs promises (REPLICATION.md section 4), which come
     * with copies. */
    return r->role == ROLE_PRIMARY && r->config.member_count == 1;
}

ReplicaRole replica_role(const Replica *r)
{
    return r->role;
}

Lsn replica_last_lsn(const Replica *r)
{
    return r->last_lsn;
}

Lsn replica_durable_lsn(const Replica *r)
{
    return r->durable_lsn;
}

Lsn replica_commit_lsn(const Replica *r)
{
    return r->commit_lsn;
}

Term replica_term(const Replica *r)
{
    return r->term;
}

const ShardConfig *replica_config(const Replica *r)
{
    return &r->config;
}

void replica_copies(const Replica *r, Lsn lsn, unsigned *synced, unsigned *copies)
{
    unsigned have = 0;
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        Lsn durable = i == r->self ? r->durable_lsn : r->members[i].durable;
        if (durable >= lsn) have++;
    }
    *synced = have;
    *copies = r->config.member_count;
}

const char *replica_role_name(ReplicaRole role)
{
    static const char *const names[] = {
        [ROLE_FOLLOWER] = "follower",       [ROLE_CANDIDATE] = "candidate",
        [ROLE_STARTING] = "starting",       [ROLE_PRIMARY] = "primary",
        [ROLE_LEARNER] = "learner",         [ROLE_INCOMPLETE] = "incomplete",
        [ROLE_QUARANTINED] = "quarantined",
    };
    ASSERT(role >= ROLE_FOLLOWER && role <= ROLE_QUARANTINED);
    return names[role];
}
