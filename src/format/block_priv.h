/* What the 4096-byte header and footer blocks (segment, pack, blob) share, in every format to come:
 * magic at 0, format number at 8, CRC32C of all before it in the last four bytes, zeros between the
 * last field and that. Private to src/format. */
#ifndef HOLDFAST_FORMAT_BLOCK_PRIV_H
#define HOLDFAST_FORMAT_BLOCK_PRIV_H

#include "base/codec.h"

#define BLOCK_LEN 4096

/* Begins a block in out: magic and format. The caller goes on with the fields. */
Enc block_begin(uint8_t out[BLOCK_LEN], uint64_t magic, uint32_t format);
/* Fills up with zeros and adds the CRC. */
void block_end(Enc *enc);
/* Checks length, magic, CRC and format; *fields stands behind the format, with the zeros and
 * without the CRC. what: "segment header", for messages. ERR_CORRUPT, ERR_FORMAT_VERSION. */
MUST_USE ErrCode block_open(Str data, uint64_t magic, uint32_t format, const char *what,
                            Dec *fields, Err *err);
/* Nothing failed and only zeros are left. ERR_CORRUPT. */
MUST_USE ErrCode block_close(Dec *fields, const char *what, Err *err);

#endif
