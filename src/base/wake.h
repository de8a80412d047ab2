/* Wake: a flag that one thread waits for and others set; a set is never lost. Setting a flag that
 * is set, or that nobody waits for, costs no system call. */
#ifndef HOLDFAST_BASE_WAKE_H
#define HOLDFAST_BASE_WAKE_H

#include "base/check.h"
#include <stdatomic.h>

typedef struct {
    _Atomic uint32_t state;
} Wake;

void wake_init(Wake *wake);
/* Who waited may do so although a wake_set() that woke it has not returned yet. */
void wake_deinit(Wake *wake);
/* Any thread. void *: fits queue_on_wake(). */
void wake_set(void *wake);
/* Waits until the flag is set, or timeout_ms (-1: for ever) are over; clears it. One thread at a
 * time. True: it was set. */
bool wake_wait(Wake *wake, int timeout_ms);

#endif
