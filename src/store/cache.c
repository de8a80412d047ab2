#include "store/cache.h"

#include <string.h>

#include "base/crc.h"
#include "base/metric.h"

#define BYTES_PER_SLOT 2048 /* of size, for one slot of the table */
#define FREQ_MAX 3
#define BODY_PART 8 /* a body is at most this part of the size */

typedef struct Item Item;
struct Item {
    Item *chain; /* of its slot */
    Item *newer; /* in its queue */
    CacheKey key;
    uint32_t len;
    uint32_t crc;
    uint8_t freq; /* times asked for, up to FREQ_MAX, less times gone round */
    bool dead;    /* out of the table; its place in the queue is still to come up */
    uint8_t body[];
};

typedef struct {
    Item *oldest;
    Item *newest;
    size_t bytes;
} Queue;

struct Cache {
    size_t size;
    size_t fixed; /* bytes of the tables */
    Queue small;
    Queue main;
    Item **slots;
    uint64_t *ghosts;  /* hashes of what left small unasked, each in its slot; 0: none */
    size_t slot_count; /* a power of two */
};

static Metric hits = {.kind = METRIC_COUNTER,
                      .name = "holdfast_cache_hits_total",
                      .help = "Small bodies that were found in the cache.",
                      .labels = ""};
static Metric misses = {.kind = METRIC_COUNTER,
                        .name = "holdfast_cache_misses_total",
                        .help = "Small bodies in packs that were not in the cache.",
                        .labels = ""};
static Metric bytes_used = {.kind = METRIC_GAUGE,
                            .name = "holdfast_cache_bytes",
                            .help = "Memory of cached small bodies, all threads together.",
                            .labels = ""};

void cache_metrics_register(void)
{
    metric_register(&hits);
    metric_register(&misses);
    metric_register(&bytes_used);
}

static void cache_check(const Cache *cache)
{
    ASSERT(cache->fixed + cache->small.bytes + cache->main.bytes <= cache->size);
    ASSERT((cache->small.oldest == NULL) == (cache->small.bytes == 0));
    ASSERT((cache->main.oldest == NULL) == (cache->main.bytes == 0));
}

static uint64_t key_hash(const CacheKey *key)
{
    uint64_t h = (key->pack << 40) ^ key->offset; /* offsets are far below 2^40 */
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;  /* the finalizer of MurmurHash3 */
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    h ^= h >> 33;
    return h == 0 ? 1 : h;
}

static bool key_eq(const CacheKey *a, const CacheKey *b)
{
    return a->pack == b->pack && a->offset == b->offset && a->lsn == b->lsn &&
           id128_eq(a->file, b->file);
}

static size_t item_bytes(size_t len)
{
    return ALIGN_UP(sizeof(Item) + len + 16, (size_t)16); /* the allocator's own 16 */
}

ErrCode cache_new(size_t size, Cache **out, Err *err)
{
    ASSERT(size >= CACHE_SIZE_MIN);
    AUTO(Cache, cache_free) cache = mem_new(sizeof *cache);
    size_t slots = 16;
    void *tables = NULL;
    while (slots * 2 * BYTES_PER_SLOT <= size)
        slots *= 2;
    size_t fixed = slots * (sizeof(void *) + sizeof *cache->ghosts);
    TRY(mem_take(fixed, &tables, err));
    memset(tables, 0, fixed);
    cache->size = size;
    cache->fixed = fixed;
    cache->ghosts = tables;
    cache->slots = (Item **)(void *)(cache->ghosts + slots);
    cache->slot_count = slots;
    metric_add(&bytes_used, (int64_t)fixed);
    *out = TAKE(cache);
    return OK;
}

static void queue_push(Queue *queue, Item *item)
{
    item->newer = NULL;
    if (queue->newest != NULL)
        queue->newest->newer = item;
    else
        queue->oldest = item;
    queue->newest = item;
    queue->bytes += item_bytes(item->len);
}

static Item *queue_pop(Queue *queue)
{
    Item *item = queue->oldest;
    queue->oldest = item->newer;
    if (queue->oldest == NULL) queue->newest = NULL;
    queue->bytes -= item_bytes(item->len);
    return item;
}

void cache_free(Cache *cache)
{
    if (cache == NULL) return;
    metric_add(&bytes_used, -(int64_t)cache_used(cache));
    while (cache->small.oldest != NULL)
        mem_free(queue_pop(&cache->small));
    while (cache->main.oldest != NULL)
        mem_free(queue_pop(&cache->main));
    mem_free(cache->ghosts);
    mem_free(cache);
}

static Item **slot_of(Cache *cache, uint64_t hash)
{
    return &cache->slots[hash & (cache->slot_count - 1)];
}

static uint64_t *ghost_of(Cache *cache, uint64_t hash)
{
    return &cache->ghosts[hash & (cache->slot_count - 1)];
}

static void table_remove(Cache *cache, Item *item)
{
    Item **at = slot_of(cache, key_hash(&item->key));
    while (*at != item)
        at = &(*at)->chain;
    *at = item->chain;
    item->dead = true;
}

static void drop(Cache *cache, Item *item)
{
    metric_add(&bytes_used, -(int64_t)item_bytes(item->len));
    if (!item->dead) table_remove(cache, item);
    mem_free(item);
}

/* Lets the oldest of one queue go, or go on. */
static void evict_one(Cache *cache)
{
    if (cache->main.oldest == NULL || cache->small.bytes > cache->size / 10) {
        Item *item = queue_pop(&cache->small);
        if (item->freq > 0 && !item->dead) {
            item->freq = 0;
            queue_push(&cache->main, item);
            return;
        }
        uint64_t hash = key_hash(&item->key);
        *ghost_of(cache, hash) = hash;
        drop(cache, item);
        return;
    }
    Item *item = queue_pop(&cache->main);
    if (item->freq > 0 && !item->dead) {
        item->freq--;
        queue_push(&cache->main, item);
        return;
    }
    drop(cache, item);
}

bool cache_get(Cache *cache, const CacheKey *key, Str *body)
{
    Item *item = *slot_of(cache, key_hash(key));
    while (item != NULL && !key_eq(&item->key, key))
        item = item->chain;
    /* Memory errs too: what does not have its CRC is read from the disk again. */
    if (item != NULL && crc32c(item->body, item->len) != item->crc) {
        table_remove(cache, item);
        item = NULL;
    }
    if (item == NULL) {
        metric_add(&misses, 1);
        return false;
    }
    if (item->freq < FREQ_MAX) item->freq++;
    metric_add(&hits, 1);
    *body = str_of(item->body, item->len);
    return true;
}

void cache_put(Cache *cache, const CacheKey *key, Str body)
{
    size_t need = item_bytes(body.len);
    void *memory = NULL;
    if (body.len == 0 || need > cache->size / BODY_PART) return;
    while (cache_used(cache) + need > cache->size)
        evict_one(cache);
    if (mem_take(sizeof(Item) + body.len, &memory, NULL) != OK) return;
    Item *item = memory;
    uint64_t hash = key_hash(key);
    Item **slot = slot_of(cache, hash);
    *item = (Item){.key = *key, .len = (uint32_t)body.len, .chain = *slot};
    memcpy(item->body, body.ptr, body.len);
    item->crc = crc32c(item->body, item->len);
    *slot = item;
    queue_push(*ghost_of(cache, hash) == hash ? &cache->main : &cache->small, item);
    metric_add(&bytes_used, (int64_t)need);
    cache_check(cache);
}

size_t cache_used(const Cache *cache)
{
    return cache->fixed + cache->small.bytes + cache->main.bytes;
}
