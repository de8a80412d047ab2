/* data holds capacity + 1 bytes: the last is for the NUL that vsnprintf() writes. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUF_FIRST 64 /* bytes of the first allocation, if max allows */

static void buf_check(const Buf *buf)
{
    ASSERT(buf->len <= buf->capacity && buf->capacity <= buf->max);
    ASSERT((buf->data == NULL) == (buf->capacity == 0));
}

void buf_init(Buf *buf, size_t max)
{
    ASSERT(max >= 1 && max < PTRDIFF_MAX);
    *buf = (Buf){.max = max};
}

void buf_deinit(Buf *buf)
{
    buf_check(buf);
    mem_free(buf->data);
    *buf = (Buf){.max = buf->max};
}

void buf_clear(Buf *buf)
{
    buf_check(buf);
    buf->len = 0;
}

ErrCode buf_reserve(Buf *buf, size_t extra, Err *err)
{
    buf_check(buf);
    if (extra <= buf->capacity - buf->len) return OK;
    if (extra > buf->max - buf->len) {
        return err_set(err, ERR_TOO_BIG, "%zu more bytes after %zu do not fit a maximum of %zu",
                       extra, buf->len, buf->max);
    }
    /* Doubling keeps the cost of appending constant per byte. */
    size_t wanted = MAX(buf->len + extra, (size_t)BUF_FIRST);
    wanted = buf->capacity <= buf->max / 2 ? MAX(wanted, buf->capacity * 2) : buf->max;
    wanted = MIN(wanted, buf->max);
    void *data = buf->data;
    TRY(mem_retake(&data, wanted + 1, err));
    buf->data = data;
    buf->capacity = wanted;
    return OK;
}

ErrCode buf_append_growing(Buf *buf, const void *data, size_t len, Err *err)
{
    /* A piece of buf itself would move under our hands. */
    ASSERT((uintptr_t)data + len <= (uintptr_t)buf->data ||
           (uintptr_t)data >= (uintptr_t)buf->data + buf->capacity);
    TRY(buf_reserve(buf, len, err));
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return OK;
}

ErrCode buf_append_zeros(Buf *buf, size_t len, Err *err)
{
    if (len == 0) return OK;
    TRY(buf_reserve(buf, len, err));
    memset(buf->data + buf->len, 0, len);
    buf->len += len;
    return OK;
}

ErrCode buf_printf(Buf *buf, Err *err, const char *format, ...)
{
    buf_check(buf);
    size_t room = buf->capacity - buf->len;
    char *at = buf->data == NULL ? NULL : (char *)buf->data + buf->len;
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(at, at == NULL ? 0 : room + 1, format, args);
    va_end(args);
    ASSERT(wanted >= 0);
    if ((size_t)wanted > room) {
        TRY(buf_reserve(buf, (size_t)wanted, err));
        va_start(args, format);
        int printed = vsnprintf((char *)buf->data + buf->len, (size_t)wanted + 1, format, args);
        va_end(args);
        ASSERT(printed == wanted);
    }
    buf->len += (size_t)wanted;
    return OK;
}
