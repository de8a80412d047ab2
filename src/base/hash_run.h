/* HashRun: a SHA-256 that can be put away in the middle and taken up again, by another process too,
 * so that a body that comes over hours is hashed once. Belongs to one thread at a time. */
#ifndef HOLDFAST_BASE_HASH_RUN_H
#define HOLDFAST_BASE_HASH_RUN_H

#include "base/hash.h"

/* Bytes of a state: eight u32, the count of bytes u64, and those behind the last whole block. */
#define HASH_RUN_STATE_MAX (32 + 8 + 63)

typedef struct HashRun HashRun;

HashRun *hash_run_new(void);
void hash_run_free(HashRun *run); /* NULL is fine */
void hash_run_update(HashRun *run, const void *data, size_t len);
/* Of all bytes so far; the run goes on. */
void hash_run_digest(const HashRun *run, Sha256 *out);
/* Bytes so far. */
uint64_t hash_run_size(const HashRun *run);
/* Writes the state, which hash_run_load() takes; returns its length. */
size_t hash_run_save(const HashRun *run, uint8_t out[HASH_RUN_STATE_MAX]);
/* False, and the run is as before, if state is none. An empty state is that of no bytes. */
bool hash_run_load(HashRun *run, Str state);

AUTO_DEFINE(HashRun, hash_run_free);

#endif
