/* The mix of `holdfast bench`: what is taken, what is refused, and which request a number gives. */
#include "testing.h"

#include "cli/bench_mix.h"

static void test_parse(void **state)
{
    UNUSED(state);
    Err err = {0};
    BenchMix mix;
    static const char *const bad[] = {
        "",       "put",         "put=",        "put=1,", "put=-1", "put=1001", "put=1,put=2",
        "post=1", "put=0,get=0", "put=1;get=2", " put=1", ",put=1"};
    assert_ok(bench_mix_parse(STR(BENCH_MIX_PRESET), &mix, &err), &err);
    assert_int_equal(mix.sum, 100);
    assert_ok(bench_mix_parse(STR("delete=2,put=1000"), &mix, &err), &err);
    assert_int_equal(mix.sum, 1002);
    assert_int_equal(mix.weights[BENCH_GET], 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_code(bench_mix_parse(str_from_cstr(bad[i]), &mix, &err), ERR_USAGE, &err);
    assert_int_equal(mix.sum, 1002); /* untouched */
}

static void test_at(void **state)
{
    UNUSED(state);
    Err err = {0};
    BenchMix mix;
    unsigned counts[BENCH_OPS] = {0};
    assert_ok(bench_mix_parse(STR("get=3,list=1,delete=2"), &mix, &err), &err);
    for (unsigned i = 0; i < mix.sum; i++)
        counts[bench_mix_at(&mix, i)]++;
    assert_int_equal(counts[BENCH_PUT], 0);
    assert_int_equal(counts[BENCH_GET], 3);
    assert_int_equal(counts[BENCH_LIST], 1);
    assert_int_equal(counts[BENCH_DELETE], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_at)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
