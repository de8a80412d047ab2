#include "replica/replica.h"

#include <stddef.h>
#include <string.h>

#include "replica/replica_priv.h"

/* A tick of a primary gives most: it knows no fence's members, and of each other peer it has a
 * heartbeat, a snapshot with its announcement, and a HAND_OVER to send. */
_Static_assert(REPLICA_EFFECTS_MAX >= 4 * (PEERS_MAX - 1 - MEMBERS_MAX) + 8, "a tick must fit");
_Static_assert(PEERS_MAX <= sizeof(PeerMask) * 8, "a bit for each");

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
    r->window_first = 1;
    return r;
}

void replica_plant(Replica *r, uint64_t bugs)
{
    r->bugs = bugs;
}

static void deliver(Replica *r, const Message *in, Effects *effects)
{
    switch (in->type) {
    case MSG_APPEND: replica_on_append_msg(r, in, effects); break;
    case MSG_APPENDED: replica_on_appended(r, in, effects); break;
    case MSG_MISMATCH: replica_on_mismatch(r, in, effects); break;
    case MSG_POLL: replica_on_poll(r, in, effects); break;
    case MSG_POLLED: replica_on_polled(r, in, effects); break;
    case MSG_FENCE: replica_on_fence(r, in, effects); break;
    case MSG_FENCED: replica_on_fenced(r, in, effects); break;
    case MSG_HEARTBEAT: replica_on_heartbeat(r, in, effects); break;
    case MSG_PROMISE: replica_on_promise(r, in, effects); break;
    case MSG_SNAPSHOT: replica_on_snapshot(r, in, effects); break;
    case MSG_HAND_OVER: replica_on_hand_over(r, in, effects); break;
    default: r->ignored_messages++; break;
    }
}

static void replica_on_message(Replica *r, const Message *in, Effects *effects)
{
    bool ours = in->shard == r->shard && id128_eq(in->to, r->root) && !id128_eq(in->from, r->root);
    if (!ours || in->to_incarnation > r->incarnation || !replica_message_sane(in)) {
        r->ignored_messages++;
        return;
    }
    if (replica_is_leading(r)) replica_note_life(r, in->from, in->from_incarnation);
    if (r->role == ROLE_CANDIDATE) replica_meet(r, in->from, in->from_incarnation);
    if (in->to_incarnation == r->incarnation || replica_bug(r, REPLICA_BUG_NO_INCARNATION)) {
        deliver(r, in, effects);
        return;
    }
    /* Meant for an earlier life of this root: whoever leads, or wants to, is told of this one. */
    r->ignored_messages++;
    if (in->type == MSG_HEARTBEAT || in->type == MSG_POLL || in->type == MSG_FENCE) {
        message_tell(r, effects, MSG_MISMATCH, in); /* all is set */
    }
}

static void replica_on_tick(Replica *r, const Event *event, Effects *effects)
{
    r->sync_age_ns = event->sync_age_ns;
    r->sync_p99_ns = event->sync_p99_ns;
    if (r->role == ROLE_CANDIDATE)
        replica_tick_candidate(r, effects);
    else if (replica_is_leading(r))
        replica_tick_primary(r, event, effects);
}

void replica_step(Replica *r, const Event *event, Effects *effects)
{
    replica_check(r);
    effects->count = 0;
    ASSERT(r->restarted != (event->type == EVENT_RESTART));
    r->now_ns = event->now_ns;
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
        case EVENT_TICK: replica_on_tick(r, event, effects); break;
        case EVENT_ROW: replica_on_row(r, event, effects); break;
        case EVENT_CHANGE: replica_on_change(r, event, effects); break;
        case EVENT_HAND_OVER: replica_hand_over(r, event->root, effects); break;
        case EVENT_FETCHED: replica_on_fetched(r, event, effects); break;
        case EVENT_FORGOTTEN: r->sendable = MAX(r->sendable, event->lsn + 1); break;
        case EVENT_SNAPSHOT_STORED: replica_on_snapshot_stored(r, event, effects); break;
        default: ASSERT(event->type <= EVENT_SNAPSHOT_STORED); break;
        }
    }
    replica_check(r);
}

Effect *effect_add(Effects *effects, EffectType type)
{
    ASSERT(effects->count < REPLICA_EFFECTS_MAX);
    Effect *effect = &effects->items[effects->count++];
    if (type == EFFECT_SEND) { /* its head is filled in by message_fill() */
        memset(&effect->message, 0, offsetof(Message, config));
    } else {
        memset(effect, 0, offsetof(Effect, message));
    }
    effect->type = type;
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
    m->unsound = !replica_is_sound(r);
    m->seeding = r->incomplete && r->seed_term == r->term; /* of an earlier term it never ends */
    const LogConfig *config = replica_log_config(r);
    if (config != NULL) {
        m->config_lsn = config->lsn;
        m->config_term = config->term;
    }
    return m;
}

Message *message_add(const Replica *r, Effects *effects, MessageType type, uint32_t to)
{
    ASSERT(to > 0 && to < r->peer_count);
    Message *m = message_fill(r, effects, type);
    m->to = r->peers[to].root;
    m->to_incarnation = r->peers[to].incarnation;
    return m;
}

