#include "service/buckets.h"

#include <string.h>

#include "base/lock.h"

typedef struct {
    char name[BUCKET_NAME_MAX + 1];
    BucketRecord record;  /* extra left out: nobody here reads it */
    BucketStatRow usage;  /* of what is committed */
    BucketStatRow coming; /* what changes under way make more … */
    BucketStatRow going;  /* … and less, each at least 0 */
    uint64_t uploads;     /* bytes of unfinished ones */
} Bucket;

struct Buckets {
    RwLock lock;
    OMap *by_name; /* Bucket */
    OMap *by_uid;  /* the same, key: 8 bytes of the uid */
};

Buckets *buckets_new(void)
{
    Buckets *buckets = mem_new(sizeof *buckets);
    rwlock_init(&buckets->lock, LOCK_RANK_TABLE);
    buckets->by_name = omap_new(1);
    buckets->by_uid = omap_new(2);
    return buckets;
}

void buckets_free(Buckets *buckets)
{
    if (buckets == NULL) return;
    const OMapNode *node = omap_first(buckets->by_name, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node))
        mem_free(omap_value(node));
    omap_free(buckets->by_name);
    omap_free(buckets->by_uid);
    rwlock_deinit(&buckets->lock);
    mem_free(buckets);
}

static Str uid_key(const BucketUid *uid)
{
    return str_of(uid, sizeof *uid);
}

ErrCode buckets_load(Buckets *buckets, StoreReader *reader, Err *err)
{
    StoreListOptions options = {.bucket = BUCKET_UID_SYSTEM, .prefix = STR(BUCKET_KEY_PREFIX)};
    AUTO(StoreList, store_list_close) list = NULL;
    TRY(store_list_open(reader, &options, &list, err));
    for (;;) {
        StoreFound file;
        bool is_prefix = false;
        bool found = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        if (!found) return OK;
        Str value;
        BucketRecord record;
        if (!attr_get(file.row.attrs, ATTR_BUCKET_RECORD, &value)) {
            return err_set(err, ERR_CORRUPT, "%.*s has no bucket record", STR_ARG(file.key));
        }
        TRY(bucket_record_decode(value, &record, err));
        Str name = str_slice(file.key, sizeof BUCKET_KEY_PREFIX - 1, file.key.len);
        if (!bucket_name_valid(name)) {
            return err_set(err, ERR_CORRUPT, "%.*s is no bucket name", STR_ARG(file.key));
        }
        buckets_put(buckets, name, &record);
    }
}

bool buckets_find(Buckets *buckets, Str name, BucketRecord *out)
{
    rwlock_read(&buckets->lock);
    const Bucket *bucket = omap_get(buckets->by_name, name);
    if (bucket != NULL) *out = bucket->record;
    rwlock_give(&buckets->lock);
    return bucket != NULL;
}

bool buckets_name(Buckets *buckets, BucketUid uid, char *name)
{
    rwlock_read(&buckets->lock);
    const Bucket *bucket = omap_get(buckets->by_uid, uid_key(&uid));
    if (bucket != NULL) memcpy(name, bucket->name, sizeof bucket->name);
    rwlock_give(&buckets->lock);
    return bucket != NULL;
}

bool buckets_by_uid(Buckets *buckets, BucketUid uid, BucketRecord *out)
{
    rwlock_read(&buckets->lock);
    const Bucket *bucket = omap_get(buckets->by_uid, uid_key(&uid));
    if (bucket != NULL) *out = bucket->record;
    rwlock_give(&buckets->lock);
    return bucket != NULL;
}

