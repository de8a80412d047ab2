#include "service/service.h"

#include "service/service_priv.h"

#include <stdio.h>

#include <inttypes.h>
#include <stdatomic.h>

Service *service_new(const ServiceOptions *options)
{
    Service *service = mem_new(sizeof *service);
    service->options = *options;
    return service;
}

void service_free(Service *service)
{
    mem_free(service);
}

bool service_ready(const Service *service)
{
    return atomic_load_explicit(service->options.ready, memory_order_acquire);
}

ErrCode service_submit(Service *service, Mutation *mutation)
{
    if (!service_ready(service)) return ERR_NOT_READY;
    return service->options.submit(service->options.submit_ctx, mutation);
}

bool service_full(const Service *service)
{
    return atomic_load_explicit(service->options.full, memory_order_relaxed);
}

ErrCode service_admit_upload(const Service *service, uint64_t size, Err *err)
{
    if (!service_ready(service)) return err_set(err, ERR_NOT_READY, "recovery is not over");
    Err why;
    service_why_failed(service, &why);
    if (why.code != OK) return err_set(err, why.code, "%s", err_text(&why));
    if (service_full(service)) {
        return err_set(err, ERR_NO_SPACE,
                       "the server's disk is full: what is left is kept for deletes and repairs");
    }
    const _Atomic uint64_t *left = service->options.room;
    uint64_t room = left == NULL ? UINT64_MAX : atomic_load_explicit(left, memory_order_relaxed);
    if (size > room) {
        return err_set(err, ERR_NO_SPACE,
                       "the server's disk is nearly full: %" PRIu64 " bytes more do not fit, there "
                       "is room for %" PRIu64,
                       size, room);
    }
    return OK;
}

ErrCode service_admit_write(const Service *service, uint64_t size, Err *err)
{
    if (service->options.look != NULL) service->options.look(service->options.submit_ctx);
    return service_admit_upload(service, size, err);
}

static unsigned lead_of(const Service *service, unsigned class)
{
    const ClassState *states = service->options.states;
    ASSERT(class < CLASSES_MAX);
    return states == NULL ? 0 : atomic_load_explicit(&states[class].lead, memory_order_acquire);
}

Store *service_class_store(const Service *service, unsigned class)
{
    return service->options.stores[lead_of(service, class)];
}

Store *service_store(const Service *service)
{
    return service_class_store(service, PLACE_CLASS_STANDARD);
}

Classes *service_classes(const Service *service)
{
    return service->options.classes;
}

ServiceClass service_class_now(const Service *service, unsigned class)
{
    const ClassState *states = service->options.states;
    ASSERT(class < CLASSES_MAX);
    if (states == NULL)
        return (ServiceClass){.there = class == PLACE_CLASS_STANDARD, .members = 1, .in_sync = 1};
    return (ServiceClass){.there = atomic_load(&states[class].there),
                          .failed = atomic_load(&states[class].failed),
                          .lead = atomic_load(&states[class].lead),
                          .members = atomic_load(&states[class].members),
                          .in_sync = atomic_load(&states[class].in_sync)};
}

unsigned service_class(const Service *service, Str bucket)
{
    BucketRecord record;
    if (!buckets_find(service->options.buckets, bucket, &record)) return PLACE_CLASS_STANDARD;
    return record.placement_class;
}

unsigned service_class_of(const Service *service, const Mutation *m)
{
    bool by_id = m->upload || m->type == MUTATION_UPDATE || m->type == MUTATION_DELETE_FILE;
    return by_id ? shard_class(file_id_shard(m->file)) : service_class(service, m->bucket);
}

ShardId service_shard(const Service *service, const BucketRecord *bucket, Str key)
{
    ClassInfo info = {.rules = placement_class_default(bucket->placement_class, 1)};
    Classes *classes = service->options.classes;
    bool known = classes != NULL && classes_get(classes, bucket->placement_class, &info);
    UNUSED(known); /* a bucket's class is there before the bucket */
    return place_shard_of(&info.rules, bucket->uid, key);
}

bool service_next_class(const Service *service, unsigned *class)
{
    const ClassState *states = service->options.states;
    if (states == NULL) return (*class)++ == 0;
    while (++*class < CLASSES_MAX) {
        if (atomic_load_explicit(&states[*class].there, memory_order_acquire)) return true;
    }
    return false;
}

Store *service_reader_store(const ServiceReader *reader)
{
    return reader->service->options.stores[reader->root];
}

Buckets *service_buckets(Service *service)
{
    return service->options.buckets;
}

