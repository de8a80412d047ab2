/* What the files of src/wal share; nobody else includes it.
 *   wal.c          open and close, appending
 *   wal_write.c    the batch: frames, padding, one write, one sync; attestation
 *   wal_segment.c  spares, rotation, cutting
 *   wal_tail.c     its end at start: torn, or not attested
 *   wal_ahead.c    closed segments verified by several threads before they are replayed
 *   wal_scan.c     the log as found at start: verification, attestation, torn tails
 *   wal_read.c     the table of segments, reading by position, stats
 *   wal_verify.c   closed segments, read again for scrub
 *   wal_state.c    what each CHECKPOINT says of every shard */
#ifndef HOLDFAST_WAL_WAL_PRIV_H
#define HOLDFAST_WAL_WAL_PRIV_H

#include "base/buf.h"
#include "base/lock.h"
#include "wal/wal.h"
#include <stdatomic.h>

#define WAL_ACTIVE "wal.active"
#define WAL_SPARE_PREFIX "wal.spare."
#define WAL_SEGMENTS "wal.segments"
#define WAL_QUARANTINE "quarantine"
#define WAL_SPARES_MAX 64
/* Closed segments whose descriptors are kept for reading. */
#define WAL_OPEN_FILES_MAX 64
/* Payload bytes of the largest CHECKPOINT: SHARD_COUNT_MAX states of at most 1 KiB. */
#define WAL_CHECKPOINT_MAX (64 * MIB)

/* An open segment, shared by the table and by readers at work; refs under Wal.lock. */
typedef struct {
    File *file;
    unsigned refs;
} WalFile;

typedef struct {
    uint64_t id;
    Uuid uuid;
    uint64_t size;    /* bytes of the file */
    uint64_t end;     /* of its frames, as the next header says; 0: there is no next */
    bool active;      /* its name is WAL_ACTIVE */
    WalFile *file;    /* NULL: not open */
    uint64_t used_at; /* Wal.ticks at its last read */
} WalSegment;

/* One shard's state; state.config points to config, which is owned (NULL if empty). */
typedef struct {
    ReplicaState state;
    char *config; /* what state.config and state.before view */
    char *before;
} WalShard;

/* Rising shard order. */
typedef struct {
    WalShard *items;
    size_t count;
    size_t capacity;
} WalShards;

/* Records that wait for the next sync. They will stand at `start` of the active segment. */
typedef struct {
    void *memory;
    uint8_t *data; /* in memory, aligned to WAL_BLOCK */
    size_t len;
    size_t capacity;
    uint64_t start;
    uint64_t records; /* entries, truncations, states: what needs attestation */
} WalBatch;

struct Wal {
    Disk *disk;
    WalOptions options;
    _Atomic bool failed;

    Lock lock;            /* guards the fields up to the next blank line */
    WalSegment *segments; /* rising ids; the last is active, once opened */
    size_t segment_count;
    size_t segment_capacity;
    unsigned open_files; /* of closed segments */
    uint64_t ticks;
    uint64_t spares[WAL_SPARES_MAX + 1]; /* numbers; each is segment_size bytes; 1: given back */
    unsigned spare_count;
    uint64_t next_spare;
    bool maintaining; /* wal_cut() or wal_prepare_spare() is at work */
    WalShards shards;
    WalPos durable;
    WalPos attested;
    uint64_t appended;
    uint64_t syncs;

    /* the writer's own */
    SegmentHeader header; /* of the newest segment; id 0: there is none */
    bool has_active;      /* that segment's name is WAL_ACTIVE */
    File *file;           /* the active segment; a view, segments' last entry holds it */
    WalBatch batch;
    bool needs_attest;
};

/* wal_state.c; callers hold Wal.lock or are alone. */
const ReplicaState *wal_shards_find(const WalShards *shards, ShardId shard);
void wal_shards_free(WalShards *shards);
void wal_shards_entry(WalShards *shards, const Entry *entry);
void wal_shards_promise(WalShards *shards, const ReplicaState *promise);
void wal_shards_truncate(WalShards *shards, const Truncate *truncate);
void wal_shards_reset(WalShards *shards, const ReplicaState *base);
void wal_shards_note(WalShards *shards, ShardId shard, Lsn commit_lsn, Lsn applied_lsn);
/* Takes every state of a CHECKPOINT's payload over. */
MUST_USE ErrCode wal_shards_load(WalShards *shards, Str payload, Err *err);
/* Appends a CHECKPOINT's payload to out. */
MUST_USE ErrCode wal_shards_save(const WalShards *shards, Buf *out, Err *err);

