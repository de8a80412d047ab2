/* signature = HMAC(signing key, "AWS4-HMAC-SHA256\n" date "\n" scope "\n" SHA-256(canonical))
 * canonical = method "\n" path "\n" query "\n" headers "\n" names "\n" body's hash
 * with a line "name:value\n" for each signed header. */
#include "auth/sigv4.h"

#include <string.h>

#include "auth/sigv4_priv.h"
#include "base/codec.h"
#include "base/crc.h"

#define CANONICAL_MAX (256 * 1024) /* bytes */

const char *sigv4_text(SigV4Result result)
{
    switch (result) {
    case SIGV4_OK: return "the signature is right";
    case SIGV4_NONE: return "the request is not signed";
    case SIGV4_OLD:
    case SIGV4_UNKNOWN_SCHEME:
        return "The authorization mechanism you have provided is not supported. Please use "
               "AWS4-HMAC-SHA256.";
    case SIGV4_BAD_HEADER:
        return "The authorization header is malformed: it needs Credential=ID/DAY/REGION/s3/"
               "aws4_request of the request's day, SignedHeaders and Signature.";
    case SIGV4_BAD_QUERY:
        return "Query-string authentication version 4 requires the X-Amz-Algorithm, "
               "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and "
               "X-Amz-Expires (1 to 604800 seconds) parameters.";
    case SIGV4_NO_DATE: return "AWS authentication requires a valid Date or x-amz-date header";
    case SIGV4_NO_BODY_HASH:
        return "Missing required header for this request: x-amz-content-sha256";
    case SIGV4_BAD_BODY_HASH:
        return "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
               "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or "
               "a valid sha256 value.";
    case SIGV4_OTHER_ALGORITHM: return "Signatures by a key pair (ECDSA) are not implemented.";
    case SIGV4_UNKNOWN_KEY:
        return "The AWS Access Key Id you provided does not exist in our records.";
    case SIGV4_UNSIGNED_HEADER:
        return "There were headers present in the request which were not signed";
    case SIGV4_SKEWED:
        return "The difference between the request time and the current time is too large.";
    case SIGV4_NOT_YET: return "Request is not valid yet";
    case SIGV4_EXPIRED: return "Request has expired";
    case SIGV4_WRONG:
        return "The request signature we calculated does not match the signature you provided. "
               "Check your key and signing method.";
    case SIGV4_BAD_FORM:
        return "A form with a policy needs the fields X-Amz-Algorithm (AWS4-HMAC-SHA256), "
               "X-Amz-Credential, X-Amz-Date and X-Amz-Signature.";
    case SIGV4_UNSIGNED_PARAM:
        return "The address has a parameter that Signature Version 2 does not cover. Please use "
               "AWS4-HMAC-SHA256.";
    case SIGV4_TWICE:
        return "Only one auth mechanism allowed: the Authorization header or the X-Amz- parameters "
               "of the query";
    case SIGV4_TOO_LARGE: return "The request has more to sign than this server takes.";
    }
    return "";
}

/* --- keys --- */

Sha256 sigv4_signing_key(Str secret, Str scope)
{
    char first[4 + SIGV4_SECRET_MAX + 1] = "AWS4";
    ASSERT(secret.len <= SIGV4_SECRET_MAX);
    memcpy(first + 4, secret.ptr, secret.len);
    Sha256 key;
    const void *with = first;
    size_t len = 4 + secret.len;
    for (bool more = true; more;) {
        Str part;
        more = str_split(scope, '/', &part, &scope);
        key = hmac_sha256(with, len, part.ptr, part.len);
        with = key.bytes;
        len = sizeof key.bytes;
    }
    explicit_bzero(first, sizeof first);
    return key;
}

void sigv4_sign(const Sha256 *key, Str string_to_sign, char out[SIGV4_SIGNATURE_LEN + 1])
{
    Sha256 mac = hmac_sha256(key->bytes, SHA256_LEN, string_to_sign.ptr, string_to_sign.len);
    hex_encode(mac.bytes, SHA256_LEN, out);
}

void sigv4_cache_wipe(SigV4Cache *cache)
{
    explicit_bzero(cache, sizeof *cache);
}

/* Where a (key, scope) stands in the cache, if it does. */
static size_t cache_slot(const AccessKey *key, Str scope)
{
    uint32_t hash = crc32c(key->id, strlen(key->id));
    return crc32c_more(hash, scope.ptr, scope.len) % SIGV4_CACHE_MAX;
}

