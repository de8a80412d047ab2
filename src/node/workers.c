#include "node/workers.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/log.h"
#include "node/root_end.h"
#include "node/workers_priv.h"
#include "service/confirm.h"

#define TOLD_MAX 4096
#define POP_MAX 1024           /* items taken from a queue at once */
#define LOOK_BYTES (256 * KIB) /* of log between two looks at the space */
#define NS_PER_MS 1000000ULL
#define IDLE_MS 1000
#define JOB_NS (5000 * NS_PER_MS) /* that what an administrator asked for may take */
#define EARLY_TICK_MS 20          /* between two ticks that can't wait */

void workers_cause(Workers *workers, Err *out)
{
    lock_take(&workers->lock);
    *out = workers->start_failure;
    lock_give(&workers->lock);
    for (unsigned r = 0; r < workers->options.root_count && out->code == OK; r++)
        storage_root_cause(workers->roots[r], out);
}

/* --- core: what the engine wants --- */

static void io_log(void *ctx, LogItem *item)
{
    storage_root_log(((Workers *)ctx)->roots[item->root], item);
}

static void io_committed(void *ctx, unsigned root)
{
    storage_root_committed(((Workers *)ctx)->roots[root]);
}

static void io_fetch(void *ctx, FetchJob *job)
{
    storage_root_fetch(((Workers *)ctx)->roots[job->root], job);
}

/* Whoever reads it back may have too much to do: nobody waits for that. */
static void io_told(void *ctx, const Record *record)
{
    Workers *workers = ctx;
    Told *told = told_new(record);
    if (told == NULL || queue_push(workers->told, told) == OK) return;
    atomic_fetch_add(&workers->told_missed, 1);
    mem_free(told);
}

static void io_seed(void *ctx, SeedJob *job)
{
    storage_root_seed(((Workers *)ctx)->roots[job->root], job);
}

static void io_control(void *ctx, ControlJob *job)
{
    asker_ask(((Workers *)ctx)->asker, job);
}

/* --- core: what comes in --- */

static size_t take_logged(Workers *workers, void **items)
{
    size_t count = queue_pop(workers->logged, items, POP_MAX);
    for (size_t i = 0; i < count; i++)
        engine_logged(workers->engine, items[i]);
    return count;
}

static size_t take_fetched(Workers *workers, void **items)
{
    size_t count = workers->fetched == NULL ? 0 : queue_pop(workers->fetched, items, POP_MAX);
    for (size_t i = 0; i < count; i++)
        engine_fetched(workers->engine, items[i]);
    return count;
}

static size_t take_seeded(Workers *workers, void **items)
{
    size_t count = workers->seeded == NULL ? 0 : queue_pop(workers->seeded, items, POP_MAX);
    for (size_t i = 0; i < count; i++)
        engine_seeded(workers->engine, items[i]);
    return count;
}

static size_t take_swapped(Workers *workers, void **items)
{
    size_t count = workers->swapped == NULL ? 0 : queue_pop(workers->swapped, items, POP_MAX);
    for (size_t i = 0; i < count; i++)
        engine_controlled(workers->engine, items[i]);
    return count;
}

static size_t take_mutations(Workers *workers, void **items)
{
    size_t count = queue_pop(workers->mutations, items, POP_MAX);
    for (size_t i = 0; i < count; i++)
        engine_submit(workers->engine, items[i]);
    return count;
}

/* What the log took since somebody measured is in no measure: now and then it is done here, since
 * the applier may get no time. */
static void set_room(Workers *workers)
{
    uint64_t appended = engine_appended(workers->engine);
    if (appended - workers->looked_at >= LOOK_BYTES) {
        workers->looked_at = appended;
        workers_look_at_space(workers);
    }
    engine_set_room(workers->engine, PLACE_CLASS_STANDARD, atomic_load(&workers->room));
}

/* Of one root the engine learns here; of several each by itself. */
static void take_failures(Workers *workers)
{
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        if (storage_root_refuses(workers->roots[r])) engine_root_refuses(workers->engine, r);
    }
}

static void tick(Workers *workers, bool now_too)
{
    EngineHealth health[ENGINE_ROOTS_MAX];
    uint64_t now = clock_boot_ns(workers->options.clock);
    bool due = now >= workers->tick_ns;
    if (!due && now + (ENGINE_TICK_MS - EARLY_TICK_MS) * NS_PER_MS >= workers->tick_ns)
        due = engine_wants_tick(workers->engine);
    if (!due && !now_too) return;
    workers->tick_ns = now + ENGINE_TICK_MS * NS_PER_MS;
    for (unsigned r = 0; r < workers->options.root_count; r++)
        health[r] = storage_root_health(workers->roots[r]);
    engine_tick(workers->engine, health);
}

