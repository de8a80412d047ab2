/* Show: values as a person reads them on a terminal. Pure. */
#ifndef HOLDFAST_CLI_SHOW_H
#define HOLDFAST_CLI_SHOW_H

#include "base/buf.h"

#define SHOW_SIZE_SIZE 32     /* "1023.9 GiB" and a NUL, with room */
#define SHOW_DURATION_SIZE 48 /* "12 h 34 min" and a NUL, with room */
#define SHOW_COUNT_SIZE 64
#define SHOW_NAME_SIZE 512 /* longer names are cut */

/* "17 B", "1.5 MiB": bytes, one digit behind the point from 1 KiB on. */
const char *show_size(uint64_t bytes, char out[SHOW_SIZE_SIZE]);
/* "0.3 s", "45 s", "3 min 20 s", "12 h 34 min". */
const char *show_duration(uint64_t ms, char out[SHOW_DURATION_SIZE]);
/* "1 damaged place", "2 damaged places": a count and its noun, with an s unless it is 1. */
const char *show_count(uint64_t count, const char *noun, char out[SHOW_COUNT_SIZE]);
/* name with control bytes and what is not UTF-8 as \xNN, so that no name can steer a terminal;
 * cut with "..." where it does not fit. */
const char *show_name(Str name, char out[SHOW_NAME_SIZE]);
/* The same without a limit but out's. Errors: as buf_append(). */
MUST_USE ErrCode show_name_append(Buf *out, Str name, Err *err);

#endif
