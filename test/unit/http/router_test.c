#include "http/router.h"
#include "testing.h"

#include <string.h>

static const HttpRoute routes[] = {
    {HTTP_METHOD_GET, "/healthz", "health"},
    {HTTP_METHOD_GET, "/v1/files", "list"},
    {HTTP_METHOD_POST, "/v1/files", "create"},
    {HTTP_METHOD_GET, "/v1/files/{id}", "get"},
    {HTTP_METHOD_HEAD, "/v1/files/{id}", "head"},
    {HTTP_METHOD_DELETE, "/v1/files/{id}", "delete"},
    {HTTP_METHOD_PUT, "/v1/buckets/{bucket}", "bucket"},
    {HTTP_METHOD_GET, "/v1/buckets/{bucket}/files/{key...}", "named"},
    {HTTP_METHOD_PUT, "/v1/buckets/{bucket}/files/{key...}", "put"},
};

static void finds_routes(void **state)
{
    UNUSED(state);
    static const struct {
        HttpMethod method;
        const char *path;
        const char *row; /* or NULL: code */
        ErrCode code;
        const char *params[2];
    } rows[] = {
        {HTTP_METHOD_GET, "/healthz", "health", OK, {0}},
        {HTTP_METHOD_GET, "/healthz/", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_GET, "/health", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_GET, "/Healthz", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_GET, "/%68ealthz", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_GET, "/", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_OPTIONS, "*", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_PUT, "/healthz", NULL, ERR_METHOD, {"GET, HEAD"}},
        {HTTP_METHOD_HEAD, "/healthz", "health", OK, {0}},
        {HTTP_METHOD_HEAD, "/v1/buckets/b", NULL, ERR_METHOD, {"PUT"}},
        {HTTP_METHOD_POST, "/v1/files", "create", OK, {0}},
        {HTTP_METHOD_GET, "/v1/files/", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_GET, "/v1/files/a", "get", OK, {"a"}},
        {HTTP_METHOD_GET, "/v1/files/a%2Fb", "get", OK, {"a/b"}},
        {HTTP_METHOD_GET, "/v1/files/a+b%252f", "get", OK, {"a+b%2f"}},
        {HTTP_METHOD_GET, "/v1/files/a/b", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_GET, "/v1/files/%zz", NULL, ERR_INVALID, {0}},
        {HTTP_METHOD_PUT, "/v1/files/a", NULL, ERR_METHOD, {"GET, HEAD, DELETE"}},
        {HTTP_METHOD_OTHER, "/v1/files", NULL, ERR_METHOD, {"GET, HEAD, POST"}},
        {HTTP_METHOD_GET, "/v1/buckets/b/files/k", "named", OK, {"b", "k"}},
        {HTTP_METHOD_PUT, "/v1/buckets/b/files/a//b/../%20", "put", OK, {"b", "a//b/../ "}},
        {HTTP_METHOD_GET, "/v1/buckets/b/files//", "named", OK, {"b", "/"}},
        {HTTP_METHOD_GET, "/v1/buckets/b/files/", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_GET, "/v1/buckets//files/k", NULL, ERR_NO_ROUTE, {0}},
        {HTTP_METHOD_GET, "/v1/buckets/a%2ffiles%2fb", NULL, ERR_METHOD, {"PUT"}},
    };
    Arena arena;
    arena_init(&arena, 4096);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        HttpMatch match = {0};
        ErrCode code = http_route(routes, ARRAY_LEN(routes), rows[i].method,
                                  str_from_cstr(rows[i].path), &arena, &match, NULL);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_info(code)->name);
        if (code == ERR_METHOD) assert_string_equal(match.allow, rows[i].params[0]);
        if (code != OK) continue;
        assert_string_equal(match.route->row, rows[i].row);
        for (size_t p = 0; p < 2; p++) {
            assert_int_equal(p < match.param_count, rows[i].params[p] != NULL);
            if (p < match.param_count) assert_str(match.params[p], rows[i].params[p]);
        }
    }
    arena_deinit(&arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
