/* The log: one line an event. Event names are stable and listed in docs/events.md; docs/events.md
 * and base/events.def are compared by a test. JSON lines on a server, readable text on a terminal.
 * No secrets, no bodies. Any thread; a line is one write(2). Before log_init() lines go to stderr
 * as text. */
#ifndef HOLDFAST_BASE_LOG_H
#define HOLDFAST_BASE_LOG_H

#include "base/buf.h"
#include "base/str.h"

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;
typedef enum { LOG_TEXT, LOG_JSON } LogFormat;

/* fd is not owned. Lines below level are dropped. */
void log_init(int fd, LogFormat format, LogLevel level);
/* Lines below level are dropped from here on. Any thread. */
void log_set_level(LogLevel level);
bool log_enabled(LogLevel level);
/* Whom a line is for; its `stream` field. audit: who changed what; security: refused or suspicious
 * access; operations: what needs or records a person's action; system: all else. */
typedef enum {
    LOG_STREAM_SYSTEM,
    LOG_STREAM_OPERATIONS,
    LOG_STREAM_SECURITY,
    LOG_STREAM_AUDIT,
} LogStream;

/* Pairs (`key=value …`, as below, at most 255 bytes) that every later line carries after its own,
 * such as the node's id. Call before other threads log. */
void log_set_common(const char *pairs);

/* format makes `key=value` pairs; values with spaces stand in double quotes, as LOG_STR writes
 * them. They become fields of the JSON object: quoted ones strings, plain decimal numbers, true and
 * false themselves, all others strings (so quote ids that may be all digits). Words that are no
 * pair become the field `message`. A line holds at most LOG_LINE_MAX bytes; fields that do not fit
 * are left out and the line says cut=true. */
#define LOG_LINE_MAX 4096 /* a pipe takes this much in one piece */
void log_write_to(LogStream stream, LogLevel level, const char *event, const char *format, ...)
    PRINTF_LIKE(4, 5);
#define log_write(level, ...) log_write_to(LOG_STREAM_SYSTEM, (level), __VA_ARGS__)
#define LOG(level, event, ...)                                                                     \
    do {                                                                                           \
        if (log_enabled(LOG_##level)) log_write(LOG_##level, event, __VA_ARGS__);                  \
    } while (0)
/* LOG_TO(AUDIT, INFO, "file.deleted", "…"). The audit stream ignores the level. */
#define LOG_TO(stream, level, event, ...)                                                          \
    do {                                                                                           \
        if (LOG_STREAM_##stream == LOG_STREAM_AUDIT || log_enabled(LOG_##level)) {                 \
            log_write_to(LOG_STREAM_##stream, LOG_##level, event, __VA_ARGS__);                    \
        }                                                                                          \
    } while (0)
/* For values that may hold anything: LOG(INFO, "x", "path=" LOG_STR, LOG_ARG(s)) */
#define LOG_STR "\"%s\""
/* Escapes s as JSON does (quotes, backslashes, control bytes; what is not UTF-8 becomes U+FFFD)
 * into one of 8 rotating buffers of 512 bytes of the calling thread; longer values end in "...". */
const char *log_arg(Str s);
#define LOG_ARG(s) log_arg(s)
#define LOG_CSTR(s) log_arg(str_from_cstr(s))

/* docs/events.md: all events with a sentence each. */
MUST_USE ErrCode log_print_events(Buf *out, Err *err);

#endif
