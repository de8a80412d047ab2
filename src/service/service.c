#include "service/service.h"

#include <inttypes.h>
#include <stdatomic.h>

struct Service {
    ServiceOptions options;
};

struct ServiceReader {
    Service *service;
    StoreReader *reader;
};

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
    if (service_full(service)) {
        return err_set(err, ERR_NO_SPACE, "the rest of the disk is kept for deletes and repairs");
    }
    const _Atomic uint64_t *left = service->options.room;
    uint64_t room = left == NULL ? UINT64_MAX : atomic_load_explicit(left, memory_order_relaxed);
    if (size > room) {
        return err_set(err, ERR_NO_SPACE,
                       "%" PRIu64 " bytes do not fit; there is room for %" PRIu64, size, room);
    }
    return OK;
}

ErrCode service_admit_write(const Service *service, uint64_t size, Err *err)
{
    if (service->options.look != NULL) service->options.look(service->options.submit_ctx);
    return service_admit_upload(service, size, err);
}

Store *service_store(Service *service)
{
    return service->options.store;
}

Buckets *service_buckets(Service *service)
{
    return service->options.buckets;
}

Durability service_durability(const Service *service)
{
    return service->options.durability;
}

ErrCode service_reader_open(Service *service, ServiceReader **out, Err *err)
{
    AUTO(ServiceReader, service_reader_free) reader = mem_new(sizeof *reader);
    reader->service = service;
    TRY(store_reader_open(service->options.store, &reader->reader, err));
    *out = TAKE(reader);
    return OK;
}

void service_reader_free(ServiceReader *reader)
{
    if (reader == NULL) return;
    store_reader_free(reader->reader);
    mem_free(reader);
}

static ErrCode find_bucket(ServiceReader *reader, Str name, BucketUid *uid, Err *err)
{
    if (!service_ready(reader->service)) {
        return err_set(err, ERR_NOT_READY, "recovery is not over");
    }
    BucketRecord record;
    if (!buckets_find(reader->service->options.buckets, name, &record)) {
        return err_set(err, ERR_NO_BUCKET, "there is no such bucket");
    }
    *uid = record.uid;
    return OK;
}

ErrCode service_find(ServiceReader *reader, Str bucket, Str key, StoreFound *out, Err *err)
{
    BucketUid uid = 0;
    TRY(find_bucket(reader, bucket, &uid, err));
    if (!key_valid(key)) {
        return err_set(err, key.len > KEY_MAX ? ERR_KEY_TOO_LONG : ERR_BAD_NAME,
                       "a key has 1 to %d bytes of UTF-8 without NUL", KEY_MAX);
    }
    StoreFound result;
    bool found = false;
    TRY(store_find(reader->reader, uid, key, NULL, STORE_COMMITTED, &result, &found, err));
    if (!found) return err_set(err, ERR_NOT_FOUND, "there is no such file");
    *out = result;
    return OK;
}

ErrCode service_find_id(ServiceReader *reader, FileId file, const VersionId *version,
                        StoreFound *out, Err *err)
{
    if (!service_ready(reader->service)) {
        return err_set(err, ERR_NOT_READY, "recovery is not over");
    }
    StoreFound result = {0};
    bool found = false;
    /* The system's own records are not files that anybody may name. */
    if (file_id_shard(file) != SHARD_SYSTEM) {
        TRY(store_find_id(reader->reader, file, version, STORE_COMMITTED, &result, &found, err));
    }
    if (!found) return err_set(err, ERR_NOT_FOUND, "there is no such file");
    *out = result;
    return OK;
}

ErrCode service_knows_request(ServiceReader *reader, RequestId request, uint64_t now_ms,
                              bool *known, Err *err)
{
    StoreRequest first;
    uint64_t oldest_ms = now_ms - MIN(now_ms, (uint64_t)STORE_REQUEST_KEEP_MS);
    return store_find_request(reader->reader, request, oldest_ms, &first, known, err);
}

ErrCode service_body(ServiceReader *reader, const StoreFound *found, Str *body, Err *err)
{
    return store_body(reader->reader, found, body, err);
}

void service_damaged(Service *service, Str bucket, RiskFound found)
{
    BucketRecord record = {.uid = 0};
    if (!buckets_find(service->options.buckets, bucket, &record)) return; /* gone meanwhile */
    found.bucket = record.uid;
    risk_add(store_risk(service->options.store), &found);
}

void service_whole(Service *service, FileId file, VersionId version)
{
    risk_clear(store_risk(service->options.store), file, version, RISK_WHOLE);
}

ErrCode service_list(ServiceReader *reader, const ListQuery *query, ListFn fn, void *ctx,
                     Buf *next_after, bool *more, Err *err)
{
    ASSERT(query->limit >= 1 && query->limit <= 1000);
    StoreListOptions options = {
        .prefix = query->prefix, .after = query->after, .delimiter = query->delimiter};
    TRY(find_bucket(reader, query->bucket, &options.bucket, err));
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
        TRY(fn(ctx, &file, is_prefix, err));
    }
    *more = found;
    return OK;
}
