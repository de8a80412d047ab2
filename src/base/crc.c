#include "base/crc.h"

#include <isa-l/crc.h>

/* isa-l counts the length in an int. */
#define PIECE_MAX ((size_t)1 << 30)

uint32_t crc32c(const void *data, size_t len)
{
    return crc32c_more(0, data, len);
}

uint32_t crc32c_more(uint32_t crc, const void *data, size_t len)
{
    /* isa-l leaves the inversions before and after to its caller, and reads what it calls non-const
     * without changing it; the way through uintptr_t is for -Wcast-qual. */
    unsigned char *at = (unsigned char *)(uintptr_t)data;
    crc = ~crc;
    while (len > 0) {
        size_t piece = MIN(len, PIECE_MAX);
        crc = crc32_iscsi(at, (int)piece, crc);
        at += piece;
        len -= piece;
    }
    return ~crc;
}
