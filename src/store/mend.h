/* Mending: what the list of damage (store/risk.h) names of one root is put right from other roots
 * that have the same version whole.
 *
 *   small body    its record is written anew, of its row and another root's body, to the pack being
 *                 written, synced, and the row moved if it still says the old place
 *   large body    each extent that can't be read is copied; the damaged file goes to quarantine/
 *   pack          what can be read of it is kept as compaction keeps it, what can't is written anew
 *                 as above; records without a body are made of their rows. Then the pack is retired
 *   index.db, log left alone: an index is made again, or the root seeded anew
 *
 * A body is taken only if it has the SHA-256 that the root's own row says. What was put right is
 * read back from the disk, past the page cache, and only then taken off the list.
 *
 * Of a damaged pack only tombstones in the damaged bytes are lost. They tell nobody anything unless
 * the index is made again from packs alone: then files that were deleted may come back there.
 *
 * Crashes: as compaction (store/compact.h). A record is synced in its new place before its row
 * moves, in one batch of the index; the old pack is unlinked behind a checkpoint. What was mended
 * may be as damaged as before after a loss of power before that, and is found again.
 *
 * One thread owns the Mender; packs and index are changed on the applier's, to which it hands steps
 * of at most about 1 MiB or 256 records. */
#ifndef HOLDFAST_STORE_MEND_H
#define HOLDFAST_STORE_MEND_H

#include "store/store.h"

#define MEND_SOURCES_MAX 2

typedef struct Mender Mender;

typedef struct {
    Store *sources[MEND_SOURCES_MAX]; /* other roots' stores, which outlive it */
    unsigned source_count;
    /* Runs fn(arg) on the applier's thread of the store and waits; false: it stops. */
    bool (*on_applier)(void *ctx, void (*fn)(void *arg), void *arg);
    /* So many bytes were read or written: rests as long as that is to take. False: it stops. */
    bool (*pace)(void *ctx, uint64_t bytes);
    /* A Comparer's: who keeps the files of a class, bit 0 the own root, bit 1 + i source i. NULL:
     * all of them. */
    unsigned (*holders)(void *ctx, unsigned class_number);
    void *ctx;
} MenderOptions;

/* Totals since the process began; any thread. */
typedef struct {
    uint64_t files; /* versions that were put right and read back */
    uint64_t packs; /* that were retired */
    uint64_t bytes; /* written for it */
    uint64_t
        helpless; /* of the last look: entries that no other root has whole, or no one can mend */
    uint64_t entry_ms; /* that a file took, on the average of the last ones; 0: none yet */
} MenderStatus;

/* The store must outlive it. */
Mender *mender_new(Store *store, const MenderOptions *options);
void mender_free(Mender *mender); /* NULL is fine */
/* Goes once through the list and mends what it can; *mended: entries that it put right. Errors: of
 * the index, the disk or for want of room, at which it ends; ERR_SHUTTING_DOWN. */
MUST_USE ErrCode mender_look(Mender *mender, size_t *mended, Err *err);
void mender_status(const Mender *mender, MenderStatus *out);

AUTO_DEFINE(Mender, mender_free);

#endif
