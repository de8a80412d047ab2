/* Routes: method and path pattern → the caller's row. Patterns are matched on the raw path, so an
 * encoded slash never separates; each parameter is decoded exactly once, after the match.
 *   /v1/buckets/{bucket}                one segment, not empty
 *   /v1/buckets/{bucket}/files/{key...} the rest of the path, slashes and empty segments included,
 *                                       not empty; last only
 * The first row that fits wins. Pure. */
#ifndef HOLDFAST_HTTP_ROUTER_H
#define HOLDFAST_HTTP_ROUTER_H

#include "base/arena.h"
#include "http/parser.h"

#define HTTP_ROUTE_PARAMS_MAX 4

typedef struct {
    HttpMethod method;
    const char *pattern;
    const void *row; /* the caller's */
} HttpRoute;

typedef struct {
    const HttpRoute *route;
    Str params[HTTP_ROUTE_PARAMS_MAX]; /* decoded, in the pattern's order */
    size_t param_count;
    char allow[80]; /* after ERR_METHOD: the Allow header's value */
} HttpMatch;

/* Errors: ERR_NO_ROUTE; ERR_METHOD (then out->allow is set, the only output of a failure);
 * ERR_INVALID (bad percent-encoding); ERR_NO_MEMORY. */
MUST_USE ErrCode http_route(const HttpRoute *routes, size_t count, HttpMethod method, Str path,
                            Arena *arena, HttpMatch *out, Err *err);

#endif
