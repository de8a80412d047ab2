#include "base/guard.h"

#include "base/crc.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>

/* Of the thread: what it reads now. begin is NULL outside a guarded read. The handler runs in the
 * thread that faulted, so nothing here is shared. */
typedef struct {
    const uint8_t *volatile begin;
    const uint8_t *volatile end;
    sigjmp_buf back;
} Guard;

static _Thread_local Guard guard;

/* Async-signal-safe: the fault is synchronous, in crc32c(), which holds nothing. */
static void on_bus_error(int signo, siginfo_t *info, void *context)
{
    const uint8_t *at = info->si_addr;
    UNUSED(context);
    if (guard.begin != NULL && at >= guard.begin && at < guard.end) siglongjmp(guard.back, 1);
    /* Not ours: the instruction runs again and ends the process, with a core at the right place. */
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(signo, &standard, NULL);
}

void guard_install(void)
{
    /* Not deferred while it runs: the jump leaves it without returning, and saving the signal mask
     * would cost each guarded read a system call. */
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    int status = sigaction(SIGBUS, &action, NULL);
    ASSERT(status == 0); /* the number is right, and nobody may forbid it */
}

bool guard_crc32c(const void *data, size_t len, uint32_t *out)
{
    ASSERT(guard.begin == NULL);
    guard.end = (const uint8_t *)data + len;
    if (sigsetjmp(guard.back, 0) != 0) {
        guard.begin = NULL;
        return false;
    }
    guard.begin = data;
    atomic_signal_fence(memory_order_seq_cst);
    uint32_t crc = crc32c(data, len);
    atomic_signal_fence(memory_order_seq_cst);
    guard.begin = NULL;
    *out = crc;
    return true;
}
