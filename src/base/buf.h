/* Buf: owned bytes that grow up to a maximum given at birth. One owner at a time. */
#ifndef HOLDFAST_BASE_BUF_H
#define HOLDFAST_BASE_BUF_H

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

typedef struct {
    uint8_t *data;
    size_t len;      /* bytes used */
    size_t capacity; /* bytes allocated */
    size_t max;      /* bytes it may ever hold */
} Buf;

/* Empty, nothing allocated. max: bytes, ≥ 1. */
void buf_init(Buf *buf, size_t max);
/* Frees the bytes; buf may be zeroed memory. Can be initialized again. */
void buf_deinit(Buf *buf);
/* Forgets the contents, keeps the memory. */
void buf_clear(Buf *buf);
/* Makes room for extra more bytes: ERR_TOO_BIG beyond max, ERR_NO_MEMORY. */
MUST_USE ErrCode buf_reserve(Buf *buf, size_t extra, Err *err);
MUST_USE ErrCode buf_append_growing(Buf *buf, const void *data, size_t len, Err *err);
/* Inline, since answers are made of many short pieces. */
MUST_USE static inline ErrCode buf_append(Buf *buf, const void *data, size_t len, Err *err)
{
    if (len == 0) return OK;
    if (len > buf->capacity - buf->len) return buf_append_growing(buf, data, len, err);
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return OK;
}
MUST_USE static inline ErrCode buf_append_str(Buf *buf, Str s, Err *err)
{
    return buf_append(buf, s.ptr, s.len, err);
}
/* Appends len zero bytes. */
MUST_USE ErrCode buf_append_zeros(Buf *buf, size_t len, Err *err);
MUST_USE ErrCode buf_printf(Buf *buf, Err *err, const char *format, ...) PRINTF_LIKE(3, 4);
static inline Str buf_str(const Buf *buf)
{
    return (Str){(const char *)buf->data, buf->len};
}
/* For AUTO_BUF(name, max): a local Buf that frees itself. */
#define AUTO_BUF(name, max_bytes)                                                                  \
    __attribute__((cleanup(buf_deinit))) Buf name;                                                 \
    buf_init(&name, (max_bytes))

#endif
