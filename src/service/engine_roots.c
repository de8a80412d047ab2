/* Several roots: on which of them the shards stand, and what happens when one is lost. */
#include "service/engine_priv.h"

#include <inttypes.h>

#include "base/log.h"

/* How long whoever stands is left alone, and how often that is doubled. */
#define STAND_NS UINT64_C(1000000000)
#define STANDS_DOUBLED 3u
#define LEAD_STUCK_NS 1000000000ULL         /* a sync that takes so long */
#define LEAD_FULL_NS UINT64_C(1000000000)   /* that a lead may have no room, … */
#define LEAD_AGAIN_NS UINT64_C(10000000000) /* … and between two tries to leave it */
#define LEAD_OUT_NS UINT64_C(2000000000)    /* how long others may leave it out */

bool engine_lead_stands(const Engine *engine, const EngineGroup *group)
{
    for (size_t i = 0; i < group->count; i++) {
        const EngineShard *shard = engine_group_shard(engine, group, i);
        if (replica_role(engine_lead_replica(shard)) != ROLE_PRIMARY) return false;
    }
    return true;
}

bool engine_group_may_read(const Engine *engine, const EngineGroup *group)
{
    uint64_t now = clock_boot_ns(engine->options.clock);
    for (size_t i = 0; i < group->count; i++) {
        const EngineShard *shard = engine_group_shard(engine, group, i);
        if (!replica_can_read(engine_lead_replica(shard), now)) return false;
    }
    return !engine->roots[group->lead].failed;
}

void engine_count_open(Engine *engine, const EngineShard *shard, const Record *record, bool done)
{
    const Sealed *sealed = record->sealed;
    engine_count_told(shard->group, record, done);
    if (record->entry.lsn <= shard->counted_lsn) return;
    if (engine_is_bucket_change(record)) engine->bucket_changes += done ? (size_t)-1 : 1;
    if (engine_is_class_change(record)) engine->class_changes += done ? (size_t)-1 : 1;
    if (done)
        buckets_withdrawn(engine->options.buckets, record->entry.bucket, sealed->files_delta,
                          sealed->bytes_delta);
    else
        buckets_appended(engine->options.buckets, record->entry.bucket, sealed->files_delta,
                         sealed->bytes_delta);
}

static void count_all_open(Engine *engine, EngineShard *shard, bool done)
{
    const Record *record = engine_lead_member(shard)->open_first;
    for (; record != NULL; record = record->next)
        engine_count_open(engine, shard, record, done);
}

void engine_take_lead(Engine *engine, EngineGroup *group, unsigned root)
{
    group->lead = root;
    for (size_t i = 0; i < group->count; i++) {
        EngineShard *shard = engine_group_shard(engine, group, i);
        shard->told_lsn = 0;
        count_all_open(engine, shard, false);
    }
}

static void leave_lead(Engine *engine, EngineGroup *group)
{
    engine_leave_told(group);
    for (size_t i = 0; i < group->count; i++) {
        EngineShard *shard = engine_group_shard(engine, group, i);
        engine_answer_unknown(engine, shard);
        count_all_open(engine, shard, true);
    }
    ASSERT(group->told_entries == 0);
    if (group == engine->base) ASSERT(engine->bucket_changes == 0 && engine->class_changes == 0);
}

/* Is a's log longer, or as long and a one of those who may stand then? */
static bool is_better(const EngineMember *a, const EngineMember *b)
{
    if (!replica_log_reaches(b->replica, a->replica)) return true;
    if (!replica_log_reaches(a->replica, b->replica)) return false;
    return replica_may_stand(a->replica) && !replica_may_stand(b->replica);
}

/* Not one that is incomplete or SUSPECT, learns, or is no member by the row, though by its log's
 * last CONFIG.
 */
static bool can_stand(const Engine *engine, const EngineMember *member)
{
    ReplicaRole role = replica_role(member->replica);
    const ShardConfig *row = replica_config(member->replica);
    Uuid uuid = store_root(engine->roots[member->root].store)->uuid;
    if (role == ROLE_INCOMPLETE || role == ROLE_LEARNER) return false;
    if (replica_is_suspect(member->replica)) return false;
    for (uint32_t i = 0; i < row->member_count; i++) {
        if (id128_eq(row->members[i].root, uuid)) return true;
    }
    return false;
}

