/* The threads of one root that write large bodies. Who has work for several roots gives each its
 * part and waits; from a root whose disk stands still it takes back nothing: that work, and what it
 * uses, is the pool's from then on, and done away with when the disk goes on. */
#ifndef HOLDFAST_BLOB_BODY_POOL_H
#define HOLDFAST_BLOB_BODY_POOL_H

#include "base/err.h"
#include "base/wake.h"
#include <stdatomic.h>

#define BODY_POOL_THREADS 4
#define BODY_POOL_STILL_NS 2000000000ULL /* as a member of a shard is dropped after */

typedef struct BodyPool BodyPool;

/* One piece of work; part of what arg is. */
typedef struct {
    void (*run)(void *arg);
    void (*drop)(void *arg); /* frees it, on a thread of the pool */
    void *arg;
    bool slow; /* a sync: it may take longer than a write */
    _Atomic int state;
    Wake done;
} BodyWork;

/* ERR_SYSTEM. */
MUST_USE ErrCode body_pool_open(BodyPool **out, Err *err);
/* Does all that it was given, and ends; may take as long as the disk does. NULL is fine. */
void body_pool_close(BodyPool *pool);
/* How long its disk has done nothing though there is something to do; 0: it works. Any thread. */
uint64_t body_pool_still_ns(BodyPool *pool);

/* Whether nobody waits for this root any more, as soon as it is not done at once. Any thread. */
void body_pool_leave(BodyPool *pool, bool left);

void body_work_init(BodyWork *work, void (*run)(void *arg), void (*drop)(void *arg), void *arg);
/* Begins it; one at a time. */
void body_pool_begin(BodyPool *pool, BodyWork *work, bool slow);
/* Waits for its end. False: the disk stands still, and work is the pool's. */
bool body_pool_wait(BodyPool *pool, BodyWork *work);
/* Gives work that is not begun away, to be dropped. */
void body_pool_give(BodyPool *pool, BodyWork *work);

#endif