Durability service_durability(const Service *service, unsigned class)
{
    static const Durability one = {.synced = 1, .copies = 1, .disks = 1, .zones = 1};
    const ServiceOptions *o = &service->options;
    return o->durability == NULL ? one : o->durability(o->submit_ctx, class);
}

void service_why_failed(const Service *service, Err *out)
{
    const ServiceOptions *o = &service->options;
    err_clear(out);
    if (o->why_failed != NULL) o->why_failed(o->submit_ctx, out);
}

/* The N of `synced=N`; 0: it is anything else. */
static unsigned wanted_copies(Str header)
{
    Str name = STR("synced=");
    if (!str_starts_with(header, name) || header.len != name.len + 1) return 0;
    char digit = header.ptr[name.len];
    return digit >= '1' && digit <= '0' + MEMBERS_MAX ? (unsigned)(digit - '0') : 0;
}

ErrCode service_require(const Service *service, unsigned class, Str header, unsigned *copies,
                        Err *err)
{
    unsigned wanted = wanted_copies(header);
    if (wanted == 0) {
        return err_set(err, ERR_INVALID, "Holdfast-Require is synced=N, with N from 1 to %d",
                       MEMBERS_MAX);
    }
    *copies = wanted;
    Durability d = service_durability(service, class);
    if (d.synced >= wanted) return OK;
    return err_set(err, ERR_TOO_FEW_COPIES,
                   "Holdfast-Require asks for %u synced copies, and %u of %u are in sync now; "
                   "nothing was written",
                   wanted, d.synced, d.copies);
}

/* The standard class is looked at before: without it nothing is taken. */
static ErrCode admit_class(const Service *service, unsigned class, Err *err)
{
    const ClassState *states = service->options.states;
    if (states == NULL || class == PLACE_CLASS_STANDARD) return OK;
    if (atomic_load_explicit(&states[class].failed, memory_order_relaxed))
        return err_set(err, ERR_ROOT_FAILED,
                       "too many disks of the bucket's placement class failed");
    if (!atomic_load_explicit(&states[class].full, memory_order_relaxed)) return OK;
    return err_set(err, ERR_NO_SPACE,
                   "the disks of the bucket's placement class are full: what is left is kept for "
                   "deletes and repairs");
}

ErrCode service_admit_bucket(const Service *service, Str bucket, Err *err)
{
    BucketRecord record;
    if (!buckets_find(service->options.buckets, bucket, &record)) return OK;
    TRY(admit_class(service, record.placement_class, err));
    if (record.require != PLACE_REQUIRE_ALL) return OK;
    Durability d = service_durability(service, record.placement_class);
    if (d.synced >= d.copies) return OK;
    return err_set(err, ERR_TOO_FEW_COPIES,
                   "the bucket requires that every copy has what is written, and %u of %u are in "
                   "sync now; nothing was written",
                   d.synced, d.copies);
}

ErrCode service_reader_open(Service *service, ServiceReader **out, Err *err)
{
    AUTO(ServiceReader, service_reader_free) reader = mem_new(sizeof *reader);
    reader->service = service;
    buf_init(&reader->elsewhere, INLINE_MAX);
    TRY(service_turn_to(reader, PLACE_CLASS_STANDARD, err));
    *out = TAKE(reader);
    return OK;
}

/* A root that led before may be failing: its reader is given up as soon as no class is read there.
 */
static void drop_readers(ServiceReader *reader)
{
    unsigned used = 0;
    unsigned class = 0;
    while (service_next_class(reader->service, &class))
        used |= 1U << lead_of(reader->service, class);
    for (unsigned r = 0; r < ENGINE_ROOTS_MAX; r++) {
        if ((used >> r & 1) == 0) store_reader_free(TAKE(reader->readers[r]));
    }
}

ErrCode service_turn_to(ServiceReader *reader, unsigned class, Err *err)
{
    const ClassState *states = reader->service->options.states;
    unsigned lead = lead_of(reader->service, class);
    if (states != NULL && class > PLACE_CLASS_STANDARD &&
        !atomic_load_explicit(&states[class].there, memory_order_acquire))
        return err_set(err, ERR_NOT_READY, "the bucket's placement class is starting");
    bool same = reader->reader != NULL && reader->class == class && reader->root == lead;
    if (same) return OK;
    reader->reader = NULL;
    drop_readers(reader);
    if (reader->readers[lead] == NULL)
        TRY(store_reader_open(reader->service->options.stores[lead], &reader->readers[lead], err));
    reader->class = class;
    reader->root = lead;
    reader->reader = reader->readers[lead];
    return OK;
}