static Sha256 cached_key(SigV4Cache *cache, const AccessKey *key, Str scope)
{
    size_t at = cache_slot(key, scope);
    if (strcmp(cache->entries[at].id, key->id) == 0 &&
        str_eq(str_from_cstr(cache->entries[at].scope), scope))
        return cache->entries[at].key;
    ASSERT(scope.len <= SIGV4_SCOPE_MAX);
    memcpy(cache->entries[at].id, key->id, sizeof key->id);
    memcpy(cache->entries[at].scope, scope.ptr, scope.len);
    cache->entries[at].scope[scope.len] = '\0';
    cache->entries[at].key = sigv4_signing_key(str_of(key->secret, strlen(key->secret)), scope);
    return cache->entries[at].key;
}

/* --- the canonical request --- */

/* Is name in a list like "host;x-amz-date"? */
static bool is_signed(Str list, Str name)
{
    for (bool more = true; more;) {
        Str item;
        more = str_split(list, ';', &item, &list);
        if (str_eq_nocase(item, name)) return true;
    }
    return false;
}

static bool all_signed(const SigV4Request *request, Str list)
{
    if (!is_signed(list, STR("host"))) return false;
    for (size_t i = 0; i < request->header_count; i++) {
        Str name = request->headers[i].name;
        bool ours = str_eq_nocase(str_slice(name, 0, 6), STR("x-amz-"));
        if (ours && !is_signed(list, name)) return false;
    }
    return true;
}

/* Runs of spaces become one. */
static ErrCode append_value(Buf *out, Str value)
{
    bool space = false;
    for (size_t i = 0; i < value.len; i++) {
        bool again = space && value.ptr[i] == ' ';
        space = value.ptr[i] == ' ';
        if (!again) TRY(buf_append(out, value.ptr + i, 1, NULL));
    }
    return OK;
}

/* "name:a,b\n", of all headers of that name. */
static ErrCode append_header(Buf *out, const SigV4Request *request, Str name)
{
    bool first = true;
    TRY(buf_append_str(out, name, NULL));
    TRY(buf_append(out, ":", 1, NULL));
    for (size_t i = 0; i < request->header_count; i++) {
        if (!str_eq_nocase(request->headers[i].name, name)) continue;
        if (!first) TRY(buf_append(out, ",", 1, NULL));
        TRY(append_value(out, request->headers[i].value));
        first = false;
    }
    return buf_append(out, "\n", 1, NULL);
}

/* A line of each, on the way of every request: no printf. */
static ErrCode append_lines(Buf *out, Str first, Str second)
{
    TRY(buf_append_str(out, first, NULL));
    TRY(buf_append(out, "\n", 1, NULL));
    return buf_append_str(out, second, NULL);
}

static ErrCode append_rest(Buf *out, const SigV4Request *request, const SigV4Shown *shown)
{
    TRY(buf_append(out, "\n", 1, NULL));
    Str names = shown->signed_headers;
    for (bool more = true; more;) {
        Str name;
        more = str_split(names, ';', &name, &names);
        TRY(append_header(out, request, name));
    }
    TRY(buf_append(out, "\n", 1, NULL));
    return append_lines(out, shown->signed_headers, shown->body_hash);
}

static SigV4Result canonical_hash(const SigV4Request *request, const SigV4Shown *shown, Sha256 *out)
{
    AUTO_BUF(text, CANONICAL_MAX);
    ErrCode code = append_lines(&text, request->method, request->path);
    if (code == OK) code = buf_append(&text, "\n", 1, NULL);
    if (code != OK) return SIGV4_TOO_LARGE;
    SigV4Result result = sigv4_canonical_query(request->query, &text);
    if (result != SIGV4_OK) return result;
    if (append_rest(&text, request, shown) != OK) return SIGV4_TOO_LARGE;
    *out = sha256_of(text.data, text.len);
    return SIGV4_OK;
}

/* --- checking --- */

static SigV4Result read_body(const SigV4Shown *shown, SigV4 *out)
{
    Str hash = shown->body_hash;
    if (str_eq(hash, STR("UNSIGNED-PAYLOAD"))) {
        out->body = SIGV4_BODY_UNSIGNED;
    } else if (str_eq(hash, STR("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"))) {
        out->body = SIGV4_BODY_CHUNKS;
    } else if (str_eq(hash, STR("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"))) {
        out->body = SIGV4_BODY_CHUNKS_TRAILER;
    } else if (str_eq(hash, STR("STREAMING-UNSIGNED-PAYLOAD-TRAILER"))) {
        out->body = SIGV4_BODY_TRAILER;
    } else if (str_starts_with(hash, STR("STREAMING-AWS4-ECDSA-"))) {
        return SIGV4_OTHER_ALGORITHM;
    } else if (hex_decode(hash, out->body_hash.bytes, SHA256_LEN)) {
        out->body = SIGV4_BODY_HASHED;
    } else {
        return SIGV4_BAD_BODY_HASH;
    }
    return SIGV4_OK;
}

