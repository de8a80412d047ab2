/* Threads with names. Signals are blocked in them, main alone handles them; but for those that a
 * thread raises by what it does itself (SIGBUS, SIGSEGV …), which come to it anyway. */
#ifndef HOLDFAST_BASE_THREAD_H
#define HOLDFAST_BASE_THREAD_H

#include "base/err.h"
#include <pthread.h>
#include <stdint.h>

typedef struct {
    pthread_t id;
    bool started;
} Thread;

/* name: at most 15 bytes. run(arg) is the thread. Errors: ERR_SYSTEM. */
MUST_USE ErrCode thread_start(Thread *thread, const char *name, void (*run)(void *arg), void *arg,
                              Err *err);
/* Waits for its end; does nothing if it was never started. */
void thread_join(Thread *thread);
/* The same for at most timeout_ms. False: it has not ended; nobody knows whether it ever does (a
 * disk that stands still), and what it uses must stay. */
bool thread_join_within(Thread *thread, uint32_t timeout_ms);

#endif
