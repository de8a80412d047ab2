#include "base/codec.h"

#include <string.h>

/* Room for len more bytes; NULL for none, and where there is no room: then enc is failed. */
static uint8_t *enc_room(Enc *enc, size_t len)
{
    ASSERT(enc->len <= enc->capacity);
    if (enc->failed || len > enc->capacity - enc->len) {
        enc->failed = true;
        return NULL;
    }
    if (len == 0) return NULL; /* data may be NULL, and NULL + 0 is undefined */
    uint8_t *at = enc->data + enc->len;
    enc->len += len;
    return at;
}

/* The next len bytes of input, or NULL: then dec is failed. */
static const uint8_t *dec_next(Dec *dec, size_t len)
{
    ASSERT(dec->pos <= dec->len);
    if (dec->failed || len > dec->len - dec->pos) {
        dec->failed = true;
        return NULL;
    }
    if (len == 0 && dec->data == NULL) return (const uint8_t *)""; /* NULL + 0 is undefined */
    const uint8_t *at = dec->data + dec->pos;
    dec->pos += len;
    return at;
}

static uint64_t get_le(const uint8_t *p, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static void put_le(uint8_t *p, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

/* Shift loops of a constant length: compilers turn each of these into one load or store. */
void put_u32(void *p, uint32_t value)
{
    put_le(p, value, 4);
}

uint32_t get_u32(const void *p)
{
    return (uint32_t)get_le(p, 4);
}

void put_u64(void *p, uint64_t value)
{
    put_le(p, value, 8);
}

uint64_t get_u64(const void *p)
{
    return get_le(p, 8);
}

void enc_u8(Enc *enc, uint8_t value)
{
    uint8_t *at = enc_room(enc, 1);
    if (at != NULL) *at = value;
}

void enc_u16(Enc *enc, uint16_t value)
{
    uint8_t *at = enc_room(enc, 2);
    if (at != NULL) put_le(at, value, 2);
}

void enc_u32(Enc *enc, uint32_t value)
{
    uint8_t *at = enc_room(enc, 4);
    if (at != NULL) put_u32(at, value);
}

void enc_u64(Enc *enc, uint64_t value)
{
    uint8_t *at = enc_room(enc, 8);
    if (at != NULL) put_u64(at, value);
}

void enc_u64_be(Enc *enc, uint64_t value)
{
    enc_u64(enc, __builtin_bswap64(value));
}

void enc_u32_be(Enc *enc, uint32_t value)
{
    enc_u32(enc, __builtin_bswap32(value));
}

void enc_varint(Enc *enc, uint64_t value)
{
    uint8_t bytes[10];
    size_t len = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[len++] = (uint8_t)(value | 0x80);
    bytes[len++] = (uint8_t)value;
    enc_bytes(enc, bytes, len);
}

void enc_bytes(Enc *enc, const void *data, size_t len)
{
    uint8_t *at = enc_room(enc, len);
    if (at != NULL) memcpy(at, data, len);
}

void enc_str(Enc *enc, Str s)
{
    enc_varint(enc, s.len);
    enc_bytes(enc, s.ptr, s.len);
}

void enc_zeros(Enc *enc, size_t len)
{
    uint8_t *at = enc_room(enc, len);
    if (at != NULL) memset(at, 0, len);
}

uint8_t dec_u8(Dec *dec)
{
    const uint8_t *at = dec_next(dec, 1);
    return at == NULL ? 0 : *at;
}

uint16_t dec_u16(Dec *dec)
{
    const uint8_t *at = dec_next(dec, 2);
    return at == NULL ? 0 : (uint16_t)get_le(at, 2);
}

uint32_t dec_u32(Dec *dec)
{
    const uint8_t *at = dec_next(dec, 4);
    return at == NULL ? 0 : get_u32(at);
}

uint64_t dec_u64(Dec *dec)
{
    const uint8_t *at = dec_next(dec, 8);
    return at == NULL ? 0 : get_u64(at);
}

uint64_t dec_u64_be(Dec *dec)
{
    return __builtin_bswap64(dec_u64(dec));
}

uint32_t dec_u32_be(Dec *dec)
{
    return __builtin_bswap32(dec_u32(dec));
}

uint64_t dec_varint(Dec *dec)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = dec_u8(dec);
        if (dec->failed) return 0;
        if (shift == 63 && byte > 1) break; /* beyond 64 bits, or an 11th byte */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) != 0) continue;
        if (byte == 0 && shift > 0) break; /* longer than needed */
        return value;
    }
    dec->failed = true;
    return 0;
}

void dec_bytes(Dec *dec, void *out, size_t len)
{
    if (len == 0) return;
    const uint8_t *at = dec_next(dec, len);
    if (at == NULL)
        memset(out, 0, len);
    else
        memcpy(out, at, len);
}

Str dec_view(Dec *dec, size_t len)
{
    const uint8_t *at = dec_next(dec, len);
    return at == NULL ? (Str){NULL, 0} : str_of(at, len);
}

Str dec_str(Dec *dec)
{
    uint64_t len = dec_varint(dec);
    if (len > dec_left(dec)) {
        dec->failed = true;
        return (Str){NULL, 0};
    }
    return dec_view(dec, (size_t)len);
}
