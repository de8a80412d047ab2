#include "http/conditions.h"
#include "testing.h"

#include <string.h>

static void matches_lists(void **state)
{
    UNUSED(state);
    static const struct {
        const char *header;
        const char *etag;
        int strong, weak; /* 1 matches, 0 does not, -1 malformed */
    } rows[] = {
        {"\"a\"", "a", 1, 1},
        {"\"a\"", "b", 0, 0},
        {"W/\"a\"", "a", 0, 1},
        {"W/\"a\", \"a\"", "a", 1, 1},
        {"\"b\",\"a\"", "a", 1, 1},
        {"\"b\" \t, \t \"a\"", "a", 1, 1},
        {" \"a\" ", "a", 1, 1},
        {"\"\"", "", 1, 1},
        {"\"a,b\"", "a,b", 1, 1},
        {"\"a,b\"", "a", 0, 0},
        {"\"W/\"", "W/", 1, 1},
        {"\"\xc3\xa4\"", "\xc3\xa4", 1, 1},
        {"*", "a", 1, 1},
        {" * ", "a", 1, 1},
        {"", "a", -1, -1},
        {"a", "a", -1, -1},
        {"'a'", "a", -1, -1},
        {"\"a", "a", -1, -1},
        {"a\"", "a", -1, -1},
        {"\"", "a", -1, -1},
        {"w/\"a\"", "a", -1, -1},
        {"W/ \"a\"", "a", -1, -1},
        {"W/", "a", -1, -1},
        {"W/a", "a", -1, -1},
        {"\"a b\"", "a b", -1, -1},
        {"\"a\x7f\"", "a", -1, -1},
        {"\"a\" \"b\"", "a", -1, -1},
        {"\"a\"\"b\"", "a", -1, -1},
        {"\"a\",", "a", -1, -1},
        {",\"a\"", "a", -1, -1},
        {"\"a\",,\"b\"", "a", -1, -1},
        {"\"a\", *", "a", -1, -1},
        {"*, \"a\"", "a", -1, -1},
        {"**", "a", -1, -1},
        {"\"a\", b", "a", -1, -1}, /* although the first one matches */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int weak = 0; weak < 2; weak++) {
            bool matches = false;
            int wanted = weak ? rows[i].weak : rows[i].strong;
            ErrCode code = http_etag_match(str_from_cstr(rows[i].header),
                                           weak ? HTTP_COMPARE_WEAK : HTTP_COMPARE_STRONG, true,
                                           str_from_cstr(rows[i].etag), &matches, NULL);
            int got = code == ERR_INVALID ? -1 : matches ? 1 : 0;
            if (got != wanted) fail_msg("row %zu weak %d: %d", i, weak, got);
        }
    }
}

static void knows_what_is_absent(void **state)
{
    UNUSED(state);
    bool matches = true;
    Err err;
    Str none = STR("");
    assert_ok(http_etag_match(STR("*"), HTTP_COMPARE_STRONG, false, none, &matches, &err), &err);
    assert_false(matches);
    assert_ok(http_etag_match(STR("\"\""), HTTP_COMPARE_WEAK, false, none, &matches, &err), &err);
    assert_false(matches);
}

static void limits_the_list(void **state)
{
    UNUSED(state);
    char list[HTTP_ETAGS_MAX * 4 + 8] = "";
    bool matches;
    for (size_t i = 0; i < HTTP_ETAGS_MAX + 1; i++)
        memcpy(list + i * 4, "\"a\",", 5);
    Str whole = str_of(list, (HTTP_ETAGS_MAX + 1) * 4 - 1);
    Str most = str_of(list, HTTP_ETAGS_MAX * 4 - 1);
    assert_ok(http_etag_match(most, HTTP_COMPARE_WEAK, true, STR("a"), &matches, NULL), NULL);
    assert_code(http_etag_match(whole, HTTP_COMPARE_WEAK, true, STR("a"), &matches, NULL),
                ERR_INVALID, NULL);
}

static void holds_ranges(void **state)
{
    UNUSED(state);
    static const struct {
        const char *validator;
        bool holds;
    } rows[] = {
        {NULL, true},
        {"\"a\"", true},
        {"\"b\"", false},
        {"W/\"a\"", false},
        {"*", false},
        {"garbage", false},
        {"Sat, 03 Jan 1970 00:00:00 GMT", true},
        {"Sat, 03 Jan 1970 00:00:01 GMT", false},
        {"Fri, 02 Jan 1970 23:59:59 GMT", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Str validator = rows[i].validator == NULL ? (Str){NULL, 0}
                                                  : str_from_cstr(rows[i].validator);
        assert_int_equal(http_range_holds(validator, STR("a"), 2 * 86400 * 1000ULL + 999),
                         rows[i].holds);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_lists),
        cmocka_unit_test(knows_what_is_absent),
        cmocka_unit_test(limits_the_list),
        cmocka_unit_test(holds_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
