#include "http/range.h"

typedef struct {
    uint64_t from;
    uint64_t end;
} Span;

/* "0-499", "500-", "-500". False: malformed. *some: it touches the content. */
static bool parse_spec(Str spec, uint64_t size, Span *out, bool *some)
{
    Str first;
    Str last;
    uint64_t from = 0;
    uint64_t to = UINT64_MAX;
    if (!str_split(str_trim(spec), '-', &first, &last)) return false;
    if (first.len == 0) {
        uint64_t count = 0;
        if (!str_to_u64(last, UINT64_MAX, &count)) return false;
        *some = count > 0 && size > 0;
        *out = (Span){.from = count < size ? size - count : 0, .end = size};
        return true;
    }
    if (!str_to_u64(first, UINT64_MAX, &from)) return false;
    if (last.len > 0 && !str_to_u64(last, UINT64_MAX, &to)) return false;
    if (to < from) return false;
    *some = from < size;
    *out = (Span){.from = from, .end = to < size ? to + 1 : size};
    return true;
}

/* Joins span to one that it touches; false: it touches none and *count is full. */
static bool add_span(Span *spans, size_t *count, Span span)
{
    for (size_t i = 0; i < *count;) {
        if (span.from > spans[i].end || spans[i].from > span.end) {
            i++;
            continue;
        }
        span.from = MIN(span.from, spans[i].from);
        span.end = MAX(span.end, spans[i].end);
        spans[i] = spans[--*count];
        i = 0; /* larger now, it may touch others */
    }
    if (*count == HTTP_RANGES_MAX) return false;
    spans[(*count)++] = span;
    return true;
}

HttpRange http_range_parse(Str header, uint64_t size, uint64_t *from, uint64_t *end)
{
    Span spans[HTTP_RANGES_MAX];
    size_t count = 0;
    size_t given = 0;
    Str unit;
    Str rest;
    if (!str_split(header, '=', &unit, &rest) || !str_eq_nocase(str_trim(unit), STR("bytes")))
        return HTTP_RANGE_ALL;
    for (bool more = true; more;) {
        Str spec;
        Span span;
        bool some = false;
        more = str_split(rest, ',', &spec, &rest);
        if (str_trim(spec).len == 0) continue; /* an empty element of a list */
        if (++given > HTTP_RANGES_MAX || !parse_spec(spec, size, &span, &some))
            return HTTP_RANGE_ALL;
        if (some && !add_span(spans, &count, span)) return HTTP_RANGE_ALL;
    }
    if (given == 0) return HTTP_RANGE_ALL;
    if (count == 0) return HTTP_RANGE_BEYOND;
    if (count > 1) return HTTP_RANGE_ALL;
    *from = spans[0].from;
    *end = spans[0].end;
    return HTTP_RANGE_PART;
}
