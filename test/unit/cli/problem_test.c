#include "cli/problem.h"
#include "testing.h"

#include <string.h>

static void codes(void **state)
{
    UNUSED(state);
    static const struct {
        int status;
        const char *answer;
        ErrCode code;
        const char *text;
    } rows[] = {
        {404, "{\"code\":\"no-bucket\",\"detail\":\"there is no bucket x\"}", ERR_NO_BUCKET,
         "there is no bucket x"},
        {404, "{\"code\":\"not-found\"}", ERR_NOT_FOUND, "there is no such file"},
        {404, "{\"code\":\"not-found\",\"detail\":null}", ERR_NOT_FOUND, "there is no such file"},
        /* The code goes before the status. */
        {400, "{\"code\":\"no-space\"}", ERR_NO_SPACE, "there is no space left for uploads"},
        {500, "{\"code\":\"file-damaged\",\"detail\":\"d\"}", ERR_FILE_DAMAGED, "d"},
        {503, "{\"code\":\"of-the-future\",\"detail\":\"d\"}", ERR_BUSY, "d"},
        {503, "{\"code\":7}", ERR_BUSY, NULL},
        {503, "<html>", ERR_BUSY, NULL},
        {503, "", ERR_BUSY, NULL},
        {503, "[]", ERR_BUSY, NULL},
        {429, "", ERR_BUSY, NULL},
        {401, "", ERR_UNAUTHENTICATED, NULL},
        {403, "", ERR_FORBIDDEN, NULL},
        {404, "", ERR_NOT_FOUND, "the server answers 404: there is no such file"},
        {408, "", ERR_REQUEST_TIMEOUT, NULL},
        {409, "", ERR_EXISTS, NULL},
        {412, "", ERR_PRECONDITION, NULL},
        {413, "", ERR_TOO_LARGE, NULL},
        {418, "", ERR_INVALID, NULL},
        {502, "", ERR_PEER, NULL},
        {507, "", ERR_NO_SPACE, NULL},
        /* Nothing that the server says steers a terminal. */
        {400, "{\"code\":\"invalid\",\"detail\":\"a\\u001b[31mb\"}", ERR_INVALID, "a\\x1b[31mb"},
        /* No failure may come out as a success. */
        {500, "{\"code\":\"ok\"}", ERR_PEER, NULL},
        {500, "{\"code\":\"\"}", ERR_PEER, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        ErrCode code = problem_read(rows[i].status, str_from_cstr(rows[i].answer), &err);
        assert_int_equal(code, rows[i].code);
        assert_int_equal(err.code, code);
        if (rows[i].text != NULL) assert_string_equal(err_text(&err), rows[i].text);
    }
}

static void every_slug(void **state)
{
    UNUSED(state);
    for (int code = 1; code < ERR_CODE_COUNT; code++) {
        assert_int_equal(problem_code(str_from_cstr(err_info((ErrCode)code)->slug)), code);
    }
    assert_int_equal(problem_code(STR("nothing")), OK);
}

static void long_details(void **state)
{
    UNUSED(state);
    AUTO_BUF(answer, 4096);
    Err err = {0};
    assert_ok(buf_append_str(&answer, STR("{\"code\":\"invalid\",\"detail\":\""), NULL), NULL);
    for (int i = 0; i < 3000; i++)
        assert_ok(buf_append_str(&answer, STR("x"), NULL), NULL);
    assert_ok(buf_append_str(&answer, STR("\"}"), NULL), NULL);
    assert_int_equal(problem_read(400, buf_str(&answer), &err), ERR_INVALID);
    assert_true(strlen(err_text(&err)) < ERR_MESSAGE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes),
        cmocka_unit_test(every_slug),
        cmocka_unit_test(long_details),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
