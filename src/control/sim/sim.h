/* The control store of the simulator: rows in memory, and on demand everything that a store at the
 * other end of a network may do: not answer, answer what was true before, do what it says that
 * nobody knows, and forget what it did (an asynchronous standby is promoted, a backup restored).
 * One store, any number of handles. Deterministic. One thread. */
#ifndef HOLDFAST_CONTROL_SIM_SIM_H
#define HOLDFAST_CONTROL_SIM_SIM_H

#include "control/control.h"

#define CONTROL_SIM_KEPT 4 /* transactions that can be taken back */

typedef struct ControlStore ControlStore;

typedef enum {
    CONTROL_SIM_PLAIN,           /* decided, and told */
    CONTROL_SIM_UNKNOWN_DONE,    /* decided, if its condition holds; told as unknown */
    CONTROL_SIM_UNKNOWN_IGNORED, /* not done; told as unknown */
    CONTROL_SIM_STALE            /* a read: from before the last transaction */
} ControlSimFate;

ControlStore *control_store_new(void);
void control_store_free(ControlStore *store); /* NULL is fine; after its handles */
/* Freed by control_free(). */
Control *control_sim_open(ControlStore *store);
/* Down: every call is ERR_UNAVAILABLE, and changes nothing. */
void control_store_set_down(ControlStore *store, bool down);
/* Of the next call; then it is CONTROL_SIM_PLAIN again. */
void control_store_set_fate(ControlStore *store, ControlSimFate fate);
/* The row in force, whatever the store's fate is; NULL: there is none. Until the next change. */
const ShardConfig *control_store_row(const ControlStore *store, ShardId shard);
/* What is in force now can't be taken back. */
void control_store_keep(ControlStore *store);
/* The last transaction never was; false: there is none that is remembered. */
bool control_store_roll_back(ControlStore *store);

#endif
