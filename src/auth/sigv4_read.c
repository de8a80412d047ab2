/* Reading a signature off a request: the Authorization header
 *   AWS4-HMAC-SHA256 Credential=ID/DAY/REGION/s3/aws4_request, SignedHeaders=a;b, Signature=HEX
 * or the parameters X-Amz-Algorithm, -Credential, -Date, -Expires, -SignedHeaders, -Signature. */
#include <stdlib.h>
#include <string.h>

#include "auth/sigv4_priv.h"
#include "text/dates.h"
#include "text/uri.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define QUERY_TEXT_MAX (32 * 1024) /* bytes of decoded parameters */

Str sigv4_header(const SigV4Request *request, Str name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (str_eq_nocase(request->headers[i].name, name)) return request->headers[i].value;
    return (Str){NULL, 0};
}

/* "20130524T000000Z" */
static bool parse_date(Str text, uint64_t *ms)
{
    char t[] = "0000-00-00T00:00:00Z";
    static const uint8_t places[] = {0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 14, 15, 17, 18, 19};
    _Static_assert(sizeof places == SIGV4_DATE_LEN, "each character has its place");
    if (text.len != SIGV4_DATE_LEN || text.ptr[8] != 'T' || text.ptr[15] != 'Z') return false;
    for (size_t i = 0; i < sizeof places; i++)
        t[places[i]] = text.ptr[i];
    return date_parse_rfc3339(str_from_cstr(t), ms);
}

/* ID/DAY/REGION/s3/aws4_request; the id may hold no slash. */
static bool split_credential(Str credential, SigV4Shown *out)
{
    Str day;
    Str rest;
    Str service;
    if (!str_split(credential, '/', &out->key_id, &out->scope)) return false;
    if (!str_split(out->scope, '/', &day, &rest)) return false;
    if (!str_split(rest, '/', &out->region, &service)) return false;
    return out->key_id.len > 0 && day.len == 8 && out->region.len > 0 &&
           out->region.len <= SIGV4_REGION_MAX && str_eq(service, STR("s3/aws4_request"));
}

static bool is_hex(Str text)
{
    uint8_t bytes[SIGV4_SIGNATURE_LEN / 2];
    return text.len == SIGV4_SIGNATURE_LEN && hex_decode(text, bytes, sizeof bytes);
}

/* The date names the scope's day. */
static bool same_day(const SigV4Shown *shown)
{
    return str_eq(str_slice(shown->date, 0, 8), str_slice(shown->scope, 0, 8));
}

/* name=value off a list with commas; each once. */
static bool take_field(Str item, SigV4Shown *out, Str *credential)
{
    Str name;
    Str value;
    if (!str_split(str_trim(item), '=', &name, &value) || value.len == 0) return false;
    Str *place = str_eq(name, STR("Credential"))      ? credential
                 : str_eq(name, STR("SignedHeaders")) ? &out->signed_headers
                 : str_eq(name, STR("Signature"))     ? &out->signature
                                                      : NULL;
    if (place == NULL || place->ptr != NULL) return false;
    *place = value;
    return true;
}

/* x-amz-date, or the older Date. */
static SigV4Result read_date(const SigV4Request *request, SigV4Shown *out)
{
    out->date = sigv4_header(request, STR("x-amz-date"));
    if (out->date.ptr != NULL) {
        return parse_date(out->date, &out->date_ms) ? SIGV4_OK : SIGV4_NO_DATE;
    }
    char text[DATE_RFC3339_SIZE];
    if (!date_parse_http(sigv4_header(request, STR("date")), &out->date_ms)) return SIGV4_NO_DATE;
    date_format_rfc3339(out->date_ms, text);
    size_t len = 0;
    char amz[SIGV4_DATE_LEN];
    for (const char *c = text; len < SIGV4_DATE_LEN - 1; c++)
        if (*c != '-' && *c != ':') amz[len++] = *c;
    amz[len++] = 'Z';
    if (buf_append(&out->text, amz, len, NULL) != OK) return SIGV4_TOO_LARGE;
    out->date = buf_str(&out->text);
    return SIGV4_OK;
}