static ErrCode begin_job(Workers *workers, CoreJob *job)
{
    Engine *engine = workers->engine;
    if (job->action == WORKERS_EVICT) return engine_evict(engine, job->root, &job->err);
    if (job->action == WORKERS_ADD) {
        /* A failure that the engine is not told of yet. */
        bool evicted = storage_root_is_evicted(workers->roots[job->root]);
        if (engine_root_is_out(engine, job->root) && !evicted)
            return err_set(&job->err, ERR_PRECONDITION,
                           "this root failed: it is left out until the next start");
        return engine_add(engine, job->root, &job->err);
    }
    return engine_hand_over(engine, job->root, &job->err);
}

/* Is it as it was asked for? */
static bool is_done(const Workers *workers, const CoreJob *job)
{
    bool out = engine_root_is_out(workers->engine, job->root);
    if (job->action != WORKERS_HAND_OVER) return out == (job->action == WORKERS_EVICT);
    return engine_lead(workers->engine) == job->root;
}

static void end_job(Workers *workers, CoreJob *job, ErrCode code)
{
    job->code = code;
    atomic_store(&workers->job, NULL);
    wake_set(&job->done); /* job is gone from here on */
}

/* Before the turn that carries it out. */
static void take_job(Workers *workers)
{
    CoreJob *job = atomic_load(&workers->job);
    if (job == NULL || job->begun) return;
    job->begun = true;
    job->until_ns = clock_boot_ns(workers->options.clock) + JOB_NS;
    ErrCode code = begin_job(workers, job);
    if (code != OK) end_job(workers, job, code);
}

/* Behind the turn, and what it changed was published. */
static void finish_job(Workers *workers)
{
    CoreJob *job = atomic_load(&workers->job);
    if (job == NULL || !job->begun || engine_is_moving(workers->engine)) return;
    workers->tick_ns = 0; /* shards follow the lead by a tick */
    if (is_done(workers, job)) {
        bool late = clock_boot_ns(workers->options.clock) >= job->until_ns;
        if (!late && !engine_may_read(workers->engine) && !engine_failed(workers->engine)) return;
        end_job(workers, job, OK);
        return;
    }
    if (job->action == WORKERS_ADD)
        end_job(workers, job,
                err_set(&job->err, ERR_PRECONDITION,
                        "this root failed as it was added: it is left out until the next start"));
    else
        end_job(workers, job,
                err_set(&job->err, ERR_BUSY,
                        "what is under way was not committed in time; the lead is what it was"));
}

