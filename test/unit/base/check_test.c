#include "testing.h"

#include "base/check.h"

static void fail_assertion(void *arg)
{
    int count = *(int *)arg;
    ASSERT(count == 7 && "100%d sure");
}

static void test_assert_passes(void **state)
{
    UNUSED(state);
    int evaluated = 0;
    ASSERT(++evaluated == 1);
    assert_int_equal(evaluated, 1);
}

/* Place and condition are printed as they stand, then what called it. */
static void test_assert_aborts(void **state)
{
    UNUSED(state);
    int count = 8;
    assert_aborts(fail_assertion, &count,
                  "check_test.c:8: assertion failed: count == 7 && "
                  "\"100%d sure\"");
    assert_aborts(fail_assertion, &count, "[0x"); /* and what called it, as far as known */
}

static void test_align_up(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t x, align, aligned;
    } rows[] = {
        {0, 1, 0},          {1, 1, 1},
        {0, 4096, 0},       {1, 4096, 4096},
        {4095, 4096, 4096}, {4096, 4096, 4096},
        {4097, 16, 4112},   {UINT64_MAX - 15, 16, UINT64_MAX - 15},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(ALIGN_UP(rows[i].x, rows[i].align), rows[i].aligned);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assert_passes),
        cmocka_unit_test(test_assert_aborts),
        cmocka_unit_test(test_align_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
