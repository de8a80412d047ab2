#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void test_table(void **state)
{
    UNUSED(state);
    static const struct {
        ErrCode code;
        const char *name, *slug;
        int http_status, exit_status;
        bool retry;
    } rows[] = {
        {OK, "OK", "ok", 200, 0, false},
        {ERR_NO_SPACE, "ERR_NO_SPACE", "no-space", 507, 5, true},
        {ERR_NOT_FOUND, "ERR_NOT_FOUND", "not-found", 404, 3, false},
        {ERR_CORRUPT, "ERR_CORRUPT", "corrupt", 500, 6, false},
        {ERR_ABORTED, "ERR_ABORTED", "aborted", 500, 5, true}, /* the last */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const ErrInfo *info = err_info(rows[i].code);
        assert_string_equal(info->name, rows[i].name);
        assert_string_equal(info->slug, rows[i].slug);
        assert_int_equal(info->http_status, rows[i].http_status);
        assert_int_equal(info->exit_status, rows[i].exit_status);
        assert_int_equal(info->retry, rows[i].retry);
    }
}

/* What a client may retry is told by more than the flag: 4xx says that it may not, but for the ones
 * where the fault was on the way. */
static void test_table_is_whole(void **state)
{
    UNUSED(state);
    for (int i = 0; i < ERR_CODE_COUNT; i++) {
        const ErrInfo *info = err_info((ErrCode)i);
        assert_true(info->http_status >= 200 && info->http_status <= 599);
        assert_true(strlen(info->text) > 0 && strlen(info->slug) > 0);
        assert_true((info->exit_status == 0) == (i == OK));
        assert_true((info->s3_code[0] == '\0') == (i == OK));
        assert_int_equal(strspn(info->slug, "abcdefghijklmnopqrstuvwxyz0123456789-"),
                         strlen(info->slug));
        if (info->exit_status == 5) assert_true(info->retry);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(info->slug, err_info((ErrCode)j)->slug);
    }
}

static void test_set(void **state)
{
    UNUSED(state);
    Err err = {.code = OK};
    assert_int_equal(err_set(&err, ERR_TOO_BIG, "entry of %d bytes", 7), ERR_TOO_BIG);
    int line = __LINE__ - 1;
    assert_int_equal(err.code, ERR_TOO_BIG);
    assert_int_equal(err.errno_value, 0);
    assert_int_equal(err.line, line);
    assert_non_null(strstr(err.file, "err_test.c"));
    assert_string_equal(err.message, "entry of 7 bytes");

    assert_int_equal(err_set_errno(&err, ERR_IO, ENOSPC, "write %s", "wal.active"), ERR_IO);
    assert_int_equal(err.errno_value, ENOSPC);
    assert_string_equal(err.message, "write wal.active: No space left on device");

    assert_int_equal(err_set_errno(&err, ERR_IO, 4000, "write"), ERR_IO);
    assert_string_equal(err.message, "write: errno 4000");

    err_clear(&err);
    assert_int_equal(err.code, OK);
    assert_string_equal(err.message, "");
    assert_string_equal(err_text(&err), "done");
}

static void test_wrap(void **state)
{
    UNUSED(state);
    Err err = {.code = OK};
    assert_int_equal(err_set_errno(&err, ERR_IO, EIO, "write"), ERR_IO);
    int line = __LINE__ - 1;
    assert_int_equal(err_wrap(&err, ERR_IO, "append record %d", 7), ERR_IO);
    assert_int_equal(err_wrap(&err, ERR_ROOT_FAILED, "root a"), ERR_ROOT_FAILED);
    assert_string_equal(err.message, "root a: append record 7: write: Input/output error");
    assert_int_equal(err.code, ERR_ROOT_FAILED);
    assert_int_equal(err.errno_value, EIO); /* the cause stays */
    assert_int_equal(err.line, line);

    /* Nothing was set before: the table speaks. */
    err_clear(&err);
    assert_int_equal(err_wrap(&err, ERR_BUSY, "push"), ERR_BUSY);
    assert_string_equal(err.message, "push: too much is waiting; try again");

    /* The old message may be an argument. */
    assert_int_equal(err_set(&err, ERR_END, "a"), ERR_END);
    assert_int_equal(err_set(&err, ERR_END, "%s-%s", err.message, err.message), ERR_END);
    assert_string_equal(err.message, "a-a");
}

static void test_null(void **state)
{
    UNUSED(state);
    assert_int_equal(err_set(NULL, ERR_END, "x"), ERR_END);
    assert_int_equal(err_set_errno(NULL, ERR_IO, EIO, "x"), ERR_IO);
    assert_int_equal(err_wrap(NULL, ERR_END, "x"), ERR_END);
    err_clear(NULL);
}

/* A long message ends in "..." and is always terminated; the outermost context is what stays. */
static void test_cut(void **state)
{
    UNUSED(state);
    char text[600];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    static const struct {
        int len;
        size_t message_len;
        bool cut;
    } rows[] = {{254, 254, false}, {255, 255, false}, {256, 255, true}, {599, 255, true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {.code = OK};
        assert_int_equal(err_set(&err, ERR_END, "%.*s", rows[i].len, text), ERR_END);
        assert_int_equal(strlen(err.message), rows[i].message_len);
        assert_int_equal(strcmp(err.message + 252, "...") == 0, rows[i].cut);
        assert_int_equal(err_wrap(&err, ERR_END, "outer"), ERR_END);
        assert_int_equal(strlen(err.message), 255);
        assert_int_equal(strncmp(err.message, "outer: xxx", 10), 0);
        assert_string_equal(err.message + 252, "...");
        assert_int_equal(err_set_errno(&err, ERR_IO, EIO, "%.*s", rows[i].len, text), ERR_IO);
        assert_string_equal(err.message + 252, "...");
    }
}

static ErrCode tried(ErrCode code, int *after)
{
    TRY(code);
    (*after)++;
    return OK;
}

static void test_try(void **state)
{
    UNUSED(state);
    int after = 0;
    assert_int_equal(tried(ERR_END, &after), ERR_END);
    assert_int_equal(after, 0);
    assert_int_equal(tried(OK, &after), OK);
    assert_int_equal(after, 1);
}

static void set_ok(void *arg)
{
    Err *err = arg;
    (void)err_set(err, OK, "no error"); /* aborts */
}

static void info_beyond(void *arg)
{
    UNUSED(arg);
    (void)err_info(ERR_CODE_COUNT); /* aborts */
}

static void test_bugs(void **state)
{
    UNUSED(state);
    Err err;
    assert_aborts(set_ok, &err, "code != OK");
    assert_aborts(info_beyond, NULL, "ERR_CODE_COUNT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_table_is_whole),
        cmocka_unit_test(test_set),   cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_null),  cmocka_unit_test(test_cut),
        cmocka_unit_test(test_try),   cmocka_unit_test(test_bugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
