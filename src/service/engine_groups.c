/* Placement classes: the shards of one are taken when it was made, or found at the start. Which
 * roots keep them is decided once, when their rows are made in the control store: as many as the
 * class has copies, beginning with another root for each class, so that classes with few copies do
 * not all stand on the same disk. From then on the rows say it. */
#include "service/engine_priv.h"

#include "base/log.h"

#define STANDS_NS UINT64_C(5000000000) /* that whoever makes a class waits for it */
#define AGAIN_NS UINT64_C(1000000000)  /* after the control store had no answer */

unsigned engine_group_copies(const Engine *engine, const EngineGroup *group)
{
    return group == engine->base ? engine->options.copies : group->rules.copies;
}

/* --- rows --- */

/* How many roots could keep something new. */
static unsigned well_roots(const Engine *engine)
{
    unsigned well = 0;
    for (unsigned r = 0; r < engine->options.root_count; r++)
        well += !engine->roots[r].failed;
    return well;
}

ShardConfig engine_first_config(Engine *engine, const PlacementClass *rules)
{
    const EngineOptions *o = &engine->options;
    bool base = rules->number == o->standard.number;
    unsigned wanted = base ? o->root_count : MIN((unsigned)rules->copies, well_roots(engine));
    unsigned from = base ? 0 : rules->number % o->root_count;
    ShardConfig config = {
        .cfg_uid = id128_random(&engine->rng), .version = 1, .primary = MEMBERS_MAX};
    for (unsigned i = 0; i < o->root_count && config.member_count < wanted; i++) {
        unsigned r = base ? i : (from + i) % o->root_count;
        const RootInfo *root = store_root(engine->roots[r].store);
        if (!base && engine->roots[r].failed) continue;
        /* Its log was rebuilt once: root.json tells for good, by another uuid of what it stores. */
        if (!id128_eq(root_storage(root), root->uuid)) config.unclean_epoch = 1;
        config.isr |= (uint16_t)(1u << config.member_count);
        config.members[config.member_count++] = (Member){.root = root->uuid,
                                                         .incarnation = root->incarnation};
    }
    uint32_t least = base ? place_min_isr_default((uint8_t)wanted) : rules->min_isr;
    config.min_isr = MIN(least, config.member_count);
    return config;
}

static bool ask(Engine *engine, const PlacementClass *rules)
{
    ControlShard *rows = mem_new_array(rules->shard_count, sizeof *rows);
    for (unsigned i = 0; i < rules->shard_count; i++) {
        rows[i].shard = shard_id(rules->number, i);
        rows[i].config = engine_first_config(engine, rules);
    }
    return engine_ask_make(engine, rules->number, rows, rules->shard_count);
}

void engine_ask_groups(Engine *engine)
{
    if (clock_boot_ns(engine->options.clock) < engine->groups_at_ns) return;
    engine->groups_due = false;
    for (unsigned class = CLASS_NUMBER_FIRST; class < CLASSES_MAX; class ++) {
        ClassInfo info;
        bool known = engine->groups[class] != NULL || (engine->asked >> class & 1) != 0;
        if (known || !classes_get(engine->options.classes, class, &info)) continue;
        if (ask(engine, &info.rules)) engine->asked |= 1U << class;
        engine->groups_due = true; /* one at a time, and until it is there */
        break;
    }
    engine_pump(engine);
}

/* --- shards --- */

static ErrCode restart(Engine *engine, EngineGroup *group, const ControlShard *rows, Err *err)
{
    unsigned lead = 0;
    for (size_t i = 0; i < group->count; i++) {
        EngineShard *shard = engine_group_shard(engine, group, i);
        ASSERT(rows[i].shard == shard->shard);
        for (unsigned r = 0; r < engine->options.root_count; r++) {
            if (engine->roots[r].failed) continue;
            TRY(engine_member_restart(engine, shard, &shard->on[r], &rows[i].config, err));
        }
    }
    group->lead = engine->base->lead; /* of equals the one that leads the rest */
    if (engine_choose_lead(engine, group, &lead)) engine_take_lead(engine, group, lead);
    return OK;
}

/* Are enough of the members of each shard here to elect somebody, and to commit? */
static bool enough_here(const Engine *engine, const ControlShard *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const ShardConfig *config = &rows[i].config;
        uint32_t n = config->member_count;
        uint32_t here = 0;
        for (uint32_t m = 0; m < n; m++) {
            unsigned root = 0;
            here += engine_root_of(engine, config->members[m].root, &root) &&
                    !engine->roots[root].failed;
        }
        if (here < MAX(config->min_isr, replica_fence_quorum(n, config->min_isr))) return false;
    }
    return true;
}

