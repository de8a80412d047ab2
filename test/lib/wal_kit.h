/* What the tests of wal share: a log of made-up entries and a model of what it must keep. One
 * thread. Entries are chained; their bodies follow from (shard, term, lsn, seed). */
#ifndef HOLDFAST_TEST_LIB_WAL_KIT_H
#define HOLDFAST_TEST_LIB_WAL_KIT_H

#include "wal/wal.h"

#define KIT_SHARDS 4 /* shards 0..3 have promises in the model */

/* An entry that replay gave or that was appended. */
typedef struct {
    WalPos pos;
    size_t len;    /* bytes */
    Sha256 digest; /* of them */
    ShardId shard;
    Lsn lsn;
} KitRecord;

typedef struct {
    KitRecord *items;
    size_t count;
    size_t capacity;
} KitRecords;

/* What the log must hold. */
typedef struct {
    KitRecords records;    /* entries appended, in order, cut ones too */
    size_t acked;          /* of them acknowledged: a sync returned OK */
    uint64_t cut_asked;    /* entries in segments below may be gone */
    uint64_t cut_done;     /* entries in segments below are gone */
    Term term[KIT_SHARDS]; /* voted in, last */
    Term acked_term[KIT_SHARDS];
} KitModel;

/* A Wal with its options and its model. */
typedef struct {
    Disk *disk;
    ManualClock clock;
    Rng rng;
    WalOptions options;
    Wal *wal;
    WalOpened opened;
    KitRecords replayed; /* entries, by the last open */
    KitModel model;
    uint64_t seed;
} Kit;

/* disk stays the caller's. Segments of 64 KiB, no spares, incarnation 0: each open raises it. */
void kit_init(Kit *kit, Disk *disk, uint64_t seed);
/* Frees the Wal as a kill would. */
void kit_deinit(Kit *kit);
/* Frees the Wal, if any, and opens the log of kit->disk with the next incarnation. */
MUST_USE ErrCode kit_open(Kit *kit, Err *err);
/* Appends the next entry of shard with len bytes of body; above INLINE_MAX of extents, about. */
MUST_USE ErrCode kit_append(Kit *kit, ShardId shard, size_t len, Err *err);
/* Appends a vote of shard (< KIT_SHARDS) in its next term. */
MUST_USE ErrCode kit_vote(Kit *kit, ShardId shard, Err *err);
/* The calls of the same names, told to the model. */
MUST_USE ErrCode kit_sync(Kit *kit, Err *err);
MUST_USE ErrCode kit_attest(Kit *kit, Err *err);
MUST_USE ErrCode kit_rotate(Kit *kit, Err *err);
MUST_USE ErrCode kit_cut(Kit *kit, uint64_t keep_from, Err *err);

/* Does what kit's last open gave agree with model (of this Kit, or of one whose disk has crashed)?
 * Everything acknowledged and not cut is there, byte for byte; what else is there was appended
 * next, in order, without a gap; promises and tails are the ones of that place. NULL, or what is
 * wrong. */
const char *kit_verify(Kit *kit, const KitModel *model);
/* After kit_verify() was content: the model is what is there, all of it acknowledged. */
void kit_settle(Kit *kit);

#endif
