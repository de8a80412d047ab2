#include "node/storage_root.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/thread.h"
#include "node/owed.h"

#define POP_MAX 1024       /* items taken from a queue at once */
#define ATTEST_AFTER_MS 10 /* of silence */
#define LOG_RETRY_MS 200   /* between two tries of a log without room */
#define OWED_AGAIN_MS 200
#define LACKS_NS (3000 * NS_PER_MS) /* more than a member may take for a sync */
#define SPACE_EVERY_MS 1000
#define NS_PER_MS 1000000ULL
#define QUIET_ROUNDS 60 /* of SPACE_EVERY_MS */
#define SEED_AGAIN_NS (100 * NS_PER_MS)
#define SEED_LOOK_MS 50
#define SYNCS 128 /* of which the slowest but one in a hundred is told */
/* Index rows per batch that are worth no more waiting. */
#define APPLY_ENOUGH STORE_APPLY_BATCH

struct StorageRoot {
    StorageRootOptions options;
    Store *store;
    Queue *to_log;    /* LogItems for the writer */
    Queue *to_read;   /* FetchJobs for the reader; NULL: there is none */
    void **log_batch; /* the core's: LogItems of this turn, at most POP_MAX */
    size_t log_count;
    Wake writer_wake;
    Wake applier_wake;
    Thread writer;
    Thread applier;
    Thread reader;
    Owed *owed; /* the writer's */
    _Atomic bool full;
    _Atomic bool roomy;     /* by far not full */
    _Atomic uint64_t room;  /* bytes */
    _Atomic bool log_waits; /* the log has no room for what it is to take */
    unsigned quiet_rounds;  /* the applier's: seconds since it was woken */
    uint64_t look_ns;       /* the applier's: when it looks at the directory again */
    bool apply_waits;       /* the applier's: it could not go on for want of room, and said so */
    _Atomic bool refusing;  /* packs, index or a body failed */
    bool told_failed;       /* the core's */
    _Atomic bool giving_up; /* what waits for room is answered now */
    _Atomic bool gathering; /* the applier waits for more */
    _Atomic bool applier_stopping; /* later: what holds writers back ends by the applier's work */
    _Atomic uint64_t writing_ns;   /* when the batch under way was begun; 0: there is none */
    _Atomic uint64_t synced_ns;    /* when the last one was done; 0: never */
    uint32_t syncs_ms[SYNCS];      /* under lock: how long the newest batches took, a ring */
    unsigned sync_at;
    void (*job)(void *ctx); /* of storage_root_run_on_applier() */
    void *job_ctx;
    _Atomic bool job_posted;
    _Atomic(SeedJob *) seed; /* the applier's, once it is posted */
    uint64_t seed_ns;        /* the applier's: when it goes on with that */
    Wake job_done;
    Lock lock;    /* LOCK_RANK_STORE: the cause, syncs_ms */
    Lock turn;    /* LOCK_RANK_APPLIER: whose job the applier has */
    Err cause;    /* why the root failed, first of all reasons; code OK: it has not … */
    bool evicted; /* … and that is that an administrator left it out: any other goes before */
};

void storage_root_set_cause(StorageRoot *root, const Err *err)
{
    lock_take(&root->lock);
    if (root->cause.code == OK || root->evicted) root->cause = *err;
    root->evicted = false;
    lock_give(&root->lock);
}

void storage_root_evict(StorageRoot *root)
{
    lock_take(&root->lock);
    if (root->cause.code == OK) {
        ErrCode code = err_set(&root->cause, ERR_ROOT_FAILED, "left out by an administrator");
        ASSERT(code == ERR_ROOT_FAILED);
        root->evicted = true;
    }
    lock_give(&root->lock);
}

void storage_root_add(StorageRoot *root)
{
    char uuid[37];
    lock_take(&root->lock);
    if (root->evicted) err_clear(&root->cause);
    root->evicted = false;
    lock_give(&root->lock);
    root->told_failed = false;
    uuid_text(store_root(root->store)->uuid, uuid);
    LOG_TO(OPERATIONS, WARN, "root.added", "root=%s", uuid);
}

bool storage_root_is_evicted(StorageRoot *root)
{
    lock_take(&root->lock);
    bool evicted = root->evicted;
    lock_give(&root->lock);
    return evicted;
}

