/* Stored checksums: of a body, of the checksums of parts, and how they are told. */
#include <stdio.h>
#include <string.h>

#include "api/s3/s3_priv.h"
#include "base/crc.h"
#include "text/base64.h"

const S3Checksum s3_checksums[] = {
    [S3_CHECKSUM_CRC32] = {"CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4},
    [S3_CHECKSUM_CRC32C] = {"CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4},
    [S3_CHECKSUM_CRC64NVME] = {"CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8},
    [S3_CHECKSUM_SHA1] = {"SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", SHA1_LEN},
    [S3_CHECKSUM_SHA256] = {"SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", SHA256_LEN},
};

S3Algorithm s3_algorithm(Str name)
{
    for (S3Algorithm i = S3_CHECKSUM_CRC32; i <= S3_CHECKSUM_SHA256; i++)
        if (str_eq_nocase(name, str_from_cstr(s3_checksums[i].name))) return i;
    return S3_CHECKSUM_NONE;
}

const char *s3_checksum_type(bool full_object)
{
    return full_object ? "FULL_OBJECT" : "COMPOSITE";
}

/* --- as text --- */

#define TEXT_MAX 64

/* A stored checksum as S3 writes it, BASE64 or BASE64-PARTS. NULL: there is none. */
static const S3Checksum *text_of(Str value, char text[TEXT_MAX], bool *full_object)
{
    if (value.len < 2) return NULL;
    uint8_t number = (uint8_t)value.ptr[0];
    if (number == S3_CHECKSUM_NONE || number > S3_CHECKSUM_SHA256) return NULL;
    const S3Checksum *checksum = &s3_checksums[number];
    *full_object = value.ptr[1] == S3_CHECKSUM_FULL_OBJECT;
    if (value.len != 2 + checksum->len + (*full_object ? 0 : 2)) return NULL;
    base64_encode(value.ptr + 2, checksum->len, text);
    if (*full_object) return checksum;
    const uint8_t *count = (const uint8_t *)value.ptr + 2 + checksum->len;
    size_t len = strlen(text);
    snprintf(text + len, TEXT_MAX - len, "-%u", (unsigned)(count[0] << 8 | count[1]));
    return checksum;
}

static const S3Checksum *stored(Str attrs, char text[TEXT_MAX], bool *full_object)
{
    Str value;
    if (!attr_get(attrs, ATTR_CHECKSUM, &value)) return NULL;
    return text_of(value, text, full_object);
}

void s3_checksum_header(S3Call *call, Str attrs)
{
    char text[TEXT_MAX];
    bool full_object = false;
    const S3Checksum *checksum = stored(attrs, text, &full_object);
    if (checksum == NULL) return;
    http_header_add(call->req, checksum->header, str_from_cstr(text));
    http_header_add(call->req, "x-amz-checksum-type", str_from_cstr(s3_checksum_type(full_object)));
}

void s3_part_checksum_header(S3Call *call, Str attrs)
{
    char text[TEXT_MAX];
    bool full_object = false;
    const S3Checksum *checksum = stored(attrs, text, &full_object);
    if (checksum != NULL) http_header_add(call->req, checksum->header, str_from_cstr(text));
}

void s3_checksum_xml(XmlWriter *xml, Str attrs)
{
    char text[TEXT_MAX];
    bool full_object = false;
    const S3Checksum *checksum = stored(attrs, text, &full_object);
    if (checksum == NULL) return;
    xml_element_cstr(xml, checksum->xml, text);
    xml_element_cstr(xml, "ChecksumType", s3_checksum_type(full_object));
}

void s3_part_checksum_xml(XmlWriter *xml, const UploadPart *part)
{
    char text[TEXT_MAX];
    bool full_object = false;
    const S3Checksum *checksum = text_of(str_of(part->checksum, part->checksum_len), text,
                                         &full_object);
    if (checksum != NULL) xml_element_cstr(xml, checksum->xml, text);
}

/* --- of an upload in parts --- */

ErrCode s3_checksum_kind(S3Call *call, S3Algorithm *algorithm, bool *full_object, Err *err)
{
    Str name = s3_header(call, "x-amz-checksum-algorithm");
    Str type = s3_header(call, "x-amz-checksum-type");
    *algorithm = s3_algorithm(name);
    if (name.ptr != NULL && *algorithm == S3_CHECKSUM_NONE)
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "Checksum algorithm provided is unsupported.", err);
    if (name.ptr == NULL && type.ptr != NULL)
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "The x-amz-checksum-type header can only be used with the "
                         "x-amz-checksum-algorithm header.",
                         err);
    bool crc64 = *algorithm == S3_CHECKSUM_CRC64NVME;
    bool sha = *algorithm == S3_CHECKSUM_SHA1 || *algorithm == S3_CHECKSUM_SHA256;
    *full_object = crc64 || *algorithm == S3_CHECKSUM_NONE;
    if (type.ptr == NULL) return OK;
    bool full = str_eq(type, STR("FULL_OBJECT"));
    if (!full && !str_eq(type, STR("COMPOSITE")))
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "Value for x-amz-checksum-type header is invalid.", err);
    if ((full && sha) || (!full && crc64)) {
        (void)err_set(err, ERR_INVALID,
                      "The %s checksum type cannot be used with the %s checksum algorithm.",
                      s3_checksum_type(full), s3_checksums[*algorithm].name);
        call->refusal = S3_ERR_INVALID_REQUEST;
        return ERR_INVALID;
    }
    *full_object = full;
    return OK;
}

