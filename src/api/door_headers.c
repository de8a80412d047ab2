#include "api/door_headers.h"

#include "format/attr.h"

/* "Holdfast-Meta-" before a name, ": " and the end of the line: the longest that a door writes. */
#define LINE_EXTRA (14 + 4)

static size_t lines_of(Str attrs, AttrType type)
{
    Str pairs;
    size_t total = 0;
    if (!attr_get(attrs, type, &pairs)) return 0;
    Dec dec = dec_of(pairs.ptr, pairs.len);
    while (dec_left(&dec) > 0 && !dec.failed) {
        size_t name = dec_str(&dec).len;
        total += name + dec_str(&dec).len + LINE_EXTRA;
    }
    return total;
}

ErrCode door_headers_fit(Str attrs, Err *err)
{
    size_t total = lines_of(attrs, ATTR_USER_META) + lines_of(attrs, ATTR_HTTP_HEADERS);
    if (total <= DOOR_HEADERS_MAX) return OK;
    return err_set(err, ERR_HEADERS_TOO_LARGE,
                   "metadata and headers that are kept may have %d bytes together, as lines of an "
                   "answer",
                   (int)DOOR_HEADERS_MAX);
}
