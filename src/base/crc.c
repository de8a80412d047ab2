#include "base/crc.h"

#include <isa-l/crc.h>
#include <pthread.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/codec.h"

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

uint32_t crc32_more(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *at = data;
    while (len > 0) { /* this one of isa-l inverts by itself */
        size_t piece = MIN(len, PIECE_MAX);
        crc = crc32_gzip_refl(crc, at, piece);
        at += piece;
        len -= piece;
    }
    return crc;
}

/* --- polynomials modulo the crc's, their highest power in bit 0 --- */

typedef struct {
    uint64_t polynomial;
    uint64_t one; /* x to the power of 0 */
} Field;

static uint64_t multiply(const Field *f, uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (uint64_t bit = f->one; bit != 0; bit >>= 1) {
        if ((a & bit) != 0) product ^= b;
        b = (b & 1) != 0 ? (b >> 1) ^ f->polynomial : b >> 1;
    }
    return product;
}

/* --- CRC64NVME, which isa-l 2.30 lacks ---
 *
 * Eight bytes a step by eight tables ("slicing by 8"). Where the processor multiplies without
 * carry, long pieces are folded before: 128 bits of the message, moved D bits on, are their halves
 * times x to the power of D and D + 64, modulo the polynomial, added to what stands there; four
 * such streams at once, D = 512, then one of them, D = 128, until 16 bytes are left for the tables.
 * Source: Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", Intel 2009.
 */
#define CRC64_POLYNOMIAL 0x9a6c9329ac4bc9b5ULL
#define SLICES 8

static const Field crc64_field = {.polynomial = CRC64_POLYNOMIAL, .one = UINT64_C(1) << 63};
static pthread_once_t crc64_once = PTHREAD_ONCE_INIT;
static uint64_t crc64_tables[SLICES][256];
/* x to the power of D + 63 and D - 1 (a product of reflected halves is one bit short). */
static uint64_t crc64_fold512[2];
static uint64_t crc64_fold128[2];
static bool crc64_folds;

static uint64_t crc64_power(unsigned n)
{
    uint64_t power = crc64_field.one;
    for (; n > 0; n--)
        power = multiply(&crc64_field, crc64_field.one >> 1, power);
    return power;
}

static void crc64_fill(void)
{
    for (uint64_t byte = 0; byte < 256; byte++) {
        uint64_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? (crc >> 1) ^ CRC64_POLYNOMIAL : crc >> 1;
        crc64_tables[0][byte] = crc;
    }
    for (size_t slice = 1; slice < SLICES; slice++) {
        for (size_t byte = 0; byte < 256; byte++) {
            uint64_t before = crc64_tables[slice - 1][byte];
            crc64_tables[slice][byte] = crc64_tables[0][before & 0xff] ^ (before >> 8);
        }
    }
    crc64_fold512[0] = crc64_power(512 + 63);
    crc64_fold512[1] = crc64_power(512 - 1);
    crc64_fold128[0] = crc64_power(128 + 63);
    crc64_fold128[1] = crc64_power(128 - 1);
#if defined(__x86_64__)
    crc64_folds = __builtin_cpu_supports("pclmul") != 0;
#endif
}

/* Of bytes as they are; both inversions are the caller's. */
static uint64_t crc64_slices(uint64_t crc, const uint8_t *at, size_t len)
{
    for (; len >= SLICES; len -= SLICES, at += SLICES) {
        uint64_t word = crc ^ get_u64(at);
        crc = 0;
        for (size_t slice = 0; slice < SLICES; slice++, word >>= 8)
            crc ^= crc64_tables[SLICES - 1 - slice][word & 0xff];
    }
    for (; len > 0; len--, at++)
        crc = crc64_tables[0][(crc ^ *at) & 0xff] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
#define FOLD_LEAST 128 /* bytes */
#define FOLD_STREAMS 4

__attribute__((target("sse2,pclmul"))) static __m128i fold_load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

__attribute__((target("sse2,pclmul"))) static __m128i fold(__m128i from, __m128i powers, __m128i to)
{
    __m128i high = _mm_clmulepi64_si128(from, powers, 0x00);
    __m128i low = _mm_clmulepi64_si128(from, powers, 0x11);
    return _mm_xor_si128(_mm_xor_si128(high, low), to);
}

__attribute__((target("sse2,pclmul"))) static uint64_t crc64_fold(uint64_t crc, const uint8_t *at,
                                                                  size_t len)
{
    const __m128i far = fold_load((const uint8_t *)crc64_fold512);
    const __m128i near = fold_load((const uint8_t *)crc64_fold128);
    __m128i lane[FOLD_STREAMS];
    uint8_t left[16];
    for (size_t i = 0; i < FOLD_STREAMS; i++)
        lane[i] = fold_load(at + 16 * i);
    lane[0] = _mm_xor_si128(lane[0], _mm_set_epi64x(0, (long long)crc));
    for (at += 64, len -= 64; len >= 64; at += 64, len -= 64)
        for (size_t i = 0; i < FOLD_STREAMS; i++)
            lane[i] = fold(lane[i], far, fold_load(at + 16 * i));
    for (size_t i = 1; i < FOLD_STREAMS; i++)
        lane[0] = fold(lane[0], near, lane[i]);
    for (; len >= 16; at += 16, len -= 16)
        lane[0] = fold(lane[0], near, fold_load(at));
    _mm_storeu_si128((__m128i *)(void *)left, lane[0]);
    return crc64_slices(crc64_slices(0, left, sizeof left), at, len);
}
#endif

uint64_t crc64nvme_more(uint64_t crc, const void *data, size_t len)
{
    ASSERT(pthread_once(&crc64_once, crc64_fill) == 0);
#if defined(__x86_64__)
    if (crc64_folds && len >= FOLD_LEAST) return ~crc64_fold(~crc, data, len);
#endif
    return ~crc64_slices(~crc, data, len);
}

/* --- joining --- */

/* first times x to the power of 8 × len: as if so many zero bytes came behind it. */
static uint64_t join(const Field *f, uint64_t first, uint64_t second, uint64_t len)
{
    uint64_t power = f->one >> 1; /* x */
    for (int i = 0; i < 3; i++)
        power = multiply(f, power, power);
    for (; len > 0; len >>= 1) {
        if ((len & 1) != 0) first = multiply(f, power, first);
        power = multiply(f, power, power);
    }
    return first ^ second;
}

uint32_t crc32_join(uint32_t first, uint32_t second, uint64_t second_len)
{
    static const Field field = {.polynomial = 0xedb88320, .one = UINT64_C(1) << 31};
    return (uint32_t)join(&field, first, second, second_len);
}

uint32_t crc32c_join(uint32_t first, uint32_t second, uint64_t second_len)
{
    static const Field field = {.polynomial = 0x82f63b78, .one = UINT64_C(1) << 31};
    return (uint32_t)join(&field, first, second, second_len);
}

uint64_t crc64nvme_join(uint64_t first, uint64_t second, uint64_t second_len)
{
    return join(&crc64_field, first, second, second_len);
}
