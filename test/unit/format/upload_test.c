#include "testing.h"

#include <string.h>

#include "format/attr.h"
#include "format/upload.h"

static uint8_t bytes[512];

static UploadRecord example_record(void)
{
    return (UploadRecord){
        .bucket = UINT64_MAX,
        .key = STR("docs/a"),
        .create_only = true,
        .has_length = true,
        .length = UINT64_MAX,
        .expires_ms = 1760000000000,
        .owner = STR("root"),
        .attrs = STR("\x02\x03"
                     "a/b"),
        .metadata = STR("bucket ZmlsZXM="),
        .hash = STR("state"),
        .extra = STR("\x64\x05later"),
    };
}

static Str encode(const UploadRecord *record)
{
    Enc enc = enc_of(bytes, sizeof bytes);
    upload_record_encode(record, &enc);
    assert_false(enc.failed);
    return str_of(bytes, enc.len);
}

static void test_fields(void **state)
{
    UNUSED(state);
    Err err = {0};
    UploadRecord in = example_record();
    UploadRecord out;
    assert_ok(upload_record_decode(encode(&in), &out, &err), &err);
    assert_true(out.bucket == in.bucket && out.length == in.length && out.has_length);
    assert_true(out.create_only && out.expires_ms == in.expires_ms);
    assert_true(str_eq(out.key, in.key) && str_eq(out.owner, in.owner));
    assert_true(str_eq(out.attrs, in.attrs) && str_eq(out.metadata, in.metadata));
    assert_true(str_eq(out.hash, in.hash) && str_eq(out.extra, in.extra));
    in = (UploadRecord){.bucket = 2, .key = STR("k")};
    assert_ok(upload_record_decode(encode(&in), &out, &err), &err);
    assert_true(!out.has_length && !out.create_only && out.hash.len == 0 && out.extra.len == 0);
}

static void test_bytes(void **state)
{
    UNUSED(state);
    static const struct {
        size_t at;
        uint8_t value;
        ErrCode code;
    } rows[] = {
        {0, 0, ERR_CORRUPT}, {0, 2, ERR_FORMAT_VERSION}, {1, 15, ERR_FORMAT_VERSION},
        {1, 2, ERR_CORRUPT}, /* a length that is not known */
        {2, 0xfe, OK},       /* another bucket */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        UploadRecord record = example_record();
        Str data = encode(&record);
        bytes[rows[i].at] = rows[i].value;
        assert_code(upload_record_decode(data, &record, &err), rows[i].code, &err);
    }
}

/* An upload in parts, and the names of these. */
static void test_parts(void **state)
{
    UNUSED(state);
    Err err = {0};
    char key[UPLOAD_PART_KEY_LEN + 1];
    UploadRecord out;
    UploadRecord in = {
        .bucket = 2, .key = STR("k"), .parts = true, .checksum = 5, .extra = STR("\x64\x01x")};
    Str data = encode(&in);
    assert_ok(upload_record_decode(data, &out, &err), &err);
    assert_true(out.parts && out.checksum == 5 && !out.full_object && out.extra.len == 3);
    for (size_t cut = 0; cut < data.len - 3; cut++)
        assert_code(upload_record_decode(str_of(bytes, cut), &out, &err), ERR_CORRUPT, &err);
    bytes[data.len - 4] = 2; /* neither of all bytes nor of the parts */
    assert_code(upload_record_decode(data, &out, &err), ERR_CORRUPT, &err);
    upload_part_key((FileId){{0}}, 7, key);
    assert_string_equal(key, "00000000000000000000000000/00007");
    assert_int_equal(upload_part_number(str_from_cstr(key)), 7);
    upload_part_key((FileId){{0}}, UPLOAD_PART_MAX, key);
    assert_int_equal(upload_part_number(str_from_cstr(key)), UPLOAD_PART_MAX);
    assert_int_equal(upload_part_number(STR("00000000000000000000000000/10001")), 0);
    assert_int_equal(upload_part_number(STR("00000000000000000000000000")), 0);
    assert_int_equal(upload_part_number(STR("00000000000000000000000000-00001")), 0);
}

/* Name spaces of the system are no bucket; a record that is cut is none. */
static void test_refused(void **state)
{
    UNUSED(state);
    Err err = {0};
    UploadRecord record = example_record();
    Str data = encode(&record);
    size_t whole = data.len - record.extra.len;
    for (size_t cut = 0; cut < whole; cut++)
        assert_code(upload_record_decode(str_of(bytes, cut), &record, &err), ERR_CORRUPT, &err);
    memset(bytes + 2, 0, 8);
    assert_code(upload_record_decode(data, &record, &err), ERR_CORRUPT, &err);
    bytes[2] = BUCKET_UID_UPLOADS;
    assert_code(upload_record_decode(data, &record, &err), ERR_CORRUPT, &err);
    record = example_record();
    record.key = STR("");
    assert_code(upload_record_decode(encode(&record), &record, &err), ERR_CORRUPT, &err);
    record = example_record();
    record.attrs = STR("\x02");
    assert_code(upload_record_decode(encode(&record), &record, &err), ERR_CORRUPT, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
