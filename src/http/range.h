/* The Range header (RFC 9110 section 14.2), of bytes. Pure. */
#ifndef HOLDFAST_HTTP_RANGE_H
#define HOLDFAST_HTTP_RANGE_H

#include "base/str.h"

#define HTTP_RANGES_MAX 16 /* in one header; more are not looked at */

typedef enum {
    HTTP_RANGE_ALL,    /* absent, not understood, or apart: the whole content is the answer */
    HTTP_RANGE_PART,   /* *from ≤ byte < *end */
    HTTP_RANGE_BEYOND, /* none of the ranges touches the content: 416 */
} HttpRange;

/* What the header asks of a content of size bytes. Several ranges that touch or overlap are one;
 * several that lie apart are answered by the whole, which any client must take. */
HttpRange http_range_parse(Str header, uint64_t size, uint64_t *from, uint64_t *end);

#endif
