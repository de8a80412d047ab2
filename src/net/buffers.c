#include "net/buffers.h"

#include "base/fault.h"
#include "base/lock.h"
#include <errno.h>

typedef struct {
    void (*wake)(void *ctx); /* NULL: a free place */
    void *ctx;
} Watcher;

#define BUFFERS_ALIGN 4096 /* so that full ones can be written past the cache (DISK_OPEN_BODY) */

struct Buffers {
    Lock lock; /* guards everything below but the constants */
    size_t count;
    size_t size; /* bytes of one */
    uint8_t *memory;
    Buffer *all;
    Buffer **stack; /* the free ones, last released on top */
    size_t free_count;
    size_t used[BUFFERS_USE_COUNT];
    bool starved; /* a take failed since the last wake-up */
    Watcher watchers[BUFFERS_WATCHERS_MAX];
};

ErrCode buffers_open(size_t count, size_t size, Buffers **out, Err *err)
{
    ASSERT(count >= 1 && count <= 65536 && size >= 4 * KIB && size <= 16 * MIB);
    void *memory;
    ErrCode code = mem_take(count * size + BUFFERS_ALIGN, &memory, err);
    if (code != OK) return err_wrap(err, code, "%zu body buffers of %zu bytes", count, size);
    Buffers *pool = mem_new(sizeof *pool);
    lock_init(&pool->lock, LOCK_RANK_QUEUE);
    pool->count = count;
    pool->size = size;
    pool->memory = memory;
    pool->all = mem_new_array(count, sizeof *pool->all);
    uint8_t *first = (uint8_t *)ALIGN_UP((uintptr_t)memory, (uintptr_t)BUFFERS_ALIGN);
    pool->stack = mem_new_array(count, sizeof(Buffer *));
    for (size_t i = 0; i < count; i++) {
        pool->all[i] = (Buffer){.data = first + i * size, .capacity = size, .pool = pool};
        pool->stack[count - 1 - i] = &pool->all[i];
    }
    pool->free_count = count;
    *out = pool;
    return OK;
}

void buffers_close(Buffers *pool)
{
    if (pool == NULL) return;
    ASSERT(pool->free_count == pool->count);
    lock_deinit(&pool->lock);
    mem_free(pool->stack);
    mem_free(pool->all);
    mem_free(pool->memory);
    mem_free(pool);
}

/* Under the lock, so that buffers_unwatch() can promise the end of it. */
static void wake_watchers(Buffers *pool)
{
    for (size_t i = 0; pool->starved && i < BUFFERS_WATCHERS_MAX; i++)
        if (pool->watchers[i].wake != NULL) pool->watchers[i].wake(pool->watchers[i].ctx);
    pool->starved = false;
}

/* How many this use may have; of a pool of one buffer all. */
static size_t share_of(const Buffers *pool)
{
    return pool->count - pool->count / 2;
}

/* How many this use may still take. */
static size_t left_of(Buffers *pool, BuffersUse use)
{
    lock_take(&pool->lock);
    size_t left = MIN(share_of(pool) - pool->used[use], pool->free_count);
    lock_give(&pool->lock);
    return left;
}

ErrCode buffers_take(Buffers *pool, BuffersUse use, Buffer **out, Err *err)
{
    bool refused = fault_point("pool.take") != 0;
    Buffer *buffer = NULL;
    lock_take(&pool->lock);
    if (!refused && pool->free_count > 0 && pool->used[use] < share_of(pool)) {
        buffer = pool->stack[--pool->free_count];
        pool->used[use]++;
    } else {
        pool->starved = true;
        /* What a fault refuses no release may follow, for nobody may hold one. */
        if (refused && pool->free_count == pool->count) wake_watchers(pool);
    }
    lock_give(&pool->lock);
    if (buffer == NULL)
        return err_set(err, ERR_BUSY, "the %zu body buffers are in use; try again", pool->count);
    buffer->len = 0;
    buffer->use = use;
    *out = buffer;
    return OK;
}

void buffer_release(Buffer *buffer)
{
    if (buffer == NULL) return;
    Buffers *pool = buffer->pool;
    lock_take(&pool->lock);
    ASSERT(pool->free_count < pool->count);
    ASSERT(pool->used[buffer->use] > 0);
    pool->used[buffer->use]--;
    pool->stack[pool->free_count++] = buffer;
    wake_watchers(pool);
    lock_give(&pool->lock);
}

size_t buffers_size(const Buffers *pool)
{
    return pool->size;
}

size_t buffers_free_count(Buffers *pool)
{
    lock_take(&pool->lock);
    size_t count = pool->free_count;
    lock_give(&pool->lock);
    return count;
}

bool buffers_plenty(Buffers *pool, BuffersUse use)
{
    return left_of(pool, use) > share_of(pool) / 2;
}

bool buffers_exhausted(Buffers *pool, BuffersUse use)
{
    return left_of(pool, use) == 0;
}

unsigned buffers_watch(Buffers *pool, void (*wake)(void *ctx), void *ctx)
{
    lock_take(&pool->lock);
    unsigned i = 0;
    while (i < BUFFERS_WATCHERS_MAX && pool->watchers[i].wake != NULL)
        i++;
    ASSERT(i < BUFFERS_WATCHERS_MAX);
    pool->watchers[i] = (Watcher){.wake = wake, .ctx = ctx};
    lock_give(&pool->lock);
    return i;
}

void buffers_unwatch(Buffers *pool, unsigned watcher)
{
    ASSERT(watcher < BUFFERS_WATCHERS_MAX);
    lock_take(&pool->lock);
    pool->watchers[watcher] = (Watcher){0};
    lock_give(&pool->lock);
}