void storage_root_cause(StorageRoot *root, Err *out)
{
    lock_take(&root->lock);
    *out = root->cause;
    lock_give(&root->lock);
}

/* No more writes here. False: that was so already. */
static bool refuse(StorageRoot *root, const Err *err)
{
    storage_root_set_cause(root, err);
    if (atomic_exchange(&root->refusing, true)) return false;
    wake_set(root->options.core_wake);
    return true;
}

/* --- for the core --- */

void storage_root_flush(StorageRoot *root)
{
    if (root->log_count == 0) return;
    ErrCode code = queue_push_all(root->to_log, root->log_batch, root->log_count);
    ASSERT(code == OK); /* the engine keeps to ENGINE_LOG_MAX, and the queue closes after it */
    root->log_count = 0;
}

void storage_root_log(StorageRoot *root, LogItem *item)
{
    if (root->log_count == POP_MAX) storage_root_flush(root);
    root->log_batch[root->log_count++] = item;
}

/* An applier that gathers is only woken when it has enough. If it stops gathering right after that
 * look, it takes what was committed before. */
void storage_root_committed(StorageRoot *root)
{
    if (atomic_load(&root->gathering) && store_to_apply(root->store) < APPLY_ENOUGH) return;
    wake_set(&root->applier_wake);
}

void storage_root_fetch(StorageRoot *root, FetchJob *job)
{
    ErrCode code = queue_push(root->to_read, job);
    ASSERT(code == OK); /* there is room for one of each shard, and it closes after the core */
}

void storage_root_seed(StorageRoot *root, SeedJob *job)
{
    ASSERT(atomic_load(&root->seed) == NULL);
    atomic_store(&root->seed, job);
    wake_set(&root->applier_wake);
}

EngineHealth storage_root_health(StorageRoot *root)
{
    uint64_t began = atomic_load(&root->writing_ns);
    uint64_t now = clock_boot_ns(root->options.clock);
    EngineHealth health = {.sync_age_ns = began != 0 && now > began ? now - began : 0};
    uint32_t worst = 0;
    uint32_t second = 0; /* of 128: what 99 of 100 keep to */
    lock_take(&root->lock);
    for (unsigned i = 0; i < SYNCS; i++) {
        uint32_t ms = root->syncs_ms[i];
        if (ms > worst) {
            second = worst;
            worst = ms;
        } else if (ms > second) {
            second = ms;
        }
    }
    lock_give(&root->lock);
    health.sync_p99_ns = second * NS_PER_MS;
    health.sync_age_ns = MAX(health.sync_age_ns, blobs_still_ns(store_blobs(root->store)));
    if (owed_lacks(root->owed)) health.sync_age_ns = MAX(health.sync_age_ns, LACKS_NS);
    health.full = atomic_load(&root->full);
    health.roomy = atomic_load(&root->roomy);
    return health;
}

uint64_t storage_root_synced_ns(const StorageRoot *root)
{
    return atomic_load(&root->synced_ns);
}

bool storage_root_refuses(const StorageRoot *root)
{
    return atomic_load(&root->refusing);
}

void storage_root_tell_failed(StorageRoot *root)
{
    if (root->told_failed) return;
    root->told_failed = true;
    char uuid[37];
    Err cause;
    storage_root_cause(root, &cause);
    uuid_text(store_root(root->store)->uuid, uuid);
    LOG_TO(OPERATIONS, ERROR, "root.failed", "root=%s error=" LOG_STR, uuid,
           LOG_CSTR(err_text(&cause)));
}

/* --- writer --- */

