/* Lanes: word i of the vector x[j] is word j of the block that run i is at; a, b, c, d are vectors
 * of the runs' states. Only whole blocks are taken so; what is left of a piece, and the padding, is
 * OpenSSL's work, whose older interface, kept beside EVP, is a plain struct with public fields.
 * Source: RFC 1321. */
#define OPENSSL_SUPPRESS_DEPRECATED 1
#include "base/md5_run.h"

#include <openssl/md5.h>
#include <pthread.h>
#include <string.h>

#define BLOCK_LEN 64
#define WORD_LEN 4
#define WORDS (BLOCK_LEN / WORD_LEN)

struct Md5Run {
    MD5_CTX ctx;
};

_Static_assert(BLOCK_LEN == MD5_CBLOCK, "a block is OpenSSL's");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are loaded as they are");

Md5Run *md5_run_new(void)
{
    Md5Run *run = mem_new(sizeof *run);
    ASSERT(MD5_Init(&run->ctx) == 1);
    return run;
}

void md5_run_free(Md5Run *run)
{
    mem_free(run);
}

void md5_run_final(Md5Run *run, uint8_t out[MD5_LEN])
{
    ASSERT(MD5_Final(out, &run->ctx) == 1);
    ASSERT(MD5_Init(&run->ctx) == 1);
}

/* --- lanes --- */

typedef uint32_t Vec __attribute__((vector_size(WORD_LEN * MD5_LANES)));

typedef struct {
    Vec a, b, c, d;
} Lanes;

static const uint32_t constants[BLOCK_LEN] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

/* Functions would have to be passed vectors, for which there is no one way on all processors. */
#define PICK(u, v, ...) __builtin_shufflevector(u, v, __VA_ARGS__)

/* Words 4i … 4i + 3 of two lanes each, in r[0] … r[7], to pairs of words. */
#define PAIR(to, u, v)                                                                             \
    do {                                                                                           \
        (to)[0] = PICK(u, v, 0, 8, 1, 9, 4, 12, 5, 13);                                            \
        (to)[1] = PICK(u, v, 2, 10, 3, 11, 6, 14, 7, 15);                                          \
    } while (0)
/* Pairs to fours. */
#define FOUR(to, u, v)                                                                             \
    do {                                                                                           \
        (to)[0] = PICK((u)[0], (v)[0], 0, 1, 8, 9, 4, 5, 12, 13);                                  \
        (to)[1] = PICK((u)[0], (v)[0], 2, 3, 10, 11, 6, 7, 14, 15);                                \
        (to)[2] = PICK((u)[1], (v)[1], 0, 1, 8, 9, 4, 5, 12, 13);                                  \
        (to)[3] = PICK((u)[1], (v)[1], 2, 3, 10, 11, 6, 7, 14, 15);                                \
    } while (0)
/* Fours of words i and i + 4 to all eight lanes of each. */
#define EIGHT(to, u, v, i)                                                                         \
    do {                                                                                           \
        (to)[i] = PICK((u)[i], (v)[i], 0, 1, 2, 3, 8, 9, 10, 11);                                  \
        (to)[(i) + 4] = PICK((u)[i], (v)[i], 4, 5, 6, 7, 12, 13, 14, 15);                          \
    } while (0)

#define ALWAYS static inline __attribute__((always_inline))

/* Eight words of each lane. */
ALWAYS void load_half(Vec *x, const uint8_t *const *at, size_t offset)
{
    Vec r[MD5_LANES];
    Vec pairs[MD5_LANES];
    Vec fours[MD5_LANES];
    for (size_t i = 0; i < MD5_LANES; i++)
        memcpy(&r[i], at[i] + offset, sizeof r[i]);
    PAIR(pairs, r[0], r[1]);
    PAIR(pairs + 2, r[2], r[3]);
    PAIR(pairs + 4, r[4], r[5]);
    PAIR(pairs + 6, r[6], r[7]);
    FOUR(fours, pairs, pairs + 2);
    FOUR(fours + 4, pairs + 4, pairs + 6);
    EIGHT(x, fours, fours + 4, 0);
    EIGHT(x, fours, fours + 4, 1);
    EIGHT(x, fours, fours + 4, 2);
    EIGHT(x, fours, fours + 4, 3);
}

/* The four functions of RFC 1321, added to a: what does not depend on b first, since b is what the
 * step before has just made. */
