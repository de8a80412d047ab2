/* A storage root at work: the threads around one store.
 *
 *   writer   owns the log's appends: gathers what waits, one sync for all
 *   applier  owns packs and index batches: applies, checkpoints, cuts the log, looks at free space;
 *            and brings what this root lacks and no log has any more (store/seed.h)
 *   reader   with several roots: reads the log for a root that lacks what only this log has
 *
 * What one of them can't do for good fails this root, and no other. The core (workers.h) is the
 * only one that gives it work; what comes back goes into the core's queues. */
#ifndef HOLDFAST_NODE_STORAGE_ROOT_H
#define HOLDFAST_NODE_STORAGE_ROOT_H

#include "base/queue.h"
#include "base/wake.h"
#include "service/engine.h"

typedef struct StorageRoot StorageRoot;

typedef struct {
    unsigned number;                     /* the engine's */
    Store *store;                        /* not owned; closed by storage_root_close() */
    bool reads;                          /* a reader is wanted */
    Store *others[ENGINE_ROOTS_MAX - 1]; /* of the other roots: large bodies come from there */
    unsigned other_count;
    Clock *clock;
    uint32_t apply_delay_ms;   /* how long the applier gathers before a batch */
    void (*looked)(void *ctx); /* after a look at the free space, on whatever thread */
    void *looked_ctx;
    Queue *logged;   /* LogItems that come back: room for 2 * ENGINE_LOG_MAX */
    Queue *fetched;  /* FetchJobs that come back */
    Queue *seeded;   /* SeedJobs that come back; with reads */
    Wake *core_wake; /* the core has something to look at */
} StorageRootOptions;

/* Starts the threads. ERR_SYSTEM. */
MUST_USE ErrCode storage_root_open(const StorageRootOptions *options, StorageRoot **out, Err *err);

/* --- core --- */
/* To the writer with the next storage_root_flush(), or earlier if there are many. */
void storage_root_log(StorageRoot *root, LogItem *item);
/* Gives the writer what was gathered, at once, so that it becomes one batch. */
void storage_root_flush(StorageRoot *root);
/* There are committed records. */
void storage_root_committed(StorageRoot *root);
void storage_root_fetch(StorageRoot *root, FetchJob *job);
/* One at a time. */
void storage_root_seed(StorageRoot *root, SeedJob *job);
/* The oldest write that waits for its sync, and how long syncs took of late. */
EngineHealth storage_root_health(StorageRoot *root);
/* When a batch of the log was last written and synced, by the clock; 0: never. */
uint64_t storage_root_synced_ns(const StorageRoot *root);
/* Packs, index or a body failed: nothing more may be written here. */
bool storage_root_refuses(const StorageRoot *root);
/* spared: enough others are in sync, and have room; left: this root is not. While it has no room a
 * spared one is left rather than touch its reserve for large bodies (node/owed.h). */
void storage_root_set_spared(StorageRoot *root, bool spared, bool left);
/* Says once in the log that this root takes no more writes. */
void storage_root_tell_failed(StorageRoot *root);

/* --- any thread --- */
Store *storage_root_store(const StorageRoot *root);
/* Free space is below the reserve, or the log has no room. */
const _Atomic bool *storage_root_full(const StorageRoot *root);
/* Bytes that uploads may take before the reserve begins; UINT64_MAX: not known yet. */
uint64_t storage_root_room(const StorageRoot *root);
/* Measures the free space anew. */
void storage_root_look_at_space(StorageRoot *root);
/* A body could not be synced: the root takes no more writes. Logged once. */
void storage_root_fail(StorageRoot *root, const Err *err);
/* The first reason why it failed; code OK: there is none. */
void storage_root_cause(StorageRoot *root, Err *out);
/* Before it is said to have failed. */
void storage_root_set_cause(StorageRoot *root, const Err *err);
/* An administrator left it out, or took it back (the core's); a cause of its own stays. */
void storage_root_evict(StorageRoot *root);
void storage_root_add(StorageRoot *root);
/* Is it out for that only? */
bool storage_root_is_evicted(StorageRoot *root);
/* Runs fn(ctx) on the applier's thread between its batches and waits for its end. False: the
 * applier is stopping, fn was not and will not be called. One thread at a time, and it must be
 * joined before storage_root_stop(). */
bool storage_root_run_on_applier(StorageRoot *root, void (*fn)(void *ctx), void *ctx);

/* --- the end, one thread --- */
/* The log gives up what waits for room (ERR_OUTCOME_UNKNOWN). */
void storage_root_give_up(StorageRoot *root);
/* The core has ended: writes what was handed over, ends the threads. Always OK. */
ErrCode storage_root_stop(StorageRoot *root, Err *err);
/* Behind storage_root_stop(): applies everything, leaves nothing to replay. Readers are closed. */
MUST_USE ErrCode storage_root_close(StorageRoot *root, Err *err);
void storage_root_free(StorageRoot *root); /* NULL is fine */

AUTO_DEFINE(StorageRoot, storage_root_free);

#endif
