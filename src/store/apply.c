/* The applier: committed records -> packs (synced) -> index rows and applied lsns (one transaction)
 * -> out of the table. Behind a checkpoint of the index the log is cut and garbage unlinked, in the
 * order of REPLICATION.md section 7. */
#include "store/store_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/fault.h"

#define GARBAGE_BATCH 1000
/* Log behind the index that is worth a checkpoint: segments. */
#define CHECKPOINT_SEGMENTS 64
/* And so long what was deleted may keep its space on the disk, when changes never cease. */
#define CHECKPOINT_AFTER_NS (10ULL * 1000 * 1000 * 1000)

/* Sums that a batch gathers before it writes them: rows of the bucket and pack in hand. */
typedef struct {
    Store *store;
    BucketUid bucket;
    int64_t files;
    int64_t bytes;
    uint64_t pack;
    uint64_t pack_bytes;
} Batch;

static ErrCode put(Batch *b, const uint8_t *key, size_t key_len, const Enc *enc, Err *err)
{
    ASSERT(!enc->failed);
    return index_put(b->store->index, str_of(key, key_len), str_of(enc->data, enc->len), err);
}

static ErrCode flush_bucket(Batch *b, Err *err)
{
    if (b->files == 0 && b->bytes == 0) return OK;
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = row_key_bucket_stat(key, b->bucket);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_batch_get(b->store->index, str_of(key, key_len), &value, &found, err));
    BucketStatRow row = {0};
    if (found && !bucket_stat_decode(value, &row)) {
        return err_set(err, ERR_CORRUPT, "index.db: a bucket's counts are malformed");
    }
    row.files = (uint64_t)((int64_t)row.files + b->files);
    row.bytes = (uint64_t)((int64_t)row.bytes + b->bytes);
    b->files = 0;
    b->bytes = 0;
    uint8_t bytes[64];
    Enc enc = enc_of(bytes, sizeof bytes);
    bucket_stat_encode(&row, &enc);
    return put(b, key, key_len, &enc, err);
}

static ErrCode count_file(Batch *b, BucketUid bucket, int64_t files, int64_t bytes, Err *err)
{
    if (b->bucket != bucket) TRY(flush_bucket(b, err));
    b->bucket = bucket;
    b->files += files;
    b->bytes += bytes;
    return OK;
}

/* More bytes in, or dead in, a pack. */
static ErrCode add_pack(Batch *b, uint64_t pack, uint64_t more, uint64_t dead, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = row_key_pack(key, pack);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_batch_get(b->store->index, str_of(key, key_len), &value, &found, err));
    PackRow row = {0};
    if (found && !pack_row_decode(value, &row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of pack %" PRIu64 " is malformed",
                       pack);
    }
    row.bytes += more;
    row.dead += dead;
    uint8_t bytes[64];
    Enc enc = enc_of(bytes, sizeof bytes);
    pack_row_encode(&row, &enc);
    return put(b, key, key_len, &enc, err);
}

static ErrCode flush_pack(Batch *b, Err *err)
{
    if (b->pack_bytes == 0) return OK;
    uint64_t bytes = b->pack_bytes;
    b->pack_bytes = 0;
    return add_pack(b, b->pack, bytes, 0, err);
}

static ErrCode fill_pack(Batch *b, const PackPlace *place, Err *err)
{
    if (b->pack != place->pack) TRY(flush_pack(b, err));
    b->pack = place->pack;
    b->pack_bytes += place->length;
    return OK;
}

/* One more, or one fewer, name for an extent; the last one makes it garbage. */
static ErrCode count_extent(Batch *b, const Extent *extent, bool more, Err *err)
{
    Index *index = b->store->index;
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = row_key_extent(key, extent->body, extent->number);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_batch_get(index, str_of(key, key_len), &value, &found, err));
    uint64_t references = 0;
    if (found) {
        Dec dec = dec_of(value.ptr, value.len);
        references = dec_varint(&dec);
        if (!dec_done(&dec))
            return err_set(err, ERR_CORRUPT, "index.db: a body's row is malformed");
    }
    uint8_t bytes[16];
    Enc enc = enc_of(bytes, sizeof bytes);
    if (more || references > 1) {
        enc_varint(&enc, more ? references + 1 : references - 1);
        return put(b, key, key_len, &enc, err);
    }
    TRY(index_delete(index, str_of(key, key_len), err));
    key_len = row_key_garbage(key, extent->body, extent->number);
    return put(b, key, key_len, &enc, err);
}

