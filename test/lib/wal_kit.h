/* What the tests of wal share: a log of made-up entries, and a record of what replay gave. One
 * thread. Entries are chained, their bodies follow from (shard, lsn, seed), so that replayed bytes
 * can be compared with what was appended without keeping it. */
#ifndef HOLDFAST_TEST_LIB_WAL_KIT_H
#define HOLDFAST_TEST_LIB_WAL_KIT_H

#include "wal/wal.h"

/* One record that replay gave or that was appended, by its digest. */
typedef struct {
    FrameKind kind;
    WalPos pos;
    size_t len;    /* payload bytes */
    Sha256 digest; /* of the payload */
} KitRecord;

typedef struct {
    KitRecord *items;
    size_t count;
    size_t capacity;
} KitRecords;

void kit_records_add(KitRecords *records, FrameKind kind, WalPos pos, Str payload);
void kit_records_clear(KitRecords *records);
void kit_records_deinit(KitRecords *records);
/* Is every record of part, in order, at the head of whole? Positions count too. */
bool kit_records_prefix(const KitRecords *part, const KitRecords *whole);

/* A Wal with its options, its chains and its records. */
typedef struct {
    Disk *disk;
    ManualClock clock;
    Rng rng;
    WalOptions options;
    Wal *wal;
    WalOpened opened;
    KitRecords replayed; /* by the last open, CHECKPOINTs left out */
    KitRecords appended; /* since the last open */
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
/* The same for a vote. */
MUST_USE ErrCode kit_append_vote(Kit *kit, ShardId shard, Term term, Err *err);

#endif
