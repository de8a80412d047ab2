/* The node's threads around one store, apart from the doors' loops:
 *
 *   core     owns the Engine: mutations in, log items back, answers out
 *   writer   owns the log's appends: gathers what waits, one sync for all
 *   applier  owns packs and index batches: applies, checkpoints, cuts the log, looks at free space
 *
 * They share two queues (mutations and log items), three flags to wake one another, and nothing
 * else. Started and stopped by one thread (main). */
#ifndef HOLDFAST_NODE_WORKERS_H
#define HOLDFAST_NODE_WORKERS_H

#include "service/engine.h"

typedef struct Workers Workers;

typedef struct {
    Store *store;
    Control *control;
    Buckets *buckets;
    Clock *clock;
    uint64_t seed;
    PlacementClass standard;
    size_t queue_max;        /* mutations that wait for the core; beyond: ERR_BUSY */
    uint32_t apply_delay_ms; /* how long the applier gathers before a batch */
} WorkersOptions;

/* Opens the engine and starts the threads; it takes its shards in the background. */
MUST_USE ErrCode workers_open(const WorkersOptions *options, Workers **out, Err *err);
/* Any thread; fits ServiceOptions.submit. */
ErrCode workers_submit(void *workers, Mutation *mutation);
/* Become true, and stay so. */
const _Atomic bool *workers_ready(const Workers *workers);
const _Atomic bool *workers_full(const Workers *workers); /* changes with the free space */
/* Bytes that uploads may take before the reserve begins; changes with the free space. */
const _Atomic uint64_t *workers_room(const Workers *workers);
/* Measures the free space anew; it is measured now and then anyway. Any thread. */
void workers_look_at_space(void *workers);
bool workers_failed(const Workers *workers);
/* Why it failed; code OK: it has not. Any thread. */
void workers_cause(Workers *workers, Err *out);
/* Any thread: the root failed (a body's sync); no more writes. Logged once. */
void workers_fail(Workers *workers, const Err *err);
/* Shards as of a moment ago; see engine_shards(). Any thread. */
size_t workers_shards(Workers *workers, EngineShardStatus *out, size_t max);
/* Mutations taken and not answered, as of a moment ago. */
size_t workers_in_flight(const Workers *workers);
/* Runs fn(ctx) on the applier's thread between its batches and waits for its end. False: the
 * applier is stopping, fn was not and will not be called. One thread at a time, and it must be
 * joined before workers_close(). */
bool workers_run_on_applier(Workers *workers, void (*fn)(void *ctx), void *ctx);

/* Clean stop: refuses new mutations, answers what is under way, applies everything, leaves nothing
 * to replay. The doors' readers must be closed. Then workers_free(). */
MUST_USE ErrCode workers_close(Workers *workers, Err *err);
void workers_free(Workers *workers); /* NULL is fine */

AUTO_DEFINE(Workers, workers_free);

#endif
