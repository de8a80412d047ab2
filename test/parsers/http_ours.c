/* What our parser reads: http_head_parse() and http_chunked_next(), as src/http/conn.c uses them.
 */
#include "http/parser.h"
#include "view.h"

/* The body behind a head, into body; its length in *used. False: not all of it is there, or, with
 * *failed, it is none. */
static bool read_body(const HttpHead *head, const char *data, size_t len, Buf *body, size_t *used,
                      bool *failed)
{
    HttpChunked chunked;
    HttpRefusal refusal;
    *used = 0;
    if (!head->chunked) {
        if (len < head->content_length) return false;
        *used = (size_t)head->content_length;
        view_put(body, data, *used);
        return true;
    }
    http_chunked_init(&chunked);
    for (;;) {
        Str piece;
        size_t step = 0;
        HttpChunk found = http_chunked_next(&chunked, data + *used, len - *used, &step, &piece,
                                            &refusal);
        *used += step;
        *failed = found == HTTP_CHUNK_FAILED;
        if (found == HTTP_CHUNK_END) return true;
        if (found != HTTP_CHUNK_DATA) return false;
        view_put(body, piece.ptr, piece.len);
    }
}

static void tell(Buf *messages, const HttpHead *head, Str body)
{
    AUTO_BUF(headers, VIEW_MAX);
    for (size_t i = 0; i < head->header_count; i++)
        view_header(&headers, head->headers[i].name, head->headers[i].value);
    ViewMessage message = {.method = head->method_text,
                           .target = head->target,
                           .body = body,
                           .minor = head->minor,
                           .keep = head->keep_alive};
    view_message(messages, &message, &headers);
}

static const char *read_all(Buf *messages, const char *data, size_t len)
{
    static HttpHead head;
    for (size_t at = 0;;) {
        AUTO_BUF(body, VIEW_MAX);
        HttpRefusal refusal;
        size_t used = 0;
        size_t body_used = 0;
        bool failed = false;
        http_head_init(&head);
        HttpParse found = http_head_parse(&head, data + at, len - at, &used, &refusal);
        if (found != HTTP_PARSE_DONE) return found == HTTP_PARSE_FAILED ? "error" : "more";
        at += used;
        if (!read_body(&head, data + at, len - at, &body, &body_used, &failed))
            return failed ? "error" : "body";
        at += body_used;
        tell(messages, &head, buf_str(&body));
        if (!head.keep_alive) return "closed";
    }
}

int main(void)
{
    return view_all(read_all);
}
