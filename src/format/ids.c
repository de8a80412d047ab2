#include "format/ids.h"

#include "base/hash.h"
#include <string.h>

/* Crockford base32: without I, L, O and U. */
static const char base32_digits[33] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#define FILE_ID_MS_MAX ((UINT64_C(1) << 48) - 1)

_Static_assert(sizeof(Id128) == 16, "ids are their 16 stored bytes");
_Static_assert((ID128_TEXT_LEN * 5) >= 128 && (ID128_TEXT_LEN - 1) * 5 < 128, "shortest text");
_Static_assert((VERSION_ID_TEXT_LEN * 5) >= 96 && (VERSION_ID_TEXT_LEN - 1) * 5 < 96,
               "shortest text");

bool id128_eq(Id128 a, Id128 b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

bool id128_is_zero(Id128 a)
{
    static const Id128 zero;
    return id128_eq(a, zero);
}

int id128_cmp(Id128 a, Id128 b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes);
}

Id128 id128_random(Rng *rng)
{
    Id128 id;
    rng_bytes(rng, id.bytes, sizeof id.bytes);
    return id;
}

/* A number of at most 128 bits, big endian in memory. */
typedef unsigned __int128 Wide;

static Wide wide_load(const uint8_t *data, size_t len)
{
    Wide number = 0;
    for (size_t i = 0; i < len; i++)
        number = (number << 8) | data[i];
    return number;
}

/* The number in data as text_len digits, highest first, and a NUL. */
static void base32_encode(const uint8_t *data, size_t len, char *out, size_t text_len)
{
    Wide number = wide_load(data, len);
    for (size_t i = text_len; i-- > 0; number >>= 5)
        out[i] = base32_digits[(unsigned)(number & 31)];
    ASSERT(number == 0);
    out[text_len] = '\0';
}

/* 0..31, or -1 for what is no digit. */
static int base32_digit(char c)
{
    char upper = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    const char *found = memchr(base32_digits, upper, 32);
    return found == NULL ? -1 : (int)(found - base32_digits);
}

/* Reads text as a number of len bytes; false if a character is no digit or the number too large. */
static bool base32_decode(Str text, uint8_t *out, size_t len)
{
    ASSERT(len >= 1 && len <= sizeof(Wide));
    Wide number = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = base32_digit(text.ptr[i]);
        if (digit < 0 || number >> (len * 8 - 5) != 0) return false;
        number = (number << 5) | (unsigned)digit;
    }
    for (size_t i = len; i-- > 0; number >>= 8)
        out[i] = (uint8_t)(number & 0xff);
    return true;
}

void id128_text(Id128 id, char out[ID128_TEXT_LEN + 1])
{
    base32_encode(id.bytes, sizeof id.bytes, out, ID128_TEXT_LEN);
}

bool id128_parse(Str text, Id128 *out)
{
    return text.len == ID128_TEXT_LEN && base32_decode(text, out->bytes, sizeof out->bytes);
}

void uuid_text(Uuid uuid, char out[37])
{
    static const uint8_t group_bytes[] = {4, 2, 2, 2, 6};
    const uint8_t *from = uuid.bytes;
    char *to = out;
    for (size_t i = 0; i < ARRAY_LEN(group_bytes); i++) {
        if (i > 0) *to++ = '-';
        hex_encode(from, group_bytes[i], to); /* its NUL is overwritten by what follows */
        from += group_bytes[i];
        to += 2 * group_bytes[i];
    }
    ASSERT(to == out + 36 && *to == '\0');
}

bool uuid_parse(Str text, Uuid *out)
{
    if (text.len != 36) return false;
    char digits[32];
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool dash_place = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash_place != (text.ptr[i] == '-')) return false;
        if (!dash_place) digits[count++] = text.ptr[i];
    }
    ASSERT(count == sizeof digits);
    Uuid uuid;
    if (!hex_decode(str_of(digits, sizeof digits), uuid.bytes, sizeof uuid.bytes)) return false;
    *out = uuid;
    return true;
}

