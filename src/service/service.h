/* Service: the product as doors see it. Changes go in by service_submit() from any thread and come
 * back through mutation->done(); reads run in the calling thread with its own ServiceReader. */
#ifndef HOLDFAST_SERVICE_SERVICE_H
#define HOLDFAST_SERVICE_SERVICE_H

#include "service/engine.h"

typedef struct Service Service;
typedef struct ServiceReader ServiceReader;

typedef struct {
    Store *stores[ENGINE_ROOTS_MAX]; /* of each root */
    /* CLASSES_MAX of them, by number; NULL: all is read on the first root, at any time, and large
     * bodies go nowhere else. */
    const ClassState *states;
    Classes *classes; /* NULL: there is the standard class only */
    Clock *clock;     /* of read_until */
    Buckets *buckets;
    /* Hands a mutation to the core's queue; ERR_BUSY when it is full, ERR_SHUTTING_DOWN. */
    ErrCode (*submit)(void *ctx, Mutation *mutation);
    void *submit_ctx;
    const _Atomic bool *ready;      /* the engine is ready */
    const _Atomic bool *full;       /* no space for uploads */
    const _Atomic unsigned *spared; /* bit r: no large bodies to root r; NULL: to all in sync */
    const _Atomic uint64_t *room;   /* bytes that uploads may take now; NULL: any */
    /* A body could not be synced on a root: no more writes there. With states. */
    void (*fail)(void *submit_ctx, unsigned root, const Err *err);
    void (*look)(void *submit_ctx); /* makes full and room true, from any thread; NULL: they are */
    /* How safe committed files of a class are now, from any thread; NULL: one copy. */
    Durability (*durability)(void *submit_ctx, unsigned class);
    /* Why no change is taken any more, for clients; code OK: they are. From any thread; NULL: OK.
     */
    void (*why_failed)(void *submit_ctx, Err *out);
} ServiceOptions;

Service *service_new(const ServiceOptions *options);
void service_free(Service *service); /* NULL is fine */
/* OK: done() will be called. Otherwise it will not. ERR_BUSY, ERR_NOT_READY, ERR_SHUTTING_DOWN. */
MUST_USE ErrCode service_submit(Service *service, Mutation *mutation);
bool service_ready(const Service *service);
/* The rest of the disk is kept for deletes and repairs: no upload is taken. */
bool service_full(const Service *service);
/* Before a body of size bytes (0: not known) is taken: ERR_NO_SPACE, ERR_NOT_READY,
 * ERR_ROOT_FAILED. */
MUST_USE ErrCode service_admit_upload(const Service *service, uint64_t size, Err *err);
/* The same for bytes that are written next; measures the space, so not on a loop. */
MUST_USE ErrCode service_admit_write(const Service *service, uint64_t size, Err *err);
/* The class of a bucket; of one that is not there the standard one. And of what m changes. */
unsigned service_class(const Service *service, Str bucket);
unsigned service_class_of(const Service *service, const Mutation *m);
/* The shard of a file in the bucket of that record. */
ShardId service_shard(const Service *service, const BucketRecord *bucket, Str key);
typedef struct {
    bool there;  /* its shards are taken */
    bool failed; /* too many of its roots are out */
    unsigned lead;
    unsigned members; /* bit r: root r is to have its files … */
    unsigned in_sync; /* … and has them all */
} ServiceClass;
ServiceClass service_class_now(const Service *service, unsigned class);
Classes *service_classes(const Service *service); /* NULL: there is the standard class only */
/* The store in which files of class are read now; of the system's records. */
Store *service_class_store(const Service *service, unsigned class);
Store *service_store(const Service *service);
/* The store of what reader found last. */
Store *service_reader_store(const ServiceReader *reader);

/* Large bodies: like blob_writer_open() and blob_writer_finish() in store, which was
 * service_class_store() when the body began, with copies on all roots that are in sync. A root that
 * fails to take one gets it later, before the entry that names it is durable there. Any thread. */
MUST_USE ErrCode service_body_open(Service *service, unsigned class, Store *store, BodyId body,
                                   uint32_t extent, BlobWriter **out, Err *err);
MUST_USE ErrCode service_body_finish(Service *service, BlobWriter *writer, const BlobInfo *info,
                                     Extent *out, Err *err);
/* Are there other roots that may have what one lacks? */
bool service_has_copies(const Service *service);
/* Puts an extent of store that can't be read back, whole, from another root that has it; the
 * damaged file goes to quarantine/. ERR_NOT_FOUND: none has it whole. ERR_BUSY: somebody is at it.
 * Waits for disks. */
