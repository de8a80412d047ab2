#include "testing.h"

#include "examples.h"
#include "format/ids.h"

#include <string.h>

#define ROUNDS 2000

static void test_id_text(void **state)
{
    UNUSED(state);
    static const struct {
        uint8_t first, last;
        const char *text;
    } rows[] = {
        {0, 0, "00000000000000000000000000"},    {0, 1, "00000000000000000000000001"},
        {0, 31, "0000000000000000000000000Z"},   {0, 32, "00000000000000000000000010"},
        {0x80, 0, "40000000000000000000000000"},
    };
    char text[ID128_TEXT_LEN + 1];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Id128 id = {{0}};
        id.bytes[0] = rows[i].first;
        id.bytes[15] = rows[i].last;
        id128_text(id, text);
        assert_string_equal(text, rows[i].text);
    }
    Id128 ones;
    memset(ones.bytes, 0xff, sizeof ones.bytes);
    id128_text(ones, text);
    assert_string_equal(text, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
}

/* Text keeps the order of the bytes, and reads back in either case. */
static void test_id_text_order(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < ROUNDS; i++) {
        Id128 a = id128_random(&rng);
        Id128 b = id128_random(&rng);
        if (rng_chance(&rng, 500000)) memcpy(b.bytes, a.bytes, 1 + rng_below(&rng, 15));
        char a_text[ID128_TEXT_LEN + 1];
        char b_text[ID128_TEXT_LEN + 1];
        id128_text(a, a_text);
        id128_text(b, b_text);
        int bytes = id128_cmp(a, b);
        int texts = strcmp(a_text, b_text);
        assert_true((bytes < 0) == (texts < 0) && (bytes == 0) == (texts == 0));
        for (char *c = a_text; *c != '\0'; c++) {
            if (*c >= 'A') *c = (char)(*c + ('a' - 'A'));
        }
        Id128 back;
        assert_true(id128_parse(str_from_cstr(a_text), &back));
        assert_true(id128_eq(back, a));
    }
}

static void test_id_parse_refuses(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {
        "",
        "0000000000000000000000000",   /* 25 */
        "000000000000000000000000000", /* 27 */
        "80000000000000000000000000",  /* 2^128 */
        "Z0000000000000000000000000",
        "0000000000000000000000000I", /* aliases of 1 and 0, and U */
        "0000000000000000000000000O",
        "0000000000000000000000000L",
        "0000000000000000000000000U",
        "0000000000000-000000000000",
        "0000000000000000000000000\x80",
    };
    Id128 id = example_id(1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (id128_parse(str_from_cstr(rows[i]), &id)) fail_msg("\"%s\" is read", rows[i]);
    }
    assert_false(id128_parse(str_of("0000000000000000000000000\0", 26), &id));
    assert_true(id128_eq(id, example_id(1)));
}

static void test_uuid(void **state)
{
    UNUSED(state);
    char text[37];
    uuid_text(example_id(0x70), text);
    assert_string_equal(text, "70717273-7475-7677-7879-7a7b7c7d7e7f");
    Uuid uuid;
    assert_true(uuid_parse(STR("70717273-7475-7677-7879-7A7B7C7D7E7F"), &uuid));
    assert_true(id128_eq(uuid, example_id(0x70)));
    static const char *const bad[] = {
        "",
        "7071727374757677-7879-7a7b7c7d7e7f",
        "70717273-7475-7677-7879-7a7b7c7d7e7",
        "70717273-7475-7677-7879-7a7b7c7d7e7f0",
        "7071727-37475-7677-7879-7a7b7c7d7e7f",
        "70717273-7475-7677-7879-7a7b7c7d7e7g",
        "70717273-7475-7677-7879-7a7b7c-d7e7f",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (uuid_parse(str_from_cstr(bad[i]), &uuid)) fail_msg("\"%s\" is read", bad[i]);
    }
}

static void test_file_id(void **state)
{
    UNUSED(state);
    Rng rng;
    rng_init(&rng, 2);
    static const uint64_t times[] = {0, 1, 1760000000000, (UINT64_C(1) << 48) - 1};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        ShardId shard = (ShardId)rng_below(&rng, SHARD_COUNT_MAX);
        FileId id = file_id_make(shard, times[i], &rng);
        assert_int_equal(file_id_shard(id), shard);
        assert_int_equal(file_id_created_ms(id), times[i]);
        assert_false(id128_eq(id, file_id_make(shard, times[i], &rng)));
    }
    /* A clock beyond the year 10889 does not spill into the shard. */
    FileId far = file_id_make(7, UINT64_MAX, &rng);
    assert_int_equal(file_id_shard(far), 7);
    assert_int_equal(file_id_created_ms(far), (UINT64_C(1) << 48) - 1);
}

