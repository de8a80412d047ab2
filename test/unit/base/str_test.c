#include "testing.h"

#include <string.h>

#define S(literal) STR_INIT(literal)

static void test_cstr(void **state)
{
    UNUSED(state);
    assert_str(str_from_cstr("abc"), "abc");
    assert_int_equal(str_from_cstr(NULL).len, 0);
    assert_int_equal(str_from_cstr("").len, 0);
    static const struct {
        Str s;
        size_t size;
        bool fits;
    } rows[] = {
        {S(""), 1, true},    {S("a"), 1, false},    {S("a"), 2, true},   {S("abc"), 3, false},
        {S("abc"), 4, true}, {S("a\0b"), 8, false}, {S("\0"), 8, false}, {{NULL, 0}, 1, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[8];
        memset(out, '#', sizeof out);
        assert_int_equal(str_to_cstr(rows[i].s, out, rows[i].size), rows[i].fits);
        assert_str(rows[i].fits ? rows[i].s : STR(""), out);
        /* Nothing behind its size was touched. */
        if (rows[i].size < sizeof out) assert_int_equal(out[rows[i].size], '#');
    }
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void test_compare(void **state)
{
    UNUSED(state);
    static const struct {
        Str a, b;
        int order;
        bool equal_nocase;
    } rows[] = {
        {S(""), S(""), 0, true},           {{NULL, 0}, S(""), 0, true},
        {S(""), S("a"), -1, false},        {S("a"), S("ab"), -1, false},
        {S("ab"), S("b"), -1, false},      {S("a"), S("A"), 1, true},
        {S("a\0b"), S("a\0c"), -1, false}, {S("a\0"), S("a"), 1, false},
        {S("\xff"), S("\x7f"), 1, false},  {S("Content-TYPE"), S("content-type"), -1, true},
        {S("[@"), S("{`"), -1, false},     {S("\xc3\x84"), S("\xc3\xa4"), -1, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(sign(str_cmp(rows[i].a, rows[i].b)), rows[i].order);
        assert_int_equal(sign(str_cmp(rows[i].b, rows[i].a)), -rows[i].order);
        assert_int_equal(str_eq(rows[i].a, rows[i].b), rows[i].order == 0);
        assert_int_equal(str_eq_secret(rows[i].a, rows[i].b), rows[i].order == 0);
        assert_int_equal(str_eq_nocase(rows[i].a, rows[i].b), rows[i].equal_nocase);
    }
    assert_true(str_eq_nocase(STR("AZ09"), STR("az09")));
}

static void test_ends(void **state)
{
    UNUSED(state);
    static const struct {
        Str s, part;
        bool starts, ends;
    } rows[] = {
        {S(""), S(""), true, true},        {S("a"), S(""), true, true},
        {S(""), S("a"), false, false},     {S("ab"), S("a"), true, false},
        {S("ab"), S("b"), false, true},    {S("ab"), S("ab"), true, true},
        {S("ab"), S("abc"), false, false}, {{NULL, 0}, {NULL, 0}, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(str_starts_with(rows[i].s, rows[i].part), rows[i].starts);
        assert_int_equal(str_ends_with(rows[i].s, rows[i].part), rows[i].ends);
    }
}

static void test_slice(void **state)
{
    UNUSED(state);
    static const struct {
        size_t from, len;
        const char *slice;
    } rows[] = {
        {0, 0, ""}, {0, 3, "abc"}, {0, 9, "abc"},      {1, 1, "b"},
        {3, 1, ""}, {9, 9, ""},    {2, SIZE_MAX, "c"}, {SIZE_MAX, SIZE_MAX, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_str(str_slice(STR("abc"), rows[i].from, rows[i].len), rows[i].slice);
    }
    assert_int_equal(str_slice((Str){NULL, 0}, 1, 1).len, 0);
}

static void test_split(void **state)
{
    UNUSED(state);
    static const struct {
        Str s;
        bool found;
        const char *head, *tail;
    } rows[] = {
        {S(""), false, "", ""},         {S("abc"), false, "abc", ""}, {S("a=b"), true, "a", "b"},
        {S("a=b=c"), true, "a", "b=c"}, {S("="), true, "", ""},       {S("a="), true, "a", ""},
        {S("=b"), true, "", "b"},       {{NULL, 0}, false, "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Str head, tail;
        assert_int_equal(str_split(rows[i].s, '=', &head, &tail), rows[i].found);
        assert_str(head, rows[i].head);
        assert_str(tail, rows[i].tail);
    }
    /* The outputs may be the input. */
    Str rest = STR("a,b");
    Str one;
    assert_true(str_split(rest, ',', &one, &rest));
    assert_str(one, "a");
    assert_str(rest, "b");
    assert_int_equal(str_find_char(STR("abc"), 'c'), 2);
    assert_int_equal(str_find_char(STR("abc"), 'd'), 3);
    assert_int_equal(str_find_char((Str){NULL, 0}, 'd'), 0);
}

static void test_trim(void **state)
{
    UNUSED(state);
    static const struct {
        const char *s, *trimmed;
    } rows[] = {
        {"", ""}, {" ", ""}, {" \t ", ""}, {"a", "a"}, {" a b\t", "a b"}, {"\na\r", "\na\r"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_str(str_trim(str_from_cstr(rows[i].s)), rows[i].trimmed);
    }
}

static void test_to_u64(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        uint64_t max;
        bool valid;
        uint64_t value;
    } rows[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"007", 10, true, 7},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"18446744073709551620", UINT64_MAX, false, 0},
        {"99999999999999999999", UINT64_MAX, false, 0},
        {"00000000000000000001", UINT64_MAX, true, 1},
        {"000000000000000000001", UINT64_MAX, false, 0},
        {"", 9, false, 0},
        {"-1", 9, false, 0},
        {"+1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"0x1", 99, false, 0},
        {"1/", 99, false, 0},
        {"1:", 99, false, 0},
        {"1048576", 1048576, true, 1048576},
        {"1048577", 1048576, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t value = 42;
        assert_int_equal(str_to_u64(str_from_cstr(rows[i].text), rows[i].max, &value),
                         rows[i].valid);
        assert_int_equal(value, rows[i].valid ? rows[i].value : 42);
    }
    uint64_t value = 42;
    assert_false(str_to_u64(STR("1\0"), 99, &value));
}

static void test_utf8(void **state)
{
    UNUSED(state);
    static const struct {
        Str s;
        bool valid;
    } rows[] = {
        {S(""), true},
        {S("a\0b"), true},
        {S("\x7f"), true},
        {S("\x80"), false},
        {S("\xc0\x80"), false}, /* overlong NUL */
        {S("\xc1\xbf"), false},
        {S("\xc2\x80"), true},
        {S("\xdf\xbf"), true},
        {S("\xc2"), false},
        {S("\xc2\x7f"), false},
        {S("\xc2\xc0"), false},
        {S("\xe0\x9f\xbf"), false}, /* overlong */
        {S("\xe0\xa0\x80"), true},
        {S("\xed\x9f\xbf"), true},
        {S("\xed\xa0\x80"), false}, /* surrogate */
        {S("\xee\x80\x80"), true},
        {S("\xef\xbf\xbf"), true},
        {S("\xe2\x82"), false},
        {S("\xe2\x82\x2c"), false},
        {S("\xf0\x8f\xbf\xbf"), false}, /* overlong */
        {S("\xf0\x90\x80\x80"), true},
        {S("\xf4\x8f\xbf\xbf"), true},
        {S("\xf4\x90\x80\x80"), false}, /* beyond U+10FFFF */
        {S("\xf5\x80\x80\x80"), false},
        {S("\xff"), false},
        {S("\xf0\x9f\x98"), false},
        {S("ok \xf0\x9f\x98\x80 \xff"), false},
        {S("gr\xc3\xbc\xc3\x9f"), true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(str_is_utf8(rows[i].s), rows[i].valid);
    }
    /* The view ends within a character; what stands behind it is not looked at. */
    static const Str whole[] = {S("\xc2\x80"), S("\xe2\x82\xac"), S("\xf0\x9f\x98\x80")};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        for (size_t len = 1; len < whole[i].len; len++) {
            assert_false(str_is_utf8(str_slice(whole[i], 0, len)));
        }
    }
    assert_int_equal(str_utf8_len(STR("\xe2\x82\xacx")), 3);
    assert_int_equal(str_utf8_len(STR("\xf0\x9f\x98\x80")), 4);
    assert_int_equal(str_utf8_len((Str){NULL, 0}), 0);
}

static void test_hex(void **state)
{
    UNUSED(state);
    const uint8_t bytes[] = {0x00, 0x1f, 0xa0, 0xff};
    char text[9];
    hex_encode(bytes, sizeof bytes, text);
    assert_string_equal(text, "001fa0ff");
    hex_encode(bytes, 0, text);
    assert_string_equal(text, "");
    static const struct {
        Str hex;
        size_t len;
        bool valid;
    } rows[] = {
        {S("001fa0ff"), 4, true},   {S("001FA0fF"), 4, true},  {S(""), 0, true},
        {S("001fa0f"), 4, false},   {S("001fa0f"), 3, false},  {S("001fa0ff0"), 4, false},
        {S("001fa0fg"), 4, false},  {S("001fa0f "), 4, false}, {S("001fa0/:"), 4, false},
        {S("001fa0f\0"), 4, false}, {S("001fa0@`"), 4, false}, {S("001fa0G0"), 4, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t out[4] = {0};
        assert_int_equal(hex_decode(rows[i].hex, out, rows[i].len), rows[i].valid);
        if (rows[i].valid) assert_memory_equal(out, bytes, rows[i].len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cstr),   cmocka_unit_test(test_compare), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_slice),  cmocka_unit_test(test_split),   cmocka_unit_test(test_trim),
        cmocka_unit_test(test_to_u64), cmocka_unit_test(test_utf8),    cmocka_unit_test(test_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
