/* Between a request's headers and the attributes of a version, both ways. */
#include <inttypes.h>
#include <string.h>

#include "api/door_headers.h"
#include "api/s3/s3_priv.h"
#include "text/dates.h"

#define META_PREFIX "x-amz-meta-"
#define TYPE_MAX 1024 /* bytes of a Content-Type */

/* Kept as sent and given back; each can be overridden for one answer (response-…). */
static const char *const kept_headers[] = {"cache-control", "content-disposition",
                                           "content-encoding", "content-language", "expires"};
static const char *const kept_names[] = {"Cache-Control", "Content-Disposition", "Content-Encoding",
                                         "Content-Language", "Expires"};
static const char *const kept_overrides[] = {
    "response-cache-control", "response-content-disposition", "response-content-encoding",
    "response-content-language", "response-expires"};

/* x-amz-… that others read, or that change nothing here. */
static const char *const known[] = {"x-amz-date",
                                    "x-amz-content-sha256",
                                    "x-amz-decoded-content-length",
                                    "x-amz-trailer",
                                    "x-amz-user-agent",
                                    "x-amz-sdk-checksum-algorithm",
                                    "x-amz-checksum-mode",
                                    "x-amz-checksum-algorithm",
                                    "x-amz-checksum-type",
                                    "x-amz-request-payer",
                                    "x-amz-copy-source",
                                    "x-amz-copy-source-range",
                                    "x-amz-mp-object-size",
                                    "x-amz-object-attributes",
                                    "x-amz-max-parts",
                                    "x-amz-part-number-marker",
                                    "x-amz-copy-source-if-match",
                                    "x-amz-copy-source-if-none-match",
                                    "x-amz-copy-source-if-modified-since",
                                    "x-amz-copy-source-if-unmodified-since",
                                    "x-amz-metadata-directive",
                                    "x-amz-optional-object-attributes"};

/* Those that may only say what is so anyway. */
static const struct {
    const char *name;
    const char *values[3];
    S3Error error; /* NONE: NotImplemented */
} fixed[] = {
    {"x-amz-acl", {"private", "bucket-owner-full-control"}, S3_ERR_NO_ACL},
    {"x-amz-storage-class", {"STANDARD"}, S3_ERR_STORAGE_CLASS},
    {"x-amz-object-ownership", {"BucketOwnerEnforced"}, S3_ERR_NONE},
    {"x-amz-bucket-object-lock-enabled", {"false", "False"}, S3_ERR_NONE},
    {"x-amz-bypass-governance-retention", {"false"}, S3_ERR_NONE},
};

static bool is_among(Str name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (names[i] != NULL && str_eq_nocase(name, str_from_cstr(names[i]))) return true;
    return false;
}

static bool has_prefix(Str name, const char *prefix)
{
    Str p = str_from_cstr(prefix);
    return str_eq_nocase(str_slice(name, 0, p.len), p);
}

/* Tags where a version is written; anywhere else they would be passed over. */
static bool is_for_tags(const S3Call *call, Str name)
{
    S3Op op = call->route->op;
    if (str_eq_nocase(name, STR("x-amz-tagging")))
        return op == S3_OP_PUT || op == S3_OP_COPY || op == S3_OP_UPLOAD_CREATE;
    return str_eq_nocase(name, STR("x-amz-tagging-directive")) && op == S3_OP_COPY;
}

static ErrCode check_header(S3Call *call, const HttpHeader *h, Err *err)
{
    if (!has_prefix(h->name, "x-amz-") || has_prefix(h->name, META_PREFIX)) return OK;
    if (is_among(h->name, known, ARRAY_LEN(known)) || is_for_tags(call, h->name)) return OK;
    if (has_prefix(h->name, "x-amz-checksum-")) return OK; /* checks.c */
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (!str_eq_nocase(h->name, str_from_cstr(fixed[i].name))) continue;
        if (is_among(h->value, fixed[i].values, ARRAY_LEN(fixed[i].values))) return OK;
        if (fixed[i].error != S3_ERR_NONE) return s3_refuse(call, fixed[i].error, NULL, err);
        break;
    }
    if (has_prefix(h->name, "x-amz-grant-")) return s3_refuse(call, S3_ERR_NO_ACL, NULL, err);
    if (str_eq_nocase(h->name, STR("x-amz-security-token")))
        return s3_refuse(call, S3_ERR_TOKEN, NULL, err);
    return err_set(err, ERR_NOT_IMPLEMENTED,
                   "A header you provided implies functionality that is not implemented: %.*s",
                   (int)MIN(h->name.len, (size_t)64), h->name.ptr);
}

ErrCode s3_check_headers(S3Call *call, Err *err)
{
    for (size_t i = 0; i < call->header_count; i++)
        TRY(check_header(call, &call->headers[i], err));
    return OK;
}

