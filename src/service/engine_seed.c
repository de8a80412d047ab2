/* Snapshots: a root whose log of some shards began anew gets the rest from their lead. */
#include "service/engine_priv.h"

#include <inttypes.h>

#include "base/log.h"

bool engine_counts(const Engine *engine, const EngineGroup *group, unsigned root)
{
    for (size_t i = 0; i < group->count; i++) {
        const Replica *replica = engine_group_shard(engine, group, i)->on[root].replica;
        ReplicaRole role = replica_role(replica);
        if (replica_is_suspect(replica)) return false;
        if (role == ROLE_INCOMPLETE || role == ROLE_LEARNER) return false;
    }
    return true;
}

/* Could the members of config that are here and whose index is their own go on alone: are they
 * enough to be led and to commit, and has one of them all that was? */
static bool enough_without(const Engine *engine, const ShardConfig *config)
{
    uint32_t sound = 0;
    bool whole = false;
    uint32_t n = config->member_count;
    for (uint32_t i = 0; i < n; i++) {
        unsigned root = 0;
        if (!engine_root_of(engine, config->members[i].root, &root)) continue;
        if (store_is_remade(engine->roots[root].store)) continue;
        sound++;
        whole = whole || ((config->isr | config->elr) >> i & 1) != 0;
    }
    return whole && sound >= MAX(MAX(n - config->min_isr + 1, n / 2 + 1), config->min_isr);
}

static bool names(const Member *members, uint32_t count, Uuid root)
{
    for (uint32_t i = 0; i < count; i++) {
        if (id128_eq(members[i].root, root)) return true;
    }
    return false;
}

bool engine_is_suspect(Engine *engine, const EngineShard *shard, const EngineMember *member,
                       const ShardConfig *config)
{
    EngineRoot *root = &engine->roots[member->root];
    Uuid uuid = store_root(root->store)->uuid;
    if (!store_is_remade(root->store)) return false;
    bool is_member = names(config->members, config->member_count, uuid);
    bool learns = names(config->learners, config->learner_count, uuid);
    bool asks = learns || (is_member && config->member_count > 1);
    if (!asks) store_accept_remade_shard(root->store, shard->shard); /* of nobody else */
    bool suspect = asks && enough_without(engine, config);
    root->suspects += suspect;
    return suspect;
}

bool seed_job_step(SeedJob *job)
{
    Err err = {0};
    bool done = false;
    job->code = seed_step(job->seed, &done, &err);
    if (job->code == ERR_BUSY || job->code == ERR_NO_SPACE)
        LOG(DEBUG, "root.seed_waits", "root=%u error=" LOG_STR, job->root,
            LOG_CSTR(err_text(&err)));
    else if (job->code != OK)
        LOG_TO(OPERATIONS, ERROR, "root.seed_failed", "root=%u source=%u error=" LOG_STR, job->root,
               job->source, LOG_CSTR(err_text(&err)));
    return done || job->code != OK;
}

void seed_job_free(SeedJob *job)
{
    if (job == NULL) return;
    seed_free(job->seed);
    mem_free(job->cuts);
    mem_free(job);
}

/* Of the shards that root wants and source leads; NULL: none that it has whole. */
static SeedJob *job_new(Engine *engine, unsigned root, unsigned source)
{
    AUTO(void, mem_free) memory = mem_new_array(engine->shard_count, sizeof(SeedShard));
    SeedShard *shards = memory;
    size_t count = 0;
    SeedJob *job = mem_new(sizeof *job);
    job->root = root;
    job->source = source;
    job->cuts = mem_new_array(engine->shard_count, sizeof *job->cuts);
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        const EngineMember *member = &shard->on[root];
        if (!member->wants_seed || shard->group->lead != source) continue;
        if (replica_role(engine_lead_replica(shard)) == ROLE_INCOMPLETE) continue;
        job->cuts[count] = member->cuts;
        shards[count++] = (SeedShard){.shard = shard->shard, .base = member->seed_base};
    }
    if (count > 0) {
        job->seed = seed_new(engine->roots[source].store, engine->roots[root].store, shards, count);
        return job;
    }
    seed_job_free(job);
    return NULL;
}

void engine_start_seeds(Engine *engine)
{
    const EngineIo *io = &engine->options.io;
    for (unsigned r = 0; r < engine->options.root_count; r++) {
        EngineRoot *root = &engine->roots[r];
        SeedJob *job = NULL;
        if (io->seed == NULL || root->seeding || root->failed) continue;
        for (unsigned from = 0; from < engine->options.root_count && job == NULL; from++)
            if (from != r && !engine->roots[from].failed) job = job_new(engine, r, from);
        if (job == NULL) continue;
        root->seeding = true;
        io->seed(io->ctx, job);
    }
}

static void tell_seeded(Engine *engine, SeedJob *job, size_t i)
{
    const SeedShard *seeded = seed_shard(job->seed, i);
    EngineShard *shard = engine_shard(engine, seeded->shard);
    EngineMember *member = &shard->on[job->root];
    if (member->cuts != job->cuts[i]) return;    /* it began anew once more */
    if (engine->roots[job->root].failed) return; /* it is put in anew, should the root come back */
    LOG_TO(OPERATIONS, INFO, "shard.snapshot_stored", "shard=%u root=%u lsn=%" PRIu64,
           seeded->shard, job->root, seeded->lsn);
    member->wants_seed = false;
    Event event = {.type = EVENT_SNAPSHOT_STORED, .lsn = seeded->lsn, .cuts = member->cuts};
    engine_step(engine, shard, member, &event);
}

void engine_seeded(Engine *engine, SeedJob *job)
{
    engine->roots[job->root].seeding = false;
    for (size_t i = 0; job->code == OK && i < seed_count(job->seed); i++)
        tell_seeded(engine, job, i);
    seed_job_free(job);
}