void buckets_put(Buckets *buckets, Str name, const BucketRecord *record)
{
    Bucket *bucket = mem_new(sizeof *bucket);
    bool fits = str_to_cstr(name, bucket->name, sizeof bucket->name);
    ASSERT(fits); /* names are checked before they get here */
    bucket->record = *record;
    bucket->record.extra = (Str){NULL, 0};
    rwlock_write(&buckets->lock);
    Bucket *old = omap_put(buckets->by_name, name, bucket);
    if (old != NULL && old->record.uid == record->uid) {
        bucket->usage = old->usage;
        bucket->coming = old->coming;
        bucket->going = old->going;
        bucket->uploads = old->uploads;
    }
    if (old != NULL) (void)omap_remove(buckets->by_uid, uid_key(&old->record.uid)); /* = old */
    (void)omap_put(buckets->by_uid, uid_key(&record->uid), bucket); /* a uid is new or its own */
    rwlock_give(&buckets->lock);
    mem_free(old);
}

void buckets_usage(Buckets *buckets, BucketUid uid, BucketStatRow *out)
{
    rwlock_read(&buckets->lock);
    const Bucket *bucket = omap_get(buckets->by_uid, uid_key(&uid));
    *out = bucket != NULL ? bucket->usage : (BucketStatRow){0};
    rwlock_give(&buckets->lock);
}

void buckets_totals(Buckets *buckets, BucketStatRow *out)
{
    *out = (BucketStatRow){0};
    rwlock_read(&buckets->lock);
    const OMapNode *node = omap_first(buckets->by_name, (Str){NULL, 0});
    for (; node != NULL; node = omap_next(node)) {
        const Bucket *bucket = omap_value(node);
        out->files += bucket->usage.files;
        out->bytes += bucket->usage.bytes;
    }
    rwlock_give(&buckets->lock);
}

void buckets_set_usage(Buckets *buckets, BucketUid uid, const BucketStatRow *usage)
{
    rwlock_write(&buckets->lock);
    Bucket *bucket = omap_get(buckets->by_uid, uid_key(&uid));
    if (bucket != NULL) bucket->usage = *usage;
    rwlock_give(&buckets->lock);
}

/* Of one quota: used, and what it becomes at most and at least. */
typedef struct {
    uint64_t quota;
    uint64_t used;
    uint64_t coming;
    uint64_t going;
} Fill;

static BucketFit fit_one(const Fill *fill, int64_t more)
{
    if (fill->quota == 0 || more <= 0) return BUCKET_FITS;
    uint64_t wanted = fill->used + (uint64_t)more;
    if (wanted > fill->quota + fill->going) return BUCKET_FULL;
    return wanted + fill->coming > fill->quota ? BUCKET_MAY_FILL : BUCKET_FITS;
}

BucketFit buckets_fit(Buckets *buckets, BucketUid uid, int64_t files, int64_t bytes)
{
    BucketFit fit = BUCKET_FITS;
    rwlock_read(&buckets->lock);
    const Bucket *b = omap_get(buckets->by_uid, uid_key(&uid));
    if (b != NULL) {
        Fill of_files = {b->record.quota_files, b->usage.files, b->coming.files, b->going.files};
        Fill of_bytes = {b->record.quota_bytes, b->usage.bytes, b->coming.bytes, b->going.bytes};
        BucketFit by_files = fit_one(&of_files, files);
        BucketFit by_bytes = fit_one(&of_bytes, bytes);
        fit = by_files == BUCKET_FULL || by_bytes == BUCKET_FULL ? BUCKET_FULL
              : by_files == BUCKET_FITS                          ? by_bytes
                                                                 : by_files;
    }
    rwlock_give(&buckets->lock);
    return fit;
}

/* Adds delta to what is under way; with done takes it away again. */
static void count_one(uint64_t *coming, uint64_t *going, int64_t delta, bool done)
{
    uint64_t *sum = delta > 0 ? coming : going;
    uint64_t amount = delta > 0 ? (uint64_t)delta : -(uint64_t)delta;
    ASSERT(!done || *sum >= amount);
    *sum += done ? -amount : amount;
}

