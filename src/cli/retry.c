#include "cli/retry.h"

typedef enum { NEVER, FEW, WINDOW } Kind;

static Kind kind_of(const RetryCause *cause)
{
    switch ((int)cause->code) {
    case ERR_DIGEST_MISMATCH:
    case ERR_INCOMPLETE_BODY:
    case ERR_CORRUPT: /* what came back is not what was sent or stored */
    case ERR_ABORTED: /* the file changed while it was read */ return FEW;
    case ERR_NO_SPACE: return NEVER; /* nobody makes space in a minute */
    default: break;
    }
    return !cause->local && err_info(cause->code)->retry ? WINDOW : NEVER;
}

bool retry_again(Retry *retry, const RetryCause *cause, uint64_t now_ms, uint64_t window_ms,
                 Rng *rng, uint64_t *wait_ms)
{
    ASSERT(cause->code != OK);
    retry->attempts++;
    if (cause->moved) retry->moved++;
    /* A body that always breaks off at the same place must come to an end too. */
    if (retry->attempts == 1 || (cause->moved && retry->moved <= RETRY_MOVED_MAX)) {
        retry->since_ms = now_ms;
        retry->waits = 0;
    }
    Kind kind = kind_of(cause);
    if (kind == NEVER || window_ms == 0) return false;
    if (kind == FEW && retry->attempts >= RETRY_FEW) return false;
    uint64_t passed_ms = now_ms - MIN(now_ms, retry->since_ms);
    if (passed_ms >= window_ms) return false;

    /* Doubles from the least to the most; between half and all of it, so that many files that
     * failed together do not come back together. */
    uint64_t most = RETRY_WAIT_MIN_MS;
    for (unsigned i = 0; i < retry->waits && most < RETRY_WAIT_MAX_MS; i++)
        most *= 2;
    most = MIN(most, (uint64_t)RETRY_WAIT_MAX_MS);
    uint64_t wait = most / 2 + rng_below(rng, most / 2 + 1);
    wait = MAX(wait, MIN(cause->retry_after_ms, (uint64_t)RETRY_AFTER_MAX_MS));
    retry->waits++;
    /* The last attempt is made at the end of the window, not beyond it. */
    *wait_ms = MIN(wait, window_ms - passed_ms);
    return true;
}

bool retry_ends_all(ErrCode code)
{
    return code == ERR_UNAUTHENTICATED || code == ERR_NO_BUCKET || code == ERR_BAD_BUCKET_NAME ||
           code == ERR_NO_SPACE || code == ERR_CONFIG;
}
