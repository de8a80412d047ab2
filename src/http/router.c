#include "http/router.h"

#include "text/uri.h"
#include <string.h>

#define TAIL "..."

/* Does the pattern fit the raw path? Then its raw parameters are in params. */
static bool fits(const char *pattern, Str path, Str params[HTTP_ROUTE_PARAMS_MAX], size_t *count)
{
    Str left = str_from_cstr(pattern);
    size_t n = 0;
    while (left.len > 0) {
        if (left.ptr[0] != '{') {
            if (path.len == 0 || path.ptr[0] != left.ptr[0]) return false;
            left = str_slice(left, 1, left.len);
            path = str_slice(path, 1, path.len);
            continue;
        }
        size_t end = str_find_char(left, '}');
        ASSERT(end < left.len && n < HTTP_ROUTE_PARAMS_MAX);
        bool tail = str_ends_with(str_slice(left, 0, end), STR(TAIL));
        left = str_slice(left, end + 1, left.len);
        ASSERT(!tail || left.len == 0);
        size_t len = tail ? path.len : str_find_char(path, '/');
        if (len == 0) return false;
        params[n++] = str_slice(path, 0, len);
        path = str_slice(path, len, path.len);
    }
    *count = n;
    return path.len == 0;
}

/* Adds a method's name to a list like "GET, HEAD", once. */
static void add_allowed(char allow[80], unsigned *methods, HttpMethod method)
{
    if ((*methods & 1u << method) != 0) return;
    *methods |= 1u << method;
    const char *name = http_method_name(method);
    size_t len = strlen(allow), need = strlen(name) + (len > 0 ? 2 : 0);
    ASSERT(len + need < 80);
    if (len > 0) memcpy(allow + len, ", ", 2);
    memcpy(allow + len + (len > 0 ? 2 : 0), name, strlen(name) + 1);
}

ErrCode http_route(const HttpRoute *routes, size_t count, HttpMethod method, Str path, Arena *arena,
                   HttpMatch *out, Err *err)
{
    char allow[sizeof out->allow] = "";
    unsigned allowed = 0;
    for (size_t i = 0; i < count; i++) {
        HttpMatch match = {.route = &routes[i]};
        Str raw[HTTP_ROUTE_PARAMS_MAX];
        if (!fits(routes[i].pattern, path, raw, &match.param_count)) continue;
        if (routes[i].method != method) {
            add_allowed(allow, &allowed, routes[i].method);
            if (routes[i].method == HTTP_METHOD_GET) add_allowed(allow, &allowed, HTTP_METHOD_HEAD);
            continue;
        }
        for (size_t p = 0; p < match.param_count; p++)
            TRY(uri_decode(arena, URI_PATH, raw[p], &match.params[p], err));
        *out = match;
        return OK;
    }
    if (method == HTTP_METHOD_HEAD && (allowed & 1u << HTTP_METHOD_GET) != 0)
        return http_route(routes, count, HTTP_METHOD_GET, path, arena, out, err);
    if (allowed == 0) return err_set(err, ERR_NO_ROUTE, "there is nothing at this address");
    memcpy(out->allow, allow, sizeof allow);
    return err_set(err, ERR_METHOD, "this address takes %s only", allow);
}