/* --- from headers --- */

bool s3_pairs_next(Dec *pairs, Str *name, Str *value)
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
    for (size_t i = enc.len - name.len; i < enc.len; i++)
        if (enc.data[i] >= 'A' && enc.data[i] <= 'Z') enc.data[i] = (uint8_t)(enc.data[i] + 32);
    enc_str(&enc, value);
    ASSERT(!enc.failed);
    pairs->len += enc.len;
    return OK;
}

/* Appends the values of all headers of that name, from number `from` on, as one. */
static ErrCode join(const S3Call *call, size_t from, Buf *out, Err *err)
{
    TRY(buf_append_str(out, call->headers[from].value, err));
    for (size_t i = from + 1; i < call->header_count; i++) {
        if (!str_eq_nocase(call->headers[i].name, call->headers[from].name)) continue;
        TRY(buf_append_str(out, STR(","), err));
        TRY(buf_append_str(out, call->headers[i].value, err));
    }
    return OK;
}

static bool came_before(const S3Call *call, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (str_eq_nocase(call->headers[i].name, call->headers[at].name)) return true;
    return false;
}

static ErrCode read_meta(S3Call *call, Err *err)
{
    AUTO_BUF(pairs, 8 * S3_USER_META_MAX);
    AUTO_BUF(value, HTTP_HEAD_MAX);
    size_t total = 0;
    for (size_t i = 0; i < call->header_count; i++) {
        Str name = call->headers[i].name;
        if (!has_prefix(name, META_PREFIX) || came_before(call, i)) continue;
        name = str_slice(name, sizeof META_PREFIX - 1, name.len);
        if (name.len == 0)
            return s3_refuse(call, S3_ERR_INVALID_REQUEST, "a name is missing: x-amz-meta-", err);
        buf_clear(&value);
        TRY(join(call, i, &value, err));
        total += name.len + value.len;
        if (total > S3_USER_META_MAX) return s3_refuse(call, S3_ERR_METADATA, NULL, err);
        TRY(add_pair(&pairs, name, buf_str(&value), err));
    }
    return pairs.len == 0 ? OK : attr_set(&call->attrs, ATTR_USER_META, buf_str(&pairs), err);
}

/* Content-Encoding without aws-chunked, which is gone when the body is stored. */
static ErrCode without_chunked(Str value, Buf *out, Err *err)
{
    while (value.len > 0) {
        Str item;
        str_split(value, ',', &item, &value);
        item = str_trim(item);
        if (item.len == 0 || str_eq_nocase(item, STR("aws-chunked"))) continue;
        if (out->len > 0) TRY(buf_append_str(out, STR(","), err));
        TRY(buf_append_str(out, item, err));
    }
    return OK;
}

static ErrCode read_kept(S3Call *call, Err *err)
{
    AUTO_BUF(pairs, HTTP_HEAD_MAX + 256);
    AUTO_BUF(encoding, HTTP_HEAD_MAX);
    for (size_t i = 0; i < ARRAY_LEN(kept_headers); i++) {
        Str value = s3_header(call, kept_headers[i]);
        if (strcmp(kept_headers[i], "content-encoding") == 0) {
            TRY(without_chunked(value, &encoding, err));
            value = buf_str(&encoding);
        }
        if (value.len > 0) TRY(add_pair(&pairs, str_from_cstr(kept_headers[i]), value, err));
    }
    return pairs.len == 0 ? OK : attr_set(&call->attrs, ATTR_HTTP_HEADERS, buf_str(&pairs), err);
}

ErrCode s3_read_attrs(S3Call *call, Err *err)
{
    Str type = s3_header(call, "content-type");
    if (type.len > TYPE_MAX) return s3_refuse(call, S3_ERR_METADATA, NULL, err);
    if (type.len > 0) TRY(attr_set(&call->attrs, ATTR_CONTENT_TYPE, type, err));
    TRY(read_meta(call, err));
    TRY(read_kept(call, err));
    if (door_headers_fit(buf_str(&call->attrs), NULL) == OK) return OK;
    return s3_refuse(call, S3_ERR_METADATA, NULL, err);
}

ErrCode s3_condition(S3Call *call, const char *name, Str *condition, Err *err)
{
    Str value = s3_header(call, name);
    bool bare = value.len > 0 && value.ptr[0] != '"' && value.ptr[0] != '*' &&
                !str_starts_with(value, STR("W/"));
    if (bare) {
        value = arena_printf(http_request_arena(call->req), "\"%.*s\"", STR_ARG(value));
        if (value.ptr == NULL)
            return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
    }
    *condition = value;
    return OK;
}