static ErrCode count_extents(Batch *b, Str extents, uint32_t count, bool more, Err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        Extent extent = extent_at(extents, i);
        TRY(count_extent(b, &extent, more, err));
    }
    return OK;
}

/* Removes the version's row and what hangs on it. row_key and row are copies. */
static ErrCode drop_version(Batch *b, BucketUid bucket, Str row_key, const FileRow *row, Err *err)
{
    if (row->place.pack != 0) TRY(add_pack(b, row->place.pack, 0, row->place.length, err));
    TRY(count_extents(b, row->extents, row->extent_count, false, err));
    if ((row->flags & ROW_FLAG_DELETE_MARKER) == 0) {
        TRY(count_file(b, bucket, -1, -(int64_t)row->size, err));
    }
    return index_delete(b->store->index, row_key, err);
}

/* Which versions of a name an entry ends. */
typedef enum { DROP_ALL, DROP_NULL, DROP_TARGET } DropRule;

/* Drops the versions of entry's name by rule; *left: does any stay; *file: id of a dropped one. */
static ErrCode drop_versions(Batch *b, const Entry *entry, DropRule rule, bool *left, FileId *file,
                             Err *err)
{
    Index *index = b->store->index;
    uint8_t prefix[ROW_KEY_MAX];
    size_t prefix_len = row_key_name_prefix(prefix, entry->bucket, entry_key(entry));
    uint8_t from[ROW_KEY_MAX];
    size_t from_len = row_key_name_prefix(from, entry->bucket, entry_key(entry));
    *left = false;
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_batch_first(index, str_of(from, from_len), str_of(prefix, prefix_len), &key,
                              &value, &found, err));
        if (!found) return OK;
        BucketUid bucket;
        Str name;
        FileRow row;
        buf_clear(&b->store->value_buf);
        TRY(buf_append_str(&b->store->value_buf, value, err));
        from_len = MIN(key.len, sizeof from - 1); /* a longer one is malformed */
        memcpy(from, key.ptr, from_len);
        if (from_len != key.len || !file_row_decode(buf_str(&b->store->value_buf), &row) ||
            !row_key_name_parse(str_of(from, from_len), &bucket, &name, &row.version)) {
            return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
        }
        bool drop = rule == DROP_ALL ||
                    (rule == DROP_NULL && (row.flags & ROW_FLAG_NULL_VERSION) != 0) ||
                    (rule == DROP_TARGET && version_id_cmp(row.version, entry->target) == 0);
        if (drop) {
            *file = row.file;
            TRY(drop_version(b, bucket, str_of(from, from_len), &row, err));
        } else {
            *left = true;
        }
        from[from_len++] = 0; /* the next key */
    }
}

static ErrCode drop_id(Batch *b, FileId file, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_file(key, file);
    return index_delete(b->store->index, str_of(key, len), err);
}

static ErrCode put_version(Batch *b, const Entry *entry, const PackPlace *place, Err *err)
{
    FileRow row;
    file_row_of_entry(entry, &row);
    if (entry->extent_count == 0 && entry->size > 0) row.place = *place;
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_name(key, entry->bucket, entry_key(entry), row.version);
    Buf *buf = &b->store->value_buf;
    buf_clear(buf);
    TRY(buf_reserve(buf, entry->attrs.len + entry->extents.len + 512, err));
    Enc enc = enc_of(buf->data, buf->capacity);
    file_row_encode(&row, &enc);
    TRY(put(b, key, len, &enc, err));
    TRY(count_extents(b, entry->extents, entry->extent_count, true, err));
    if ((row.flags & ROW_FLAG_DELETE_MARKER) != 0) return OK;
    return count_file(b, entry->bucket, 1, (int64_t)entry->size, err);
}

static ErrCode apply_write(Batch *b, const Entry *entry, const PackPlace *place, Err *err)
{
    bool left = false;
    FileId old = {{0}};
    bool keep = (entry->flags & ENTRY_FLAG_KEEP_OLDER) != 0;
    bool null_version = (entry->flags & ENTRY_FLAG_NULL_VERSION) != 0;
    if (!keep || null_version) {
        TRY(drop_versions(b, entry, keep ? DROP_NULL : DROP_ALL, &left, &old, err));
    }
    if (!id128_is_zero(old) && !id128_eq(old, entry->file)) TRY(drop_id(b, old, err));
    TRY(put_version(b, entry, place, err));
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = row_key_file(key, entry->file);
    uint8_t value[KEY_MAX + 16];
    Enc enc = enc_of(value, sizeof value);
    id_row_encode(entry->bucket, entry_key(entry), &enc);
    return put(b, key, key_len, &enc, err);
}

