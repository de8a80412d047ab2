/* Loop: an event loop (libuv) in a thread of its own. Everything that belongs to a loop (its
 * connections, timers, requests) is touched by its thread only; other threads hand it work by
 * loop_post(). A post never fails and never allocates: the task lives inside whatever is being
 * handed over, so what waits is bounded by the number of those (requests, commands). */
#ifndef HOLDFAST_NET_LOOP_H
#define HOLDFAST_NET_LOOP_H

#include "base/err.h"
#include <stdatomic.h>
#include <uv.h>

typedef struct Loop Loop;
typedef void (*LoopFn)(void *arg);

/* One piece of posted work. Owned by the poster; untouched from loop_post() until fn runs, and
 * free again from then on (fn may free or post it). */
typedef struct LoopTask LoopTask;
struct LoopTask {
    LoopFn fn;
    void *arg;
    LoopTask *next; /* the loop's */
};

/* Makes a loop; index is any small number that tells loops apart and names the thread
 * ("http-INDEX"). Nothing runs yet. Errors: ERR_SYSTEM. */
MUST_USE ErrCode loop_open(unsigned index, Loop **out, Err *err);
/* Starts the thread. Errors: ERR_SYSTEM. */
MUST_USE ErrCode loop_start(Loop *loop, Err *err);
/* Ends the thread after what was posted before, joins it and frees the loop. Servers and timers
 * on it must be closed before, and nobody may post any more. NULL is fine. */
void loop_close(Loop *loop);

/* Any thread, the loop's own too. Tasks run in the order in which they were posted, after this
 * returns; many posts between two turns of the loop cost one wake-up. */
void loop_post(Loop *loop, LoopTask *task);
/* Runs fn(arg) on the loop's thread and waits for its end. Not from a loop thread. Before
 * loop_start() it runs at once in the calling thread. */
void loop_call(Loop *loop, LoopFn fn, void *arg);

/* Work that may block (disks, hashing): work(arg) runs on a thread of the process's pool, then
 * done(arg) on the loop's thread. Owned by the caller; untouched until done runs, free again from
 * then on. What is under way keeps the loop from ending. On the loop's thread only. */
typedef struct {
    uv_work_t uv;
    LoopFn work;
    LoopFn done;
    void *arg;
} LoopWork;
void loop_work(Loop *loop, LoopWork *work);

unsigned loop_index(const Loop *loop);
/* Is this the loop's thread (or has the loop not been started)? For assertions. */
bool loop_is_mine(const Loop *loop);
/* Milliseconds of the boot clock as of this turn of the loop. */
uint64_t loop_now_ms(const Loop *loop);
/* Room of size bytes, at each call the same, for whoever runs on the loop, until that returns to
 * it. For net/ only, which has one use for it. */
void *loop_room(Loop *loop, size_t size);
/* For net/ and http/ only. */
uv_loop_t *loop_uv(Loop *loop);

/* Timers: fn(arg) after first_ms, then every repeat_ms (0: once). On the loop's thread only. */
typedef struct LoopTimer LoopTimer;
LoopTimer *loop_timer_new(Loop *loop, uint64_t first_ms, uint64_t repeat_ms, LoopFn fn, void *arg);
/* fn is not called any more. NULL is fine. */
void loop_timer_free(LoopTimer *timer);

#endif
