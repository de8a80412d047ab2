/* What a body is held against: Content-MD5, the signature's SHA-256, and one checksum of the
 * client's choice, in a header or behind the body. The MD5 is made of each body, for it is the
 * version's etag; of a body without a checksum CRC64NVME is made, as S3 does. */
#include <string.h>

#include "api/s3/s3_priv.h"
#include "base/crc.h"
#include "text/base64.h"

/* Whose header is it? NONE: nobody's. */
static S3Algorithm algorithm_of_header(Str name)
{
    for (S3Algorithm i = S3_CHECKSUM_CRC32; i <= S3_CHECKSUM_SHA256; i++)
        if (str_eq_nocase(name, str_from_cstr(s3_checksums[i].header))) return i;
    return S3_CHECKSUM_NONE;
}

bool s3_checksum_decode(Str value, size_t wanted, uint8_t *out)
{
    size_t len = 0;
    return base64_decode(value, out, wanted, &len) && len == wanted;
}

static ErrCode read_checksum(S3Call *call, S3Algorithm algorithm, Str value, Err *err)
{
    S3Checks *checks = &call->checks;
    if (checks->algorithm != S3_CHECKSUM_NONE) {
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "Expecting a single x-amz-checksum- header. Multiple checksum Types are "
                         "not allowed.",
                         err);
    }
    if (!s3_checksum_decode(value, s3_checksums[algorithm].len, checks->wanted)) {
        (void)err_set(err, ERR_INVALID, "Value for %s header is invalid.",
                      s3_checksums[algorithm].header);
        call->refusal = S3_ERR_INVALID_REQUEST;
        return ERR_INVALID;
    }
    checks->algorithm = algorithm;
    checks->has_checksum = true;
    return OK;
}

/* x-amz-trailer: names one checksum, if any. */
static ErrCode read_trailer(S3Call *call, Err *err)
{
    S3Checks *checks = &call->checks;
    Str trailer = s3_header(call, "x-amz-trailer");
    if (trailer.len == 0) return OK;
    S3Algorithm algorithm = algorithm_of_header(str_trim(trailer));
    bool cut = call->auth.body == SIGV4_BODY_CHUNKS_TRAILER ||
               call->auth.body == SIGV4_BODY_TRAILER;
    if (algorithm == S3_CHECKSUM_NONE || !cut) {
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "The value specified in the x-amz-trailer header is not supported", err);
    }
    if (checks->algorithm != S3_CHECKSUM_NONE) {
        return s3_refuse(call, S3_ERR_INVALID_REQUEST, "Expecting a single x-amz-checksum- header",
                         err);
    }
    checks->algorithm = algorithm;
    checks->in_trailer = true;
    return OK;
}

ErrCode s3_checks_read(S3Call *call, Err *err)
{
    S3Checks *checks = &call->checks;
    Str md5 = s3_header(call, "content-md5");
    if (md5.ptr != NULL) {
        if (!s3_checksum_decode(md5, MD5_LEN, checks->wanted_md5))
            return s3_refuse(call, S3_ERR_INVALID_DIGEST, NULL, err);
        checks->has_md5 = true;
    }
    for (size_t i = 0; i < call->header_count; i++) {
        Str name = call->headers[i].name;
        S3Algorithm algorithm = algorithm_of_header(name);
        if (checks->of_object && algorithm != S3_CHECKSUM_NONE) continue;
        if (algorithm != S3_CHECKSUM_NONE) {
            TRY(read_checksum(call, algorithm, call->headers[i].value, err));
        } else if (str_eq_nocase(str_slice(name, 0, 15), STR("x-amz-checksum-")) &&
                   !str_eq_nocase(name, STR("x-amz-checksum-algorithm")) &&
                   !str_eq_nocase(name, STR("x-amz-checksum-mode")) &&
                   !str_eq_nocase(name, STR("x-amz-checksum-type"))) {
            return s3_refuse(
                call, S3_ERR_INVALID_REQUEST,
                "The algorithm type you specified in x-amz-checksum- header is invalid.", err);
        }
    }
    TRY(read_trailer(call, err));
    Str sdk = s3_header(call, "x-amz-sdk-checksum-algorithm");
    if (sdk.ptr == NULL) return OK;
    S3Algorithm named = s3_algorithm(sdk);
    if (named == S3_CHECKSUM_NONE ||
        (checks->algorithm != S3_CHECKSUM_NONE && checks->algorithm != named)) {
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "Value for x-amz-sdk-checksum-algorithm header is invalid.", err);
    }
    if (checks->algorithm == S3_CHECKSUM_NONE && !checks->has_md5) {
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "x-amz-sdk-checksum-algorithm specified, but no corresponding "
                         "x-amz-checksum-* or x-amz-trailer headers were found.",
                         err);
    }
    return OK;
}