/* wal_write.c */
/* Adds one record whose payload is a and b joined; *pos (may be NULL) is where its frame stands. */
MUST_USE ErrCode wal_batch_add(Wal *wal, FrameKind kind, Str a, Str b, WalPos *pos, Err *err);
/* Writes and syncs the batch. */
MUST_USE ErrCode wal_flush(Wal *wal, Err *err);
/* Appends to out (whose length is the offset in its segment) the PAD frame or zeros up to the next
 * block. */
MUST_USE ErrCode wal_pad(Buf *out, const Frame *like, Err *err);
/* Marks the Wal failed, wraps err and is its code. */
ErrCode wal_fail(Wal *wal, Err *err, ErrCode code, const char *what);
MUST_USE ErrCode wal_check_usable(const Wal *wal, Err *err);
void wal_metrics_register(void);

/* wal_segment.c */
/* Begins the segment after wal->header with a CHECKPOINT and room for a record of need bytes with
 * its frame; the one before ends at wal->batch.start. The batch is empty. */
MUST_USE ErrCode wal_segment_begin(Wal *wal, size_t need, Err *err);
/* Keeps the spares found at start that fit, unlinks the others. */
MUST_USE ErrCode wal_spares_adopt(Wal *wal, Err *err);
/* Number of a spare of size bytes that is durable: a ready one, or made now. Whoever takes it uses
 * it up. */
MUST_USE ErrCode wal_spare_take(Wal *wal, uint64_t size, uint64_t *number, Err *err);
void wal_spare_path(uint64_t number, char out[DISK_PATH_MAX]);
/* Path of a closed segment. */
void wal_segment_path(uint64_t id, char out[DISK_PATH_MAX]);
/* "segment_7.wal" -> 7; 0 for any other name. */
uint64_t wal_segment_id(const char *name);

/* wal_scan.c */
/* What the scan found beyond what Wal and WalOpened hold. */
typedef struct {
    char last_path[DISK_PATH_MAX]; /* of the newest segment; "" without any */
    WalPos attested; /* everything before was synced: the highest place that a frame says */
    bool duplicate;  /* WAL_ACTIVE is a second name of the newest closed segment */
} WalScanned;
/* Reads and verifies all, replays, fills segments, shards, header, batch.start. Changes nothing. */
MUST_USE ErrCode wal_scan(Wal *wal, WalReplayFn fn, void *ctx, WalOpened *opened,
                          WalScanned *scanned, Err *err);

/* wal_tail.c; after wal_scan(). */
/* Copies a torn tail to quarantine/. The same copy from an open that did not come to its end is as
 * good. */
MUST_USE ErrCode wal_tail_quarantine(Wal *wal, const WalScanned *scanned, const WalOpened *opened,
                                     Err *err);
/* What was read counts when this is done: everything up to opened->end is durable. */
MUST_USE ErrCode wal_tail_make_durable(Wal *wal, const WalScanned *scanned, const WalOpened *opened,
                                       Err *err);

/* wal_ahead.c */
/* A closed segment, to be verified from its header up to limit. */
typedef struct {
    char path[DISK_PATH_MAX];
    SegmentHeader header;
    uint64_t limit;
} WalAheadSegment;
typedef struct {
    Frame frame;
    Str payload; /* an entry's is verified with its body */
    uint64_t offset;
    uint64_t next; /* where it ends */
} WalAheadFrame;
typedef struct WalAhead WalAhead;
/* Begins to verify the segments (copied) with so many threads, the caller's included. NULL: not
 * worth it (one thread, few or large segments). */
WalAhead *wal_ahead_new(Disk *disk, const WalAheadSegment *segments, size_t count,
                        unsigned threads);
/* Segment `at`, counted from 0, each asked for once in rising order: all frames in it, until the
 * next call. False: something in it is not sound or could not be read; what, is not told. */
bool wal_ahead_get(WalAhead *ahead, size_t at, const WalAheadFrame **frames, size_t *count);
/* Ends the threads. NULL is fine. */
void wal_ahead_free(WalAhead *ahead);
AUTO_DEFINE(WalAhead, wal_ahead_free);

/* wal_read.c */
void wal_segments_metric_register(void);
/* Adds a segment behind the last; file (or NULL) is owned by the table from then on. */
void wal_table_push(Wal *wal, const SegmentHeader *header, bool active, File *file);
/* The newest segment's name is no longer WAL_ACTIVE. */
void wal_table_close_active(Wal *wal);
/* Forgets the oldest segment if it is closed and below keep_from. */
bool wal_table_pop(Wal *wal, uint64_t keep_from, WalSegment *out);
void wal_table_free(Wal *wal);

#endif