ErrCode service_may_tell(const ServiceReader *reader, Err *err)
{
    const ServiceOptions *o = &reader->service->options;
    if (o->states == NULL) return OK;
    uint64_t until = atomic_load_explicit(&o->states[reader->class].read_until,
                                          memory_order_acquire);
    bool leads = lead_of(reader->service, reader->class) == reader->root; /* until is its own */
    if (leads && (until == UINT64_MAX || clock_boot_ns(o->clock) < until)) return OK;
    if (atomic_load_explicit(&o->states[reader->class].failed, memory_order_relaxed))
        return err_set(err, ERR_NOT_READY,
                       "too many disks of the bucket's placement class are out: its files can't be "
                       "read until they are back");
    return err_set(err, ERR_NOT_READY,
                   "the copies do not answer: whether this is the newest is not known");
}

void service_reader_free(ServiceReader *reader)
{
    if (reader == NULL) return;
    for (unsigned r = 0; r < ENGINE_ROOTS_MAX; r++)
        store_reader_free(reader->readers[r]);
    buf_deinit(&reader->elsewhere);
    mem_free(reader);
}

/* Of which the records are read, or the files. */
static ErrCode find_bucket(ServiceReader *reader, Str name, bool record_only, BucketUid *uid,
                           Err *err)
{
    if (!service_ready(reader->service)) {
        return err_set(err, ERR_NOT_READY, "recovery is not over");
    }
    BucketRecord record;
    if (!buckets_find(reader->service->options.buckets, name, &record)) {
        return err_set(err, ERR_NO_BUCKET, "there is no such bucket");
    }
    *uid = record.uid;
    return service_turn_to(reader, record_only ? PLACE_CLASS_SYSTEM : record.placement_class, err);
}

static ErrCode not_found(const VersionId *version, const StoreFound *found, Err *err)
{
    bool marker = (found->row.flags & ROW_FLAG_DELETE_MARKER) != 0;
    if (version == NULL) {
        return err_set(err, ERR_NOT_FOUND,
                       marker ? "the file is deleted; older versions are there"
                              : "there is no such file");
    }
    return err_set(err, ERR_NOT_FOUND,
                   marker ? "that version is a delete marker, which has no content"
                          : "there is no such version");
}

/* A version that is a delete marker is there, but is nothing to be had. */
static bool is_content(const StoreFound *found)
{
    return (found->row.flags & ROW_FLAG_DELETE_MARKER) == 0;
}

ErrCode service_find(ServiceReader *reader, Str bucket, Str key, const VersionId *version,
                     StoreFound *out, Err *err)
{
    BucketUid uid = 0;
    *out = (StoreFound){.pending = false};
    TRY(find_bucket(reader, bucket, false, &uid, err));
    if (!key_valid(key)) {
        return err_set(err, key.len > KEY_MAX ? ERR_KEY_TOO_LONG : ERR_BAD_NAME,
                       "a key has 1 to %d bytes of UTF-8 without NUL", KEY_MAX);
    }
    bool found = false;
    TRY(store_find(reader->reader, uid, key, version, STORE_COMMITTED, out, &found, err));
    TRY(service_may_tell(reader, err));
    return found && is_content(out) ? OK : not_found(version, out, err);
}

ErrCode service_find_null(ServiceReader *reader, Str bucket, Str key, VersionId *out, Err *err)
{
    BucketUid uid = 0;
    StoreFound found;
    bool more = false;
    TRY(find_bucket(reader, bucket, false, &uid, err));
    if (!key_valid(key)) return err_set(err, ERR_NOT_FOUND, "no file has such a name");
    TRY(store_look(reader->reader, uid, key, STORE_NEWEST, (VersionId){0}, STORE_COMMITTED, &found,
                   &more, err));
    while (more) {
        *out = found.row.version;
        if ((found.row.flags & ROW_FLAG_NULL_VERSION) != 0) return service_may_tell(reader, err);
        TRY(store_look(reader->reader, uid, key, STORE_OLDER, *out, STORE_COMMITTED, &found, &more,
                       err));
    }
    TRY(service_may_tell(reader, err));
    return err_set(err, ERR_NOT_FOUND, "the name has no null version");
}

