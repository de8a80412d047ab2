/* What a presigned address says in the place of headers: programs put their x-amz-… there, and the
 * signature covers it. It counts as the header would, or is refused as that would be. */
#include <string.h>

#include "api/s3/s3_priv.h"
#include "text/uri.h"

#define CHECKSUM "x-amz-checksum-"

/* Of the signature itself. */
static const char *const signing[] = {
    "x-amz-algorithm", "x-amz-credential",    "x-amz-date",          "x-amz-expires",
    "x-amz-signature", "x-amz-signedheaders", "x-amz-content-sha256"};

static bool has_prefix(Str name, const char *prefix)
{
    Str p = str_from_cstr(prefix);
    return str_eq_nocase(str_slice(name, 0, p.len), p);
}

/* Programs presign the checksum of an empty body, whatever is sent: values are passed over. */
static bool is_checksum(Str name)
{
    if (has_prefix(name, "x-amz-sdk-")) return true;
    return has_prefix(name, CHECKSUM) && !str_eq_nocase(name, STR(CHECKSUM "mode")) &&
           !str_eq_nocase(name, STR(CHECKSUM "algorithm")) &&
           !str_eq_nocase(name, STR(CHECKSUM "type"));
}

static bool is_hoisted(Str name)
{
    if (!has_prefix(name, "x-amz-") || is_checksum(name)) return false;
    for (size_t i = 0; i < ARRAY_LEN(signing); i++)
        if (str_eq_nocase(name, str_from_cstr(signing[i]))) return false;
    return true;
}

/* Could it have come as a header? */
static bool is_header(Str name, Str value)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!good && (c == '\0' || strchr(others, c) == NULL)) return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

/* Makes room for all of them at the first. */
static ErrCode add(S3Call *call, HttpHeader **all, HttpHeader header, Err *err)
{
    const HttpHead *head = http_request_head(call->req);
    if (*all == NULL) {
        size_t max = head->header_count + SIGV4_PARAMS_MAX;
        *all = arena_alloc(http_request_arena(call->req), max * sizeof **all);
        if (*all == NULL)
            return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
        memcpy(*all, head->headers, head->header_count * sizeof **all);
        call->headers = *all;
    }
    ASSERT(call->header_count < head->header_count + SIGV4_PARAMS_MAX);
    (*all)[call->header_count++] = header;
    return OK;
}

ErrCode s3_take_headers(S3Call *call, Err *err)
{
    const HttpHead *head = http_request_head(call->req);
    Arena *arena = http_request_arena(call->req);
    Str query = http_request_query(call->req);
    HttpHeader *all = NULL;
    HttpHeader h;
    bool has_value = false;
    call->headers = head->headers;
    call->header_count = head->header_count;
    while (uri_query_next(&query, &h.name, &h.value, &has_value)) {
        TRY(uri_decode(arena, URI_QUERY, h.name, &h.name, err));
        if (!is_hoisted(h.name)) continue;
        TRY(uri_decode(arena, URI_QUERY, h.value, &h.value, err));
        h.value = str_trim(h.value);
        if (!is_header(h.name, h.value))
            return err_set(err, ERR_INVALID, "a parameter of the address could be no header");
        if (http_request_header(call->req, h.name).ptr != NULL)
            return err_set(err, ERR_INVALID, "%.*s stands in a header and in the address",
                           (int)MIN(h.name.len, (size_t)64), h.name.ptr);
        TRY(add(call, &all, h, err));
    }
    return OK;
}
