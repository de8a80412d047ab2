/* Mark: the first 64 bytes of each batch of a pack (format/pack.h). A batch is what one sync made
 * durable; it begins at a multiple of PACK_BLOCK, after zeros, so that a sector that was synced is
 * never written again. Little endian:
 *
 *   magic u64 | root uuid 16 | pack u64 | offset u64 | synced pack u64 | synced end u64 |
 *   crc32c u32 | zero u32
 *
 * pack, offset: the mark's own place. synced: everything of that pack before that offset was
 * durable when this was written (attestation): where the batch before it ended, in this pack or, in
 * the first batch, in the one that its process wrote before; zeros if there is none. crc32c covers
 * the bytes before it. Pure. */
#ifndef HOLDFAST_FORMAT_PACK_MARK_H
#define HOLDFAST_FORMAT_PACK_MARK_H

#include "format/ids.h"

#define PACK_MARK_MAGIC 0x314b524d50464c48ULL /* "HLFPMRK1" */
#define PACK_MARK_LEN 64
#define PACK_BLOCK 4096 /* bytes: batches begin here */

/* A place behind a record of a pack; zeros: none. */
typedef struct {
    uint64_t pack;
    uint64_t end; /* offset behind the record, without the zeros that follow it */
} PackEnd;

typedef struct {
    Uuid root;
    uint64_t pack;
    uint64_t offset;
    PackEnd synced;
} PackMark;

void pack_mark_encode(const PackMark *mark, uint8_t out[PACK_MARK_LEN]);
/* Reads the mark at the start of data (which may hold more); false if there is no good one. */
bool pack_mark_decode(Str data, PackMark *out);

#endif