ErrCode service_bucket_attr(ServiceReader *reader, Str bucket, unsigned type, Str *value, Err *err)
{
    char key[sizeof BUCKET_KEY_PREFIX + BUCKET_NAME_MAX];
    BucketUid uid = 0;
    BucketRecord record;
    StoreFound found;
    bool there = false;
    Str stored;
    TRY(find_bucket(reader, bucket, true, &uid, err));
    int len = snprintf(key, sizeof key, BUCKET_KEY_PREFIX "%.*s", STR_ARG(bucket));
    TRY(store_find(reader->reader, BUCKET_UID_SYSTEM, str_of(key, (size_t)len), NULL,
                   STORE_COMMITTED, &found, &there, err));
    TRY(service_may_tell(reader, err));
    if (!there) return err_set(err, ERR_NO_BUCKET, "there is no such bucket");
    if (!attr_get(found.row.attrs, ATTR_BUCKET_RECORD, &stored))
        return err_set(err, ERR_CORRUPT, "the record of bucket %.*s is missing", STR_ARG(bucket));
    TRY(bucket_record_decode(stored, &record, err));
    if (!attr_get(record.extra, type, value)) *value = (Str){NULL, 0};
    return OK;
}

bool service_is_shard(const Service *service, ShardId shard)
{
    ClassInfo info;
    Classes *classes = service->options.classes;
    if (shard == SHARD_SYSTEM || shard_class(shard) == PLACE_CLASS_SYSTEM) return false;
    return classes == NULL ? shard_class(shard) == PLACE_CLASS_STANDARD
                           : classes_get(classes, shard_class(shard), &info);
}

ErrCode service_find_id(ServiceReader *reader, FileId file, const VersionId *version,
                        StoreFound *out, Err *err)
{
    if (!service_ready(reader->service)) {
        return err_set(err, ERR_NOT_READY, "recovery is not over");
    }
    bool found = false;
    *out = (StoreFound){.pending = false};
    /* The system's own records are not files that anybody may name. */
    if (service_is_shard(reader->service, file_id_shard(file))) {
        TRY(service_turn_to(reader, shard_class(file_id_shard(file)), err));
        TRY(store_find_id(reader->reader, file, version, STORE_COMMITTED, out, &found, err));
        TRY(service_may_tell(reader, err));
    }
    if (found && out->bucket == BUCKET_UID_UPLOADS) { /* nor are uploads */
        found = false;
        *out = (StoreFound){.pending = false};
    }
    return found && is_content(out) ? OK : not_found(version, out, err);
}

ErrCode service_knows_request(ServiceReader *reader, RequestId request, uint64_t now_ms,
                              bool *known, Err *err)
{
    StoreRequest first;
    unsigned class = 0;
    uint64_t oldest_ms = now_ms - MIN(now_ms, (uint64_t)STORE_REQUEST_KEEP_MS);
    *known = false;
    while (!*known && service_next_class(reader->service, &class)) {
        TRY(service_turn_to(reader, class, err));
        TRY(store_find_request(reader->reader, request, oldest_ms, &first, known, err));
    }
    return OK;
}

ErrCode service_body(ServiceReader *reader, const StoreFound *found, Str *body, Err *err)
{
    Err own = {0};
    ErrCode code = store_body(reader->reader, found, body, &own);
    if (code != OK) code = service_body_elsewhere(reader, found, body, &own);
    if (code != OK && err != NULL) *err = own;
    return code;
}

void service_damaged(Service *service, Str bucket, RiskFound found)
{
    BucketRecord record = {.uid = 0};
    if (!buckets_find(service->options.buckets, bucket, &record)) return; /* gone meanwhile */
    found.bucket = record.uid;
    risk_add(store_risk(service_class_store(service, record.placement_class)), &found);
}

void service_whole(Service *service, FileId file, VersionId version)
{
    Store *store = service_class_store(service, shard_class(file_id_shard(file)));
    risk_clear(store_risk(store), file, version, RISK_WHOLE);
}

ErrCode service_list(ServiceReader *reader, const ListQuery *query, ListFn fn, void *ctx,
                     Buf *next_after, VersionId *next_version, bool *more, Err *err)
{
    ASSERT(query->limit >= 1 && query->limit <= 1000);
    StoreListOptions options = {.prefix = query->prefix,
                                .after = query->after,
                                .delimiter = query->delimiter,
                                .versions = query->versions,
                                .after_version = query->after_version};
    if (query->scope != NULL) {
        options.only = query->scope->prefixes;
        options.only_count = query->scope->count;
    }
    TRY(find_bucket(reader, query->bucket, false, &options.bucket, err));
    AUTO(StoreList, store_list_close) list = NULL;
    TRY(store_list_open(reader->reader, &options, &list, err));
    bool found = true;
    for (size_t count = 0; found; count++) {
        StoreFound file;
        bool is_prefix = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        if (!found || count == query->limit) break;
        buf_clear(next_after);
        TRY(buf_append_str(next_after, file.key, err));
        *next_version = is_prefix ? (VersionId){0} : file.row.version;
        TRY(fn(ctx, &file, is_prefix, err));
    }
    *more = found;
    return service_may_tell(reader, err);
}
