#include "node_kit.h"

#include "disk/sim.h"

#include <string.h>

#define SETTLE_MAX 1000000

static void kit_log(void *ctx, LogItem *item)
{
    NodeKit *kit = ctx;
    item->next = NULL;
    if (kit->log_last == NULL)
        kit->log_first = item;
    else
        kit->log_last->next = item;
    kit->log_last = item;
    kit->log_waiting++;
}

static void kit_committed(void *ctx, unsigned root)
{
    UNUSED(ctx); /* the test applies when it likes */
    UNUSED(root);
}

static ErrCode open_engine(NodeKit *kit, const NodeKitOptions *options, Err *err)
{
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, 1);
    standard.shard_count = (uint16_t)options->shards;
    kit->buckets = buckets_new();
    EngineOptions engine = {.stores = {kit->store},
                            .root_count = 1,
                            .control = kit->control,
                            .buckets = kit->buckets,
                            .clock = &kit->clock.clock,
                            .seed = rng_u64(&kit->rng),
                            .standard = standard,
                            .backlog_max = options->backlog_max,
                            .backlog_bytes_max = options->backlog_bytes_max,
                            .io = {.ctx = kit, .log = kit_log, .committed = kit_committed}};
    TRY(engine_open(&engine, &kit->engine, err));
    TRY(store_reader_open(kit->store, &kit->reader, err));
    return engine_start(kit->engine, err);
}

static ErrCode open_all(NodeKit *kit, const NodeKitOptions *options, Err *err)
{
    TRY(root_open(kit->disk, STR("test"), &kit->rng, &kit->clock.clock, &kit->root, err));
    ControlAlone alone = {.root = kit->root.uuid, .incarnation = kit->root.incarnation};
    TRY(control_local_open_alone(kit->disk, &alone, &kit->control, &kit->found, err));
    if (kit->found.in_use) TRY(store_check_not_emptied(kit->disk, err));
    TRY(control_raise_root(kit->control, kit->root.uuid, kit->root.incarnation,
                           &kit->root.incarnation, err));
    TRY(root_save(kit->disk, &kit->root, err));
    StoreOptions store = {.root = kit->root,
                          .wal_segment_size = options->segment_size == 0 ? SEGMENT_SIZE_MIN
                                                                         : options->segment_size,
                          .wal_spares = 1,
                          .wal_recycled = options->recycled,
                          .pack_size = options->pack_size,
                          .body_cache_bytes = options->body_cache_bytes,
                          .chunk_size = (uint32_t)CHUNK_SIZE_MIN,
                          .clock = &kit->clock.clock,
                          .seed = rng_u64(&kit->rng)};
    TRY(store_open(kit->disk, &store, &kit->store, &kit->opened, err));
    uint64_t removed = 0;
    TRY(store_sweep_orphans(kit->store, &removed, err));
    return open_engine(kit, options, err);
}

ErrCode node_kit_open(NodeKit *kit, Disk *disk, const NodeKitOptions *options, Err *err)
{
    memset(kit, 0, sizeof *kit);
    kit->disk = disk;
    rng_init(&kit->rng, options->seed);
    clock_manual_init(&kit->clock, 1700000000000 + rng_below(&kit->rng, 1000000));
    ErrCode code = open_all(kit, options, err);
    if (code != OK) node_kit_drop(kit);
    return code;
}

static void free_items(LogItem *item)
{
    while (item != NULL) {
        LogItem *next = item->next;
        mem_free(item);
        item = next;
    }
}

void node_kit_drop(NodeKit *kit)
{
    free_items(kit->log_first);
    free_items(kit->batch_first);
    store_reader_free(kit->reader);
    engine_free(kit->engine);
    buckets_free(kit->buckets);
    store_free(kit->store);
    control_free(kit->control);
    memset(kit, 0, sizeof *kit);
}

