/* The log: one line an event. Event names are stable and listed in docs/events.md; docs/events.md
 * and base/events.def are compared by a test. JSON lines on a server, readable text on a terminal.
 * No secrets, no bodies. Any thread; a line is one write(2). Before log_init() lines go to stderr
 * as text. */
#ifndef HOLDFAST_BASE_LOG_H
#define HOLDFAST_BASE_LOG_H

#include "base/err.h"
#include "base/str.h"

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;
typedef enum { LOG_TEXT, LOG_JSON } LogFormat;

/* fd is not owned. Lines below level are dropped. */
void log_init(int fd, LogFormat format, LogLevel level);
bool log_enabled(LogLevel level);
/* format makes `key=value` pairs; values with spaces stand in double quotes, as LOG_STR writes
 * them. They become fields of the JSON object. */
void log_write(LogLevel level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);
#define LOG(level, event, ...)                                                                     \
    do {                                                                                           \
        if (log_enabled(LOG_##level)) log_write(LOG_##level, event, __VA_ARGS__);                  \
    } while (0)
/* For values that may hold anything: LOG(INFO, "x", "path=" LOG_STR, LOG_ARG(s)) */
#define LOG_STR "\"%s\""
/* Escapes s (quotes, backslashes, control bytes) into a rotating per-thread buffer of 512 bytes. */
const char *log_arg(Str s);
#define LOG_ARG(s) log_arg(s)
#define LOG_CSTR(s) log_arg(str_from_cstr(s))

#endif
