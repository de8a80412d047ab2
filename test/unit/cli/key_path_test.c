#include "cli/key_path.h"
#include "testing.h"

#include <string.h>

static void paths_below_a_target(void **state)
{
    UNUSED(state);
    char segment255[256];
    char segment256[257];
    memset(segment255, 'a', 255);
    memset(segment256, 'a', 256);
    segment255[255] = segment256[256] = '\0';
    const struct {
        const char *key;
        ErrCode code;
        const char *says;
    } rows[] = {
        {"a", OK, NULL},
        {"a/b/c", OK, NULL},
        {"a b", OK, NULL},
        {"...", OK, NULL},
        {"..a/a..", OK, NULL},
        {".hidden", OK, NULL},
        {"-r", OK, NULL},
        {"a\nb", OK, NULL},
        {"back\\slash", OK, NULL},
        {"\xc3\xbc", OK, NULL},
        {segment255, OK, NULL},
        {segment256, ERR_BAD_NAME, "longer than 255"},
        {"", ERR_BAD_NAME, "no name"},
        {"/", ERR_BAD_NAME, "begins with /"},
        {"/a", ERR_BAD_NAME, "begins with /"},
        {"a/", ERR_BAD_NAME, "ends in /"},
        {"a//b", ERR_BAD_NAME, "empty segment"},
        {".", ERR_BAD_NAME, "segment ."},
        {"..", ERR_BAD_NAME, "segment .."},
        {"../x", ERR_BAD_NAME, "segment .."},
        {"a/../b", ERR_BAD_NAME, "segment .."},
        {"a/..", ERR_BAD_NAME, "segment .."},
        {"a/./b", ERR_BAD_NAME, "segment ."},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        assert_code(key_path_check(str_from_cstr(rows[i].key), &err), rows[i].code, &err);
        if (rows[i].says != NULL) assert_non_null(strstr(err_text(&err), rows[i].says));
    }
    assert_code(key_path_check(str_of("a\0b", 3), NULL), ERR_BAD_NAME, NULL);
    assert_code(key_path_check(str_of("a/b\0", 4), NULL), ERR_BAD_NAME, NULL);
}

static void keys(void **state)
{
    UNUSED(state);
    char longest[KEY_MAX + 1];
    memset(longest, 'k', sizeof longest);
    assert_ok(key_check(str_of(longest, KEY_MAX), NULL), NULL);
    assert_code(key_check(str_of(longest, KEY_MAX + 1), NULL), ERR_KEY_TOO_LONG, NULL);
    assert_ok(key_check(STR("../x//"), NULL), NULL);
    assert_ok(key_check(STR("\xe6\x97\xa5"), NULL), NULL);
    assert_code(key_check(STR(""), NULL), ERR_BAD_NAME, NULL);
    assert_code(key_check(STR("\xff"), NULL), ERR_BAD_NAME, NULL);
    assert_code(key_check(STR("a\xc3"), NULL), ERR_BAD_NAME, NULL);
    assert_code(key_check(str_of("a\0b", 3), NULL), ERR_BAD_NAME, NULL);
}

static void names_of_buckets_and_keys(void **state)
{
    UNUSED(state);
    static const struct {
        const char *arg, *bucket, *key;
    } rows[] = {
        {"files/a", "files", "a"},     {"files", "files", ""},      {"files/", "files", ""},
        {"files/a/b", "files", "a/b"}, {"files//a", "files", "/a"}, {"files/../x", "files", "../x"},
        {"files/a//", "files", "a//"},
    };
    Str bucket = STR("untouched");
    Str key = bucket;
    assert_code(key_split("", &bucket, &key, NULL), ERR_USAGE, NULL);
    assert_code(key_split("/a", &bucket, &key, NULL), ERR_USAGE, NULL);
    assert_str(bucket, "untouched");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_ok(key_split(rows[i].arg, &bucket, &key, NULL), NULL);
        assert_str(bucket, rows[i].bucket);
        assert_str(key, rows[i].key);
    }
}

static void base_names(void **state)
{
    UNUSED(state);
    static const struct {
        const char *path, *base;
    } rows[] = {{"a", "a"}, {"a/b", "b"}, {"/a/b/", "b"}, {"a//", "a"},  {"", ""},
                {"/", ""},  {"//", ""},   {"../x", "x"},  {"./..", ".."}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_str(path_base_name(str_from_cstr(rows[i].path)), rows[i].base);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_below_a_target),
        cmocka_unit_test(keys),
        cmocka_unit_test(names_of_buckets_and_keys),
        cmocka_unit_test(base_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
