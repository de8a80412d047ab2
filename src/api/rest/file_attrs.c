/* From a request's headers to the attributes of the version that it writes. */
#include "api/rest/rest_priv.h"

#include <inttypes.h>
#include <string.h>

#include "api/door_headers.h"
#include "http/params.h"
#include "text/base64.h"
#include "text/dates.h"
#include "text/uri.h"

#define META_PREFIX "holdfast-meta-"
#define TYPE_MAX 1024 /* bytes of a Content-Type */
#define NAME_MAX_BYTES 1024
#define EXPIRES_AFTER_MAX_S (UINT64_C(100) * 366 * 24 * 3600)

/* Kept as sent and given back with the content. */
static const char *const kept_headers[] = {"cache-control", "content-encoding", "content-language",
                                           "expires"};

bool rest_pairs_next(Dec *pairs, Str *name, Str *value)
{
    if (dec_left(pairs) == 0) return false;
    *name = dec_str(pairs);
    *value = dec_str(pairs);
    return !pairs->failed;
}

ErrCode rest_pairs_add(Buf *pairs, Str name, Str value, Err *err)
{
    TRY(buf_reserve(pairs, name.len + value.len + 20, err));
    Enc enc = enc_of(pairs->data + pairs->len, name.len + value.len + 20);
    enc_str(&enc, name);
    size_t at = enc.len - name.len;
    for (size_t i = at; i < enc.len; i++) {
        if (enc.data[i] >= 'A' && enc.data[i] <= 'Z') enc.data[i] = (uint8_t)(enc.data[i] + 32);
    }
    enc_str(&enc, value);
    ASSERT(!enc.failed);
    pairs->len += enc.len;
    return OK;
}

static bool has_pair(const Buf *pairs, Str name)
{
    Dec dec = dec_of(pairs->data, pairs->len);
    Str found;
    Str value;
    while (rest_pairs_next(&dec, &found, &value)) {
        if (str_eq_nocase(found, name)) return true;
    }
    return false;
}

static ErrCode read_meta(RestCall *call, Err *err)
{
    const HttpHead *head = http_request_head(call->req);
    AUTO_BUF(pairs, 2 * USER_META_MAX);
    size_t total = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        const HttpHeader *h = &head->headers[i];
        Str prefix = STR(META_PREFIX);
        if (!str_eq_nocase(str_slice(h->name, 0, prefix.len), prefix)) continue;
        Str name = str_slice(h->name, prefix.len, h->name.len);
        if (name.len == 0) return err_set(err, ERR_INVALID, "a Holdfast-Meta- header has no name");
        if (has_pair(&pairs, name)) {
            return err_set(err, ERR_INVALID, "%.*s is there twice", STR_ARG(h->name));
        }
        total += name.len + h->value.len;
        if (total > USER_META_MAX) {
            return err_set(err, ERR_HEADERS_TOO_LARGE,
                           "names and values of Holdfast-Meta- may have %d bytes together",
                           (int)USER_META_MAX);
        }
        TRY(rest_pairs_add(&pairs, name, h->value, err));
    }
    return pairs.len == 0 ? OK : attr_set(&call->attrs, ATTR_USER_META, buf_str(&pairs), err);
}

static ErrCode read_kept(RestCall *call, Err *err)
{
    AUTO_BUF(pairs, HTTP_HEAD_MAX + 256);
    for (size_t i = 0; i < ARRAY_LEN(kept_headers); i++) {
        Str name = str_from_cstr(kept_headers[i]);
        Str value = http_request_header(call->req, name);
        if (value.len > 0) TRY(rest_pairs_add(&pairs, name, value, err));
    }
    return pairs.len == 0 ? OK : attr_set(&call->attrs, ATTR_HTTP_HEADERS, buf_str(&pairs), err);
}

/* --- Content-Disposition (RFC 6266): the file name in it --- */