ErrCode node_kit_close(NodeKit *kit, Err *err)
{
    engine_drain(kit->engine);
    node_kit_settle(kit);
    while (!engine_idle(kit->engine)) { /* what the backlog holds back, the applier lets on */
        size_t applied = 0;
        TRY(store_apply(kit->store, SIZE_MAX, &applied, err));
        ASSERT(applied > 0);
        node_kit_settle(kit);
    }
    store_reader_free(TAKE(kit->reader));
    engine_free(TAKE(kit->engine));
    ErrCode code = store_close(kit->store, err);
    node_kit_drop(kit);
    return code;
}

void node_kit_append(NodeKit *kit, size_t max)
{
    for (size_t i = 0; i < max && kit->log_first != NULL; i++) {
        LogItem *item = kit->log_first;
        item->code = log_item_append(kit->store, item, NULL);
        if (store_log_waits(kit->store, item->code)) return; /* again at the next call */
        kit->log_first = item->next;
        if (kit->log_first == NULL) kit->log_last = NULL;
        kit->log_waiting--;
        item->next = NULL;
        if (kit->batch_last == NULL)
            kit->batch_first = item;
        else
            kit->batch_last->next = item;
        kit->batch_last = item;
    }
}

void node_kit_sync(NodeKit *kit)
{
    if (kit->batch_first == NULL) return;
    ErrCode code = store_log_sync(kit->store, NULL);
    if (store_log_waits(kit->store, code)) return; /* again at the next call */
    LogItem *item = kit->batch_first;
    kit->batch_first = NULL;
    kit->batch_last = NULL;
    while (item != NULL) {
        LogItem *next = item->next;
        if (code != OK) item->code = code;
        engine_logged(kit->engine, item);
        item = next;
    }
    engine_turn(kit->engine);
}

void node_kit_settle(NodeKit *kit)
{
    engine_turn(kit->engine);
    for (unsigned i = 0; kit->log_first != NULL || kit->batch_first != NULL; i++) {
        ASSERT(i < SETTLE_MAX); /* no room ever: nothing for this function */
        node_kit_append(kit, SIZE_MAX);
        node_kit_sync(kit);
    }
}

ErrCode node_kit_apply(NodeKit *kit, Err *err)
{
    size_t applied = 0;
    do {
        TRY(store_apply(kit->store, STORE_APPLY_BATCH, &applied, err));
    } while (applied > 0);
    return store_checkpoint(kit->store, err);
}

ErrCode node_kit_ready(NodeKit *kit, Err *err)
{
    node_kit_settle(kit);
    while (!engine_ready(kit->engine) && !engine_failed(kit->engine)) {
        size_t applied = 0; /* the first bucket may wait for room */
        TRY(store_apply(kit->store, SIZE_MAX, &applied, err));
        if (applied == 0) break;
        node_kit_settle(kit);
    }
    if (!engine_ready(kit->engine)) return err_set(err, ERR_ROOT_FAILED, "the engine is not ready");
    return OK;
}

static void kit_done(Mutation *m)
{
    *(bool *)m->ctx = true;
}

ErrCode node_kit_open_small(NodeKit *kit, Disk *disk, uint64_t seed, Err *err)
{
    NodeKitOptions options = {
        .seed = seed, .shards = 1, .segment_size = SEGMENT_SIZE_MIN, .pack_size = 64 * KIB};
    TRY(node_kit_open(kit, disk, &options, err));
    ErrCode code = node_kit_ready(kit, err);
    if (code != OK) node_kit_drop(kit);
    return code;
}

void node_kit_crash(NodeKit *kit, Disk *disk)
{
    node_kit_drop(kit);
    if (!disk_sim_stopped(disk)) disk_sim_kill(disk); /* a stop would be lifted */
}

ErrCode node_kit_do(NodeKit *kit, Mutation *m)
{
    bool done = false;
    m->ctx = &done;
    m->done = kit_done;
    engine_submit(kit->engine, m);
    node_kit_settle(kit);
    while (!done) { /* held back by the backlog: the applier lets it on */
        size_t applied = 0;
        ErrCode code = store_apply(kit->store, SIZE_MAX, &applied, NULL);
        ASSERT(code == OK && applied > 0);
        node_kit_settle(kit);
    }
    return m->code;
}

