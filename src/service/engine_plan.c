/* Several roots: who is to be a member of a shard. All roots that are served are, or of a class
 * with fewer copies as many of them. One that is new is first a learner; when it has all that is
 * committed, a member that is in none of the directories goes, and then it comes, one change at a
 * time (REPLICATION.md section 5). Not the other way round if that can be: of four members of which
 * one is gone all others would have to agree on a primary, and the new one, whose log may be ahead,
 * may not stand before the row names it. min_isr follows. Each step is asked for again at a tick
 * until it is done; one that can't be taken just now is none.
 */
#include "service/engine_priv.h"

static Member *find(Member *members, uint32_t count, Uuid root)
{
    for (uint32_t i = 0; i < count; i++) {
        if (id128_eq(members[i].root, root)) return &members[i];
    }
    return NULL;
}

static bool is_among(const Member *members, uint32_t count, Uuid root)
{
    for (uint32_t i = 0; i < count; i++) {
        if (id128_eq(members[i].root, root)) return true;
    }
    return false;
}

static void take_out(Member *members, uint32_t *count, Uuid root)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++) {
        if (!id128_eq(members[i].root, root)) members[kept++] = members[i];
    }
    *count = kept;
}

static Member member_of(const Engine *engine, unsigned r)
{
    const RootInfo *root = store_root(engine->roots[r].store);
    return (Member){.root = root->uuid, .incarnation = root->incarnation};
}

/* How many of config's members are roots that are served, and of its learners. */
static unsigned served_count(const Engine *engine, const ShardConfig *config)
{
    unsigned count = 0;
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        Uuid root = member_of(engine, r).root;
        count += is_among(config->members, config->member_count, root) ||
                 is_among(config->learners, config->learner_count, root);
    }
    return count;
}

/* A root of ours that is none: a learner first. A class with fewer copies than roots goes on with
 * those that it has; one that lost a root for good takes another. */
static bool want_learner(const Engine *engine, const EngineGroup *group, ShardConfig *wanted)
{
    unsigned count = engine->options.root_count;
    bool enough = served_count(engine, wanted) >= engine_group_copies(engine, group);
    for (unsigned i = 0; i < count; i++) {
        unsigned r = group == engine->base ? i : (group->rules.number + i) % count;
        Member self = member_of(engine, r);
        bool known = is_among(wanted->learners, wanted->learner_count, self.root);
        if (enough && !known && group != engine->base) continue;
        if (engine->roots[r].failed) continue;
        if (is_among(wanted->members, wanted->member_count, self.root)) continue;
        Member *learner = find(wanted->learners, wanted->learner_count, self.root);
        if (learner != NULL && learner->incarnation == self.incarnation) continue;
        if (learner == NULL && wanted->learner_count == MEMBERS_MAX) continue;
        if (learner == NULL) learner = &wanted->learners[wanted->learner_count++];
        *learner = self;
        return true;
    }
    return false;
}

/* A learner of ours that has all; root_count: none. */
static unsigned ready_learner(const Engine *engine, const Replica *replica,
                              const ShardConfig *config)
{
    unsigned r = 0;
    for (; r < engine->options.root_count; r++) {
        Uuid root = member_of(engine, r).root;
        bool learns = is_among(config->learners, config->learner_count, root);
        if (learns && !engine->roots[r].failed && replica_caught_up(replica, root)) break;
    }
    return r;
}

/* Of the members the first that is no root of this process; MEMBERS_MAX: all are. */
static uint32_t absent_member(const Engine *engine, const ShardConfig *config)
{
    for (uint32_t i = 0; i < config->member_count; i++) {
        unsigned root = 0;
        if (!engine_root_of(engine, config->members[i].root, &root)) return i;
    }
    return MEMBERS_MAX;
}

/* For one that is ready a member that is gone makes room, unless too few would be left meanwhile.
 */
static bool want_member(const Engine *engine, const EngineGroup *group, const Replica *replica,
                        ShardConfig *wanted)
{
    unsigned r = ready_learner(engine, replica, wanted);
    uint32_t absent = absent_member(engine, wanted);
    if (r == engine->options.root_count) return false;
    bool replaces = absent < MEMBERS_MAX &&
                    wanted->member_count >= engine_group_copies(engine, group);
    if (replaces && wanted->min_isr < wanted->member_count) {
        if ((wanted->isr >> absent & 1) != 0) return false; /* dropped first */
        take_out(wanted->members, &wanted->member_count, wanted->members[absent].root);
        return true;
    }
    if (wanted->member_count == MEMBERS_MAX) return false;
    Member self = member_of(engine, r);
    take_out(wanted->learners, &wanted->learner_count, self.root);
    wanted->members[wanted->member_count++] = self;
    return true;
}

