/* Frame, little endian:
 *
 *     0  magic "HFR1"     4     32  segment id        8
 *     4  kind             2     40  position          8
 *     6  flags, zero      2     48  durable segment   8
 *     8  payload length   4     56  durable position  8
 *    12  crc32c           4     64  payload, zeros up to a multiple of 8
 *    16  segment uuid    16
 */
#include "format/frame.h"

#include "base/crc.h"
#include <inttypes.h>
#include <string.h>

#define CRC_AT 12

_Static_assert(FRAME_LEN == 64 && FRAME_LEN % 8 == 0, "the table above");
_Static_assert(TRUNCATE_LEN == 2 + 8 + 4 + SHA256_LEN, "shard, lsn, term, hash");

int wal_pos_cmp(WalPos a, WalPos b)
{
    if (a.segment != b.segment) return a.segment < b.segment ? -1 : 1;
    if (a.offset != b.offset) return a.offset < b.offset ? -1 : 1;
    return 0;
}

/* CRC32C of the frame in bytes with its field zero, then of the payload. */
static uint32_t frame_crc(const uint8_t bytes[FRAME_LEN], Str payload)
{
    uint8_t frame[FRAME_LEN];
    memcpy(frame, bytes, FRAME_LEN);
    memset(frame + CRC_AT, 0, 4);
    uint32_t crc = crc32c(frame, FRAME_LEN);
    return payload.len == 0 ? crc : crc32c_more(crc, payload.ptr, payload.len);
}

void frame_encode(const Frame *frame, Str payload, uint8_t out[FRAME_LEN])
{
    ASSERT(frame->kind >= FRAME_ENTRY && frame->kind <= FRAME_KIND_MAX);
    ASSERT(payload.len == frame->length);
    Enc enc = enc_of(out, FRAME_LEN);
    enc_u32(&enc, FRAME_MAGIC);
    enc_u16(&enc, (uint16_t)frame->kind);
    enc_u16(&enc, 0);
    enc_u32(&enc, frame->length);
    enc_u32(&enc, 0);
    enc_bytes(&enc, frame->segment_uuid.bytes, sizeof frame->segment_uuid.bytes);
    enc_u64(&enc, frame->pos.segment);
    enc_u64(&enc, frame->pos.offset);
    enc_u64(&enc, frame->durable.segment);
    enc_u64(&enc, frame->durable.offset);
    ASSERT(!enc.failed && enc.len == FRAME_LEN);
    put_u32(out + CRC_AT, frame_crc(out, payload));
}

ErrCode frame_decode(Str data, Frame *out, Str *payload, Err *err)
{
    if (data.len < 4 || get_u32(data.ptr) != FRAME_MAGIC)
        return err_set(err, ERR_END, "no frame begins here");
    if (data.len < FRAME_LEN)
        return err_set(err, ERR_CORRUPT, "frame cut off at %zu bytes", data.len);
    Dec dec = dec_of(data.ptr + 4, FRAME_LEN - 4); /* behind the magic */
    unsigned kind = dec_u16(&dec);
    unsigned flags = dec_u16(&dec);
    Frame frame = {.length = dec_u32(&dec)};
    uint32_t crc = dec_u32(&dec);
    dec_bytes(&dec, frame.segment_uuid.bytes, sizeof frame.segment_uuid.bytes);
    frame.pos.segment = dec_u64(&dec);
    frame.pos.offset = dec_u64(&dec);
    frame.durable.segment = dec_u64(&dec);
    frame.durable.offset = dec_u64(&dec);
    ASSERT(dec_done(&dec));

    if (frame.length > data.len - FRAME_LEN)
        return err_set(err, ERR_CORRUPT, "frame of %" PRIu32 " bytes in %zu", frame.length,
                       data.len - FRAME_LEN);
    Str body = str_slice(data, FRAME_LEN, frame.length);
    if (frame_crc((const uint8_t *)data.ptr, body) != crc)
        return err_set(err, ERR_CORRUPT, "checksum of the frame is wrong");
    if (kind < FRAME_ENTRY || kind > FRAME_KIND_MAX || flags != 0)
        return err_set(err, ERR_FORMAT_VERSION, "frame of kind %u, flags %#x is of a newer release",
                       kind, flags);
    frame.kind = (FrameKind)kind;
    *out = frame;
    *payload = body;
    return OK;
}

void truncate_encode(const Truncate *truncate, uint8_t out[TRUNCATE_LEN])
{
    ASSERT(truncate->from >= 1);
    Enc enc = enc_of(out, TRUNCATE_LEN);
    enc_u16(&enc, truncate->shard);
    enc_u64(&enc, truncate->from);
    enc_u32(&enc, truncate->term);
    enc_bytes(&enc, truncate->hash.bytes, SHA256_LEN);
    ASSERT(!enc.failed && enc.len == TRUNCATE_LEN);
}

ErrCode truncate_decode(Str payload, Truncate *out, Err *err)
{
    if (payload.len != TRUNCATE_LEN)
        return err_set(err, ERR_CORRUPT, "truncation of %zu bytes", payload.len);
    Dec dec = dec_of(payload.ptr, payload.len);
    Truncate truncate = {.shard = dec_u16(&dec)};
    truncate.from = dec_u64(&dec);
    truncate.term = dec_u32(&dec);
    dec_bytes(&dec, truncate.hash.bytes, SHA256_LEN);
    ASSERT(dec_done(&dec));
    if (truncate.from == 0) return err_set(err, ERR_CORRUPT, "truncation from lsn 0");
    *out = truncate;
    return OK;
}
