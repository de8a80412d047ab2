/* Dates as text, always UTC: RFC 3339 with milliseconds for JSON, IMF-fixdate (RFC 9110 section
 * 5.6.7) for HTTP headers. Times are milliseconds since 1970-01-01T00:00:00Z, up to the year 9999.
 * Own calendar arithmetic: no locale, no time zone, no state. Pure. */
#ifndef HOLDFAST_TEXT_DATES_H
#define HOLDFAST_TEXT_DATES_H

#include "base/str.h"

#define DATE_MS_MAX 253402300799999 /* 9999-12-31T23:59:59.999Z */
#define DATE_RFC3339_SIZE 25        /* "2026-01-31T12:34:56.789Z" and a NUL */
#define DATE_HTTP_SIZE 30           /* "Sat, 31 Jan 2026 12:34:56 GMT" and a NUL */

/* ms above DATE_MS_MAX are written as DATE_MS_MAX. */
void date_format_rfc3339(uint64_t ms, char out[DATE_RFC3339_SIZE]);
/* Takes any offset and 0..9 digits of fraction (cut to milliseconds); false for anything else:
 * days that do not exist, leap seconds, before 1970. */
bool date_parse_rfc3339(Str text, uint64_t *ms);
/* Whole seconds, cut. */
void date_format_http(uint64_t ms, char out[DATE_HTTP_SIZE]);
/* IMF-fixdate only (the obsolete forms are ignored by our callers, as RFC 9110 allows for
 * conditions that can't be read); the day of the week must be right. */
bool date_parse_http(Str text, uint64_t *ms);

#endif
