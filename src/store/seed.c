/* One cursor over the source's index, whose rows are one snapshot:
 *
 *   'a' how far it is -> 'n' files, merged with the target's -> 'r' requests, the same -> 'a'
 *
 * Into a disk with little room files are gone through twice: first those go that only the target
 * has, so that what comes finds the room that they leave. The reserve is left alone. */
#include "store/seed.h"

#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "store/rows.h"
#include "store/seed_bodies.h"
#include "store/store_priv.h"

/* Of one sync and one transaction, as many or more. */
#define STEP_BYTES (8 * MIB)        /* in packs */
#define STEP_BODY_BYTES (256 * MIB) /* several at once, be they of 64 MiB */

typedef enum { SEED_BEGIN, SEED_DROPS, SEED_FILES, SEED_REQUESTS, SEED_END } SeedPhase;

struct Seed {
    Store *source;
    Store *target;
    SeedShard *shards;
    uint64_t *resets; /* of each, when this was made */
    AppliedRow *applied;
    size_t count;
    unsigned step_rows;
    SeedPhase phase;
    IndexReader *reader; /* of the source */
    IndexCursor *cursor;
    bool has_row; /* key and value are the cursor's next row */
    bool ended;   /* the cursor has no more */
    Buf key;
    Buf value;
    Buf body;  /* a record of the source's packs */
    Buf attrs; /* of the entry in hand */
    Buf old;   /* the target's row in hand */
    Buf at;    /* rows of the target below this key are done */
    /* What stands next in the target, so that it need not be asked for each row of the source. Only
     * within a batch: between two of them others change rows, too. */
    bool looked;    /* ahead holds the target's first row at or behind `at`, of any shard */
    bool none_left; /* there is none */
    Buf ahead;
    Buf ahead_value;
    Rows rows;
    uint64_t work_rows; /* in the batch in hand */
    uint64_t work_bytes;
    uint64_t work_body_bytes; /* of large bodies */
    uint64_t room;            /* above the reserve, when it began */
    SeedBodies *bodies;
};

Seed *seed_new(Store *source, Store *target, const SeedShard *shards, size_t count)
{
    Seed *seed = mem_new(sizeof *seed);
    seed->source = source;
    seed->target = target;
    seed->shards = mem_new_array(count, sizeof *shards);
    seed->resets = mem_new_array(count, sizeof *seed->resets);
    seed->applied = mem_new_array(count, sizeof *seed->applied);
    seed->count = count;
    unsigned rows = target->options.seed_rows;
    seed->step_rows = rows != 0 ? rows : SEED_ROWS_DEFAULT;
    memcpy(seed->shards, shards, count * sizeof *shards);
    for (size_t i = 0; i < count; i++)
        seed->resets[i] = store_shard(target, shards[i].shard)->resets;
    buf_init(&seed->key, ROW_KEY_MAX);
    buf_init(&seed->value, ROW_VALUE_MAX);
    buf_init(&seed->body, PACK_RECORD_HEADER_LEN + PACK_PAYLOAD_MAX + 8);
    buf_init(&seed->attrs, ATTRS_MAX);
    buf_init(&seed->old, ROW_VALUE_MAX);
    buf_init(&seed->at, ROW_KEY_MAX + 1);
    buf_init(&seed->ahead, ROW_KEY_MAX);
    buf_init(&seed->ahead_value, ROW_VALUE_MAX);
    seed->bodies = seed_bodies_new(source->blobs, target->blobs, target->options.seed_threads);
    atomic_fetch_add(&source->seeds, 1);
    return seed;
}

void seed_free(Seed *seed)
{
    if (seed == NULL) return;
    seed_bodies_free(seed->bodies);
    atomic_fetch_sub(&seed->source->seeds, 1);
    index_cursor_close(seed->cursor);
    index_reader_free(seed->reader);
    buf_deinit(&seed->key);
    buf_deinit(&seed->value);
    buf_deinit(&seed->body);
    buf_deinit(&seed->attrs);
    buf_deinit(&seed->old);
    buf_deinit(&seed->at);
    buf_deinit(&seed->ahead);
    buf_deinit(&seed->ahead_value);
    mem_free(seed->shards);
    mem_free(seed->resets);
    mem_free(seed->applied);
    mem_free(seed);
}

size_t seed_count(const Seed *seed)
{
    return seed->count;
}

