/* Several roots: what administrators are told of the copies, and what they may ask for. */
#include "service/engine_priv.h"

#include "base/log.h"

#define HAND_OVER_NS                                                                               \
    UINT64_C(2000000000) /* that it may take until what is under way is committed */

/* --- what they are told --- */

/* Bytes of what the lead's log has behind lsn, and when the first of it was made. False: that is in
 * memory no more. */
static bool behind_lsn(const Kept *kept, Lsn lsn, EngineCopy *copy)
{
    if (kept->count == 0 || lsn + 1 < kept->first_lsn) return false;
    if (lsn + 1 - kept->first_lsn >= kept->count) return false;
    size_t from = (size_t)(lsn + 1 - kept->first_lsn);
    for (size_t i = from; i < kept->count; i++) {
        const Sealed *sealed = kept->items[(kept->first + i) % kept->capacity];
        copy->lag_bytes += sealed_len(sealed);
        if (i == from) copy->lag_from_ms = sealed->entry.time_ms;
    }
    return true;
}

static void set_lag(const EngineMember *lead, EngineCopy *copy)
{
    Lsn last = replica_last_lsn(lead->replica);
    copy->lag_known = true;
    if (copy->durable_lsn >= last) return;
    copy->lag_entries = last - copy->durable_lsn;
    copy->lag_known = behind_lsn(&lead->kept, copy->durable_lsn, copy);
}

/* Which bit of the configuration's sets stands for root; MEMBERS_MAX: it is no member. */
static unsigned bit_of(const ShardConfig *config, Uuid root)
{
    for (unsigned i = 0; i < config->member_count; i++) {
        if (id128_eq(config->members[i].root, root)) return i;
    }
    return MEMBERS_MAX;
}

static bool is_learner(const ShardConfig *config, Uuid root)
{
    for (uint32_t i = 0; i < config->learner_count; i++) {
        if (id128_eq(config->learners[i].root, root)) return true;
    }
    return false;
}

static EngineCopy copy_of(const Engine *engine, const EngineShard *shard, unsigned root)
{
    const EngineMember *lead = &shard->on[shard->group->lead];
    const ShardConfig *config = replica_config(lead->replica);
    const Replica *replica = shard->on[root].replica;
    unsigned bit = bit_of(config, store_root(engine->roots[root].store)->uuid);
    EngineCopy copy = {.role = replica_role(replica),
                       .term = replica_term(replica),
                       .last_lsn = replica_last_lsn(replica),
                       .durable_lsn = replica_durable_lsn(replica),
                       .commit_lsn = replica_commit_lsn(replica),
                       .is_member = bit < MEMBERS_MAX,
                       .in_sync = bit < MEMBERS_MAX && (config->isr >> bit & 1) != 0,
                       .electable = bit < MEMBERS_MAX && (config->elr >> bit & 1) != 0,
                       .lag_known = true};
    copy.is_learner = is_learner(config, store_root(engine->roots[root].store)->uuid);
    if (copy.is_member || copy.is_learner) set_lag(lead, &copy);
    return copy;
}

size_t engine_shards(const Engine *engine, EngineShardStatus *out, size_t max)
{
    for (size_t i = 0; i < MIN(max, engine->shard_count); i++) {
        const EngineShard *shard = engine->shards[engine->shard_list[i]];
        const Replica *replica = engine_lead_replica(shard);
        const ShardConfig *config = replica_config(replica);
        out[i] = (EngineShardStatus){.shard = engine->shard_list[i],
                                     .role = replica_role(replica),
                                     .term = replica_term(replica),
                                     .last_lsn = replica_last_lsn(replica),
                                     .durable_lsn = replica_durable_lsn(replica),
                                     .commit_lsn = replica_commit_lsn(replica),
                                     .config_version = config->version,
                                     .member_count = config->member_count,
                                     .min_isr = config->min_isr,
                                     .lead = shard->group->lead};
        for (unsigned r = 0; r < engine->options.root_count; r++)
            out[i].copies[r] = copy_of(engine, shard, r);
    }
    return engine->shard_count;
}

/* --- what they ask for --- */

static ErrCode check_target(const Engine *engine, unsigned root, Err *err)
{
    ASSERT(root < engine->options.root_count);
    if (engine->options.root_count == 1)
        return err_set(err, ERR_PRECONDITION, "this server keeps one copy: there is no other root");
    if (engine->moving) return err_set(err, ERR_BUSY, "the lead is being handed over; try again");
    if (!engine->ready) return err_set(err, ERR_NOT_READY, "the copies take no changes now");
    if (engine_failed(engine))
        return err_set(err, ERR_NOT_READY,
                       "too many roots are out for changes: only a restart takes them back");
    return OK;
}

static void begin_moving(Engine *engine, unsigned to, bool evict)
{
    engine->moving = true;
    engine->moving_why = "asked";
    engine->moving_to = to;
    engine->moving_evicts = evict;
    engine->moving_until_ns = clock_boot_ns(engine->options.clock) + HAND_OVER_NS;
}

void engine_begin_moving(Engine *engine, unsigned to, const char *why)
{
    begin_moving(engine, to, false);
    engine->moving_why = why;
}

