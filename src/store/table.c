#include "store/table.h"

#include <stdatomic.h>
#include <string.h>

struct Table {
    RwLock lock;
    OMap *names;            /* 'n' bucket key 0 -> newest Record */
    OMap *files;            /* 'i' file id -> newest Record */
    OMap *requests;         /* 'r' request id shard -> newest Record */
    Record *first_nameless; /* START, CONFIG …: only to free them, linked by older/newer */
    _Atomic size_t count;
    _Atomic uint64_t bytes; /* of their records in the log */
};

bool record_has_name(const Record *record)
{
    Op op = record->entry.op;
    return op == OP_CREATE || op == OP_UPDATE || op == OP_DELETE || op == OP_META;
}

Record *record_new(Sealed *sealed)
{
    Record *record = mem_new(sizeof *record);
    RequestRow request;
    record->sealed = sealed_ref(sealed);
    record->entry = sealed->entry;
    record->key = entry_key(&record->entry);
    record->has_request = request_row_of_entry(&record->entry, &record->request_id, &request);
    record->log_len = sealed_len(sealed);
    record->state = RECORD_PENDING;
    return record;
}

/* Once. */
static void drop_body(Record *record)
{
    if (record->body_dropped) return;
    record->body_dropped = true;
    sealed_drop_body(record->sealed);
}

void record_free(Record *record)
{
    if (record == NULL) return;
    drop_body(record);
    sealed_unref(record->sealed);
    mem_free(record);
}

Table *table_new(uint64_t seed)
{
    Table *table = mem_new(sizeof *table);
    rwlock_init(&table->lock, LOCK_RANK_TABLE);
    table->names = omap_new(seed);
    table->files = omap_new(seed + 1);
    table->requests = omap_new(seed + 2);
    return table;
}

static void free_chain(Record *record)
{
    while (record != NULL) {
        Record *older = record->older;
        record_free(record);
        record = older;
    }
}

void table_free(Table *table)
{
    if (table == NULL) return;
    const OMapNode *node = omap_first(table->names, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node))
        free_chain(omap_value(node));
    free_chain(table->first_nameless);
    omap_free(table->names);
    omap_free(table->files);
    omap_free(table->requests);
    rwlock_deinit(&table->lock);
    mem_free(table);
}

static Str name_key(uint8_t out[ROW_KEY_MAX], BucketUid bucket, Str key)
{
    return str_of(out, row_key_name_prefix(out, bucket, key));
}

static Str id_key(uint8_t out[ROW_KEY_MAX], FileId file)
{
    return str_of(out, row_key_file(out, file));
}

static Str request_key(uint8_t out[ROW_KEY_MAX], const Record *record)
{
    return str_of(out, row_key_request(out, record->entry.shard, record->request_id));
}

void table_add(Table *table, Record *record)
{
    ASSERT(record->state == RECORD_PENDING);
    ASSERT(record->older == NULL && record->newer == NULL);
    uint8_t key[ROW_KEY_MAX];
    rwlock_write(&table->lock);
    if (record_has_name(record)) {
        Str name = name_key(key, record->entry.bucket, record->key);
        record->older = omap_put(table->names, name, record);
        if (record->older != NULL) record->older->newer = record;
        record->older_id = omap_put(table->files, id_key(key, record->entry.file), record);
        if (record->older_id != NULL) record->older_id->newer_id = record;
    } else {
        record->older = table->first_nameless;
        if (record->older != NULL) record->older->newer = record;
        table->first_nameless = record;
    }
    if (record->has_request) {
        /* An older one is a request of long ago, or one whose outcome is not known. */
        (void)omap_put(table->requests, request_key(key, record), record);
    }
    atomic_fetch_add(&table->count, 1);
    atomic_fetch_add(&table->bytes, record->log_len);
    rwlock_give(&table->lock);
}

void table_logged(Table *table, Record *record, WalPos pos)
{
    rwlock_write(&table->lock);
    ASSERT(record->pos.segment == 0);
    record->pos = pos;
    record->entry.inline_body = (Str){NULL, 0};
    drop_body(record);
    rwlock_give(&table->lock);
}

void table_commit(Table *table, Record *record)
{
    rwlock_write(&table->lock);
    ASSERT(record->state == RECORD_PENDING);
    ASSERT(record->pos.segment != 0);
    record->state = RECORD_COMMITTED;
    rwlock_give(&table->lock);
}

void table_tell(Table *table, Record *record, uint64_t now_ns)
{
    rwlock_write(&table->lock);
    ASSERT(record->state == RECORD_PENDING && record->told_ns == 0);
    ASSERT(record->pos.segment != 0); /* its body is read from there */
    record->told_ns = MAX(now_ns, (uint64_t)1);
    rwlock_give(&table->lock);
}

static void unlink_name(Table *table, Record *record)
{
    uint8_t key[ROW_KEY_MAX];
    Str name = name_key(key, record->entry.bucket, record->key);
    if (record->newer != NULL) {
        record->newer->older = record->older;
    } else if (record->older != NULL) {
        (void)omap_put(table->names, name, record->older); /* gives back record itself */
    } else {
        (void)omap_remove(table->names, name); /* gives back record itself */
    }
    if (record->older != NULL) record->older->newer = record->newer;
}

static void unlink_id(Table *table, Record *record)
{
    uint8_t key[ROW_KEY_MAX];
    Str id = id_key(key, record->entry.file);
    if (record->newer_id != NULL) {
        record->newer_id->older_id = record->older_id;
    } else if (record->older_id != NULL) {
        (void)omap_put(table->files, id, record->older_id); /* gives back record itself */
    } else {
        (void)omap_remove(table->files, id); /* gives back record itself */
    }
    if (record->older_id != NULL) record->older_id->newer_id = record->newer_id;
}

