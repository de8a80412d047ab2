/* A ring of pointers, one lock, two condition variables.
 *
 *   items: [ . . X X X X . . ]     head: index of the oldest, count: how many
 */
#include "base/queue.h"

#include "base/lock.h"

#include <errno.h>
#include <time.h>

#define QUEUE_CAPACITY_MAX ((size_t)1 << 20)

struct Queue {
    Lock lock; /* for everything below but wake */
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    void (*wake)(void *ctx); /* set before the first push, then constant */
    void *wake_ctx;
    void **items;
    size_t capacity;
    size_t head;
    size_t count;
    bool closed;
};

static void queue_check(const Queue *queue)
{
    ASSERT(queue->count <= queue->capacity);
    ASSERT(queue->head < queue->capacity);
}

Queue *queue_new(size_t capacity)
{
    ASSERT(capacity >= 1 && capacity <= QUEUE_CAPACITY_MAX);
    Queue *queue = mem_new(sizeof *queue);
    queue->items = mem_new_array(capacity, sizeof *queue->items);
    queue->capacity = capacity;
    lock_init(&queue->lock, LOCK_RANK_QUEUE);
    pthread_condattr_t attr;
    ASSERT(pthread_condattr_init(&attr) == 0);
    /* Time-outs must not jump with the wall clock. */
    ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(&queue->not_empty, &attr) == 0);
    ASSERT(pthread_cond_init(&queue->not_full, &attr) == 0);
    ASSERT(pthread_condattr_destroy(&attr) == 0);
    return queue;
}

void queue_free(Queue *queue)
{
    if (queue == NULL) return;
    ASSERT(pthread_cond_destroy(&queue->not_full) == 0);
    ASSERT(pthread_cond_destroy(&queue->not_empty) == 0);
    lock_deinit(&queue->lock);
    mem_free(queue->items);
    mem_free(queue);
}

void queue_on_wake(Queue *queue, void (*wake)(void *ctx), void *ctx)
{
    queue->wake = wake;
    queue->wake_ctx = ctx;
}

/* Waits until cond is signalled; the thread's record of held locks stays, since it holds the lock
 * again before it goes on. deadline NULL: for ever. False on time-out. */
static bool cond_wait(Queue *queue, pthread_cond_t *cond, const struct timespec *deadline)
{
    int result = deadline == NULL ? pthread_cond_wait(cond, &queue->lock.mutex)
                                  : pthread_cond_timedwait(cond, &queue->lock.mutex, deadline);
    ASSERT(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

static ErrCode push(Queue *queue, void *item, bool wait)
{
    lock_take(&queue->lock);
    queue_check(queue);
    while (wait && !queue->closed && queue->count == queue->capacity) {
        cond_wait(queue, &queue->not_full, NULL);
    }
    ErrCode code = OK;
    if (queue->closed)
        code = ERR_SHUTTING_DOWN;
    else if (queue->count == queue->capacity)
        code = ERR_BUSY;
    bool was_empty = queue->count == 0;
    if (code == OK) {
        queue->items[(queue->head + queue->count) % queue->capacity] = item;
        queue->count++;
        ASSERT(pthread_cond_signal(&queue->not_empty) == 0);
    }
    queue_check(queue);
    /* Whoever pops this item may free the queue at once: nothing of it is read after the lock. */
    void (*wake)(void *ctx) = queue->wake;
    void *wake_ctx = queue->wake_ctx;
    lock_give(&queue->lock);
    if (code == OK && was_empty && wake != NULL) wake(wake_ctx);
    return code;
}

ErrCode queue_push(Queue *queue, void *item)
{
    return push(queue, item, false);
}

ErrCode queue_push_all(Queue *queue, void *const *items, size_t count)
{
    lock_take(&queue->lock);
    queue_check(queue);
    ErrCode code = OK;
    if (queue->closed)
        code = ERR_SHUTTING_DOWN;
    else if (count > queue->capacity - queue->count)
        code = ERR_BUSY;
    bool was_empty = queue->count == 0;
    for (size_t i = 0; i < count && code == OK; i++) {
        queue->items[(queue->head + queue->count) % queue->capacity] = items[i];
        queue->count++;
    }
    if (code == OK && count == 1) ASSERT(pthread_cond_signal(&queue->not_empty) == 0);
    if (code == OK && count > 1) ASSERT(pthread_cond_broadcast(&queue->not_empty) == 0);
    queue_check(queue);
    void (*wake)(void *ctx) = queue->wake; /* as in push() */
    void *wake_ctx = queue->wake_ctx;
    lock_give(&queue->lock);
    if (code == OK && count > 0 && was_empty && wake != NULL) wake(wake_ctx);
    return code;
}

ErrCode queue_push_wait(Queue *queue, void *item)
{
    return push(queue, item, true);
}

/* Under the lock. */
static size_t pop_locked(Queue *queue, void **items, size_t max)
{
    queue_check(queue);
    size_t count = MIN(max, queue->count);
    for (size_t i = 0; i < count; i++) {
        items[i] = queue->items[queue->head];
        queue->head = (queue->head + 1) % queue->capacity;
    }
    queue->count -= count;
    if (count == 1) ASSERT(pthread_cond_signal(&queue->not_full) == 0);
    if (count > 1) ASSERT(pthread_cond_broadcast(&queue->not_full) == 0);
    return count;
}

size_t queue_pop(Queue *queue, void **items, size_t max)
{
    lock_take(&queue->lock);
    size_t count = pop_locked(queue, items, max);
    lock_give(&queue->lock);
    return count;
}

static struct timespec deadline_after(int timeout_ms)
{
    struct timespec deadline;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &deadline) == 0);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_nsec -= 1000000000;
        deadline.tv_sec++;
    }
    return deadline;
}

size_t queue_pop_wait(Queue *queue, void **items, size_t max, int timeout_ms)
{
    ASSERT(max >= 1 && timeout_ms >= -1);
    struct timespec deadline = {0, 0};
    if (timeout_ms >= 0) deadline = deadline_after(timeout_ms);
    lock_take(&queue->lock);
    while (queue->count == 0 && !queue->closed) {
        if (!cond_wait(queue, &queue->not_empty, timeout_ms < 0 ? NULL : &deadline)) break;
    }
    size_t count = pop_locked(queue, items, max);
    lock_give(&queue->lock);
    return count;
}

size_t queue_len(Queue *queue)
{
    lock_take(&queue->lock);
    size_t count = queue->count;
    lock_give(&queue->lock);
    return count;
}

void queue_close(Queue *queue)
{
    lock_take(&queue->lock);
    queue->closed = true;
    ASSERT(pthread_cond_broadcast(&queue->not_empty) == 0);
    ASSERT(pthread_cond_broadcast(&queue->not_full) == 0);
    lock_give(&queue->lock);
}

bool queue_is_closed(Queue *queue)
{
    lock_take(&queue->lock);
    bool closed = queue->closed;
    lock_give(&queue->lock);
    return closed;
}
