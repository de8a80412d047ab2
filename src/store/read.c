/* Look-ups: the table first, the index afterwards; see store/table.h for why nothing is missed. */
#include <inttypes.h>
#include <string.h>

#include "store/store_priv.h"

#define DEAD_MAX 64 /* versions deleted one by one, un-applied, of one name */

ErrCode store_reader_open(Store *store, StoreReader **out, Err *err)
{
    AUTO(StoreReader, store_reader_free) reader = mem_new(sizeof *reader);
    reader->store = store;
    buf_init(&reader->row, ROW_VALUE_MAX);
    buf_init(&reader->key, ROW_KEY_MAX);
    buf_init(&reader->body, ENTRY_MAX + PACK_HEADER_LEN);
    TRY(index_reader_open(store->index, &reader->index, err));
    TRY(index_reader_open(store->index, &reader->scan, err));
    *out = TAKE(reader);
    return OK;
}

void store_reader_free(StoreReader *reader)
{
    if (reader == NULL) return;
    index_reader_free(reader->index);
    index_reader_free(reader->scan);
    buf_deinit(&reader->row);
    buf_deinit(&reader->key);
    buf_deinit(&reader->body);
    cache_free(reader->cache);
    mem_free(reader);
}

/* What the table says of a name. */
typedef struct {
    bool decided; /* the index need not be asked */
    bool found;
    VersionId dead[DEAD_MAX]; /* versions that are deleted though the index may show them */
    size_t dead_count;
} TableAnswer;

static bool is_dead(const TableAnswer *answer, VersionId version)
{
    for (size_t i = 0; i < answer->dead_count; i++) {
        if (version_id_cmp(answer->dead[i], version) == 0) return true;
    }
    return false;
}

/* Copies a record's metadata into the reader, with views there. */
static ErrCode take_record(StoreReader *reader, const Record *record, StoreFound *out, Err *err)
{
    buf_clear(&reader->row);
    buf_clear(&reader->key);
    TRY(buf_append_str(&reader->row, buf_str(&record->head), err));
    TRY(buf_append_str(&reader->key, record->key, err));
    const Entry *e = &record->entry;
    Entry entry = *e;
    entry.attrs = str_of(reader->row.data + ENTRY_HEADER_LEN, e->attrs.len);
    entry.extents = str_of(reader->row.data + ENTRY_HEADER_LEN + e->attrs.len, e->extents.len);
    file_row_of_entry(&entry, &out->row);
    out->bucket = e->bucket;
    out->key = buf_str(&reader->key);
    out->in_log = e->extent_count == 0 && e->size > 0;
    out->pos = record->pos;
    out->log_len = record->log_len;
    return OK;
}

/* Does this record end what was before it under its name? */
static bool ends_older(const Entry *e)
{
    if (e->op == OP_CREATE || e->op == OP_UPDATE) return (e->flags & ENTRY_FLAG_KEEP_OLDER) == 0;
    if (e->op != OP_DELETE) return false;
    return e->target.lsn == 0 && (e->flags & ENTRY_FLAG_DELETE_MARKER) == 0;
}

static void note_wait(const Record *record, StoreView view, StoreFound *out)
{
    if (view != STORE_PENDING || record->state != RECORD_PENDING || out->pending) return;
    out->pending = true;
    out->shard = record->entry.shard;
    out->lsn = record->entry.lsn;
}

/* Walks the chain of a name from its newest visible record. Table lock held. */
static ErrCode ask_chain(StoreReader *reader, const Record *record, const VersionId *version,
                         StoreView view, TableAnswer *answer, StoreFound *out, Err *err)
{
    for (; record != NULL; record = record->older) {
        if (record->failed) continue;
        if (view == STORE_COMMITTED && record->state != RECORD_COMMITTED) continue;
        const Entry *e = &record->entry;
        note_wait(record, view, out);
        VersionId own = {.term = e->term, .lsn = e->lsn};
        bool is_version = e->op == OP_CREATE || e->op == OP_UPDATE ||
                          (e->op == OP_DELETE && (e->flags & ENTRY_FLAG_DELETE_MARKER) != 0);
        bool wanted = version == NULL || version_id_cmp(*version, own) == 0;
        if (is_version && wanted && !is_dead(answer, own)) {
            answer->decided = true;
            answer->found = true;
            return take_record(reader, record, out, err);
        }
        if (ends_older(e)) {
            answer->decided = true;
            return OK;
        }
        if (e->op == OP_DELETE && e->target.lsn != 0) {
            if (answer->dead_count == DEAD_MAX) {
                return err_set(err, ERR_BUSY, "%d versions of one file wait to be deleted",
                               DEAD_MAX);
            }
            answer->dead[answer->dead_count++] = e->target;
        }
    }
    return OK;
}

