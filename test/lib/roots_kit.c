#include "roots_kit.h"

#include <string.h>

#include "disk/sim.h"
#include "testing.h"

#define SETTLE_MAX 1000000
#define SEED_ROWS 100 /* so that seeds are cut off */

static void kit_log(void *ctx, LogItem *item)
{
    RootsKit *kit = ctx;
    KitRoot *root = &kit->roots[item->root];
    item->next = NULL;
    if (item->is_truncate && kit->cuts != NULL) ++*kit->cuts;
    if (root->log_last == NULL)
        root->log_first = item;
    else
        root->log_last->next = item;
    root->log_last = item;
}

static void kit_committed(void *ctx, unsigned root)
{
    UNUSED(ctx); /* the test applies when it likes */
    UNUSED(root);
}

static void kit_fetch(void *ctx, FetchJob *job)
{
    RootsKit *kit = ctx;
    KitRoot *root = &kit->roots[job->root];
    job->next = root->fetch_first;
    root->fetch_first = job;
}

static void kit_seed(void *ctx, SeedJob *job)
{
    RootsKit *kit = ctx;
    KitRoot *root = &kit->roots[job->root];
    ASSERT(root->seed == NULL);
    root->seed = job;
}

static void kit_control(void *ctx, ControlJob *job)
{
    RootsKit *kit = ctx;
    ASSERT(kit->control_job == NULL);
    kit->control_job = job;
    kit->control_run = false;
}

static void count(const RootsKit *kit)
{
    if (kit->events != NULL) ++*kit->events;
}

static MailFate kit_mail(void *ctx, const Message *message)
{
    const RootsKit *kit = ctx;
    count(kit);
    return kit->mail == NULL ? (MailFate){.copies = 1} : kit->mail(kit->mail_ctx, message);
}

static void kit_told(void *ctx, const Record *record)
{
    const RootsKit *kit = ctx;
    if (kit->told != NULL) kit->told(kit->mail_ctx, record);
}

static ErrCode open_engine(RootsKit *kit, const RootsKitOptions *options, Err *err)
{
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, (uint8_t)kit->count);
    standard.shard_count = (uint16_t)options->shards;
    kit->buckets = buckets_new();
    EngineOptions engine = {.root_count = kit->count,
                            .roots_max = MAX(kit->count, 3u), /* as a server may be given */
                            .control = kit->control,
                            .buckets = kit->buckets,
                            .clock = &kit->clock->clock,
                            .seed = rng_u64(&kit->rng),
                            .standard = standard,
                            .async_lag = options->async_lag,
                            .io = {.ctx = kit,
                                   .log = kit_log,
                                   .committed = kit_committed,
                                   .fetch = kit_fetch,
                                   .seed = kit_seed,
                                   .control = kit->count > 1 ? kit_control : NULL,
                                   .mail = kit_mail,
                                   .told = kit_told}};
    for (unsigned r = 0; r < kit->count; r++)
        engine.stores[r] = kit->roots[r].store;
    TRY(engine_open(&engine, &kit->engine, err));
    for (unsigned r = 0; r < kit->count; r++)
        TRY(store_reader_open(kit->roots[r].store, &kit->roots[r].reader, err));
    return engine_start(kit->engine, err);
}

static ErrCode open_store(RootsKit *kit, KitRoot *root, Err *err)
{
    RootInfo *info = &root->info;
    TRY(control_raise_root(kit->control, info->uuid, info->incarnation, &info->incarnation, err));
    TRY(root_save(root->disk, info, err));
    StoreOptions store = {.root = *info,
                          .wal_segment_size = SEGMENT_SIZE_MIN,
                          .wal_spares = 1,
                          .pack_size = 64 * KIB,
                          .chunk_size = (uint32_t)CHUNK_SIZE_MIN,
                          .places = true,
                          .seed_rows = SEED_ROWS,
                          .clock = &kit->clock->clock,
                          .seed = rng_u64(&kit->rng)};
    StoreOpened opened;
    return store_open(root->disk, &store, &root->store, &opened, err);
}

static ErrCode open_all(RootsKit *kit, const RootsKitOptions *options, Err *err)
{
    Disk *disks[ENGINE_ROOTS_MAX];
    for (unsigned r = 0; r < kit->count; r++) {
        KitRoot *root = &kit->roots[r];
        disks[r] = root->disk;
        TRY(root_open(root->disk, STR("test"), &kit->rng, &kit->clock->clock, &root->info, err));
    }
    TRY(control_local_open(disks, kit->count, &kit->control, err));
    for (unsigned r = 0; r < kit->count; r++)
        TRY(open_store(kit, &kit->roots[r], err));
    return open_engine(kit, options, err);
}