/* Of those whose disk stands still, or of the others. */
static EngineMember *longest_of(const Engine *engine, EngineShard *shard, bool still)
{
    EngineMember *best = NULL;
    for (unsigned i = 0; i < engine->options.root_count; i++) {
        EngineMember *member = &shard->on[(shard->group->lead + i) % engine->options.root_count];
        const EngineRoot *root = &engine->roots[member->root];
        if (root->failed || root->still != still) continue;
        if (!can_stand(engine, member)) continue;
        if (best == NULL || is_better(member, best)) best = member;
    }
    return best;
}

/* Whose log no other's is ahead of; the lead, if that is one. NULL: no root is well. A disk that
 * stands still would never have its vote durable; what is committed, others have. */
static EngineMember *longest(const Engine *engine, EngineShard *shard)
{
    EngineMember *best = longest_of(engine, shard, false);
    return best != NULL ? best : longest_of(engine, shard, true);
}

/* Is root a member of the group's shards by what they know of their row? */
static bool names_root(const Engine *engine, const EngineGroup *group, unsigned root)
{
    const Replica *replica = engine_group_shard(engine, group, 0)->on[root].replica;
    const ShardConfig *row = replica_config(replica);
    Uuid uuid = store_root(engine->roots[root].store)->uuid;
    for (uint32_t i = 0; i < row->member_count; i++) {
        if (id128_eq(row->members[i].root, uuid)) return true;
    }
    return false;
}

/* How good root would be: where it is in sync, and where its log is as long as any. */
static size_t fitness(const Engine *engine, const EngineGroup *group, unsigned root)
{
    size_t sum = 1;
    if (group != engine->base && !names_root(engine, group, root)) return 0;
    if (!engine_counts(engine, group, root) || engine->roots[root].still) return sum;
    if (store_is_remade(engine->roots[root].store)) return sum;
    for (size_t i = 0; i < group->count; i++) {
        EngineShard *shard = engine_group_shard(engine, group, i);
        const EngineMember *best = longest(engine, shard);
        const Replica *replica = shard->on[root].replica;
        if (best != NULL && replica_log_reaches(replica, best->replica)) sum += 2;
        sum += replica_in_sync(replica);
    }
    return sum;
}

bool engine_choose_lead(const Engine *engine, const EngineGroup *group, unsigned *out)
{
    size_t best = 0;
    for (unsigned i = 0; i < engine->options.root_count; i++) {
        unsigned root = (group->lead + i) % engine->options.root_count;
        size_t fit = engine->roots[root].failed ? 0 : fitness(engine, group, root);
        if (fit <= best) continue;
        best = fit;
        *out = root;
    }
    return best > 0;
}

/* Of members, those that did not fail; what is elsewhere is taken for well. */
static unsigned well_members(const Engine *engine, const ShardConfig *config)
{
    unsigned well = 0;
    for (unsigned i = 0; i < config->member_count; i++) {
        unsigned root = 0;
        bool here = engine_root_of(engine, config->members[i].root, &root);
        well += !here || !engine->roots[root].failed;
    }
    return well;
}

/* Enough for something to be committed, and without its lead for another to be elected? */
static bool enough_roots(const Engine *engine, const EngineGroup *group)
{
    bool elects = engine->roots[group->lead].failed;
    for (size_t i = 0; i < group->count; i++) {
        const EngineShard *shard = engine_group_shard(engine, group, i);
        const ShardConfig *config = replica_config(engine_lead_replica(shard));
        unsigned needed = config->min_isr;
        if (elects)
            needed = MAX(needed, replica_fence_quorum(config->member_count, config->min_isr));
        if (well_members(engine, config) < needed) return false;
    }
    return true;
}

void engine_move_lead(Engine *engine, EngineGroup *group, unsigned to, const char *why)
{
    LOG_TO(OPERATIONS, WARN, "engine.lead_moves", "class=%u from=%u to=%u why=%s",
           group->rules.number, group->lead, to, why);
    leave_lead(engine, group);
    engine_take_lead(engine, group, to);
}

