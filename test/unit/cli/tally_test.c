#include "cli/tally.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

static Err failure(ErrCode code, const char *text)
{
    Err err = {0};
    assert_int_equal(err_set(&err, code, "%s", text), code);
    return err;
}

static void exit_codes(void **state)
{
    UNUSED(state);
    const struct {
        ErrCode failed; /* OK: none */
        ErrCode ended;
        bool interrupted;
        bool single;
        int status;
    } rows[] = {
        {OK, OK, false, false, 0},
        {OK, OK, false, true, 0},
        {ERR_BAD_NAME, OK, false, false, 1},
        {ERR_BAD_NAME, OK, false, true, 2},
        {ERR_NOT_FOUND, OK, false, false, 1},
        {ERR_NOT_FOUND, OK, false, true, 3},
        {ERR_FORBIDDEN, OK, false, true, 4},
        {ERR_PEER, OK, false, true, 5},
        {ERR_CORRUPT, OK, false, true, 6},
        {ERR_CORRUPT, OK, false, false, 6},
        {ERR_PEER, ERR_PEER, false, false, 5},
        {OK, ERR_NO_BUCKET, false, false, 3},
        {ERR_UNAUTHENTICATED, ERR_UNAUTHENTICATED, false, false, 4},
        {ERR_CORRUPT, ERR_PEER, false, false, 6},
        {ERR_CORRUPT, OK, true, false, TALLY_INTERRUPTED},
        {OK, OK, true, true, TALLY_INTERRUPTED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Tally tally = {.ended = rows[i].ended, .interrupted = rows[i].interrupted};
        tally_done(&tally, 1, 0);
        if (rows[i].failed != OK) {
            Err err = failure(rows[i].failed, "x");
            tally_fail(&tally, STR("x"), &err);
        }
        assert_int_equal(tally_exit_status(&tally, rows[i].single), rows[i].status);
    }
}

static void names(void **state)
{
    UNUSED(state);
    Tally tally = {0};
    AUTO_BUF(out, 64 * KIB);
    Err why = failure(ERR_IO, "why");
    assert_ok(tally_names(&tally, &out, NULL), NULL);
    assert_int_equal(out.len, 0);
    for (int i = 0; i < TALLY_NAMES_MAX; i++)
        tally_fail(&tally, STR("n\n"), &why);
    assert_ok(tally_names(&tally, &out, NULL), NULL);
    assert_ok(buf_append_zeros(&out, 1, NULL), NULL);
    assert_null(strstr((const char *)out.data, "more"));
    assert_non_null(strstr((const char *)out.data, "failed: n\\x0a: why\n"));
    for (int i = 0; i < 5; i++)
        tally_fail(&tally, STR("n"), &why);
    tally_skip(&tally, STR("s"), &why);
    buf_clear(&out);
    assert_ok(tally_names(&tally, &out, NULL), NULL);
    assert_true(str_starts_with(buf_str(&out), STR("skipped: s: why\nfailed: ")));
    assert_true(str_ends_with(buf_str(&out), STR("failed: and 5 more\n")));
    assert_int_equal(tally.failed, TALLY_NAMES_MAX + 5);
}

/* The report's buffer must fit the longest names there can be. */
static void longest(void **state)
{
    UNUSED(state);
    static Tally tally;
    char name[2000];
    AUTO_BUF(out, 64 * KIB);
    Err why = failure(ERR_IO, "");
    memset(name, '\n', sizeof name);
    memset(why.message, 'w', sizeof why.message - 1);
    for (int i = 0; i < 100; i++) {
        tally_fail(&tally, str_of(name, sizeof name), &why);
        tally_skip(&tally, str_of(name, sizeof name), &why);
    }
    assert_ok(tally_names(&tally, &out, NULL), NULL);
    assert_ok(tally_summary(&tally, "stored", UINT64_MAX, &out, NULL), NULL);
}

static void summaries(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t files, bytes, failed, skipped, ms, kept;
        const char *text;
    } rows[] = {
        {0, 0, 0, 0, 0, 0, "stored 0 files in 0.0 s\n"},
        {1, 1024, 0, 0, 1000, 0, "stored 1 file, 1.0 KiB in 1.0 s (1.0 KiB/s)\n"},
        {1, 4 * MIB, 0, 0, 1000, 3 * MIB,
         "stored 1 file, 4.0 MiB in 1.0 s (1.0 MiB/s), 3.0 MiB of it by an earlier run\n"},
        {2, 4 * MIB, 3, 4, 2000, 0,
         "stored 2 files, 4.0 MiB in 2.0 s (2.0 MiB/s), 3 failed, 4 "
         "skipped\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_BUF(out, 4096);
        Tally tally = {.files = rows[i].files,
                       .bytes = rows[i].bytes,
                       .kept_bytes = rows[i].kept,
                       .failed = rows[i].failed,
                       .skipped = rows[i].skipped};
        assert_ok(tally_summary(&tally, "stored", rows[i].ms, &out, NULL), NULL);
        assert_str(buf_str(&out), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(names),
        cmocka_unit_test(longest),
        cmocka_unit_test(summaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
