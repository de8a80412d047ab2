#include "testing.h"

#include "format/key_record.h"

static uint8_t bytes[1024];

static KeyRecord example_record(void)
{
    return (KeyRecord){
        .secret = STR("secret"),
        .label = STR("a name"),
        .created_ms = 1760000000000,
        .expires_ms = UINT64_MAX,
        .grants = {{GRANT_READ, STR("box"), STR("in/")}, {0xff, STR("*"), {NULL, 0}}},
        .grant_count = 2,
        .extra = STR("\x64\x05later"),
    };
}

static Str encode(const KeyRecord *record)
{
    Enc enc = enc_of(bytes, sizeof bytes);
    key_record_encode(record, &enc);
    assert_false(enc.failed);
    return str_of(bytes, enc.len);
}

static void test_fields(void **state)
{
    UNUSED(state);
    Err err = {0};
    KeyRecord in = example_record();
    KeyRecord out;
    assert_ok(key_record_decode(encode(&in), &out, &err), &err);
    assert_str(out.secret, "secret");
    assert_str(out.label, "a name");
    assert_true(out.created_ms == in.created_ms && out.expires_ms == UINT64_MAX);
    assert_int_equal(out.grant_count, 2);
    assert_str(out.grants[0].bucket, "box");
    assert_str(out.grants[0].prefix, "in/");
    assert_int_equal(out.grants[1].rights, 0xff);
    assert_true(str_eq(out.extra, in.extra));
}

static void test_bytes(void **state)
{
    UNUSED(state);
    Err err = {0};
    KeyRecord record = example_record();
    KeyRecord out;
    Str data = encode(&record);
    size_t whole = data.len - record.extra.len;
    for (size_t cut = 0; cut < data.len; cut++) {
        if (cut == whole) continue;
        assert_code(key_record_decode(str_slice(data, 0, cut), &out, &err), ERR_CORRUPT, &err);
    }
    bytes[0] = 2;
    assert_code(key_record_decode(data, &out, &err), ERR_FORMAT_VERSION, &err);
    bytes[0] = 0;
    assert_code(key_record_decode(data, &out, &err), ERR_CORRUPT, &err);
}

/* What no record may say. */
static void test_values(void **state)
{
    UNUSED(state);
    Err err = {0};
    KeyRecord out;
    for (int i = 0; i < 6; i++) {
        KeyRecord record = example_record();
        static char longest[KEY_SECRET_STORED_MAX + 1];
        if (i == 0) record.secret = (Str){NULL, 0};
        if (i == 1) record.secret = str_of(longest, sizeof longest);
        if (i == 2) record.label = (Str){NULL, 0};
        if (i == 3) record.label = STR("a\nb");
        if (i == 4) record.grants[0].bucket = STR("No");
        if (i == 5) record.grants[0].prefix = STR("\xff");
        assert_code(key_record_decode(encode(&record), &out, &err), ERR_CORRUPT, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