ErrCode s3_no_precondition(Err *err)
{
    err_clear(err);
    return err_set(err, ERR_PRECONDITION,
                   "At least one of the pre-conditions you specified did not hold");
}

ErrCode s3_target_conditions(S3Call *call, Err *err)
{
    TRY(s3_condition(call, "if-match", &call->mutation.if_match, err));
    return s3_condition(call, "if-none-match", &call->mutation.if_none_match, err);
}

/* --- to headers --- */

void s3_etag_header(S3Call *call, const FileRow *row)
{
    char etag[ETAG_MAX];
    file_row_etag(row, etag);
    http_header_addf(call->req, "ETag", "\"%s\"", etag);
}

/* The value of the parameter response-…, which overrides a header of this one answer. */
static bool overridden(S3Call *call, const char *param, Str *value)
{
    return s3_query(call, param, value, NULL) == OK && value->len > 0;
}

static void meta_headers(S3Call *call, Str attrs)
{
    Str pairs;
    Str name;
    Str value;
    if (!attr_get(attrs, ATTR_USER_META, &pairs)) return;
    Dec dec = dec_of(pairs.ptr, pairs.len);
    while (s3_pairs_next(&dec, &name, &value)) {
        Str header = arena_printf(http_request_arena(call->req), META_PREFIX "%.*s", STR_ARG(name));
        if (header.ptr != NULL) http_header_add(call->req, header.ptr, value);
    }
}

/* pairs: what ATTR_HTTP_HEADERS holds. */
static Str kept_value(Str pairs, const char *wanted)
{
    Str name;
    Str value;
    Dec dec = dec_of(pairs.ptr, pairs.len);
    while (s3_pairs_next(&dec, &name, &value))
        if (str_eq(name, str_from_cstr(wanted))) return value;
    return (Str){NULL, 0};
}

static bool is_of_caches(const char *name)
{
    return strcmp(name, "cache-control") == 0 || strcmp(name, "expires") == 0;
}

static void kept_headers_add(S3Call *call, Str attrs, bool of_caches)
{
    Str pairs = {NULL, 0};
    bool kept = attr_get(attrs, ATTR_HTTP_HEADERS, &pairs);
    for (size_t i = 0; i < ARRAY_LEN(kept_headers); i++) {
        Str value = kept ? kept_value(pairs, kept_headers[i]) : (Str){NULL, 0};
        Str other;
        if (of_caches && !is_of_caches(kept_headers[i])) continue;
        if (overridden(call, kept_overrides[i], &other)) value = other;
        if (value.len > 0) http_header_add(call->req, kept_names[i], value);
    }
}

/* RFC 9110, section 15.4.5: what tells a cache how long it may keep what it has. */
void s3_unchanged_headers(S3Call *call, const FileRow *row)
{
    char date[DATE_HTTP_SIZE];
    s3_etag_header(call, row);
    s3_version_header(call, row);
    date_format_http(row->updated_ms, date);
    http_header_add(call->req, "Last-Modified", str_from_cstr(date));
    kept_headers_add(call, row->attrs, true);
}

void s3_file_headers(S3Call *call, const S3File *file)
{
    HttpRequest *req = call->req;
    const FileRow *row = &file->row;
    char date[DATE_HTTP_SIZE];
    Str type;
    Str other;
    http_header_add(req, "x-amz-request-id", http_request_id(req));
    http_header_add(req, "x-amz-id-2", http_request_id(req));
    call->durability = service_durability(call->service, shard_class(file_id_shard(row->file)));
    s3_durability_header(call);
    s3_etag_header(call, row);
    s3_version_header(call, row);
    date_format_http(row->updated_ms, date);
    http_header_add(req, "Last-Modified", str_from_cstr(date));
    http_header_add(req, "Accept-Ranges", STR("bytes"));
    if (!attr_get(row->attrs, ATTR_CONTENT_TYPE, &type)) type = STR(S3_TYPE_DEFAULT);
    if (overridden(call, "response-content-type", &other)) type = other;
    http_header_add(req, "Content-Type", type);
    if (call->partial) {
        http_header_addf(req, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                         call->range_from, call->range_end - 1, row->size);
    }
    if (call->parts_count > 0)
        http_header_addf(req, "x-amz-mp-parts-count", "%u", call->parts_count);
    bool asked = str_eq_nocase(s3_header(call, "x-amz-checksum-mode"), STR("ENABLED"));
    bool whole = !call->partial || (call->part != 0 && call->parts_count == 0);
    if (asked && whole) s3_checksum_header(call, row->attrs);
    s3_tags_header(call, row->attrs);
    /* What strangers stored shall not run as a page of this server. */
    http_header_add(req, "X-Content-Type-Options", STR("nosniff"));
    kept_headers_add(call, row->attrs, false);
    meta_headers(call, row->attrs);
}
