/* Several roots: until when what the lead has may be told, who is in sync with it, and how safe
 * what is committed is. */
#include "service/engine_priv.h"

/* Could no other be elected in place of the lead, which is silent or can't commit any more? Of the
 * others too many are roots of this process that it silenced. */
static bool stands_alone(const Engine *engine, const EngineGroup *group, const Replica *replica)
{
    const ShardConfig *config = replica_config(replica);
    unsigned others = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        unsigned root = 0;
        bool here = engine_root_of(engine, config->members[i].root, &root);
        others += !here || (root != group->lead && !engine->roots[root].failed);
    }
    return others < replica_fence_quorum(config->member_count, config->min_isr);
}

uint64_t engine_group_read_until(const Engine *engine, const EngineGroup *group)
{
    uint64_t until = UINT64_MAX;
    if (group->failed && !group->stood) return 0; /* what it has may not be all */
    if (engine->options.root_count == 1) return until;
    for (size_t i = 0; i < group->count; i++) {
        const Replica *replica = engine_lead_replica(engine_group_shard(engine, group, i));
        if (group->failed && stands_alone(engine, group, replica)) continue;
        uint64_t confirmed = replica_confirmed_ns(replica);
        if (confirmed == UINT64_MAX) continue;
        until = MIN(until, confirmed == 0 ? 0 : confirmed + REPLICA_LEASE_NS);
    }
    return until;
}

bool engine_wants_tick(const Engine *engine)
{
    bool several = engine->options.root_count > 1 && !engine->failed;
    return several && engine_lead_stands(engine, engine->base) && !engine_may_read(engine);
}

unsigned engine_isr_of(const Engine *engine, const ShardConfig *config)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < config->member_count; i++) {
        unsigned root = 0;
        bool is = (config->isr >> i & 1) != 0;
        if (is && engine_root_of(engine, config->members[i].root, &root)) mask |= 1U << root;
    }
    return mask;
}

/* Asked for in each turn of the core: each shard is looked at once. */
unsigned engine_group_in_sync(const Engine *engine, const EngineGroup *group)
{
    unsigned mask = 0;
    if (engine->options.root_count == 1) return 1;
    for (unsigned r = 0; r < engine->options.root_count; r++)
        mask |= (unsigned)!engine->roots[r].failed << r;
    for (size_t i = 0; i < group->count && mask != 0; i++) {
        const EngineShard *shard = engine_group_shard(engine, group, i);
        mask &= engine_isr_of(engine, replica_config(engine_lead_replica(shard)));
    }
    return mask;
}

bool engine_is_left(const Engine *engine, unsigned root)
{
    for (size_t i = 0; i < engine->shard_count; i++) {
        const EngineShard *shard = engine->shards[engine->shard_list[i]];
        const ShardConfig *config = replica_config(engine_lead_replica(shard));
        if (shard->group->failed) continue;
        if ((engine_isr_of(engine, config) >> root & 1) != 0) return false;
    }
    return true;
}

/* Of members, bits of config: those that are elsewhere are each on a disk of its own. */
static Durability summed_up(const Engine *engine, const ShardConfig *config, uint16_t members)
{
    Durability d = {.copies = config->member_count, .zones = 1};
    uint64_t devices[MEMBERS_MAX];
    for (unsigned i = 0; i < config->member_count; i++) {
        unsigned root = 0;
        if ((members >> i & 1) == 0) continue;
        d.synced++;
        bool here = engine_root_of(engine, config->members[i].root, &root);
        if (here && engine->roots[root].failed) d.synced--;
        if (here && engine->roots[root].failed) continue;
        bool known = false;
        for (unsigned j = 0; here && j < d.disks; j++)
            known = known || devices[j] == engine->options.devices[root];
        if (!known) devices[d.disks++] = here ? engine->options.devices[root] : UINT64_MAX;
    }
    return d;
}

/* A class with fewer members than it is to have lacks copies. */
static Durability with_wanted(const Engine *engine, const EngineGroup *group, Durability d)
{
    if (group != engine->base) d.copies = MAX(d.copies, engine_group_copies(engine, group));
    return d;
}

Durability engine_durability_of(const Engine *engine, const EngineShard *shard,
                                const EngineMember *member, Lsn lsn)
{
    const Replica *replica = member->replica;
    Durability d = summed_up(engine, replica_config(replica), replica_synced(replica, lsn));
    return with_wanted(engine, shard->group, d);
}

unsigned engine_synced(const Engine *engine, const EngineShard *shard)
{
    const ShardConfig *config = replica_config(engine_lead_replica(shard));
    return summed_up(engine, config, config->isr).synced;
}

bool engine_all_in_sync(const Engine *engine, const EngineShard *shard)
{
    const ShardConfig *config = replica_config(engine_lead_replica(shard));
    Durability d = summed_up(engine, config, config->isr);
    return d.synced >= MAX(d.copies, engine_group_copies(engine, shard->group));
}

unsigned engine_group_members(const Engine *engine, const EngineGroup *group)
{
    unsigned mask = 0;
    for (size_t i = 0; i < group->count; i++) {
        const ShardConfig *config = replica_config(
            engine_lead_replica(engine_group_shard(engine, group, i)));
        for (uint32_t k = 0; k < config->member_count; k++) {
            unsigned root = 0;
            if (engine_root_of(engine, config->members[k].root, &root)) mask |= 1U << root;
        }
    }
    return mask;
}

unsigned engine_group_needed(const Engine *engine, const EngineGroup *group)
{
    unsigned needed = 1;
    for (size_t i = 0; i < group->count; i++) {
        const EngineShard *shard = engine_group_shard(engine, group, i);
        needed = MAX(needed, replica_config(engine_lead_replica(shard))->min_isr);
    }
    return needed;
}

Durability engine_group_durability(const Engine *engine, const EngineGroup *group)
{
    Durability least = {0};
    for (size_t i = 0; i < group->count; i++) {
        const ShardConfig *config = replica_config(
            engine_lead_replica(engine_group_shard(engine, group, i)));
        Durability d = summed_up(engine, config, config->isr);
        if (i == 0 || d.synced < least.synced) least = d;
    }
    return with_wanted(engine, group, least);
}