/* filename*=UTF-8''a%20b, of RFC 8187; other character sets are left out. */
static ErrCode decode_extended(RestCall *call, Str value, Buf *name, Err *err)
{
    Str prefix = STR("utf-8'");
    if (!str_eq_nocase(str_slice(value, 0, prefix.len), prefix)) return OK;
    Str rest = str_slice(value, prefix.len, value.len);
    Str decoded;
    size_t quote = str_find_char(rest, '\'');
    if (quote == rest.len) return err_set(err, ERR_INVALID, "Content-Disposition: filename*");
    TRY(uri_decode(http_request_arena(call->req), URI_PATH, str_slice(rest, quote + 1, rest.len),
                   &decoded, err));
    buf_clear(name);
    return buf_append_str(name, decoded, err);
}

ErrCode rest_set_file_name(RestCall *call, Str name, Err *err)
{
    if (name.len == 0) return OK;
    if (name.len > NAME_MAX_BYTES || !str_is_utf8(name) ||
        memchr(name.ptr, '\0', name.len) != NULL) {
        return err_set(err, ERR_INVALID,
                       "Content-Disposition: a file name has 1 to %d bytes of "
                       "UTF-8",
                       NAME_MAX_BYTES);
    }
    return attr_set(&call->attrs, ATTR_FILE_NAME, name, err);
}

static ErrCode read_file_name(RestCall *call, Err *err)
{
    Str rest = http_request_header(call->req, STR("content-disposition"));
    AUTO_BUF(value, HTTP_HEAD_MAX);
    AUTO_BUF(name, HTTP_HEAD_MAX);
    bool extended = false;
    bool found = false;
    Str type = http_params_begin(&rest); /* inline or attachment: the reader's business */
    UNUSED(type);
    do {
        Str param;
        ErrCode code = http_params_next(&rest, &param, &value, &found, err);
        if (code != OK) return err_wrap(err, code, "Content-Disposition");
        if (found && str_eq_nocase(param, STR("filename*"))) {
            extended = true;
            TRY(decode_extended(call, buf_str(&value), &name, err));
        } else if (found && str_eq_nocase(param, STR("filename")) && !extended) {
            buf_clear(&name);
            TRY(buf_append_str(&name, buf_str(&value), err));
        }
    } while (found);
    return rest_set_file_name(call, buf_str(&name), err);
}

/* --- Repr-Digest and Content-Digest (RFC 9530): sha-256=:base64:, of the body as it is sent --- */

/* A key of a structured field's dictionary. */
static bool is_algorithm(Str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!good) return false;
    }
    return name.len > 0;
}

/* One algorithm=:base64:; other algorithms than SHA-256 are left to their senders. */
static ErrCode read_digest_item(RestCall *call, Str header, Str item, Err *err)
{
    Str algorithm;
    Str value;
    Sha256 digest;
    size_t len = 0;
    bool good = str_split(item, '=', &algorithm, &value) && is_algorithm(algorithm);
    bool ours = good && str_eq(algorithm, STR("sha-256"));
    if (good && !ours) return OK;
    good = good && value.len > 2 && value.ptr[0] == ':' && value.ptr[value.len - 1] == ':' &&
           base64_decode(str_slice(value, 1, value.len - 2), digest.bytes, sizeof digest.bytes,
                         &len);
    if (!good || len != sizeof digest.bytes) {
        return err_set(err, ERR_INVALID,
                       "%.*s is not like sha-256=:BASE64: with the 32 bytes of a SHA-256",
                       STR_ARG(header));
    }
    if (call->has_wanted && !sha256_eq(&call->wanted, &digest)) {
        return err_set(err, ERR_INVALID, "the headers announce two different SHA-256");
    }
    call->wanted = digest;
    call->has_wanted = true;
    return OK;
}