/* A lead whose log stands still holds everybody up; the protocol drops it later than another can
 * take over. */
static void leave_stuck_lead(Engine *engine, EngineGroup *group,
                             const EngineHealth health[ENGINE_ROOTS_MAX])
{
    unsigned in_sync = engine_group_in_sync(engine, group);
    if (health[group->lead].sync_age_ns < LEAD_STUCK_NS) return;
    for (unsigned i = 1; i < engine->options.root_count; i++) {
        unsigned r = (group->lead + i) % engine->options.root_count;
        bool good = (in_sync >> r & 1) != 0 && health[r].sync_age_ns < LEAD_STUCK_NS / 4;
        if (!good) continue;
        engine_move_lead(engine, group, r, "stalls");
        return;
    }
}

/* A lead without room refuses what others could take: the lead goes to a root with plenty of it,
 * and does not come back by itself. Of classes that don't stand where the standard one does only at
 * rest. */
static void leave_full_lead(Engine *engine, EngineGroup *group,
                            const EngineHealth health[ENGINE_ROOTS_MAX])
{
    unsigned in_sync = engine_group_in_sync(engine, group);
    uint64_t now = clock_boot_ns(engine->options.clock);
    if (!health[group->lead].full) group->full_ns = 0;
    if (!health[group->lead].full || engine->moving || !engine->ready) return;
    if (group->full_ns == 0) group->full_ns = now;
    if (now < group->full_ns + LEAD_FULL_NS) return;
    for (unsigned i = 1; i < engine->options.root_count; i++) {
        unsigned r = (group->lead + i) % engine->options.root_count;
        bool good = (in_sync >> r & 1) != 0 && health[r].roomy && !engine->roots[r].still;
        if (!good) continue;
        group->full_ns = now + LEAD_AGAIN_NS;
        if (group == engine->base)
            engine_begin_moving(engine, r, "full");
        else if (engine_group_rests(engine, group))
            engine_move_lead(engine, group, r, "full");
        else
            group->full_ns = now;
        return;
    }
}

/* A root of it failed. */
static void lose_root(Engine *engine, EngineGroup *group, unsigned root)
{
    unsigned next = 0;
    if (group->failed) return;
    if (!enough_roots(engine, group) || !engine_choose_lead(engine, group, &next))
        engine_fail_group(engine, group);
    else if (root == group->lead)
        engine_move_lead(engine, group, next, "failed");
}

void engine_root_failed(Engine *engine, unsigned root)
{
    unsigned class = 0;
    engine->roots[root].evicted = false; /* should it have been: there is no way back now */
    if (engine->roots[root].failed) return;
    engine->roots[root].failed = true;
    for (EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;)
        lose_root(engine, group, root);
}

/* The lead may be behind the start of another's log, which has what it waits for; or learn only. */
static void leave_passive(Engine *engine, EngineGroup *group)
{
    unsigned next = 0;
    if (engine_counts(engine, group, group->lead)) return;
    if (!engine_choose_lead(engine, group, &next) || next == group->lead) return;
    engine_move_lead(engine, group, next, "incomplete");
}

/* Who is in sync by the primary of every shard; nobody, while a shard has none. */
static unsigned in_sync_by_primaries(const Engine *engine, const EngineGroup *group)
{
    unsigned mask = (1U << engine->options.root_count) - 1;
    for (size_t i = 0; i < group->count; i++) {
        const EngineShard *shard = engine_group_shard(engine, group, i);
        unsigned here = 0;
        for (unsigned r = 0; r < engine->options.root_count; r++) {
            const Replica *replica = shard->on[r].replica;
            if (engine->roots[r].failed || replica_role(replica) != ROLE_PRIMARY) continue;
            here |= engine_isr_of(engine, replica_config(replica));
        }
        mask &= here;
    }
    return mask;
}

/* Who led may be dropped in the moment in which the lead comes to it: nothing is handed to who is
 * not in sync, and with nobody else wanting the lead all would wait until it is again. */
