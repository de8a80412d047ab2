/* An upload in parts of `holdfast bench`: its requests in order, and what becomes of failures. */
#include "testing.h"

#include "cli/bench_parts.h"

#include <stdio.h>

static void query_is(const BenchParts *parts, const char *wanted)
{
    Err err = {0};
    AUTO_BUF(query, 1024);
    assert_ok(bench_parts_query(parts, &query, &err), &err);
    assert_true(str_eq(buf_str(&query), str_from_cstr(wanted)));
}

static void begin(BenchParts *parts)
{
    Err err = {0};
    assert_ok(bench_parts_answer(parts, STR("<A><UploadId>a/b</UploadId></A>"), &err), &err);
    assert_true(bench_parts_further(parts, NULL));
}

static void test_whole(void **state)
{
    UNUSED(state);
    Err err = {0};
    BenchParts parts;
    bench_parts_init(&parts, 25, 10);
    query_is(&parts, "uploads=");
    begin(&parts);
    static const uint64_t lengths[] = {10, 10, 5};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "partNumber=%zu&uploadId=a%%2Fb", i + 1);
        query_is(&parts, wanted);
        assert_int_equal(bench_parts_length(&parts), lengths[i]);
        bench_parts_header(&parts, STR("Date"), STR("x"));
        bench_parts_header(&parts, STR("etag"), STR("\"e\""));
        assert_ok(bench_parts_answer(&parts, STR(""), &err), &err);
        assert_true(bench_parts_further(&parts, NULL));
    }
    query_is(&parts, "uploadId=a%2Fb");
    assert_ok(bench_parts_close(&parts, &err), &err);
    assert_true(str_ends_with(buf_str(&parts.xml),
                              STR("<Part><PartNumber>3</PartNumber><ETag>\"e\"</ETag></Part>"
                                  "</CompleteMultipartUpload>")));
    assert_ok(bench_parts_answer(&parts, STR("<ETag>\"x\"</ETag>"), &err), &err);
    assert_false(bench_parts_further(&parts, NULL));
    bench_parts_deinit(&parts);
}

/* Of exactly two parts, of less than one, and of nothing. */
static void test_lengths(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t size;
        unsigned parts;
        uint64_t last;
    } rows[] = {{20, 2, 10}, {7, 1, 7}, {0, 1, 0}, {10, 1, 10}, {11, 2, 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        BenchParts parts;
        bench_parts_init(&parts, rows[i].size, 10);
        begin(&parts);
        unsigned count = 0;
        uint64_t last = 0;
        for (; parts.step == BENCH_PARTS_SEND; count++) {
            last = bench_parts_length(&parts);
            assert_true(bench_parts_further(&parts, NULL));
        }
        assert_int_equal(count, rows[i].parts);
        assert_int_equal(last, rows[i].last);
        bench_parts_deinit(&parts);
    }
}

static void test_failures(void **state)
{
    UNUSED(state);
    Err err = {0};
    BenchParts parts;
    bench_parts_init(&parts, 25, 10);
    (void)err_set(&err, ERR_PEER, "first");
    assert_false(bench_parts_further(&parts, &err)); /* there is nothing to abort */
    assert_code(bench_parts_answer(&parts, STR("<UploadId>"), &err), ERR_PEER, &err);
    assert_code(bench_parts_answer(&parts, STR("no XML"), &err), ERR_PEER, &err);
    begin(&parts);
    assert_code(bench_parts_answer(&parts, STR(""), &err), ERR_PEER, &err); /* no etag came */
    assert_true(bench_parts_further(&parts, &err));
    assert_int_equal(parts.step, BENCH_PARTS_ABORT);
    assert_int_equal(parts.failure.code, ERR_PEER);
    query_is(&parts, "uploadId=a%2Fb");
    assert_false(bench_parts_further(&parts, &err)); /* that failed too */
    bench_parts_deinit(&parts);
    bench_parts_init(&parts, 5, 10);
    begin(&parts);
    assert_true(bench_parts_further(&parts, NULL));
    assert_int_equal(parts.step, BENCH_PARTS_COMPLETE);
    assert_code(bench_parts_answer(&parts, STR("<Error><Code>InternalError</Code></Error>"), &err),
                ERR_PEER, &err);
    bench_parts_deinit(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_lengths),
                                       cmocka_unit_test(test_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
