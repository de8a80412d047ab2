#include "index/page_sum.h"

#include "testing.h"
#include <string.h>

static void test_bits(void **state)
{
    UNUSED(state);
    uint8_t page[PAGE_SIZE_BYTES];
    random_bytes(1, page, sizeof page);
    page_sum_set(page, 7);
    assert_true(page_sum_ok(page, 7));
    assert_false(page_sum_ok(page, 8));
    assert_int_equal(page_sum_number(page), 7);
    for (size_t bit = 0; bit < sizeof page * 8; bit++) {
        page[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (page_sum_ok(page, 7)) fail_msg("bit %zu", bit);
        page[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(page_sum_ok(page, 7));
}

static void test_zero(void **state)
{
    UNUSED(state);
    uint8_t page[PAGE_SIZE_BYTES] = {0};
    assert_true(page_is_zero(page));
    assert_false(page_sum_ok(page, 1));
    page[PAGE_SIZE_BYTES - 1] = 1;
    assert_false(page_is_zero(page));
    page_sum_set(page, 1);
    assert_false(page_is_zero(page));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bits), cmocka_unit_test(test_zero)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