static void start_engine(Workers *workers)
{
    Err err = {0};
    if (engine_start(workers->engine, &err) == OK) return;
    LOG_TO(OPERATIONS, ERROR, "node.start_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    lock_take(&workers->lock);
    workers->start_failure = err;
    lock_give(&workers->lock);
    atomic_store(&workers->failed, true);
}

static void flush_logs(Workers *workers)
{
    for (unsigned r = 0; r < workers->options.root_count; r++)
        storage_root_flush(workers->roots[r]);
}

/* Ends when it is stopping and every mutation was answered. */
static void core_run(void *arg)
{
    Workers *workers = arg;
    void **items = mem_new_array(POP_MAX, sizeof *items);
    int idle_ms = workers->options.root_count == 1 ? IDLE_MS : ENGINE_TICK_MS;
    bool told = workers->options.root_count == 1;
    start_engine(workers);
    for (;;) {
        /* Read before the queue, which is closed by then: nothing comes behind what is taken. */
        bool stopping = atomic_load(&workers->stopping);
        size_t work = take_logged(workers, items) + take_fetched(workers, items) +
                      take_seeded(workers, items) + take_swapped(workers, items);
        set_room(workers);
        take_failures(workers);
        if (atomic_load(&workers->giving_up)) engine_give_up(workers->engine);
        work += take_mutations(workers, items);
        take_job(workers);
        tick(workers, false);
        engine_turn(workers->engine);
        flush_logs(workers);
        workers_publish(workers);
        finish_job(workers);
        if (work > 0) continue;
        if (stopping) {
            engine_drain(workers->engine);
            if (engine_idle(workers->engine) && told) break;
            if (engine_idle(workers->engine)) { /* the others learn what is committed */
                tick(workers, true);
                flush_logs(workers);
                told = true;
                continue;
            }
        }
        /* While writers are held back, what lets them on is the appliers' work. */
        wake_wait(&workers->core_wake, idle_ms); /* either way there may be work */
    }
    mem_free(items);
    CoreJob *job = atomic_load(&workers->job);
    if (job != NULL) end_job(workers, job, ERR_SHUTTING_DOWN);
}

/* --- from other threads --- */

ErrCode workers_act(Workers *workers, WorkersAction action, unsigned root, Err *err)
{
    CoreJob job = {.action = action, .root = root};
    CoreJob *none = NULL;
    ASSERT(root < workers->options.root_count);
    wake_init(&job.done);
    if (!atomic_compare_exchange_strong(&workers->job, &none, &job)) {
        wake_deinit(&job.done);
        return err_set(err, ERR_BUSY, "another action is under way; try again");
    }
    wake_set(&workers->core_wake);
    while (!wake_wait(&job.done, -1)) {}
    wake_deinit(&job.done);
    if (job.code != OK) *err = job.err;
    return job.code;
}

/* Enough roots must have room; the others are left behind until they have it. */
static void sum_up_space(Workers *workers)
{
    unsigned count = workers->options.root_count;
    unsigned needed = place_min_isr_default((uint8_t)count);
    uint64_t best[ENGINE_ROOTS_MAX] = {0}; /* falling */
    unsigned not_full = 0;
    for (unsigned r = 0; r < count; r++) {
        uint64_t room = storage_root_room(workers->roots[r]);
        not_full += !atomic_load(storage_root_full(workers->roots[r]));
        unsigned at = r;
        for (; at > 0 && best[at - 1] < room; at--)
            best[at] = best[at - 1];
        best[at] = room;
    }
    atomic_store(&workers->room, best[needed - 1]);
    atomic_store(&workers->full, not_full < needed);
}

/* A root has looked. */
static void looked(void *ctx)
{
    if (atomic_load(&((Workers *)ctx)->opened)) sum_up_space(ctx);
}

void workers_look_at_space(void *arg)
{
    Workers *workers = arg;
    for (unsigned r = 0; r < workers->options.root_count; r++)
        storage_root_look_at_space(workers->roots[r]); /* it calls looked() */
}

ErrCode workers_submit(void *ctx, Mutation *mutation)
{
    return queue_push(((Workers *)ctx)->mutations, mutation);
}

const _Atomic bool *workers_ready(const Workers *workers)
{
    return &workers->ready;
}

const _Atomic unsigned *workers_spared(const Workers *workers)
{
    return &workers->spared;
}

const _Atomic bool *workers_full(const Workers *workers)
{
    return &workers->full;
}

const _Atomic uint64_t *workers_room(const Workers *workers)
{
    return &workers->room;
}

const ClassState *workers_states(const Workers *workers)
{
    return workers->states;
}

void workers_fail_root(void *ctx, unsigned root, const Err *err)
{
    const Workers *workers = ctx;
    storage_root_fail(workers->roots[root], err);
}

/* --- life --- */

static ErrCode open_engine(Workers *workers, Err *err)
{
    const WorkersOptions *o = &workers->options;
    EngineOptions engine = {
        .root_count = o->root_count,
        .roots_max = o->roots_max,
        .copies = o->copies,
        .control = o->control,
        .buckets = o->buckets,
        .keys = o->keys,
        .classes = o->classes,
        .clock = o->clock,
        .seed = o->seed,
        .standard = o->standard,
        .backlog_max = o->backlog_max,
        .async_lag = o->async_lag,
        .backlog_bytes_max = o->backlog_bytes_max,
        .io = {.ctx = workers,
               .log = io_log,
               .committed = io_committed,
               .seed = io_seed,
               .fetch = io_fetch,
               .told = workers->told == NULL ? NULL : io_told,
               .control = o->root_count > 1 ? io_control : NULL},
    };
    for (unsigned r = 0; r < o->root_count; r++) {
        engine.stores[r] = o->stores[r];
        engine.devices[r] = o->devices[r];
    }
    return engine_open(&engine, &workers->engine, err);
}

static ErrCode open_roots(Workers *workers, Err *err)
{
    const WorkersOptions *o = &workers->options;
    for (unsigned r = 0; r < o->root_count; r++) {
        StorageRootOptions root = {.number = r,
                                   .store = o->stores[r],
                                   .reads = o->root_count > 1,
                                   .clock = o->clock,
                                   .apply_delay_ms = o->apply_delay_ms,
                                   .looked = looked,
                                   .looked_ctx = workers,
                                   .logged = workers->logged,
                                   .fetched = workers->fetched,
                                   .seeded = workers->seeded,
                                   .core_wake = &workers->core_wake};
        for (unsigned i = 1; i < o->root_count; i++)
            root.others[root.other_count++] = o->stores[(r + i) % o->root_count];
        TRY(storage_root_open(&root, &workers->roots[r], err));
    }
    atomic_store(&workers->opened, true);
    sum_up_space(workers);
    return OK;
}

ErrCode workers_open(const WorkersOptions *options, Workers **out, Err *err)
{
    ASSERT(options->root_count >= 1 && options->root_count <= ENGINE_ROOTS_MAX);
    Workers *workers = mem_new(sizeof *workers);
    workers->options = *options;
    workers->mutations = queue_new(options->queue_max);
    workers->logged = queue_new(2 * ENGINE_LOG_MAX);
    if (options->root_count > 1) {
        workers->told = queue_new(TOLD_MAX);
        workers->fetched = queue_new(ENGINE_ROOTS_MAX * ENGINE_SHARDS_MAX);
        workers->seeded = queue_new(2 * ENGINE_ROOTS_MAX);
        workers->swapped = queue_new(1);
        queue_on_wake(workers->swapped, wake_set, &workers->core_wake);
        queue_on_wake(workers->fetched, wake_set, &workers->core_wake);
        queue_on_wake(workers->seeded, wake_set, &workers->core_wake);
    }
    workers->shards = mem_new_array(ENGINE_SHARDS_MAX, sizeof *workers->shards);
    lock_init(&workers->lock, LOCK_RANK_STORE);
    wake_init(&workers->core_wake);
    queue_on_wake(workers->mutations, wake_set, &workers->core_wake);
    queue_on_wake(workers->logged, wake_set, &workers->core_wake);
    ErrCode code = open_engine(workers, err);
    if (code == OK) code = open_roots(workers, err);
    if (code == OK && workers->swapped != NULL)
        code = asker_open(options->control, workers->swapped, &workers->asker, err);
    if (code == OK) code = thread_start(&workers->core, "core", core_run, workers, err);
    if (code != OK) {
        workers_free(workers);
        return code;
    }
    *out = workers;
    return OK;
}

/* What came back when nobody waited for it any more. */
static void drop_answers(Workers *workers)
{
    void *item = NULL;
    while (queue_pop(workers->logged, &item, 1) == 1)
        mem_free(item);
    while (workers->told != NULL && queue_pop(workers->told, &item, 1) == 1)
        mem_free(item);
    while (workers->fetched != NULL && queue_pop(workers->fetched, &item, 1) == 1)
        fetch_job_free(item);
    while (workers->seeded != NULL && queue_pop(workers->seeded, &item, 1) == 1)
        seed_job_free(item);
    while (workers->swapped != NULL && queue_pop(workers->swapped, &item, 1) == 1)
        control_job_free(item);
}

static void tell_stuck(Workers *workers)
{
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        if (!workers->stuck[r] || workers->told_stuck[r]) continue;
        workers->told_stuck[r] = true;
        LOG_TO(OPERATIONS, ERROR, "root.stands_still", "root=%u directory=" LOG_STR, r,
               LOG_CSTR(workers_dir(workers, r)));
    }
}