const SeedShard *seed_shard(const Seed *seed, size_t i)
{
    return &seed->shards[i];
}

static size_t place_of(const Seed *seed, ShardId shard)
{
    size_t i = 0;
    while (i < seed->count && seed->shards[i].shard != shard)
        i++;
    return i;
}

static bool is_ours(const Seed *seed, ShardId shard)
{
    return place_of(seed, shard) < seed->count;
}

static ErrCode malformed(Err *err)
{
    return err_set(err, ERR_CORRUPT, "index.db: a row is malformed");
}

/* The source's next row of that kind into key and value; *found false behind the last. */
static ErrCode next_row(Seed *seed, char kind, bool *found, Err *err)
{
    Str from = str_of(&kind, 1);
    *found = false;
    if (seed->has_row && seed->key.data[0] < (uint8_t)kind) {
        TRY(index_seek(seed->cursor, from, err));
        seed->has_row = false;
    }
    while (!seed->has_row && !seed->ended) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool there = false;
        TRY(index_next(seed->cursor, &key, &value, &there, err));
        if (!there) seed->ended = true;
        if (!there) break;
        buf_clear(&seed->key);
        buf_clear(&seed->value);
        TRY(buf_append_str(&seed->key, key, err));
        TRY(buf_append_str(&seed->value, value, err));
        seed->has_row = key.ptr[0] >= kind;
        if (!seed->has_row) TRY(index_seek(seed->cursor, from, err));
    }
    *found = seed->has_row && seed->key.data[0] == (uint8_t)kind;
    return OK;
}

/* --- how far the source is --- */

static ErrCode read_applied(Seed *seed, Err *err)
{
    for (;;) {
        bool found = false;
        AppliedRow row;
        TRY(next_row(seed, 'a', &found, err));
        if (!found) return OK;
        Dec dec = dec_of(seed->key.data + 1, seed->key.len - 1);
        unsigned high = dec_u8(&dec);
        unsigned shard = high << 8 | dec_u8(&dec);
        if (!dec_done(&dec) || !applied_row_decode(buf_str(&seed->value), &row))
            return malformed(err);
        size_t i = place_of(seed, (ShardId)shard);
        if (i < seed->count) seed->applied[i] = row;
        seed->has_row = false;
    }
}

/* Bytes above the target's reserve. */
static ErrCode room_of(const Seed *seed, uint64_t *room, uint64_t *reserve, Err *err)
{
    DiskSpace space;
    TRY(disk_space(seed->target->disk, &space, err));
    *reserve = disk_reserve(space.total);
    *room = space.free - MIN(space.free, *reserve);
    return OK;
}

static ErrCode begin(Seed *seed, Err *err)
{
    TRY(index_reader_open(seed->source->index, &seed->reader, err));
    TRY(index_scan(seed->reader, STR("a"), &seed->cursor, err));
    TRY(read_applied(seed, err));
    for (size_t i = 0; i < seed->count; i++) {
        SeedShard *shard = &seed->shards[i];
        shard->lsn = seed->applied[i].lsn;
        if (shard->lsn >= shard->base || fault_planted("seed-before-base")) continue;
        return err_set(err, ERR_BUSY,
                       "shard %u: applied up to lsn %" PRIu64 ", to be read from %" PRIu64 " on",
                       shard->shard, shard->lsn, shard->base);
    }
    TRY(seed_bodies_start(seed->bodies, err));
    uint64_t room = 0;
    uint64_t reserve = 0;
    TRY(room_of(seed, &room, &reserve, err));
    seed->phase = room < reserve ? SEED_DROPS : SEED_FILES;
    return buf_append_str(&seed->at, STR("n"), err);
}

/* --- files --- */

static bool same_file(const FileRow *a, const FileRow *b)
{
    return id128_eq(a->file, b->file) && a->flags == b->flags && a->created_ms == b->created_ms &&
           a->updated_ms == b->updated_ms && a->size == b->size && id128_eq(a->body, b->body) &&
           sha256_eq(&a->digest, &b->digest) && str_eq(a->extents, b->extents) &&
           str_eq(a->attrs, b->attrs);
}

