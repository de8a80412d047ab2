/* Compaction: packs that are mostly dead are rewritten. What is still needed goes to the pack being
 * written, then the old one is unlinked.
 *
 *   choose -> survey (read it all, ask the index) -> needed? (tombstones) -> copy, step by step
 *          -> retire (row 'o') -> checkpoint of the index -> unlinked
 *
 * Two threads. The background thread owns the Compactor: it reads packs past the page cache and
 * looks records up through its own IndexReader. The applier, which owns packs and index, carries
 * out the steps that it is handed (store_compact()), each at most about 1 MiB or 256 records, so
 * that changes wait for some milliseconds at most. In one thread the two are called in turn.
 *
 * What is kept:
 *   a body            while its row stands at exactly this place
 *   a write without   while its version has a row; a delete marker, too
 *   META              while the version that it changes has a row
 *   a tombstone       while a pack with a lower number may hold a record of that name, or, where
 *                     its pack is known to hold few of them, anyway
 *   a request's row   while the index has it: of a record that is needed no longer a NOOP is
 *                     kept, with what the row is made of and without the name
 *   CONFIG, START, …  always
 * Only packs with lower numbers count for a tombstone: entries of a shard are applied in order, so
 * what it ends was written before it; a later pack holds an older record only of an index that a
 * crash lost, and then the log has the tombstone too and it is applied again, behind that record.
 * The log is cut from its beginning, so where it still holds an older entry it holds the DELETE.
 * A write or marker that has no row any more is never a tombstone: whatever ends it ends all that
 * it had ended (entry_ends()). Versions count by the packs that hold them. Which names a pack holds
 * is kept in the index (rows 'f'; hashes, so at worst a tombstone stays); a pack without them may
 * hold any.
 *
 * Crashes: records are synced in the new pack before rows move; rows move only if they still say
 * the old place; the old pack is unlinked behind the checkpoint of the index that made that
 * durable, and its row 'o' goes behind the sync of the directory. At every point either place is
 * whole. Readers that found the old place get ERR_NOT_FOUND and look again, as for records that
 * left the log, so no reader has to be waited for. */
#ifndef HOLDFAST_STORE_COMPACT_H
#define HOLDFAST_STORE_COMPACT_H

#include "store/store.h"

typedef struct Compactor Compactor;
typedef struct CompactStep CompactStep;

typedef struct {
    unsigned dead_percent;  /* of a pack's record bytes at which it is rewritten, 1..100; 0: 50 */
    uint64_t look_again_ms; /* a pack that was read in vain is left alone so long; 0: a day */
    uint64_t look_first_ms; /* so long after opening, packs are first read of which only that tells
                               whether it is worth it; 0: at once */
} CompactOptions;

/* What a turn ended with. */
typedef enum {
    COMPACT_NOTHING = 1, /* to do now: try again in a second or so */
    COMPACT_MORE,        /* call again */
    COMPACT_STEP         /* hand compactor_step() to the applier, then compactor_done() */
} CompactTurn;

/* The store must outlive it. One thread; frees memory and keeps no reader while it has nothing to
 * do. */
MUST_USE ErrCode compactor_open(Store *store, const CompactOptions *options, Compactor **out,
                                Err *err);
void compactor_free(Compactor *compactor); /* NULL is fine; what was begun is begun again later */
/* Works a little: reads about `bytes` of packs, or makes a step ready. free_bytes: of the disk; a
 * pack is begun only if what is kept of it fits. *read: bytes that were read or are to be written.
 * Damage in a pack is noted in Risk and leaves that pack alone. Errors: of the index and the disk;
 * the pack in hand is given up and may be tried again. */
MUST_USE ErrCode compactor_work(Compactor *compactor, uint64_t bytes, uint64_t free_bytes,
                                CompactTurn *turn, uint64_t *read, Err *err);
CompactStep *compactor_step(Compactor *compactor);
/* The step was carried out, or code says why not. */
void compactor_done(Compactor *compactor, ErrCode code);

/* The applier's part of step, between batches. ERR_NO_SPACE, ERR_SYSTEM, ERR_NO_MEMORY: nothing
 * changed. Any other error: as of store_apply(). */
MUST_USE ErrCode store_compact(Store *store, CompactStep *step, Err *err);

/* Totals since the process began and the pack in hand (0: none); any thread. */
typedef struct {
    uint64_t pack;
    uint64_t packs_retired;
    uint64_t bytes_freed; /* of packs that were unlinked */
    uint64_t bytes_moved;
    uint64_t tombstones_dropped;
} CompactStatus;
void store_compact_status(Store *store, CompactStatus *out);

AUTO_DEFINE(Compactor, compactor_free);

#endif
