/* Entity tags in If-Match and If-None-Match (RFC 9110 sections 8.8.3 and 13.1). Pure. */
#ifndef HOLDFAST_HTTP_CONDITIONS_H
#define HOLDFAST_HTTP_CONDITIONS_H

#include "base/str.h"

#define HTTP_ETAGS_MAX 64 /* in one header */

typedef enum {
    HTTP_ETAG_ITEM, /* *etag is the tag without quotes, *weak says W/ */
    HTTP_ETAG_ANY,  /* the whole header is * */
    HTTP_ETAG_END,
    HTTP_ETAG_BAD
} HttpEtagNext;

/* Takes the next tag off *rest, which starts as the header's value. */
HttpEtagNext http_etag_next(Str *rest, Str *etag, bool *weak);

typedef enum {
    HTTP_COMPARE_STRONG, /* If-Match: weak tags never match */
    HTTP_COMPARE_WEAK    /* If-None-Match */
} HttpEtagCompare;

/* Does the header name etag (without quotes, strong)? exists: is there a version at all, which is
 * what * asks. Errors: ERR_INVALID for a malformed, empty or too long list: the whole is checked,
 * so that the answer does not depend on the etag. */
MUST_USE ErrCode http_etag_match(Str header, HttpEtagCompare compare, bool exists, Str etag,
                                 bool *matches, Err *err);

/* If-Range (RFC 9110 section 13.1.5), ptr NULL if it is not there: is the version with that etag,
 * of changed_ms, still the one of which the client has a part? */
bool http_range_holds(Str validator, Str etag, uint64_t changed_ms);

#endif
