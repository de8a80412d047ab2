#include "base/err.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SLUG_MAX 40

static ErrInfo infos[] = {
#define ERR_ROW(name, http, s3, exit_status, retry, text)                                          \
    {#name, NULL, (http), (s3), (exit_status), (retry), (text)},
#include "base/err.def"
#undef ERR_ROW
};
static char slugs[ERR_CODE_COUNT][SLUG_MAX];
static pthread_once_t slugs_once = PTHREAD_ONCE_INIT;

_Static_assert(ARRAY_LEN(infos) == ERR_CODE_COUNT, "a row for each code");
#define ERR_ROW(name, http, s3, exit_status, retry, text)                                          \
    _Static_assert(sizeof(#name) <= SLUG_MAX, "slug fits: " #name);                                \
    _Static_assert((exit_status) >= 0 && (exit_status) <= 6, "exit status: " #name);
#include "base/err.def"
#undef ERR_ROW

/* "ERR_NO_SPACE" → "no-space" */
static void make_slugs(void)
{
    for (size_t i = 0; i < ERR_CODE_COUNT; i++) {
        const char *name = infos[i].name;
        if (strncmp(name, "ERR_", 4) == 0) name += 4;
        char *slug = slugs[i];
        for (; *name != '\0'; name++) {
            char c = *name;
            if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
            *slug++ = c == '_' ? '-' : c;
        }
        *slug = '\0';
        infos[i].slug = slugs[i];
    }
}

const ErrInfo *err_info(ErrCode code)
{
    ASSERT((unsigned)code < ERR_CODE_COUNT);
    ASSERT(pthread_once(&slugs_once, make_slugs) == 0);
    return &infos[code];
}

/* Appends printf text to message (ERR_MESSAGE_MAX bytes, *len used); ends in "..." when cut. */
static void message_vadd(char *message, size_t *len, const char *format, va_list args)
    PRINTF_LIKE(3, 0);
static void message_vadd(char *message, size_t *len, const char *format, va_list args)
{
    size_t room = ERR_MESSAGE_MAX - *len;
    int wanted = vsnprintf(message + *len, room, format, args);
    ASSERT(wanted >= 0);
    if ((size_t)wanted < room) {
        *len += (size_t)wanted;
        return;
    }
    memcpy(message + ERR_MESSAGE_MAX - 4, "...", 4);
    *len = ERR_MESSAGE_MAX - 1;
}

static void message_add(char *message, size_t *len, const char *format, ...) PRINTF_LIKE(3, 4);
static void message_add(char *message, size_t *len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    message_vadd(message, len, format, args);
    va_end(args);
}

ErrCode err_set_at(Err *err, ErrCode code, int errno_value, const char *file, int line,
                   const char *format, ...)
{
    ASSERT((unsigned)code < ERR_CODE_COUNT && code != OK);
    if (err == NULL) return code;
    /* Built aside: the arguments may point into err->message. */
    char message[ERR_MESSAGE_MAX];
    size_t len = 0;
    va_list args;
    va_start(args, format);
    message_vadd(message, &len, format, args);
    va_end(args);
    if (errno_value != 0) {
        const char *text = strerrordesc_np(errno_value);
        if (text != NULL)
            message_add(message, &len, ": %s", text);
        else
            message_add(message, &len, ": errno %d", errno_value);
    }
    err->code = code;
    err->errno_value = errno_value;
    err->file = file;
    err->line = line;
    memcpy(err->message, message, len + 1);
    return code;
}

ErrCode err_wrap_at(Err *err, ErrCode code, const char *format, ...)
{
    ASSERT((unsigned)code < ERR_CODE_COUNT && code != OK);
    if (err == NULL) return code;
    char message[ERR_MESSAGE_MAX];
    size_t len = 0;
    va_list args;
    va_start(args, format);
    message_vadd(message, &len, format, args);
    va_end(args);
    err->code = code;
    message_add(message, &len, ": %s", err_text(err));
    memcpy(err->message, message, len + 1);
    return code;
}

void err_clear(Err *err)
{
    if (err == NULL) return;
    *err = (Err){.code = OK};
}

const char *err_text(const Err *err)
{
    return err->message[0] != '\0' ? err->message : err_info(err->code)->text;
}
