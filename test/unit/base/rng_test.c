#include "testing.h"

#include "base/fault.h"
#include "base/rng.h"

#include <errno.h>
#include <string.h>

/* Published numbers: xoshiro256** from the state 1, 2, 3, 4 and splitmix64 from a seed, both made
 * by the authors' C code for the tests of the Rust crate rand_xoshiro. Seeds in bug reports must
 * replay on every machine for ever. */
static void test_known(void **state)
{
    UNUSED(state);
    static const uint64_t numbers[] = {
        11520,
        0,
        1509978240,
        1215971899390074240,
        1216172134540287360,
        607988272756665600,
        16172922978634559625u,
        8476171486693032832,
        10595114339597558777u,
        2904607092377533576,
    };
    Rng rng = {.s = {1, 2, 3, 4}};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        assert_int_equal(rng_u64(&rng), numbers[i]);

    static const uint64_t seeded[] = {1985237415132408290, 2979275885539914483,
                                      13511426838097143398u, 8488337342461049707};
    rng_init(&rng, 1477776061723855037);
    for (size_t i = 0; i < ARRAY_LEN(seeded); i++)
        assert_int_equal(rng.s[i], seeded[i]);
}

static void test_below(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 1);
    static const uint64_t bounds[] = {1, 2, 3, 10, 1000, (UINT64_MAX / 2) + 2, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        for (int j = 0; j < 1000; j++)
            assert_true(rng_below(&rng, bounds[i]) < bounds[i]);
    }
    uint64_t counts[10] = {0};
    for (int i = 0; i < 100000; i++)
        counts[rng_below(&rng, 10)]++;
    for (size_t i = 0; i < 10; i++)
        assert_in_range(counts[i], 9500, 10500);
    /* Of a bound of 3/4 of all numbers, a plain modulo would give the lower third twice
     * as often. */
    uint64_t bound = UINT64_MAX / 4 * 3;
    uint64_t low = 0;
    for (int i = 0; i < 100000; i++)
        low += rng_below(&rng, bound) < bound / 3;
    assert_in_range(low, 32000, 34700);
}

static void test_chance(void **state)
{
    UNUSED(state);
    static const struct {
        uint32_t per_million, low, high;
    } rows[] = {{0, 0, 0}, {1000000, 100000, 100000}, {500000, 49000, 51000}, {10000, 850, 1150}};
    Rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t count = 0;
        for (int j = 0; j < 100000; j++)
            count += rng_chance(&rng, rows[i].per_million);
        assert_in_range(count, rows[i].low, rows[i].high);
    }
}

static void test_bytes(void **state)
{
    UNUSED(state);
    uint8_t whole[40];
    random_bytes(7, whole, sizeof whole);
    for (size_t len = 0; len <= sizeof whole; len++) {
        uint8_t part[sizeof whole + 1];
        memset(part, 0xee, sizeof part);
        random_bytes(7, part, len);
        assert_int_equal(memcmp(part, whole, len), 0);
        assert_int_equal(part[len], 0xee);
    }
    /* Little endian, on every machine. */
    Rng rng;
    rng_init(&rng, 7);
    uint64_t first = rng_u64(&rng);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(whole[i], (uint8_t)(first >> (8 * i)));
}

static void test_system(void **state)
{
    UNUSED(state);
    Rng a, b;
    rng_init_system(&a);
    rng_init_system(&b);
    assert_int_not_equal(rng_u64(&a), rng_u64(&b));

    Err err;
    uint8_t x[1000] = {0}, y[1000] = {0};
    assert_ok(rng_secret(x, sizeof x, &err), &err);
    assert_ok(rng_secret(y, sizeof y, &err), &err);
    assert_memory_not_equal(x, y, sizeof x);
    assert_memory_not_equal(x, y + 500, 500);
    assert_ok(rng_secret(NULL, 0, &err), &err);

    fault_reset();
    fault_arm("rng.secret", EINTR, 1, false); /* is tried again */
    assert_ok(rng_secret(x, sizeof x, &err), &err);
    fault_arm("rng.secret", EIO, 1, false);
    assert_code(rng_secret(x, sizeof x, &err), ERR_SYSTEM, &err);
    assert_int_equal(err.errno_value, EIO);
    fault_reset();
}

static void below_zero(void *arg)
{
    rng_below(arg, 0);
}

static void test_bugs(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 1);
    assert_aborts(below_zero, &rng, "bound >= 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known), cmocka_unit_test(test_below),  cmocka_unit_test(test_chance),
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_system), cmocka_unit_test(test_bugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
