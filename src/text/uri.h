/* Percent-encoding and query strings (RFC 3986), strict: a '%' without two hex digits is an error,
 * never text. Pure. */
#ifndef HOLDFAST_TEXT_URI_H
#define HOLDFAST_TEXT_URI_H

#include "base/arena.h"
#include "base/buf.h"

typedef enum {
    URI_PATH, /* '+' is a plus */
    URI_QUERY /* '+' is a space, as forms send it */
} UriPart;

/* Decodes once. *out is a view of raw where nothing had to be decoded, else lives in arena. It may
 * hold any byte, NUL and '/' included. Errors: ERR_INVALID; ERR_NO_MEMORY. */
MUST_USE ErrCode uri_decode(Arena *arena, UriPart part, Str raw, Str *out, Err *err);

/* Takes the next parameter off *query (without '?'); false at the end. Raw: decode each. Empty
 * ones (`&&`) are skipped; has_value tells `a=` from `a`. */
bool uri_query_next(Str *query, Str *name, Str *value, bool *has_value);

/* The decoded value of the parameter name, which may stand there once: *found says whether.
 * Errors: ERR_INVALID (bad encoding, twice); ERR_NO_MEMORY. */
MUST_USE ErrCode uri_query_get(Arena *arena, Str query, Str name, bool *found, Str *value,
                               Err *err);

typedef enum {
    URI_ENCODE_ALL, /* all but A-Z a-z 0-9 - . _ ~ : a query value, one segment, SigV4 */
    URI_ENCODE_PATH /* the same, but '/' stays */
} UriEncode;
/* Appends raw, encoded with upper-case hex digits. Errors: as buf_append(). */
MUST_USE ErrCode uri_encode(Buf *out, UriEncode mode, Str raw, Err *err);

/* Does raw have an escape of a character that is never escaped (A-Z a-z 0-9 - . _ ~)? */
bool uri_needless(Str raw);

#endif