/* More copies than directories, and one came in place of another: that is in none of these. Fewer
 * directories alone mean nothing: somebody forgot one. */
static bool want_less(const Engine *engine, const EngineShard *shard, ShardConfig *wanted)
{
    uint32_t count = wanted->member_count;
    uint32_t absent = absent_member(engine, wanted);
    bool added = count > shard->members_first || count > engine->options.roots_max;
    if (count <= engine_group_copies(engine, shard->group) || !added || absent == MEMBERS_MAX)
        return false;
    take_out(wanted->members, &wanted->member_count, wanted->members[absent].root);
    return true;
}

/* While there is one copy more than is wanted, that one does not count. */
static bool want_min_isr(const Engine *engine, const EngineGroup *group, const Replica *replica,
                         ShardConfig *wanted)
{
    const ShardConfig *now = replica_config(replica);
    uint32_t count = MIN(wanted->member_count, engine_group_copies(engine, group));
    uint32_t min_isr = place_min_isr_default((uint8_t)count);
    if (group != engine->base) min_isr = MIN((uint32_t)group->rules.min_isr, count);
    if (wanted->min_isr == min_isr) return false;
    if ((uint32_t)__builtin_popcount(now->isr) < min_isr) return false; /* nothing would commit */
    wanted->min_isr = min_isr;
    return true;
}

/* min_isr is raised before another copy that counts comes: two of two are not one of two. */
static bool next_step(const Engine *engine, const EngineShard *shard, const Replica *replica,
                      ShardConfig *wanted)
{
    const EngineGroup *group = shard->group;
    *wanted = *replica_config(replica);
    return want_min_isr(engine, group, replica, wanted) ||
           want_member(engine, group, replica, wanted) || want_less(engine, shard, wanted) ||
           want_learner(engine, group, wanted);
}

void engine_plan(Engine *engine, EngineShard *shard)
{
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        EngineMember *member = &shard->on[r];
        ShardConfig wanted;
        if (engine->roots[r].failed || replica_role(member->replica) != ROLE_PRIMARY) continue;
        if (shard->members_first == 0)
            shard->members_first = replica_config(member->replica)->member_count;
        if (!next_step(engine, shard, member->replica, &wanted)) continue;
        Event event = {
            .type = EVENT_CHANGE, .config = &wanted, .new_cfg_uid = id128_random(&engine->rng)};
        engine_step(engine, shard, member, &event);
    }
}

/* Has every shard the members that it is to have? */
static bool is_settled(const Engine *engine)
{
    for (size_t i = 0; i < engine->shard_count; i++) {
        const EngineShard *shard = engine->shards[engine->shard_list[i]];
        const ShardConfig *config = replica_config(engine_lead_replica(shard));
        if (shard->group->failed) return false; /* it may not know who its members are */
        if (config->member_count > engine_group_copies(engine, shard->group)) return false;
        for (unsigned r = 0; r < engine->options.root_count && shard->group == engine->base; r++) {
            if (!is_among(config->members, config->member_count, member_of(engine, r).root))
                return false;
        }
    }
    return true;
}

static void keep(Uuid *kept, size_t *count, const Member *members, uint32_t member_count)
{
    for (uint32_t i = 0; i < member_count; i++) {
        bool there = false;
        for (size_t k = 0; k < *count && !there; k++)
            there = id128_eq(kept[k], members[i].root);
        if (!there) kept[(*count)++] = members[i].root;
    }
}

/* Roots that no shard names any more are gone for good: should one come back, it is a stranger.
 * Whoever becomes a member from now on is a root of this process. */
void engine_retire_roots(Engine *engine)
{
    size_t count = 0;
    bool stands = engine->ready && engine_lead_stands(engine, engine->base);
    bool asked = engine->control_next != NULL && engine->control_next->retires;
    bool pending = engine->groups_due || engine->asked != 0; /* classes, whose rows name others */
    if (engine->retired || asked || pending || engine->control_out) return;
    if (!stands || !is_settled(engine)) return;
    size_t room = engine->options.root_count + engine->shard_count * 2 * MEMBERS_MAX;
    Uuid *kept = mem_new_array(room, sizeof *kept);
    for (unsigned r = 0; r < engine->options.root_count; r++)
        kept[count++] = member_of(engine, r).root;
    for (size_t i = 0; i < engine->shard_count; i++) {
        const EngineShard *shard = engine->shards[engine->shard_list[i]];
        const ShardConfig *config = replica_config(engine_lead_replica(shard));
        keep(kept, &count, config->members, config->member_count);
        keep(kept, &count, config->learners, config->learner_count);
    }
    engine_ask_retire(engine, kept, count);
}
