/* Parameters of header values. */
#include "http/params.h"
#include "testing.h"

static void test_rows(void **state)
{
    UNUSED(state);
    static const struct {
        const char *header;
        const char *head;
        const char *params; /* name=value, ',' behind each; NULL: refused */
    } rows[] = {
        {"", "", ""},
        {"text/plain", "text/plain", ""},
        {" text/plain ; charset=utf-8", "text/plain", "charset=utf-8,"},
        {"a; b=c; d=\"e;f\" ; g=", "a", "b=c,d=e;f,g=,"},
        {"a;b = \"\\\"\\\\\\x\"", "a", "b=\"\\x,"},
        {"a;;; ; b=c;", "a", "b=c,"},
        {"a; b=\"\"", "a", "b=,"},
        {"a; b=\"c\"d; e=f", "a", "b=c,e=f,"},
        {"a; b", "a", NULL},
        {"a; b=\"c", "a", NULL},
        {"a; b=\"c\\", "a", NULL},
        {"a; b=0123456789012345678901234567890123", "a", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Str rest = str_from_cstr(rows[i].header);
        AUTO_BUF(value, 33);
        AUTO_BUF(all, 256);
        Err err = {0};
        ErrCode code = OK;
        assert_str(http_params_begin(&rest), rows[i].head);
        for (bool found = true; found && code == OK;) {
            Str name;
            code = http_params_next(&rest, &name, &value, &found, &err);
            if (code != OK || !found) continue;
            assert_ok(buf_printf(&all, &err, "%.*s=%.*s,", STR_ARG(name), STR_ARG(buf_str(&value))),
                      &err);
        }
        if ((code == OK) != (rows[i].params != NULL)) fail_msg("%s: %d", rows[i].header, code);
        if (code == OK) assert_str(buf_str(&all), rows[i].params);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