#define ADD_F(a, b, c, d) (a) += (d) ^ ((b) & ((c) ^ (d)))
#define ADD_G(a, b, c, d) ((a) += (c) & ~(d), (a) += (b) & (d))
#define ADD_H(a, b, c, d) (a) += (b) ^ ((c) ^ (d))
#define ADD_I(a, b, c, d) (a) += (c) ^ ((b) | ~(d))
#define STEP(add, a, b, c, d, word, left, n)                                                       \
    do {                                                                                           \
        (a) += x[word] + constants[n];                                                             \
        add(a, b, c, d);                                                                           \
        (a) = (((a) << (left)) | ((a) >> (32 - (left)))) + (b);                                    \
    } while (0)
#define FOUR_STEPS(add, s0, s1, s2, s3, w0, w1, w2, w3, n)                                         \
    do {                                                                                           \
        STEP(add, a, b, c, d, w0, s0, n);                                                          \
        STEP(add, d, a, b, c, w1, s1, (n) + 1);                                                    \
        STEP(add, c, d, a, b, w2, s2, (n) + 2);                                                    \
        STEP(add, b, c, d, a, w3, s3, (n) + 3);                                                    \
    } while (0)

ALWAYS void lanes_run(Lanes *lanes, const uint8_t *const *at, size_t blocks)
{
    Vec a = lanes->a;
    Vec b = lanes->b;
    Vec c = lanes->c;
    Vec d = lanes->d;
    for (size_t offset = 0; offset < blocks * BLOCK_LEN; offset += BLOCK_LEN) {
        const Vec before[] = {a, b, c, d};
        Vec x[WORDS];
        load_half(x, at, offset);
        load_half(x + MD5_LANES, at, offset + BLOCK_LEN / 2);

        FOUR_STEPS(ADD_F, 7, 12, 17, 22, 0, 1, 2, 3, 0);
        FOUR_STEPS(ADD_F, 7, 12, 17, 22, 4, 5, 6, 7, 4);
        FOUR_STEPS(ADD_F, 7, 12, 17, 22, 8, 9, 10, 11, 8);
        FOUR_STEPS(ADD_F, 7, 12, 17, 22, 12, 13, 14, 15, 12);

        FOUR_STEPS(ADD_G, 5, 9, 14, 20, 1, 6, 11, 0, 16);
        FOUR_STEPS(ADD_G, 5, 9, 14, 20, 5, 10, 15, 4, 20);
        FOUR_STEPS(ADD_G, 5, 9, 14, 20, 9, 14, 3, 8, 24);
        FOUR_STEPS(ADD_G, 5, 9, 14, 20, 13, 2, 7, 12, 28);

        FOUR_STEPS(ADD_H, 4, 11, 16, 23, 5, 8, 11, 14, 32);
        FOUR_STEPS(ADD_H, 4, 11, 16, 23, 1, 4, 7, 10, 36);
        FOUR_STEPS(ADD_H, 4, 11, 16, 23, 13, 0, 3, 6, 40);
        FOUR_STEPS(ADD_H, 4, 11, 16, 23, 9, 12, 15, 2, 44);

        FOUR_STEPS(ADD_I, 6, 10, 15, 21, 0, 7, 14, 5, 48);
        FOUR_STEPS(ADD_I, 6, 10, 15, 21, 12, 3, 10, 1, 52);
        FOUR_STEPS(ADD_I, 6, 10, 15, 21, 8, 15, 6, 13, 56);
        FOUR_STEPS(ADD_I, 6, 10, 15, 21, 4, 11, 2, 9, 60);
        a += before[0];
        b += before[1];
        c += before[2];
        d += before[3];
    }
    *lanes = (Lanes){a, b, c, d};
}

