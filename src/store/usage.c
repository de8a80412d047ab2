/* What buckets hold, counted when nothing is committed yet: by the index, and by the changes that
 * the log has beyond it, name by name in the order of their lsn. From then on whoever appends knows
 * what each change makes of it. The rule is entry_ends(). */
#include "store/store_priv.h"

#include <string.h>

#include "format/bucket.h"

typedef struct {
    VersionId version;
    uint64_t size;
    bool marker;
    bool null_version;
} Version;

/* The versions of one name. */
typedef struct {
    Version *items;
    size_t count;
    size_t capacity;
} Versions;

typedef struct {
    IndexReader *reader;
    OMap *buckets; /* uid, 8 bytes -> BucketStatRow */
    OMap *names;   /* prefix of the name's rows -> Versions */
} Usage;

static void usage_deinit(Usage *usage)
{
    const OMapNode *node = omap_first(usage->buckets, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node))
        mem_free(omap_value(node));
    node = omap_first(usage->names, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node)) {
        Versions *versions = omap_value(node);
        mem_free(versions->items);
        mem_free(versions);
    }
    omap_free(usage->buckets);
    omap_free(usage->names);
    index_reader_free(usage->reader);
}

static BucketStatRow *bucket_of(Usage *usage, BucketUid uid)
{
    Str key = str_of(&uid, sizeof uid);
    BucketStatRow *row = omap_get(usage->buckets, key);
    if (row != NULL) return row;
    row = mem_new(sizeof *row);
    void *before = omap_put(usage->buckets, key, row);
    ASSERT(before == NULL);
    return row;
}

static ErrCode read_buckets(Usage *usage, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(usage->reader, STR("u"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'u') return OK;
        Dec dec = dec_of(key.ptr + 1, key.len - 1);
        BucketUid uid = dec_u64_be(&dec);
        BucketStatRow row;
        if (!dec_done(&dec) || !bucket_stat_decode(value, &row)) {
            return err_set(err, ERR_CORRUPT, "index.db: a bucket's counts are malformed");
        }
        *bucket_of(usage, uid) = row;
    }
}

static void add_version(Versions *versions, Version version)
{
    if (versions->count == versions->capacity) {
        versions->capacity = MAX(2 * versions->capacity, (size_t)2);
        versions->items = mem_resize(versions->items, versions->capacity * sizeof *versions->items);
    }
    versions->items[versions->count++] = version;
}

static ErrCode read_versions(Usage *usage, Str prefix, Versions *versions, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(usage->reader, prefix, &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        BucketUid bucket;
        Str name;
        FileRow row;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || !str_starts_with(key, prefix)) return OK;
        if (!file_row_decode(value, &row) ||
            !row_key_name_parse(key, &bucket, &name, &row.version)) {
            return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
        }
        add_version(versions, (Version){.version = row.version,
                                        .size = row.size,
                                        .marker = (row.flags & ROW_FLAG_DELETE_MARKER) != 0,
                                        .null_version = (row.flags & ROW_FLAG_NULL_VERSION) != 0});
    }
}

/* A damaged page is in the list by now, and no reason not to start: what it hides stays counted,
 * and whoever applies a change of the name meets the page, too. */
static ErrCode read_known_versions(Usage *usage, Str prefix, Versions *versions, Err *err)
{
    Err own = {0};
    ErrCode code = read_versions(usage, prefix, versions, &own);
    return code == OK || code == ERR_CORRUPT ? OK : err_set(err, code, "%s", err_text(&own));
}

static ErrCode versions_of(Usage *usage, const Record *record, Versions **out, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str prefix = str_of(bytes, row_key_name_prefix(bytes, record->entry.bucket, record->key));
    *out = omap_get(usage->names, prefix);
    if (*out != NULL) return OK;
    *out = mem_new(sizeof **out);
    void *before = omap_put(usage->names, prefix, *out);
    ASSERT(before == NULL);
    return read_known_versions(usage, prefix, *out, err);
}

