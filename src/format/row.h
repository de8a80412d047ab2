/* Rows of the index: keys that sort by memcmp, and their values. The index (src/index) only knows
 * bytes; what they mean is here. One byte of kind comes first.
 *
 *   'n' bucket uid be64, key, 0, ~term be32, ~lsn be64 -> FileRow   newest version first
 *   'i' file id, its shard last                        -> bucket uid be64, key    by age
 *   'a' shard be16                                     -> AppliedRow
 *   'r' request id, shard be16                         -> RequestRow
 *   'x' expiry ms be64, shard be16, request id         -> (empty)   to drop old request rows
 *   'e' expires ms be64, bucket uid be64, key, 0, ~term be32, ~lsn be64
 *                                                      -> (empty)   versions that end by themselves
 *   'b' body id, extent number be32                    -> varint references
 *   'g' body id, extent number be32                    -> (empty)   extent to unlink
 *   'p' pack number be64                               -> PackRow
 *   'f' pack number be64, part be32                    -> NamesPart: names of a pack's records
 *   'o' pack number be64                               -> (empty)   pack to unlink
 *   'u' bucket uid be64                                -> BucketStatRow: files and bytes
 * Pure. */
#ifndef HOLDFAST_FORMAT_ROW_H
#define HOLDFAST_FORMAT_ROW_H

#include "format/entry.h"
#include "format/pack.h"

#define ROW_KEY_MAX (KEY_MAX + 32)
#define ROW_VALUE_MAX (ATTRS_MAX + EXTENTS_MAX * EXTENT_LEN + 512)

/* Where a small body is. */
typedef struct {
    uint64_t pack;   /* 0: none (no body, or extents) */
    uint64_t offset; /* of the record */
    uint32_t length; /* of the whole record, padding included */
} PackPlace;

enum {
    ROW_FLAG_DELETE_MARKER = 1 << 0,
    ROW_FLAG_NULL_VERSION = 1 << 1, /* entry_makes_null() */
    ROW_FLAG_DIGEST_KNOWN = 1 << 2,
};

/* One version of a file. Encoding leaves ATTR_KEY out of attrs (it is in the row's key), and the
 * request's id and hash (they have a RequestRow); decoding leaves version zero (in the key). */
typedef struct {
    FileId file;
    VersionId version; /* in the key */
    uint16_t flags;
    uint64_t created_ms; /* of the file */
    uint64_t updated_ms; /* of this version */
    uint64_t size;
    BodyId body;
    Sha256 digest;
    PackPlace place;
    uint32_t extent_count;
    Str extents;
    Str attrs;
} FileRow;

typedef struct {
    Lsn lsn;
    Term term;
    Sha256 hash; /* checksum of that entry: the chain goes on from it */
} AppliedRow;

/* What came of a request, for its repeats. */
typedef struct {
    Op op;
    FileId file;
    VersionId version; /* of the entry that carried it */
    uint64_t time_ms;
    Sha256 request_hash;
} RequestRow;

typedef struct {
    uint64_t bytes;  /* of records in it */
    uint64_t dead;   /* of them bodies no longer needed */
    uint64_t unsure; /* of them records without a body or with a request: whether they are needed,
                        or the request's row is, only a look tells */
    uint64_t end;    /* offset behind the last of them; 0: not known */
} PackRow;

/* Names of which a pack holds records, as the crc32c of bucket uid be64 and key: u32s, rising, at
 * most NAMES_PART_MAX in a part; a part with fewer is the pack's last. A pack without a last part
 * may hold any name. Compaction makes them, of packs that are never written again. */
#define NAMES_PART_MAX 16384

typedef struct {
    uint64_t files;
    uint64_t bytes;
} BucketStatRow;

/* Keys: written into out (capacity ROW_KEY_MAX); return the length. A file's key has 1..KEY_MAX
 * bytes without NUL, a key_prefix 0..KEY_MAX + 1: asserted, so check what comes from outside
 * before. */
