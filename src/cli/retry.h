/* Retry: whether and when a request is sent again. Only requests that may be repeated come here:
 * everything by name is. Pure: time and chance come from the caller. */
#ifndef HOLDFAST_CLI_RETRY_H
#define HOLDFAST_CLI_RETRY_H

#include "base/err.h"
#include "base/rng.h"

#define RETRY_WAIT_MIN_MS 100
#define RETRY_WAIT_MAX_MS 2000
#define RETRY_AFTER_MAX_MS 10000 /* more is not believed of a Retry-After */
#define RETRY_FEW 3              /* attempts when it is not the server's state that is in the way */
#define RETRY_MOVED_MAX 20 /* attempts broken off in the middle that count as coming forward */

/* One request's attempts so far; zero before the first. */
typedef struct {
    unsigned attempts; /* that have failed */
    unsigned moved;    /* of them, broken off in the middle of a body */
    unsigned waits;    /* since it last came forward */
    uint64_t since_ms; /* when it last came forward */
} Retry;

/* What an attempt ended with. */
typedef struct {
    ErrCode code;
    bool local;              /* this side failed: reading or writing a file here */
    bool moved;              /* bytes of a body moved before it failed */
    uint64_t retry_after_ms; /* as the server asked; 0: it did not */
} RetryCause;

/* Adds a failed attempt; true: try again after *wait_ms. The server's state (busy, starting,
 * unreachable …) is waited for, until window_ms have passed in which nothing moved; a body that
 * arrived changed is sent RETRY_FEW times; a full store and everything else, not again.
 * window_ms 0: never. */
bool retry_again(Retry *retry, const RetryCause *cause, uint64_t now_ms, uint64_t window_ms,
                 Rng *rng, uint64_t *wait_ms);
/* Does this code make every further request pointless (wrong key, no such bucket, no space)? */
bool retry_ends_all(ErrCode code);

#endif