static ErrCode apply_delete(Batch *b, const Entry *entry, const PackPlace *place, Err *err)
{
    bool left = false;
    FileId old = {{0}};
    if ((entry->flags & ENTRY_FLAG_DELETE_MARKER) != 0) {
        if ((entry->flags & ENTRY_FLAG_NULL_VERSION) != 0) {
            TRY(drop_versions(b, entry, DROP_NULL, &left, &old, err));
        }
        return put_version(b, entry, place, err);
    }
    DropRule rule = entry->target.lsn != 0 ? DROP_TARGET : DROP_ALL;
    TRY(drop_versions(b, entry, rule, &left, &old, err));
    if (!left && !id128_is_zero(old)) TRY(drop_id(b, old, err));
    return OK;
}

/* New attributes for a version that stays. */
static ErrCode apply_meta(Batch *b, const Entry *entry, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_name(key, entry->bucket, entry_key(entry), entry->target);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_batch_get(b->store->index, str_of(key, len), &value, &found, err));
    if (!found) return OK; /* the version was deleted before */
    AUTO_BUF(old, ROW_VALUE_MAX);
    TRY(buf_append_str(&old, value, err));
    FileRow row;
    if (!file_row_decode(buf_str(&old), &row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    }
    row.attrs = entry->attrs;
    Buf *buf = &b->store->value_buf;
    buf_clear(buf);
    TRY(buf_reserve(buf, entry->attrs.len + row.extents.len + 512, err));
    Enc enc = enc_of(buf->data, buf->capacity);
    file_row_encode(&row, &enc);
    return put(b, key, len, &enc, err);
}

/* The request's own result, for a repeat of it; dropped a day later, by logged time. */
static ErrCode apply_request(Batch *b, const Entry *entry, Err *err)
{
    Str id_bytes;
    if (!attr_get(entry->attrs, ATTR_REQUEST_ID, &id_bytes) || id_bytes.len != sizeof(RequestId)) {
        return OK;
    }
    RequestId id;
    Dec dec = dec_of(id_bytes.ptr, id_bytes.len);
    dec_bytes(&dec, id.bytes, sizeof id.bytes);
    RequestRow row = {.op = entry->op,
                      .file = entry->file,
                      .version = {.term = entry->term, .lsn = entry->lsn},
                      .time_ms = entry->time_ms};
    Str hash;
    if (attr_get(entry->attrs, ATTR_REQUEST_HASH, &hash) && hash.len == SHA256_LEN) {
        dec = dec_of(hash.ptr, hash.len);
        dec_bytes(&dec, row.request_hash.bytes, SHA256_LEN);
    }
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_request(key, entry->shard, id);
    uint8_t bytes[128];
    Enc enc = enc_of(bytes, sizeof bytes);
    request_row_encode(&row, &enc);
    TRY(put(b, key, len, &enc, err));
    len = row_key_request_expiry(key, entry->time_ms + STORE_REQUEST_KEEP_MS, entry->shard, id);
    enc = enc_of(bytes, sizeof bytes);
    return put(b, key, len, &enc, err);
}

static ErrCode apply_entry(Batch *b, const Entry *entry, const PackPlace *place, Err *err)
{
    TRY(fill_pack(b, place, err));
    TRY(apply_request(b, entry, err));
    switch (entry->op) {
    case OP_CREATE:
    case OP_UPDATE: return apply_write(b, entry, place, err);
    case OP_DELETE: return apply_delete(b, entry, place, err);
    case OP_META: return apply_meta(b, entry, err);
    case OP_CONFIG:
    case OP_START:
    case OP_CLOSE:
    case OP_REOPEN:
    case OP_SNAPSHOT:
    case OP_NOOP: return OK; /* they change no row but the applied lsn */
    }
    return err_set(err, ERR_FORMAT_VERSION, "operation %d is not known", (int)entry->op);
}

static PackType pack_type(const Entry *entry)
{
    if (entry->op == OP_DELETE) return PACK_TOMBSTONE;
    return entry->inline_body.len > 0 ? PACK_BODY : PACK_META;
}

