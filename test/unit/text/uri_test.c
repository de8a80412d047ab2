#include "testing.h"
#include "text/uri.h"

#include <string.h>

static void decodes(void **state)
{
    UNUSED(state);
    static const struct {
        const char *raw;
        const char *path, *query; /* NULL: refused */
    } rows[] = {
        {"", "", ""},           {"abc", "abc", "abc"},  {"a+b", "a+b", "a b"},
        {"%41%7a", "Az", "Az"}, {"%2F%2f", "//", "//"}, {"%252f", "%2f", "%2f"},
        {"%", NULL, NULL},      {"%4", NULL, NULL},     {"a%4", NULL, NULL},
        {"%zz", NULL, NULL},    {"%4g", NULL, NULL},    {"%%41", NULL, NULL},
        {"% 41", NULL, NULL},   {"%+1", NULL, NULL},    {"%c3%a4", "\xc3\xa4", "\xc3\xa4"},
    };
    Arena arena;
    arena_init(&arena, 65536);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int query = 0; query < 2; query++) {
            const char *wanted = query ? rows[i].query : rows[i].path;
            Str out = STR("untouched"), raw = str_from_cstr(rows[i].raw);
            ErrCode code = uri_decode(&arena, query ? URI_QUERY : URI_PATH, raw, &out, NULL);
            assert_int_equal(code, wanted != NULL ? OK : ERR_INVALID);
            assert_str(out, wanted != NULL ? wanted : "untouched");
        }
    }
    Str out, plain = STR("plain");
    assert_ok(uri_decode(&arena, URI_PATH, STR("a%00b"), &out, NULL), NULL);
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.ptr, "a\0b", 3);
    assert_ok(uri_decode(&arena, URI_PATH, plain, &out, NULL), NULL);
    assert_ptr_equal(out.ptr, plain.ptr); /* a view */
    arena_deinit(&arena);
    char raw[200];
    memset(raw, '%', sizeof raw);
    arena_init(&arena, 64);
    assert_code(uri_decode(&arena, URI_PATH, str_of(raw, sizeof raw), &out, NULL), ERR_NO_MEMORY,
                NULL);
    arena_deinit(&arena);
}

static void splits_queries(void **state)
{
    UNUSED(state);
    Str query = STR("a=b&&c&d=&=e&f=g=h&"), name, value;
    static const struct {
        const char *name, *value;
        bool has_value;
    } rows[] = {
        {"a", "b", true}, {"c", "", false}, {"d", "", true}, {"", "e", true}, {"f", "g=h", true}};
    bool has_value;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(uri_query_next(&query, &name, &value, &has_value));
        assert_str(name, rows[i].name);
        assert_str(value, rows[i].value);
        assert_int_equal(has_value, rows[i].has_value);
    }
    assert_false(uri_query_next(&query, &name, &value, &has_value));
    query = (Str){NULL, 0};
    assert_false(uri_query_next(&query, &name, &value, &has_value));
}

static void finds_parameters(void **state)
{
    UNUSED(state);
    Arena arena;
    bool found;
    Str value = STR("untouched"), query = STR("k%65y=a+b%2B&x=1&x=2&bad=%z");
    arena_init(&arena, 65536);
    assert_ok(uri_query_get(&arena, STR("k%65y=a+b%2B"), STR("key"), &found, &value, NULL), NULL);
    assert_true(found);
    assert_str(value, "a b+");
    value = STR("untouched");
    assert_ok(uri_query_get(&arena, query, STR("y"), &found, &value, NULL), NULL);
    assert_false(found);
    assert_str(value, "untouched");
    assert_code(uri_query_get(&arena, query, STR("x"), &found, &value, NULL), ERR_INVALID, NULL);
    assert_code(uri_query_get(&arena, query, STR("bad"), &found, &value, NULL), ERR_INVALID, NULL);
    assert_code(uri_query_get(&arena, STR("%z=1"), STR("x"), &found, &value, NULL), ERR_INVALID,
                NULL);
    assert_ok(uri_query_get(&arena, (Str){NULL, 0}, STR("x"), &found, &value, NULL), NULL);
    assert_false(found);
    arena_deinit(&arena);
}

static void encodes(void **state)
{
    UNUSED(state);
    AUTO_BUF(out, 1000);
    Str raw = STR("aZ09-._~/ +%\xc3\xa4*'");
    assert_ok(uri_encode(&out, URI_ENCODE_ALL, raw, NULL), NULL);
    assert_str(buf_str(&out), "aZ09-._~%2F%20%2B%25%C3%A4%2A%27");
    buf_clear(&out);
    assert_ok(uri_encode(&out, URI_ENCODE_PATH, raw, NULL), NULL);
    assert_str(buf_str(&out), "aZ09-._~/%20%2B%25%C3%A4%2A%27");
    AUTO_BUF(small, 4);
    assert_code(uri_encode(&small, URI_ENCODE_ALL, raw, NULL), ERR_TOO_BIG, NULL);
}

static void sees_needless_escapes(void **state)
{
    UNUSED(state);
    static const char *const needless[] = {"%61cl", "a%63l", "ac%6C", "ac%6c",
                                           "%2D",   "%7e",   "%%61"};
    static const char *const others[] = {"",   "acl", "%20", "a%2Fb", "%C3%A4",
                                         "%6", "%",   "%zz", "%25"};
    for (size_t i = 0; i < ARRAY_LEN(needless); i++)
        assert_true(uri_needless(str_from_cstr(needless[i])));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(uri_needless(str_from_cstr(others[i])));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes),
        cmocka_unit_test(splits_queries),
        cmocka_unit_test(finds_parameters),
        cmocka_unit_test(encodes),
        cmocka_unit_test(sees_needless_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