static void leave_dropped_lead(Engine *engine, EngineGroup *group)
{
    unsigned good = in_sync_by_primaries(engine, group);
    uint64_t now = clock_boot_ns(engine->options.clock);
    if (good == 0 || (good >> group->lead & 1) != 0) {
        group->lead_out_ns = 0;
        return;
    }
    if (group->lead_out_ns == 0) group->lead_out_ns = now;
    if (now - group->lead_out_ns < LEAD_OUT_NS) return;
    group->lead_out_ns = 0;
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        const EngineRoot *root = &engine->roots[r];
        if ((good >> r & 1) == 0 || root->failed || root->still) continue;
        engine_move_lead(engine, group, r, "not-in-sync");
        return;
    }
}

/* Has whoever stands not had its time yet? Its vote must be durable first, and a slow disk's is not
 * within a tick: each attempt has twice as long as the one before. */
static bool stands_already(const Engine *engine, EngineShard *shard)
{
    uint64_t now = clock_boot_ns(engine->options.clock);
    bool stands = false;
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        ReplicaRole role = replica_role(shard->on[r].replica);
        stands = stands || (role == ROLE_CANDIDATE && !engine->roots[r].failed);
    }
    if (stands && now < shard->stand_again_ns) return true;
    shard->stand_again_ns = now + (STAND_NS << MIN(shard->stands, STANDS_DOUBLED));
    shard->stands++;
    return false;
}

void engine_stand(Engine *engine, EngineShard *shard)
{
    EngineMember *member = longest(engine, shard);
    if (stands_already(engine, shard)) return;
    Event event = {.type = EVENT_STAND, .new_cfg_uid = id128_random(&engine->rng)};
    if (member != NULL) engine_step(engine, shard, member, &event);
}

/* A shard of which the lead is not primary: it is handed over to it, or whoever has most stands. */
static void want_lead(Engine *engine, EngineShard *shard)
{
    const EngineMember *lead = engine_lead_member(shard);
    Event event = {.type = EVENT_HAND_OVER,
                   .root = store_root(engine_group_store(engine, shard->group))->uuid};
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        EngineMember *member = &shard->on[r];
        ReplicaRole role = replica_role(member->replica);
        if (engine->roots[r].failed) continue;
        if (role != ROLE_PRIMARY && role != ROLE_STARTING) continue;
        shard->stands = 0;
        bool may = r != shard->group->lead && role == ROLE_PRIMARY &&
                   replica_in_sync(lead->replica);
        if (may) engine_step(engine, shard, member, &event);
        return;
    }
    engine_stand(engine, shard);
}

static void tick_shard(Engine *engine, EngineShard *shard,
                       const EngineHealth health[ENGINE_ROOTS_MAX])
{
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        Event event = {.type = EVENT_TICK,
                       .new_cfg_uid = id128_random(&engine->rng),
                       .sync_age_ns = health[r].sync_age_ns,
                       .sync_p99_ns = health[r].sync_p99_ns};
        engine_step(engine, shard, &shard->on[r], &event);
        engine_forget(engine, shard, &shard->on[r]);
    }
    if (shard->group->failed) return;
    want_lead(engine, shard);
    engine_plan(engine, shard);
}

static void tick_group(Engine *engine, EngineGroup *group,
                       const EngineHealth health[ENGINE_ROOTS_MAX])
{
    if (!group->failed) leave_stuck_lead(engine, group, health);
    if (!group->failed) leave_full_lead(engine, group, health);
    if (!group->failed) leave_passive(engine, group);
    if (!group->failed) leave_dropped_lead(engine, group);
    if (group->broken) return;
    for (size_t i = 0; i < group->count; i++)
        tick_shard(engine, engine_group_shard(engine, group, i), health);
}

void engine_tick(Engine *engine, const EngineHealth health[ENGINE_ROOTS_MAX])
{
    unsigned class = 0;
    if (engine->options.root_count == 1) {
        engine_answer_late(engine);
        return;
    }
    for (unsigned r = 0; r < engine->options.root_count; r++)
        engine->roots[r].still = health[r].sync_age_ns >= LEAD_STUCK_NS;
    for (EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;)
        tick_group(engine, group, health);
    engine_retire_roots(engine);
    engine_answer_late(engine);
    engine_pump(engine);
    engine_start_seeds(engine);
    engine_turn(engine);
}
