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

/* The length of a message whose end, behind `before` bytes, vsnprintf() just printed; `wanted` is
 * what it returned. One that was cut ends in "...". */
static size_t message_end(char *message, size_t before, int wanted)
{
    ASSERT(wanted >= 0);
    if ((size_t)wanted < ERR_MESSAGE_MAX - before) return before + (size_t)wanted;
    memcpy(message + ERR_MESSAGE_MAX - 4, "...", 4);
    return ERR_MESSAGE_MAX - 1;
}

static size_t message_add(char *message, size_t len, const char *text)
{
    int wanted = snprintf(message + len, ERR_MESSAGE_MAX - len, ": %s", text);
    return message_end(message, len, wanted);
}

ErrCode err_set_at(Err *err, ErrCode code, int errno_value, const char *file, int line,
                   const char *format, ...)
{
    ASSERT((unsigned)code < ERR_CODE_COUNT && code != OK);
    if (err == NULL) return code;
    /* Built aside: the arguments may point into err->message. */
    char message[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    size_t len = message_end(message, 0, vsnprintf(message, sizeof message, format, args));
    va_end(args);
    if (errno_value != 0) {
        char number[32];
        const char *text = strerrordesc_np(errno_value);
        snprintf(number, sizeof number, "errno %d", errno_value);
        len = message_add(message, len, text != NULL ? text : number);
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
    va_list args;
    va_start(args, format);
    size_t len = message_end(message, 0, vsnprintf(message, sizeof message, format, args));
    va_end(args);
    err->code = code;
    len = message_add(message, len, err_text(err));
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
