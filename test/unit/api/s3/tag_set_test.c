/* Sets of tags: both forms that S3 sends them in, their limits, and what is wrong with others. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "api/s3/tag_set.h"

#define ROOT(tags) "<Tagging><TagSet>" tags "</TagSet></Tagging>"
#define TAG(key, value) "<Tag><Key>" key "</Key><Value>" value "</Value></Tag>"
#define K32 "0123456789abcdef0123456789abcdef"

/* "a=1,b=" of pairs. */
static void describe(const Buf *pairs, char *out, size_t size)
{
    Dec dec = dec_of(pairs->data, pairs->len);
    Str key;
    Str value;
    size_t at = 0;
    out[0] = '\0';
    while (tag_set_next(&dec, &key, &value)) {
        int len = snprintf(out + at, size - at, "%s%.*s=%.*s", at > 0 ? "," : "", STR_ARG(key),
                           STR_ARG(value));
        at += (size_t)len;
    }
}

typedef struct {
    const char *text;
    TagFault fault;
    const char *want; /* of a good one */
} Row;

static void check(const Row *rows, size_t count, bool xml)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_BUF(pairs, 64 * KIB);
        Arena arena;
        Err err = {0};
        TagFault fault = TAG_FAULT_NONE;
        char got[4096];
        Str text = str_from_cstr(rows[i].text);
        arena_init(&arena, 64 * KIB);
        ErrCode code = xml ? tag_set_read_xml(text, 3, &pairs, &fault, &err)
                           : tag_set_read_query(&arena, text, 3, &pairs, &fault, &err);
        assert_int_equal(fault, rows[i].fault);
        assert_int_equal(code, rows[i].fault == TAG_FAULT_NONE ? OK : ERR_INVALID);
        describe(&pairs, got, sizeof got);
        if (code == OK) assert_string_equal(got, rows[i].want);
        arena_deinit(&arena);
    }
}

static void test_xml(void **state)
{
    static const Row rows[] = {
        {ROOT(""), TAG_FAULT_NONE, ""},
        {"<Tagging>\n <TagSet/>\n</Tagging>", TAG_FAULT_NONE, ""},
        {ROOT(TAG("a", "1") TAG("b", "")), TAG_FAULT_NONE, "a=1,b="},
        {ROOT("<Tag><Value>1</Value><Key>a</Key></Tag>"), TAG_FAULT_NONE, "a=1"},
        {ROOT(TAG("ä&amp; b", "+-=._:/@")), TAG_FAULT_NONE, "ä& b=+-=._:/@"},
        {ROOT(TAG("A", "1") TAG("a", "1")), TAG_FAULT_NONE, "A=1,a=1"},
        {ROOT(TAG(K32 K32 K32 K32, "1")), TAG_FAULT_NONE, K32 K32 K32 K32 "=1"},
        {ROOT(TAG(K32 K32 K32 K32 "x", "1")), TAG_FAULT_KEY, NULL},
        {ROOT(TAG("", "1")), TAG_FAULT_KEY, NULL},
        {ROOT(TAG("a&#9;b", "1")), TAG_FAULT_KEY, NULL},
        {ROOT(TAG("a", K32 K32 K32 K32 K32 K32 K32 K32 "x")), TAG_FAULT_VALUE, NULL},
        {ROOT(TAG("aws:a", "1")), TAG_FAULT_SYSTEM, NULL},
        {ROOT(TAG("a", "1") TAG("a", "2")), TAG_FAULT_TWICE, NULL},
        {ROOT(TAG("a", "") TAG("b", "") TAG("c", "") TAG("d", "")), TAG_FAULT_MANY, NULL},
        {"<Tagging></Tagging>", TAG_FAULT_FORM, NULL},
        {"<Tagging><TagSet/><TagSet/></Tagging>", TAG_FAULT_FORM, NULL},
        {"<Other/>", TAG_FAULT_FORM, NULL},
        {ROOT("<Tag><Key>a</Key></Tag>"), TAG_FAULT_FORM, NULL},
        {ROOT("<Tag><Value>a</Value></Tag>"), TAG_FAULT_FORM, NULL},
        {ROOT("<Tag><Key>a</Key><Key>b</Key><Value/></Tag>"), TAG_FAULT_FORM, NULL},
        {ROOT("<Tag><Key>a<b/></Key><Value/></Tag>"), TAG_FAULT_FORM, NULL},
        {ROOT("<Tag><Key>a</Key><Other/></Tag>"), TAG_FAULT_FORM, NULL},
        {"<Tagging><TagSet>", TAG_FAULT_FORM, NULL},
        {"", TAG_FAULT_FORM, NULL},
    };
    UNUSED(state);
    check(rows, ARRAY_LEN(rows), true);
}

static void test_query(void **state)
{
    static const Row rows[] = {
        {"a=1&b=2", TAG_FAULT_NONE, "a=1,b=2"},
        {"a", TAG_FAULT_NONE, "a="},
        {"a=&&b", TAG_FAULT_NONE, "a=,b="},
        {"a%20b+c=%C3%A4%3D", TAG_FAULT_NONE, "a b c=ä="},
        {"", TAG_FAULT_NONE, ""},
        {"a=1&a=2", TAG_FAULT_TWICE, NULL},
        {"a=1&%61=2", TAG_FAULT_TWICE, NULL},
        {"a=%", TAG_FAULT_FORM, NULL},
        {"a%00b=1", TAG_FAULT_KEY, NULL},
        {"a=%ff", TAG_FAULT_VALUE, NULL},
        {"=1", TAG_FAULT_KEY, NULL},
        {"a&b&c&d", TAG_FAULT_MANY, NULL},
        {"aws:a=1", TAG_FAULT_SYSTEM, NULL},
        {"a=%EF%BF%BE", TAG_FAULT_VALUE, NULL},
    };
    UNUSED(state);
    check(rows, ARRAY_LEN(rows), false);
}

/* 256 characters of four bytes each are as good as 256 letters. */
static void test_characters(void **state)
{
    AUTO_BUF(xml, 64 * KIB);
    AUTO_BUF(pairs, 64 * KIB);
    Err err = {0};
    TagFault fault = TAG_FAULT_NONE;
    UNUSED(state);
    for (unsigned extra = 0; extra < 2; extra++) {
        buf_clear(&xml);
        buf_clear(&pairs);
        assert_ok(buf_append_str(&xml, STR("<Tagging><TagSet><Tag><Key>a</Key><Value>"), &err),
                  &err);
        for (unsigned i = 0; i < TAG_VALUE_MAX + extra; i++)
            assert_ok(buf_append_str(&xml, STR("🎈"), &err), &err);
        assert_ok(buf_append_str(&xml, STR("</Value></Tag></TagSet></Tagging>"), &err), &err);
        ErrCode code = tag_set_read_xml(buf_str(&xml), 1, &pairs, &fault, &err);
        assert_int_equal(code, extra == 0 ? OK : ERR_INVALID);
        assert_int_equal(fault, extra == 0 ? TAG_FAULT_NONE : TAG_FAULT_VALUE);
        if (extra == 0) assert_int_equal(tag_set_count(buf_str(&pairs)), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
