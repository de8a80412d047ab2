/* Queue: a bounded queue of pointers between threads; ownership of what is pushed moves to who
 * pops. Any number of threads on both sides. A full queue is ERR_BUSY: back-pressure,
 * not growth. */
#ifndef HOLDFAST_BASE_QUEUE_H
#define HOLDFAST_BASE_QUEUE_H

#include "base/mem.h"

typedef struct Queue Queue;

/* capacity: items, 1..2^20. */
Queue *queue_new(size_t capacity);
/* Must be empty of what the caller still owes; frees only the queue. NULL is fine. */
void queue_free(Queue *queue);
/* Called after a push into an empty queue, on the pushing thread, outside the lock: to wake an
 * event loop (write an eventfd, uv_async_send). Set before the first push. */
void queue_on_wake(Queue *queue, void (*wake)(void *ctx), void *ctx);
/* ERR_BUSY when full (item stays the caller's); ERR_SHUTTING_DOWN once closed. */
MUST_USE ErrCode queue_push(Queue *queue, void *item);
/* All of items, in order and with one wake-up, or none: ERR_BUSY, ERR_SHUTTING_DOWN. */
MUST_USE ErrCode queue_push_all(Queue *queue, void *const *items, size_t count);
/* Blocks while full. ERR_SHUTTING_DOWN once closed. */
MUST_USE ErrCode queue_push_wait(Queue *queue, void *item);
/* Takes up to max items at once into items, in order; 0 when empty. Never blocks. */
size_t queue_pop(Queue *queue, void **items, size_t max);
/* The same, but waits for the first item up to timeout_ms (-1: for ever); 0 on time-out, or when
 * closed and empty. */
size_t queue_pop_wait(Queue *queue, void **items, size_t max, int timeout_ms);
size_t queue_len(Queue *queue);
/* No more pushes; waiting threads wake. What is inside can still be popped. */
void queue_close(Queue *queue);
bool queue_is_closed(Queue *queue);

AUTO_DEFINE(Queue, queue_free);

#endif
