#include "testing.h"

#include <string.h>

#include "base/hash_run.h"

static uint8_t data[1000];

static void fill_data(void)
{
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
}

/* Put away and taken up at each place: the digest is that of all bytes at once. */
static void test_put_away(void **state)
{
    UNUSED(state);
    fill_data();
    for (size_t first = 0; first <= 300; first++) {
        uint8_t saved[HASH_RUN_STATE_MAX];
        Sha256 digest;
        AUTO(HashRun, hash_run_free) run = hash_run_new();
        hash_run_update(run, data, first);
        size_t len = hash_run_save(run, saved);
        AUTO(HashRun, hash_run_free) later = hash_run_new();
        hash_run_update(later, data, 17); /* is forgotten */
        assert_true(hash_run_load(later, str_of(saved, len)));
        assert_int_equal(hash_run_size(later), first);
        hash_run_digest(later, &digest);
        Sha256 wanted = sha256_of(data, first);
        assert_true(sha256_eq(&digest, &wanted));
        hash_run_update(later, data + first, sizeof data - first);
        hash_run_digest(later, &digest);
        wanted = sha256_of(data, sizeof data);
        assert_true(sha256_eq(&digest, &wanted));
    }
}

/* A state of more bytes than one word of the bit count holds. */
static void test_far(void **state)
{
    UNUSED(state);
    uint8_t saved[HASH_RUN_STATE_MAX];
    uint8_t again[HASH_RUN_STATE_MAX];
    AUTO(HashRun, hash_run_free) run = hash_run_new();
    memset(saved, 0x11, sizeof saved);
    uint64_t size = (3ULL << 32) + 5;
    memcpy(saved + 32, &size, sizeof size);
    assert_true(hash_run_load(run, str_of(saved, 32 + 8 + 5)));
    assert_int_equal(hash_run_size(run), size);
    assert_int_equal(hash_run_save(run, again), 32 + 8 + 5);
    assert_memory_equal(saved, again, 32 + 8 + 5);
}

static void test_no_state(void **state)
{
    UNUSED(state);
    uint8_t saved[HASH_RUN_STATE_MAX];
    Sha256 digest;
    Sha256 empty = sha256_of("", 0);
    AUTO(HashRun, hash_run_free) run = hash_run_new();
    fill_data();
    assert_true(hash_run_load(run, STR("")));
    hash_run_digest(run, &digest);
    assert_true(sha256_eq(&digest, &empty));
    hash_run_update(run, data, 70);
    size_t len = hash_run_save(run, saved);
    assert_int_equal(len, 32 + 8 + 6);
    for (size_t cut = 1; cut < len; cut++)
        assert_false(hash_run_load(run, str_of(saved, cut)));
    saved[32] = 69; /* one byte too many */
    assert_false(hash_run_load(run, str_of(saved, len)));
    saved[39] = 0x20; /* more bytes than SHA-256 takes */
    assert_false(hash_run_load(run, str_of(saved, len)));
    hash_run_digest(run, &digest);
    Sha256 wanted = sha256_of(data, 70);
    assert_true(sha256_eq(&digest, &wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_away),
        cmocka_unit_test(test_far),
        cmocka_unit_test(test_no_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
