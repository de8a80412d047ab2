/* Forms: every body cut at every place gives the same parts, and the same refusals. */
#include "http/form.h"
#include "testing.h"

#include <string.h>

#define TYPE "multipart/form-data; boundary=b"
#define FILE_HEAD "Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n"

typedef struct {
    Str body;
    const char *parts; /* each part's bytes behind '|'; NULL: refused */
    bool ended;
} Row;

#define ROW(body, parts, ended)                                                                    \
    {                                                                                              \
        STR_INIT(body), (parts), (ended)                                                           \
    }

static const Row rows[] = {
    ROW("--b\r\n" FILE_HEAD "abc\r\n--b--", "|abc", true),
    ROW("--b\r\n" FILE_HEAD "abc\r\n--b--\r\n", "|abc", true),
    ROW("--b\r\n" FILE_HEAD "\r\n--b--\r\n", "|", true),
    ROW("--b\r\n" FILE_HEAD "a\r\n--b\r\n" FILE_HEAD "c\r\n--b--", "|a|c", true),
    ROW("--b \t\r\n" FILE_HEAD "a\r\n--b--epilogue\r\n--b\r\n", "|a", true),
    ROW("preamble\r\n--b\r\n" FILE_HEAD "a\r\n--b--", "|a", true),
    ROW("\r\n--b\r\n" FILE_HEAD "a\r\n--b--", "|a", true),
    ROW("--b--", "", true),
    /* what only looks like a boundary is data */
    ROW("--b\r\n" FILE_HEAD "\r\r\n\r\n-\r\n--\r\n--a\n--b\r\n--b--",
        "|\r\r\n\r\n-\r\n--\r\n--a\n--b", true),
    ROW("--b\r\n" FILE_HEAD "\r\n-\r\n--b--", "|\r\n-", true),
    ROW("--b\r\n" FILE_HEAD "\r\n\r\n\r\n--b--", "|\r\n\r\n", true),
    /* not over */
    ROW("", "", false),
    ROW("--b\r\n" FILE_HEAD "abc", "|abc", false),
    ROW("--b\r\n" FILE_HEAD "abc\r\n--b", "|abc", false),
    ROW("--b\r\n" FILE_HEAD "abc\r\n--b-", "|abc", false),
    ROW("--b\r\nContent-Disposition: form-data", "", false),
    /* refused */
    ROW("--bx\r\n", NULL, false),
    ROW("--b\rx", NULL, false),
    ROW("--b-x", NULL, false),
    ROW("--b\r\n" FILE_HEAD "abc\r\n--bc", NULL, false),
};

/* Parts of the body as rows show them; false: refused. */
static bool take_apart(Str body, size_t step, Buf *out, bool *ended)
{
    HttpForm form;
    Err err = {0};
    assert_ok(http_form_init(&form, STR(TYPE), &err), &err);
    for (size_t at = 0; at < body.len;) {
        size_t given = MIN(step, body.len - at);
        for (size_t done = 0;;) {
            size_t used = 0;
            Str piece = {NULL, 0};
            HttpFormNext next = http_form_next(&form, body.ptr + at + done, given - done, &used,
                                               &piece, &err);
            done += used;
            if (next == HTTP_FORM_FAILED) {
                assert_int_equal(err.code, ERR_INVALID);
                return false;
            }
            if (next == HTTP_FORM_MORE) {
                assert_int_equal(done, given);
                break;
            }
            if (next == HTTP_FORM_PART) assert_ok(buf_append(out, "|", 1, &err), &err);
            if (next == HTTP_FORM_DATA) assert_true(piece.len > 0);
            if (next == HTTP_FORM_DATA) assert_ok(buf_append_str(out, piece, &err), &err);
        }
        at += given;
    }
    *ended = http_form_ended(&form);
    return true;
}

static void test_parts(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step <= rows[i].body.len + 1; step++) {
            AUTO_BUF(out, 4096);
            bool ended = false;
            bool good = take_apart(rows[i].body, step, &out, &ended);
            if (good != (rows[i].parts != NULL)) fail_msg("row %zu step %zu: %d", i, step, good);
            if (!good) continue;
            if (!str_eq(buf_str(&out), str_from_cstr(rows[i].parts)) || ended != rows[i].ended)
                fail_msg("row %zu step %zu: \"%.*s\"", i, step, STR_ARG(buf_str(&out)));
        }
    }
}

