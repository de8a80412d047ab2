/* Ranges of a content of 100 bytes. */
#include "http/range.h"
#include "testing.h"

static void test_rows(void **state)
{
    UNUSED(state);
    static const struct {
        const char *header;
        HttpRange kind;
        uint64_t from;
        uint64_t end;
    } rows[] = {
        {"bytes=0-0", HTTP_RANGE_PART, 0, 1},
        {"bytes=0-99", HTTP_RANGE_PART, 0, 100},
        {"bytes=10-19", HTTP_RANGE_PART, 10, 20},
        {"Bytes = 10-19", HTTP_RANGE_PART, 10, 20},
        {"bytes=10-", HTTP_RANGE_PART, 10, 100},
        {"bytes=10-1000", HTTP_RANGE_PART, 10, 100},
        {"bytes=10-18446744073709551615", HTTP_RANGE_PART, 10, 100},
        {"bytes=99-", HTTP_RANGE_PART, 99, 100},
        {"bytes=-1", HTTP_RANGE_PART, 99, 100},
        {"bytes=-100", HTTP_RANGE_PART, 0, 100},
        {"bytes=-1000", HTTP_RANGE_PART, 0, 100},
        {"bytes=100-", HTTP_RANGE_BEYOND, 0, 0},
        {"bytes=100-200", HTTP_RANGE_BEYOND, 0, 0},
        {"bytes=-0", HTTP_RANGE_BEYOND, 0, 0},
        {"bytes=100-,-0", HTTP_RANGE_BEYOND, 0, 0},
        /* several */
        {"bytes=0-9,10-19", HTTP_RANGE_PART, 0, 20},
        {"bytes=10-19, 0-9", HTTP_RANGE_PART, 0, 20},
        {"bytes=0-9,20-29,5-24", HTTP_RANGE_PART, 0, 30},
        {"bytes=0-9,,", HTTP_RANGE_PART, 0, 10},
        {"bytes=0-9,200-", HTTP_RANGE_PART, 0, 10},
        {"bytes=0-9,20-29", HTTP_RANGE_ALL, 0, 0},
        {"bytes=0-0,-1", HTTP_RANGE_ALL, 0, 0},
        {"bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0",
         HTTP_RANGE_ALL, 0, 0},
        /* not understood */
        {"", HTTP_RANGE_ALL, 0, 0},
        {"bytes", HTTP_RANGE_ALL, 0, 0},
        {"bytes=", HTTP_RANGE_ALL, 0, 0},
        {"bytes=,", HTTP_RANGE_ALL, 0, 0},
        {"bytes=-", HTTP_RANGE_ALL, 0, 0},
        {"bytes=a-b", HTTP_RANGE_ALL, 0, 0},
        {"bytes=1-0", HTTP_RANGE_ALL, 0, 0},
        {"bytes=0-9,x", HTTP_RANGE_ALL, 0, 0},
        {"bytes=+1-2", HTTP_RANGE_ALL, 0, 0},
        {"bytes=1 -2", HTTP_RANGE_ALL, 0, 0},
        {"bytes=0-18446744073709551616", HTTP_RANGE_ALL, 0, 0},
        {"bytes=0-9-", HTTP_RANGE_ALL, 0, 0},
        {"items=0-9", HTTP_RANGE_ALL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t from = 0;
        uint64_t end = 0;
        HttpRange kind = http_range_parse(str_from_cstr(rows[i].header), 100, &from, &end);
        if (kind != rows[i].kind || from != rows[i].from || end != rows[i].end)
            fail_msg("%s: %d %d..%d", rows[i].header, (int)kind, (int)from, (int)end);
    }
}

static void test_empty_content(void **state)
{
    UNUSED(state);
    uint64_t from = 0;
    uint64_t end = 0;
    assert_int_equal(http_range_parse(STR("bytes=0-"), 0, &from, &end), HTTP_RANGE_BEYOND);
    assert_int_equal(http_range_parse(STR("bytes=-5"), 0, &from, &end), HTTP_RANGE_BEYOND);
    assert_int_equal(http_range_parse((Str){NULL, 0}, 0, &from, &end), HTTP_RANGE_ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_empty_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
