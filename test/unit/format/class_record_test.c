#include "testing.h"

#include "format/class_record.h"

static uint8_t bytes[1024];

static ClassRecord example_record(void)
{
    return (ClassRecord){.number = 15,
                         .shard_count = 4096,
                         .copies = 3,
                         .min_isr = 2,
                         .mode = PLACE_SYNC,
                         .require = PLACE_REQUIRE_ALL,
                         .created_ms = 1760000000000,
                         .extra = STR("\x64\x05later")};
}

static Str encode(const ClassRecord *record)
{
    Enc enc = enc_of(bytes, sizeof bytes);
    class_record_encode(record, &enc);
    assert_false(enc.failed);
    return str_of(bytes, enc.len);
}

static void test_fields(void **state)
{
    UNUSED(state);
    Err err = {0};
    ClassRecord in = example_record();
    ClassRecord out;
    assert_ok(class_record_decode(encode(&in), &out, &err), &err);
    assert_int_equal(out.number, 15);
    assert_int_equal(out.shard_count, 4096);
    assert_int_equal(out.copies, 3);
    assert_int_equal(out.min_isr, 2);
    assert_int_equal(out.mode, PLACE_SYNC);
    assert_int_equal(out.require, PLACE_REQUIRE_ALL);
    assert_true(out.created_ms == in.created_ms);
    assert_true(str_eq(out.extra, in.extra));
}

static void test_bytes(void **state)
{
    UNUSED(state);
    Err err = {0};
    ClassRecord record = example_record();
    ClassRecord out;
    Str data = encode(&record);
    size_t whole = data.len - record.extra.len;
    for (size_t cut = 0; cut < data.len; cut++) {
        if (cut == whole) continue;
        assert_code(class_record_decode(str_slice(data, 0, cut), &out, &err), ERR_CORRUPT, &err);
    }
    bytes[0] = 2;
    assert_code(class_record_decode(data, &out, &err), ERR_FORMAT_VERSION, &err);
    bytes[0] = 0;
    assert_code(class_record_decode(data, &out, &err), ERR_CORRUPT, &err);
}

/* What no record may say, and what only a newer release may. */
static void test_values(void **state)
{
    UNUSED(state);
    Err err = {0};
    ClassRecord out;
    for (int i = 0; i < 9; i++) {
        ClassRecord record = example_record();
        if (i == 0) record.number = 1;
        if (i == 1) record.number = 16;
        if (i == 2) record.shard_count = 0;
        if (i == 3) record.shard_count = 4097;
        if (i == 4) record.copies = 10;
        if (i == 5) record.min_isr = 0;
        if (i == 6) record.min_isr = 4;
        if (i == 7) record.copies = 0;
        if (i == 8) record.extra = STR("\x64");
        assert_code(class_record_decode(encode(&record), &out, &err), ERR_CORRUPT, &err);
    }
    ClassRecord newer = example_record();
    newer.mode = (PlaceMode)3;
    assert_code(class_record_decode(encode(&newer), &out, &err), ERR_FORMAT_VERSION, &err);
}

static void test_names(void **state)
{
    UNUSED(state);
    assert_true(class_name_valid(STR("a")));
    assert_true(class_name_valid(STR("two-copies-2")));
    assert_true(class_name_valid(STR("0123456789abcdef0123456789abcdef")));
    assert_false(class_name_valid(STR("0123456789abcdef0123456789abcdef0")));
    static const char *const bad[] = {"",    "-a",  "a-",     "A",       "a.b",
                                      "a/b", "a b", "system", "standard"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(class_name_valid(str_from_cstr(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
