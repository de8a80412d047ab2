/* Buffers: a pool of equal buffers for bodies, sized at start, shared by all loops and workers.
 * Last in, first out, so that a quiet server touches few of them. Any thread. An empty pool is
 * ERR_BUSY: readers then wait, which stops reading from their clients. */
#ifndef HOLDFAST_NET_BUFFERS_H
#define HOLDFAST_NET_BUFFERS_H

#include "base/mem.h"

#define BUFFERS_SIZE_DEFAULT (256 * KIB)
#define BUFFERS_WATCHERS_MAX 64

typedef struct Buffers Buffers;

/* What for: each use has half of the pool, so that slow clients of the one do not stop the other.
 */
typedef enum { BUFFERS_IN, BUFFERS_OUT, BUFFERS_USE_COUNT } BuffersUse;

/* One buffer; whoever holds the pointer owns it, until buffer_release(). */
typedef struct Buffer {
    uint8_t *data;
    size_t len;      /* bytes used, from data on */
    size_t capacity; /* bytes: the pool's size */
    Buffers *pool;
    BuffersUse use;
} Buffer;

/* count (1..65,536) buffers of size bytes (4 KiB..16 MiB). The memory is reserved, but not touched
 * before it is used. Errors: ERR_NO_MEMORY. */
MUST_USE ErrCode buffers_open(size_t count, size_t size, Buffers **out, Err *err);
/* All buffers must be back (asserted). NULL is fine. */
void buffers_close(Buffers *pool);
/* *out is empty (len 0). Errors: ERR_BUSY. Fault point: pool.take. */
MUST_USE ErrCode buffers_take(Buffers *pool, BuffersUse use, Buffer **out, Err *err);
/* Back to its pool, from any thread. NULL is fine. */
void buffer_release(Buffer *buffer);
AUTO_DEFINE(Buffer, buffer_release);
size_t buffers_size(const Buffers *pool); /* bytes of one */
size_t buffers_free_count(Buffers *pool);
/* Is more than half of what this use has free? */
bool buffers_plenty(Buffers *pool, BuffersUse use);
/* Is nothing of what this use has free? */
bool buffers_exhausted(Buffers *pool, BuffersUse use);

/* Calls wake(ctx), in the releasing thread, when a buffer comes back after a take failed. wake may
 * post to a loop and must not take a lock. Returns a number for buffers_unwatch(), after whose
 * return wake is not called any more. */
unsigned buffers_watch(Buffers *pool, void (*wake)(void *ctx), void *ctx);
void buffers_unwatch(Buffers *pool, unsigned watcher);

#endif
