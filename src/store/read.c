/* Look-ups: the table first, the index afterwards; see store/table.h for why nothing is missed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_priv.h"

ErrCode store_reader_open(Store *store, StoreReader **out, Err *err)
{
    AUTO(StoreReader, store_reader_free) reader = mem_new(sizeof *reader);
    reader->store = store;
    buf_init(&reader->row, ROW_VALUE_MAX);
    buf_init(&reader->key, ROW_KEY_MAX);
    buf_init(&reader->meta, ATTRS_MAX);
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
    buf_deinit(&reader->meta);
    buf_deinit(&reader->body);
    cache_free(reader->cache);
    mem_free(reader);
}

/* Versions that have ended though the index may show them. */
typedef struct {
    VersionId *items; /* deleted one by one; in the order of ids once sorted */
    size_t count;
    size_t capacity;
    bool sorted;
    VersionId all_upto;    /* and all up to this one … */
    VersionId null_before; /* … and null versions before this one */
} Ended;

/* Attributes that a version got since it was written. */
typedef struct {
    VersionId version;
    Str attrs; /* heap memory: the record may be applied and gone before the index is asked */
} Meta;

/* What the table says of a name. */
typedef struct {
    bool decided; /* the index need not be asked */
    bool found;
    Ended ended;
    Meta *metas; /* the newest of each version */
    size_t meta_count;
} TableAnswer;

static const Meta *find_meta(const TableAnswer *answer, VersionId version)
{
    for (size_t i = 0; i < answer->meta_count; i++)
        if (version_id_cmp(answer->metas[i].version, version) == 0) return &answer->metas[i];
    return NULL;
}

/* e is a META; the walk meets newer ones first. */
static void note_meta(TableAnswer *answer, const Entry *e)
{
    if (find_meta(answer, e->target) != NULL) return;
    answer->metas = mem_resize(answer->metas, (answer->meta_count + 1) * sizeof *answer->metas);
    char *copy = mem_new(e->attrs.len + 1);
    memcpy(copy, e->attrs.ptr, e->attrs.len);
    answer->metas[answer->meta_count++] = (Meta){e->target, str_of(copy, e->attrs.len)};
}

static void answer_deinit(TableAnswer *answer)
{
    for (size_t i = 0; i < answer->meta_count; i++)
        mem_free((char *)(uintptr_t)answer->metas[i].attrs.ptr);
    mem_free(answer->metas);
    mem_free(answer->ended.items);
}

static int ended_order(const void *a, const void *b)
{
    return version_id_cmp(*(const VersionId *)a, *(const VersionId *)b);
}

static bool has_ended(const Ended *ended, VersionId version, bool null_version)
{
    if (version_id_cmp(version, ended->all_upto) <= 0) return true;
    if (null_version && version_id_cmp(version, ended->null_before) < 0) return true;
    if (ended->count == 0) return false;
    if (ended->sorted) {
        return bsearch(&version, ended->items, ended->count, sizeof version, ended_order) != NULL;
    }
    for (size_t i = ended->count; i-- > 0;) { /* mostly the last */
        if (version_id_cmp(ended->items[i], version) == 0) return true;
    }
    return false;
}

static void raise(VersionId *to, VersionId version)
{
    if (version_id_cmp(version, *to) > 0) *to = version;
}

/* What e ends of the versions before it, as entry_ends() has it. True: all of them. */
static bool note_ended(Ended *ended, const Entry *e)
{
    VersionId own = {.term = e->term, .lsn = e->lsn};
    bool null_version = (e->flags & ENTRY_FLAG_NULL_VERSION) != 0;
    bool keeps = (e->flags & (ENTRY_FLAG_KEEP_OLDER | ENTRY_FLAG_DELETE_MARKER)) != 0;
    if (e->op == OP_META) return false;
    if (e->target.lsn == 0) {
        if (!keeps) return true;
        if (null_version) raise(&ended->null_before, own);
        return false;
    }
    if (ended->count == ended->capacity) {
        ended->capacity = MAX(2 * ended->capacity, (size_t)8);
        ended->items = mem_resize(ended->items, ended->capacity * sizeof *ended->items);
    }
    ended->items[ended->count++] = e->target;
    if (null_version) raise(&ended->null_before, e->target);
    if ((e->flags & ENTRY_FLAG_ALL_VERSIONS) != 0) raise(&ended->all_upto, e->target);
    return false;
}

