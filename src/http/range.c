#include "http/range.h"

#include <string.h>

/* Digits, any number of them; what is larger than all that can be is the largest. */
static bool parse_position(Str text, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        bool over = __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, digit, &value);
        if (over) value = UINT64_MAX; /* and stays there: times 10 is over again */
    }
    *out = value;
    return text.len > 0;
}

/* "0-499", "500-", "-500". False: malformed. *some: it touches the content. */
static bool parse_spec(Str spec, uint64_t size, HttpSpan *out, bool *some)
{
    Str first;
    Str last;
    uint64_t from = 0;
    uint64_t to = UINT64_MAX;
    if (!str_split(str_trim(spec), '-', &first, &last)) return false;
    if (first.len == 0) {
        uint64_t count = 0;
        if (!parse_position(last, &count)) return false;
        *some = count > 0 && size > 0;
        *out = (HttpSpan){.from = count < size ? size - count : 0, .end = size};
        return true;
    }
    if (!parse_position(first, &from)) return false;
    if (last.len > 0 && !parse_position(last, &to)) return false;
    if (to < from) return false;
    *some = from < size;
    *out = (HttpSpan){.from = from, .end = to < size ? to + 1 : size};
    return true;
}

/* Joins span to those that it touches, in the place of the first of these, or behind all; false:
 * there is no place. */
static bool add_span(HttpSpan *spans, size_t *count, HttpSpan span)
{
    size_t at = *count;
    for (size_t i = 0; i < *count;) {
        if (span.from > spans[i].end || spans[i].from > span.end) {
            i++;
            continue;
        }
        span.from = MIN(span.from, spans[i].from);
        span.end = MAX(span.end, spans[i].end);
        (*count)--;
        memmove(&spans[i], &spans[i + 1], (*count - i) * sizeof *spans);
        at = MIN(at, i);
        i = 0; /* larger now, it may touch others */
    }
    if (*count == HTTP_RANGES_MAX) return false;
    at = MIN(at, *count);
    memmove(&spans[at + 1], &spans[at], (*count - at) * sizeof *spans);
    spans[at] = span;
    (*count)++;
    return true;
}

HttpRange http_range_parse(Str header, uint64_t size, HttpSpan spans[HTTP_RANGES_MAX],
                           size_t *count)
{
    size_t given = 0;
    *count = 0;
    Str unit;
    Str rest;
    if (!str_split(header, '=', &unit, &rest) || !str_eq_nocase(str_trim(unit), STR("bytes")))
        return HTTP_RANGE_ALL;
    for (bool more = true; more;) {
        Str spec;
        HttpSpan span;
        bool some = false;
        more = str_split(rest, ',', &spec, &rest);
        if (str_trim(spec).len == 0) continue; /* an empty element of a list */
        bool good = ++given <= HTTP_RANGES_MAX && parse_spec(spec, size, &span, &some) &&
                    (!some || add_span(spans, count, span));
        if (good) continue;
        *count = 0;
        return HTTP_RANGE_ALL;
    }
    if (given == 0) return HTTP_RANGE_ALL;
    return *count == 0 ? HTTP_RANGE_BEYOND : HTTP_RANGE_PART;
}
