#include "testing.h"

#include "format/attr.h"
#include "format/bucket.h"

static uint8_t bytes[256];

static BucketRecord example_record(void)
{
    return (BucketRecord){
        .uid = UINT64_MAX,
        .phase = BUCKET_CLOSING,
        .versioning = VERSIONING_ON,
        .placement_class = 15,
        .created_ms = 1760000000000,
        .quota_bytes = 1,
        .quota_files = UINT64_MAX,
        .extra = STR("\x64\x05later"),
    };
}

static Str encode(const BucketRecord *record)
{
    Enc enc = enc_of(bytes, sizeof bytes);
    bucket_record_encode(record, &enc);
    assert_false(enc.failed);
    return str_of(bytes, enc.len);
}

static void test_fields(void **state)
{
    UNUSED(state);
    Err err = {0};
    BucketRecord in = example_record();
    BucketRecord out;
    assert_ok(bucket_record_decode(encode(&in), &out, &err), &err);
    assert_true(out.uid == in.uid && out.phase == in.phase && out.versioning == in.versioning);
    assert_true(out.placement_class == 15 && out.created_ms == in.created_ms);
    assert_true(out.quota_bytes == 1 && out.quota_files == UINT64_MAX);
    assert_true(str_eq(out.extra, in.extra));
    in.extra = (Str){0};
    assert_ok(bucket_record_decode(encode(&in), &out, &err), &err);
    assert_int_equal(out.extra.len, 0);
}

static void test_bytes(void **state)
{
    UNUSED(state);
    static const struct {
        size_t at;
        uint8_t value;
        ErrCode code;
    } rows[] = {
        {0, 0, ERR_CORRUPT},
        {0, 2, ERR_FORMAT_VERSION},
        {1, 0, ERR_CORRUPT},
        {1, BUCKET_CLOSING + 1, ERR_FORMAT_VERSION},
        {2, VERSIONING_SUSPENDED + 1, ERR_FORMAT_VERSION},
        {2, VERSIONING_OFF, OK},
        {3, 0, ERR_CORRUPT},
        {3, 16, ERR_CORRUPT},
        {4, 0, OK}, /* any uid but 0 */
    };
    BucketRecord record = example_record();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        BucketRecord out;
        Str data = encode(&record);
        bytes[rows[i].at] = rows[i].value;
        ErrCode code = bucket_record_decode(data, &out, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_info(code)->name);
    }
    Err err = {0};
    BucketRecord out = {.quota_bytes = 99};
    Str data = encode(&record);
    put_u64(bytes + 4, 0);
    assert_code(bucket_record_decode(data, &out, &err), ERR_CORRUPT, &err);
    data = encode(&record);
    size_t whole = data.len - record.extra.len;
    for (size_t cut = 0; cut < data.len; cut++) {
        if (cut == whole) continue;
        assert_code(bucket_record_decode(str_slice(data, 0, cut), &out, &err), ERR_CORRUPT, &err);
    }
    assert_int_equal(out.quota_bytes, 99);
}

static void check_writes(PlaceMode mode, PlaceRequire require)
{
    Err err = {0};
    BucketRecord out;
    BucketRecord in = example_record();
    AUTO_BUF(extra, 64);
    assert_ok(buf_append_str(&extra, in.extra, &err), &err);
    assert_ok(bucket_set_writes(&extra, mode, require, &err), &err);
    in.extra = buf_str(&extra);
    assert_ok(bucket_record_decode(encode(&in), &out, &err), &err);
    assert_int_equal(out.mode, mode);
    assert_int_equal(out.require, require);
    assert_true(str_eq(out.extra, in.extra));
    assert_ok(bucket_set_writes(&extra, PLACE_SYNC, PLACE_REQUIRE_IN_SYNC, &err), &err);
    assert_true(str_eq(buf_str(&extra), example_record().extra));
}

/* In an attribute, which a record that was never told otherwise lacks. */
static void test_writes(void **state)
{
    static const struct {
        Str extra;
        ErrCode code;
    } rows[] = {
        {STR_INIT("\x25\x02\x01\x01"), OK},
        {STR_INIT("\x25\x03\x02\x01\x09"), OK}, /* more of a later release */
        {STR_INIT("\x25\x01\x01"), ERR_CORRUPT},
        {STR_INIT("\x25\x02\x00\x01"), ERR_CORRUPT},
        {STR_INIT("\x25\x02\x01\x00"), ERR_CORRUPT},
        {STR_INIT("\x25\x02\x03\x01"), ERR_FORMAT_VERSION},
        {STR_INIT("\x25\x02\x01\x03"), ERR_FORMAT_VERSION},
    };
    UNUSED(state);
    BucketRecord record = example_record();
    BucketRecord out;
    assert_ok(bucket_record_decode(encode(&record), &out, NULL), NULL);
    assert_true(out.mode == PLACE_SYNC && out.require == PLACE_REQUIRE_IN_SYNC);
    check_writes(PLACE_ASYNC, PLACE_REQUIRE_IN_SYNC);
    check_writes(PLACE_SYNC, PLACE_REQUIRE_ALL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        record.extra = rows[i].extra;
        ErrCode code = bucket_record_decode(encode(&record), &out, NULL);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_info(code)->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
