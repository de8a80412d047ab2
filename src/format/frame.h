/* Frame: what stands before each record in a WAL segment; local to one root. All records of one
 * group commit are one batch: it begins at a multiple of 4096 and is padded to the next with a PAD
 * frame (or zeros where less than FRAME_LEN is left), so acknowledged bytes are never rewritten.
 *
 *   magic "HFR1" u32 | kind u16 | flags u16 | payload length u32 | crc32c u32
 *   segment uuid 16 | segment id u64 | position u64
 *   durable segment u64 | durable position u64            (64 bytes)
 *
 * position: the frame's own offset in its segment. durable: everything of this root's log before
 * (segment, position) was synced when this was written (attestation). crc32c covers the frame with
 * the field zero, and the payload. After the payload zeros up to a multiple of 8. Pure. */
#ifndef HOLDFAST_FORMAT_FRAME_H
#define HOLDFAST_FORMAT_FRAME_H

#include "base/hash.h"
#include "format/ids.h"

#define FRAME_MAGIC 0x31524648u
#define FRAME_LEN 64
#define WAL_BLOCK 4096 /* bytes: batches begin and end here */

typedef enum {
    FRAME_ENTRY = 1,      /* payload: an entry */
    FRAME_CHECKPOINT = 2, /* payload: format/segment.h; first record of each segment */
    FRAME_ATTEST = 3,     /* no payload: only says what is durable */
    FRAME_TRUNCATE = 4,   /* payload: Truncate below */
    FRAME_STATE = 5,      /* one shard's ReplicaState: a vote, a term, a CONFIG seen */
    FRAME_PAD = 6,        /* zeros up to the next block */
    FRAME_RESET = 7 /* one shard's ReplicaState: its log begins anew behind that, incomplete */
} FrameKind;
#define FRAME_KIND_MAX FRAME_RESET

/* A place in a root's log. Segments are numbered from 1 without gaps. */
typedef struct {
    uint64_t segment;
    uint64_t offset;
} WalPos;

typedef struct {
    FrameKind kind;
    uint32_t length; /* payload bytes */
    Uuid segment_uuid;
    WalPos pos;
    WalPos durable;
} Frame;

int wal_pos_cmp(WalPos a, WalPos b);
/* Frame and payload on disk, padded to 8. */
static inline size_t frame_total(size_t payload_len)
{
    return FRAME_LEN + ALIGN_UP(payload_len, (size_t)8);
}
/* Encodes the frame with its CRC over payload (frame->length bytes) into out[FRAME_LEN]. */
void frame_encode(const Frame *frame, Str payload, uint8_t out[FRAME_LEN]);
/* Reads and verifies the frame at the start of data, its payload and CRC; *payload is a view.
 * Errors: ERR_END if data begins with no frame (no magic); ERR_CORRUPT if it does but is cut off or
 * wrong; ERR_FORMAT_VERSION for an unknown kind or flag with a right CRC. */
MUST_USE ErrCode frame_decode(Str data, Frame *out, Str *payload, Err *err);

/* Payload of FRAME_TRUNCATE: entries of shard from lsn `from` (≥ 1) on are void; term and hash are
 * the term and checksum of the entry before, the new tail (zero for from 1). */
typedef struct {
    ShardId shard;
    Lsn from;
    Term term;
    Sha256 hash;
} Truncate;
#define TRUNCATE_LEN 46

void truncate_encode(const Truncate *truncate, uint8_t out[TRUNCATE_LEN]);
/* ERR_CORRUPT for any other length and for lsn 0. */
MUST_USE ErrCode truncate_decode(Str payload, Truncate *out, Err *err);

#endif
