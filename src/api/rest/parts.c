/* Several ranges of a content in one answer: multipart/byteranges (RFC 9110 section 14.6). */
#include "api/rest/rest_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TYPE_SHOWN_MAX 256 /* bytes of a content type that each part repeats */

/* Is the content kept in a coding? Who undoes that would undo it over the parts' heads as well. */
static bool is_encoded(const RestFile *file)
{
    Str pairs;
    Str name;
    Str value;
    if (!attr_get(file->row.attrs, ATTR_HTTP_HEADERS, &pairs)) return false;
    Dec dec = dec_of(pairs.ptr, pairs.len);
    while (rest_pairs_next(&dec, &name, &value))
        if (str_eq_nocase(name, STR("content-encoding"))) return true;
    return false;
}

ErrCode rest_parts_begin(RestCall *call, const RestFile *file, const HttpSpan *spans, size_t count,
                         Err *err)
{
    uint8_t random[16];
    if (is_encoded(file)) return OK; /* the whole, which any client must take */
    RestParts *parts = arena_alloc(http_request_arena(call->req), sizeof *parts);
    if (parts == NULL) return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
    ASSERT(count >= 2 && count <= HTTP_RANGES_MAX);
    memcpy(parts->spans, spans, count * sizeof *spans);
    parts->count = count;
    rng_bytes(&call->loop->rng, random, sizeof random); /* so that no content can hold it */
    hex_encode(random, sizeof random, parts->boundary);
    call->parts = parts;
    call->partial = true;
    return OK;
}

/* Control characters would end the line. */
static size_t put_type(char *out, Str type)
{
    if (type.len == 0 || type.len > TYPE_SHOWN_MAX) return 0;
    static const char name[] = "Content-Type: ";
    size_t len = sizeof name - 1;
    memcpy(out, name, len);
    for (size_t i = 0; i < type.len; i++) {
        uint8_t c = (uint8_t)type.ptr[i];
        out[len++] = c < 0x20 || c == 0x7f ? ' ' : type.ptr[i];
    }
    out[len++] = '\r';
    out[len++] = '\n';
    return len;
}

size_t rest_part_text(const RestParts *parts, const RestFile *file, size_t at,
                      char out[REST_PART_TEXT_MAX])
{
    const char *before = at == 0 ? "" : "\r\n";
    if (at == parts->count)
        return (size_t)snprintf(out, REST_PART_TEXT_MAX, "\r\n--%s--\r\n", parts->boundary);
    const HttpSpan *span = &parts->spans[at];
    size_t len = (size_t)snprintf(out, REST_PART_TEXT_MAX, "%s--%s\r\n", before, parts->boundary);
    len += put_type(out + len, rest_content_type(&file->row));
    len += (size_t)snprintf(out + len, REST_PART_TEXT_MAX - len,
                            "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
                            span->from, span->end - 1, file->row.size);
    ASSERT(len < REST_PART_TEXT_MAX);
    return len;
}

uint64_t rest_parts_length(const RestParts *parts, const RestFile *file)
{
    char text[REST_PART_TEXT_MAX];
    uint64_t length = 0;
    for (size_t i = 0; i < parts->count; i++) {
        length += rest_part_text(parts, file, i, text);
        length += parts->spans[i].end - parts->spans[i].from;
    }
    return length + rest_part_text(parts, file, parts->count, text);
}

ErrCode rest_parts_of(const RestParts *parts, const RestFile *file, Str body, Buf *out, Err *err)
{
    char text[REST_PART_TEXT_MAX];
    for (size_t i = 0; i < parts->count; i++) {
        const HttpSpan *span = &parts->spans[i];
        size_t len = rest_part_text(parts, file, i, text);
        TRY(buf_append(out, text, len, err));
        TRY(buf_append(out, body.ptr + span->from, (size_t)(span->end - span->from), err));
    }
    return buf_append(out, text, rest_part_text(parts, file, parts->count, text), err);
}
