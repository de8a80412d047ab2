#include "view.h"

#include <stdio.h>
#include <string.h>

void view_put(Buf *out, const void *data, size_t len)
{
    Err err = {0};
    ErrCode code = buf_append(out, data, len, &err);
    ASSERT(code == OK);
}

static void put_text(Buf *out, const char *text)
{
    view_put(out, text, strlen(text));
}

static void put_hex(Buf *out, Str bytes)
{
    static const char digits[] = "0123456789abcdef";
    put_text(out, "\"");
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = (uint8_t)bytes.ptr[i];
        char pair[2] = {digits[c >> 4], digits[c & 15]};
        view_put(out, pair, sizeof pair);
    }
    put_text(out, "\"");
}

void view_header(Buf *headers, Str name, Str value)
{
    put_text(headers, headers->len == 0 ? "[" : ",[");
    put_hex(headers, name);
    put_text(headers, ",");
    put_hex(headers, value);
    put_text(headers, "]");
}

void view_message(Buf *messages, const ViewMessage *message, const Buf *headers)
{
    put_text(messages, messages->len == 0 ? "{\"method\":" : ",{\"method\":");
    put_hex(messages, message->method);
    put_text(messages, ",\"target\":");
    put_hex(messages, message->target);
    put_text(messages, ",\"body\":");
    put_hex(messages, message->body);
    put_text(messages, message->minor == 1 ? ",\"minor\":1" : ",\"minor\":0");
    put_text(messages, message->keep ? ",\"keep\":true" : ",\"keep\":false");
    put_text(messages, ",\"headers\":[");
    view_put(messages, headers->data, headers->len);
    put_text(messages, "]}");
}

int view_all(const char *(*read)(Buf *messages, const char *data, size_t len))
{
    uint8_t size[4];
    while (fread(size, 1, sizeof size, stdin) == sizeof size) {
        size_t len = size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
        AUTO(char, mem_free) data = mem_new(MAX(len, (size_t)1)); /* a read beyond it is seen */
        if (fread(data, 1, len, stdin) != len) return 1;
        AUTO_BUF(messages, VIEW_MAX);
        const char *end = read(&messages, data, len);
        printf("{\"messages\":[%.*s],\"end\":\"%s\"}\n", (int)messages.len,
               (const char *)messages.data, end);
    }
    return 0;
}
