/* URIs, base64, dates and JSON: what is taken apart and put together again is the same. */
#include "text/base64.h"
#include "text/dates.h"
#include "text/json.h"
#include "text/uri.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_uri(Str input)
{
    Arena arena;
    AUTO_BUF(encoded, 4 * MIB);
    Str decoded, name, value, rest = input;
    bool has_value;
    arena_init(&arena, 4 * MIB);
    ASSERT(uri_encode(&encoded, URI_ENCODE_ALL, input, NULL) == OK);
    ASSERT(uri_decode(&arena, URI_PATH, buf_str(&encoded), &decoded, NULL) == OK);
    ASSERT(str_eq(decoded, input));
    if (uri_decode(&arena, URI_QUERY, input, &decoded, NULL) == OK)
        ASSERT(decoded.len <= input.len);
    while (uri_query_next(&rest, &name, &value, &has_value)) {
        ASSERT(name.len + value.len < input.len + 1);
        ASSERT(has_value || value.len == 0);
    }
    arena_deinit(&arena);
}

static void check_base64(Str input)
{
    uint8_t plain[3000];
    char text[4001];
    size_t len;
    if (input.len > 3000) return;
    if (base64_decode(input, plain, sizeof plain, &len)) { /* one form per value */
        base64_encode(plain, len, text);
        ASSERT(str_eq(str_from_cstr(text), input));
    }
    base64_encode(input.ptr, input.len, text);
    ASSERT(base64_decode(str_from_cstr(text), plain, sizeof plain, &len));
    ASSERT(len == input.len && (len == 0 || memcmp(plain, input.ptr, len) == 0));
}

static void check_dates(Str input)
{
    uint64_t ms, again;
    char rfc3339[DATE_RFC3339_SIZE], http[DATE_HTTP_SIZE];
    if (date_parse_rfc3339(input, &ms)) {
        date_format_rfc3339(ms, rfc3339);
        ASSERT(date_parse_rfc3339(str_from_cstr(rfc3339), &again) && again == ms);
    }
    if (date_parse_http(input, &ms)) {
        date_format_http(ms, http);
        ASSERT(str_eq(str_from_cstr(http), input));
    }
}

static void check_json(Str input)
{
    json_t *value;
    JsonWriter writer;
    AUTO_BUF(out, 16 * MIB);
    json_writer_init(&writer, &out);
    json_write_str(&writer, input);
    ASSERT(json_writer_end(&writer, NULL) == OK);
    if (memchr(input.len > 0 ? input.ptr : "x", 0, input.len) == NULL) {
        ASSERT(json_parse(buf_str(&out), &value, NULL) == OK);
        if (str_is_utf8(input))
            ASSERT(str_eq(str_of(json_string_value(value), json_string_length(value)), input));
        json_free(value);
    }
    if (json_parse(input, &value, NULL) == OK) json_free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str input = str_of(data, MIN(size, (size_t)100000));
    check_uri(input);
    check_base64(input);
    check_dates(input);
    check_json(input);
    return 0;
}
