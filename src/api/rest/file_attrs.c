/* From a request's headers to the attributes of the version that it writes. */
#include "api/rest/rest_priv.h"

#include <string.h>

#include "text/base64.h"
#include "text/uri.h"

#define META_PREFIX "holdfast-meta-"
#define TYPE_MAX 1024 /* bytes of a Content-Type */
#define NAME_MAX_BYTES 1024

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

/* Appends one (name, value) to pairs; name in lower case. */
static ErrCode add_pair(Buf *pairs, Str name, Str value, Err *err)
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
        TRY(add_pair(&pairs, name, h->value, err));
    }
    return pairs.len == 0 ? OK : attr_set(&call->attrs, ATTR_USER_META, buf_str(&pairs), err);
}

static ErrCode read_kept(RestCall *call, Err *err)
{
    AUTO_BUF(pairs, HTTP_HEAD_MAX + 256);
    for (size_t i = 0; i < ARRAY_LEN(kept_headers); i++) {
        Str name = str_from_cstr(kept_headers[i]);
        Str value = http_request_header(call->req, name);
        if (value.len > 0) TRY(add_pair(&pairs, name, value, err));
    }
    return pairs.len == 0 ? OK : attr_set(&call->attrs, ATTR_HTTP_HEADERS, buf_str(&pairs), err);
}

/* --- Content-Disposition (RFC 6266): the file name in it --- */

/* A token or quoted string off the front of *rest, unescaped into out. */
static ErrCode take_value(Str *rest, Buf *out, Err *err)
{
    buf_clear(out);
    if (rest->len == 0 || rest->ptr[0] != '"') {
        size_t len = str_find_char(*rest, ';');
        Str token = str_trim(str_slice(*rest, 0, len));
        *rest = str_slice(*rest, len, rest->len);
        return buf_append_str(out, token, err);
    }
    size_t i = 1;
    for (; i < rest->len && rest->ptr[i] != '"'; i++) {
        if (rest->ptr[i] == '\\' && i + 1 < rest->len) i++;
        TRY(buf_append(out, rest->ptr + i, 1, err));
    }
    if (i == rest->len)
        return err_set(err, ERR_INVALID, "Content-Disposition: a quote is not closed");
    *rest = str_slice(*rest, i + 1, rest->len);
    return OK;
}

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

static ErrCode read_file_name(RestCall *call, Err *err)
{
    Str rest = http_request_header(call->req, STR("content-disposition"));
    AUTO_BUF(value, HTTP_HEAD_MAX);
    AUTO_BUF(name, HTTP_HEAD_MAX);
    bool extended = false;
    rest = str_slice(rest, str_find_char(rest, ';'), rest.len);
    while (rest.len > 0) {
        Str param;
        rest = str_trim(str_slice(rest, 1, rest.len));
        size_t equals = str_find_char(rest, '=');
        if (equals == rest.len) break;
        param = str_trim(str_slice(rest, 0, equals));
        rest = str_slice(rest, equals + 1, rest.len);
        while (rest.len > 0 && rest.ptr[0] == ' ')
            rest = str_slice(rest, 1, rest.len);
        TRY(take_value(&rest, &value, err));
        rest = str_slice(rest, str_find_char(rest, ';'), rest.len);
        if (str_eq_nocase(param, STR("filename*"))) {
            extended = true;
            TRY(decode_extended(call, buf_str(&value), &name, err));
        } else if (str_eq_nocase(param, STR("filename")) && !extended) {
            buf_clear(&name);
            TRY(buf_append_str(&name, buf_str(&value), err));
        }
    }
    if (name.len == 0) return OK;
    if (name.len > NAME_MAX_BYTES || !str_is_utf8(buf_str(&name)) ||
        memchr(name.data, '\0', name.len) != NULL) {
        return err_set(err, ERR_INVALID,
                       "Content-Disposition: a file name has 1 to %d bytes of "
                       "UTF-8",
                       NAME_MAX_BYTES);
    }
    return attr_set(&call->attrs, ATTR_FILE_NAME, buf_str(&name), err);
}

/* --- Repr-Digest (RFC 9530): sha-256=:base64:, others are left to their senders --- */

static ErrCode read_digest(RestCall *call, Err *err)
{
    Str rest = http_request_header(call->req, STR("repr-digest"));
    while (rest.len > 0) {
        Str item;
        Str tail;
        Str algorithm;
        Str value;
        (void)str_split(rest, ',', &item, &tail); /* without a comma: the last one */
        rest = tail;
        if (!str_split(str_trim(item), '=', &algorithm, &value)) continue;
        if (!str_eq(algorithm, STR("sha-256"))) continue;
        size_t len = 0;
        bool good = value.len > 2 && value.ptr[0] == ':' && value.ptr[value.len - 1] == ':' &&
                    base64_decode(str_slice(value, 1, value.len - 2), call->wanted.bytes,
                                  sizeof call->wanted.bytes, &len);
        if (!good || len != sizeof call->wanted.bytes) {
            return err_set(err, ERR_INVALID, "Repr-Digest: sha-256=:32 bytes in base64:");
        }
        call->has_wanted = true;
    }
    return OK;
}

ErrCode rest_read_attrs(RestCall *call, Err *err)
{
    Str type = http_request_header(call->req, STR("content-type"));
    if (type.len > TYPE_MAX) {
        return err_set(err, ERR_HEADERS_TOO_LARGE, "Content-Type is longer than %d bytes",
                       TYPE_MAX);
    }
    if (type.len > 0) TRY(attr_set(&call->attrs, ATTR_CONTENT_TYPE, type, err));
    TRY(read_file_name(call, err));
    TRY(read_meta(call, err));
    TRY(read_kept(call, err));
    return read_digest(call, err);
}
