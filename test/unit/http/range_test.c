/* Ranges of a content of 100 bytes. */
#include "http/range.h"
#include "testing.h"

static void test_rows(void **state)
{
    UNUSED(state);
    static const struct {
        const char *header;
        HttpRange kind;
        HttpSpan spans[4]; /* up to an empty one */
    } rows[] = {
        {"bytes=0-0", HTTP_RANGE_PART, {{0, 1}}},
        {"bytes=0-99", HTTP_RANGE_PART, {{0, 100}}},
        {"bytes=10-19", HTTP_RANGE_PART, {{10, 20}}},
        {"Bytes = 10-19", HTTP_RANGE_PART, {{10, 20}}},
        {"bytes=10-", HTTP_RANGE_PART, {{10, 100}}},
        {"bytes=10-1000", HTTP_RANGE_PART, {{10, 100}}},
        {"bytes=10-18446744073709551615", HTTP_RANGE_PART, {{10, 100}}},
        {"bytes=99-", HTTP_RANGE_PART, {{99, 100}}},
        {"bytes=-1", HTTP_RANGE_PART, {{99, 100}}},
        {"bytes=-100", HTTP_RANGE_PART, {{0, 100}}},
        {"bytes=-1000", HTTP_RANGE_PART, {{0, 100}}},
        {"bytes=100-", HTTP_RANGE_BEYOND, {{0, 0}}},
        {"bytes=100-200", HTTP_RANGE_BEYOND, {{0, 0}}},
        {"bytes=-0", HTTP_RANGE_BEYOND, {{0, 0}}},
        {"bytes=100-,-0", HTTP_RANGE_BEYOND, {{0, 0}}},
        /* several */
        {"bytes=0-9,10-19", HTTP_RANGE_PART, {{0, 20}}},
        {"bytes=10-19, 0-9", HTTP_RANGE_PART, {{0, 20}}},
        {"bytes=0-9,20-29,5-24", HTTP_RANGE_PART, {{0, 30}}},
        {"bytes=0-9,,", HTTP_RANGE_PART, {{0, 10}}},
        {"bytes=0-9,200-", HTTP_RANGE_PART, {{0, 10}}},
        {"bytes=0-9,20-29", HTTP_RANGE_PART, {{0, 10}, {20, 30}}},
        {"bytes=0-0,-1", HTTP_RANGE_PART, {{0, 1}, {99, 100}}},
        {"bytes=-1,0-0", HTTP_RANGE_PART, {{99, 100}, {0, 1}}}, /* as asked */
        {"bytes=50-59,0-9,60-69,30-39", HTTP_RANGE_PART, {{50, 70}, {0, 10}, {30, 40}}},
        {"bytes=50-59,0-9,70-79,30-39,5-55", HTTP_RANGE_PART, {{0, 60}, {70, 80}}},
        {"bytes=90-,10-19,0-8", HTTP_RANGE_PART, {{90, 100}, {10, 20}, {0, 9}}},
        {"bytes=200-,0-9,300-,20-29", HTTP_RANGE_PART, {{0, 10}, {20, 30}}},
        {"bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0",
         HTTP_RANGE_ALL,
         {{0, 0}}},
        /* not understood */
        {"", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=,", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=-", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=a-b", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=1-0", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=0-9,x", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=+1-2", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=1 -2", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=0-18446744073709551616", HTTP_RANGE_PART, {{0, 100}}},
        {"bytes=10-99999999999999999999999", HTTP_RANGE_PART, {{10, 100}}},
        {"bytes=-18446744073709551616", HTTP_RANGE_PART, {{0, 100}}},
        {"bytes=18446744073709551616-", HTTP_RANGE_BEYOND, {{0, 0}}},
        {"bytes=000000000000000000000010-11", HTTP_RANGE_PART, {{10, 12}}},
        {"bytes=18446744073709551616x-", HTTP_RANGE_ALL, {{0, 0}}},
        {"bytes=0-9-", HTTP_RANGE_ALL, {{0, 0}}},
        {"items=0-9", HTTP_RANGE_ALL, {{0, 0}}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        HttpSpan spans[HTTP_RANGES_MAX];
        size_t count = 7;
        HttpRange kind = http_range_parse(str_from_cstr(rows[i].header), 100, spans, &count);
        size_t wanted = 0;
        while (rows[i].spans[wanted].end > 0)
            wanted++;
        if (kind != rows[i].kind || count != wanted)
            fail_msg("%s: %d, %zu spans", rows[i].header, (int)kind, count);
        for (size_t n = 0; n < count; n++)
            if (spans[n].from != rows[i].spans[n].from || spans[n].end != rows[i].spans[n].end)
                fail_msg("%s: %d..%d", rows[i].header, (int)spans[n].from, (int)spans[n].end);
    }
}

static void test_most(void **state)
{
    UNUSED(state);
    HttpSpan spans[HTTP_RANGES_MAX];
    size_t count = 0;
    Str most = STR(
        "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,"
        "28-28,30-30");
    assert_int_equal(http_range_parse(most, 100, spans, &count), HTTP_RANGE_PART);
    assert_int_equal(count, HTTP_RANGES_MAX);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(spans[i].from, 2 * i);
    assert_int_equal(http_range_parse(STR("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,"
                                          "20-20,22-22,24-24,26-26,28-28,30-30,32-32"),
                                      100, spans, &count),
                     HTTP_RANGE_ALL);
    assert_int_equal(count, 0);
}

static void test_empty_content(void **state)
{
    UNUSED(state);
    HttpSpan spans[HTTP_RANGES_MAX];
    size_t count = 0;
    assert_int_equal(http_range_parse(STR("bytes=0-"), 0, spans, &count), HTTP_RANGE_BEYOND);
    assert_int_equal(http_range_parse(STR("bytes=-5"), 0, spans, &count), HTTP_RANGE_BEYOND);
    assert_int_equal(http_range_parse((Str){NULL, 0}, 0, spans, &count), HTTP_RANGE_ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_most),
        cmocka_unit_test(test_empty_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