static void test_boundaries(void **state)
{
    UNUSED(state);
    static const struct {
        const char *type;
        bool good;
    } types[] = {
        {"multipart/form-data; boundary=abc", true},
        {"Multipart/Form-Data ; charset=utf-8; BOUNDARY=\"a b\"", true},
        {"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", true},
        {"multipart/form-data", false},
        {"multipart/form-data; boundary=", false},
        {"multipart/form-data; boundary=\"a \"", false},
        {"multipart/form-data; boundary=\"a", false},
        {"multipart/form-data; boundary=a\"b", false},
        {"multipart/form-data; boundary", false},
        {"multipart/mixed; boundary=a", false},
        {"multipart/form-data; boundary="
         "01234567890123456789012345678901234567890123456789012345678901234567890",
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        HttpForm form;
        Err err = {0};
        ErrCode code = http_form_init(&form, str_from_cstr(types[i].type), &err);
        if (code != (types[i].good ? OK : ERR_INVALID)) fail_msg("%s: %d", types[i].type, code);
    }
    assert_true(http_form_is(STR("MULTIPART/form-data;x")));
    assert_false(http_form_is(STR("multipart/form-datax")));
    assert_false(http_form_is((Str){NULL, 0}));
}

/* The form's first part; its data is empty. */
static ErrCode first_part(const char *head, HttpFormPart *part, Err *err)
{
    HttpForm form;
    AUTO_BUF(body, 8192);
    size_t used = 0;
    Str piece;
    assert_ok(http_form_init(&form, STR(TYPE), err), err);
    assert_ok(buf_printf(&body, err, "--b\r\n%s\r\n", head), err);
    assert_int_equal(http_form_next(&form, (const char *)body.data, body.len, &used, &piece, err),
                     HTTP_FORM_PART);
    return http_form_part(&form, part, err);
}

static void test_heads(void **state)
{
    UNUSED(state);
    static const struct {
        const char *head;
        const char *name; /* NULL: refused */
        const char *file_name;
        const char *type;
        bool is_file;
    } heads[] = {
        {"Content-Disposition: form-data; name=\"file\"\r\n", "file", "", "", false},
        {"content-disposition:form-data;name=file;filename=a.b\r\nContent-Type:  text/plain \r\n",
         "file", "a.b", "text/plain", true},
        {"Content-Disposition: form-data; name=\"a\"; filename=\"x%22y%0D%0az%41\"\r\n", "a",
         "x\"y\r%0az%41", "", true},
        {"Content-Disposition: form-data; name=\"a\"; filename=\"x\\\"y\\\\z\"\r\n", "a", "x\"y\\z",
         "", true},
        {"Content-Disposition: form-data; name=\"a\"; filename=\"\"\r\n", "a", "", "", true},
        {"", NULL, "", "", false},
        {"Content-Disposition: attachment; name=a\r\n", NULL, "", "", false},
        {"Content-Disposition: form-data; filename=a\r\n", NULL, "", "", false},
        {"Content-Disposition: form-data; name=\"a\r\n", NULL, "", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        HttpFormPart part;
        Err err = {0};
        http_form_part_init(&part);
        ErrCode code = first_part(heads[i].head, &part, &err);
        if (code != (heads[i].name == NULL ? ERR_INVALID : OK)) fail_msg("%s", heads[i].head);
        if (code == OK) {
            assert_str(buf_str(&part.name), heads[i].name);
            assert_str(buf_str(&part.file_name), heads[i].file_name);
            assert_str(buf_str(&part.content_type), heads[i].type);
            assert_int_equal(part.is_file, heads[i].is_file);
        }
        http_form_part_deinit(&part);
    }
}

static void test_limits(void **state)
{
    UNUSED(state);
    static char junk[HTTP_FORM_MARGIN_MAX + 10];
    HttpForm form;
    Err err = {0};
    size_t used = 0;
    Str piece;
    memset(junk, 'x', sizeof junk);
    assert_ok(http_form_init(&form, STR(TYPE), &err), &err);
    assert_int_equal(http_form_next(&form, junk, sizeof junk, &used, &piece, &err),
                     HTTP_FORM_FAILED);
    assert_ok(http_form_init(&form, STR(TYPE), &err), &err);
    assert_int_equal(http_form_next(&form, "--b\r\n", 5, &used, &piece, &err), HTTP_FORM_MORE);
    assert_int_equal(http_form_next(&form, junk, HTTP_FORM_HEAD_MAX + 1, &used, &piece, &err),
                     HTTP_FORM_FAILED);
    assert_ok(http_form_init(&form, STR(TYPE), &err), &err);
    assert_int_equal(http_form_next(&form, "--b--", 5, &used, &piece, &err), HTTP_FORM_END);
    assert_int_equal(http_form_next(&form, junk, HTTP_FORM_MARGIN_MAX, &used, &piece, &err),
                     HTTP_FORM_MORE);
    assert_int_equal(http_form_next(&form, junk, 1, &used, &piece, &err), HTTP_FORM_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_boundaries),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
