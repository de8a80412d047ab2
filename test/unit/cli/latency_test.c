/* The histogram of latencies: never too short, at most 3 % too long. */
#include "testing.h"

#include "base/mem.h"
#include "cli/latency.h"

static void test_one(void **state)
{
    UNUSED(state);
    for (unsigned shift = 0; shift < 64; shift++) {
        for (int around = -1; around <= 1; around++) {
            AUTO(void, mem_free) memory = mem_new(sizeof(Latency));
            Latency *latency = memory;
            uint64_t ns = ((uint64_t)1 << shift) + (uint64_t)(int64_t)around;
            latency_add(latency, ns);
            latency_add(latency, UINT64_MAX); /* or the longest would be told exactly */
            double got = latency_ms(latency, 0.5) * 1e6;
            assert_true(got >= (double)ns * 0.999999);
            assert_true(got <= (double)ns * 1.0313 + 1);
        }
    }
}

static void test_shares(void **state)
{
    UNUSED(state);
    AUTO(void, mem_free) memory = mem_new(sizeof(Latency));
    Latency *latency = memory;
    assert_true(latency_ms(latency, 0.5) == 0);
    for (uint64_t i = 1; i <= 1000; i++)
        latency_add(latency, i * 1000000);
    assert_true(latency_ms(latency, 0.5) >= 500 && latency_ms(latency, 0.5) < 516);
    assert_true(latency_ms(latency, 0.99) >= 990 && latency_ms(latency, 0.99) <= 1000);
    assert_true(latency_ms(latency, 1) == 1000);
    assert_true(latency_ms(latency, 0) < 1.04);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one), cmocka_unit_test(test_shares)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
