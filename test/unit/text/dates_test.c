#include "testing.h"
#include "text/dates.h"

#include <string.h>
#include <time.h>

static const struct {
    uint64_t ms;
    const char *rfc3339;
    const char *http;
} rows[] = {
    {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
    {784111777000, "1994-11-06T08:49:37.000Z", "Sun, 06 Nov 1994 08:49:37 GMT"},
    {951782400000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"},
    {951868799000, "2000-02-29T23:59:59.000Z", "Tue, 29 Feb 2000 23:59:59 GMT"},
    {1709164800000, "2024-02-29T00:00:00.000Z", "Thu, 29 Feb 2024 00:00:00 GMT"},
    {1767225599000, "2025-12-31T23:59:59.000Z", "Wed, 31 Dec 2025 23:59:59 GMT"},
    {4107542400000, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT"},
    {253402300799000, "9999-12-31T23:59:59.000Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
};

static void writes_and_reads(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[DATE_RFC3339_SIZE], http[DATE_HTTP_SIZE];
        uint64_t ms = 1;
        date_format_rfc3339(rows[i].ms, text);
        date_format_http(rows[i].ms + 999, http);
        assert_string_equal(text, rows[i].rfc3339);
        assert_string_equal(http, rows[i].http);
        assert_true(date_parse_rfc3339(str_from_cstr(text), &ms));
        assert_int_equal(ms, rows[i].ms);
        ms = 1;
        assert_true(date_parse_http(str_from_cstr(http), &ms));
        assert_int_equal(ms, rows[i].ms);
    }
    char text[DATE_RFC3339_SIZE];
    date_format_rfc3339(UINT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

/* Against the C library, a day and some at a time. */
static void agrees_with_gmtime(void **state)
{
    UNUSED(state);
    for (uint64_t s = 0; s < DATE_MS_MAX / 1000; s += 86400 * 11 + 4321) {
        char wanted[40], got[DATE_HTTP_SIZE], iso[DATE_RFC3339_SIZE];
        time_t t = (time_t)s;
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(wanted, sizeof wanted, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
        date_format_http(s * 1000, got);
        assert_string_equal(got, wanted);
        uint64_t back;
        date_format_rfc3339(s * 1000 + 7, iso);
        assert_true(date_parse_rfc3339(str_from_cstr(iso), &back));
        assert_int_equal(back, s * 1000 + 7);
    }
}

static void reads_other_forms(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        uint64_t ms;
    } forms[] = {
        {"1994-11-06T08:49:37Z", 784111777000},
        {"1994-11-06t08:49:37z", 784111777000},
        {"1994-11-06T08:49:37.1Z", 784111777100},
        {"1994-11-06T08:49:37.123456789Z", 784111777123},
        {"1994-11-06T09:49:37+01:00", 784111777000},
        {"1994-11-05T23:19:37-09:30", 784111777000},
        {"1970-01-01T01:00:00+01:00", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        uint64_t ms = 1;
        if (!date_parse_rfc3339(str_from_cstr(forms[i].text), &ms) || ms != forms[i].ms)
            fail_msg("%s", forms[i].text);
    }
}

static void refuses_what_does_not_exist(void **state)
{
    UNUSED(state);
    static const char *const bad[] = {
        "",
        "1994-11-06",
        "1994-11-06T08:49:37",
        "1994-11-06 08:49:37Z",
        "1994-11-06T08:49Z",
        "1994-11-06T08:49:37.Z",
        "1994-11-06T08:49:37.1234567890Z",
        "1994-11-06T08:49:37Z ",
        "1994-11-06T08:49:37+1:00",
        "1994-11-06T08:49:37+24:00",
        "1994-11-06T08:49:37+00:60",
        "1994-13-06T08:49:37Z",
        "1994-00-06T08:49:37Z",
        "1994-11-31T08:49:37Z",
        "1994-11-00T08:49:37Z",
        "1900-02-29T08:49:37Z",
        "2100-02-29T08:49:37Z",
        "2023-02-29T08:49:37Z",
        "1994-11-06T24:00:00Z",
        "1994-11-06T08:60:37Z",
        "1994-12-31T23:59:60Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "+994-11-06T08:49:37Z",
    };
    static const char *const bad_http[] = {
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Mon, 06 Nov 1994 08:49:37 GMT", /* it was a Sunday */
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Thu, 31 Feb 1994 08:49:37 GMT",
    };
    uint64_t ms = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (date_parse_rfc3339(str_from_cstr(bad[i]), &ms)) fail_msg("%s", bad[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad_http); i++)
        if (date_parse_http(str_from_cstr(bad_http[i]), &ms)) fail_msg("%s", bad_http[i]);
    assert_int_equal(ms, 7);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_reads),
        cmocka_unit_test(agrees_with_gmtime),
        cmocka_unit_test(reads_other_forms),
        cmocka_unit_test(refuses_what_does_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