static void unlink_request(Table *table, const Record *record)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str key = request_key(bytes, record);
    if (omap_get(table->requests, key) == record)
        (void)omap_remove(table->requests, key); /* gives back record itself */
}

static void unlink_all(Table *table, Record *record)
{
    if (record->has_request) unlink_request(table, record);
    if (record_has_name(record)) {
        unlink_name(table, record);
        unlink_id(table, record);
    } else {
        if (record->newer != NULL)
            record->newer->older = record->older;
        else
            table->first_nameless = record->older;
        if (record->older != NULL) record->older->newer = record->newer;
    }
    atomic_fetch_sub(&table->bytes, record->log_len);
    size_t before = atomic_fetch_sub(&table->count, 1);
    ASSERT(before > 0);
}

void table_remove(Table *table, Record *record)
{
    rwlock_write(&table->lock);
    unlink_all(table, record);
    rwlock_give(&table->lock);
    record_free(record);
}

void table_cut(Table *table, Record *record)
{
    rwlock_write(&table->lock);
    ASSERT(record->state == RECORD_PENDING);
    unlink_all(table, record);
    record->state = RECORD_CUT;
    rwlock_give(&table->lock);
}

uint64_t table_bytes(const Table *table)
{
    return atomic_load_explicit(&table->bytes, memory_order_relaxed);
}

size_t table_count(const Table *table)
{
    /* A reader that sees none goes on to the index, and must find there what left the table. */
    return atomic_load_explicit(&table->count, memory_order_acquire);
}

static void each_chain(const Record *record, void (*fn)(void *, const Record *), void *ctx)
{
    for (; record != NULL; record = record->older)
        fn(ctx, record);
}

void table_each(Table *table, void (*fn)(void *ctx, const Record *record), void *ctx)
{
    rwlock_read(&table->lock);
    const OMapNode *node = omap_first(table->names, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node))
        each_chain(omap_value(node), fn, ctx);
    each_chain(table->first_nameless, fn, ctx);
    rwlock_give(&table->lock);
}

static void lower_segment(void *ctx, const Record *record)
{
    uint64_t *oldest = ctx;
    uint64_t segment = record->pos.segment != 0 ? record->pos.segment : record->min_segment;
    if (segment < *oldest) *oldest = segment;
}

uint64_t table_oldest_segment(Table *table)
{
    uint64_t oldest = UINT64_MAX;
    table_each(table, lower_segment, &oldest);
    return oldest;
}

void table_read_lock(Table *table)
{
    rwlock_read(&table->lock);
}

void table_unlock(Table *table)
{
    rwlock_give(&table->lock);
}

static bool visible(const Record *record, bool committed_only)
{
    return !committed_only || record_is_seen(record);
}

const Record *table_find(const Table *table, BucketUid bucket, Str key, bool committed_only)
{
    uint8_t bytes[ROW_KEY_MAX];
    const Record *record = omap_get(table->names, name_key(bytes, bucket, key));
    while (record != NULL && !visible(record, committed_only))
        record = record->older;
    return record;
}

const Record *table_find_id(const Table *table, FileId file, bool committed_only)
{
    uint8_t bytes[ROW_KEY_MAX];
    const Record *record = omap_get(table->files, id_key(bytes, file));
    while (record != NULL && !visible(record, committed_only))
        record = record->older_id;
    return record;
}

const Record *table_find_request(const Table *table, RequestId request, uint64_t oldest_ms)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str prefix = str_of(bytes, row_key_request_prefix(bytes, request));
    const OMapNode *node = omap_first(table->requests, prefix);
    for (; node != NULL && str_starts_with(omap_key(node), prefix); node = omap_next(node)) {
        const Record *record = omap_value(node);
        if (record->entry.time_ms >= oldest_ms) return record;
    }
    return NULL;
}

const Record *table_next_name(const Table *table, BucketUid bucket, Str from_key, bool inclusive,
                              bool committed_only, Str *key)
{
    uint8_t bytes[ROW_KEY_MAX];
    size_t len = row_key_bucket_prefix(bytes, bucket, (Str){NULL, 0});
    uint8_t from[ROW_KEY_MAX];
    size_t from_len = row_key_bucket_prefix(from, bucket, from_key);
    const OMapNode *node = omap_first(table->names, str_of(from, from_len));
    for (; node != NULL; node = omap_next(node)) {
        if (!str_starts_with(omap_key(node), str_of(bytes, len))) return NULL;
        const Record *record = omap_value(node);
        if (!inclusive && str_eq(record->key, from_key)) continue;
        while (record != NULL && !visible(record, committed_only))
            record = record->older;
        if (record == NULL) continue;
        *key = record->key;
        return record;
    }
    return NULL;
}

bool table_bucket_busy(Table *table, BucketUid bucket)
{
    uint8_t prefix[ROW_KEY_MAX];
    size_t len = row_key_bucket_prefix(prefix, bucket, (Str){NULL, 0});
    bool busy = false;
    rwlock_read(&table->lock);
    const OMapNode *node = omap_first(table->names, str_of(prefix, len));
    for (; node != NULL && !busy; node = omap_next(node)) {
        if (!str_starts_with(omap_key(node), str_of(prefix, len))) break;
        /* Pending records of a name are newer than its committed ones. */
        const Record *record = omap_value(node);
        busy = record->state == RECORD_PENDING;
    }
    rwlock_give(&table->lock);
    return busy;
}
