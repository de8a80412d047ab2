#include "text/json.h"

#include "base/hash.h"
#include "text/dates.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void json_writer_init(JsonWriter *writer, Buf *out)
{
    *writer = (JsonWriter){.out = out};
}

ErrCode json_writer_end(JsonWriter *writer, Err *err)
{
    ASSERT(writer->code != OK || (writer->depth == 0 && !writer->after_key));
    if (writer->code != OK) return err_set(err, writer->code, "write JSON");
    return OK;
}

static void put(JsonWriter *writer, const char *text, size_t len)
{
    if (writer->code == OK) writer->code = buf_append(writer->out, text, len, NULL);
}

/* A comma, if one is due before the next value or key. */
static void separate(JsonWriter *writer)
{
    if (writer->after_key) {
        writer->after_key = false;
    } else if (writer->depth > 0) {
        if (writer->comma[writer->depth - 1]) put(writer, ",", 1);
        writer->comma[writer->depth - 1] = true;
    }
}

static void open_level(JsonWriter *writer, const char *bracket)
{
    separate(writer);
    put(writer, bracket, 1);
    ASSERT(writer->depth < JSON_DEPTH_MAX);
    writer->comma[writer->depth++] = false;
}

static void close_level(JsonWriter *writer, const char *bracket)
{
    ASSERT(writer->depth > 0 && !writer->after_key);
    writer->depth--;
    put(writer, bracket, 1);
}

void json_write_object_begin(JsonWriter *writer)
{
    open_level(writer, "{");
}

void json_write_object_end(JsonWriter *writer)
{
    close_level(writer, "}");
}

void json_write_array_begin(JsonWriter *writer)
{
    open_level(writer, "[");
}

void json_write_array_end(JsonWriter *writer)
{
    close_level(writer, "]");
}

/* Length of the well-formed UTF-8 character at s, 0 if there is none (RFC 3629 section 4). */
static size_t utf8_len(Str s)
{
    uint8_t lead = (uint8_t)s.ptr[0];
    if (lead < 0x80) return 1;
    size_t len = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (len == 0 || len > s.len) return 0;
    return str_is_utf8(str_of(s.ptr, len)) ? len : 0;
}

/* The escape of c, or NULL if it stands for itself. scratch: room for six characters. */
static const char *escape_of(uint8_t c, char scratch[8])
{
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\b': return "\\b";
    case '\f': return "\\f";
    default: break;
    }
    if (c >= 0x20 && c != 0x7f) return NULL;
    snprintf(scratch, 8, "\\u%04x", c);
    return scratch;
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* 0x80 in each byte of word that is below limit (≤ 0x80), if no byte is above 0x7f. */
static uint64_t below(uint64_t word, uint8_t limit)
{
    const uint64_t ones = UINT64_MAX / 255;
    return ~(word + ones * (0x80 - limit)) & ones * 0x80;
}

/* Bytes at the start of s that stand for themselves; eight at a time are looked at. */
static size_t plain_len(Str s)
{
    const uint64_t ones = UINT64_MAX / 255;
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t word;
        memcpy(&word, s.ptr + i, sizeof word);
        uint64_t odd = (word & ones * 0x80) | below(word & ones * 0x7f, 0x20) |
                       below((word ^ ones * '"') & ones * 0x7f, 1) |
                       below((word ^ ones * '\\') & ones * 0x7f, 1) |
                       below((word ^ ones * 0x7f) & ones * 0x7f, 1);
        if (odd != 0) break;
    }
    while (i < s.len && is_plain((uint8_t)s.ptr[i]))
        i++;
    return i;
}

static void put_string(JsonWriter *writer, Str text)
{
    put(writer, "\"", 1);
    size_t start = 0, i = 0; /* start..i stands for itself */
    for (;;) {
        i += plain_len(str_slice(text, i, text.len)); /* nearly all there ever is */
        if (i == text.len) break;
        char scratch[8];
        size_t len = utf8_len(str_slice(text, i, text.len));
        const char *escape = len == 0   ? "\xef\xbf\xbd" /* U+FFFD */
                             : len == 1 ? escape_of((uint8_t)text.ptr[i], scratch)
                                        : NULL;
        if (escape != NULL) {
            put(writer, text.ptr + start, i - start);
            put(writer, escape, strlen(escape));
            start = i + 1;
        }
        i += len == 0 ? 1 : len;
    }
    if (i > start) put(writer, text.ptr + start, i - start);
    put(writer, "\"", 1);
}

void json_write_key_str(JsonWriter *writer, Str key)
{
    ASSERT(writer->depth > 0 && !writer->after_key);
    separate(writer);
    put_string(writer, key);
    put(writer, ":", 1);
    writer->after_key = true;
}

void json_write_key_plain(JsonWriter *writer, const char *key, size_t len)
{
    ASSERT(writer->depth > 0 && !writer->after_key);
    separate(writer);
    put(writer, "\"", 1);
    put(writer, key, len);
    put(writer, "\":", 2);
    writer->after_key = true;
}

void json_write_str(JsonWriter *writer, Str text)
{
    separate(writer);
    put_string(writer, text);
}