ErrCode s3_checksum_element(Str name, Str text, S3Algorithm *algorithm, uint8_t *out, Err *err)
{
    *algorithm = S3_CHECKSUM_NONE;
    for (S3Algorithm i = S3_CHECKSUM_CRC32; i <= S3_CHECKSUM_SHA256; i++) {
        if (!str_eq(name, str_from_cstr(s3_checksums[i].xml))) continue;
        *algorithm = i;
        if (s3_checksum_decode(str_trim(text), s3_checksums[i].len, out)) return OK;
        return err_set(err, ERR_INVALID, "%s is no checksum", s3_checksums[i].xml);
    }
    return OK;
}

static uint64_t crc_of(const UploadPart *part, size_t len)
{
    uint64_t crc = 0;
    for (size_t i = 0; i < len; i++)
        crc = crc << 8 | part->checksum[2 + i];
    return crc;
}

static uint64_t crc_join(S3Algorithm algorithm, uint64_t first, uint64_t second, uint64_t len)
{
    if (algorithm == S3_CHECKSUM_CRC32) return crc32_join((uint32_t)first, (uint32_t)second, len);
    if (algorithm == S3_CHECKSUM_CRC32C) return crc32c_join((uint32_t)first, (uint32_t)second, len);
    return crc64nvme_join(first, second, len);
}

static void put_crc(uint64_t crc, size_t len, uint8_t *out)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(crc >> (8 * (len - 1 - i)));
}

static void full_of(const UploadPart *parts, size_t count, S3Algorithm algorithm, uint8_t *out)
{
    size_t len = s3_checksums[algorithm].len;
    uint64_t crc = 0;
    for (size_t i = 0; i < count; i++)
        crc = crc_join(algorithm, crc, crc_of(&parts[i], len), parts[i].size);
    put_crc(crc, len, out);
}

static void composite_of(const UploadPart *parts, size_t count, S3Algorithm algorithm, uint8_t *out)
{
    size_t len = s3_checksums[algorithm].len;
    uint64_t crc = 0;
    bool sha1 = algorithm == S3_CHECKSUM_SHA1;
    AUTO(HashCtx, hash_free) hash = hash_new(sha1 ? HASH_SHA1 : HASH_SHA256);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *bytes = parts[i].checksum + 2;
        if (algorithm == S3_CHECKSUM_CRC32)
            crc = crc32_more((uint32_t)crc, bytes, len);
        else if (algorithm == S3_CHECKSUM_CRC32C)
            crc = crc32c_more((uint32_t)crc, bytes, len);
        else
            hash_update(hash, bytes, len);
    }
    if (algorithm == S3_CHECKSUM_CRC32 || algorithm == S3_CHECKSUM_CRC32C)
        put_crc(crc, len, out);
    else
        hash_final(hash, out);
    out[len] = (uint8_t)(count >> 8);
    out[len + 1] = (uint8_t)count;
}

size_t s3_checksum_of_parts(const UploadPart *parts, size_t count, S3Algorithm algorithm,
                            bool full_object, uint8_t *out)
{
    if (algorithm == S3_CHECKSUM_NONE) algorithm = S3_CHECKSUM_CRC64NVME;
    size_t len = s3_checksums[algorithm].len;
    for (size_t i = 0; i < count; i++) {
        bool same = parts[i].checksum_len == 2 + len && parts[i].checksum[0] == algorithm;
        if (!same) return 0;
    }
    out[0] = (uint8_t)algorithm;
    out[1] = full_object ? S3_CHECKSUM_FULL_OBJECT : S3_CHECKSUM_COMPOSITE;
    if (full_object)
        full_of(parts, count, algorithm, out + 2);
    else
        composite_of(parts, count, algorithm, out + 2);
    return 2 + len + (full_object ? 0 : 2);
}

ErrCode s3_checksum_compare(S3Call *call, Str checksum, Err *err)
{
    char text[TEXT_MAX] = "";
    bool full_object = false;
    const S3Checksum *made = text_of(checksum, text, &full_object);
    Str type = s3_header(call, "x-amz-checksum-type");
    if (type.ptr != NULL && made != NULL &&
        !str_eq(type, str_from_cstr(s3_checksum_type(full_object))))
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "The upload was created with another checksum type.", err);
    for (S3Algorithm i = S3_CHECKSUM_CRC32; i <= S3_CHECKSUM_SHA256; i++) {
        Str value = s3_header(call, s3_checksums[i].header);
        if (value.ptr == NULL) continue;
        if (made != &s3_checksums[i])
            return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                             "The upload has a checksum of another algorithm, or none.", err);
        if (!str_eq(str_trim(value), str_from_cstr(text)))
            return err_set(err, ERR_DIGEST_MISMATCH,
                           "The %s you specified did not match the calculated checksum.",
                           made->name);
    }
    return OK;
}
