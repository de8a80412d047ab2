/* Changes that nobody can keep just now, though no root failed, do not wait for ever: too few
 * copies answer, or the log has no room. One that is in the log has an unknown outcome then: it may
 * still be committed. */
#include "service/engine_priv.h"

#include "base/log.h"

#define LATE_NS UINT64_C(20000000000)

static bool is_late(const Mutation *m, uint64_t now)
{
    return now - m->since_ns >= LATE_NS;
}

/* What was told at one tick. */
typedef struct {
    const Engine *engine;
    uint64_t now;
    size_t unknown;
    size_t busy;
} Late;

static ErrCode unknown(Late *late, Mutation *m)
{
    late->unknown++;
    if (late->engine->options.root_count == 1)
        return err_set(
            &m->err, ERR_OUTCOME_UNKNOWN,
            "outcome: unknown; the log did not take it within 20 s: its disk is full, or "
            "slow");
    if (m->require_all)
        return err_set(&m->err, ERR_OUTCOME_UNKNOWN,
                       "outcome: unknown; not every copy had it within 20 s, as the bucket "
                       "requires: it may be kept by the others");
    return err_set(&m->err, ERR_OUTCOME_UNKNOWN,
                   "outcome: unknown; too few copies answered within 20 s");
}

static ErrCode busy(Late *late, Mutation *m)
{
    late->busy++;
    if (late->engine->options.root_count == 1)
        return err_set(
            &m->err, ERR_BUSY,
            "what came before waits for the log, whose disk is full, or slow; try again");
    return err_set(&m->err, ERR_BUSY, "too few copies answer; try again");
}

static void answer_appended(Engine *engine, EngineShard *shard, Late *late)
{
    Record *record = engine_lead_member(shard)->open_first;
    for (; record != NULL; record = record->next) {
        Mutation *m = record->request;
        if (m == NULL || !is_late(m, late->now)) continue;
        record->request = NULL;
        engine_answer(engine, m, unknown(late, m));
    }
}

/* A refusal that rests on what is not committed is one all the same: nothing was changed. */
static void answer_waiting(Engine *engine, EngineShard *shard, Late *late)
{
    Mutation **link = &shard->waiting;
    while (*link != NULL) {
        Mutation *m = *link;
        if (!is_late(m, late->now)) {
            link = &m->next;
            continue;
        }
        *link = m->next;
        engine_answer(engine, m, m->code == OK ? unknown(late, m) : busy(late, m));
    }
}

static void answer_stalled(Engine *engine, Late *late)
{
    Mutation *list = engine->stalled_first;
    engine->stalled_first = NULL;
    engine->stalled_last = NULL;
    while (list != NULL) {
        Mutation *m = list;
        list = m->next;
        if (is_late(m, late->now))
            engine_answer(engine, m, busy(late, m));
        else
            engine_stall(engine, m);
    }
}

void engine_answer_late(Engine *engine)
{
    Late late = {.engine = engine, .now = clock_boot_ns(engine->options.clock)};
    if (!engine->ready) return;
    for (size_t i = 0; i < engine->shard_count; i++) {
        EngineShard *shard = engine->shards[engine->shard_list[i]];
        answer_appended(engine, shard, &late);
        answer_waiting(engine, shard, &late);
    }
    answer_stalled(engine, &late);
    if (late.unknown > 0 || late.busy > 0)
        LOG_TO(OPERATIONS, WARN, "changes.late", "unknown=%zu busy=%zu", late.unknown, late.busy);
}
