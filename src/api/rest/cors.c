/* Cross-origin requests of browsers (the Fetch standard, "CORS protocol"): a page of another origin
 * may read answers only if they say so, and asks first (OPTIONS with Access-Control-Request-Method)
 * before it sends what a plain form could not. Credentials that a browser adds by itself are never
 * allowed: a page shows the key that it was given, in Authorization. */
#include "api/rest/rest_priv.h"

#define MAX_AGE_S "7200" /* for which a browser may keep what it was told; Chromium's most */

/* What pages may read beside the headers that they always may. A page sees Holdfast-Meta-... by the
 * star. */
static const char exposed[] =
#define HEADER(name, wire, text) wire ", "
#include "api/rest/describe.def"
    "Allow, *";

/* Is origin one of those that commas separate? As bytes: a browser writes it in one way. */
static bool is_listed(Str origins, Str origin)
{
    for (bool more = true; more;) {
        Str one;
        more = str_split(origins, ',', &one, &origins);
        if (str_eq(one, origin)) return true;
    }
    return false;
}

/* Names of headers with commas between them, as a browser sends them. */
static bool are_names(Str names)
{
    for (size_t i = 0; i < names.len; i++) {
        char c = names.ptr[i];
        if (!http_is_token_char(c) && c != ',' && c != ' ') return false;
    }
    return true;
}

/* The methods of the address, whoever asks: which there are is no secret. */
static void answer_preflight(RestCall *call)
{
    HttpRequest *req = call->req;
    Err err = {0};
    /* No row has it, so the list of those that have the path comes back. */
    ErrCode code = http_route(rest_routes, rest_route_count, HTTP_METHOD_OTHER,
                              http_request_path(req), http_request_arena(req), &call->match, &err);
    if (code != ERR_METHOD) {
        rest_answer_error(call, code, &err);
        return;
    }
    Str wanted = http_request_header(req, STR("access-control-request-headers"));
    http_header_add(req, "Access-Control-Allow-Methods", str_from_cstr(call->match.allow));
    if (wanted.len > 0 && are_names(wanted))
        http_header_add(req, "Access-Control-Allow-Headers", wanted);
    http_header_add(req, "Access-Control-Max-Age", STR(MAX_AGE_S));
    rest_answer_empty(call, 204);
}

bool rest_cors(RestCall *call)
{
    HttpRequest *req = call->req;
    const char *setting = call->rest->options.cors_origins;
    if (setting == NULL || setting[0] == '\0') return false;
    Str origins = str_from_cstr(setting);
    Str origin = http_request_header(req, STR("origin"));
    bool any = str_eq(origins, STR("*"));
    bool asks = http_request_method(req) == HTTP_METHOD_OPTIONS &&
                http_request_header(req, STR("access-control-request-method")).ptr != NULL;
    /* Also for those that are not listed, or a cache would give them what others were told. */
    if (asks)
        http_header_add(
            req, "Vary",
            STR("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"));
    else if (!any)
        http_header_add(req, "Vary", STR("Origin"));
    if (origin.len == 0 || !(any || is_listed(origins, origin))) return false;
    http_header_add(req, "Access-Control-Allow-Origin", any ? STR("*") : origin);
    if (asks) {
        answer_preflight(call);
        return true;
    }
    http_header_add(req, "Access-Control-Expose-Headers", str_of(exposed, sizeof exposed - 1));
    return false;
}
