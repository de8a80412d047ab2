/* Seed: what one root has of some shards, put into another root that is behind the start of every
 * log, or new (REPLICATION.md 5, "fuzzy snapshot"; docs/decisions/0013).
 *
 *   store_reset(target) … seed_new() -> seed_step() until done -> EVENT_SNAPSHOT_STORED
 *
 * All of it is read in one snapshot of the source's index, so that it is what the source had
 * applied at one lsn of each shard: rows need not be compared with entries, and what buckets count,
 * requests and references of large bodies are those of that lsn. The target's rows are merged with
 * it: what both have alike stays, what only the target has goes, the rest comes with its body,
 * verified. So a seed that was cut off is gone on with by the next one.
 *
 * Belongs to the thread that applies to the target; of the source it reads only, beside all that go
 * on there: what it reads is not unlinked meanwhile, and the log of the source's index grows by
 * what changes. The target's rows of the shards are anything until it is done; no one may read
 * them. */
#ifndef HOLDFAST_STORE_SEED_H
#define HOLDFAST_STORE_SEED_H

#include "store/store.h"

typedef struct {
    ShardId shard;
    Lsn base; /* where the target's log begins anew: the source must have applied this much */
    Lsn lsn;  /* when it is done: what the source had applied, and the target has now */
} SeedShard;

typedef struct Seed Seed;
/* Of these shards (count, copied), which are incomplete in target. Both stores must outlive it. On
 * the core thread, after store_reset() of all of them. */
Seed *seed_new(Store *source, Store *target, const SeedShard *shards, size_t count);
/* A part of the work, some thousand rows or some megabytes: one transaction, behind one sync of the
 * packs. *done: all is in the target, durable, and seed_shard() tells up to where. Errors:
 * ERR_BUSY: the source has not applied as much as it must; ERR_NO_SPACE, ERR_SYSTEM, ERR_NO_MEMORY:
 * of the target or of the moment. Then, and after any other error, this seed is over, and another
 * may go on. After an error of the target's disk store_failed() is true of it. */
MUST_USE ErrCode seed_step(Seed *seed, bool *done, Err *err);
size_t seed_count(const Seed *seed);
const SeedShard *seed_shard(const Seed *seed, size_t i);
void seed_free(Seed *seed); /* NULL is fine */

AUTO_DEFINE(Seed, seed_free);

#endif