static SigV4Result read_header(const SigV4Request *request, Str header, SigV4Shown *out)
{
    Str rest = str_slice(header, sizeof ALGORITHM - 1, header.len);
    Str credential = {NULL, 0};
    if (rest.len == 0 || rest.ptr[0] != ' ') return SIGV4_BAD_HEADER;
    for (bool more = true; more;) {
        Str item;
        more = str_split(rest, ',', &item, &rest);
        if (!take_field(item, out, &credential)) return SIGV4_BAD_HEADER;
    }
    if (credential.ptr == NULL || out->signed_headers.ptr == NULL) return SIGV4_BAD_HEADER;
    if (!split_credential(credential, out) || !is_hex(out->signature)) return SIGV4_BAD_HEADER;
    SigV4Result result = read_date(request, out);
    if (result != SIGV4_OK) return result;
    if (!same_day(out)) return SIGV4_BAD_HEADER;
    out->body_hash = sigv4_header(request, STR("x-amz-content-sha256"));
    return out->body_hash.ptr == NULL ? SIGV4_NO_BODY_HASH : SIGV4_OK;
}

/* --- the query --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool sigv4_decode(Buf *out, Str raw)
{
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i] == '+' ? ' ' : raw.ptr[i];
        if (c == '%') {
            bool there = raw.len - i > 2;
            int high = there ? hex_digit(raw.ptr[i + 1]) : -1;
            int low = there ? hex_digit(raw.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (buf_append(out, &c, 1, NULL) != OK) return false;
    }
    return true;
}

/* The decoded value of the parameter, into text; ptr NULL: it is not there, or there twice. Room
 * for all of the query was made before, so earlier views stay. */
static Str param(Str query, const char *wanted, Buf *text)
{
    Str found = {NULL, 0};
    Str name;
    Str value;
    bool has_value = false;
    while (uri_query_next(&query, &name, &value, &has_value)) {
        if (!str_eq(name, str_from_cstr(wanted))) continue;
        size_t from = text->len;
        if (found.ptr != NULL || !sigv4_decode(text, value)) return (Str){NULL, 0};
        found = str_of(text->data + from, text->len - from);
    }
    return found;
}

static SigV4Result read_query(const SigV4Request *request, SigV4Shown *out)
{
    Buf *text = &out->text;
    if (buf_reserve(text, request->query.len + 1, NULL) != OK) return SIGV4_TOO_LARGE;
    out->presigned = true;
    if (!str_eq(param(request->query, "X-Amz-Algorithm", text), STR(ALGORITHM)))
        return SIGV4_BAD_QUERY;
    out->date = param(request->query, "X-Amz-Date", text);
    out->signed_headers = param(request->query, "X-Amz-SignedHeaders", text);
    out->signature = param(request->query, "X-Amz-Signature", text);
    Str expires = param(request->query, "X-Amz-Expires", text);
    if (!split_credential(param(request->query, "X-Amz-Credential", text), out))
        return SIGV4_BAD_QUERY;
    if (!parse_date(out->date, &out->date_ms) || !same_day(out)) return SIGV4_BAD_QUERY;
    if (!str_to_u64(expires, SIGV4_EXPIRES_MAX_S, &out->expires_s) || out->expires_s == 0)
        return SIGV4_BAD_QUERY;
    if (out->signed_headers.len == 0 || !is_hex(out->signature)) return SIGV4_BAD_QUERY;
    out->body_hash = sigv4_header(request, STR("x-amz-content-sha256"));
    if (out->body_hash.ptr == NULL)
        out->body_hash = param(request->query, "X-Amz-Content-Sha256", text);
    if (out->body_hash.ptr == NULL) out->body_hash = STR("UNSIGNED-PAYLOAD");
    return SIGV4_OK;
}

