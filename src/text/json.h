/* JSON both ways: JsonWriter appends to a Buf with correct escapes and commas; json_parse() reads
 * with jansson, strictly (one value, no duplicate names, UTF-8). No state, any thread. */
#ifndef HOLDFAST_TEXT_JSON_H
#define HOLDFAST_TEXT_JSON_H

#include "base/buf.h"
#include <jansson.h>

#define JSON_DEPTH_MAX 32

/* Writes one value. A failure (Buf full) sticks and is told once, by json_writer_end(). */
typedef struct {
    Buf *out;                   /* not owned */
    ErrCode code;               /* first failure */
    unsigned depth;             /* open objects and arrays */
    bool comma[JSON_DEPTH_MAX]; /* something stands before the next member of this level */
    bool after_key;             /* a value must follow */
} JsonWriter;

void json_writer_init(JsonWriter *writer, Buf *out);
/* All is closed and fitted: OK, else ERR_TOO_BIG or ERR_NO_MEMORY. */
MUST_USE ErrCode json_writer_end(JsonWriter *writer, Err *err);

void json_write_object_begin(JsonWriter *writer);
void json_write_object_end(JsonWriter *writer);
void json_write_array_begin(JsonWriter *writer);
void json_write_array_end(JsonWriter *writer);
/* The name of the next value; key needs no escape (a literal). */
void json_write_key_plain(JsonWriter *writer, const char *key, size_t len);
static inline void json_write_key(JsonWriter *writer, const char *key)
{
    json_write_key_plain(writer, key, strlen(key));
}
/* The same for a name that may hold anything. */
void json_write_key_str(JsonWriter *writer, Str key);
/* text should be UTF-8; bytes that are not become U+FFFD. */
void json_write_str(JsonWriter *writer, Str text);
void json_write_cstr(JsonWriter *writer, const char *text);
void json_write_u64(JsonWriter *writer, uint64_t value);
void json_write_i64(JsonWriter *writer, int64_t value);
void json_write_bool(JsonWriter *writer, bool value);
void json_write_null(JsonWriter *writer);
/* RFC 3339 in UTC with milliseconds. */
void json_write_time_ms(JsonWriter *writer, uint64_t ms);
/* Member = key and value. */
void json_member_str(JsonWriter *writer, const char *key, Str value);
void json_member_cstr(JsonWriter *writer, const char *key, const char *value);
void json_member_u64(JsonWriter *writer, const char *key, uint64_t value);
void json_member_bool(JsonWriter *writer, const char *key, bool value);
void json_member_time_ms(JsonWriter *writer, const char *key, uint64_t ms);

/* Seals a file that is one JSON object, "{…}" without a line's end: its last member becomes
 * "sha256", the digest of all bytes before that member's comma. Errors: ERR_TOO_BIG, ERR_NO_MEMORY.
 */
MUST_USE ErrCode json_seal(Buf *object, Err *err);
/* Is it sealed, and as it was then? A line's end behind it does not count. ERR_CORRUPT. */
MUST_USE ErrCode json_check_seal(Str text, Err *err);

/* Parses exactly one value; *out is freed by json_free(). Errors: ERR_INVALID, with the line and
 * column in the text. */
MUST_USE ErrCode json_parse(Str text, json_t **out, Err *err);
static inline void json_free(json_t *value)
{
    json_decref(value);
}
AUTO_DEFINE(json_t, json_free);

/* Members of an object, by type. Optional ones leave *out alone when absent or null; a wrong type
 * is ERR_INVALID. The Str lives as long as the value. */
MUST_USE ErrCode json_get_str(const json_t *object, const char *key, Str *out, Err *err);
MUST_USE ErrCode json_get_optional_str(const json_t *object, const char *key, Str *out, Err *err);
MUST_USE ErrCode json_get_u64(const json_t *object, const char *key, uint64_t *out, Err *err);
MUST_USE ErrCode json_get_optional_u64(const json_t *object, const char *key, uint64_t *out,
                                       Err *err);
MUST_USE ErrCode json_get_optional_bool(const json_t *object, const char *key, bool *out, Err *err);

#endif
