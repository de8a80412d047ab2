#include "format/block_priv.h"

#include "base/crc.h"
#include <inttypes.h>

#define CRC_AT (BLOCK_LEN - 4)

Enc block_begin(uint8_t out[BLOCK_LEN], uint64_t magic, uint32_t format)
{
    Enc enc = enc_of(out, BLOCK_LEN);
    enc_u64(&enc, magic);
    enc_u32(&enc, format);
    return enc;
}

void block_end(Enc *enc)
{
    ASSERT(!enc->failed && enc->capacity == BLOCK_LEN && enc->len <= CRC_AT);
    enc_zeros(enc, CRC_AT - enc->len);
    enc_u32(enc, crc32c(enc->data, CRC_AT));
    ASSERT(!enc->failed && enc->len == BLOCK_LEN);
}

ErrCode block_open(Str data, uint64_t magic, uint32_t format, const char *what, Dec *fields,
                   Err *err)
{
    if (data.len != BLOCK_LEN) return err_set(err, ERR_CORRUPT, "%s of %zu bytes", what, data.len);
    Dec dec = dec_of(data.ptr, CRC_AT);
    if (dec_u64(&dec) != magic) return err_set(err, ERR_CORRUPT, "no %s here", what);
    if (crc32c(data.ptr, CRC_AT) != get_u32(data.ptr + CRC_AT))
        return err_set(err, ERR_CORRUPT, "checksum of the %s is wrong", what);
    uint32_t found = dec_u32(&dec);
    if (found == 0) return err_set(err, ERR_CORRUPT, "%s of format 0", what);
    if (found > format)
        return err_set(err, ERR_FORMAT_VERSION,
                       "%s of format %" PRIu32 ", up to %" PRIu32 " is known", what, found, format);
    *fields = dec;
    return OK;
}

ErrCode block_close(Dec *fields, const char *what, Err *err)
{
    ASSERT(!fields->failed); /* fields have fixed sizes that fit a block, or were checked */
    while (dec_left(fields) > 0) {
        if (dec_u8(fields) != 0) return err_set(err, ERR_CORRUPT, "reserved bytes of the %s", what);
    }
    return OK;
}