FileId file_id_make(ShardId shard, uint64_t created_ms, Rng *rng)
{
    uint64_t ms = MIN(created_ms, FILE_ID_MS_MAX);
    FileId id;
    id.bytes[0] = (uint8_t)(shard >> 8);
    id.bytes[1] = (uint8_t)(shard & 0xff);
    for (unsigned i = 0; i < 6; i++)
        id.bytes[2 + i] = (uint8_t)(ms >> (40 - 8 * i));
    rng_bytes(rng, id.bytes + 8, 8);
    return id;
}

ShardId file_id_shard(FileId id)
{
    return (ShardId)((id.bytes[0] << 8) | id.bytes[1]);
}

uint64_t file_id_created_ms(FileId id)
{
    uint64_t ms = 0;
    for (unsigned i = 0; i < 6; i++)
        ms = (ms << 8) | id.bytes[2 + i];
    return ms;
}

int version_id_cmp(VersionId a, VersionId b)
{
    if (a.term != b.term) return a.term < b.term ? -1 : 1;
    if (a.lsn != b.lsn) return a.lsn < b.lsn ? -1 : 1;
    return 0;
}

void version_id_text(VersionId id, char out[VERSION_ID_TEXT_LEN + 1])
{
    uint8_t bytes[VERSION_ID_LEN];
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_u32_be(&enc, id.term);
    enc_u64_be(&enc, id.lsn);
    ASSERT(!enc.failed);
    base32_encode(bytes, sizeof bytes, out, VERSION_ID_TEXT_LEN);
}

bool version_id_parse(Str text, VersionId *out)
{
    uint8_t bytes[VERSION_ID_LEN];
    if (text.len != VERSION_ID_TEXT_LEN || !base32_decode(text, bytes, sizeof bytes)) return false;
    Dec dec = dec_of(bytes, sizeof bytes);
    Term term = dec_u32_be(&dec);
    Lsn lsn = dec_u64_be(&dec);
    ASSERT(dec_done(&dec));
    *out = (VersionId){.term = term, .lsn = lsn};
    return true;
}

ShardId shard_of_key(unsigned class_number, unsigned shard_count, BucketUid bucket, Str key)
{
    ASSERT(class_number <= SHARD_CLASS_MAX);
    ASSERT(shard_count >= 1 && shard_count <= SHARD_NUMBER_MAX + 1);
    uint8_t head[9];
    Enc enc = enc_of(head, sizeof head);
    enc_u64_be(&enc, bucket);
    enc_u8(&enc, 0);
    ASSERT(enc.len == sizeof head);
    Sha256 digest = sha256_of2(head, sizeof head, key.ptr, key.len);
    Dec dec = dec_of(digest.bytes, sizeof digest.bytes);
    return shard_id(class_number, dec_u32_be(&dec) % shard_count);
}

/* Four groups of digits between three dots, whatever their value. */
static bool looks_like_ipv4(Str name)
{
    unsigned dots = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '.')
            dots++;
        else if (name.ptr[i] < '0' || name.ptr[i] > '9')
            return false;
    }
    return dots == 3;
}

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool bucket_name_valid(Str name)
{
    if (name.len < BUCKET_NAME_MIN || name.len > BUCKET_NAME_MAX) return false;
    if (!is_lower_or_digit(name.ptr[0]) || !is_lower_or_digit(name.ptr[name.len - 1])) return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!is_lower_or_digit(c) && c != '.' && c != '-') return false;
        if (c == '.' && name.ptr[i - 1] == '.') return false; /* the first is no dot */
    }
    return !looks_like_ipv4(name);
}

bool key_valid(Str key)
{
    return key.len >= 1 && key.len <= KEY_MAX && memchr(key.ptr, '\0', key.len) == NULL &&
           str_is_utf8(key);
}