static void log_failed(StorageRoot *root, const Err *err)
{
    LOG_TO(OPERATIONS, ERROR, "wal.failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    storage_root_set_cause(root, err);
}

static void give_back(StorageRoot *root, void **items, size_t count, ErrCode code)
{
    if (count == 0) return;
    for (size_t i = 0; i < count; i++)
        ((LogItem *)items[i])->code = code;
    ErrCode pushed = queue_push_all(root->options.logged, items, count);
    ASSERT(pushed == OK); /* as large as to_log: there is room */
}

/* The log has no room, or has it again: uploads are refused meanwhile. */
static void set_log_waits(StorageRoot *root, bool waits, const Err *err)
{
    if (atomic_exchange(&root->log_waits, waits) == waits) return;
    if (waits)
        LOG(WARN, "wal.waits", "error=" LOG_STR, LOG_CSTR(err_text(err)));
    else
        LOG(INFO, "wal.goes_on", "spares=%d", (int)!wal_needs_spare(store_wal(root->store)));
    storage_root_look_at_space(root);
    wake_set(root->options.core_wake);
}

/* After code of a call of the log: true when that call is to be made again, some time later: there
 * was no room, and what the applier frees, or somebody else, may help. A stop ends the wait. */
static bool wait_for_log(StorageRoot *root, ErrCode code, const Err *err)
{
    if (!store_log_waits(root->store, code)) return false;
    set_log_waits(root, true, err);
    if (atomic_load(&root->giving_up)) return false;
    wake_set(&root->applier_wake);
    bool woken = wake_wait(&root->writer_wake, LOG_RETRY_MS);
    UNUSED(woken); /* either way it is tried again */
    return true;
}

/* Syncs and gives back what was appended of items, as many as that, while the next one waits. */
static size_t give_back_appended(StorageRoot *root, void **items, size_t count)
{
    if (count == 0 || store_log_sync(root->store, NULL) != OK) return 0;
    give_back(root, items, count, OK);
    return count;
}

/* Whatever of it was refused for want of room is done when it is called again. */
static ErrCode append(StorageRoot *root, const LogItem *item, Err *err)
{
    TRY(owed_bring(root->owed, item, err));
    return log_item_append(root->store, item, err);
}

static void begin_batch(StorageRoot *root)
{
    atomic_store(&root->writing_ns, clock_boot_ns(root->options.clock));
}

static void end_batch(StorageRoot *root)
{
    uint64_t now = clock_boot_ns(root->options.clock);
    uint64_t ns = now - atomic_load(&root->writing_ns);
    atomic_store(&root->synced_ns, now);
    atomic_store(&root->writing_ns, 0);
    lock_take(&root->lock);
    root->syncs_ms[root->sync_at] = (uint32_t)MIN(ns / NS_PER_MS, (uint64_t)UINT32_MAX);
    root->sync_at = (root->sync_at + 1) % SYNCS;
    lock_give(&root->lock);
}

/* One batch: everything that waited. */
static void write_batch(StorageRoot *root, void **items, size_t count)
{
    Err err = {0};
    ErrCode code = OK;
    size_t from = 0; /* those before are given back */
    for (size_t i = 0; i < count && code == OK; i++) {
        do {
            code = append(root, items[i], &err);
            if (store_log_waits(root->store, code)) {
                from += give_back_appended(root, items + from, i - from);
            }
        } while (wait_for_log(root, code, &err));
    }
    while (code == OK) {
        code = store_log_sync(root->store, &err);
        if (code == OK) break;
        if (wait_for_log(root, code, &err)) code = OK;
    }
    if (code != OK) log_failed(root, &err);
    if (code == OK) set_log_waits(root, false, NULL);
    give_back(root, items + from, count - from, code);
}

static void write_idle(StorageRoot *root)
{
    Err err = {0};
    if (!store_log_needs_idle(root->store)) return;
    begin_batch(root); /* should the disk stand still, that is seen */
    ErrCode code = store_log_idle(root->store, &err);
    atomic_store(&root->writing_ns, 0);
    if (code == OK)
        set_log_waits(root, false, NULL);
    else if (store_log_waits(root->store, code))
        set_log_waits(root, true, &err);
    else
        log_failed(root, &err);
}

/* Ends when its queue is closed and empty. */
static void writer_run(void *arg)
{
    StorageRoot *root = arg;
    void **items = mem_new_array(POP_MAX, sizeof *items);
    for (;;) {
        bool closed = queue_is_closed(root->to_log);
        size_t count = queue_pop(root->to_log, items, POP_MAX);
        bool owes = count == 0 && !closed && owed_take(root->owed);
        int rest_ms = owed_lacks(root->owed) ? OWED_AGAIN_MS : -1;
        int wait_ms = owes                                 ? 0
                      : !store_log_needs_idle(root->store) ? rest_ms
                      : atomic_load(&root->log_waits)      ? LOG_RETRY_MS
                                                           : ATTEST_AFTER_MS;
        if (count > 0) {
            begin_batch(root);
            write_batch(root, items, count);
            end_batch(root);
        } else if (closed)
            break;
        else if (!wake_wait(&root->writer_wake, wait_ms))
            write_idle(root);
    }
    mem_free(items);
}

/* --- applier --- */

static void tell_space(StorageRoot *root, bool full, uint64_t free, uint64_t reserve)
{
    char uuid[37];
    uuid_text(store_root(root->store)->uuid, uuid);
    if (full)
        LOG_TO(OPERATIONS, WARN, "disk.full", "root=%s free=%" PRIu64 " reserve=%" PRIu64, uuid,
               free, reserve);
    else
        LOG_TO(OPERATIONS, INFO, "disk.room", "root=%s free=%" PRIu64 " reserve=%" PRIu64, uuid,
               free, reserve);
}

void storage_root_look_at_space(StorageRoot *root)
{
    DiskSpace space;
    Err err = {0};
    if (disk_space(store_disk(root->store), &space, &err) != OK) {
        LOG_TO(OPERATIONS, WARN, "disk.space_unknown", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
        return;
    }
    uint64_t reserve = disk_reserve(space.total);
    bool full = space.free < reserve || atomic_load(&root->log_waits);
    atomic_store(&root->room, full ? 0 : space.free - reserve);
    atomic_store(&root->roomy, !full && space.free - reserve >= reserve / 2);
    bool before = atomic_exchange(&root->full, full);
    root->options.looked(root->options.looked_ctx);
    if (before != full) tell_space(root, full, space.free, reserve);
}

static void prepare_spares(StorageRoot *root)
{
    Err err = {0};
    Wal *wal = store_wal(root->store);
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
static void apply_trouble(StorageRoot *root, const Err *err)
{
    if (!store_failed(root->store)) {
        if (!root->apply_waits) {
            LOG(WARN, "store.apply_waits", "error=" LOG_STR, LOG_CSTR(err_text(err)));
        }
        root->apply_waits = true;
        return;
    }
    if (refuse(root, err))
        LOG(ERROR, "store.apply_failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
}

static void checkpoint(StorageRoot *root)
{
    Err err = {0};
    if (store_checkpoint(root->store, &err) != OK)
        apply_trouble(root, &err);
    else if (store_to_apply(root->store) == 0)
        root->apply_waits = false;
}

/* Does what another thread has handed over; true if there was something. */
static bool run_job(StorageRoot *root)
{
    if (!atomic_load(&root->job_posted)) return false;
    root->job(root->job_ctx);
    atomic_store(&root->job_posted, false);
    wake_set(&root->job_done);
    if (store_wants_checkpoint(root->store)) checkpoint(root);
    return true;
}

/* Applies what is committed. Returns how much: 0 when there was nothing, or when it failed. */
static size_t apply(StorageRoot *root)
{
    Err err = {0};
    size_t applied = 0;
    if (store_apply(root->store, STORE_APPLY_BATCH, &applied, &err) != OK) {
        apply_trouble(root, &err);
        return 0;
    }
    if (applied == 0) return 0;
    root->apply_waits = false;
    wake_set(root->options.core_wake);
    return applied;
}

/* The list of damage. A sync that failed ends the root, wherever it was (rule 1 of TESTING.md). */
static void save_risk(StorageRoot *root)
{
    Err err = {0};
    ErrCode code = store_save_risk(root->store, &err);
    if (code == OK) return;
    if (code == ERR_IO)
        storage_root_fail(root, &err);
    else
        LOG(WARN, "risk.not_saved", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
}

/* After a minute in which nothing was written, the disk has no use for the spares of a burst. */
static void trim_spares(StorageRoot *root, bool woken)
{
    Err err = {0};
    root->quiet_rounds = woken ? 0 : root->quiet_rounds + 1;
    if (root->quiet_rounds != QUIET_ROUNDS) return;
    ErrCode code = wal_trim_spares(store_wal(root->store), &err);
    if (code == OK || code == ERR_BUSY) return;
    LOG(WARN, "wal.spare_failed", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
}

static void set_gone(Err *err)
{
    ErrCode code = err_set(err, ERR_ROOT_FAILED, ROOT_FILE " is gone from its directory");
    UNUSED(code); /* it is in err */
}

/* Who removes a root's directory takes a copy away, though what is open can still be written. */
static void look_at_directory(StorageRoot *root)
{
    Err err = {0};
    DiskStat stat = {.exists = false};
    uint64_t now = clock_boot_ns(root->options.clock);
    if (now < root->look_ns || atomic_load(&root->refusing)) return;
    root->look_ns = now + SPACE_EVERY_MS * NS_PER_MS;
    ErrCode code = disk_stat(store_disk(root->store), ROOT_FILE, &stat, &err);
    if (code == OK && stat.exists) return;
    if (code == OK) set_gone(&err);
    refuse(root, &err);
}

/* How long the applier rests. */
static int wait_ms(const StorageRoot *root, bool seeding)
{
    if (seeding) return 0;
    return atomic_load(&root->seed) != NULL ? SEED_LOOK_MS : SPACE_EVERY_MS;
}

/* A part of what was posted. True: more of it can be done at once. One that has to wait for the
 * other root is begun again, but not all the time. */
static bool seed_some(StorageRoot *root)
{
    SeedJob *job = atomic_load(&root->seed);
    Err err = {0};
    if (job == NULL || clock_boot_ns(root->options.clock) < root->seed_ns) return false;
    if (!seed_job_step(job)) return true;
    if (job->code != OK) root->seed_ns = clock_boot_ns(root->options.clock) + SEED_AGAIN_NS;
    if (job->code == ERR_NO_SPACE) checkpoint(root); /* what it took away makes room */
    if (store_failed(root->store)) {
        ErrCode failed = err_set(&err, ERR_IO, "what other roots have could not be stored");
        UNUSED(failed);
        apply_trouble(root, &err);
    }
    atomic_store(&root->seed, NULL); /* the core may post the next one */
    ErrCode code = queue_push(root->options.seeded, job);
    ASSERT(code == OK); /* room for one of each root */
    return false;
}

/* Waits until there is enough for a batch, but not longer than apply_delay_ms: a row of a small
 * batch costs twice what a row of a large one does. What is posted goes on meanwhile. */
static void gather(StorageRoot *root)
{
    atomic_store(&root->gathering, true);
    uint64_t end = clock_boot_ns(root->options.clock) + root->options.apply_delay_ms * NS_PER_MS;
    while (store_to_apply(root->store) < APPLY_ENOUGH) {
        bool seeding = seed_some(root);
        uint64_t now = clock_boot_ns(root->options.clock);
        if (now >= end) break;
        int ms = seeding ? 0 : (int)((end - now) / NS_PER_MS) + 1;
        bool woken = wake_wait(&root->applier_wake, ms);
        bool worked = run_job(root) || seeding;
        if (!worked || (!woken && !seeding)) break; /* it was the time, or there is enough */
    }
    atomic_store(&root->gathering, false);
}

static void applier_run(void *arg)
{
    StorageRoot *root = arg;
    while (!atomic_load(&root->applier_stopping)) {
        look_at_directory(root);
        storage_root_look_at_space(root);
        prepare_spares(root);
        bool seeding = seed_some(root);
        bool woken = wake_wait(&root->applier_wake, wait_ms(root, seeding));
        bool worked = run_job(root) || seeding;
        if (woken && (!worked || store_to_apply(root->store) > 0)) gather(root);
        size_t applied;
        do { /* after a full batch more waits already */
            applied = apply(root);
            if (applied == 0) break;
            storage_root_look_at_space(root);
            prepare_spares(root);
            if (store_wants_checkpoint(root->store)) checkpoint(root);
        } while (applied == STORE_APPLY_BATCH);
        if (!woken && !seeding) checkpoint(root); /* a second of silence */
        if (seeding && store_wants_checkpoint(root->store)) checkpoint(root);
        trim_spares(root, woken);
        save_risk(root);
    }
}

/* --- reader --- */

/* Ends when its queue is closed and empty. */
static void reader_run(void *arg)
{
    StorageRoot *root = arg;
    void *item = NULL;
    while (queue_pop_wait(root->to_read, &item, 1, -1) == 1) {
        fetch_job_read(item, root->store);
        ErrCode code = queue_push(root->options.fetched, item);
        ASSERT(code == OK); /* room for one of each shard and root */
    }
}

/* --- from other threads --- */

static void hand_over(StorageRoot *root, void (*fn)(void *ctx), void *ctx)
{
    ASSERT(!atomic_load(&root->job_posted));
    root->job = fn;
    root->job_ctx = ctx;
    atomic_store(&root->job_posted, true);
    wake_set(&root->applier_wake);
    while (atomic_load(&root->job_posted)) {
        bool woken = wake_wait(&root->job_done, 1000);
        UNUSED(woken); /* the flag tells */
    }
}

bool storage_root_run_on_applier(StorageRoot *root, void (*fn)(void *ctx), void *ctx)
{
    lock_take(&root->turn);
    bool stops = atomic_load(&root->applier_stopping);
    if (!stops) hand_over(root, fn, ctx);
    lock_give(&root->turn);
    return !stops;
}

Store *storage_root_store(const StorageRoot *root)
{
    return root->store;
}

const _Atomic bool *storage_root_full(const StorageRoot *root)
{
    return &root->full;
}

void storage_root_set_spared(StorageRoot *root, bool spared, bool left)
{
    owed_set(root->owed, spared, left);
}

uint64_t storage_root_room(const StorageRoot *root)
{
    return atomic_load(&root->room);
}

void storage_root_fail(StorageRoot *root, const Err *err)
{
    if (refuse(root, err))
        LOG_TO(OPERATIONS, ERROR, "root.body_failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
}

/* --- life --- */

ErrCode storage_root_open(const StorageRootOptions *options, StorageRoot **out, Err *err)
{
    StorageRoot *root = mem_new(sizeof *root);
    root->options = *options;
    root->store = options->store;
    atomic_store(&root->room, UINT64_MAX); /* until somebody looked */
    root->to_log = queue_new(2 * ENGINE_LOG_MAX);
    if (options->reads) root->to_read = queue_new(ENGINE_SHARDS_MAX);
    root->log_batch = mem_new_array(POP_MAX, sizeof *root->log_batch);
    lock_init(&root->lock, LOCK_RANK_STORE);
    lock_init(&root->turn, LOCK_RANK_APPLIER);
    wake_init(&root->writer_wake);
    wake_init(&root->applier_wake);
    wake_init(&root->job_done);
    queue_on_wake(root->to_log, wake_set, &root->writer_wake);
    OwedOptions owed = {.root = options->number,
                        .store = options->store,
                        .other_count = options->other_count,
                        .wake = &root->writer_wake,
                        .clock = options->clock};
    for (unsigned i = 0; i < options->other_count; i++)
        owed.others[i] = options->others[i];
    root->owed = owed_new(&owed);
    storage_root_look_at_space(root);
    ErrCode code = thread_start(&root->writer, "wal-writer", writer_run, root, err);
    if (code == OK) code = thread_start(&root->applier, "applier", applier_run, root, err);
    if (code == OK && options->reads)
        code = thread_start(&root->reader, "log-reader", reader_run, root, err);
    if (code == OK && options->reads) code = blobs_start_pool(store_blobs(root->store), err);
    if (code != OK) {
        (void)storage_root_stop(root, NULL); /* always OK */
        storage_root_free(root);
        return code;
    }
    *out = root;
    return OK;
}

void storage_root_give_up(StorageRoot *root)
{
    atomic_store(&root->giving_up, true);
    owed_give_up(root->owed);
    wake_set(&root->writer_wake);
}

ErrCode storage_root_stop(StorageRoot *root, Err *err)
{
    UNUSED(err);
    queue_close(root->to_log);
    wake_set(&root->writer_wake);
    thread_join(&root->writer);
    if (root->to_read != NULL) queue_close(root->to_read);
    thread_join(&root->reader);
    blobs_stop_pool(store_blobs(root->store));
    atomic_store(&root->applier_stopping, true);
    wake_set(&root->applier_wake);
    thread_join(&root->applier);
    return OK;
}

ErrCode storage_root_close(StorageRoot *root, Err *err)
{
    return store_close(root->store, err);
}

void storage_root_free(StorageRoot *root)
{
    if (root == NULL) return;
    queue_free(root->to_log);
    queue_free(root->to_read);
    mem_free(root->log_batch);
    owed_free(root->owed);
    seed_job_free(atomic_load(&root->seed));
    wake_deinit(&root->writer_wake);
    wake_deinit(&root->applier_wake);
    wake_deinit(&root->job_done);
    lock_deinit(&root->lock);
    lock_deinit(&root->turn);
    mem_free(root);
}