static SigV4Result check_time(const SigV4Shown *shown, uint64_t now_ms)
{
    bool later = shown->date_ms > now_ms;
    uint64_t apart = later ? shown->date_ms - now_ms : now_ms - shown->date_ms;
    if (!shown->presigned) return apart > SIGV4_SKEW_MS ? SIGV4_SKEWED : SIGV4_OK;
    if (later) return apart > SIGV4_SKEW_MS ? SIGV4_NOT_YET : SIGV4_OK;
    return apart > shown->expires_s * 1000 ? SIGV4_EXPIRED : SIGV4_OK;
}

static SigV4Result check_signature(SigV4Cache *cache, const AuthKey *key,
                                   const SigV4Request *request, const SigV4Shown *shown, SigV4 *out)
{
    SigV4Chain *chain = &out->chain;
    Sha256 canonical;
    char hex[2 * SHA256_LEN + 1];
    char text[SIGV4_DATE_LEN + SIGV4_SCOPE_MAX + sizeof hex + 32];
    Enc enc = enc_of(text, sizeof text);
    SigV4Result result = canonical_hash(request, shown, &canonical);
    if (result != SIGV4_OK) return result;
    hex_encode(canonical.bytes, SHA256_LEN, hex);
    Str algorithm = STR("AWS4-HMAC-SHA256\n");
    enc_bytes(&enc, algorithm.ptr, algorithm.len);
    enc_bytes(&enc, shown->date.ptr, shown->date.len);
    enc_u8(&enc, '\n');
    enc_bytes(&enc, shown->scope.ptr, shown->scope.len);
    enc_u8(&enc, '\n');
    enc_bytes(&enc, hex, 2 * SHA256_LEN);
    ASSERT(!enc.failed);
    chain->key = cached_key(cache, &key->key, shown->scope);
    sigv4_sign(&chain->key, str_of(text, enc.len), chain->previous);
    if (!str_eq_secret(str_of(chain->previous, SIGV4_SIGNATURE_LEN), shown->signature))
        return SIGV4_WRONG;
    memcpy(chain->date, shown->date.ptr, SIGV4_DATE_LEN);
    memcpy(chain->scope, shown->scope.ptr, shown->scope.len);
    memcpy(out->region, shown->region.ptr, shown->region.len);
    return SIGV4_OK;
}

static SigV4Result check(const AuthKeys *keys, SigV4Cache *cache, const SigV4Request *request,
                         const SigV4Shown *shown, uint64_t now_ms, SigV4 *out)
{
    SigV4Result result = read_body(shown, out);
    if (result != SIGV4_OK) return result;
    const AuthKey *key = auth_find(keys, shown->key_id, now_ms);
    if (key == NULL) return SIGV4_UNKNOWN_KEY;
    result = check_time(shown, now_ms);
    if (result != SIGV4_OK) return result;
    if (!all_signed(request, shown->signed_headers)) return SIGV4_UNSIGNED_HEADER;
    result = check_signature(cache, key, request, shown, out);
    out->presigned = shown->presigned;
    out->identity = auth_identity(key);
    return result;
}

SigV4Result sigv4_check(const AuthKeys *keys, SigV4Cache *cache, const SigV4Request *request,
                        uint64_t now_ms, SigV4 *out)
{
    SigV4Shown shown;
    SigV4 found = {.presigned = false};
    SigV4Result result = sigv4_read(request, &shown);
    if (result == SIGV4_OK) result = check(keys, cache, request, &shown, now_ms, &found);
    if (result == SIGV4_OK) *out = found;
    buf_deinit(&shown.text);
    explicit_bzero(&found, sizeof found);
    return result;
}

SigV4Result sigv4_check_policy(const AuthKeys *keys, SigV4Cache *cache, const SigV4Policy *shown,
                               uint64_t now_ms, SigV4 *out)
{
    SigV4Shown read;
    char made[SIGV4_SIGNATURE_LEN + 1];
    SigV4Result result = sigv4_read_policy(shown, &read);
    buf_deinit(&read.text);
    if (result != SIGV4_OK) return result;
    const AuthKey *key = auth_find(keys, read.key_id, now_ms);
    if (key == NULL) return SIGV4_UNKNOWN_KEY;
    Sha256 signing = cached_key(cache, &key->key, read.scope);
    sigv4_sign(&signing, shown->policy, made);
    explicit_bzero(&signing, sizeof signing);
    if (!str_eq_secret(str_of(made, SIGV4_SIGNATURE_LEN), read.signature)) return SIGV4_WRONG;
    *out = (SigV4){.identity = auth_identity(key), .body = SIGV4_BODY_UNSIGNED};
    memcpy(out->region, read.region.ptr, read.region.len);
    return SIGV4_OK;
}
