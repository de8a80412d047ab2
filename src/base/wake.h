/* Wake: a flag that one thread waits for and others set; a set is never lost. */
#ifndef HOLDFAST_BASE_WAKE_H
#define HOLDFAST_BASE_WAKE_H

#include "base/check.h"
#include <pthread.h>

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool set;
} Wake;

void wake_init(Wake *wake);
void wake_deinit(Wake *wake);
/* Any thread. void *: fits queue_on_wake(). */
void wake_set(void *wake);
/* Waits until the flag is set, or timeout_ms (-1: for ever) are over; clears it.
 * True: it was set. */
bool wake_wait(Wake *wake, int timeout_ms);

#endif
