/* Control store: who is in which configuration (REPLICATION.md section 1), and nothing else. A
 * table of functions; drivers: local (one process: control.json in every root, the highest version
 * on a majority of the roots wins), postgres and sim with the copies and scale issues. All drivers
 * pass the same conformance tests (test/unit/control).
 *
 * Used by one thread at a time: main at the start, the core's at its own, then one that may wait
 * (decisions/0017); a call may block for a disk sync or a round trip. An answer of
 * ERR_OUTCOME_UNKNOWN means just that: never taken as failed. */
#ifndef HOLDFAST_CONTROL_CONTROL_H
#define HOLDFAST_CONTROL_CONTROL_H

#include "base/mem.h"
#include "format/config_entry.h"

typedef enum { ROOT_CLEAN = 1, ROOT_SUSPECT, ROOT_LOST } RootVerdict;

typedef struct {
    Uuid root;
    uint64_t incarnation;
    RootVerdict verdict;
} ControlRoot;

typedef struct {
    ShardId shard;
    ShardConfig config;
} ControlShard;

typedef struct Control Control;
typedef struct {
    const char *name;
    void (*free)(Control *control);
    ErrCode (*get)(Control *control, ShardId shard, ShardConfig *out, bool *found, Err *err);
    ErrCode (*cas)(Control *control, const ControlShard *rows, size_t count, Err *err);
    ErrCode (*register_root)(Control *control, Uuid root, uint64_t *incarnation, Err *err);
    ErrCode (*set_verdict)(Control *control, Uuid root, RootVerdict verdict, Err *err);
    ErrCode (*list_roots)(Control *control, ControlRoot *out, size_t max, size_t *count, Err *err);
    ErrCode (*each_shard)(Control *control,
                          ErrCode (*fn)(void *ctx, const ControlShard *row, Err *err), void *ctx,
                          Err *err);
} ControlOps;
struct Control {
    const ControlOps *ops;
};

void control_free(Control *control); /* NULL is fine */
/* The row of shard; found=false if it was never made. */
MUST_USE ErrCode control_get(Control *control, ShardId shard, ShardConfig *out, bool *found,
                             Err *err);
/* For each row: the row in force must have cfg_uid == row.config.parent_uid (zero: there is no row
 * yet), and is replaced; all rows or none, durable on OK. ERR_PRECONDITION: one was not so, nothing
 * changed. ERR_OUTCOME_UNKNOWN. */
MUST_USE ErrCode control_cas(Control *control, const ControlShard *rows, size_t count, Err *err);
/* A root comes up: its incarnation is raised by one (1 for a new root) and given back. In the
 * same transaction rows that name it follow its incarnation, under a new cfg_uid, and it leaves isr
 * and elr of those with other members in sync. ERR_FORBIDDEN: it was
 * declared LOST. */
MUST_USE ErrCode control_register_root(Control *control, Uuid root, uint64_t *incarnation,
                                       Err *err);
/* The same for a root whose own files tell that it was in incarnation `known` already: above that,
 * even if the control store was lost or is older (which harms nothing, REPLICATION.md section 8,
 * but no incarnation may come twice). ERR_CORRUPT: they are too far apart to be of one root. */
MUST_USE ErrCode control_raise_root(Control *control, Uuid root, uint64_t known,
                                    uint64_t *incarnation, Err *err);
/* ERR_NOT_FOUND: no such root was registered. ERR_OUTCOME_UNKNOWN. */
MUST_USE ErrCode control_set_verdict(Control *control, Uuid root, RootVerdict verdict, Err *err);
/* The first max roots into out; *count: how many there are. */
MUST_USE ErrCode control_list_roots(Control *control, ControlRoot *out, size_t max, size_t *count,
                                    Err *err);
/* Rows in rising order of shards; anything but OK from fn ends it and is returned. */
MUST_USE ErrCode control_each_shard(Control *control,
                                    ErrCode (*fn)(void *ctx, const ControlShard *row, Err *err),
                                    void *ctx, Err *err);

AUTO_DEFINE(Control, control_free);

#endif