void json_write_cstr(JsonWriter *writer, const char *text)
{
    json_write_str(writer, str_from_cstr(text));
}

void json_write_u64(JsonWriter *writer, uint64_t value)
{
    char text[24];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    separate(writer);
    put(writer, text + at, sizeof text - at);
}

void json_write_i64(JsonWriter *writer, int64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, value);
    separate(writer);
    put(writer, text, (size_t)len);
}

void json_write_bool(JsonWriter *writer, bool value)
{
    separate(writer);
    put(writer, value ? "true" : "false", value ? 4 : 5);
}

void json_write_null(JsonWriter *writer)
{
    separate(writer);
    put(writer, "null", 4);
}

void json_write_time_ms(JsonWriter *writer, uint64_t ms)
{
    char text[DATE_RFC3339_SIZE];
    date_format_rfc3339(ms, text);
    json_write_cstr(writer, text);
}

void json_member_str(JsonWriter *writer, const char *key, Str value)
{
    json_write_key(writer, key);
    json_write_str(writer, value);
}

void json_member_cstr(JsonWriter *writer, const char *key, const char *value)
{
    json_write_key(writer, key);
    json_write_cstr(writer, value);
}

void json_member_u64(JsonWriter *writer, const char *key, uint64_t value)
{
    json_write_key(writer, key);
    json_write_u64(writer, value);
}

void json_member_bool(JsonWriter *writer, const char *key, bool value)
{
    json_write_key(writer, key);
    json_write_bool(writer, value);
}

void json_member_time_ms(JsonWriter *writer, const char *key, uint64_t ms)
{
    json_write_key(writer, key);
    json_write_time_ms(writer, ms);
}

ErrCode json_parse(Str text, json_t **out, Err *err)
{
    json_error_t error;
    json_t *value = json_loadb(text.len > 0 ? text.ptr : "", text.len,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (value == NULL)
        return err_set(err, ERR_INVALID, "JSON, line %d column %d: %s", error.line, error.column,
                       error.text);
    *out = value;
    return OK;
}

static ErrCode wrong_type(const char *key, const char *wanted, Err *err)
{
    return err_set(err, ERR_INVALID, "the member \"%s\" must be %s", key, wanted);
}

ErrCode json_get_optional_str(const json_t *object, const char *key, Str *out, Err *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) return OK;
    if (!json_is_string(value)) return wrong_type(key, "a string", err);
    *out = str_of(json_string_value(value), json_string_length(value));
    return OK;
}

ErrCode json_get_str(const json_t *object, const char *key, Str *out, Err *err)
{
    if (!json_is_string(json_object_get(object, key))) return wrong_type(key, "a string", err);
    return json_get_optional_str(object, key, out, err);
}

ErrCode json_get_optional_u64(const json_t *object, const char *key, uint64_t *out, Err *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) return OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong_type(key, "a whole number, 0 or more", err);
    *out = (uint64_t)json_integer_value(value);
    return OK;
}

ErrCode json_get_u64(const json_t *object, const char *key, uint64_t *out, Err *err)
{
    if (!json_is_integer(json_object_get(object, key)))
        return wrong_type(key, "a whole number, 0 or more", err);
    return json_get_optional_u64(object, key, out, err);
}

ErrCode json_get_optional_bool(const json_t *object, const char *key, bool *out, Err *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) return OK;
    if (!json_is_boolean(value)) return wrong_type(key, "true or false", err);
    *out = json_is_true(value);
    return OK;
}

#define SEAL_KEY ",\"sha256\":\""
#define SEAL_LEN (sizeof SEAL_KEY - 1 + 2 * (size_t)SHA256_LEN + 2) /* key, digits, "} */

/* The end of a sealed object that begins with before. */
static void seal_of(Str before, char out[SEAL_LEN + 1])
{
    Sha256 digest = sha256_of(before.ptr, before.len);
    memcpy(out, SEAL_KEY, sizeof SEAL_KEY - 1);
    hex_encode(digest.bytes, SHA256_LEN, out + sizeof SEAL_KEY - 1);
    memcpy(out + SEAL_LEN - 2, "\"}", 3);
}

ErrCode json_seal(Buf *object, Err *err)
{
    char seal[SEAL_LEN + 1];
    ASSERT(object->len > 2 && object->data[object->len - 1] == '}');
    TRY(buf_reserve(object, SEAL_LEN, err));
    object->len--; /* the brace stands in the seal */
    seal_of(buf_str(object), seal);
    return buf_append(object, seal, SEAL_LEN, err);
}

ErrCode json_check_seal(Str text, Err *err)
{
    char seal[SEAL_LEN + 1];
    if (str_ends_with(text, STR("\n"))) text.len--;
    if (text.len > SEAL_LEN) {
        seal_of(str_slice(text, 0, text.len - SEAL_LEN), seal);
        if (str_ends_with(text, str_of(seal, SEAL_LEN))) return OK;
    }
    return err_set(err, ERR_CORRUPT, "its bytes do not have the \"sha256\" at its end");
}
