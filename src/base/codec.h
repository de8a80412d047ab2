/* Bounds-checked cursors to encode and decode stored and sent structures, little endian. A cursor
 * that ran out of room or input is `failed`, stays so, and gives zeros: check once at the end. */
#ifndef HOLDFAST_BASE_CODEC_H
#define HOLDFAST_BASE_CODEC_H

#include "base/str.h"

typedef struct {
    uint8_t *data;
    size_t len;      /* bytes written so far */
    size_t capacity; /* bytes there is room for */
    bool failed;     /* something did not fit */
} Enc;

typedef struct {
    const uint8_t *data;
    size_t pos; /* next byte to read */
    size_t len; /* bytes there are */
    bool failed;
} Dec;

static inline Enc enc_of(void *data, size_t capacity)
{
    return (Enc){.data = (uint8_t *)data, .capacity = capacity};
}
static inline Dec dec_of(const void *data, size_t len)
{
    return (Dec){.data = (const uint8_t *)data, .len = len};
}
void enc_u8(Enc *enc, uint8_t value);
void enc_u16(Enc *enc, uint16_t value);
void enc_u32(Enc *enc, uint32_t value);
void enc_u64(Enc *enc, uint64_t value);
void enc_u64_be(Enc *enc, uint64_t value); /* for keys that sort by memcmp */
void enc_u32_be(Enc *enc, uint32_t value);
/* LEB128, 1..10 bytes. */
void enc_varint(Enc *enc, uint64_t value);
void enc_bytes(Enc *enc, const void *data, size_t len);
/* varint length, then the bytes. */
void enc_str(Enc *enc, Str s);
void enc_zeros(Enc *enc, size_t len);
uint8_t dec_u8(Dec *dec);
uint16_t dec_u16(Dec *dec);
uint32_t dec_u32(Dec *dec);
uint64_t dec_u64(Dec *dec);
uint64_t dec_u64_be(Dec *dec);
uint32_t dec_u32_be(Dec *dec);
/* Fails on more than 10 bytes and on a form longer than needed. */
uint64_t dec_varint(Dec *dec);
void dec_bytes(Dec *dec, void *out, size_t len);
/* A view of len bytes of the input. */
Str dec_view(Dec *dec, size_t len);
Str dec_str(Dec *dec);
static inline size_t dec_left(const Dec *dec)
{
    return dec->failed ? 0 : dec->len - dec->pos;
}
static inline bool dec_done(const Dec *dec)
{
    return !dec->failed && dec->pos == dec->len;
}
/* Fixed places: 32 and 64 bits little endian at p, any alignment. */
void put_u32(void *p, uint32_t value);
uint32_t get_u32(const void *p);
void put_u64(void *p, uint64_t value);
uint64_t get_u64(const void *p);

#endif
