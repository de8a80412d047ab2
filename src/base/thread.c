#include "base/thread.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define THREAD_NAME_MAX 15 /* bytes, the kernel's limit */
#define JOIN_LOOK_NS 1000000L

/* What the new thread takes over and frees. */
typedef struct {
    char name[THREAD_NAME_MAX + 1];
    void (*run)(void *arg);
    void *arg;
} Start;

static void *thread_main(void *start_arg)
{
    Start start = *(Start *)start_arg;
    mem_free(start_arg);
    /* A name is for people; a thread without one works. */
    (void)pthread_setname_np(pthread_self(), start.name);
    start.run(start.arg);
    return NULL;
}

/* All signals but those that a thread raises by what it does itself: they can't wait (SIGBUS from a
 * mapped page has a handler; a blocked one would kill the process past it). */
static void signals_to_block(sigset_t *set)
{
    static const int own[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    ASSERT(sigfillset(set) == 0);
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        ASSERT(sigdelset(set, own[i]) == 0);
}

ErrCode thread_start(Thread *thread, const char *name, void (*run)(void *arg), void *arg, Err *err)
{
    ASSERT(strlen(name) <= THREAD_NAME_MAX);
    Start *start = mem_new(sizeof *start);
    memcpy(start->name, name, strlen(name) + 1);
    start->run = run;
    start->arg = arg;

    /* A thread inherits its mask: blocked before it exists, so that none slips in. */
    sigset_t block;
    sigset_t before;
    signals_to_block(&block);
    ASSERT(pthread_sigmask(SIG_SETMASK, &block, &before) == 0);
    pthread_t id;
    int result = fault_point("thread.start");
    if (result == 0) result = pthread_create(&id, NULL, thread_main, start);
    ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (result != 0) {
        mem_free(start);
        return err_set_errno(err, ERR_SYSTEM, result, "start thread %s", name);
    }
    thread->id = id;
    thread->started = true;
    return OK;
}

void thread_join(Thread *thread)
{
    if (!thread->started) return;
    ASSERT(pthread_join(thread->id, NULL) == 0);
    thread->started = false;
}

bool thread_join_within(Thread *thread, uint32_t timeout_ms)
{
    static const struct timespec look = {.tv_nsec = JOIN_LOOK_NS};
    if (!thread->started) return true;
    uint64_t end_ns = clock_boot_ns(clock_real()) + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        int result = pthread_tryjoin_np(thread->id, NULL);
        ASSERT(result == 0 || result == EBUSY);
        if (result == 0) thread->started = false;
        if (result == 0) return true;
        if (clock_boot_ns(clock_real()) >= end_ns) return false;
        (void)nanosleep(&look, NULL); /* woken early it looks again */
    }
}
