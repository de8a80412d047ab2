/* Engine: the core. It owns the replicas of this process, gives every change its lsn at one place,
 * decides preconditions there against committed plus pending state, carries out the replicas'
 * effects and answers when they commit. All its functions belong to one thread (the core loop, or
 * the simulator's only one); what it wants of other threads it says through EngineIo.
 *
 *   engine_submit(mutation) -> decide -> seal entry -> replica: APPEND -> io.log(item)
 *   WAL writer: store_log_append() … store_log_sync() -> (core) engine_logged(item)
 *   replica: STORED -> commit -> store_committed(), mutation->done()
 *
 * Locks: none. It waits for nobody; what cannot go on now stands in its lists, all bounded. */
#ifndef HOLDFAST_SERVICE_ENGINE_H
#define HOLDFAST_SERVICE_ENGINE_H

#include "control/control.h"
#include "replica/replica.h"
#include "service/buckets.h"
#include "service/mutation.h"
#include "store/store.h"

typedef struct Engine Engine;

/* One thing for the WAL writer: a record, or a replica's promise. The writer appends it, syncs its
 * batch, sets code, and hands it back. Freed by engine_logged(). */
typedef struct LogItem LogItem;
struct LogItem {
    Record *record; /* NULL: state */
    ReplicaState state;
    ErrCode code;  /* the writer's answer */
    LogItem *next; /* whoever holds it */
};

typedef struct {
    void *ctx;
    /* Hands item to the WAL writer. Room is sure: at most engine_log_max() are under way. */
    void (*log)(void *ctx, LogItem *item);
    /* Records were committed: the applier has work. */
    void (*committed)(void *ctx);
} EngineIo;

typedef struct {
    Store *store;     /* not owned */
    Control *control; /* not owned */
    Buckets *buckets; /* not owned; filled by the engine */
    Clock *clock;
    uint64_t seed;           /* of file ids and bucket uids: from the system, or the simulator's */
    PlacementClass standard; /* class of new buckets */
    size_t backlog_max;      /* un-applied records at which writers wait; 0: STORE_BACKLOG_MAX */
    uint64_t backlog_bytes_max; /* the same for their bytes; 0: STORE_BACKLOG_BYTES_MAX */
    EngineIo io;
} EngineOptions;

#define ENGINE_LOG_MAX 65536 /* items at the WAL writer at once */

MUST_USE ErrCode engine_open(const EngineOptions *options, Engine **out, Err *err);
void engine_free(Engine *engine); /* answers nobody; NULL is fine */
/* Makes missing shards, takes the primary role for each (a new term, fenced), replays. Afterwards
 * log items flow; engine_ready() tells when all shards are primary and the first bucket exists. */
MUST_USE ErrCode engine_start(Engine *engine, Err *err);
bool engine_ready(const Engine *engine);

/* Takes mutation and what is chained to it by also; done() may be called before this returns. */
void engine_submit(Engine *engine, Mutation *mutation);
/* item comes back from the WAL writer; several of one batch one after the other. */
void engine_logged(Engine *engine, LogItem *item);
/* Call after a run of engine_logged() and now and then: commits, answers, lets waiting ones on. */
void engine_turn(Engine *engine);
/* From now on mutations with a body are refused with ERR_NO_SPACE (or taken again). */
void engine_set_full(Engine *engine, bool full);
/* The applier failed: from now on every mutation is refused with ERR_ROOT_FAILED; what is under way
 * still ends as the log says. */
void engine_refuse_writes(Engine *engine);
/* From now on every mutation is refused with ERR_SHUTTING_DOWN. */
void engine_drain(Engine *engine);
/* Mutations taken and not yet answered. */
size_t engine_in_flight(const Engine *engine);
/* Nothing is under way: no mutation, and nothing at the WAL writer. */
bool engine_idle(const Engine *engine);

typedef struct {
    ShardId shard;
    ReplicaRole role;
    Term term;
    Lsn last_lsn;
    Lsn durable_lsn;
    Lsn commit_lsn;
} EngineShardStatus;
/* Shards in rising order, at most max; returns how many there are. */
size_t engine_shards(const Engine *engine, EngineShardStatus *out, size_t max);
bool engine_failed(const Engine *engine); /* the log or the applier failed: no more writes */

AUTO_DEFINE(Engine, engine_free);

#endif
