#include "node/workers.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/queue.h"
#include "base/thread.h"
#include "base/wake.h"

#define POP_MAX 1024       /* items taken from a queue at once */
#define ATTEST_AFTER_MS 10 /* of silence */
#define LOG_RETRY_MS 200   /* between two tries of a log without room */
#define SPACE_EVERY_MS 1000
#define NS_PER_MS 1000000ULL
#define QUIET_ROUNDS 60 /* of SPACE_EVERY_MS */
#define SNAPSHOT_EVERY_NS (100ULL * 1000 * 1000)
/* Index rows per batch that are worth no more waiting. */
#define APPLY_ENOUGH STORE_APPLY_BATCH

struct Workers {
    WorkersOptions options;
    Store *store;
    Engine *engine; /* the core's */
    Queue *mutations;
    Queue *logged;    /* LogItems back from the writer */
    Queue *to_log;    /* LogItems for the writer */
    void **log_batch; /* the core's: LogItems of this turn, at most POP_MAX */
    size_t log_count;
    Wake core_wake;
    Wake writer_wake;
    Wake applier_wake;
    Thread core;
    Thread writer;
    Thread applier;
    _Atomic bool ready;
    _Atomic bool full;
    _Atomic uint64_t room; /* bytes */
    _Atomic bool failed;
    _Atomic bool log_waits; /* the log has no room for what it is to take */
    unsigned quiet_rounds;  /* the applier's: seconds since it was woken */
    bool apply_waits;       /* the applier's: it could not go on for want of room, and said so */
    _Atomic bool refusing;  /* packs, index or a body failed: the engine is to refuse writes */
    _Atomic bool stopping;  /* core: drain and end */
    _Atomic bool gathering; /* the applier waits for more */
    _Atomic bool applier_stopping; /* later: what holds writers back ends by the applier's work */
    _Atomic size_t in_flight;
    void (*job)(void *ctx); /* of workers_run_on_applier() */
    void *job_ctx;
    _Atomic bool job_posted;
    Wake job_done;
    Lock lock; /* LOCK_RANK_STORE: the snapshot, the cause */
    Err cause; /* why the root failed, first of all reasons; code OK: it has not */
    EngineShardStatus *shards;
    size_t shard_count;
    uint64_t shards_ns; /* when the snapshot was made; the core's */
};

/* Before the root is said to have failed. */
static void set_cause(Workers *workers, const Err *err)
{
    lock_take(&workers->lock);
    if (workers->cause.code == OK) workers->cause = *err;
    lock_give(&workers->lock);
}

void workers_cause(Workers *workers, Err *out)
{
    lock_take(&workers->lock);
    *out = workers->cause;
    lock_give(&workers->lock);
}

/* --- core --- */

/* Gives the writer what this turn has gathered, at once, so that it becomes one batch. */
static void flush_log(Workers *workers)
{
    if (workers->log_count == 0) return;
    ErrCode code = queue_push_all(workers->to_log, workers->log_batch, workers->log_count);
    ASSERT(code == OK); /* the engine keeps to ENGINE_LOG_MAX, and the queue closes after it */
    workers->log_count = 0;
}

static void io_log(void *ctx, LogItem *item)
{
    Workers *workers = ctx;
    if (workers->log_count == POP_MAX) flush_log(workers);
    workers->log_batch[workers->log_count++] = item;
}

/* An applier that gathers is only woken when it has enough. If it stops gathering right after that
 * look, it takes what was committed before. */
static void io_committed(void *ctx)
{
    Workers *workers = ctx;
    if (atomic_load(&workers->gathering) && store_backlog(workers->store) < APPLY_ENOUGH) return;
    wake_set(&workers->applier_wake);
}

static void take_snapshot(Workers *workers)
{
    uint64_t now = clock_boot_ns(workers->options.clock);
    if (workers->ready && now - workers->shards_ns < SNAPSHOT_EVERY_NS) return;
    workers->shards_ns = now;
    lock_take(&workers->lock);
    workers->shard_count = engine_shards(workers->engine, workers->shards, PLACE_SHARDS_MAX + 1);
    lock_give(&workers->lock);
}