/* What cannot be understood is refused: its sender counts on it. */
static ErrCode read_digests(RestCall *call, Str wanted, Err *err)
{
    const HttpHead *head = http_request_head(call->req);
    for (size_t i = 0; i < head->header_count; i++) {
        Str name = head->headers[i].name;
        if (!str_eq_nocase(name, wanted)) continue;
        Str rest = head->headers[i].value;
        do {
            Str item;
            (void)str_split(rest, ',', &item, &rest); /* without a comma: the last one */
            TRY(read_digest_item(call, name, str_trim(item), err));
        } while (rest.len > 0);
    }
    return OK;
}

ErrCode rest_read_repr_digest(RestCall *call, Err *err)
{
    return read_digests(call, STR("repr-digest"), err);
}

/* Content-MD5 (RFC 1864); kept with the version, and given back with it. */
static ErrCode read_md5(RestCall *call, Err *err)
{
    Str value = http_request_header(call->req, STR("content-md5"));
    size_t len = 0;
    if (value.ptr == NULL) return OK;
    if (!base64_decode(value, call->wanted_md5, sizeof call->wanted_md5, &len) || len != MD5_LEN) {
        return err_set(err, ERR_INVALID, "Content-MD5 is not the BASE64 of the 16 bytes of an MD5");
    }
    call->has_wanted_md5 = true;
    return attr_set(&call->attrs, ATTR_MD5, str_of(call->wanted_md5, MD5_LEN), err);
}

/* --- conditions --- */

void rest_read_conditions(RestCall *call)
{
    Mutation *m = &call->mutation;
    m->if_match = http_request_header(call->req, STR("if-match"));
    m->if_none_match = http_request_header(call->req, STR("if-none-match"));
    Str since = http_request_header(call->req, STR("if-unmodified-since"));
    /* RFC 9110 section 13.1.4: what is no date is passed over. */
    m->has_unmodified_since = date_parse_http(since, &m->unmodified_since_ms);
}

ErrCode rest_set_type(RestCall *call, Str type, Err *err)
{
    if (type.len > TYPE_MAX) {
        return err_set(err, ERR_HEADERS_TOO_LARGE, "Content-Type is longer than %d bytes",
                       TYPE_MAX);
    }
    /* What a file without a type is answered with need not be kept, in log, pack and index. */
    if (type.len == 0 || str_eq(type, STR(REST_TYPE_DEFAULT))) return OK;
    return attr_set(&call->attrs, ATTR_CONTENT_TYPE, type, err);
}

/* Seconds from the change on, or a time: RFC 3339, or as HTTP has dates. */
ErrCode rest_read_expires(RestCall *call, Err *err)
{
    Mutation *m = &call->mutation;
    Str value = http_request_header(call->req, STR("holdfast-expires"));
    uint64_t number = 0;
    if (value.ptr == NULL) return OK;
    m->expires_after = str_to_u64(value, EXPIRES_AFTER_MAX_S, &number);
    m->expires_ms = number * 1000;
    bool good = m->expires_after || date_parse_rfc3339(value, &m->expires_ms) ||
                date_parse_http(value, &m->expires_ms);
    if (good && m->expires_ms > 0) return OK;
    return err_set(err, ERR_INVALID,
                   "Holdfast-Expires is a time such as 2026-12-31T00:00:00Z, or from 1 to %" PRIu64
                   " seconds",
                   EXPIRES_AFTER_MAX_S);
}

ErrCode rest_read_attrs(RestCall *call, Err *err)
{
    if (!rest_is_form(call)) {
        TRY(rest_set_type(call, http_request_header(call->req, STR("content-type")), err));
        TRY(read_file_name(call, err));
    }
    TRY(rest_read_expires(call, err));
    TRY(read_meta(call, err));
    TRY(read_kept(call, err));
    TRY(door_headers_fit(buf_str(&call->attrs), err));
    TRY(read_md5(call, err));
    TRY(rest_read_repr_digest(call, err));
    return read_digests(call, STR("content-digest"), err);
}