/* Takes an index row into the reader. */
static ErrCode take_row(StoreReader *reader, Str row_key, Str value, StoreFound *out, Err *err)
{
    buf_clear(&reader->row);
    buf_clear(&reader->key);
    TRY(buf_append_str(&reader->row, value, err));
    VersionId version;
    Str key;
    if (!row_key_name_parse(row_key, &out->bucket, &key, &version) ||
        !file_row_decode(buf_str(&reader->row), &out->row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    }
    TRY(buf_append_str(&reader->key, key, err));
    out->key = buf_str(&reader->key);
    out->row.version = version;
    return OK;
}

/* The newest version that the index has. */
static ErrCode newest_row(StoreReader *reader, BucketUid bucket, Str key, StoreFound *out,
                          bool *found, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str prefix = str_of(bytes, row_key_name_prefix(bytes, bucket, key));
    Str row_key = {NULL, 0};
    Str value = {NULL, 0};
    TRY(index_first(reader->index, prefix, prefix, &row_key, &value, found, err));
    return *found ? take_row(reader, row_key, value, out, err) : OK;
}

static ErrCode ask_index(StoreReader *reader, BucketUid bucket, Str key, const VersionId *version,
                         const TableAnswer *answer, StoreFound *out, bool *found, Err *err)
{
    if (version == NULL && answer->dead_count == 0)
        return newest_row(reader, bucket, key, out, found, err);
    uint8_t bytes[ROW_KEY_MAX];
    size_t prefix_len = row_key_name_prefix(bytes, bucket, key);
    uint8_t from[ROW_KEY_MAX];
    size_t from_len = version == NULL ? row_key_name_prefix(from, bucket, key)
                                      : row_key_name(from, bucket, key, *version);
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(reader->index, str_of(from, from_len), &cursor, err));
    for (;;) {
        Str row_key = {NULL, 0};
        Str value = {NULL, 0};
        bool more = false;
        TRY(index_next(cursor, &row_key, &value, &more, err));
        if (!more || !str_starts_with(row_key, str_of(bytes, prefix_len))) break;
        if (version != NULL && !str_eq(row_key, str_of(from, from_len))) break;
        TRY(take_row(reader, row_key, value, out, err));
        if (is_dead(answer, out->row.version)) continue;
        *found = true;
        return OK;
    }
    *found = false;
    return OK;
}

ErrCode store_find_name(StoreReader *reader, BucketUid bucket, Str key, const VersionId *version,
                        StoreView view, StoreFound *out, bool *found, Err *err)
{
    ASSERT(key.len <= KEY_MAX);
    StoreFound result = {0};
    TableAnswer answer;
    answer.decided = false;
    answer.found = false;
    answer.dead_count = 0;
    Table *table = reader->store->table;
    if (table_count(table) > 0) {
        table_read_lock(table);
        const Record *record = table_find(table, bucket, key, view == STORE_COMMITTED);
        ErrCode code = ask_chain(reader, record, version, view, &answer, &result, err);
        table_unlock(table);
        if (code != OK) return code;
    }
    if (!answer.decided) {
        TRY(ask_index(reader, bucket, key, version, &answer, &result, &answer.found, err));
    }
    if (answer.found && version == NULL && (result.row.flags & ROW_FLAG_DELETE_MARKER) != 0) {
        answer.found = false;
    }
    *out = result;
    *found = answer.found;
    return OK;
}

ErrCode store_find(StoreReader *reader, BucketUid bucket, Str key, const VersionId *version,
                   StoreView view, StoreFound *out, bool *found, Err *err)
{
    return store_find_name(reader, bucket, key, version, view, out, found, err);
}

/* Where a file's name is: from the table, or from the index. */
static ErrCode name_of_id(StoreReader *reader, FileId file, StoreView view, BucketUid *bucket,
                          uint8_t key[KEY_MAX], size_t *key_len, bool *found, Err *err)
{
    Table *table = reader->store->table;
    *found = false;
    if (table_count(table) > 0) {
        table_read_lock(table);
        const Record *record = table_find_id(table, file, view == STORE_COMMITTED);
        if (record != NULL) {
            *bucket = record->entry.bucket;
            *key_len = record->key.len;
            memcpy(key, record->key.ptr, record->key.len);
            *found = true;
        }
        table_unlock(table);
        if (*found) return OK;
    }
    uint8_t row_key[ROW_KEY_MAX];
    size_t len = row_key_file(row_key, file);
    Str value = {NULL, 0};
    TRY(index_get(reader->index, str_of(row_key, len), &value, found, err));
    if (!*found) return OK;
    Str name;
    if (!id_row_decode(value, bucket, &name) || name.len > KEY_MAX) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file id is malformed");
    }
    memcpy(key, name.ptr, name.len);
    *key_len = name.len;
    return OK;
}

