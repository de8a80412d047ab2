#include "cli/show.h"
#include "testing.h"

#include <string.h>

static void sizes(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {1024 * 1024 - 1, "1023.9 KiB"},
        {MIB, "1.0 MiB"},
        {5 * GIB + GIB / 2, "5.5 GiB"},
        {1024 * GIB, "1.0 TiB"},
        {UINT64_MAX, "15.9 EiB"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[SHOW_SIZE_SIZE];
        assert_string_equal(show_size(rows[i].bytes, out), rows[i].text);
    }
}

static void counts(void **state)
{
    UNUSED(state);
    char out[SHOW_COUNT_SIZE];
    assert_string_equal(show_count(0, "note", out), "0 notes");
    assert_string_equal(show_count(1, "damaged place", out), "1 damaged place");
    assert_string_equal(show_count(2, "damaged place", out), "2 damaged places");
    assert_string_equal(show_count(UINT64_MAX, "file", out), "18446744073709551615 files");
}

static void durations(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t ms;
        const char *text;
    } rows[] = {
        {0, "0.0 s"},           {1230, "1.2 s"},           {9999, "9.9 s"},
        {10000, "10 s"},        {59999, "59 s"},           {60000, "1 min 0 s"},
        {200000, "3 min 20 s"}, {45240000, "12 h 34 min"}, {UINT64_MAX, "5124095576030 h 25 min"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[SHOW_DURATION_SIZE];
        assert_string_equal(show_duration(rows[i].ms, out), rows[i].text);
    }
}

static void names(void **state)
{
    UNUSED(state);
    static const struct {
        const char *name, *shown;
    } rows[] = {
        {"", ""},
        {"a b/c", "a b/c"},
        {"\xc3\xbc\xe6\x97\xa5", "\xc3\xbc\xe6\x97\xa5"},
        {"a\nb", "a\\x0ab"},
        {"\x1b[31m", "\\x1b[31m"},
        {"\x7f", "\\x7f"},
        {"\xff", "\\xff"},
        {"a\xc3", "a\\xc3"},
        {"\xc2\x9b"
         "x",
         "\\xc2\\x9bx"}, /* CSI in one character */
        {"\xc2\xa0", "\xc2\xa0"},
    };
    AUTO_BUF(all, 4096);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[SHOW_NAME_SIZE];
        assert_string_equal(show_name(str_from_cstr(rows[i].name), out), rows[i].shown);
        buf_clear(&all);
        assert_ok(show_name_append(&all, str_from_cstr(rows[i].name), NULL), NULL);
        assert_str(buf_str(&all), rows[i].shown);
    }
}

static void long_names(void **state)
{
    UNUSED(state);
    char name[2000];
    char out[SHOW_NAME_SIZE];
    memset(name, '\n', sizeof name);
    show_name(str_of(name, sizeof name), out);
    assert_in_range(strlen(out), SHOW_NAME_SIZE - 8, SHOW_NAME_SIZE - 1);
    assert_string_equal(out + strlen(out) - 7, "\\x0a...");
    memset(name, 'a', sizeof name);
    assert_int_equal(strlen(show_name(str_of(name, SHOW_NAME_SIZE - 4), out)), SHOW_NAME_SIZE - 4);
    assert_null(strstr(out, "..."));
    AUTO_BUF(small, 100);
    assert_code(show_name_append(&small, str_of(name, 101), NULL), ERR_TOO_BIG, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes), cmocka_unit_test(counts),     cmocka_unit_test(durations),
        cmocka_unit_test(names), cmocka_unit_test(long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
