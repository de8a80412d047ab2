#include "testing.h"

#include <string.h>

#include "base/md5_run.h"
#include "base/rng.h"

#define LONGEST 4096

/* OpenSSL's, of all bytes at once. */
static void wanted_of(const void *data, size_t len, uint8_t out[MD5_LEN])
{
    AUTO(HashCtx, hash_free) ctx = hash_new(HASH_MD5);
    hash_update(ctx, data, len);
    hash_final(ctx, out);
}

static void check_digest(Md5Run *run, const void *data, size_t len)
{
    uint8_t made[MD5_LEN];
    uint8_t wanted[MD5_LEN];
    md5_run_final(run, made);
    wanted_of(data, len, wanted);
    assert_memory_equal(made, wanted, MD5_LEN);
}

/* The suite of RFC 1321, each text in each lane, by each way. */
static void test_known(void **state)
{
    static const struct {
        const char *text;
        const char *hex;
    } known[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"1234567890123456789012345678901234567890"
         "1234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };
    UNUSED(state);
    Md5Run *runs[MD5_LANES];
    for (size_t i = 0; i < MD5_LANES; i++)
        runs[i] = md5_run_new();
    for (Md5Way way = 0; way < MD5_WAY_COUNT; way++) {
        if (!md5_way_usable(way)) continue;
        for (size_t turn = 0; turn < ARRAY_LEN(known); turn++) {
            Md5Piece pieces[MD5_LANES];
            for (size_t i = 0; i < MD5_LANES; i++) {
                const char *text = known[(i + turn) % ARRAY_LEN(known)].text;
                pieces[i] = (Md5Piece){runs[i], text, strlen(text)};
            }
            md5_run_update_by(way, pieces, MD5_LANES);
            for (size_t i = 0; i < MD5_LANES; i++) {
                uint8_t made[MD5_LEN];
                char hex[2 * MD5_LEN + 1];
                md5_run_final(runs[i], made);
                hex_encode(made, MD5_LEN, hex);
                assert_string_equal(hex, known[(i + turn) % ARRAY_LEN(known)].hex);
            }
        }
    }
    for (size_t i = 0; i < MD5_LANES; i++)
        md5_run_free(runs[i]);
}

/* Each number of lanes, by each way: every length around one, two and three blocks, at every
 * alignment, in two pieces that are cut anywhere. */
static void test_lengths(void **state)
{
    UNUSED(state);
    static uint8_t data[MD5_LANES][LONGEST];
    Rng rng;
    rng_init(&rng, 7);
    for (size_t i = 0; i < MD5_LANES; i++)
        rng_bytes(&rng, data[i], LONGEST);
    for (Md5Way way = 0; way < MD5_WAY_COUNT; way++) {
        if (!md5_way_usable(way)) continue;
        for (size_t count = 1; count <= MD5_LANES; count++) {
            for (size_t len = 0; len <= 200; len++) {
                Md5Run *runs[MD5_LANES];
                Md5Piece first[MD5_LANES];
                Md5Piece second[MD5_LANES];
                for (size_t i = 0; i < count; i++) {
                    size_t cut = rng_below(&rng, len + 1);
                    const uint8_t *at = data[i] + (len + i) % 64;
                    runs[i] = md5_run_new();
                    first[i] = (Md5Piece){runs[i], at, cut};
                    second[i] = (Md5Piece){runs[i], at + cut, len - cut};
                }
                md5_run_update_by(way, first, count);
                md5_run_update_by(way, second, count);
                for (size_t i = 0; i < count; i++) {
                    check_digest(runs[i], data[i] + (len + i) % 64, len);
                    md5_run_free(runs[i]);
                }
            }
        }
    }
}

/* Runs of all lengths, each in pieces of any length, in any company, by any way in turn. */
static void test_company(void **state)
{
    UNUSED(state);
    static uint8_t data[MD5_LANES][LONGEST];
    for (uint64_t seed = 1; seed <= 300; seed++) {
        Rng rng;
        Md5Run *runs[MD5_LANES];
        size_t len[MD5_LANES];
        size_t done[MD5_LANES] = {0};
        size_t left = 0;
        rng_init(&rng, seed);
        for (size_t i = 0; i < MD5_LANES; i++) {
            rng_bytes(&rng, data[i], LONGEST);
            runs[i] = md5_run_new();
            len[i] = rng_below(&rng, LONGEST + 1);
            left += len[i];
        }
        while (left > 0) {
            Md5Piece pieces[MD5_LANES];
            size_t count = 0;
            for (size_t i = 0; i < MD5_LANES; i++) {
                if (rng_below(&rng, 3) == 0) continue;
                size_t part = rng_below(&rng, MIN(len[i] - done[i], (size_t)700) + 1);
                pieces[count++] = (Md5Piece){runs[i], data[i] + done[i], part};
                done[i] += part;
                left -= part;
            }
            Md5Way way = (Md5Way)rng_below(&rng, MD5_WAY_COUNT + 1);
            if (count == 0) continue;
            if (way == MD5_WAY_COUNT || !md5_way_usable(way))
                md5_run_update(pieces, count);
            else
                md5_run_update_by(way, pieces, count);
        }
        for (size_t i = 0; i < MD5_LANES; i++) {
            check_digest(runs[i], data[i], len[i]);
            md5_run_free(runs[i]);
        }
    }
}

/* More bits than one word counts: 513 MiB, most of it in lanes. */
static void test_far(void **state)
{
    UNUSED(state);
    static const uint8_t zeros[1 << 20];
    Md5Run *runs[3];
    AUTO(HashCtx, hash_free) wanted = hash_new(HASH_MD5);
    uint8_t digest[MD5_LEN];
    uint8_t made[MD5_LEN];
    for (size_t i = 0; i < 3; i++)
        runs[i] = md5_run_new();
    for (size_t n = 0; n < 513; n++) {
        Md5Piece pieces[3];
        for (size_t i = 0; i < 3; i++)
            pieces[i] = (Md5Piece){runs[i], zeros, sizeof zeros};
        md5_run_update(pieces, 3);
        hash_update(wanted, zeros, sizeof zeros);
    }
    hash_final(wanted, digest);
    for (size_t i = 0; i < 3; i++) {
        md5_run_final(runs[i], made);
        assert_memory_equal(made, digest, MD5_LEN);
        md5_run_free(runs[i]);
    }
}

/* The two that every processor has; the fastest is among those that were tested. */
static void test_ways(void **state)
{
    UNUSED(state);
    assert_true(md5_way_usable(MD5_ONE_BY_ONE));
    assert_true(md5_way_usable(MD5_PORTABLE));
    assert_true(md5_way_usable(MD5_AVX2) || !md5_way_usable(MD5_AVX512));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),   cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_company), cmocka_unit_test(test_far),
        cmocka_unit_test(test_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