void workers_set_stuck(Workers *workers, unsigned root)
{
    workers->stuck[root] = true;
    tell_stuck(workers);
}

static void stop_threads(Workers *workers)
{
    queue_close(workers->mutations);
    atomic_store(&workers->stopping, true);
    wake_set(&workers->core_wake);
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        if (workers->roots[r] != NULL) storage_root_give_up(workers->roots[r]);
    }
    thread_join(&workers->core); /* first: it still gives the writers work */
    asker_close(TAKE(workers->asker));
    root_end_threads(workers->roots, workers->options.root_count, workers->stuck);
    tell_stuck(workers);
    drop_answers(workers);
}

void workers_give_up(Workers *workers)
{
    atomic_store(&workers->giving_up, true);
    for (unsigned r = 0; r < workers->options.root_count; r++)
        storage_root_give_up(workers->roots[r]);
    wake_set(&workers->core_wake);
}

ErrCode workers_close(Workers *workers, Err *err)
{
    bool out[ENGINE_ROOTS_MAX];
    stop_threads(workers);
    for (unsigned r = 0; r < workers->options.root_count; r++)
        out[r] = workers->options.root_count > 1 && engine_root_is_out(workers->engine, r);
    engine_free(TAKE(workers->engine));
    unsigned count = workers->options.root_count;
    ErrCode code = root_end_close(workers->roots, count, out, workers->stuck, err);
    tell_stuck(workers);
    return code;
}

bool workers_stuck(const Workers *workers, unsigned root)
{
    return workers->stuck[root];
}

void workers_free(Workers *workers)
{
    if (workers == NULL) return;
    stop_threads(workers);
    engine_free(workers->engine);
    for (unsigned r = 0; r < workers->options.root_count; r++) {
        if (workers->stuck[r]) return; /* its threads still use all of it */
    }
    for (unsigned r = 0; r < workers->options.root_count; r++)
        storage_root_free(workers->roots[r]);
    queue_free(workers->mutations);
    queue_free(workers->logged);
    queue_free(workers->told);
    queue_free(workers->fetched);
    queue_free(workers->seeded);
    queue_free(workers->swapped);
    mem_free(workers->shards);
    wake_deinit(&workers->core_wake);
    lock_deinit(&workers->lock);
    mem_free(workers);
}