size_t row_key_name(uint8_t *out, BucketUid bucket, Str key, VersionId version);
/* The prefix all versions of a name share: without the version. */
size_t row_key_name_prefix(uint8_t *out, BucketUid bucket, Str key);
/* The prefix of all names of bucket that start with key_prefix (any bytes, at most KEY_MAX + 1). */
size_t row_key_bucket_prefix(uint8_t *out, BucketUid bucket, Str key_prefix);
bool row_key_name_parse(Str row_key, BucketUid *bucket, Str *key, VersionId *version);
/* The row of a version with ATTR_EXPIRES_MS: such rows sort by that time. */
size_t row_key_expires(uint8_t *out, uint64_t expires_ms, BucketUid bucket, Str key,
                       VersionId version);
bool row_key_expires_parse(Str row_key, uint64_t *expires_ms, BucketUid *bucket, Str *key,
                           VersionId *version);
size_t row_key_file(uint8_t *out, FileId file);
size_t row_key_applied(uint8_t *out, ShardId shard);
size_t row_key_request(uint8_t *out, ShardId shard, RequestId id);
/* The prefix of one request's rows, whatever shards it went to. */
size_t row_key_request_prefix(uint8_t *out, RequestId id);
bool row_key_request_parse(Str row_key, ShardId *shard);
size_t row_key_request_expiry(uint8_t *out, uint64_t expiry_ms, ShardId shard, RequestId id);
bool row_key_request_expiry_parse(Str row_key, uint64_t *expiry_ms, ShardId *shard, RequestId *id);
/* An extent that rows name, and one that no row names any more and that is still to be unlinked. */
size_t row_key_extent(uint8_t *out, BodyId body, uint32_t number);
size_t row_key_garbage(uint8_t *out, BodyId body, uint32_t number);
bool row_key_garbage_parse(Str row_key, BodyId *body, uint32_t *number);
size_t row_key_pack(uint8_t *out, uint64_t pack);
bool row_key_pack_parse(Str row_key, uint64_t *pack);
/* The prefix of all parts of pack's names, and one part's key. */
size_t row_key_names_prefix(uint8_t *out, uint64_t pack);
size_t row_key_names(uint8_t *out, uint64_t pack, uint32_t part);
size_t row_key_retired(uint8_t *out, uint64_t pack);
bool row_key_retired_parse(Str row_key, uint64_t *pack);
size_t row_key_bucket_stat(uint8_t *out, BucketUid bucket);

/* Values. Decoding returns false on malformed bytes; views point into data. */
void file_row_encode(const FileRow *row, Enc *enc);
bool file_row_decode(Str data, FileRow *out);
void id_row_encode(BucketUid bucket, Str key, Enc *enc);
bool id_row_decode(Str data, BucketUid *bucket, Str *key);
void applied_row_encode(const AppliedRow *row, Enc *enc);
bool applied_row_decode(Str data, AppliedRow *out);
void request_row_encode(const RequestRow *row, Enc *enc);
bool request_row_decode(Str data, RequestRow *out);
void pack_row_encode(const PackRow *row, Enc *enc);
bool pack_row_decode(Str data, PackRow *out);
/* What stands for a name in NamesPart. */
uint32_t name_hash(BucketUid bucket, Str key);
void names_part_encode(const uint32_t *names, size_t count, Enc *enc);
/* How many names data has; false if it is no part. names_part_at() gives them. */
bool names_part_decode(Str data, size_t *count);
uint32_t names_part_at(Str data, size_t i);
void bucket_stat_encode(const BucketStatRow *row, Enc *enc);
bool bucket_stat_decode(Str data, BucketStatRow *out);

/* The row that entry (CREATE, UPDATE, delete marker) makes; created_ms from ATTR_CREATED_MS or the
 * file id. Views into entry; place is left zero. attrs still holds what encoding drops. */
void file_row_of_entry(const Entry *entry, FileRow *out);
/* When the version ends by itself; 0: never. */
uint64_t file_row_expires(const FileRow *row);
/* The request row that entry makes; false: it carries no request id. */
bool request_row_of_entry(const Entry *entry, RequestId *id, RequestRow *out);
/* The etag without quotes: ATTR_ETAG, else the first 40 hex digits of the digest and "-1", else the
 * version's text. out has ETAG_MAX bytes. */
#define ETAG_MAX 128
void file_row_etag(const FileRow *row, char out[ETAG_MAX]);

#endif