/* Bodies and changes of the batch into packs, synced. places[i] belongs to records[i]. */
static ErrCode fill_packs(Store *store, Record **records, size_t count, PackPlace *places, Err *err)
{
    for (size_t i = 0; i < count; i++) {
        const Record *record = records[i];
        Str payload = {NULL, 0};
        TRY(wal_read(store->wal, record->pos, record->log_len, &store->apply_buf, &payload, err));
        PackRecord pack = {0};
        TRY(entry_decode(payload, false, &pack.entry, err));
        ASSERT(pack.entry.lsn == record->entry.lsn && pack.entry.shard == record->entry.shard);
        pack.type = pack_type(&pack.entry);
        pack.stored_body = pack.entry.inline_body;
        TRY(packs_append(store->packs, &pack, &places[i], err));
    }
    if (fault_planted("index-ahead-of-packs")) return OK;
    return packs_sync(store->packs, err);
}

/* Applied rows of the shards of the batch: the last record of each says how far. */
static ErrCode put_applied(Batch *b, Record **records, size_t count, Err *err)
{
    for (size_t i = 0; i < count; i++) {
        StoreShard *shard = b->store->shards[records[i]->entry.shard];
        shard->batch_last = records[i];
    }
    for (size_t i = 0; i < count; i++) {
        const Entry *e = &records[i]->entry;
        if (b->store->shards[e->shard]->batch_last != records[i]) continue;
        AppliedRow row = {.lsn = e->lsn, .term = e->term, .hash = e->checksum};
        uint8_t key[ROW_KEY_MAX];
        size_t len = row_key_applied(key, e->shard);
        uint8_t bytes[96];
        Enc enc = enc_of(bytes, sizeof bytes);
        applied_row_encode(&row, &enc);
        TRY(put(b, key, len, &enc, err));
    }
    return OK;
}

/* The batch is in the index. */
static void note_applied(Store *store, Record **records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Entry *e = &records[i]->entry;
        StoreShard *shard = store->shards[e->shard];
        ASSERT(e->lsn == shard->applied_lsn + 1);
        shard->applied_lsn = e->lsn;
        shard->applied_term = e->term;
        shard->applied_hash = e->checksum;
        shard->batch_last = NULL;
    }
}

static ErrCode fill_index(Store *store, Record **records, size_t count, const PackPlace *places,
                          Err *err)
{
    Batch batch = {.store = store};
    for (size_t i = 0; i < count; i++) {
        TRY(apply_entry(&batch, &records[i]->entry, &places[i], err));
    }
    TRY(flush_bucket(&batch, err));
    TRY(flush_pack(&batch, err));
    return put_applied(&batch, records, count, err);
}

static size_t take_committed(Store *store, Record **records, size_t max)
{
    size_t count = 0;
    lock_take(&store->lock);
    while (count < max && store->apply_first != NULL) {
        Record *record = store->apply_first;
        store->apply_first = record->next;
        if (store->apply_first == NULL) store->apply_last = NULL;
        records[count++] = record;
    }
    lock_give(&store->lock);
    return count;
}

/* Records that could not be applied now go back to the head of the queue, in their order. */
static void give_back(Store *store, Record **records, size_t count)
{
    lock_take(&store->lock);
    for (size_t i = count; i-- > 0;) {
        records[i]->next = store->apply_first;
        if (store->apply_first == NULL) store->apply_last = records[i];
        store->apply_first = records[i];
    }
    lock_give(&store->lock);
}

/* Nothing was lost or half done, and it may go well later. */
static bool worth_retrying(ErrCode code)
{
    return code == ERR_NO_SPACE || code == ERR_NO_MEMORY || code == ERR_SYSTEM;
}

static ErrCode apply_records(Store *store, Record **records, size_t count, Err *err)
{
    AUTO(void, mem_free) memory = mem_new_array(count, sizeof(PackPlace));
    PackPlace *places = memory;
    TRY(fill_packs(store, records, count, places, err));
    TRY(index_begin(store->index, err));
    ErrCode code = fill_index(store, records, count, places, err);
    if (code != OK) {
        index_rollback(store->index);
        return code;
    }
    return index_commit(store->index, err);
}

