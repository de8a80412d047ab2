/* Service: the product as doors see it. Changes go in by service_submit() from any thread and come
 * back through mutation->done(); reads run in the calling thread with its own ServiceReader. */
#ifndef HOLDFAST_SERVICE_SERVICE_H
#define HOLDFAST_SERVICE_SERVICE_H

#include "service/engine.h"

typedef struct Service Service;
typedef struct ServiceReader ServiceReader;

typedef struct {
    Store *store;
    Buckets *buckets;
    /* Hands a mutation to the core's queue; ERR_BUSY when it is full, ERR_SHUTTING_DOWN. */
    ErrCode (*submit)(void *ctx, Mutation *mutation);
    void *submit_ctx;
    const _Atomic bool *ready;      /* the engine is ready */
    const _Atomic bool *full;       /* no space for uploads */
    const _Atomic uint64_t *room;   /* bytes that uploads may take now; NULL: any */
    void (*look)(void *submit_ctx); /* makes full and room true, from any thread; NULL: they are */
    Durability durability;          /* of committed files now, for FILE objects that are read */
} ServiceOptions;

Service *service_new(const ServiceOptions *options);
void service_free(Service *service); /* NULL is fine */
/* OK: done() will be called. Otherwise it will not. ERR_BUSY, ERR_NOT_READY, ERR_SHUTTING_DOWN. */
MUST_USE ErrCode service_submit(Service *service, Mutation *mutation);
bool service_ready(const Service *service);
/* The rest of the disk is kept for deletes and repairs: no upload is taken. */
bool service_full(const Service *service);
/* Before a body of size bytes (0: not known) is taken: ERR_NO_SPACE, ERR_NOT_READY. */
MUST_USE ErrCode service_admit_upload(const Service *service, uint64_t size, Err *err);
/* The same for bytes that are written next; measures the space, so not on a loop. */
MUST_USE ErrCode service_admit_write(const Service *service, uint64_t size, Err *err);
Store *service_store(Service *service);
Buckets *service_buckets(Service *service);
Durability service_durability(const Service *service);

MUST_USE ErrCode service_reader_open(Service *service, ServiceReader **out, Err *err);
void service_reader_free(ServiceReader *reader);
/* Current version by name. ERR_NO_BUCKET, ERR_NOT_FOUND, ERR_NOT_READY, ERR_IO … */
MUST_USE ErrCode service_find(ServiceReader *reader, Str bucket, Str key, StoreFound *out,
                              Err *err);
/* By id; version NULL: the current one. */
MUST_USE ErrCode service_find_id(ServiceReader *reader, FileId file, const VersionId *version,
                                 StoreFound *out, Err *err);
/* Was a change that carried request made, or is it under way, within STORE_REQUEST_KEEP_MS? One
 * that comes up meanwhile may be missed. */
MUST_USE ErrCode service_knows_request(ServiceReader *reader, RequestId request, uint64_t now_ms,
                                       bool *known, Err *err);
/* The body of a small file (no extents); view into the reader. ERR_NOT_FOUND: find again. */
MUST_USE ErrCode service_body(ServiceReader *reader, const StoreFound *found, Str *body, Err *err);

/* The bytes of a version could not be read back: notes it in the list of damage. found.cause,
 * place, offset and detail say where and why; bucket is the name of its bucket. */
void service_damaged(Service *service, Str bucket, RiskFound found);
/* All of a version's bytes were read and verified. */
void service_whole(Service *service, FileId file, VersionId version);

typedef struct {
    Str bucket; /* name */
    Str prefix;
    char delimiter; /* 0: none */
    Str after;      /* empty: from the start */
    size_t limit;   /* 1..1000 entries */
} ListQuery;
/* Entry by entry, in name order; anything but OK from fn ends it. *more: the limit ended the list,
 * and last_key(the last entry's key or prefix, in next_after) is where it goes on. */
typedef ErrCode (*ListFn)(void *ctx, const StoreFound *file, bool is_prefix, Err *err);
MUST_USE ErrCode service_list(ServiceReader *reader, const ListQuery *query, ListFn fn, void *ctx,
                              Buf *next_after, bool *more, Err *err);

AUTO_DEFINE(Service, service_free);
AUTO_DEFINE(ServiceReader, service_reader_free);

#endif