/* The body of a small file, verified. */
static ErrCode read_body(Seed *seed, const FileRow *row, Str *body, Err *err)
{
    PackRecord record;
    *body = (Str){NULL, 0};
    if (row->place.pack == 0) return OK;
    TRY(packs_read(seed->source->packs, &row->place, true, &seed->body, &record, err));
    if (!id128_eq(record.entry.file, row->file) || record.entry.lsn != row->version.lsn ||
        record.stored_body.len != row->size)
        return err_set(err, ERR_CORRUPT, "the record there is another file's");
    *body = record.stored_body;
    return OK;
}

/* Those large bodies of a file that the target has not are copied, if there is room for them beside
 * those of this batch. */
static ErrCode add_bodies(Seed *seed, const Entry *entry, const FileRow *row, Err *err)
{
    BlobInfo info = {.shard = entry->shard,
                     .bucket = entry->bucket,
                     .time_ms = entry->time_ms,
                     .attrs = entry->attrs};
    for (uint32_t i = 0; i < row->extent_count; i++) {
        Extent extent = extent_at(row->extents, i);
        bool there = false;
        TRY(blob_exists(seed->target->blobs, extent.body, extent.number, &there, err));
        if (there) continue;
        if (seed->room < seed->work_body_bytes + extent.size)
            return err_set(err, ERR_NO_SPACE,
                           "there is no room for a large body of %" PRIu64
                           " bytes above the reserve",
                           extent.size);
        TRY(seed_bodies_add(seed->bodies, &extent, &info, err));
        seed->work_body_bytes += extent.size;
    }
    return OK;
}

/* The row is here; is each large body? */
static ErrCode copy_missing(Seed *seed, BucketUid bucket, Str key, const FileRow *row, Err *err)
{
    Entry entry = {0};
    if (row->extent_count == 0) return OK;
    TRY(store_remake_entry(bucket, key, row, &seed->attrs, &entry, err));
    return add_bodies(seed, &entry, row, err);
}

/* What else the target has under that name, and the source has not, goes in its turn. */
static ErrCode put_file(Seed *seed, BucketUid bucket, Str key, const FileRow *row, Err *err)
{
    PackRecord record = {0};
    PackPlace place;
    Entry *entry = &record.entry;
    TRY(store_remake_entry(bucket, key, row, &seed->attrs, entry, err));
    TRY(read_body(seed, row, &entry->inline_body, err));
    TRY(add_bodies(seed, entry, row, err));
    record.stored_body = entry->inline_body;
    record.type = store_pack_type(entry);
    TRY(packs_append(seed->target->packs, &record, &place, err));
    seed->work_bytes += place.length;
    return rows_put_version(&seed->rows, entry, &place, err);
}

/* Moves seed->at behind key, which is not behind what stands next. */
static ErrCode pass(Seed *seed, Str key, Err *err)
{
    if (seed->looked && !seed->none_left && str_cmp(buf_str(&seed->ahead), key) <= 0)
        seed->looked = false;
    buf_clear(&seed->at);
    TRY(buf_append_str(&seed->at, key, err));
    return buf_append_zeros(&seed->at, 1, err);
}

/* The target's first row of the kind at or behind seed->at into ahead. */
static ErrCode look_ahead(Seed *seed, char kind, Err *err)
{
    Str key = {NULL, 0};
    Str value = {NULL, 0};
    bool found = false;
    if (seed->looked) return OK;
    TRY(index_batch_first(seed->target->index, buf_str(&seed->at), str_of(&kind, 1), &key, &value,
                          &found, err));
    buf_clear(&seed->ahead);
    buf_clear(&seed->ahead_value);
    TRY(buf_append_str(&seed->ahead, key, err));
    TRY(buf_append_str(&seed->ahead_value, value, err));
    seed->looked = true;
    seed->none_left = !found;
    return OK;
}

/* The target's first row of the kind at or behind seed->at that is of our shards and not above
 * `to` (empty: any), its value into seed->old; the others are passed over. */
static ErrCode next_own(Seed *seed, char kind, Str to, uint8_t key_out[ROW_KEY_MAX], size_t *len,
                        bool *found, Err *err)
{
    for (;;) {
        ShardId shard = 0;
        FileRow row;
        TRY(look_ahead(seed, kind, err));
        Str key = buf_str(&seed->ahead);
        Str value = buf_str(&seed->ahead_value);
        *found = !seed->none_left && (to.len == 0 || str_cmp(key, to) <= 0);
        if (!*found) return OK;
        if (kind == 'n' ? !file_row_decode(value, &row) : !row_key_request_parse(key, &shard))
            return malformed(err);
        if (kind == 'n') shard = file_id_shard(row.file);
        seed->work_rows++;
        *len = key.len;
        memcpy(key_out, key.ptr, key.len);
        if (is_ours(seed, shard)) {
            buf_clear(&seed->old);
            return buf_append_str(&seed->old, value, err);
        }
        TRY(pass(seed, str_of(key_out, *len), err));
    }
}

