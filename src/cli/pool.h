/* Pool: runs items (files to send, fetch or delete) over several connections at once, each with
 * its retries. Items come one by one from next(), so that memory depends on the number of
 * connections only. One thread; callbacks run on it, never inside each other.
 *
 *   next → prepare → begin → (the call runs) → end → done
 *           ^    |                              |
 *           |    +-- nothing is to be asked: done
 *           |                                   |
 *           +--------- wait, try again ---------+   prepare() and begin() may fail too
 *           +--------- follow() wants more -----+ */
#ifndef HOLDFAST_CLI_POOL_H
#define HOLDFAST_CLI_POOL_H

#include "cli/client.h"

typedef enum {
    POOL_SEND, /* begin() follows */
    POOL_MORE, /* prepare() has to be called again */
    POOL_SKIP  /* the item is over, without a request: done() with OK follows */
} PoolVerdict;

/* After a request. */
typedef enum {
    POOL_OVER,    /* it was the item's last: done() follows, or another attempt if it failed */
    POOL_FURTHER, /* the item goes on with prepare() for its next; it has come forward */
    POOL_DETOUR   /* likewise, but its attempts so far still count */
} PoolNext;

typedef struct {
    size_t item_size; /* bytes; begins with a ClientCall */
    size_t answer_max;
    /* Fills item (zero but for its call, or as its last user left it); *found false: no more.
     * A failure ends the run. */
    ErrCode (*next)(void *ctx, void *item, bool *found, Err *err);
    /* Work on this side before each attempt, in steps of a few milliseconds, as all others wait
     * meanwhile. What can't change between two attempts it does once and remembers in the item;
     * the item may have failed in prepare() itself, in begin(), in its call or in end(). NULL:
     * none. */
    ErrCode (*prepare)(void *ctx, void *item, PoolVerdict *verdict, Err *err);
    /* Before each attempt, behind prepare(): fills in the call's request. */
    ErrCode (*begin)(void *ctx, void *item, Err *err);
    /* The answer is there and is a success: may find that it is none after all. */
    ErrCode (*end)(void *ctx, void *item, Err *err);
    /* Behind end(), and behind a request that failed, with its code: what comes now? Detours have
     * to come to an end by themselves. NULL: POOL_OVER. */
    PoolNext (*follow)(void *ctx, void *item, ErrCode code);
    /* The item is over: err->code is OK or why not. Frees what the item holds. */
    void (*done)(void *ctx, void *item, const Err *err);
    void *ctx;
} PoolOps;

typedef struct {
    size_t connections;
    ClientRetry retry;
    /* Every now and then, at least 5 times a second. */
    void (*tick)(void *watch);
    /* An item waits to be tried again: once for each spell without the server. */
    void (*waiting)(void *watch, const Err *err);
    void *watch;
} PoolOptions;

/* Runs until there are no more items: OK, whatever became of single ones. Errors: what next()
 * said; a failure that makes all others pointless (retry_ends_all(), or the server was away for a
 * whole window): no new items are begun then. ERR_ABORTED: stopped by the client's flag. */
MUST_USE ErrCode pool_run(Client *client, const PoolOptions *options, const PoolOps *ops, Err *err);

#endif