ErrCode store_find_id(StoreReader *reader, FileId file, const VersionId *version, StoreView view,
                      StoreFound *out, bool *found, Err *err)
{
    uint8_t key[KEY_MAX];
    size_t key_len = 0;
    BucketUid bucket = 0;
    bool named = false;
    TRY(name_of_id(reader, file, view, &bucket, key, &key_len, &named, err));
    if (!named) {
        *out = (StoreFound){0};
        *found = false;
        return OK;
    }
    StoreFound result;
    bool there = false;
    TRY(store_find_name(reader, bucket, str_of(key, key_len), version, view, &result, &there, err));
    if (there && !id128_eq(result.row.file, file))
        there = false; /* another file has the name now */
    *out = result;
    *found = there;
    return OK;
}

/* The bytes of a body are not what was written, or cannot be read: notes that. */
static ErrCode damaged(StoreReader *reader, const StoreFound *found, RiskCause cause,
                       const char *place, uint64_t offset, Err *err)
{
    RiskFound risk = {.file = found->row.file,
                      .version = found->row.version,
                      .bucket = found->bucket,
                      .key = found->key,
                      .size = found->row.size,
                      .cause = cause,
                      .place = place,
                      .offset = offset,
                      .detail = err_text(err)};
    risk_add(reader->store->risk, &risk);
    return err_wrap(err, ERR_FILE_DAMAGED, "%s offset %" PRIu64, place, offset);
}

static ErrCode body_in_log(StoreReader *reader, const StoreFound *found, Str *body, Err *err)
{
    Str payload = {NULL, 0};
    Wal *wal = reader->store->wal;
    ErrCode code = wal_read(wal, found->pos, found->log_len, &reader->body, &payload, err);
    if (code == OK && payload.len < found->row.size) {
        code = err_set(err, ERR_CORRUPT, "the log record is too short");
    }
    if (code == ERR_CORRUPT || code == ERR_IO) {
        char place[DISK_PATH_MAX];
        wal_path(wal, found->pos.segment, place);
        return damaged(reader, found, risk_cause_of(code), place, found->pos.offset, err);
    }
    if (code != OK) return code;
    *body = str_slice(payload, payload.len - found->row.size, found->row.size);
    return OK;
}

/* The reader's cache, made when first asked for; NULL: there is none. */
static Cache *body_cache(StoreReader *reader)
{
    uint64_t size = reader->store->options.body_cache_bytes;
    if (reader->cache == NULL && size >= CACHE_SIZE_MIN &&
        cache_new((size_t)size, &reader->cache, NULL) != OK)
        return NULL; /* goes without, and tries again */
    return reader->cache;
}

/* *read: the disk was asked. What the cache gives says nothing about what stands on the disk. */
static ErrCode body_in_pack(StoreReader *reader, const StoreFound *found, Str *body, bool *read,
                            Err *err)
{
    PackRecord record;
    const PackPlace *at = &found->row.place;
    Cache *cache = body_cache(reader);
    CacheKey key = {.pack = at->pack,
                    .offset = at->offset,
                    .file = found->row.file,
                    .lsn = found->row.version.lsn};
    *read = false;
    if (cache != NULL && cache_get(cache, &key, body) && body->len == found->row.size) return OK;
    *read = true;
    ErrCode code = packs_read(reader->store->packs, at, false, &reader->body, &record, err);
    if (code == OK &&
        (!id128_eq(record.entry.file, found->row.file) ||
         record.entry.lsn != found->row.version.lsn || record.stored_body.len != found->row.size)) {
        code = err_set(err, ERR_FOREIGN, "the record there is another file's");
    }
    if (code == ERR_CORRUPT || code == ERR_IO || code == ERR_FOREIGN) {
        char place[PACK_PATH_MAX];
        pack_path(at->pack, place);
        RiskCause cause = store_pack_cause(reader->store, at, code);
        return damaged(reader, found, cause, place, at->offset, err);
    }
    if (code != OK) return code;
    if (cache != NULL) cache_put(cache, &key, record.stored_body);
    *body = record.stored_body;
    return OK;
}

ErrCode store_body(StoreReader *reader, const StoreFound *found, Str *body, Err *err)
{
    ASSERT(found->row.extent_count == 0);
    if (found->row.size == 0) {
        *body = (Str){NULL, 0};
        return OK;
    }
    bool read = true;
    TRY(found->in_log ? body_in_log(reader, found, body, err)
                      : body_in_pack(reader, found, body, &read, err));
    if (read) risk_clear(reader->store->risk, found->row.file, found->row.version, RISK_WHOLE);
    return OK;
}

ErrCode store_bucket_stat(StoreReader *reader, BucketUid bucket, BucketStatRow *out, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_bucket_stat(key, bucket);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_get(reader->index, str_of(key, len), &value, &found, err));
    *out = (BucketStatRow){0};
    if (found && !bucket_stat_decode(value, out)) {
        return err_set(err, ERR_CORRUPT, "index.db: a bucket's counts are malformed");
    }
    return OK;
}