void engine_begin_group(Engine *engine, unsigned class, const ControlShard *rows, size_t count,
                        ErrCode code)
{
    ClassInfo info;
    Err err = {0};
    bool known = classes_get(engine->options.classes, class, &info);
    ASSERT(known && engine->groups[class] == NULL);
    engine->asked &= ~(1U << class);
    if (code != OK) {
        engine->groups_due = true;
        engine->groups_at_ns = clock_boot_ns(engine->options.clock) + AGAIN_NS;
        return;
    }
    ASSERT(count == info.rules.shard_count);
    EngineGroup *group = engine_group_new(engine, &info.rules, false);
    if (restart(engine, group, rows, &err) != OK) {
        LOG_TO(OPERATIONS, ERROR, "engine.class_failed", "class=%u error=" LOG_STR, class,
               LOG_CSTR(err_text(&err)));
        group->failed = true;
        group->broken = true;
        return;
    }
    group->failed = !enough_here(engine, rows, count);
    if (group->failed) {
        engine_set_usage(engine, group); /* as far as is known */
        engine_tell_class_failed(group);
        return;
    }
    LOG_TO(OPERATIONS, INFO, "engine.class_begun", "class=%u shards=%zu lead=%u", class, count,
           group->lead);
    for (size_t i = 0; i < group->count; i++)
        engine_stand(engine, engine_group_shard(engine, group, i));
}

void engine_tell_class_failed(const EngineGroup *group)
{
    LOG_TO(OPERATIONS, ERROR, "engine.class_failed", "class=%u error=" LOG_STR, group->rules.number,
           LOG_CSTR("too many of its roots are out"));
}

void engine_groups_stand(Engine *engine)
{
    unsigned class = 0;
    bool all = !engine->groups_due && engine->asked == 0;
    for (EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        Err err = {0};
        if (group->stood || group->failed) continue;
        if (!engine_lead_stands(engine, group)) {
            all = false;
            continue;
        }
        engine_set_usage(engine, group);
        if (engine_count_uploads(engine, group, &err) != OK) /* quotas heed them less */
            LOG_TO(OPERATIONS, ERROR, "engine.class_failed", "class=%u error=" LOG_STR,
                   group->rules.number, LOG_CSTR(err_text(&err)));
        group->stood = true;
    }
    if (all && engine->ready) engine_free_usage(engine);
}

bool engine_groups_settled(const Engine *engine)
{
    unsigned class = 0;
    bool late = clock_boot_ns(engine->options.clock) >= engine->groups_until_ns;
    if (engine->groups_due || engine->asked != 0) return late;
    for (const EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        bool stands = group->stood && engine_group_may_read(engine, group);
        if (!group->failed && !stands) return late;
    }
    return true;
}

bool engine_class_stands(const Engine *engine, const Mutation *m)
{
    if (m->type != MUTATION_CLASS_SET || m->code != OK) return true;
    const EngineGroup *group = engine->groups[m->class_rules.number];
    bool stands = group != NULL &&
                  (group->failed || (group->stood && engine_group_may_read(engine, group)));
    return stands || clock_boot_ns(engine->options.clock) - m->since_ns >= STANDS_NS;
}

bool engine_class_takes(Engine *engine, Mutation *m, unsigned class)
{
    const EngineGroup *group = engine->groups[class];
    if (group != NULL && !group->failed && group->stood) return true;
    if (group == NULL || !group->failed)
        engine_stall(engine, m);
    else
        engine_answer(engine, m,
                      err_set(&m->err, ERR_ROOT_FAILED,
                              "too many disks of the bucket's placement class failed"));
    return false;
}

bool engine_file_takes(Engine *engine, Mutation *m, FileId file)
{
    ShardId shard = file_id_shard(file);
    ClassInfo info;
    bool known = shard != SHARD_SYSTEM &&
                 classes_get(engine->options.classes, shard_class(shard), &info) &&
                 shard_number(shard) < info.rules.shard_count;
    if (known) return engine_class_takes(engine, m, shard_class(shard));
    engine_answer(engine, m, ERR_NOT_FOUND);
    return false;
}

EngineClass engine_class(const Engine *engine, unsigned number)
{
    ASSERT(number < CLASSES_MAX);
    const EngineGroup *group = engine->groups[number];
    if (group == NULL) return (EngineClass){.there = false};
    return (EngineClass){.there = true,
                         .failed = group->failed,
                         .lead = group->lead,
                         .read_until = engine_group_read_until(engine, group),
                         .in_sync = engine_group_in_sync(engine, group),
                         .members = engine_group_members(engine, group),
                         .needed = engine_group_needed(engine, group),
                         .durability = engine_group_durability(engine, group)};
}

unsigned engine_lead(const Engine *engine)
{
    return engine->base->lead;
}

bool engine_may_read(const Engine *engine)
{
    return engine_group_may_read(engine, engine->base);
}

unsigned engine_in_sync(const Engine *engine)
{
    return engine_group_in_sync(engine, engine->base);
}

Durability engine_durability(const Engine *engine)
{
    return engine_group_durability(engine, engine->base);
}
