/* The request parser: the same verdict however the bytes are cut, never beyond their end, and what
 * is accepted is free of everything that others could read in two ways. */
#include "http/parser.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(Str s, const char *text, size_t used)
{
    ASSERT(s.len == 0 || (s.ptr >= text && s.ptr + s.len <= text + used));
}

static void check_accepted(const HttpHead *head, const char *text, size_t used)
{
    ASSERT(used >= 4 && used <= HTTP_HEAD_MAX && memcmp(text + used - 4, "\r\n\r\n", 4) == 0);
    ASSERT(memchr(text, 0, used) == NULL);
    for (size_t i = 0; i < used; i++)
        ASSERT((text[i] != '\n' || text[i - 1] == '\r') &&
               (text[i] != '\r' || text[i + 1] == '\n'));
    ASSERT(head->path.len > 0 && (head->path.ptr[0] == '/' || str_eq(head->path, STR("*"))));
    ASSERT(!(head->chunked && head->has_length));
    ASSERT(!(head->chunked && head->minor == 0));
    ASSERT(head->minor == 0 || head->host.len > 0);
    ASSERT(head->content_length <= INT64_MAX);
    check_inside(head->target, text, used);
    check_inside(head->query, text, used);
    check_inside(head->host, text, used);
    for (size_t i = 0; i < head->header_count; i++) {
        check_inside(head->headers[i].name, text, used);
        check_inside(head->headers[i].value, text, used);
        for (size_t c = 0; c < head->headers[i].name.len; c++)
            ASSERT(http_is_token_char(head->headers[i].name.ptr[c]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static HttpHead whole, cut;
    HttpRefusal refusal = {0}, cut_refusal = {0};
    size_t used = 0, cut_used = 0;
    const char *text = (const char *)data;
    http_head_init(&whole);
    HttpParse result = http_head_parse(&whole, text, size, &used, &refusal);
    if (result == HTTP_PARSE_DONE) check_accepted(&whole, text, used);
    if (result == HTTP_PARSE_FAILED) ASSERT(refusal.status >= 400 && refusal.detail[0] != '\0');
    size_t step = size > 0 ? data[size - 1] % 17u + 1 : 1;
    HttpParse cut_result = HTTP_PARSE_MORE;
    http_head_init(&cut);
    for (size_t len = 0; cut_result == HTTP_PARSE_MORE; len = MIN(len + step, size)) {
        cut_result = http_head_parse(&cut, text, len, &cut_used, &cut_refusal);
        if (len == size) break;
    }
    ASSERT(cut_result == result && cut_used == used && cut_refusal.status == refusal.status);
    ASSERT(cut.header_count == whole.header_count);
    return 0;
}