static ErrCode drop_file(Seed *seed, Str row_key, Err *err)
{
    FileRow row;
    BucketUid bucket = 0;
    Str key = {NULL, 0};
    if (!file_row_decode(buf_str(&seed->old), &row) ||
        !row_key_name_parse(row_key, &bucket, &key, &row.version))
        return malformed(err);
    return rows_drop_version(&seed->rows, bucket, key, row_key, &row, err);
}

static ErrCode drop_request(Seed *seed, Str row_key, Err *err)
{
    RequestRow row;
    ShardId shard = 0;
    RequestId id;
    if (!request_row_decode(buf_str(&seed->old), &row) || !row_key_request_parse(row_key, &shard))
        return malformed(err);
    memcpy(id.bytes, row_key.ptr + 1, sizeof id.bytes);
    return rows_request(&seed->rows, shard, id, NULL, row.time_ms, err);
}

/* Rows that only the target has go, up to the key `to` (empty: all that are left). *same: it has
 * that one, too, and its value is in seed->old. */
static ErrCode drop_up_to(Seed *seed, char kind, Str to, bool *same, Err *err)
{
    *same = false;
    for (;;) {
        uint8_t bytes[ROW_KEY_MAX];
        size_t len = 0;
        bool found = false;
        TRY(next_own(seed, kind, to, bytes, &len, &found, err));
        if (!found) return OK;
        Str key = str_of(bytes, len);
        *same = str_eq(key, to);
        if (*same) return OK;
        if (!fault_planted("seed-keeps-stale"))
            TRY(kind == 'n' ? drop_file(seed, key, err) : drop_request(seed, key, err));
        TRY(pass(seed, key, err));
    }
}

static ErrCode merge_file(Seed *seed, Err *err)
{
    FileRow row;
    FileRow old;
    BucketUid bucket = 0;
    Str key = {NULL, 0};
    Str row_key = buf_str(&seed->key);
    bool same = false;
    if (!file_row_decode(buf_str(&seed->value), &row) ||
        !row_key_name_parse(row_key, &bucket, &key, &row.version))
        return malformed(err);
    seed->work_rows++;
    if (!is_ours(seed, file_id_shard(row.file))) return OK;
    TRY(drop_up_to(seed, 'n', row_key, &same, err));
    if (same && !file_row_decode(buf_str(&seed->old), &old)) return malformed(err);
    if (same && !same_file(&row, &old)) {
        TRY(drop_file(seed, row_key, err));
        same = false;
    }
    if (seed->phase == SEED_DROPS) return pass(seed, row_key, err);
    TRY(same ? copy_missing(seed, bucket, key, &row, err) : put_file(seed, bucket, key, &row, err));
    return pass(seed, row_key, err);
}

static ErrCode merge_request(Seed *seed, Err *err)
{
    RequestRow row;
    ShardId shard = 0;
    RequestId id;
    Str row_key = buf_str(&seed->key);
    bool same = false;
    if (!request_row_decode(buf_str(&seed->value), &row) || !row_key_request_parse(row_key, &shard))
        return malformed(err);
    seed->work_rows++;
    if (!is_ours(seed, shard)) return OK;
    TRY(drop_up_to(seed, 'r', row_key, &same, err));
    if (same && !str_eq(buf_str(&seed->old), buf_str(&seed->value))) {
        TRY(drop_request(seed, row_key, err));
        same = false;
    }
    memcpy(id.bytes, row_key.ptr + 1, sizeof id.bytes);
    if (!same) TRY(rows_request(&seed->rows, shard, id, &row, row.time_ms, err));
    return pass(seed, row_key, err);
}

/* --- batches --- */

static bool is_enough(const Seed *seed)
{
    return seed->work_rows >= seed->step_rows || seed->work_bytes >= STEP_BYTES ||
           seed->work_body_bytes >= STEP_BODY_BYTES;
}

