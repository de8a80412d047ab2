#include "http/params.h"

Str http_params_begin(Str *rest)
{
    size_t len = str_find_char(*rest, ';');
    Str head = str_trim(str_slice(*rest, 0, len));
    *rest = str_slice(*rest, len, rest->len);
    return head;
}

/* A quoted string off the front of *rest, unescaped. */
static ErrCode take_quoted(Str *rest, Buf *value, Err *err)
{
    size_t i = 1;
    for (; i < rest->len && rest->ptr[i] != '"'; i++) {
        if (rest->ptr[i] == '\\' && i + 1 < rest->len) i++;
        TRY(buf_append(value, rest->ptr + i, 1, err));
    }
    if (i >= rest->len) return err_set(err, ERR_INVALID, "a quote is not closed");
    *rest = str_slice(*rest, i + 1, rest->len);
    return OK;
}

static ErrCode take_value(Str *rest, Buf *value, Err *err)
{
    buf_clear(value);
    if (rest->len > 0 && rest->ptr[0] == '"') return take_quoted(rest, value, err);
    size_t len = str_find_char(*rest, ';');
    Str token = str_trim(str_slice(*rest, 0, len));
    *rest = str_slice(*rest, len, rest->len);
    return buf_append_str(value, token, err);
}

ErrCode http_params_next(Str *rest, Str *name, Buf *value, bool *found, Err *err)
{
    Str left = *rest;
    *found = false;
    for (;;) { /* `;` and spaces, of which there may be too many */
        left = str_trim(left);
        if (left.len == 0 || left.ptr[0] != ';') break;
        left = str_slice(left, 1, left.len);
    }
    *rest = left;
    if (left.len == 0) return OK;
    size_t equals = str_find_char(left, '=');
    if (equals == left.len) return err_set(err, ERR_INVALID, "a parameter has no value");
    Str found_name = str_trim(str_slice(left, 0, equals));
    left = str_trim(str_slice(left, equals + 1, left.len));
    TRY(take_value(&left, value, err));
    *rest = str_slice(left, str_find_char(left, ';'), left.len);
    *name = found_name;
    *found = true;
    return OK;
}
