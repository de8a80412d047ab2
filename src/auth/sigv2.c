/* signature = BASE64(HMAC-SHA1(secret, method "\n" Content-MD5 "\n" Content-Type "\n" Expires "\n"
 * headers resource))
 * headers = "name:value\n" of each x-amz-…, in lower case and sorted
 * resource = "/bucket" if the host names it, the path as it came, and "?a&b=c" of the parameters in
 * own[], sorted, their values decoded. */
#include "auth/sigv2.h"

#include <stdlib.h>
#include <string.h>

#include "auth/sigv4_priv.h"
#include "text/base64.h"
#include "text/uri.h"

#define TEXT_MAX (128 * 1024) /* bytes to sign */
#define SHA1_BLOCK 64
#define HEADERS_MAX 64 /* of x-amz-… */
#define OWN_MAX 32     /* parameters of own[] in one address */

static const char *const own[] = {"acl",
                                  "cors",
                                  "delete",
                                  "lifecycle",
                                  "location",
                                  "logging",
                                  "notification",
                                  "partNumber",
                                  "policy",
                                  "replication",
                                  "requestPayment",
                                  "response-cache-control",
                                  "response-content-disposition",
                                  "response-content-encoding",
                                  "response-content-language",
                                  "response-content-type",
                                  "response-expires",
                                  "restore",
                                  "tagging",
                                  "torrent",
                                  "uploadId",
                                  "uploads",
                                  "versionId",
                                  "versioning",
                                  "versions",
                                  "website"};

typedef struct {
    Str name;
    Str value; /* decoded */
    bool has_value;
} Param;

typedef struct {
    Str key_id;
    Str expires;
    Str signature;
    Param params[OWN_MAX];
    size_t count;
    HttpHeader headers[HEADERS_MAX]; /* x-amz-… that the address says in the place of headers */
    size_t header_count;
    Str type; /* likewise, content-type and content-md5: then the header has to say the same */
    Str md5;
} Shown;

bool sigv2_is_presigned(const SigV4Request *request)
{
    Str query = request->query;
    Str name;
    Str value;
    bool has_value = false;
    if (sigv4_header(request, STR("authorization")).ptr != NULL) return false;
    while (uri_query_next(&query, &name, &value, &has_value))
        if (str_eq(name, STR("AWSAccessKeyId"))) return true;
    return false;
}

static bool is_own(Str name)
{
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (str_eq(name, str_from_cstr(own[i]))) return true;
    return false;
}

/* text has room for all of the query, so views into it stay. */
static SigV4Result read_param(Str name, Str value, bool has_value, Buf *text, Shown *out)
{
    size_t from = text->len;
    if (!sigv4_decode(text, value)) return SIGV4_BAD_QUERY;
    Str decoded = str_of(text->data + from, text->len - from);
    Str *place = str_eq(name, STR("AWSAccessKeyId")) ? &out->key_id
                 : str_eq(name, STR("Expires"))      ? &out->expires
                 : str_eq(name, STR("Signature"))    ? &out->signature
                 : str_eq(name, STR("content-type")) ? &out->type
                 : str_eq(name, STR("content-md5"))  ? &out->md5
                                                     : NULL;
    if (place != NULL) {
        if (place->ptr != NULL) return SIGV4_BAD_QUERY;
        *place = decoded;
        return SIGV4_OK;
    }
    if (str_eq_nocase(str_slice(name, 0, 6), STR("x-amz-"))) {
        if (out->header_count == HEADERS_MAX) return SIGV4_TOO_LARGE;
        out->headers[out->header_count++] = (HttpHeader){.name = name, .value = decoded};
        return SIGV4_OK;
    }
    if (!is_own(name)) return SIGV4_UNSIGNED_PARAM;
    if (out->count == OWN_MAX) return SIGV4_TOO_LARGE;
    out->params[out->count++] = (Param){name, decoded, has_value};
    return SIGV4_OK;
}

static SigV4Result read_query(Str query, Buf *text, Shown *out)
{
    Str name;
    Str value;
    bool has_value = false;
    if (buf_reserve(text, query.len + 1, NULL) != OK) return SIGV4_TOO_LARGE;
    while (uri_query_next(&query, &name, &value, &has_value)) {
        SigV4Result result = read_param(name, value, has_value, text, out);
        if (result != SIGV4_OK) return result;
    }
    bool whole = out->key_id.len > 0 && out->expires.len > 0 && out->signature.len > 0;
    return whole ? SIGV4_OK : SIGV4_BAD_QUERY;
}

static int compare_params(const void *a, const void *b)
{
    return str_cmp(((const Param *)a)->name, ((const Param *)b)->name);
}

static ErrCode append_resource(Buf *out, const SigV4Request *request, Str host_bucket, Shown *shown)
{
    if (host_bucket.len > 0) TRY(buf_printf(out, NULL, "/%.*s", STR_ARG(host_bucket)));
    TRY(buf_append_str(out, request->path, NULL));
    qsort(shown->params, shown->count, sizeof shown->params[0], compare_params);
    for (size_t i = 0; i < shown->count; i++) {
        const Param *p = &shown->params[i];
        TRY(buf_printf(out, NULL, "%c%.*s", i == 0 ? '?' : '&', STR_ARG(p->name)));
        if (!p->has_value) continue;
        TRY(buf_append_str(out, STR("="), NULL));
        TRY(buf_append_str(out, p->value, NULL));
    }
    return OK;
}

