#include "text/uri.h"

#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool needs_decoding(UriPart part, Str raw)
{
    for (size_t i = 0; i < raw.len; i++)
        if (raw.ptr[i] == '%' || (part == URI_QUERY && raw.ptr[i] == '+')) return true;
    return false;
}

ErrCode uri_decode(Arena *arena, UriPart part, Str raw, Str *out, Err *err)
{
    if (!needs_decoding(part, raw)) {
        *out = raw;
        return OK;
    }
    char *text = arena_alloc(arena, raw.len);
    if (text == NULL) return err_set(err, ERR_NO_MEMORY, "decode %zu bytes", raw.len);
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%') {
            int high = raw.len - i > 2 ? hex_value(raw.ptr[i + 1]) : -1;
            int low = raw.len - i > 2 ? hex_value(raw.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(err, ERR_INVALID,
                               "a '%%' in the address is not followed by two hex digits");
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && part == URI_QUERY) {
            c = ' ';
        }
        text[len++] = c;
    }
    *out = str_of(text, len);
    return OK;
}

bool uri_query_next(Str *query, Str *name, Str *value, bool *has_value)
{
    while (query->len > 0) {
        Str item, rest;
        (void)str_split(*query, '&', &item, &rest); /* without '&' item is the rest: fine */
        *query = rest;
        if (item.len == 0) continue;
        *has_value = str_split(item, '=', name, value);
        return true;
    }
    return false;
}

ErrCode uri_query_get(Arena *arena, Str query, Str name, bool *found, Str *value, Err *err)
{
    bool seen = false, has_value;
    Str raw_name, raw_value, decoded, result = {NULL, 0};
    while (uri_query_next(&query, &raw_name, &raw_value, &has_value)) {
        TRY(uri_decode(arena, URI_QUERY, raw_name, &decoded, err));
        if (!str_eq(decoded, name)) continue;
        if (seen)
            return err_set(err, ERR_INVALID, "the parameter %.*s stands there twice",
                           STR_ARG(name));
        seen = true;
        TRY(uri_decode(arena, URI_QUERY, raw_value, &result, err));
    }
    *found = seen;
    if (seen) *value = result;
    return OK;
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

bool uri_needless(Str raw)
{
    for (size_t i = 0; i + 2 < raw.len; i++) {
        if (raw.ptr[i] != '%') continue;
        int high = hex_value(raw.ptr[i + 1]);
        int low = hex_value(raw.ptr[i + 2]);
        if (high >= 0 && low >= 0 && is_unreserved((char)(high << 4 | low))) return true;
    }
    return false;
}

ErrCode uri_encode(Buf *out, UriEncode mode, Str raw, Err *err)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t c = (uint8_t)raw.ptr[i];
        if (is_unreserved((char)c) || (mode == URI_ENCODE_PATH && c == '/')) {
            TRY(buf_append(out, &c, 1, err));
        } else {
            char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
            TRY(buf_append(out, escape, sizeof escape, err));
        }
    }
    return OK;
}
