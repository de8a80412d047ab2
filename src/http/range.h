/* The Range header (RFC 9110 section 14.2), of bytes. Pure. */
#ifndef HOLDFAST_HTTP_RANGE_H
#define HOLDFAST_HTTP_RANGE_H

#include "base/str.h"

#define HTTP_RANGES_MAX 16 /* in one header; with more the whole content is the answer */

typedef enum {
    HTTP_RANGE_ALL,    /* absent, not understood or too many: the whole content is the answer */
    HTTP_RANGE_PART,   /* one span or several */
    HTTP_RANGE_BEYOND, /* none of the ranges touches the content: 416 */
} HttpRange;

typedef struct {
    uint64_t from; /* from ≤ byte < end */
    uint64_t end;
} HttpSpan;

/* What the header asks of a content of size bytes: *count spans (0 unless PART), none of them
 * empty, in the order in which they were asked for. Ranges that touch or overlap are one span, so
 * that all of them together are never more than the content. */
HttpRange http_range_parse(Str header, uint64_t size, HttpSpan spans[HTTP_RANGES_MAX],
                           size_t *count);

#endif