ErrCode roots_kit_open(RootsKit *kit, Disk *const *disks, unsigned count,
                       const RootsKitOptions *options, Err *err)
{
    memset(kit, 0, sizeof *kit);
    kit->count = count;
    kit->clock = options->clock;
    kit->keep_logs = options->keep_logs;
    kit->cuts = options->cuts;
    kit->seeds = options->seeds;
    kit->events = options->events;
    kit->mail = options->mail;
    kit->mail_ctx = options->mail_ctx;
    kit->told = options->told;
    rng_init(&kit->rng, options->seed);
    for (unsigned r = 0; r < count; r++)
        kit->roots[r].disk = disks[r];
    ErrCode code = open_all(kit, options, err);
    if (code != OK) roots_kit_drop(kit);
    return code;
}

static void free_items(LogItem *item)
{
    while (item != NULL) {
        LogItem *next = item->next;
        if (item->record != NULL) store_not_logged(item->record);
        mem_free(item);
        item = next;
    }
}

static void free_fetches(FetchJob *job)
{
    while (job != NULL) {
        FetchJob *next = job->next;
        mem_free(job);
        job = next;
    }
}

void roots_kit_drop(RootsKit *kit)
{
    for (unsigned r = 0; r < kit->count; r++) {
        KitRoot *root = &kit->roots[r];
        free_items(root->log_first);
        free_items(root->batch_first);
        free_fetches(root->fetch_first);
        seed_job_free(root->seed);
        store_reader_free(root->reader);
    }
    control_job_free(kit->control_job);
    engine_free(kit->engine);
    buckets_free(kit->buckets);
    for (unsigned r = 0; r < kit->count; r++)
        store_free(kit->roots[r].store);
    control_free(kit->control);
    memset(kit, 0, sizeof *kit);
}

void roots_kit_append(RootsKit *kit, unsigned number, size_t max)
{
    KitRoot *root = &kit->roots[number];
    for (size_t i = 0; i < max && root->log_first != NULL; i++) {
        LogItem *item = root->log_first;
        count(kit);
        item->code = log_item_append(root->store, item, NULL);
        if (store_log_waits(root->store, item->code)) return; /* again at the next call */
        root->log_first = item->next;
        if (root->log_first == NULL) root->log_last = NULL;
        item->next = NULL;
        if (root->batch_last == NULL)
            root->batch_first = item;
        else
            root->batch_last->next = item;
        root->batch_last = item;
    }
}

void roots_kit_sync(RootsKit *kit, unsigned number)
{
    KitRoot *root = &kit->roots[number];
    if (root->batch_first == NULL) return;
    count(kit);
    ErrCode code = store_log_sync(root->store, NULL);
    if (store_log_waits(root->store, code)) return; /* again at the next call */
    LogItem *item = root->batch_first;
    root->batch_first = NULL;
    root->batch_last = NULL;
    while (item != NULL) {
        LogItem *next = item->next;
        if (code != OK) item->code = code;
        if (item->code != OK) root->dead = true;
        engine_logged(kit->engine, item);
        item = next;
    }
    engine_turn(kit->engine);
}

void roots_kit_fetch(RootsKit *kit, unsigned number)
{
    KitRoot *root = &kit->roots[number];
    while (root->fetch_first != NULL) {
        FetchJob *job = root->fetch_first;
        root->fetch_first = job->next;
        count(kit);
        fetch_job_read(job, root->store);
        engine_fetched(kit->engine, job);
    }
    engine_turn(kit->engine);
}

void roots_kit_seed(RootsKit *kit, unsigned number)
{
    KitRoot *root = &kit->roots[number];
    if (root->seed == NULL || !seed_job_step(root->seed)) return;
    SeedJob *job = TAKE(root->seed);
    Err err = {0};
    if (job->code == ERR_BUSY && roots_kit_apply(kit, job->source, &err) != OK)
        engine_root_failed(kit->engine, job->source);
    if (job->code == OK && kit->seeds != NULL) ++*kit->seeds;
    engine_seeded(kit->engine, job);
    engine_turn(kit->engine);
}

void roots_kit_control_run(RootsKit *kit)
{
    if (kit->control_job == NULL || kit->control_run) return;
    count(kit);
    control_job_run(kit->control_job, kit->control);
    kit->control_run = true;
}

void roots_kit_control_tell(RootsKit *kit, bool known)
{
    ControlJob *job = TAKE(kit->control_job);
    if (job == NULL) return;
    for (size_t i = 0; i < job->count && (!known || !kit->control_run); i++) {
        if (!job->asks[i].looks) job->asks[i].code = ERR_OUTCOME_UNKNOWN;
    }
    if (!known || !kit->control_run) job->made_code = ERR_OUTCOME_UNKNOWN;
    engine_controlled(kit->engine, job);
    engine_turn(kit->engine);
}

ErrCode roots_kit_apply(RootsKit *kit, unsigned number, Err *err)
{
    Store *store = kit->roots[number].store;
    size_t applied = 0;
    do {
        TRY(store_apply(store, STORE_APPLY_BATCH, &applied, err));
    } while (applied > 0);
    return kit->keep_logs ? OK : store_checkpoint(store, err);
}

