#include "testing.h"
#include "text/json.h"

#include <string.h>

static void writes_values(void **state)
{
    UNUSED(state);
    AUTO_BUF(out, 4096);
    JsonWriter w;
    Err err;
    json_writer_init(&w, &out);
    json_write_object_begin(&w);
    json_member_cstr(&w, "a", "b");
    json_member_u64(&w, "max", UINT64_MAX);
    json_write_key(&w, "min");
    json_write_i64(&w, INT64_MIN);
    json_member_bool(&w, "yes", true);
    json_member_bool(&w, "no", false);
    json_write_key(&w, "none");
    json_write_null(&w);
    json_write_key(&w, "list");
    json_write_array_begin(&w);
    json_write_u64(&w, 1);
    json_write_array_begin(&w);
    json_write_array_end(&w);
    json_write_object_begin(&w);
    json_write_object_end(&w);
    json_write_array_end(&w);
    json_write_key_str(&w, STR("k\"\n"));
    json_write_cstr(&w, "");
    json_member_time_ms(&w, "at", 784111777001);
    json_write_object_end(&w);
    assert_ok(json_writer_end(&w, &err), &err);
    assert_str(buf_str(&out),
               "{\"a\":\"b\",\"max\":18446744073709551615,\"min\":-9223372036854775808,"
               "\"yes\":true,\"no\":false,\"none\":null,\"list\":[1,[],{}],"
               "\"k\\\"\\n\":\"\",\"at\":\"1994-11-06T08:49:37.001Z\"}");
}

