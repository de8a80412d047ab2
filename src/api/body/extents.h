/* The extents of a body on its way in: a blob each of at most EXTENT_SIZE_MAX, in the root that
 * takes it, and the SHA-256 of them all. Belongs to one thread at a time: the loop that begins it,
 * the worker that writes. */
#ifndef HOLDFAST_API_BODY_EXTENTS_H
#define HOLDFAST_API_BODY_EXTENTS_H

#include "service/service.h"

/* Read by others; changed by the functions below. */
typedef struct {
    Service *service;
    unsigned class; /* of the file */
    Store *store;   /* that takes the body */
    BodyId body;
    bool unkept;        /* only its digest is wanted */
    HashCtx *whole;     /* over all extents; NULL while one is sure to be enough */
    BlobWriter *writer; /* of the extent being written; NULL: none is */
    Extent *items;      /* finished ones */
    uint32_t count;
    uint32_t capacity;
} BodyExtents;

/* What each extent says of the file it belongs to; views. */
typedef struct {
    ShardId shard;
    BucketUid bucket;
    uint64_t time_ms;
    Str key;   /* empty: none is known */
    Str attrs; /* encoded, without the key */
} BodyOwner;

/* For the file of m, whose body has at most size_max bytes; rng gives the body's id. */
void body_extents_begin(BodyExtents *extents, Service *service, const Mutation *m,
                        uint64_t size_max, bool unkept, Rng *rng);
void body_extents_deinit(BodyExtents *extents); /* a zero one is fine */
/* Errors as service_body_open(), blob_writer_write() and service_body_finish(). */
MUST_USE ErrCode body_extents_write(BodyExtents *extents, const BodyOwner *owner,
                                    const uint8_t *data, size_t len, Err *err);
/* Once, of all that was written, which is at least a byte; before body_extents_finish(), so that a
 * body that is not what was announced need not be synced. */
void body_extents_digest(BodyExtents *extents, Sha256 *out);
/* Makes the last one durable. Errors as service_body_finish(). */
MUST_USE ErrCode body_extents_finish(BodyExtents *extents, const BodyOwner *owner, Err *err);
/* Unlinks what no entry names; what can't be is told with the request, and a sweep finds it. */
void body_extents_remove(BodyExtents *extents, Str request_id);
/* Their part of the mutation, to which they stay owned. */
void body_extents_give(const BodyExtents *extents, Mutation *m);

#endif
