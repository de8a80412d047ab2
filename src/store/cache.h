/* Cache: small bodies that are read often, so that a GET of one needs no call to the disk. Each
 * StoreReader has its own, touched by its thread only.
 *
 * What is kept is named by its place in a pack, the file and the version: a pack is only appended
 * to and its number never comes up again, so what stands at a place never changes, and the look-up
 * in table and index, which comes first, says which place is current. So nothing here can be stale.
 * Bodies come in verified, and their CRC32C is compared again on each hit.
 *
 * S3-FIFO ("FIFO queues are all you need for cache eviction", SOSP'23): new bodies enter a small
 * queue, a tenth of the memory; those that are asked for again there, or soon after they left it
 * (whose hashes a table of ghosts remembers), enter the main queue, where what was asked for goes
 * round again. A scan of all files so pushes nothing out of the main queue. */
#ifndef HOLDFAST_STORE_CACHE_H
#define HOLDFAST_STORE_CACHE_H

#include "base/mem.h"
#include "format/row.h"

#define CACHE_SIZE_MIN (64 * KIB)

typedef struct Cache Cache;

/* Which body. */
typedef struct {
    uint64_t pack;
    uint64_t offset; /* of its record */
    FileId file;
    Lsn lsn; /* of the version */
} CacheKey;

/* size: bytes of all bodies and what is kept beside them, CACHE_SIZE_MIN or more. Memory is taken
 * as it is needed, but for a table of a hundredth of size. Errors: ERR_NO_MEMORY. */
MUST_USE ErrCode cache_new(size_t size, Cache **out, Err *err);
void cache_free(Cache *cache); /* NULL is fine */
/* Is it there, as it was put in? *body is a view until the next call. Counts a hit or a miss. */
MUST_USE bool cache_get(Cache *cache, const CacheKey *key, Str *body);
/* Keeps a copy of body, which cache_get() has just missed, if it is no more than an eighth of the
 * size; without memory, or for an empty one, nothing happens. */
void cache_put(Cache *cache, const CacheKey *key, Str body);
size_t cache_used(const Cache *cache); /* bytes, never more than size */
/* Metrics of all caches of the process. */
void cache_metrics_register(void);

AUTO_DEFINE(Cache, cache_free);

#endif