ErrCode store_apply(Store *store, size_t max, size_t *applied, Err *err)
{
    *applied = 0;
    if (atomic_load(&store->failed)) return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    AUTO(void, mem_free) memory = mem_new_array(MIN(max, STORE_APPLY_BATCH), sizeof(Record *));
    Record **records = memory;
    size_t count = take_committed(store, records, MIN(max, STORE_APPLY_BATCH));
    if (count == 0) return OK;
    (void)fault_point("store.apply"); /* only a place to be killed at */
    ErrCode code = apply_records(store, records, count, err);
    if (code != OK) {
        /* The records stay in the table: readable, and in the log for the next start. */
        give_back(store, records, count);
        if (!worth_retrying(code)) atomic_store(&store->failed, true);
        return err_wrap(err, code, "apply %zu records", count);
    }
    note_applied(store, records, count);
    if (!store->dirty) store->dirty_since_ns = clock_boot_ns(store->options.clock);
    store->dirty = true;
    atomic_fetch_add(&store->apply_generation, 1);
    for (size_t i = 0; i < count; i++)
        table_remove(store->table, records[i]);
    atomic_fetch_add(&store->applied, count);
    *applied = count;
    return OK;
}

bool store_failed(const Store *store)
{
    return atomic_load(&store->failed);
}

bool store_wants_checkpoint(const Store *store)
{
    if (atomic_load(&store->failed)) return false;
    if (store->garbage_left) return true;
    if (!store->dirty) return false;
    uint64_t now = clock_boot_ns(store->options.clock);
    if (now - store->dirty_since_ns >= CHECKPOINT_AFTER_NS) return true;
    WalStats stats;
    wal_stats(store->wal, &stats);
    return stats.active_segment - stats.first_segment >= CHECKPOINT_SEGMENTS;
}

/* Bodies that no row names, after the checkpoint that made that durable: some of them, so that
 * records do not wait for long. */
static ErrCode unlink_garbage(Store *store, Err *err)
{
    bool left = true;
    TRY(index_begin(store->index, err));
    for (int i = 0; i < GARBAGE_BATCH && left; i++) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        ErrCode code = index_batch_first(store->index, STR("g"), STR("g"), &key, &value, &found,
                                         err);
        BodyId body = {{0}};
        uint32_t number = 0;
        uint8_t copy[64];
        size_t len = MIN(key.len, sizeof copy);
        if (code == OK && found && !row_key_garbage_parse(key, &body, &number)) {
            code = err_set(err, ERR_CORRUPT, "index.db: a garbage row is malformed");
        }
        if (code == OK && found) memcpy(copy, key.ptr, len);
        if (code == OK && found) code = blob_remove(store->blobs, body, number, err);
        if (code == OK && found) code = index_delete(store->index, str_of(copy, len), err);
        if (code != OK) {
            index_rollback(store->index);
            return code;
        }
        left = found;
    }
    TRY(index_commit(store->index, err));
    store->garbage_left = left;
    return OK;
}

/* The oldest segment that the views do not make dispensable. */
static uint64_t keep_from(Store *store)
{
    WalStats stats;
    wal_stats(store->wal, &stats);
    uint64_t keep = stats.active_segment;
    return MIN(keep, table_oldest_segment(store->table));
}

static ErrCode checkpoint_and_cut(Store *store, Err *err)
{
    uint64_t keep = keep_from(store); /* before the checkpoint: later records may only raise it */
    if (!fault_planted("cut-before-checkpoint")) {
        ErrCode code = index_checkpoint(store->index, err);
        if (code != OK) return err_wrap(err, code, "checkpoint index.db");
    }
    store->dirty = false;
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        StoreShard *shard = store->shards[i];
        if (shard == NULL || shard->synced_lsn == shard->applied_lsn) continue;
        shard->synced_lsn = shard->applied_lsn;
        wal_note(store->wal, (ShardId)i, shard->applied_lsn, shard->applied_lsn);
    }
    store->garbage_left = true;     /* perhaps */
    (void)fault_point("store.cut"); /* only a place to be killed at */
    return wal_cut(store->wal, keep, err);
}

ErrCode store_checkpoint(Store *store, Err *err)
{
    if (!store->dirty && !store->garbage_left) return OK;
    if (atomic_load(&store->failed)) return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    ErrCode code = store->dirty ? checkpoint_and_cut(store, err) : OK;
    if (code == OK) code = unlink_garbage(store, err);
    if (code != OK && code != ERR_BUSY && !worth_retrying(code)) {
        atomic_store(&store->failed, true);
    }
    return code;
}
