/* A whole node of one root in one thread, over any Disk: root, control, store, engine, and what the
 * node's threads would do as functions to call in any order. For the simulator, crash states and
 * torture. */
#ifndef HOLDFAST_TEST_LIB_NODE_KIT_H
#define HOLDFAST_TEST_LIB_NODE_KIT_H

#include "control/local/local.h"
#include "service/engine.h"

typedef struct {
    Disk *disk; /* not owned */
    Rng rng;
    ManualClock clock;
    RootInfo root;
    Control *control;
    Store *store;
    Buckets *buckets;
    Engine *engine;
    StoreReader *reader;
    StoreOpened opened;
    ControlFound found;
    LogItem *log_first; /* handed to the WAL writer, not appended */
    LogItem *log_last;
    LogItem *batch_first; /* appended, not synced */
    LogItem *batch_last;
    size_t log_waiting;
} NodeKit;

typedef struct {
    uint64_t seed;
    unsigned shards;       /* of class standard */
    uint64_t segment_size; /* bytes; 0: the smallest */
    unsigned recycled;     /* segments, as spares */
    uint64_t pack_size;
    uint64_t body_cache_bytes; /* of the kit's reader; 0: none */
    size_t backlog_max;
    uint64_t backlog_bytes_max;
} NodeKitOptions;

/* Opens and starts; log items flow but nothing is pumped. On failure nothing is left open. */
MUST_USE ErrCode node_kit_open(NodeKit *kit, Disk *disk, const NodeKitOptions *options, Err *err);
/* For crash states: one shard, the smallest segments and packs; opened and ready, or ERR_… and
 * nothing is open. */
MUST_USE ErrCode node_kit_open_small(NodeKit *kit, Disk *disk, uint64_t seed, Err *err);
/* Ends such a node where its disk stopped, or now. */
void node_kit_crash(NodeKit *kit, Disk *disk);
/* As kill -9: frees memory, writes nothing. Mutations under way are never answered. */
void node_kit_drop(NodeKit *kit);
/* Clean stop. */
MUST_USE ErrCode node_kit_close(NodeKit *kit, Err *err);
/* The WAL writer: appends up to max waiting items to the batch. A failure is the items' code, but
 * for want of room or memory they wait for the next call, as in node_kit_sync(). */
void node_kit_append(NodeKit *kit, size_t max);
/* The WAL writer: syncs the batch and hands its items back to the engine; then a turn. */
void node_kit_sync(NodeKit *kit);
/* Pumps append, sync and turns until nothing moves; without any room, for a while. */
void node_kit_settle(NodeKit *kit);
/* All that is committed is applied, and a checkpoint made: as the applier, left alone. */
MUST_USE ErrCode node_kit_apply(NodeKit *kit, Err *err);
/* Waits until the engine is ready. ERR_ROOT_FAILED if it can't be. */
MUST_USE ErrCode node_kit_ready(NodeKit *kit, Err *err);
/* Submits and settles; m->code is its result. */
ErrCode node_kit_do(NodeKit *kit, Mutation *m);
/* PUT of body (any size: above INLINE_MAX through a blob), settled. */
ErrCode node_kit_put(NodeKit *kit, Str bucket, Str key, Str body, Err *err);
ErrCode node_kit_delete(NodeKit *kit, Str bucket, Str key, Err *err);
/* The whole body of what reader found; ERR_NOT_FOUND: it moved, find it again. ERR_DIGEST_MISMATCH:
 * the store gave bytes that are not the row's, which it never may. */
ErrCode node_kit_read(NodeKit *kit, StoreReader *reader, const StoreFound *found, Buf *body,
                      Err *err);
/* The whole body of a file into body; ERR_NO_BUCKET, ERR_NOT_FOUND. */
ErrCode node_kit_get(NodeKit *kit, Str bucket, Str key, Buf *body, Err *err);
/* Fills m's body fields: inline, or a blob written and finished, whose extent goes to *extent. */
ErrCode node_kit_body(NodeKit *kit, Mutation *m, Str body, Extent *extent, Err *err);

#endif
