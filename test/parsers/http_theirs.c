/* What http_parser reads (Debian's libhttp-parser-dev: the parser of old Node.js), strict. */
#include "view.h"

#include <http_parser.h>

typedef struct {
    Buf *messages;
    Buf target, name, value, body, headers;
    bool in_value;  /* of a header */
    bool head_done; /* what comes as headers now are trailers: ours drops them, too */
    bool closed;
} Seen;

static int on_begin(http_parser *p)
{
    Seen *seen = p->data;
    buf_clear(&seen->target);
    buf_clear(&seen->name);
    buf_clear(&seen->value);
    buf_clear(&seen->body);
    buf_clear(&seen->headers);
    seen->in_value = seen->head_done = false;
    return 0;
}

static int on_target(http_parser *p, const char *at, size_t len)
{
    view_put(&((Seen *)p->data)->target, at, len);
    return 0;
}

static void end_header(Seen *seen)
{
    if (seen->name.len == 0) return;
    if (!seen->head_done) view_header(&seen->headers, buf_str(&seen->name), buf_str(&seen->value));
    buf_clear(&seen->name);
    buf_clear(&seen->value);
    seen->in_value = false;
}

static int on_name(http_parser *p, const char *at, size_t len)
{
    Seen *seen = p->data;
    if (seen->in_value) end_header(seen);
    view_put(&seen->name, at, len);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    Seen *seen = p->data;
    seen->in_value = true;
    view_put(&seen->value, at, len);
    return 0;
}

static int on_head(http_parser *p)
{
    Seen *seen = p->data;
    end_header(seen);
    seen->head_done = true;
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
    view_put(&((Seen *)p->data)->body, at, len);
    return 0;
}

static int on_end(http_parser *p)
{
    Seen *seen = p->data;
    seen->closed = http_should_keep_alive(p) == 0;
    ViewMessage message = {.method = str_from_cstr(http_method_str((enum http_method)p->method)),
                           .target = buf_str(&seen->target),
                           .body = buf_str(&seen->body),
                           .minor = p->http_minor,
                           .keep = !seen->closed};
    view_message(seen->messages, &message, &seen->headers);
    return seen->closed ? 1 : 0; /* what follows is not read */
}

static const char *read_all(Buf *messages, const char *data, size_t len)
{
    http_parser parser;
    http_parser_settings settings;
    Seen seen = {.messages = messages};
    Buf *all[] = {&seen.target, &seen.name, &seen.value, &seen.body, &seen.headers};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_init(all[i], VIEW_MAX);
    http_parser_settings_init(&settings);
    settings.on_message_begin = on_begin;
    settings.on_url = on_target;
    settings.on_header_field = on_name;
    settings.on_header_value = on_value;
    settings.on_headers_complete = on_head;
    settings.on_body = on_body;
    settings.on_message_complete = on_end;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &seen;
    size_t used = http_parser_execute(&parser, &settings, data, len);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_deinit(all[i]);
    if (seen.closed) return "closed";
    return used < len || HTTP_PARSER_ERRNO(&parser) != HPE_OK ? "error" : "more";
}

int main(void)
{
    return view_all(read_all);
}