/* Rows of a kind, until there was enough work; behind the last the next phase begins. */
static ErrCode merge(Seed *seed, char kind, Err *err)
{
    bool left = true;
    while (!is_enough(seed)) {
        TRY(next_row(seed, kind, &left, err));
        if (!left) break;
        TRY(kind == 'n' ? merge_file(seed, err) : merge_request(seed, err));
        seed->has_row = false;
    }
    if (left) return OK;
    bool same = false;
    TRY(drop_up_to(seed, kind, (Str){NULL, 0}, &same, err));
    seed->looked = false;
    buf_clear(&seed->at);
    TRY(buf_append_str(&seed->at, seed->phase == SEED_DROPS ? STR("n") : STR("r"), err));
    if (seed->phase == SEED_DROPS) {
        TRY(index_seek(seed->cursor, STR("n"), err));
        seed->has_row = false;
        seed->ended = false;
    }
    seed->phase++;
    return OK;
}

static ErrCode put_applied(Seed *seed, Err *err)
{
    for (size_t i = 0; i < seed->count; i++) {
        if (seed->applied[i].lsn == 0) continue;
        TRY(rows_applied(&seed->rows, seed->shards[i].shard, &seed->applied[i], err));
    }
    seed->phase = SEED_END;
    return OK;
}

static ErrCode fill_batch(Seed *seed, Err *err)
{
    /* A batch of its own: it stays though there is no room for what comes. */
    bool drops = seed->phase == SEED_DROPS;
    if (drops || seed->phase == SEED_FILES) TRY(merge(seed, 'n', err));
    if (!drops && seed->phase == SEED_REQUESTS && !is_enough(seed)) TRY(merge(seed, 'r', err));
    if (seed->phase == SEED_END) TRY(put_applied(seed, err));
    TRY(rows_flush(&seed->rows, err));
    return packs_sync(seed->target->packs, err);
}

static ErrCode run_batch(Seed *seed, Err *err)
{
    Store *target = seed->target;
    seed->work_rows = 0;
    seed->work_bytes = 0;
    seed->work_body_bytes = 0;
    seed->looked = false;
    uint64_t reserve = 0;
    TRY(room_of(seed, &seed->room, &reserve, err));
    if (seed->phase != SEED_DROPS && seed->phase != SEED_END && seed->room < STEP_BYTES)
        return err_set(err, ERR_NO_SPACE, "there is no room for small files above the reserve");
    TRY(index_begin(target->index, err));
    rows_begin(&seed->rows, target->index, &target->value_buf);
    seed->rows.risk = target->risk;
    ErrCode code = fill_batch(seed, err);
    ErrCode copied = seed_bodies_wait(seed->bodies, code == OK ? err : NULL);
    if (code == OK) code = copied;
    if (code != OK) {
        index_rollback(target->index);
        return code;
    }
    if (!target->dirty) target->dirty_since_ns = clock_boot_ns(target->options.clock);
    target->dirty = true;
    return index_commit(target->index, err);
}

/* The rows are all there and durable. One whose log began anew again meanwhile waits on. */
static void note_done(Seed *seed)
{
    Store *target = seed->target;
    lock_take(&target->lock);
    for (size_t i = 0; i < seed->count; i++) {
        StoreShard *shard = target->shards[seed->shards[i].shard];
        shard->applied_lsn = seed->applied[i].lsn;
        shard->applied_term = seed->applied[i].term;
        shard->applied_hash = seed->applied[i].hash;
        if (shard->resets != seed->resets[i]) continue;
        shard->incomplete = false;
        shard->remade = false;
    }
    lock_give(&target->lock);
    atomic_fetch_add(&target->apply_generation, 1);
}

static ErrCode step(Seed *seed, bool *done, Err *err)
{
    Store *target = seed->target;
    if (atomic_load(&target->failed))
        return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    if (seed->phase == SEED_BEGIN) TRY(begin(seed, err));
    TRY(run_batch(seed, err));
    if (seed->phase != SEED_END) return OK;
    if (!fault_planted("seed-not-synced")) TRY(index_checkpoint(target->index, err));
    note_done(seed);
    store_drop_needless(target);
    *done = true;
    return OK;
}

ErrCode seed_step(Seed *seed, bool *done, Err *err)
{
    *done = false;
    ErrCode code = step(seed, done, err);
    if (code != OK || *done) seed_bodies_stop(seed->bodies); /* not by who frees it */
    return code;
}
