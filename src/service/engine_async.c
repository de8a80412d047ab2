/* Asynchronous writes (REPLICATION.md section 3, "asynchronous class: same log, same ISR"): the
 * change of a bucket whose writes are so is told to be done when the lead has it synced, though it
 * is not committed, and readers see it from then on (docs/decisions/0018). What is told and not
 * committed, of all shards together, is bounded in entries, bytes and time: beyond it a write
 * waits, for its commit or for those before it. In a shard they are told in the order of their
 * lsns, so that nobody sees a later one and not an earlier one.
 *
 * And the opposite, writes that every copy must have: those that are committed without one are
 * answered when it has them. */
#include "service/engine_priv.h"

#include <inttypes.h>

#include "base/fault.h"
#include "base/log.h"

void engine_count_told(EngineGroup *group, const Record *record, bool done)
{
    if (record->told_ns == 0) return;
    ASSERT(!done || (group->told_entries > 0 && group->told_bytes >= record->log_len));
    group->told_entries += done ? (uint64_t)-1 : 1;
    group->told_bytes += done ? -(uint64_t)record->log_len : record->log_len;
}

void engine_leave_told(const EngineGroup *group)
{
    if (group->told_entries == 0) return;
    LOG_TO(OPERATIONS, WARN, "async.in_doubt", "root=%u entries=%" PRIu64 " bytes=%" PRIu64,
           group->lead, group->told_entries, group->told_bytes);
}

/* The first of shard that is told and not committed; NULL: there is none. In a shard they were told
 * in the order of the log. */
static const Record *oldest_told(const EngineMember *member)
{
    const Record *record = member->open_first;
    while (record != NULL && record->told_ns == 0)
        record = record->next;
    return record;
}

EngineAsync engine_async(const Engine *engine)
{
    uint64_t now = clock_boot_ns(engine->options.clock);
    unsigned class = 0;
    EngineAsync out = {.told = engine->told_ever};
    for (const EngineGroup *group; (group = engine_next_group(engine, &class)) != NULL;) {
        out.entries += group->told_entries;
        out.bytes += group->told_bytes;
    }
    for (size_t i = 0; i < engine->shard_count && out.entries > 0; i++) {
        const EngineShard *shard = engine->shards[engine->shard_list[i]];
        const Record *oldest = oldest_told(&shard->on[shard->group->lead]);
        if (oldest != NULL) out.age_ns = MAX(out.age_ns, now - MIN(now, oldest->told_ns));
    }
    return out;
}

/* Is there room for one more that is told? age_ns: of the oldest one. */
static bool may_tell(const Engine *engine, const Record *record, const EngineAsync *told)
{
    const EngineLag *most = &engine->options.async_lag;
    if (fault_planted("async-unbounded")) return true;
    return told->entries < most->entries && told->bytes + record->log_len <= most->bytes &&
           told->age_ns <= most->ns;
}

static void tell(Engine *engine, EngineShard *shard, const EngineMember *member, Record *record)
{
    Mutation *m = record->request;
    record->request = NULL;
    if (!fault_planted("async-unseen"))
        store_told(engine->roots[member->root].store, record, clock_boot_ns(engine->options.clock));
    engine_count_told(shard->group, record, false);
    engine->told_ever++;
    m->wait_lsn = record->entry.lsn;
    m->durability = engine_durability_of(engine, shard, member, m->wait_lsn);
    if (fault_planted("async-told-synced")) m->durability.synced = m->durability.copies;
    engine_answer(engine, m, OK);
}

/* Tells what the lead has synced of shard, as far as there is room. */
static void tell_synced(Engine *engine, EngineShard *shard, EngineAsync *told)
{
    EngineMember *member = engine_lead_member(shard);
    Lsn durable = replica_durable_lsn(member->replica);
    shard->told_lsn = durable;
    shard->has_async = false;
    for (Record *record = member->open_first; record != NULL; record = record->next) {
        const Mutation *m = record->request;
        if (m == NULL || !m->async) continue;
        if (record->entry.lsn <= durable && may_tell(engine, record, told)) {
            told->entries++;
            told->bytes += record->log_len;
            tell(engine, shard, member, record);
            continue;
        }
        shard->told_lsn = MIN(durable, record->entry.lsn - 1);
        shard->has_async = true;
        return;
    }
}

void engine_tell(Engine *engine)
{
    if (!engine->has_async || engine->failed) return;
    EngineAsync told = engine_async(engine);
    engine->has_async = false;
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        const EngineMember *member = engine_lead_member(shard);
        if (!shard->has_async || shard->group->failed) continue;
        if (replica_role(member->replica) == ROLE_PRIMARY) {
            tell_synced(engine, shard, &told);
            engine_answer_due(engine, shard);
        }
        engine->has_async = engine->has_async || shard->has_async;
    }
}

/* --- every copy --- */

bool engine_all_have(const Engine *engine, const EngineShard *shard, Lsn lsn)
{
    if (fault_planted("all-is-in-sync") || fault_planted("all-at-commit")) return true;
    Durability d = engine_durability_of(engine, shard, &shard->on[shard->group->lead], lsn);
    return d.synced >= MAX(d.copies, engine_group_copies(engine, shard->group));
}

void engine_answer_whole(Engine *engine)
{
    if (!engine->has_whole || engine->failed) return;
    engine->has_whole = false;
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        if (!shard->has_whole || shard->group->failed) continue;
        engine_answer_due(engine, shard);
        shard->has_whole = false;
        for (const Mutation *m = shard->waiting; m != NULL; m = m->next)
            shard->has_whole = shard->has_whole || m->require_all;
        engine->has_whole = engine->has_whole || shard->has_whole;
    }
}
