/* The node's threads around its storage roots, apart from the doors' loops: the core, which owns
 * the Engine (mutations in, log items back, answers out), and those of each root (storage_root.h).
 *
 * They share queues (mutations, log items, reads of the log), flags to wake one another, and
 * nothing else. Started and stopped by one thread (main). */
#ifndef HOLDFAST_NODE_WORKERS_H
#define HOLDFAST_NODE_WORKERS_H

#include "node/storage_root.h"

typedef struct Workers Workers;

typedef struct {
    Store *stores[ENGINE_ROOTS_MAX];    /* of each root */
    const char *dirs[ENGINE_ROOTS_MAX]; /* not owned; for messages */
    uint64_t devices[ENGINE_ROOTS_MAX]; /* which disk each is on: equal ones are one */
    unsigned root_count;
    unsigned roots_max; /* that a server may be given */
    unsigned copies;    /* directories that were given, some of which may be left out */
    Control *control;
    Buckets *buckets;
    Keys *keys;
    Classes *classes;
    Clock *clock;
    uint64_t seed;
    PlacementClass standard;
    size_t queue_max;   /* mutations that wait for the core; beyond: ERR_BUSY */
    size_t backlog_max; /* as EngineOptions says, like the next ones */
    EngineLag async_lag;
    uint64_t backlog_bytes_max;
    uint32_t apply_delay_ms; /* how long the applier gathers before a batch */
} WorkersOptions;

/* Opens the engine and starts the threads; it takes its shards in the background. */
MUST_USE ErrCode workers_open(const WorkersOptions *options, Workers **out, Err *err);
/* Any thread; fits ServiceOptions.submit. */
ErrCode workers_submit(void *workers, Mutation *mutation);
/* Become true, and stay so. */
const _Atomic bool *workers_ready(const Workers *workers);
const _Atomic bool *workers_full(const Workers *workers); /* changes with the free space */
/* Bytes that uploads may take before the reserve of a root that must take them begins; changes with
 * the free space. */
const _Atomic uint64_t *workers_room(const Workers *workers);
/* Bit r: root r has no room, and enough others have: large bodies do not go there. */
const _Atomic unsigned *workers_spared(const Workers *workers);
/* Measures the free space anew; it is measured now and then anyway. Any thread. */
void workers_look_at_space(void *workers);
/* How each placement class is kept now, CLASSES_MAX of them. Any thread. */
const ClassState *workers_states(const Workers *workers);
/* A body could not be synced there: no more writes to that root. Any thread. */
void workers_fail_root(void *workers, unsigned root, const Err *err);
/* How safe what is committed is now of a class. Any thread. */
Durability workers_durability(Workers *workers, unsigned class);
StorageRoot *workers_root(const Workers *workers, unsigned root);
/* No more writes: the only root failed, or too many of them. */
bool workers_failed(const Workers *workers);
/* Why it, or one of its roots, failed; code OK: it has not. Any thread. */
void workers_cause(Workers *workers, Err *out);
/* Shards as of a moment ago; see engine_shards(). Any thread. */
size_t workers_shards(Workers *workers, EngineShardStatus *out, size_t max);

/* A root as of a moment ago. */
typedef struct {
    bool leads;
    bool in_sync; /* on all shards */
    bool out;     /* failed, or left out by an administrator */
    bool evicted; /* the latter */
    bool full;
    Err cause;            /* why it is out */
    uint64_t lag_entries; /* that the lead has and that are not synced here, of all shards … */
    uint64_t lag_bytes;   /* … if lag_known */
    bool lag_known;
    uint64_t lag_ms;      /* how old the oldest of them is, or since when it is not in sync */
    uint64_t sync_age_ms; /* of the write that waits for its sync; 0: there is none */
    uint64_t sync_p99_ms;
    uint64_t synced_ms; /* ago: the last sync of the log; UINT64_MAX: none since the start */
} WorkersRoot;
void workers_root_status(Workers *workers, unsigned root, WorkersRoot *out);
/* Copies in sync that a change needs; lead moves since the start; in-sync sets that shrank or grew;
 * what was acknowledged of asynchronous writes. */
typedef struct {
    unsigned needed;
    unsigned in_sync;
    uint64_t lead_moves;
    uint64_t sync_changes;
    EngineAsync async;
} WorkersCopies;
void workers_copies(Workers *workers, WorkersCopies *out);
/* With several roots: of changes that were acknowledged before they were committed, and are now, a
 * Told each (service/confirm.h), of whoever pops it. Any thread. */
Queue *workers_told(Workers *workers);
/* How many there were for which that had no room, since the last call. */
uint64_t workers_told_missed(Workers *workers);
/* Why no more changes are taken, in a form for clients: how many copies are needed and left, and
 * what became of each other. Code OK: they are taken. */
void workers_why_failed(void *workers, Err *out);

typedef enum { WORKERS_HAND_OVER, WORKERS_EVICT, WORKERS_ADD } WorkersAction;
/* Has the core do it, and waits until that is done or given up; not on a loop. Errors as
 * engine_hand_over(), engine_evict() and engine_add(); ERR_BUSY also: another one is under way, or
 * the lead did not come to rest in time; ERR_SHUTTING_DOWN. */
MUST_USE ErrCode workers_act(Workers *workers, WorkersAction action, unsigned root, Err *err);
/* Mutations taken and not answered, as of a moment ago. */
size_t workers_in_flight(const Workers *workers);

/* The time to stop is over: what waits for room on the disk is answered, and the log gives up what
 * it could not write (ERR_OUTCOME_UNKNOWN). Before the doors are closed. */
void workers_give_up(Workers *workers);
/* Clean stop: refuses new mutations, answers what is under way, applies everything, leaves nothing
 * to replay. The doors' readers must be closed. Then workers_free(). */
MUST_USE ErrCode workers_close(Workers *workers, Err *err);
/* A thread of root did not end, since its disk stands still: what it uses can't be freed. */
bool workers_stuck(const Workers *workers, unsigned root);
/* The same of a thread that is not one of these; before workers_close(). */
void workers_set_stuck(Workers *workers, unsigned root);
void workers_free(Workers *workers); /* NULL is fine; frees little if a root is stuck */

AUTO_DEFINE(Workers, workers_free);

#endif