static bool moves(const RootsKit *kit)
{
    if (kit->control_job != NULL) return true;
    for (unsigned r = 0; r < kit->count; r++) {
        const KitRoot *root = &kit->roots[r];
        if (root->log_first != NULL || root->batch_first != NULL || root->fetch_first != NULL ||
            root->seed != NULL)
            return true;
    }
    return false;
}

void roots_kit_settle(RootsKit *kit)
{
    engine_turn(kit->engine);
    for (unsigned i = 0; moves(kit); i++) {
        ASSERT(i < SETTLE_MAX);
        roots_kit_control_run(kit);
        roots_kit_control_tell(kit, true);
        for (unsigned r = 0; r < kit->count; r++) {
            roots_kit_append(kit, r, SIZE_MAX);
            roots_kit_sync(kit, r);
            roots_kit_fetch(kit, r);
            roots_kit_seed(kit, r);
        }
    }
}

void roots_kit_wait(RootsKit *kit, uint64_t ms)
{
    EngineHealth health[ENGINE_ROOTS_MAX] = {{0}};
    for (uint64_t i = 0; i < ms; i += ENGINE_TICK_MS) {
        kit->clock->boot_ns += ENGINE_TICK_MS * UINT64_C(1000000);
        kit->clock->wall_ms += ENGINE_TICK_MS;
        engine_tick(kit->engine, health);
        roots_kit_settle(kit);
    }
}

bool roots_kit_ready(RootsKit *kit, uint64_t ms)
{
    roots_kit_settle(kit);
    for (uint64_t i = 0; i < ms && !engine_ready(kit->engine); i += ENGINE_TICK_MS)
        roots_kit_wait(kit, ENGINE_TICK_MS);
    return engine_ready(kit->engine);
}

static void put_done(Mutation *m)
{
    *(bool *)m->ctx = true;
}

ErrCode roots_kit_do(RootsKit *kit, Mutation *m, uint64_t ms)
{
    bool done = false;
    m->done = put_done;
    m->ctx = &done;
    engine_submit(kit->engine, m);
    roots_kit_settle(kit);
    for (uint64_t i = 0; i < ms && !done; i += ENGINE_TICK_MS)
        roots_kit_wait(kit, ENGINE_TICK_MS);
    ASSERT(done); /* nobody waits for ever */
    return m->code;
}

ErrCode roots_kit_put(RootsKit *kit, Str key, Str body, uint64_t ms, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = key;
    m.size = body.len;
    m.digest = sha256_of(body.ptr, body.len);
    m.inline_body = body;
    ErrCode code = roots_kit_do(kit, &m, ms);
    if (code != OK && err != NULL) *err = m.err;
    mutation_deinit(&m);
    return code;
}

ErrCode roots_kit_get(RootsKit *kit, unsigned root, Str key, Buf *body, Err *err)
{
    return roots_kit_get_of(kit, root, STR("files"), key, body, err);
}

ErrCode roots_kit_get_of(RootsKit *kit, unsigned root, Str bucket, Str key, Buf *body, Err *err)
{
    BucketRecord record;
    StoreFound found;
    Str bytes = {NULL, 0};
    bool there = false;
    StoreReader *reader = kit->roots[root].reader;
    buf_clear(body);
    if (!buckets_find(kit->buckets, bucket, &record))
        return err_set(err, ERR_NO_BUCKET, "no bucket");
    TRY(store_find(reader, record.uid, key, NULL, STORE_COMMITTED, &found, &there, err));
    if (!there) return err_set(err, ERR_NOT_FOUND, "no file");
    TRY(store_body(reader, &found, &bytes, err));
    return buf_append_str(body, bytes, err);
}

void roots_kit_disks(Disk **disks, unsigned count)
{
    Err err = {0};
    for (unsigned r = 0; r < count; r++)
        assert_ok(disk_sim_new(r + 1, &disks[r], &err), &err);
}

void roots_kit_start(RootsKit *kit, Disk *const *disks, unsigned count,
                     const RootsKitOptions *options, uint64_t ms)
{
    Err err = {0};
    assert_ok(roots_kit_open(kit, disks, count, options, &err), &err);
    assert_true(roots_kit_ready(kit, ms));
}

void roots_kit_kill(RootsKit *kit, Disk *const *disks, unsigned count)
{
    roots_kit_drop(kit);
    for (unsigned r = 0; r < count; r++)
        disk_sim_kill(disks[r]);
}

void roots_kit_end(RootsKit *kit, Disk **disks, unsigned count)
{
    roots_kit_drop(kit);
    for (unsigned r = 0; r < count; r++)
        disk_free(disks[r]);
}

void roots_kit_disk_fails(Disk *disk, bool fails)
{
    uint32_t rate = fails ? 1000000 : 0;
    disk_sim_set_faults(disk, &(SimDiskFaults){.write_error = rate, .sync_error = rate});
}
