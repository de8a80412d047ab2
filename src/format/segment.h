/* Segment header: the first block (4096 bytes) of a WAL segment, written and synced before the
 * first batch. Binds the file to its root and to the segment before, with that one's exact end:
 * what stands beyond the end in a recycled or torn file is never read. Pure. */
#ifndef HOLDFAST_FORMAT_SEGMENT_H
#define HOLDFAST_FORMAT_SEGMENT_H

#include "base/hash.h"
#include "format/frame.h"

#define SEGMENT_MAGIC 0x3157474553464c48ULL /* "HLFSEGW1" */
#define SEGMENT_FORMAT 1
#define SEGMENT_HEADER_LEN WAL_BLOCK
#define SEGMENT_SIZE_MIN (64 * KIB)
#define SEGMENT_SIZE_MAX (1 * GIB)

typedef struct {
    Uuid root;
    uint64_t incarnation;   /* of the root, when this was opened */
    Uuid uuid;              /* this segment's; new each time the file is used again */
    uint64_t id;            /* 1, 2, 3 … ; 0 in a spare that waits */
    uint64_t capacity;      /* bytes the file may hold */
    uint32_t feature_level; /* of the cluster: an unknown one is refused */
    Uuid prev_uuid;         /* zero for the first */
    uint64_t prev_end;      /* offset behind the last valid batch of segment id-1 */
    uint64_t time_ms;
} SegmentHeader;

#define FEATURE_LEVEL 1 /* the highest this binary understands */

void segment_header_encode(const SegmentHeader *header, uint8_t out[SEGMENT_HEADER_LEN]);
/* Errors: ERR_CORRUPT; ERR_FORMAT_VERSION for a newer format or feature level. */
MUST_USE ErrCode segment_header_decode(Str data, SegmentHeader *out, Err *err);

/* What a replica must not forget, per shard: in every CHECKPOINT and in STATE records. Encoded
 * with its own length so that later fields can follow. */
typedef struct {
    ShardId shard;
    Term max_term;  /* highest term seen */
    Uuid voted_for; /* root uuid; zero: none, in max_term */
    Lsn last_lsn;   /* tail of the log */
    Term last_term;
    Sha256 last_hash;
    Lsn commit_lsn;  /* known commit */
    Lsn applied_lsn; /* index complete *and synced* up to here */
    Lsn config_lsn;  /* entry of the last CONFIG seen; 0: none */
    Str config;      /* its encoding (format/config_entry.h), a view */
    Lsn before_lsn;  /* entry of the CONFIG before that, which counts too as long as the last is not
                        known to be committed, and again if it is cut; 0: none */
    Str before;      /* its encoding, a view */
    bool incomplete; /* a snapshot was begun, behind which the log goes on, and is not whole: what
                        is stored of the shard may be anything */
} ReplicaState;

void replica_state_encode(const ReplicaState *state, Enc *enc);
bool replica_state_decode(Dec *dec, ReplicaState *out);
/* CHECKPOINT payload: varint count, then that many states in rising shard order. */
typedef struct {
    Dec dec;
    uint64_t left;      /* states still to read */
    uint32_t shard_min; /* the next one's shard is this or higher */
} CheckpointReader;
/* Bytes of its encoding. */
size_t replica_state_len(const ReplicaState *state);
MUST_USE ErrCode checkpoint_open(Str payload, CheckpointReader *out, Err *err);
/* *found false at the end, *out then untouched. ERR_CORRUPT. */
MUST_USE ErrCode checkpoint_next(CheckpointReader *reader, ReplicaState *out, bool *found,
                                 Err *err);

#endif