ErrCode node_kit_body(NodeKit *kit, Mutation *m, Str body, Extent *extent, Err *err)
{
    m->size = body.len;
    m->digest = sha256_of(body.ptr, body.len);
    m->inline_body = body;
    if (body.len <= INLINE_MAX) return OK;
    m->inline_body = (Str){NULL, 0};
    m->body = id128_random(&kit->rng);
    m->extents = extent;
    m->extent_count = 1;
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    TRY(blob_writer_open(store_blobs(kit->store), m->body, 0, &writer, err));
    TRY(blob_writer_write(writer, body.ptr, body.len, err));
    BlobInfo info = {.time_ms = clock_wall_ms(&kit->clock.clock)};
    return blob_writer_finish(writer, &info, extent, err);
}

ErrCode node_kit_put(NodeKit *kit, Str bucket, Str key, Str body, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_PUT);
    m.bucket = bucket;
    m.key = key;
    Extent extent;
    ErrCode code = node_kit_body(kit, &m, body, &extent, err);
    if (code == OK) code = node_kit_do(kit, &m);
    mutation_deinit(&m);
    return code;
}

ErrCode node_kit_delete(NodeKit *kit, Str bucket, Str key, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_DELETE);
    m.bucket = bucket;
    m.key = key;
    ErrCode code = node_kit_do(kit, &m);
    if (code != OK && err != NULL) *err = m.err;
    mutation_deinit(&m);
    return code;
}

static ErrCode read_extents(NodeKit *kit, const FileRow *row, Buf *body, Err *err)
{
    static uint8_t data[CHUNK_SIZE_MAX]; /* not new and zeroed for each body */
    for (uint32_t i = 0; i < row->extent_count; i++) {
        Extent extent = extent_at(row->extents, i);
        AUTO(BlobReader, blob_reader_free) reader = NULL;
        TRY(blob_reader_open(store_blobs(kit->store), extent.body, extent.number, &reader, err));
        for (uint64_t c = 0; c < blob_reader_footer(reader)->chunk_count; c++) {
            size_t len = 0;
            TRY(blob_reader_chunk(reader, c, data, &len, err));
            TRY(buf_append(body, data, len, err));
        }
    }
    return OK;
}

ErrCode node_kit_read(NodeKit *kit, StoreReader *reader, const StoreFound *found, Buf *body,
                      Err *err)
{
    buf_clear(body);
    if (found->row.extent_count > 0) {
        TRY(read_extents(kit, &found->row, body, err));
    } else {
        Str bytes = {NULL, 0};
        TRY(store_body(reader, found, &bytes, err));
        TRY(buf_append_str(body, bytes, err));
    }
    Sha256 digest = sha256_of(body->data, body->len);
    bool known = (found->row.flags & ROW_FLAG_DIGEST_KNOWN) != 0; /* of a file of parts it is not */
    bool same = !known || sha256_eq(&digest, &found->row.digest);
    if (body->len != found->row.size || !same) {
        return err_set(err, ERR_DIGEST_MISMATCH, "the body is not the one its row tells of");
    }
    return OK;
}

ErrCode node_kit_get(NodeKit *kit, Str bucket, Str key, Buf *body, Err *err)
{
    BucketRecord record;
    buf_clear(body);
    if (!buckets_find(kit->buckets, bucket, &record))
        return err_set(err, ERR_NO_BUCKET, "no bucket");
    StoreFound found;
    bool there = false;
    TRY(store_find(kit->reader, record.uid, key, NULL, STORE_COMMITTED, &found, &there, err));
    if (!there) return err_set(err, ERR_NOT_FOUND, "no file");
    return node_kit_read(kit, kit->reader, &found, body, err);
}