void s3_checks_begin(S3Call *call)
{
    S3Checks *checks = &call->checks;
    checks->md5 = hash_new(HASH_MD5);
    if (checks->algorithm == S3_CHECKSUM_NONE) checks->algorithm = S3_CHECKSUM_CRC64NVME;
    if (checks->algorithm == S3_CHECKSUM_SHA1) checks->sha1 = hash_new(HASH_SHA1);
}

void s3_checks_update(S3Checks *checks, const void *data, size_t len)
{
    if (checks->stream == NULL) hash_update(checks->md5, data, len);
    switch (checks->algorithm) {
    case S3_CHECKSUM_CRC32: checks->crc = crc32_more((uint32_t)checks->crc, data, len); break;
    case S3_CHECKSUM_CRC32C: checks->crc = crc32c_more((uint32_t)checks->crc, data, len); break;
    case S3_CHECKSUM_CRC64NVME: checks->crc = crc64nvme_more(checks->crc, data, len); break;
    case S3_CHECKSUM_SHA1: hash_update(checks->sha1, data, len); break;
    case S3_CHECKSUM_NONE:
    case S3_CHECKSUM_SHA256: break; /* made anyway */
    }
}

void s3_checks_begin_stream(S3Checks *checks, Md5Thread *thread)
{
    ASSERT(checks->stream == NULL);
    checks->stream = md5_stream_new(thread);
}

void s3_checks_hand_over(S3Checks *checks, Buffer *piece)
{
    ASSERT(checks->stream != NULL);
    md5_stream_add(checks->stream, piece);
}

void s3_checks_stop(S3Checks *checks)
{
    md5_stream_drop(TAKE(checks->stream));
}

void s3_checks_deinit(S3Checks *checks)
{
    s3_checks_stop(checks); /* was stopped before, on a worker */
    hash_free(TAKE(checks->md5));
    hash_free(TAKE(checks->sha1));
}

/* The checksum's bytes, the highest first. */
static void final_checksum(S3Checks *checks, const Sha256 *sha256, uint8_t *out)
{
    size_t len = s3_checksums[checks->algorithm].len;
    if (checks->algorithm == S3_CHECKSUM_SHA256) {
        memcpy(out, sha256->bytes, SHA256_LEN);
    } else if (checks->algorithm == S3_CHECKSUM_SHA1) {
        hash_final(checks->sha1, out);
    } else {
        for (size_t i = 0; i < len; i++)
            out[i] = (uint8_t)(checks->crc >> (8 * (len - 1 - i)));
    }
}

static ErrCode compare(S3Call *call, const uint8_t *made, const Sha256 *sha256, S3Error *error,
                       Err *err)
{
    S3Checks *checks = &call->checks;
    const S3Checksum *algorithm = &s3_checksums[checks->algorithm];
    if (call->auth.body == SIGV4_BODY_HASHED && !call->is_copy &&
        !sha256_eq(&call->auth.body_hash, sha256)) {
        *error = S3_ERR_CONTENT_SHA256;
        return ERR_DIGEST_MISMATCH;
    }
    if (checks->has_md5 && memcmp(checks->wanted_md5, checks->made_md5, MD5_LEN) != 0) {
        return err_set(err, ERR_DIGEST_MISMATCH,
                       "The Content-MD5 you specified did not match what we received.");
    }
    if (checks->in_trailer) {
        Str value = aws_chunked_trailer(call->chunked, str_from_cstr(algorithm->header));
        if (!s3_checksum_decode(value, algorithm->len, checks->wanted)) {
            *error = S3_ERR_INVALID_REQUEST;
            return err_set(err, ERR_INVALID, "Value for %s trailing header is invalid.",
                           algorithm->header);
        }
        checks->has_checksum = true;
    }
    if (checks->has_checksum && memcmp(checks->wanted, made, algorithm->len) != 0) {
        return err_set(err, ERR_DIGEST_MISMATCH,
                       "The %s you specified did not match the calculated checksum.",
                       algorithm->name);
    }
    return OK;
}

ErrCode s3_checks_end(S3Call *call, const Sha256 *sha256, S3Error *error, Err *err)
{
    S3Checks *checks = &call->checks;
    uint8_t made[2 + S3_CHECKSUM_MAX] = {(uint8_t)checks->algorithm, S3_CHECKSUM_FULL_OBJECT};
    char etag[2 * MD5_LEN + 1];
    *error = S3_ERR_NONE;
    if (checks->stream != NULL)
        md5_stream_end(TAKE(checks->stream), checks->made_md5);
    else
        hash_final(checks->md5, checks->made_md5);
    final_checksum(checks, sha256, made + 2);
    TRY(compare(call, made + 2, sha256, error, err));
    hex_encode(checks->made_md5, MD5_LEN, etag);
    TRY(attr_set(&call->attrs, ATTR_ETAG, str_from_cstr(etag), err));
    return attr_set(&call->attrs, ATTR_CHECKSUM,
                    str_of(made, 2 + s3_checksums[checks->algorithm].len), err);
}