MUST_USE ErrCode service_body_mend(Service *service, Store *store, const Extent *extent, Err *err);
/* Unlinks an extent that nothing names wherever it may be; errors as blob_remove(). */
MUST_USE ErrCode service_body_remove(Service *service, BodyId body, uint32_t extent, Err *err);
Buckets *service_buckets(Service *service);
Durability service_durability(const Service *service, unsigned class);
/* Why no change is taken any more, in a form for clients: ERR_ROOT_FAILED; code OK: they are. */
void service_why_failed(const Service *service, Err *out);
/* Before a change is taken: header is its Holdfast-Require, `synced=N` with N from 1 to
 * MEMBERS_MAX, into *copies (Mutation.require_synced). ERR_TOO_FEW_COPIES: what is written now
 * would not be synced to so many; ERR_INVALID. */
MUST_USE ErrCode service_require(const Service *service, unsigned class, Str header,
                                 unsigned *copies, Err *err);
/* The same of a bucket that requires every copy, before a body for it is taken; one that is not
 * there requires nothing. ERR_NO_SPACE, ERR_ROOT_FAILED: the disks of its class. */
MUST_USE ErrCode service_admit_bucket(const Service *service, Str bucket, Err *err);

MUST_USE ErrCode service_reader_open(Service *service, ServiceReader **out, Err *err);
void service_reader_free(ServiceReader *reader);
/* A version by name; version NULL: the current one. ERR_NO_BUCKET, ERR_NOT_FOUND, ERR_NOT_READY,
 * ERR_IO … ERR_NOT_READY too if the root that is read may not answer for the others just now. With
 * ERR_NOT_FOUND out is set: it has the row of a delete marker, if that is why, or zeros. */
MUST_USE ErrCode service_find(ServiceReader *reader, Str bucket, Str key, const VersionId *version,
                              StoreFound *out, Err *err);
/* The null version of a name, which it has where versions were off or suspended. ERR_NOT_FOUND. */
MUST_USE ErrCode service_find_null(ServiceReader *reader, Str bucket, Str key, VersionId *out,
                                   Err *err);
/* An attribute of a bucket's record (BucketRecord.extra); value: a view into the reader, ptr NULL
 * if it has none. ERR_NO_BUCKET. */
MUST_USE ErrCode service_bucket_attr(ServiceReader *reader, Str bucket, unsigned type, Str *value,
                                     Err *err);
/* The same by id. */
MUST_USE ErrCode service_find_id(ServiceReader *reader, FileId file, const VersionId *version,
                                 StoreFound *out, Err *err);
/* Was a change that carried request made, or is it under way, within STORE_REQUEST_KEEP_MS? One
 * that comes up meanwhile may be missed. */
MUST_USE ErrCode service_knows_request(ServiceReader *reader, RequestId request, uint64_t now_ms,
                                       bool *known, Err *err);
/* The body of a small file (no extents); view into the reader. ERR_NOT_FOUND: find again. What
 * can't be read from the root that is read comes from another one, and is listed as damaged. */
MUST_USE ErrCode service_body(ServiceReader *reader, const StoreFound *found, Str *body, Err *err);

/* The bytes of a version could not be read back: notes it in the list of damage. found.cause,
 * place, offset and detail say where and why; bucket is the name of its bucket. */
void service_damaged(Service *service, Str bucket, RiskFound found);
/* All of a version's bytes were read and verified. */
void service_whole(Service *service, FileId file, VersionId version);

typedef struct {
    Str bucket; /* name */
    Str prefix;
    char delimiter;          /* 0: none */
    Str after;               /* empty: from the start */
    size_t limit;            /* 1..1000 entries */
    bool versions;           /* all of them, with delete markers, the newest of a name first */
    VersionId after_version; /* not zero: and of `after` those that are older */
    const AuthScope *scope;  /* only these names; NULL: all */
} ListQuery;
/* Entry by entry, in name order; anything but OK from fn ends it. *more: the limit ended the list,
 * and the last entry's key or prefix, in next_after, is where it goes on, with versions behind
 * next_version; zero: behind all versions of that name. */
typedef ErrCode (*ListFn)(void *ctx, const StoreFound *file, bool is_prefix, Err *err);
MUST_USE ErrCode service_list(ServiceReader *reader, const ListQuery *query, ListFn fn, void *ctx,
                              Buf *next_after, VersionId *next_version, bool *more, Err *err);

AUTO_DEFINE(Service, service_free);
AUTO_DEFINE(ServiceReader, service_reader_free);

#endif