static void count(BucketStatRow *bucket, const Version *version, bool more)
{
    if (version->marker) return;
    bucket->files += more ? 1 : (uint64_t)-1;
    bucket->bytes += more ? version->size : -version->size;
}

/* Drops the versions that e ends. */
static void drop(Versions *versions, BucketStatRow *bucket, const Entry *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < versions->count; i++) {
        const Version *v = &versions->items[i];
        if (entry_ends(e, v->version, v->null_version))
            count(bucket, v, false);
        else
            versions->items[kept++] = *v;
    }
    versions->count = kept;
}

static void change(Versions *versions, BucketStatRow *bucket, const Entry *e)
{
    bool marker = (e->flags & ENTRY_FLAG_DELETE_MARKER) != 0;
    bool write = e->op == OP_CREATE || e->op == OP_UPDATE;
    Version own = {.version = {.term = e->term, .lsn = e->lsn},
                   .size = e->size,
                   .marker = marker,
                   .null_version = entry_makes_null(e)};
    drop(versions, bucket, e);
    if (!write && !marker) return;
    add_version(versions, own);
    count(bucket, &own, true);
}

static ErrCode add_replayed(Usage *usage, Store *store, Err *err)
{
    for (unsigned shard = 0; shard < SHARD_COUNT_MAX; shard++) {
        const Record *record = store_replayed(store, (ShardId)shard);
        for (; record != NULL; record = record->next) {
            Versions *versions = NULL;
            if (!record_has_name(record) || record->entry.op == OP_META) continue;
            TRY(versions_of(usage, record, &versions, err));
            change(versions, bucket_of(usage, record->entry.bucket), &record->entry);
        }
    }
    return OK;
}

static ErrCode read_bucket_records(IndexReader *reader, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str prefix = str_of(bytes,
                        row_key_bucket_prefix(bytes, BUCKET_UID_SYSTEM, STR(BUCKET_KEY_PREFIX)));
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(reader, prefix, &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || !str_starts_with(key, prefix)) return OK;
    }
}

ErrCode store_check_buckets(Store *store, Err *err)
{
    __attribute__((cleanup(usage_deinit)))
    Usage usage = {.buckets = omap_new(1), .names = omap_new(2)};
    TRY(index_reader_open(store->index, &usage.reader, err));
    TRY(read_buckets(&usage, err));
    return read_bucket_records(usage.reader, err);
}

ErrCode store_usage(Store *store, StoreUsageFn fn, void *ctx, Err *err)
{
    __attribute__((cleanup(usage_deinit)))
    Usage usage = {.buckets = omap_new(1), .names = omap_new(2)};
    TRY(index_reader_open(store->index, &usage.reader, err));
    TRY(read_buckets(&usage, err));
    TRY(add_replayed(&usage, store, err));
    const OMapNode *node = omap_first(usage.buckets, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node)) {
        BucketUid uid = 0;
        memcpy(&uid, omap_key(node).ptr, sizeof uid);
        fn(ctx, uid, omap_value(node));
    }
    return OK;
}

ErrCode store_totals(Store *store, BucketStatRow *out, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    uint8_t at[ROW_KEY_MAX + 1] = {'u'};
    size_t at_len = 1;
    BucketStatRow sum = {0};
    TRY(index_reader_open(store->index, &reader, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        BucketStatRow one;
        TRY(index_first(reader, str_of(at, at_len), STR("u"), &key, &value, &found, err));
        if (!found) break;
        if (key.len > ROW_KEY_MAX || !bucket_stat_decode(value, &one))
            return err_set(err, ERR_CORRUPT, "index.db: a bucket's counts are malformed");
        sum.files += one.files;
        sum.bytes += one.bytes;
        memcpy(at, key.ptr, key.len);
        at[key.len] = 0; /* behind it */
        at_len = key.len + 1;
    }
    *out = sum;
    return OK;
}
