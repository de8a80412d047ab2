/* Errors: an ErrCode is returned, an Err that the caller owns carries the explanation. Set at the
 * bottom, wrap where the caller knows more, log once where it is handled; never log and return.
 * The code decides, the text explains. err may be NULL everywhere: then only the code is given.
 * No thread owns this module: it has no state. */
#ifndef HOLDFAST_BASE_ERR_H
#define HOLDFAST_BASE_ERR_H

#include "base/check.h"

typedef enum {
#define ERR_ROW(name, http, s3, exit_status, retry, text) name,
#include "base/err.def"
#undef ERR_ROW
    ERR_CODE_COUNT
} ErrCode;

#define ERR_MESSAGE_MAX 256

typedef struct {
    ErrCode code;
    int errno_value;  /* 0 unless the operating system refused */
    const char *file; /* where it was set */
    int line;
    char message[ERR_MESSAGE_MAX]; /* outermost context first; always terminated */
} Err;

typedef struct {
    const char *name; /* "ERR_NO_SPACE" */
    const char *slug; /* "no-space": the `code` of REST answers and of log lines */
    int http_status;
    const char *s3_code;
    int exit_status;
    bool retry;
    const char *text;
} ErrInfo;

/* The row of err.def for code. */
const ErrInfo *err_info(ErrCode code);

ErrCode err_set_at(Err *err, ErrCode code, int errno_value, const char *file, int line,
                   const char *format, ...) PRINTF_LIKE(6, 7);
ErrCode err_wrap_at(Err *err, ErrCode code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Clears err so that it can be used again. */
void err_clear(Err *err);

/* The message, or the table's text where there is none. err may not be NULL. */
const char *err_text(const Err *err);

/* Sets err and *is* its code: `return err_set(err, ERR_TOO_BIG, "entry of %zu bytes", len);` */
#define err_set(err, code, ...)                                                                    \
    (err_set_at((err), (code), 0, __FILE__, __LINE__, __VA_ARGS__), (code))
/* The same for a failed system call: adds errno's text. `saved` is errno as it was. */
#define err_set_errno(err, code, saved, ...)                                                       \
    (err_set_at((err), (code), (saved), __FILE__, __LINE__, __VA_ARGS__), (code))
/* Puts context before what is there: "append record 7: write wal.active: No space left". */
#define err_wrap(err, code, ...) (err_wrap_at((err), (code), __VA_ARGS__), (code))

/* Returns from the calling function with the code of call unless it is OK. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        ErrCode try_code_ = (call);                                                                \
        if (try_code_ != OK) return try_code_;                                                     \
    } while (0)

#endif