static bool has_param(Str query, const char *wanted)
{
    Str name;
    Str value;
    bool has_value = false;
    while (uri_query_next(&query, &name, &value, &has_value))
        if (str_eq(name, str_from_cstr(wanted))) return true;
    return false;
}

SigV4Result sigv4_read(const SigV4Request *request, SigV4Shown *out)
{
    Str header = sigv4_header(request, STR("authorization"));
    *out = (SigV4Shown){.presigned = false};
    buf_init(&out->text, QUERY_TEXT_MAX);
    bool presigned = has_param(request->query, "X-Amz-Signature") ||
                     has_param(request->query, "X-Amz-Algorithm");
    if (header.ptr != NULL) {
        /* The one would lend its signature, the other its time. */
        if (presigned) return SIGV4_TWICE;
        if (str_starts_with(header, STR("AWS "))) return SIGV4_OLD;
        if (!str_starts_with(header, STR(ALGORITHM))) return SIGV4_UNKNOWN_SCHEME;
        return read_header(request, header, out);
    }
    if (presigned) return read_query(request, out);
    if (has_param(request->query, "AWSAccessKeyId")) return SIGV4_OLD;
    return SIGV4_NONE;
}

SigV4Result sigv4_read_policy(const SigV4Policy *policy, SigV4Shown *out)
{
    *out = (SigV4Shown){.date = policy->date, .signature = policy->signature};
    buf_init(&out->text, QUERY_TEXT_MAX);
    bool good = str_eq(policy->algorithm, STR(ALGORITHM)) &&
                split_credential(policy->credential, out) && parse_date(out->date, &out->date_ms) &&
                same_day(out) && is_hex(out->signature);
    return good ? SIGV4_OK : SIGV4_BAD_FORM;
}

/* --- the canonical query --- */

typedef struct {
    size_t from, name_len, len; /* "name=value" in the buffer */
    const Buf *text;
} Param;

static Str param_name(const Param *p)
{
    return str_of(p->text->data + p->from, p->name_len);
}

static int compare_params(const void *a, const void *b)
{
    const Param *left = a;
    const Param *right = b;
    int by_name = str_cmp(param_name(left), param_name(right));
    if (by_name != 0) return by_name;
    return str_cmp(str_of(left->text->data + left->from, left->len),
                   str_of(right->text->data + right->from, right->len));
}

/* Appends raw, decoded and encoded again. */
static bool append_encoded(Buf *out, Str raw)
{
    AUTO_BUF(decoded, QUERY_TEXT_MAX);
    return sigv4_decode(&decoded, raw) &&
           uri_encode(out, URI_ENCODE_ALL, buf_str(&decoded), NULL) == OK;
}

SigV4Result sigv4_canonical_query(Str query, Buf *out)
{
    Param params[SIGV4_PARAMS_MAX];
    size_t count = 0;
    Str name;
    Str value;
    bool has_value = false;
    AUTO_BUF(text, 4 * (size_t)QUERY_TEXT_MAX);
    while (uri_query_next(&query, &name, &value, &has_value)) {
        if (str_eq(name, STR("X-Amz-Signature"))) continue;
        if (count == SIGV4_PARAMS_MAX) return SIGV4_TOO_LARGE;
        Param *p = &params[count++];
        *p = (Param){.from = text.len, .text = &text};
        if (!append_encoded(&text, name)) return SIGV4_WRONG;
        p->name_len = text.len - p->from;
        if (buf_append(&text, "=", 1, NULL) != OK) return SIGV4_TOO_LARGE;
        if (!append_encoded(&text, value)) return SIGV4_WRONG;
        p->len = text.len - p->from;
    }
    qsort(params, count, sizeof params[0], compare_params);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && buf_append(out, "&", 1, NULL) != OK) return SIGV4_TOO_LARGE;
        if (buf_append(out, text.data + params[i].from, params[i].len, NULL) != OK)
            return SIGV4_TOO_LARGE;
    }
    return SIGV4_OK;
}
