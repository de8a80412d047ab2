/* Identifiers: their bytes on disk, their text for people and URLs, their order. Pure; any thread.
 * Text is Crockford base32 in upper case; reading accepts lower case, and no other aliases. */
#ifndef HOLDFAST_FORMAT_IDS_H
#define HOLDFAST_FORMAT_IDS_H

#include "base/codec.h"
#include "base/rng.h"

/* A shard: class (4 bits), number in its class (12 bits). Class 0 number 0 is the system shard. */
typedef uint16_t ShardId;
#define SHARD_SYSTEM ((ShardId)0)
#define SHARD_CLASS_MAX 15
#define SHARD_NUMBER_MAX 4095
#define SHARD_COUNT_MAX 65536
static inline ShardId shard_id(unsigned class_number, unsigned number)
{
    return (ShardId)((class_number << 12) | number);
}
static inline unsigned shard_class(ShardId shard)
{
    return shard >> 12;
}
static inline unsigned shard_number(ShardId shard)
{
    return shard & 0xfffu;
}

/* Position in a shard's log, from 1, given by its primary; 0 is "before the first". */
typedef uint64_t Lsn;
/* Election number, from 1. 32 bits: one election a second lasts 136 years. */
typedef uint32_t Term;

/* A version of a file: where its entry stands in its shard's log. Sorts by (term, lsn). */
typedef struct {
    Term term;
    Lsn lsn;
} VersionId;
#define VERSION_ID_LEN 12      /* bytes: term, lsn, both big endian */
#define VERSION_ID_TEXT_LEN 20 /* characters, without the NUL */

/* 16 bytes: root, segment, cluster uuids; body ids; request ids. */
typedef struct {
    uint8_t bytes[16];
} Id128;
#define ID128_TEXT_LEN 26
/* A file: shard (16 bits), creation milliseconds (48), random (64), big endian; its shard is in
 * it, so an id alone routes. */
typedef Id128 FileId;
typedef Id128 BodyId;
typedef Id128 RequestId; /* all zero: none */
typedef Id128 Uuid;

/* A bucket for ever: 64 random bits, never used again, so nobody inherits a deleted bucket's
 * files. 0 is the system's own name space, in the system shard; 1 that of uploads that go on
 * (format/upload.h), each in the shard of the file that it becomes. */
typedef uint64_t BucketUid;
#define BUCKET_UID_SYSTEM ((BucketUid)0)
#define BUCKET_UID_UPLOADS ((BucketUid)1)

#define BUCKET_NAME_MIN 3
#define BUCKET_NAME_MAX 63
#define KEY_MAX 1024 /* bytes of UTF-8 without NUL, at least 1 */

bool id128_eq(Id128 a, Id128 b);
bool id128_is_zero(Id128 a);
int id128_cmp(Id128 a, Id128 b);
Id128 id128_random(Rng *rng);
/* 26 characters and a NUL. */
void id128_text(Id128 id, char out[ID128_TEXT_LEN + 1]);
/* Exactly 26 characters, first one 0..7: false otherwise, *out untouched. */
bool id128_parse(Str text, Id128 *out);
/* 8-4-4-4-12 hex form for uuids in JSON; out has 37 bytes. */
void uuid_text(Uuid uuid, char out[37]);
bool uuid_parse(Str text, Uuid *out);

FileId file_id_make(ShardId shard, uint64_t created_ms, Rng *rng);
ShardId file_id_shard(FileId id);
uint64_t file_id_created_ms(FileId id);

int version_id_cmp(VersionId a, VersionId b);
void version_id_text(VersionId id, char out[VERSION_ID_TEXT_LEN + 1]);
bool version_id_parse(Str text, VersionId *out);

/* shard = class, first 32 bits (big endian) of SHA-256(bucket uid as 8 bytes big endian, a zero
 * byte, key) modulo shard_count (1..4096). */
ShardId shard_of_key(unsigned class_number, unsigned shard_count, BucketUid bucket, Str key);

/* 3..63 of [a-z0-9.-], first and last a letter or digit, no "..", not shaped like IPv4. */
bool bucket_name_valid(Str name);
/* 1..1024 bytes of well-formed UTF-8 without NUL. */
bool key_valid(Str key);

#endif