Message *message_answer(const Replica *r, Effects *effects, MessageType type, const Message *in)
{
    Message *m = message_fill(r, effects, type);
    m->to = in->from;
    m->to_incarnation = in->from_incarnation;
    return m;
}

void effect_plain(Effects *effects, EffectType type)
{
    const Effect *effect = effect_add(effects, type);
    ASSERT(effect->type == type);
}

void message_tell(const Replica *r, Effects *effects, MessageType type, const Message *in)
{
    const Message *m = message_answer(r, effects, type, in);
    ASSERT(m->type == type);
}

void replica_set_role(Replica *r, ReplicaRole role, Effects *effects)
{
    if (r->role == role) return;
    r->role = role;
    Effect *effect = effect_add(effects, EFFECT_ROLE);
    effect->role = role;
}

bool replica_is_leading(const Replica *r)
{
    return r->role == ROLE_STARTING || r->role == ROLE_PRIMARY;
}

bool replica_is_sound(const Replica *r)
{
    return (!r->incomplete && !r->suspect) || replica_bug(r, REPLICA_BUG_INCOMPLETE_COUNTS);
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

void replica_step_down(Replica *r, Effects *effects)
{
    if (!replica_is_leading(r) && r->role != ROLE_CANDIDATE) return;
    r->start_lsn = 0;
    r->start_wanted = false;
    r->config_wanted = false;
    r->config_owed = false;
    r->change_open = false;
    r->cas = CAS_NONE;
    r->fence_config = (LogConfig){0};
    replica_set_role(r, ROLE_FOLLOWER, effects);
}

void replica_see_term(Replica *r, Term term, Effects *effects)
{
    if (term <= r->term) return;
    replica_set_term(r, term);
    replica_step_down(r, effects);
}

void replica_set_commit(Replica *r, Lsn lsn, Effects *effects)
{
    if (lsn <= r->commit_lsn) return;
    bool pending = replica_config_pending(r);
    r->commit_lsn = lsn;
    effect_add(effects, EFFECT_COMMIT)->lsn = lsn;
    if (pending && !replica_config_pending(r)) replica_peers_rebuild(r); /* the old one is over */
}

void replica_store_state(Replica *r, Effects *effects)
{
    r->state_asked_term = r->term;
    effect_add(effects, EFFECT_STORE_STATE)->state = (ReplicaState){.shard = r->shard,
                                                                    .max_term = r->term,
                                                                    .voted_for = r->voted_for,
                                                                    .incomplete = r->incomplete};
}

bool replica_vote_durable(const Replica *r, Uuid whom)
{
    return r->state_durable_term == r->term && id128_eq(r->state_durable_vote, whom);
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

ReplicaRole replica_role(const Replica *r)
{
    return r->role;
}

Lsn replica_last_lsn(const Replica *r)
{
    return r->last_lsn;
}

bool replica_log_reaches(const Replica *a, const Replica *b)
{
    return replica_up_to_date(a->last_term, a->last_lsn, b->last_term, b->last_lsn);
}

Lsn replica_durable_lsn(const Replica *r)
{
    return r->durable_lsn;
}

Lsn replica_commit_lsn(const Replica *r)
{
    return r->commit_lsn;
}

bool replica_is_suspect(const Replica *r)
{
    return r->suspect;
}

bool replica_in_sync(const Replica *r)
{
    uint32_t self = replica_config_index(&r->config, r->root);
    return self < MEMBERS_MAX && (r->config.isr >> self & 1) != 0;
}

bool replica_may_stand(const Replica *r)
{
    return replica_is_eligible(r, 0);
}

Lsn replica_needless_lsn(const Replica *r)
{
    if (!replica_is_leading(r)) return r->commit_lsn;
    Lsn lowest = r->last_lsn;
    for (uint32_t i = 1; i < r->peer_count; i++)
        lowest = MIN(lowest, r->peers[i].durable);
    return lowest;
}

Term replica_term(const Replica *r)
{
    return r->term;
}

const ShardConfig *replica_config(const Replica *r)
{
    return &r->config;
}

uint64_t replica_heard_ns(const Replica *r)
{
    return r->heard_ns;
}

bool replica_requires(const Replica *r, Uuid root)
{
    uint32_t peer = replica_peer_of(r, root);
    return peer < PEERS_MAX && (replica_required(r) >> peer & 1) != 0;
}

bool replica_caught_up(const Replica *r, Uuid root)
{
    uint32_t peer = replica_peer_of(r, root);
    return peer > 0 && peer < PEERS_MAX && r->peers[peer].caught_up_ns != 0;
}

uint16_t replica_synced(const Replica *r, Lsn lsn)
{
    uint16_t synced = 0;
    for (uint32_t i = 0; i < r->config.member_count; i++) {
        uint32_t peer = replica_peer_of(r, r->config.members[i].root);
        if (peer >= PEERS_MAX) continue;
        Lsn durable = peer == 0 ? r->durable_lsn : r->peers[peer].durable;
        if (durable >= lsn) synced |= (uint16_t)(1u << i);
    }
    return synced;
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
