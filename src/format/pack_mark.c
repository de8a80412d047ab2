#include "format/pack_mark.h"

#include "base/crc.h"

#define CRC_AT 56

_Static_assert(8 + 16 + 4 * 8 == CRC_AT && CRC_AT + 8 == PACK_MARK_LEN, "the table in the header");

void pack_mark_encode(const PackMark *mark, uint8_t out[PACK_MARK_LEN])
{
    Enc enc = enc_of(out, PACK_MARK_LEN);
    enc_u64(&enc, PACK_MARK_MAGIC);
    enc_bytes(&enc, mark->root.bytes, sizeof mark->root.bytes);
    enc_u64(&enc, mark->pack);
    enc_u64(&enc, mark->offset);
    enc_u64(&enc, mark->synced.pack);
    enc_u64(&enc, mark->synced.end);
    ASSERT(enc.len == CRC_AT);
    enc_u32(&enc, crc32c(out, CRC_AT));
    enc_u32(&enc, 0);
    ASSERT(!enc.failed);
}

bool pack_mark_decode(Str data, PackMark *out)
{
    if (data.len < PACK_MARK_LEN) return false;
    Dec dec = dec_of(data.ptr, PACK_MARK_LEN);
    if (dec_u64(&dec) != PACK_MARK_MAGIC) return false;
    PackMark mark;
    dec_bytes(&dec, mark.root.bytes, sizeof mark.root.bytes);
    mark.pack = dec_u64(&dec);
    mark.offset = dec_u64(&dec);
    mark.synced.pack = dec_u64(&dec);
    mark.synced.end = dec_u64(&dec);
    if (dec_u32(&dec) != crc32c(data.ptr, CRC_AT) || dec_u32(&dec) != 0) return false;
    ASSERT(dec_done(&dec));
    *out = mark;
    return true;
}
