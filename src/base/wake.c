/* A futex (futex(2)), not a mutex and a condition: a thread that pthread_cond_signal() wakes runs
 * into the mutex that the signalling one still holds, and both switch twice.
 *
 *   CLEAR --wait--> WAITING --set, and wake the waiter--> SET --waiter--> CLEAR
 *     '------------------- set ----------------------------^              */
#include "base/wake.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CLEAR, SET, WAITING };

void wake_init(Wake *wake)
{
    atomic_init(&wake->state, CLEAR);
}

void wake_deinit(Wake *wake)
{
    ASSERT(atomic_load(&wake->state) != WAITING);
}

void wake_set(void *ptr)
{
    Wake *wake = ptr;
    if (atomic_exchange(&wake->state, SET) != WAITING) return;
    /* From here on wake may be gone. A private futex is no more than an address to the kernel, so
     * at worst another waiter there looks at its own state once more. */
    long woken = syscall(SYS_futex, wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    UNUSED(woken);
}

/* Takes the flag if it is set, else leaves word that somebody waits. */
static bool take(Wake *wake)
{
    uint32_t state = CLEAR;
    if (atomic_compare_exchange_strong(&wake->state, &state, WAITING)) return false;
    if (state == WAITING) return false;
    ASSERT(state == SET);
    /* An exchange, so that what came before a second set in between is seen too. */
    state = atomic_exchange(&wake->state, CLEAR);
    ASSERT(state == SET);
    return true;
}

bool wake_wait(Wake *wake, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!take(wake)) {
        long failed = syscall(SYS_futex, &wake->state, FUTEX_WAIT_BITSET_PRIVATE, WAITING,
                              timeout_ms < 0 ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
        if (failed == 0 || errno != ETIMEDOUT) continue; /* the state tells */
        uint32_t state = WAITING;
        if (atomic_compare_exchange_strong(&wake->state, &state, CLEAR)) return false;
    }
    return true;
}