static void test_version_id(void **state)
{
    UNUSED(state);
    char text[VERSION_ID_TEXT_LEN + 1];
    version_id_text((VersionId){.term = 1, .lsn = 2}, text);
    assert_string_equal(text, "0000000G000000000002");
    version_id_text((VersionId){.term = UINT32_MAX, .lsn = UINT64_MAX}, text);
    assert_string_equal(text, "1ZZZZZZZZZZZZZZZZZZZ");
    VersionId id;
    assert_false(version_id_parse(STR("20000000000000000000"), &id));
    assert_false(version_id_parse(STR("0000000000000000000"), &id));
    Rng rng;
    rng_init(&rng, 3);
    for (int i = 0; i < ROUNDS; i++) {
        VersionId a = {.term = (Term)rng_below(&rng, 4), .lsn = rng_u64(&rng)};
        VersionId b = {.term = (Term)rng_below(&rng, 4), .lsn = rng_u64(&rng) >> 32};
        char a_text[VERSION_ID_TEXT_LEN + 1];
        char b_text[VERSION_ID_TEXT_LEN + 1];
        version_id_text(a, a_text);
        version_id_text(b, b_text);
        assert_int_equal(version_id_cmp(a, b) < 0, strcmp(a_text, b_text) < 0);
        assert_int_equal(version_id_cmp(a, b), -version_id_cmp(b, a));
        assert_true(version_id_parse(str_from_cstr(a_text), &id));
        assert_int_equal(version_id_cmp(id, a), 0);
    }
}

/* Fixed for ever: a changed row would send a stored file to another shard. */
static void test_shard_of_key(void **state)
{
    UNUSED(state);
    static const struct {
        unsigned count;
        BucketUid bucket;
        const char *key;
        unsigned number;
    } rows[] = {
        /* first 32 bits of SHA-256 of 8 bytes, 0, key; computed apart (Python hashlib) */
        {64, 0, "bucket/files", 17},
        {64, 0x1122334455667788, "docs/a.txt", 3},
        {4096, 0x1122334455667788, "docs/a.txt", 3},
        {1000, 0x1122334455667788, "\xc3\xa4", 469},
        {1, 5, "x", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Str key = str_from_cstr(rows[i].key);
        assert_int_equal(shard_of_key(3, rows[i].count, rows[i].bucket, key),
                         shard_id(3, rows[i].number));
    }
}

static void test_bucket_names(void **state)
{
    UNUSED(state);
    static const struct {
        const char *name;
        bool valid;
    } rows[] = {
        {"abc", true},
        {"a.b-c.9", true},
        {"1.2.3.4.5", true},
        {"1.2.3", true},
        {"1.2.3.4a", true},
        {"a-.-b", true},
        {"123456789012345678901234567890123456789012345678901234567890123", true},
        {"1234567890123456789012345678901234567890123456789012345678901234", false},
        {"", false},
        {"ab", false},
        {"Abc", false},
        {"ab_c", false},
        {"ab c", false},
        {"-abc", false},
        {"abc-", false},
        {".abc", false},
        {"abc.", false},
        {"a..b", false},
        {"192.168.0.1", false},
        {"999.999.999.999", false},
        {"ab\xc3\xa4", false},
        {"ab/c", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (bucket_name_valid(str_from_cstr(rows[i].name)) != rows[i].valid)
            fail_msg("\"%s\"", rows[i].name);
    }
    assert_false(bucket_name_valid(str_of("ab\0c", 4)));
}

static void test_keys(void **state)
{
    UNUSED(state);
    char longest[KEY_MAX + 1];
    memset(longest, 'k', sizeof longest);
    assert_true(key_valid(str_of(longest, KEY_MAX)));
    assert_false(key_valid(str_of(longest, KEY_MAX + 1)));
    assert_true(key_valid(STR("../x")));
    assert_true(key_valid(STR("a//b")));
    assert_true(key_valid(STR("\x01")));
    assert_true(key_valid(STR("\xf0\x9f\x98\x80")));
    assert_false(key_valid((Str){0}));
    assert_false(key_valid(STR("a\0b")));
    assert_false(key_valid(STR("\xc3")));
    assert_false(key_valid(STR("\xed\xa0\x80"))); /* a surrogate */
}

static void test_shard_numbers(void **state)
{
    UNUSED(state);
    assert_int_equal(shard_id(0, 0), SHARD_SYSTEM);
    assert_int_equal(shard_id(15, 4095), 0xffff);
    assert_int_equal(shard_class(shard_id(9, 77)), 9);
    assert_int_equal(shard_number(shard_id(9, 77)), 77);
    assert_true(id128_is_zero((Id128){{0}}));
    Id128 last = {{0}};
    last.bytes[15] = 1;
    assert_false(id128_is_zero(last));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_text),
        cmocka_unit_test(test_id_text_order),
        cmocka_unit_test(test_id_parse_refuses),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_file_id),
        cmocka_unit_test(test_version_id),
        cmocka_unit_test(test_shard_of_key),
        cmocka_unit_test(test_bucket_names),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_shard_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