/* Copies a record's metadata into the reader, with views there. */
static ErrCode take_record(StoreReader *reader, const Record *record, StoreFound *out, Err *err)
{
    buf_clear(&reader->row);
    buf_clear(&reader->key);
    TRY(buf_append_str(&reader->row, buf_str(&record->sealed->head), err));
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

static void note_wait(const Record *record, StoreView view, StoreFound *out)
{
    if (view != STORE_PENDING || record->state != RECORD_PENDING || out->pending) return;
    out->pending = true;
    out->shard = record->entry.shard;
    out->lsn = record->entry.lsn;
}

static bool wants(StoreWhich which, VersionId wanted, VersionId version)
{
    if (which == STORE_NEWEST) return true;
    int order = version_id_cmp(version, wanted);
    return which == STORE_EXACT ? order == 0 : order < 0;
}

/* Walks the chain of a name from its newest visible record. Table lock held. */
static ErrCode ask_chain(StoreReader *reader, const Record *record, StoreWhich which,
                         VersionId wanted, StoreView view, TableAnswer *answer, StoreFound *out,
                         Err *err)
{
    for (; record != NULL; record = record->older) {
        if (view == STORE_COMMITTED && !record_is_seen(record)) continue;
        const Entry *e = &record->entry;
        note_wait(record, view, out);
        VersionId own = {.term = e->term, .lsn = e->lsn};
        if (e->op == OP_META) note_meta(answer, e);
        bool is_version = e->op == OP_CREATE || e->op == OP_UPDATE ||
                          (e->op == OP_DELETE && (e->flags & ENTRY_FLAG_DELETE_MARKER) != 0);
        if (is_version && wants(which, wanted, own) &&
            !has_ended(&answer->ended, own, entry_makes_null(e))) {
            answer->decided = true;
            answer->found = true;
            return take_record(reader, record, out, err);
        }
        if (note_ended(&answer->ended, e)) {
            answer->decided = true;
            return OK;
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

/* The one version, if the index has it. */
static ErrCode exact_row(StoreReader *reader, BucketUid bucket, Str key, VersionId version,
                         StoreFound *out, bool *found, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str row_key = str_of(bytes, row_key_name(bytes, bucket, key, version));
    Str value = {NULL, 0};
    TRY(index_get(reader->index, row_key, &value, found, err));
    return *found ? take_row(reader, row_key, value, out, err) : OK;
}

/* From the newest, or the one behind wanted, to older ones: the first that has not ended. */
static ErrCode ask_index(StoreReader *reader, BucketUid bucket, Str key, StoreWhich which,
                         VersionId wanted, const Ended *ended, StoreFound *out, bool *found,
                         Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    uint8_t from[ROW_KEY_MAX];
    Str prefix = str_of(bytes, row_key_name_prefix(bytes, bucket, key));
    size_t from_len = prefix.len;
    memcpy(from, prefix.ptr, prefix.len);
    if (which == STORE_EXACT) {
        TRY(exact_row(reader, bucket, key, wanted, out, found, err));
    } else if (which == STORE_OLDER) {
        from_len = row_key_name(from, bucket, key, wanted);
        from[from_len++] = 0; /* the next key */
    }
    for (;;) {
        Str row_key = {NULL, 0};
        Str value = {NULL, 0};
        if (which != STORE_EXACT) {
            TRY(index_first(reader->index, str_of(from, from_len), prefix, &row_key, &value, found,
                            err));
            if (*found) TRY(take_row(reader, row_key, value, out, err));
        }
        if (!*found) return OK;
        bool null_version = (out->row.flags & ROW_FLAG_NULL_VERSION) != 0;
        *found = !has_ended(ended, out->row.version, null_version);
        if (*found || which == STORE_EXACT) return OK;
        from_len = row_key_name(from, bucket, key, out->row.version);
        from[from_len++] = 0;
    }
}

static ErrCode look(StoreReader *reader, BucketUid bucket, Str key, StoreWhich which,
                    VersionId version, StoreView view, TableAnswer *answer, StoreFound *out,
                    Err *err)
{
    Table *table = reader->store->table;
    if (table_count(table) > 0) {
        table_read_lock(table);
        const Record *record = table_find(table, bucket, key, view == STORE_COMMITTED);
        ErrCode code = ask_chain(reader, record, which, version, view, answer, out, err);
        table_unlock(table);
        if (code != OK) return code;
    }
    if (answer->decided) return OK;
    Ended *ended = &answer->ended;
    if (ended->count > 0) qsort(ended->items, ended->count, sizeof *ended->items, ended_order);
    ended->sorted = true;
    return ask_index(reader, bucket, key, which, version, ended, out, &answer->found, err);
}

/* Attributes of what was found, if a META says others. */
static ErrCode take_meta(StoreReader *reader, const TableAnswer *answer, StoreFound *out, Err *err)
{
    const Meta *meta = find_meta(answer, out->row.version);
    if (meta == NULL) return OK;
    buf_clear(&reader->meta);
    TRY(buf_append_str(&reader->meta, meta->attrs, err));
    out->row.attrs = buf_str(&reader->meta);
    return OK;
}

ErrCode store_look(StoreReader *reader, BucketUid bucket, Str key, StoreWhich which,
                   VersionId version, StoreView view, StoreFound *out, bool *found, Err *err)
{
    ASSERT(key.len <= KEY_MAX);
    StoreFound result = {0};
    TableAnswer answer = {.decided = false};
    ErrCode code = look(reader, bucket, key, which, version, view, &answer, &result, err);
    if (code == OK && answer.found) code = take_meta(reader, &answer, &result, err);
    answer_deinit(&answer);
    if (code != OK) return code;
    if (!answer.found) { /* what was looked at and has ended is nobody's */
        result.row = (FileRow){0};
        result.key = (Str){NULL, 0};
    }
    *out = result;
    *found = answer.found;
    return OK;
}

ErrCode store_find(StoreReader *reader, BucketUid bucket, Str key, const VersionId *version,
                   StoreView view, StoreFound *out, bool *found, Err *err)
{
    StoreWhich which = version == NULL ? STORE_NEWEST : STORE_EXACT;
    VersionId wanted = version == NULL ? (VersionId){0} : *version;
    TRY(store_look(reader, bucket, key, which, wanted, view, out, found, err));
    bool marker = (out->row.flags & ROW_FLAG_DELETE_MARKER) != 0;
    if (*found && version == NULL && marker) *found = false;
    if (*found && store_is_over(reader->store, &out->row)) *found = false;
    return OK;
}

bool store_is_over(const Store *store, const FileRow *row)
{
    uint64_t expires_ms = file_row_expires(row);
    return expires_ms != 0 && expires_ms <= clock_wall_ms(store->options.clock);
}

ErrCode store_next_over(StoreReader *reader, uint64_t now_ms, Buf *cursor, StoreOver *out,
                        bool *found, Err *err)
{
    Str key = {NULL, 0};
    Str value = {NULL, 0};
    uint64_t expires_ms = 0;
    StoreOver over;
    bool more = false;
    if (cursor->len > 0) TRY(buf_append_zeros(cursor, 1, err)); /* the next key */
    Str from = cursor->len > 0 ? buf_str(cursor) : STR("e");
    TRY(index_first(reader->index, from, STR("e"), &key, &value, &more, err));
    *found = false;
    if (!more) return OK;
    buf_clear(cursor);
    TRY(buf_append_str(cursor, key, err));
    if (!row_key_expires_parse(buf_str(cursor), &expires_ms, &over.bucket, &over.key,
                               &over.version)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a version that ends is malformed");
    }
    if (expires_ms > now_ms) return OK;
    *out = over;
    *found = true;
    return OK;
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
    TRY(store_find(reader, bucket, str_of(key, key_len), version, view, out, found, err));
    if (!id128_eq(out->row.file, file)) { /* another file has the name now, or none */
        *found = false;
        out->row = (FileRow){0};
    }
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
