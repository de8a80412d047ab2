#include "store/cache.h"

#include <string.h>

#include "base/fault.h"
#include "base/metric.h"
#include "base/rng.h"
#include "testing.h"

#define BODY_LEN 1000

static CacheKey key_of(uint64_t n)
{
    CacheKey key = {.pack = 1 + n / 1000, .offset = 4096 + 1200 * (n % 1000), .lsn = n};
    memcpy(key.file.bytes, &n, sizeof n);
    return key;
}

/* Its bytes, the same for each call with n. */
static Str body_of(uint64_t n, uint8_t room[BODY_LEN])
{
    random_bytes(n, room, BODY_LEN);
    return str_of(room, BODY_LEN);
}

/* A GET as the store does it. Was it a hit? The bytes are always right. */
static bool ask(Cache *cache, uint64_t n)
{
    uint8_t room[BODY_LEN];
    CacheKey key = key_of(n);
    Str body;
    Str wanted = body_of(n, room);
    if (cache_get(cache, &key, &body)) {
        assert_true(str_eq(body, wanted));
        return true;
    }
    cache_put(cache, &key, wanted);
    return false;
}

static void keeps_what_it_is_given(void **state)
{
    UNUSED(state);
    Err err;
    AUTO(Cache, cache_free) cache = NULL;
    assert_ok(cache_new(1 * MIB, &cache, &err), &err);
    for (uint64_t n = 0; n < 300; n++)
        assert_false(ask(cache, n));
    for (uint64_t n = 0; n < 300; n++)
        assert_true(ask(cache, n));
    cache_free(NULL);
}

/* Another version or file at the same place is another body. */
static void all_of_the_key_counts(void **state)
{
    UNUSED(state);
    Err err;
    AUTO(Cache, cache_free) cache = NULL;
    CacheKey key = key_of(7);
    Str body;
    assert_ok(cache_new(CACHE_SIZE_MIN, &cache, &err), &err);
    cache_put(cache, &key, STR("seven"));
    assert_true(cache_get(cache, &key, &body));
    assert_str(body, "seven");
    CacheKey others[4] = {key, key, key, key};
    others[0].pack++;
    others[1].offset += 8;
    others[2].lsn++;
    others[3].file.bytes[9] ^= 1;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(cache_get(cache, &others[i], &body));
}

static void stays_within_its_size(void **state)
{
    UNUSED(state);
    Err err;
    AUTO(Cache, cache_free) cache = NULL;
    Rng rng;
    rng_init(&rng, 1);
    assert_ok(cache_new(256 * KIB, &cache, &err), &err);
    size_t most = 0;
    for (int i = 0; i < 20000; i++) {
        ask(cache, rng_below(&rng, 2000));
        most = MAX(most, cache_used(cache));
    }
    assert_true(most <= 256 * KIB && most > 250 * KIB);
    AUTO(char, mem_free) large = mem_new(64 * KIB);
    CacheKey key = key_of(1000000);
    Str body;
    cache_put(cache, &key, str_of(large, 64 * KIB)); /* too large a part */
    assert_false(cache_get(cache, &key, &body));
    cache_put(cache, &key, (Str){NULL, 0});
    assert_false(cache_get(cache, &key, &body));
}

/* Bodies that were asked for again outlive a scan over ten times the size. */
static void a_scan_pushes_nothing_out(void **state)
{
    UNUSED(state);
    Err err;
    AUTO(Cache, cache_free) cache = NULL;
    assert_ok(cache_new(1 * MIB, &cache, &err), &err);
    for (int round = 0; round < 3; round++)
        for (uint64_t n = 0; n < 500; n++)
            ask(cache, n);
    for (uint64_t n = 1000; n < 11000; n++)
        assert_false(ask(cache, n));
    unsigned kept = 0;
    for (uint64_t n = 0; n < 500; n++)
        kept += ask(cache, n) ? 1 : 0;
    assert_true(kept > 450);
}

/* 80 % of the questions are for 20 % of the bodies: more are hit than by chance. */
static void finds_what_is_hot(void **state)
{
    UNUSED(state);
    Err err;
    AUTO(Cache, cache_free) cache = NULL;
    Rng rng;
    unsigned hits = 0;
    rng_init(&rng, 2);
    assert_ok(cache_new(1 * MIB, &cache, &err), &err); /* a quarter of the bodies */
    for (int i = 0; i < 40000; i++) {
        uint64_t n = rng_below(&rng, 10) < 8 ? rng_below(&rng, 800) : 800 + rng_below(&rng, 3200);
        bool hit = ask(cache, n);
        if (i >= 20000) hits += hit ? 1 : 0;
    }
    assert_true(hits > 13500); /* 20000: all of the hot ones would be 16000 */
}

static void without_memory_nothing_happens(void **state)
{
    UNUSED(state);
    Err err;
    Cache *none = NULL;
    AUTO(Cache, cache_free) cache = NULL;
    CacheKey key = key_of(1);
    Str body;
    assert_ok(cache_new(CACHE_SIZE_MIN, &cache, &err), &err);
    fault_arm("mem.take", 1, 1, true);
    assert_code(cache_new(CACHE_SIZE_MIN, &none, &err), ERR_NO_MEMORY, &err);
    cache_put(cache, &key, STR("body"));
    fault_reset();
    assert_null(none);
    assert_false(cache_get(cache, &key, &body));
}

/* A bit that flips in memory is a miss, and what comes in its place is kept. */
static void a_flipped_bit_is_a_miss(void **state)
{
    UNUSED(state);
    Err err;
    AUTO(Cache, cache_free) cache = NULL;
    CacheKey key = key_of(1);
    Str body;
    assert_ok(cache_new(CACHE_SIZE_MIN, &cache, &err), &err);
    cache_put(cache, &key, STR("body"));
    assert_true(cache_get(cache, &key, &body));
    ((char *)(uintptr_t)body.ptr)[2] ^= 1;
    assert_false(cache_get(cache, &key, &body));
    cache_put(cache, &key, STR("body"));
    assert_true(cache_get(cache, &key, &body));
    assert_str(body, "body");
    for (uint64_t n = 10; n < 1000; n++) /* the dead one leaves its queue */
        ask(cache, n);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_is_given),  cmocka_unit_test(all_of_the_key_counts),
        cmocka_unit_test(stays_within_its_size),   cmocka_unit_test(a_scan_pushes_nothing_out),
        cmocka_unit_test(finds_what_is_hot),       cmocka_unit_test(without_memory_nothing_happens),
        cmocka_unit_test(a_flipped_bit_is_a_miss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