static void run_portable(Lanes *lanes, const uint8_t *const *at, size_t blocks)
{
    lanes_run(lanes, at, blocks);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void run_avx2(Lanes *lanes, const uint8_t *const *at,
                                                     size_t blocks)
{
    lanes_run(lanes, at, blocks);
}

/* The same vectors; what AVX-512 adds is rotation, and any function of three bits as one step. */
__attribute__((target("avx512f,avx512vl"))) static void run_avx512(Lanes *lanes,
                                                                   const uint8_t *const *at,
                                                                   size_t blocks)
{
    lanes_run(lanes, at, blocks);
}

#define RUN_AVX2 run_avx2
#define RUN_AVX512 run_avx512
#else
#define RUN_AVX2 NULL
#define RUN_AVX512 NULL
#endif

/* --- pieces --- */

typedef struct {
    void (*run)(Lanes *lanes, const uint8_t *const *at, size_t blocks);
    size_t least; /* of so many pieces on it is faster than one after the other */
} Way;

static const Way ways[MD5_WAY_COUNT] = {
    [MD5_ONE_BY_ONE] = {NULL, SIZE_MAX},
    [MD5_PORTABLE] = {run_portable, 4},
    [MD5_AVX2] = {RUN_AVX2, 3},
    [MD5_AVX512] = {RUN_AVX512, 3},
};
static pthread_once_t best_once = PTHREAD_ONCE_INIT;
static Md5Way best;

bool md5_way_usable(Md5Way way)
{
    ASSERT(way < MD5_WAY_COUNT);
#if defined(__x86_64__)
    if (way == MD5_AVX2) return __builtin_cpu_supports("avx2") != 0;
    if (way == MD5_AVX512)
        return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0;
#endif
    return way <= MD5_PORTABLE;
}

static void find_best(void)
{
    best = MD5_AVX512;
    while (!md5_way_usable(best))
        best--;
}

static void take(Md5Run *run, const void *data, size_t len)
{
    if (len > 0) ASSERT(MD5_Update(&run->ctx, data, len) == 1);
}

/* Whole blocks of count lanes, 1 or more; the lanes that are left over do what the first one does,
 * for nobody. */
static void take_blocks(const Way *way, const Md5Piece *pieces, size_t count, size_t blocks)
{
    const uint8_t *at[MD5_LANES];
    Lanes lanes;
    for (size_t i = 0; i < MD5_LANES; i++) {
        const Md5Piece *piece = &pieces[i < count ? i : 0];
        const MD5_CTX *ctx = &piece->run->ctx;
        ASSERT(ctx->num == 0);
        at[i] = piece->data;
        lanes.a[i] = ctx->A;
        lanes.b[i] = ctx->B;
        lanes.c[i] = ctx->C;
        lanes.d[i] = ctx->D;
    }
    way->run(&lanes, at, blocks);
    for (size_t i = 0; i < count; i++) {
        MD5_CTX *ctx = &pieces[i].run->ctx;
        uint64_t bits = ((uint64_t)ctx->Nh << 32 | ctx->Nl) + (uint64_t)blocks * BLOCK_LEN * 8;
        ctx->A = lanes.a[i];
        ctx->B = lanes.b[i];
        ctx->C = lanes.c[i];
        ctx->D = lanes.d[i];
        ctx->Nl = (MD5_LONG)bits;
        ctx->Nh = (MD5_LONG)(bits >> 32);
    }
}

/* Moves a piece on by len bytes, which were taken. */
static void piece_skip(Md5Piece *piece, size_t len)
{
    piece->data = (const uint8_t *)piece->data + len;
    piece->len -= len;
}

/* Bytes that a run still lacks to whole blocks go first, those behind its last whole block last. */
static void update(const Way *way, size_t least, const Md5Piece *pieces, size_t count)
{
    Md5Piece lanes[MD5_LANES];
    size_t open = 0; /* lanes with whole blocks left */
    for (size_t i = 0; i < count; i++) {
        Md5Piece piece = pieces[i];
        size_t lacking = (BLOCK_LEN - piece.run->ctx.num) % BLOCK_LEN;
        size_t first = MIN(lacking, piece.len);
        take(piece.run, piece.data, first);
        piece_skip(&piece, first);
        if (piece.len >= BLOCK_LEN)
            lanes[open++] = piece;
        else
            take(piece.run, piece.data, piece.len);
    }
    while (open >= least && open > 0) {
        size_t blocks = SIZE_MAX;
        size_t still = 0;
        for (size_t i = 0; i < open; i++)
            blocks = MIN(blocks, lanes[i].len / BLOCK_LEN);
        take_blocks(way, lanes, open, blocks);
        for (size_t i = 0; i < open; i++) {
            piece_skip(&lanes[i], blocks * BLOCK_LEN);
            if (lanes[i].len >= BLOCK_LEN)
                lanes[still++] = lanes[i];
            else
                take(lanes[i].run, lanes[i].data, lanes[i].len);
        }
        open = still;
    }
    for (size_t i = 0; i < open; i++)
        take(lanes[i].run, lanes[i].data, lanes[i].len);
}

void md5_run_update(const Md5Piece *pieces, size_t count)
{
    ASSERT(count >= 1 && count <= MD5_LANES);
    ASSERT(pthread_once(&best_once, find_best) == 0);
    update(&ways[best], ways[best].least, pieces, count);
}

void md5_run_update_by(Md5Way way, const Md5Piece *pieces, size_t count)
{
    ASSERT(count >= 1 && count <= MD5_LANES && md5_way_usable(way));
    update(&ways[way], way == MD5_ONE_BY_ONE ? SIZE_MAX : 1, pieces, count);
}
