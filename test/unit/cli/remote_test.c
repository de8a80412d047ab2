#include "cli/remote.h"
#include "testing.h"

static void targets(void **state)
{
    UNUSED(state);
    static const struct {
        const char *key, *target;
    } rows[] = {
        {"a", "/v1/buckets/files/files/a"},
        {"a b/c", "/v1/buckets/files/files/a%20b/c"},
        {"100%", "/v1/buckets/files/files/100%25"},
        {"a?b#c", "/v1/buckets/files/files/a%3Fb%23c"},
        {"a//b", "/v1/buckets/files/files/a//b"},
        {"../x", "/v1/buckets/files/files/../x"},
        {"\xc3\xbc", "/v1/buckets/files/files/%C3%BC"},
        {"+", "/v1/buckets/files/files/%2B"},
    };
    AUTO_BUF(out, REMOTE_TARGET_MAX);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_ok(remote_file_target(&out, STR("files"), str_from_cstr(rows[i].key), NULL), NULL);
        assert_string_equal((const char *)out.data, rows[i].target);
    }
    assert_ok(remote_bucket_target(&out, STR("a/b"), NULL), NULL);
    assert_string_equal((const char *)out.data, "/v1/buckets/a%2Fb");
    AUTO_BUF(small, 8);
    assert_code(remote_file_target(&small, STR("files"), STR("a"), NULL), ERR_TOO_BIG, NULL);
}

static ErrCode parse(const char *text, json_t **object, RemoteFile *out)
{
    assert_ok(json_parse(str_from_cstr(text), object, NULL), NULL);
    return remote_file_parse(*object, out, NULL);
}

static void files(void **state)
{
    UNUSED(state);
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"bucket\":\"b\",\"key\":\"k\"}",
        "{\"bucket\":\"b\",\"size\":1}",
        "{\"key\":\"k\",\"size\":1}",
        "{\"bucket\":\"b\",\"key\":\"k\",\"size\":-1}",
        "{\"bucket\":\"b\",\"key\":\"k\",\"size\":\"1\"}",
        "{\"bucket\":\"b\",\"key\":\"k\",\"size\":1,\"sha256\":7}",
        "{\"bucket\":\"b\",\"key\":\"k\",\"size\":1,\"sha256\":\"abc\"}",
    };
    RemoteFile file = {.size = 42};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(json_t, json_free) object = NULL;
        assert_code(parse(bad[i], &object, &file), ERR_PEER, NULL);
        assert_int_equal(file.size, 42);
    }
    AUTO(json_t, json_free) object = NULL;
    assert_ok(parse("{\"bucket\":\"b\",\"key\":\"k/l\",\"size\":7,\"sha256\":null,\"more\":[]}",
                    &object, &file),
              NULL);
    assert_str(file.bucket, "b");
    assert_str(file.key, "k/l");
    assert_int_equal(file.size, 7);
    assert_false(file.has_sha256);
    AUTO(json_t, json_free) whole = NULL;
    assert_ok(parse("{\"bucket\":\"b\",\"key\":\"k\",\"size\":0,\"updated_at\":\"now\",\"sha256\":"
                    "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}",
                    &whole, &file),
              NULL);
    assert_true(file.has_sha256);
    Sha256 none = sha256_of("", 0);
    assert_true(sha256_eq(&file.sha256, &none));
    assert_str(file.updated_at, "now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