static void publish(Workers *workers)
{
    atomic_store(&workers->in_flight, engine_in_flight(workers->engine));
    if (engine_failed(workers->engine) && !atomic_exchange(&workers->failed, true)) {
        Err cause;
        workers_cause(workers, &cause);
        LOG(ERROR, "root.failed", "error=" LOG_STR, LOG_CSTR(err_text(&cause)));
    }
    take_snapshot(workers);
    if (!workers->ready && engine_ready(workers->engine)) {
        LOG(INFO, "node.ready", "shards=%zu", workers->shard_count);
        atomic_store(&workers->ready, true);
    }
}

static size_t take_logged(Workers *workers, void **items)
{
    size_t count = queue_pop(workers->logged, items, POP_MAX);
    for (size_t i = 0; i < count; i++)
        engine_logged(workers->engine, items[i]);
    return count;
}

static size_t take_mutations(Workers *workers, void **items)
{
    size_t count = queue_pop(workers->mutations, items, POP_MAX);
    for (size_t i = 0; i < count; i++)
        engine_submit(workers->engine, items[i]);
    return count;
}

/* Ends when it is stopping and every mutation was answered. */
static void core_run(void *arg)
{
    Workers *workers = arg;
    void **items = mem_new_array(POP_MAX, sizeof *items);
    Err err = {0};
    if (engine_start(workers->engine, &err) != OK) {
        LOG(ERROR, "node.start_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
        set_cause(workers, &err);
        atomic_store(&workers->failed, true);
    }
    for (;;) {
        /* Read before the queue, which is closed by then: nothing comes behind what is taken. */
        bool stopping = atomic_load(&workers->stopping);
        size_t work = take_logged(workers, items);
        engine_set_full(workers->engine, atomic_load(&workers->full));
        if (atomic_load(&workers->refusing)) engine_refuse_writes(workers->engine);
        work += take_mutations(workers, items);
        engine_turn(workers->engine);
        flush_log(workers);
        publish(workers);
        if (work > 0) continue;
        if (stopping) {
            engine_drain(workers->engine);
            if (engine_idle(workers->engine)) break;
        }
        /* While writers are held back, what lets them on is the applier's work. */
        wake_wait(&workers->core_wake, 1000); /* either way there may be work */
    }
    mem_free(items);
}

/* --- writer --- */

static void log_failed(Workers *workers, const Err *err)
{
    LOG(ERROR, "wal.failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    set_cause(workers, err);
}

static ErrCode append_item(Workers *workers, LogItem *item, Err *err)
{
    if (item->record != NULL) return store_log_append(workers->store, item->record, err);
    return store_log_state(workers->store, &item->state, err);
}

static void give_back(Workers *workers, void **items, size_t count, ErrCode code)
{
    if (count == 0) return;
    for (size_t i = 0; i < count; i++)
        ((LogItem *)items[i])->code = code;
    ErrCode pushed = queue_push_all(workers->logged, items, count);
    ASSERT(pushed == OK); /* as large as to_log: there is room */
}

/* The log has no room, or has it again: uploads are refused meanwhile. */
static void set_log_waits(Workers *workers, bool waits, const Err *err)
{
    if (atomic_exchange(&workers->log_waits, waits) == waits) return;
    if (waits)
        LOG(WARN, "wal.waits", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    else
        LOG(INFO, "wal.goes_on", "spares=%d", (int)!wal_needs_spare(store_wal(workers->store)));
    workers_look_at_space(workers);
    wake_set(&workers->core_wake);
}

/* After code of a call of the log: true when that call is to be made again, some time later: there
 * was no room, and what the applier frees, or somebody else, may help. A stop ends the wait. */
static bool wait_for_log(Workers *workers, ErrCode code, const Err *err)
{
    if (!store_log_waits(workers->store, code)) return false;
    set_log_waits(workers, true, err);
    if (atomic_load(&workers->stopping)) return false;
    wake_set(&workers->applier_wake);
    bool woken = wake_wait(&workers->writer_wake, LOG_RETRY_MS);
    UNUSED(woken); /* either way it is tried again */
    return true;
}

/* Syncs and gives back what was appended of items, as many as that, while the next one waits. */
static size_t give_back_appended(Workers *workers, void **items, size_t count)
{
    if (count == 0 || store_log_sync(workers->store, NULL) != OK) return 0;
    give_back(workers, items, count, OK);
    return count;
}

/* One batch: everything that waited. */
static void write_batch(Workers *workers, void **items, size_t count)
{
    Err err = {0};
    ErrCode code = OK;
    size_t from = 0; /* those before are given back */
    for (size_t i = 0; i < count && code == OK; i++) {
        do {
            code = append_item(workers, items[i], &err);
            if (store_log_waits(workers->store, code)) {
                from += give_back_appended(workers, items + from, i - from);
            }
        } while (wait_for_log(workers, code, &err));
    }
    while (code == OK) {
        code = store_log_sync(workers->store, &err);
        if (code == OK) break;
        if (wait_for_log(workers, code, &err)) code = OK;
    }
    if (code != OK) log_failed(workers, &err);
    if (code == OK) set_log_waits(workers, false, NULL);
    give_back(workers, items + from, count - from, code);
}

static void write_idle(Workers *workers)
{
    Err err = {0};
    if (!store_log_needs_idle(workers->store)) return;
    ErrCode code = store_log_idle(workers->store, &err);
    if (code == OK)
        set_log_waits(workers, false, NULL);
    else if (store_log_waits(workers->store, code))
        set_log_waits(workers, true, &err);
    else
        log_failed(workers, &err);
}

/* Ends when its queue is closed and empty. */
static void writer_run(void *arg)
{
    Workers *workers = arg;
    void **items = mem_new_array(POP_MAX, sizeof *items);
    for (;;) {
        bool closed = queue_is_closed(workers->to_log);
        size_t count = queue_pop(workers->to_log, items, POP_MAX);
        int wait_ms = !store_log_needs_idle(workers->store) ? -1
                      : atomic_load(&workers->log_waits)    ? LOG_RETRY_MS
                                                            : ATTEST_AFTER_MS;
        if (count > 0)
            write_batch(workers, items, count);
        else if (closed)
            break;
        else if (!wake_wait(&workers->writer_wake, wait_ms))
            write_idle(workers);
    }
    mem_free(items);
}

/* --- applier --- */

/* Enough of each file system stays free for deletes, repairs and control. */
static uint64_t space_reserve(uint64_t total)
{
    return MAX(16 * MIB, MIN(total / 20, 1 * GIB));
}

void workers_look_at_space(void *arg)
{
    Workers *workers = arg;
    DiskSpace space;
    Err err = {0};
    if (disk_space(store_disk(workers->store), &space, &err) != OK) {
        LOG(WARN, "disk.space_unknown", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
        return;
    }
    uint64_t reserve = space_reserve(space.total);
    bool full = space.free < reserve || atomic_load(&workers->log_waits);
    atomic_store(&workers->room, full ? 0 : space.free - reserve);
    if (atomic_exchange(&workers->full, full) == full) return;
    if (full)
        LOG(WARN, "disk.full", "free=%" PRIu64 " reserve=%" PRIu64, space.free, reserve);
    else
        LOG(INFO, "disk.room", "free=%" PRIu64 " reserve=%" PRIu64, space.free, reserve);
}

static void prepare_spares(Workers *workers)
{
    Err err = {0};
    Wal *wal = store_wal(workers->store);
    while (wal_needs_spare(wal)) {
        ErrCode code = wal_prepare_spare(wal, &err);
        if (code == OK) continue;
        if (code != ERR_BUSY) {
            LOG(WARN, "wal.spare_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
        }
        return;
    }
}

/* The applier's work failed: for good (no more writes), or until there is room again. */
static void apply_trouble(Workers *workers, const Err *err)
{
    if (!store_failed(workers->store)) {
        if (!workers->apply_waits) {
            LOG(WARN, "store.apply_waits", "error=" LOG_STR, LOG_CSTR(err_text(err)));
        }
        workers->apply_waits = true;
        return;
    }
    if (atomic_exchange(&workers->refusing, true)) return;
    LOG(ERROR, "store.apply_failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    set_cause(workers, err);
    wake_set(&workers->core_wake);
}

static void checkpoint(Workers *workers)
{
    Err err = {0};
    if (store_checkpoint(workers->store, &err) != OK)
        apply_trouble(workers, &err);
    else if (store_backlog(workers->store) == 0)
        workers->apply_waits = false;
}

/* Does what another thread has handed over; true if there was something. */
static bool run_job(Workers *workers)
{
    if (!atomic_load(&workers->job_posted)) return false;
    workers->job(workers->job_ctx);
    atomic_store(&workers->job_posted, false);
    wake_set(&workers->job_done);
    if (store_wants_checkpoint(workers->store)) checkpoint(workers);
    return true;
}

/* Waits until there is enough for a batch, but not longer than apply_delay_ms: a row of a small
 * batch costs twice what a row of a large one does. */
static void gather(Workers *workers)
{
    atomic_store(&workers->gathering, true);
    uint64_t end = clock_boot_ns(workers->options.clock) +
                   workers->options.apply_delay_ms * NS_PER_MS;
    while (store_backlog(workers->store) < APPLY_ENOUGH) {
        uint64_t now = clock_boot_ns(workers->options.clock);
        if (now >= end) break;
        bool woken = wake_wait(&workers->applier_wake, (int)((end - now) / NS_PER_MS) + 1);
        if (!woken || !run_job(workers)) break; /* it was the time, or there is enough */
    }
    atomic_store(&workers->gathering, false);
}

/* Applies what is committed. Returns how much: 0 when there was nothing, or when it failed. */
static size_t apply(Workers *workers)
{
    Err err = {0};
    size_t applied = 0;
    if (store_apply(workers->store, STORE_APPLY_BATCH, &applied, &err) != OK) {
        apply_trouble(workers, &err);
        return 0;
    }
    if (applied == 0) return 0;
    workers->apply_waits = false;
    wake_set(&workers->core_wake);
    return applied;
}

/* The list of damage. A sync that failed ends the root, wherever it was (rule 1 of TESTING.md). */
static void save_risk(Workers *workers)
{
    Err err = {0};
    ErrCode code = store_save_risk(workers->store, &err);
    if (code == OK) return;
    if (code == ERR_IO)
        workers_fail(workers, &err);
    else
        LOG(WARN, "risk.not_saved", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
}

/* After a minute in which nothing was written, the disk has no use for the spares of a burst. */
static void trim_spares(Workers *workers, bool woken)
{
    Err err = {0};
    workers->quiet_rounds = woken ? 0 : workers->quiet_rounds + 1;
    if (workers->quiet_rounds != QUIET_ROUNDS) return;
    ErrCode code = wal_trim_spares(store_wal(workers->store), &err);
    if (code == OK || code == ERR_BUSY) return;
    LOG(WARN, "wal.spare_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
}

static void applier_run(void *arg)
{
    Workers *workers = arg;
    while (!atomic_load(&workers->applier_stopping)) {
        workers_look_at_space(workers);
        prepare_spares(workers);
        bool woken = wake_wait(&workers->applier_wake, SPACE_EVERY_MS);
        bool worked = run_job(workers);
        if (woken && (!worked || store_backlog(workers->store) > 0)) gather(workers);
        size_t applied;
        do { /* after a full batch more waits already */
            applied = apply(workers);
            if (applied == 0) break;
            workers_look_at_space(workers);
            prepare_spares(workers);
            if (store_wants_checkpoint(workers->store)) checkpoint(workers);
        } while (applied == STORE_APPLY_BATCH);
        if (!woken) checkpoint(workers); /* a second of silence */
        trim_spares(workers, woken);
        save_risk(workers);
    }
}

/* --- from other threads --- */

bool workers_run_on_applier(Workers *workers, void (*fn)(void *ctx), void *ctx)
{
    if (atomic_load(&workers->applier_stopping)) return false;
    ASSERT(!atomic_load(&workers->job_posted));
    workers->job = fn;
    workers->job_ctx = ctx;
    atomic_store(&workers->job_posted, true);
    wake_set(&workers->applier_wake);
    while (atomic_load(&workers->job_posted)) {
        bool woken = wake_wait(&workers->job_done, 1000);
        UNUSED(woken); /* the flag tells */
    }
    return true;
}

ErrCode workers_submit(void *ctx, Mutation *mutation)
{
    Workers *workers = ctx;
    return queue_push(workers->mutations, mutation);
}

const _Atomic bool *workers_ready(const Workers *workers)
{
    return &workers->ready;
}

const _Atomic bool *workers_full(const Workers *workers)
{
    return &workers->full;
}

const _Atomic uint64_t *workers_room(const Workers *workers)
{
    return &workers->room;
}

void workers_fail(Workers *workers, const Err *err)
{
    if (atomic_exchange(&workers->refusing, true)) return;
    LOG(ERROR, "root.body_failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    set_cause(workers, err);
    wake_set(&workers->core_wake);
}

bool workers_failed(const Workers *workers)
{
    return atomic_load(&workers->failed);
}

size_t workers_in_flight(const Workers *workers)
{
    return atomic_load(&workers->in_flight);
}

size_t workers_shards(Workers *workers, EngineShardStatus *out, size_t max)
{
    lock_take(&workers->lock);
    for (size_t i = 0; i < MIN(max, workers->shard_count); i++)
        out[i] = workers->shards[i];
    size_t count = workers->shard_count;
    lock_give(&workers->lock);
    return count;
}

/* --- life --- */

static ErrCode open_engine(Workers *workers, Err *err)
{
    const WorkersOptions *o = &workers->options;
    EngineOptions engine = {
        .store = o->store,
        .control = o->control,
        .buckets = o->buckets,
        .clock = o->clock,
        .seed = o->seed,
        .standard = o->standard,
        .io = {.ctx = workers, .log = io_log, .committed = io_committed},
    };
    return engine_open(&engine, &workers->engine, err);
}

ErrCode workers_open(const WorkersOptions *options, Workers **out, Err *err)
{
    Workers *workers = mem_new(sizeof *workers);
    workers->options = *options;
    workers->store = options->store;
    workers->mutations = queue_new(options->queue_max);
    workers->to_log = queue_new(2 * ENGINE_LOG_MAX);
    workers->logged = queue_new(2 * ENGINE_LOG_MAX);
    workers->log_batch = mem_new_array(POP_MAX, sizeof *workers->log_batch);
    workers->shards = mem_new_array(PLACE_SHARDS_MAX + 1, sizeof *workers->shards);
    lock_init(&workers->lock, LOCK_RANK_STORE);
    wake_init(&workers->core_wake);
    wake_init(&workers->writer_wake);
    wake_init(&workers->applier_wake);
    queue_on_wake(workers->to_log, wake_set, &workers->writer_wake);
    queue_on_wake(workers->mutations, wake_set, &workers->core_wake);
    queue_on_wake(workers->logged, wake_set, &workers->core_wake);
    wake_init(&workers->job_done);
    workers_look_at_space(workers);
    ErrCode code = open_engine(workers, err);
    if (code == OK) code = thread_start(&workers->writer, "wal-writer", writer_run, workers, err);
    if (code == OK) code = thread_start(&workers->applier, "applier", applier_run, workers, err);
    if (code == OK) code = thread_start(&workers->core, "core", core_run, workers, err);
    if (code != OK) {
        workers_free(workers);
        return code;
    }
    *out = workers;
    return OK;
}

/* Answers of the log that came when nobody waited for them any more (an opening that failed). */
static void drop_logged(Workers *workers)
{
    void *item = NULL;
    while (queue_pop(workers->logged, &item, 1) == 1)
        mem_free(item);
}

static void stop_threads(Workers *workers)
{
    queue_close(workers->mutations);
    atomic_store(&workers->stopping, true);
    wake_set(&workers->core_wake);
    thread_join(&workers->core); /* first: it still gives the writer work */
    queue_close(workers->to_log);
    wake_set(&workers->writer_wake);
    thread_join(&workers->writer);
    drop_logged(workers);
    atomic_store(&workers->applier_stopping, true);
    wake_set(&workers->applier_wake);
    thread_join(&workers->applier);
}

ErrCode workers_close(Workers *workers, Err *err)
{
    stop_threads(workers);
    engine_free(TAKE(workers->engine));
    return store_close(workers->store, err);
}

void workers_free(Workers *workers)
{
    if (workers == NULL) return;
    stop_threads(workers);
    engine_free(workers->engine);
    queue_free(workers->mutations);
    queue_free(workers->to_log);
    queue_free(workers->logged);
    mem_free(workers->log_batch);
    mem_free(workers->shards);
    wake_deinit(&workers->core_wake);
    wake_deinit(&workers->writer_wake);
    wake_deinit(&workers->applier_wake);
    wake_deinit(&workers->job_done);
    lock_deinit(&workers->lock);
    mem_free(workers);
}
