/* Parameters of header values, `value; name=token; name="quoted"` (RFC 9110 section 5.6.6), as in
 * Content-Type and Content-Disposition. Pure. */
#ifndef HOLDFAST_HTTP_PARAMS_H
#define HOLDFAST_HTTP_PARAMS_H

#include "base/buf.h"

/* What stands before the first parameter, without spaces; *rest (which was the whole header value)
 * is then for http_params_next(). */
Str http_params_begin(Str *rest);
/* The next parameter off the front of *rest: its name, a view, and its value, unquoted into value
 * (cleared first). *found is false at the end. ERR_INVALID: a quote is not closed, or there is no
 * `=`; ERR_TOO_BIG: longer than value may be. */
MUST_USE ErrCode http_params_next(Str *rest, Str *name, Buf *value, bool *found, Err *err);

#endif
