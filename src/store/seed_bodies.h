/* Seed bodies: the large bodies of a batch of a seed, copied from one root to another by several
 * threads at once, since what a body of some hundred kilobytes waits for is its syncs. None of them
 * is named before all are durable: seed_bodies_wait() stands before the batch's commit.
 *
 *   start --add*--> copies under way --wait--> none --add*--> … stop
 *
 * Belongs to the thread of the Seed. */
#ifndef HOLDFAST_STORE_SEED_BODIES_H
#define HOLDFAST_STORE_SEED_BODIES_H

#include "blob/blobs.h"
#include "format/entry.h"

#define SEED_THREADS_MAX 8

typedef struct SeedBodies SeedBodies;

/* Both Blobs must outlive it. threads: 0 to SEED_THREADS_MAX; 0: the caller copies itself. */
SeedBodies *seed_bodies_new(Blobs *from, Blobs *to, unsigned threads);
/* Starts the threads; once. ERR_SYSTEM. */
MUST_USE ErrCode seed_bodies_start(SeedBodies *bodies, Err *err);
/* Begins to copy an extent, verified by its CRCs, size and digest, unless it is there; extent and
 * info are copied. May wait for those before it. Errors: of this one, or of one before it, as
 * blob_writer_finish(); ERR_CORRUPT, ERR_NOT_FOUND, ERR_IO of the source. Then
 * seed_bodies_wait() is still to be called. */
MUST_USE ErrCode seed_bodies_add(SeedBodies *bodies, const Extent *extent, const BlobInfo *info,
                                 Err *err);
/* Waits until none is under way. OK: all that were added since the last time are durable. Else the
 * first error. */
MUST_USE ErrCode seed_bodies_wait(SeedBodies *bodies, Err *err);
/* Ends the threads, which rest: none is under way. */
void seed_bodies_stop(SeedBodies *bodies);
void seed_bodies_free(SeedBodies *bodies); /* with a stop; NULL is fine */

AUTO_DEFINE(SeedBodies, seed_bodies_free);

#endif
