/* Blob file: blobs/ab/cd/BODY.EXTENT, one extent of a large body.
 *
 *   chunks, one after the other | chunk table | footer (4096 bytes)
 *
 * Plain chunks lie contiguous from offset 0, so a range is one sendfile. Each chunk's row in the
 * table: stored length u32, flags u8, 3 zero bytes, CRC32C u32 of the stored bytes (plain, zstd) —
 * with AES-GCM the 16-byte tag follows. The table has its own CRC32C in the footer. Footer: magic,
 * format, root-independent: body id, extent number, plain size, stored size, chunk size, chunk
 * count, SHA-256 of the plain bytes, bucket uid, shard, time, attributes (key among them, as known
 * when it was written), CRC32C. Pure. */
#ifndef HOLDFAST_FORMAT_BLOB_FILE_H
#define HOLDFAST_FORMAT_BLOB_FILE_H

#include "base/hash.h"
#include "format/attr.h"
#include "format/ids.h"

#define BLOB_MAGIC 0x31424f4c42464c48ULL /* "HLFBLOB1" */
#define BLOB_FORMAT 1
#define BLOB_FOOTER_LEN 4096
#define BLOB_CHUNK_ROW_LEN 28
#define CHUNK_SIZE_DEFAULT (256 * KIB)
#define CHUNK_SIZE_MIN (64 * KIB)
#define CHUNK_SIZE_MAX (4 * MIB)
/* One extent's plain bytes at most; larger bodies have more extents. */
#define EXTENT_SIZE_MAX (5 * GIB)
#define BLOB_FOOTER_ATTRS_MAX 3072 /* the last ones are left out beyond: the log has them */

typedef struct {
    uint32_t stored_len; /* 1..CHUNK_SIZE_MAX: what would grow is stored raw, a tag stands in tag */
    uint8_t flags;       /* CHUNK_FLAG_… of format/pack.h */
    uint32_t crc;
    uint8_t tag[16];
} ChunkRow;

typedef struct {
    BodyId body;
    uint32_t extent;
    BucketUid bucket;
    ShardId shard;
    uint64_t plain_size;
    uint64_t stored_size; /* bytes of all chunks, ≤ plain_size; the table begins here */
    uint32_t chunk_size;
    uint64_t chunk_count;
    uint32_t table_crc;
    Sha256 digest;
    uint64_t time_ms;
    Str attrs;
} BlobFooter;

void blob_footer_encode(const BlobFooter *footer, uint8_t out[BLOB_FOOTER_LEN]);
MUST_USE ErrCode blob_footer_decode(Str data, BlobFooter *out, Err *err);
void chunk_row_encode(const ChunkRow *row, Enc *enc);
bool chunk_row_decode(Dec *dec, ChunkRow *out);

#endif
