/* What every driver of the control store must do: the same tests for each. A driver's test program
 * gives a way to make an empty store and to open it again, and runs them. */
#ifndef HOLDFAST_TEST_UNIT_CONTROL_CONFORMANCE_H
#define HOLDFAST_TEST_UNIT_CONTROL_CONFORMANCE_H

#include "control/control.h"

typedef struct {
    const char *name;
    /* An empty store; ctx stays valid until free(). */
    void *(*new)(void);
    void (*free)(void *ctx);
    /* What another process sees. NULL if it can't be opened. */
    Control *(*open)(void *ctx);
} ControlDriver;

/* Runs all; the number of failed tests. */
int control_conformance(const ControlDriver *driver);

/* Row of shard: members 0..count-1 of `roots`, all in sync, uid follows from `uid`. */
#define CONFORMANCE_ROOTS 3
Uuid conformance_root(unsigned i);
ControlShard conformance_row(ShardId shard, unsigned count, uint8_t parent, uint8_t uid);

#endif