static int compare_headers(const void *a, const void *b)
{
    Str left = (*(const HttpHeader *const *)a)->name;
    Str right = (*(const HttpHeader *const *)b)->name;
    for (size_t i = 0; i < MIN(left.len, right.len); i++) {
        int x = left.ptr[i] >= 'A' && left.ptr[i] <= 'Z' ? left.ptr[i] + 32 : left.ptr[i];
        int y = right.ptr[i] >= 'A' && right.ptr[i] <= 'Z' ? right.ptr[i] + 32 : right.ptr[i];
        if (x != y) return x - y;
    }
    if (left.len != right.len) return left.len < right.len ? -1 : 1;
    return a < b ? -1 : 1;
}

static ErrCode append_lower(Buf *out, Str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        TRY(buf_append(out, &c, 1, NULL));
    }
    return OK;
}

/* Of one name there may be one: which comes first is not said. */
static ErrCode append_headers(Buf *out, const SigV4Request *request, const Shown *shown)
{
    const HttpHeader *ours[2 * HEADERS_MAX];
    size_t count = 0;
    for (; count < shown->header_count; count++)
        ours[count] = &shown->headers[count];
    for (size_t i = 0; i < request->header_count; i++) {
        const HttpHeader *header = &request->headers[i];
        if (!str_eq_nocase(str_slice(header->name, 0, 6), STR("x-amz-"))) continue;
        if (count == ARRAY_LEN(ours)) return ERR_TOO_BIG;
        ours[count++] = header;
    }
    qsort(ours, count, sizeof(HttpHeader *), compare_headers);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && str_eq_nocase(ours[i - 1]->name, ours[i]->name)) return ERR_INVALID;
        TRY(append_lower(out, ours[i]->name));
        TRY(buf_append_str(out, STR(":"), NULL));
        TRY(buf_append_str(out, str_trim(ours[i]->value), NULL));
        TRY(buf_append_str(out, STR("\n"), NULL));
    }
    return OK;
}

static ErrCode append_all(Buf *out, const SigV4Request *request, Str host_bucket, Shown *shown)
{
    Str type = sigv4_header(request, STR("content-type"));
    Str md5 = sigv4_header(request, STR("content-md5"));
    if (shown->type.ptr != NULL && !str_eq(type, shown->type)) return ERR_INVALID;
    if (shown->md5.ptr != NULL && !str_eq(md5, shown->md5)) return ERR_INVALID;
    TRY(buf_printf(out, NULL, "%.*s\n%.*s\n%.*s\n%.*s\n", STR_ARG(request->method), STR_ARG(md5),
                   STR_ARG(type), STR_ARG(shown->expires)));
    TRY(append_headers(out, request, shown));
    return append_resource(out, request, host_bucket, shown);
}

static void hmac_sha1(Str key, Str data, uint8_t out[SHA1_LEN])
{
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_SHA1);
    uint8_t pad[SHA1_BLOCK] = {0};
    uint8_t inner[SHA1_LEN];
    ASSERT(key.len <= SHA1_BLOCK);
    memcpy(pad, key.ptr, key.len);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36;
    hash_update(hash, pad, sizeof pad);
    hash_update(hash, data.ptr, data.len);
    hash_final(hash, inner);
    AUTO(HashCtx, hash_free) outer = hash_new(HASH_SHA1);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    hash_update(outer, pad, sizeof pad);
    hash_update(outer, inner, sizeof inner);
    hash_final(outer, out);
    explicit_bzero(pad, sizeof pad);
}

/* Did key sign text? */
static bool is_signed(const AuthKey *key, Str text, Str signature)
{
    uint8_t mac[SHA1_LEN];
    char made[(SHA1_LEN + 2) / 3 * 4 + 1];
    hmac_sha1(str_from_cstr(key->key.secret), text, mac);
    base64_encode(mac, sizeof mac, made);
    return str_eq_secret(str_from_cstr(made), signature);
}

SigV4Result sigv2_check(const AuthKeys *keys, const SigV4Request *request, Str host_bucket,
                        uint64_t now_ms, SigV4 *out)
{
    AUTO_BUF(decoded, TEXT_MAX);
    AUTO_BUF(text, TEXT_MAX);
    Shown shown = {.count = 0};
    uint64_t expires_s = 0;
    SigV4Result result = read_query(request->query, &decoded, &shown);
    if (result != SIGV4_OK) return result;
    if (!str_to_u64(shown.expires, UINT64_MAX / 1000, &expires_s)) return SIGV4_BAD_QUERY;
    const AuthKey *key = auth_find(keys, shown.key_id, now_ms);
    if (key == NULL) return SIGV4_UNKNOWN_KEY;
    if (expires_s * 1000 < now_ms) return SIGV4_EXPIRED;
    ErrCode code = append_all(&text, request, host_bucket, &shown);
    if (code != OK) return code == ERR_INVALID ? SIGV4_WRONG : SIGV4_TOO_LARGE;
    if (!is_signed(key, buf_str(&text), shown.signature)) return SIGV4_WRONG;
    *out = (SigV4){.identity = auth_identity(key),
                   .presigned = true,
                   .body = SIGV4_BODY_UNSIGNED,
                   .region = "us-east-1"};
    return SIGV4_OK;
}

SigV4Result sigv2_check_policy(const AuthKeys *keys, Str key_id, Str signature, Str policy,
                               uint64_t now_ms, SigV4 *out)
{
    if (key_id.len == 0 || signature.len == 0 || policy.len == 0) return SIGV4_BAD_FORM;
    const AuthKey *key = auth_find(keys, key_id, now_ms);
    if (key == NULL) return SIGV4_UNKNOWN_KEY;
    if (!is_signed(key, policy, signature)) return SIGV4_WRONG;
    *out = (SigV4){
        .identity = auth_identity(key), .body = SIGV4_BODY_UNSIGNED, .region = "us-east-1"};
    return SIGV4_OK;
}