ErrCode engine_hand_over(Engine *engine, unsigned root, Err *err)
{
    TRY(check_target(engine, root, err));
    if (root == engine->base->lead) return OK;
    if (engine->roots[root].failed) return err_set(err, ERR_PRECONDITION, "this root is left out");
    if ((engine_in_sync(engine) >> root & 1) == 0)
        return err_set(err, ERR_PRECONDITION,
                       "this root is not in sync: it lacks what others have");
    begin_moving(engine, root, false);
    return OK;
}

/* Would enough of group be left without root? */
static ErrCode check_left(const Engine *engine, const EngineGroup *group, unsigned root, Err *err)
{
    unsigned in_sync = engine_group_in_sync(engine, group);
    unsigned left = (unsigned)__builtin_popcount(in_sync & ~(1U << root));
    unsigned needed = engine_group_needed(engine, group);
    ClassInfo info = {.name = "standard"};
    bool keeps = (engine_group_members(engine, group) >> root & 1) != 0 || group == engine->base;
    if (group->failed || !keeps || left >= needed) return OK;
    bool known = classes_get(engine->options.classes, group->rules.number, &info);
    return err_set(err, ERR_PRECONDITION,
                   "%u in sync would be left of class %s, and %u are needed for changes", left,
                   known ? info.name : "?", needed);
}

static void leave_out(Engine *engine, unsigned root)
{
    engine_root_failed(engine, root);
    engine->roots[root].evicted = true;
}

ErrCode engine_evict(Engine *engine, unsigned root, Err *err)
{
    TRY(check_target(engine, root, err));
    if (engine->roots[root].failed) return OK;
    unsigned class = 0;
    bool leads = false;
    for (const EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        TRY(check_left(engine, group, root, err));
        leads = leads || (group->lead == root && !group->failed);
    }
    if (leads)
        begin_moving(engine, root, true);
    else
        leave_out(engine, root);
    return OK;
}

/* To the protocol that was a pause, as of a process that stood still: what it promised is over,
 * what it led others lead, and it is given what it lacks. A root that failed has no such way back.
 */
ErrCode engine_add(Engine *engine, unsigned root, Err *err)
{
    TRY(check_target(engine, root, err));
    if (!engine->roots[root].failed) return OK;
    if (!engine->roots[root].evicted)
        return err_set(err, ERR_PRECONDITION,
                       "this root failed, it was not evicted: it is left out until the next start");
    engine->roots[root].failed = false;
    engine->roots[root].evicted = false;
    ErrCode code = engine_step_owed(engine, root, err);
    if (code != OK) engine_root_failed(engine, root);
    return code;
}

bool engine_root_is_evicted(const Engine *engine, unsigned root)
{
    return engine->roots[root].evicted;
}

bool engine_is_moving(const Engine *engine)
{
    return engine->moving;
}

bool engine_group_rests(const Engine *engine, const EngineGroup *group)
{
    for (size_t i = 0; i < group->count && !group->failed; i++) {
        EngineShard *shard = engine_group_shard(engine, group, i);
        if (engine_lead_member(shard)->open_first != NULL) return false;
        if (shard->waiting != NULL) return false;
    }
    return true;
}

static bool leads_rest(Engine *engine)
{
    unsigned class = 0;
    for (const EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        if (!engine_group_rests(engine, group)) return false;
    }
    return true;
}

/* Where the lead of group is to go; root_count: it stays. */
static unsigned target_of(const Engine *engine, const EngineGroup *group)
{
    unsigned stays = engine->options.root_count;
    unsigned in_sync = engine_group_in_sync(engine, group);
    unsigned others = in_sync & ~(1U << engine->moving_to);
    if (group->failed) return stays;
    if (engine->moving_evicts)
        return group->lead == engine->moving_to && others != 0 ? (unsigned)__builtin_ctz(others)
                                                               : stays;
    bool moves = group->lead != engine->moving_to && (in_sync >> engine->moving_to & 1) != 0;
    return moves ? engine->moving_to : stays;
}

/* Does the group that leads root, or is to, still have somewhere to go? */
static bool can_move(const Engine *engine)
{
    unsigned class = 0;
    unsigned stays = engine->options.root_count;
    if (engine->failed || engine->roots[engine->moving_to].failed) return false;
    if (!engine->moving_evicts) return target_of(engine, engine->base) < stays;
    for (const EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        bool leads = group->lead == engine->moving_to && !group->failed;
        if (leads && target_of(engine, group) == stays) return false;
    }
    return true;
}

/* New changes wait while those under way are committed, so that nobody's outcome is unknown. */
void engine_move_on(Engine *engine)
{
    if (!engine->moving) return;
    unsigned class = 0;
    unsigned stays = engine->options.root_count;
    bool may = can_move(engine);
    bool late = clock_boot_ns(engine->options.clock) >= engine->moving_until_ns;
    if (may && !late && !leads_rest(engine)) return;
    engine->moving = false;
    if (!may || late) return;
    for (EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        unsigned to = target_of(engine, group);
        if (to < stays) engine_move_lead(engine, group, to, engine->moving_why);
    }
    if (engine->moving_evicts) leave_out(engine, engine->moving_to);
}