/* A change comes under way, or ends to be; done in time, it also counts. */
static void count_change(Buckets *buckets, BucketUid uid, BucketStatRow delta, bool ends,
                         bool counts)
{
    int64_t files = (int64_t)delta.files;
    int64_t bytes = (int64_t)delta.bytes;
    if (files == 0 && bytes == 0) return;
    rwlock_write(&buckets->lock);
    Bucket *b = omap_get(buckets->by_uid, uid_key(&uid));
    if (b != NULL) {
        count_one(&b->coming.files, &b->going.files, files, ends);
        count_one(&b->coming.bytes, &b->going.bytes, bytes, ends);
    }
    if (b != NULL && counts) {
        b->usage.files += delta.files;
        b->usage.bytes += delta.bytes;
    }
    rwlock_give(&buckets->lock);
}

static BucketStatRow delta_of(int64_t files, int64_t bytes)
{
    return (BucketStatRow){.files = (uint64_t)files, .bytes = (uint64_t)bytes};
}

void buckets_appended(Buckets *buckets, BucketUid uid, int64_t files, int64_t bytes)
{
    count_change(buckets, uid, delta_of(files, bytes), false, false);
}

void buckets_committed(Buckets *buckets, BucketUid uid, int64_t files, int64_t bytes)
{
    count_change(buckets, uid, delta_of(files, bytes), true, true);
}

void buckets_withdrawn(Buckets *buckets, BucketUid uid, int64_t files, int64_t bytes)
{
    count_change(buckets, uid, delta_of(files, bytes), true, false);
}

void buckets_add_uploads(Buckets *buckets, BucketUid uid, int64_t bytes)
{
    rwlock_write(&buckets->lock);
    Bucket *b = omap_get(buckets->by_uid, uid_key(&uid));
    if (b != NULL) {
        ASSERT(bytes >= 0 || b->uploads >= -(uint64_t)bytes);
        b->uploads += (uint64_t)bytes;
    }
    rwlock_give(&buckets->lock);
}

bool buckets_uploads_fit(Buckets *buckets, BucketUid uid, uint64_t bytes)
{
    rwlock_read(&buckets->lock);
    const Bucket *b = omap_get(buckets->by_uid, uid_key(&uid));
    uint64_t quota = b == NULL ? 0 : b->record.quota_bytes;
    uint64_t used = b == NULL ? 0 : b->usage.bytes + b->coming.bytes + b->uploads;
    rwlock_give(&buckets->lock);
    return quota == 0 || (bytes <= quota && used <= quota - bytes);
}

void buckets_remove(Buckets *buckets, Str name)
{
    rwlock_write(&buckets->lock);
    Bucket *old = omap_remove(buckets->by_name, name);
    if (old != NULL) (void)omap_remove(buckets->by_uid, uid_key(&old->record.uid)); /* = old */
    rwlock_give(&buckets->lock);
    mem_free(old);
}

size_t buckets_count(Buckets *buckets)
{
    rwlock_read(&buckets->lock);
    size_t count = omap_count(buckets->by_name);
    rwlock_give(&buckets->lock);
    return count;
}

bool buckets_next(Buckets *buckets, Str after, char name[BUCKET_NAME_MAX + 1], BucketRecord *out)
{
    rwlock_read(&buckets->lock);
    const OMapNode *node = omap_first(buckets->by_name, after);
    if (node != NULL && after.len > 0 && str_eq(omap_key(node), after)) node = omap_next(node);
    if (node != NULL) {
        const Bucket *bucket = omap_value(node);
        memcpy(name, bucket->name, sizeof bucket->name);
        *out = bucket->record;
    }
    rwlock_give(&buckets->lock);
    return node != NULL;
}

bool buckets_next_seen(Buckets *buckets, const Identity *who, Str after,
                       char name[BUCKET_NAME_MAX + 1], BucketRecord *out)
{
    char last[BUCKET_NAME_MAX + 1];
    while (buckets_next(buckets, after, name, out)) {
        if (auth_sees_bucket(who, str_from_cstr(name))) return true;
        memcpy(last, name, sizeof last);
        after = str_from_cstr(last);
    }
    return false;
}
