/* Contents against a plain array of bytes that does the same by chance. */
#include "disk/sim_content.h"

#include "base/rng.h"
#include "disk/sim.h"
#include "testing.h"

#include <string.h>

#define SIZE_MAX_TESTED (5 * SIM_BLOCK)

typedef struct {
    SimContent *content;
    uint8_t bytes[SIZE_MAX_TESTED];
    uint64_t size;
} Pair;

static void assert_pair(const Pair *pair)
{
    uint8_t read[SIZE_MAX_TESTED];

    assert_int_equal(pair->content->size, pair->size);
    assert_int_equal(sim_content_read(pair->content, 0, read, sizeof read), pair->size);
    assert_memory_equal(read, pair->bytes, (size_t)pair->size);
    for (uint64_t i = 0; i < SIZE_MAX_TESTED / SIM_SECTOR; i++) {
        assert_memory_equal(sim_content_sector(pair->content, i), pair->bytes + i * SIM_SECTOR,
                            SIM_SECTOR);
    }
}

static void change_pair(Pair *pair, Rng *rng)
{
    static const uint8_t zeros[SIZE_MAX_TESTED];
    uint8_t data[SIZE_MAX_TESTED];
    uint64_t at = rng_below(rng, SIZE_MAX_TESTED);

    if (rng_below(rng, 4) == 0) {
        sim_content_resize(&pair->content, at);
        memset(pair->bytes + at, 0, SIZE_MAX_TESTED - at);
        pair->size = at;
        return;
    }
    size_t len = (size_t)rng_below(rng, MIN(SIZE_MAX_TESTED - at, 6000));
    rng_bytes(rng, data, len);
    const uint8_t *from = rng_below(rng, 3) == 0 ? zeros : data;
    sim_content_write(&pair->content, at, from, len);
    memcpy(pair->bytes + at, from, len);
    if (len > 0) pair->size = MAX(pair->size, at + len);
}

/* Two contents that begin as one and change on their own; their hashes tell whether they are equal,
 * however they came to be. */
static void test_like_bytes(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 0; seed < 100; seed++) {
        Rng rng;
        Pair a = {.content = sim_content_new()};
        Pair b;
        rng_init(&rng, seed);
        for (int i = 0; i < 5; i++)
            change_pair(&a, &rng);
        b = a;
        b.content = sim_content_share(a.content);
        for (int i = 0; i < 10; i++) {
            change_pair(rng_below(&rng, 2) == 0 ? &a : &b, &rng);
            assert_pair(&a);
            assert_pair(&b);
            bool equal = a.size == b.size && memcmp(a.bytes, b.bytes, (size_t)a.size) == 0;
            assert_int_equal(sim_content_hash(a.content) == sim_content_hash(b.content), equal);
        }
        SimContent *copy = sim_content_new();
        sim_content_write(&copy, 0, a.bytes, (size_t)a.size);
        assert_true(sim_content_hash(copy) == sim_content_hash(a.content));
        sim_content_release(copy);
        sim_content_release(a.content);
        sim_content_release(b.content);
    }
}

static void test_zeros_cost_nothing(void **state)
{
    SimContent *content = sim_content_new();
    static const uint8_t zeros[SIM_BLOCK];

    UNUSED(state);
    sim_content_write(&content, 3 * SIM_BLOCK, zeros, sizeof zeros);
    assert_int_equal(content->count, 4);
    for (size_t i = 0; i < content->count; i++)
        assert_null(content->blocks[i]);
    sim_content_release(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_bytes),
        cmocka_unit_test(test_zeros_cost_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