static void escapes_strings(void **state)
{
    UNUSED(state);
    static const struct {
        Str raw;
        const char *json;
    } rows[] = {
        {STR_INIT("a\"b\\c/"), "\"a\\\"b\\\\c/\""},
        {STR_INIT("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\""},
        {STR_INIT("\0\x1f\x7f"), "\"\\u0000\\u001f\\u007f\""},
        {STR_INIT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
         "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {STR_INIT("a\x80z"), "\"a\xef\xbf\xbdz\""},
        {STR_INIT("\xc3"), "\"\xef\xbf\xbd\""},
        {STR_INIT("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {STR_INIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {STR_INIT("\xf4\x90\x80\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {STR_INIT("\xe2\x82z"), "\"\xef\xbf\xbd\xef\xbf\xbdz\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_BUF(out, 4096);
        JsonWriter w;
        json_writer_init(&w, &out);
        json_write_str(&w, rows[i].raw);
        assert_ok(json_writer_end(&w, NULL), NULL);
        assert_str(buf_str(&out), rows[i].json);
        json_t *value; /* jansson agrees that it is JSON (it refuses NUL only by a flag) */
        if (memchr(rows[i].raw.ptr, 0, rows[i].raw.len) != NULL) continue;
        assert_ok(json_parse(buf_str(&out), &value, NULL), NULL);
        json_free(value);
    }
}

/* Every byte at every place of a text longer than what is looked at at once: written as it is
 * written alone, with what stands beside it. */
static void escapes_at_every_place(void **state)
{
    UNUSED(state);
    enum { LEN = 19 };
    for (unsigned byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        AUTO_BUF(alone, 64);
        JsonWriter w;
        json_writer_init(&w, &alone);
        json_write_str(&w, str_of(&c, 1));
        assert_ok(json_writer_end(&w, NULL), NULL);
        for (size_t at = 0; at < LEN; at++) {
            char text[LEN];
            char wanted[64];
            memset(text, 'x', LEN);
            text[at] = c;
            int len = snprintf(wanted, sizeof wanted, "\"%.*s%.*s%.*s\"", (int)at,
                               "xxxxxxxxxxxxxxxxxxx", (int)alone.len - 2,
                               (const char *)alone.data + 1, (int)(LEN - 1 - at),
                               "xxxxxxxxxxxxxxxxxxx");
            AUTO_BUF(out, 64);
            json_writer_init(&w, &out);
            json_write_str(&w, str_of(text, LEN));
            assert_ok(json_writer_end(&w, NULL), NULL);
            assert_str(buf_str(&out), wanted);
            assert_int_equal(out.len, len);
        }
    }
}

static void tells_that_it_did_not_fit(void **state)
{
    UNUSED(state);
    AUTO_BUF(out, 10);
    JsonWriter w;
    json_writer_init(&w, &out);
    json_write_array_begin(&w);
    for (int i = 0; i < 100; i++)
        json_write_u64(&w, 12345);
    json_write_array_end(&w);
    assert_code(json_writer_end(&w, NULL), ERR_TOO_BIG, NULL);
}

static void two_levels_open(void *arg)
{
    Buf *out = arg;
    JsonWriter w;
    json_writer_init(&w, out);
    json_write_array_begin(&w);
    ErrCode code = json_writer_end(&w, NULL);
    UNUSED(code);
}

static void asserts_that_all_is_closed(void **state)
{
    UNUSED(state);
    AUTO_BUF(out, 100);
    assert_aborts(two_levels_open, &out, "depth == 0");
}

static void parses_strictly(void **state)
{
    UNUSED(state);
    static const char *const bad[] = {"",          "{",       "{}x",      "{\"a\":1,\"a\":2}",
                                      "{a:1}",     "[1,]",    "'a'",      "nul",
                                      "01",        "\"\n\"",  "\"\xff\"", "[1] [2]",
                                      "\x01",      "{\"a\"}", "+1",       "1.",
                                      "\"\\x41\"", "[1 2]",   "//\n1",    "NaN"};
    Err err;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *value = NULL;
        assert_code(json_parse(str_from_cstr(bad[i]), &value, &err), ERR_INVALID, &err);
        assert_null(value);
    }
    char deep[5000];
    memset(deep, '[', sizeof deep);
    json_t *none = NULL;
    assert_code(json_parse(str_of(deep, sizeof deep), &none, &err), ERR_INVALID, &err);
    assert_non_null(strstr(err_text(&err), "line 1"));
}

static void gets_members(void **state)
{
    UNUSED(state);
    Err err;
    json_t *parsed;
    Str text = STR("{\"s\":\"a\\u0041\",\"n\":7,\"neg\":-1,\"b\":true,\"z\":null,\"f\":1.5}");
    assert_ok(json_parse(text, &parsed, &err), &err);
    AUTO(json_t, json_free) value = parsed;
    Str s = STR("untouched");
    uint64_t n = 99;
    bool b = false;
    assert_ok(json_get_str(value, "s", &s, &err), &err);
    assert_str(s, "aA");
    assert_ok(json_get_u64(value, "n", &n, &err), &err);
    assert_int_equal(n, 7);
    assert_ok(json_get_optional_bool(value, "b", &b, &err), &err);
    assert_true(b);
    s = STR("untouched");
    n = 99;
    assert_ok(json_get_optional_str(value, "absent", &s, &err), &err);
    assert_ok(json_get_optional_str(value, "z", &s, &err), &err);
    assert_ok(json_get_optional_u64(value, "z", &n, &err), &err);
    assert_ok(json_get_optional_bool(value, "absent", &b, &err), &err);
    assert_code(json_get_str(value, "absent", &s, &err), ERR_INVALID, &err);
    assert_code(json_get_str(value, "z", &s, &err), ERR_INVALID, &err);
    assert_code(json_get_str(value, "n", &s, &err), ERR_INVALID, &err);
    assert_code(json_get_u64(value, "absent", &n, &err), ERR_INVALID, &err);
    assert_code(json_get_u64(value, "neg", &n, &err), ERR_INVALID, &err);
    assert_code(json_get_u64(value, "f", &n, &err), ERR_INVALID, &err);
    assert_code(json_get_optional_u64(value, "s", &n, &err), ERR_INVALID, &err);
    assert_code(json_get_optional_bool(value, "n", &b, &err), ERR_INVALID, &err);
    assert_non_null(strstr(err_text(&err), "\"n\""));
    assert_str(s, "untouched");
    assert_int_equal(n, 99);
}

static void seals(void **state)
{
    AUTO_BUF(file, 4096);
    Err err = {0};
    UNUSED(state);
    assert_ok(buf_append_str(&file, STR("{\"a\":1,\"b\":[2]}"), &err), &err);
    assert_code(json_check_seal(buf_str(&file), &err), ERR_CORRUPT, &err);
    assert_ok(json_seal(&file, &err), &err);
    assert_ok(json_check_seal(buf_str(&file), &err), &err);
    AUTO(json_t, json_free) value = NULL;
    Str digest;
    assert_ok(json_parse(buf_str(&file), &value, &err), &err);
    assert_ok(json_get_str(value, "sha256", &digest, &err), &err);
    assert_int_equal(digest.len, 64);
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_code(json_check_seal(buf_str(&file), &err), ERR_CORRUPT, &err);
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_code(json_check_seal(str_slice(buf_str(&file), 0, file.len - 1), &err), ERR_CORRUPT,
                &err);
    assert_ok(buf_append(&file, "\n", 1, &err), &err);
    assert_ok(json_check_seal(buf_str(&file), &err), &err);
    assert_code(json_check_seal(STR(""), &err), ERR_CORRUPT, &err);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_values),
        cmocka_unit_test(escapes_strings),
        cmocka_unit_test(escapes_at_every_place),
        cmocka_unit_test(tells_that_it_did_not_fit),
        cmocka_unit_test(asserts_that_all_is_closed),
        cmocka_unit_test(parses_strictly),
        cmocka_unit_test(gets_members),
        cmocka_unit_test(seals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
