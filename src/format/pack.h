/* Packs: packs/N.pack, append-only files of small bodies and of META and TOMBSTONE entries for
 * every change that has no body of its own. Self-describing: an index can be made from packs and
 * blobs alone.
 *
 *   file header 4096: magic, format, root uuid, pack number, time, crc
 *   record: magic u32 | type u8 | flags u8 | reserved u16 | length u32 | crc32c u32
 *           payload | zeros up to a multiple of 8
 *
 * crc32c covers the record's header with the field zero and the whole payload. payload = entry core
 * (length-prefixed: op, flags, shard, term, lsn, file, bucket, target, time, body, size, digest,
 * attributes, extents), then the stored body: chunk flags say raw, compressed, encrypted. A batch
 * ends at a multiple of 8; a new process starts a new pack, so no synced sector is rewritten. */
#ifndef HOLDFAST_FORMAT_PACK_H
#define HOLDFAST_FORMAT_PACK_H

#include "format/entry.h"

#define PACK_MAGIC 0x314b434150464c48ULL /* "HLFPACK1" */
#define PACK_RECORD_MAGIC 0x31525048u    /* "HPR1" */
#define PACK_FORMAT 1
#define PACK_HEADER_LEN 4096
#define PACK_RECORD_HEADER_LEN 16
#define PACK_PAYLOAD_MAX (1024 * 1024) /* bytes of core and body */

typedef enum {
    PACK_BODY = 1,     /* entry core and an inline body */
    PACK_META = 2,     /* entry core only: large body elsewhere, attributes, CONFIG, START … */
    PACK_TOMBSTONE = 3 /* entry core of a DELETE */
} PackType;

enum {
    CHUNK_FLAG_ZSTD = 1 << 0,
    CHUNK_FLAG_AES_GCM = 1 << 1,
};

typedef struct {
    Uuid root;
    uint64_t number;
    uint64_t time_ms;
} PackHeader;

typedef struct {
    PackType type;
    uint8_t chunk_flags;
    /* prev_hash, checksum and record_id are not kept in packs: zero. inline_body is not encoded;
     * decoding sets it to stored_body where that is plain. */
    Entry entry;
    Str stored_body; /* as stored; plain when chunk_flags is 0 */
} PackRecord;

void pack_header_encode(const PackHeader *header, uint8_t out[PACK_HEADER_LEN]);
MUST_USE ErrCode pack_header_decode(Str data, PackHeader *out, Err *err);
size_t pack_record_len(const PackRecord *record); /* with padding */
void pack_record_encode(const PackRecord *record, Enc *enc);
/* Reads the record at the start of data (which may hold more), verifies the CRC, sets *total to its
 * length with padding. ERR_END: no record here; ERR_CORRUPT. The body's SHA-256 is not checked. */
MUST_USE ErrCode pack_record_decode(Str data, PackRecord *out, size_t *total, Err *err);
/* Length with padding, from the first PACK_RECORD_HEADER_LEN bytes; 0 if they are no header. */
size_t pack_record_peek(Str data);

#endif
