#include "http/conditions.h"

#include "text/dates.h"

/* etagc of RFC 9110 section 8.8.3: visible, no quote; obs-text. */
static bool is_etag_char(char c)
{
    uint8_t b = (uint8_t)c;
    return b == 0x21 || (b >= 0x23 && b != 0x7f);
}

/* Takes spaces and tabs off the front. */
static void skip_space(Str *s)
{
    while (s->len > 0 && (s->ptr[0] == ' ' || s->ptr[0] == '\t'))
        *s = str_slice(*s, 1, s->len);
}

HttpEtagNext http_etag_next(Str *rest, Str *etag, bool *weak)
{
    Str s = str_trim(*rest);
    if (s.len == 0) return HTTP_ETAG_END;
    if (str_eq(s, STR("*"))) {
        *rest = (Str){NULL, 0};
        return HTTP_ETAG_ANY;
    }
    bool is_weak = str_starts_with(s, STR("W/"));
    if (is_weak) s = str_slice(s, 2, s.len);
    if (s.len == 0 || s.ptr[0] != '"') return HTTP_ETAG_BAD;
    s = str_slice(s, 1, s.len);
    size_t end = 0;
    while (end < s.len && is_etag_char(s.ptr[end]))
        end++;
    if (end == s.len || s.ptr[end] != '"') return HTTP_ETAG_BAD;
    Str tag = str_slice(s, 0, end);
    s = str_slice(s, end + 1, s.len);
    skip_space(&s);
    if (s.len > 0) {
        if (s.ptr[0] != ',') return HTTP_ETAG_BAD;
        s = str_slice(s, 1, s.len);
        skip_space(&s);
        /* "a", and "a",,"b" are lists with empty members: senders must not make them. *
         * is alone. */
        if (s.len == 0 || s.ptr[0] == ',' || s.ptr[0] == '*') return HTTP_ETAG_BAD;
    }
    *rest = s;
    *etag = tag;
    *weak = is_weak;
    return HTTP_ETAG_ITEM;
}

ErrCode http_etag_match(Str header, HttpEtagCompare compare, bool exists, Str etag, bool *matches,
                        Err *err)
{
    bool found = false;
    unsigned count = 0;
    for (;;) {
        Str tag;
        bool weak;
        switch (http_etag_next(&header, &tag, &weak)) {
        case HTTP_ETAG_ITEM:
            if (++count > HTTP_ETAGS_MAX)
                return err_set(err, ERR_INVALID, "a condition names more than %d entity tags",
                               HTTP_ETAGS_MAX);
            if (exists && str_eq(tag, etag) && (!weak || compare == HTTP_COMPARE_WEAK))
                found = true;
            break;
        case HTTP_ETAG_ANY: *matches = exists; return OK;
        case HTTP_ETAG_END:
            if (count == 0) return err_set(err, ERR_INVALID, "a condition names no entity tag");
            *matches = found;
            return OK;
        case HTTP_ETAG_BAD:
            return err_set(err, ERR_INVALID,
                           "a condition is not * or a list of entity tags in double quotes");
        }
    }
}

bool http_range_holds(Str validator, Str etag, uint64_t changed_ms)
{
    uint64_t date_ms = 0;
    bool matches = false;
    if (validator.ptr == NULL) return true;
    if (date_parse_http(validator, &date_ms)) return changed_ms / 1000 == date_ms / 1000;
    if (str_eq(validator, STR("*"))) return false; /* no validator */
    return http_etag_match(validator, HTTP_COMPARE_STRONG, true, etag, &matches, NULL) == OK &&
           matches;
}
