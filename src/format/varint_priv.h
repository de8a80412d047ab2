/* Around varints: how long one is, and small differences as small ones. Private to src/format. */
#ifndef HOLDFAST_FORMAT_VARINT_PRIV_H
#define HOLDFAST_FORMAT_VARINT_PRIV_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of value as a varint. */
static inline size_t varint_len(uint64_t value)
{
    size_t len = 1;
    for (; value >= 0x80; value >>= 7)
        len++;
    return len;
}

/* value - base, its sign in the lowest bit: 0, -1, 1, -2 … become 0, 1, 2, 3 … Modulo 2^64, so that
 * every pair has exactly one form. */
static inline uint64_t zigzag_delta(uint64_t value, uint64_t base)
{
    uint64_t delta = value - base;
    return (delta << 1) ^ (delta >> 63 == 0 ? 0 : UINT64_MAX);
}

/* The value that zigzag_delta(value, base) was made of. */
static inline uint64_t zigzag_apply(uint64_t zigzag, uint64_t base)
{
    return base + ((zigzag >> 1) ^ ((zigzag & 1) == 0 ? 0 : UINT64_MAX));
}

#endif
