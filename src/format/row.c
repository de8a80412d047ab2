/* FileRow, value: u8 fields (RowField bits: what follows), varint flags, file 16, [zigzag varint of
 * created_ms minus the file id's], [zigzag varint of updated_ms minus created_ms], varint size,
 * [body 16], [digest 32], [varint pack, offset, length], [varint extents' count, extents],
 * attributes up to the end. A field in [] is there exactly when it is not zero. Left out of the
 * attributes: the key, which is in the row's key, and the request's id and hash, which have a row
 * of their own. */
#include "format/row.h"

#include "base/crc.h"
#include "format/varint_priv.h"
#include <string.h>

enum RowField {
    ROW_CREATED = 1 << 0,
    ROW_UPDATED = 1 << 1,
    ROW_BODY = 1 << 2,
    ROW_DIGEST = 1 << 3,
    ROW_PLACE = 1 << 4,
    ROW_EXTENTS = 1 << 5,
};
#define ROW_FIELDS_KNOWN 0x3fu
#define ROW_FLAGS_KNOWN (ROW_FLAG_DELETE_MARKER | ROW_FLAG_NULL_VERSION | ROW_FLAG_DIGEST_KNOWN)

/* 'n', bucket, key, 0, term, lsn */
#define NAME_HEAD_LEN 9
#define NAME_TAIL_LEN (1 + VERSION_ID_LEN)
_Static_assert(NAME_HEAD_LEN + KEY_MAX + NAME_TAIL_LEN <= ROW_KEY_MAX, "the longest row key");
_Static_assert(1 + 3 + 16 + 10 + 10 + 10 + 16 + SHA256_LEN + 30 + 10 <= 512,
               "ROW_VALUE_MAX leaves enough beside attributes and extents");

static Enc key_begin(uint8_t *out, char kind)
{
    Enc enc = enc_of(out, ROW_KEY_MAX);
    enc_u8(&enc, (uint8_t)kind);
    return enc;
}

static size_t key_end(const Enc *enc)
{
    ASSERT(!enc->failed);
    return enc->len;
}

/* Big endian, as everything in a key is. */
static void enc_shard(Enc *enc, ShardId shard)
{
    enc_u8(enc, (uint8_t)(shard >> 8));
    enc_u8(enc, (uint8_t)(shard & 0xff));
}

size_t row_key_bucket_prefix(uint8_t *out, BucketUid bucket, Str key_prefix)
{
    ASSERT(key_prefix.len <= KEY_MAX + 1); /* one more: the place right behind a key */
    Enc enc = key_begin(out, 'n');
    enc_u64_be(&enc, bucket);
    enc_bytes(&enc, key_prefix.ptr, key_prefix.len);
    return key_end(&enc);
}

size_t row_key_name_prefix(uint8_t *out, BucketUid bucket, Str key)
{
    ASSERT(key.len >= 1 && memchr(key.ptr, '\0', key.len) == NULL);
    size_t len = row_key_bucket_prefix(out, bucket, key);
    out[len] = 0;
    return len + 1;
}

size_t row_key_name(uint8_t *out, BucketUid bucket, Str key, VersionId version)
{
    size_t len = row_key_name_prefix(out, bucket, key);
    Enc enc = enc_of(out + len, VERSION_ID_LEN);
    enc_u32_be(&enc, ~version.term);
    enc_u64_be(&enc, ~version.lsn);
    return len + key_end(&enc);
}

bool row_key_name_parse(Str row_key, BucketUid *bucket, Str *key, VersionId *version)
{
    if (row_key.len < NAME_HEAD_LEN + 1 + NAME_TAIL_LEN) return false;
    if (row_key.len > NAME_HEAD_LEN + KEY_MAX + NAME_TAIL_LEN) return false;
    Dec dec = dec_of(row_key.ptr, row_key.len);
    if (dec_u8(&dec) != 'n') return false;
    BucketUid uid = dec_u64_be(&dec);
    Str name = dec_view(&dec, row_key.len - NAME_HEAD_LEN - NAME_TAIL_LEN);
    unsigned end = dec_u8(&dec);
    VersionId id = {.term = ~dec_u32_be(&dec)};
    id.lsn = ~dec_u64_be(&dec);
    ASSERT(dec_done(&dec));
    if (end != 0 || memchr(name.ptr, '\0', name.len) != NULL) return false;
    *bucket = uid;
    *key = name;
    *version = id;
    return true;
}

/* 'e', expires, then as the name's row behind its 'n' */
#define EXPIRES_HEAD_LEN 9
_Static_assert(EXPIRES_HEAD_LEN + NAME_HEAD_LEN - 1 + KEY_MAX + NAME_TAIL_LEN <= ROW_KEY_MAX,
               "the longest row key");

size_t row_key_expires(uint8_t *out, uint64_t expires_ms, BucketUid bucket, Str key,
                       VersionId version)
{
    uint8_t name[ROW_KEY_MAX];
    size_t len = row_key_name(name, bucket, key, version);
    Enc enc = key_begin(out, 'e');
    enc_u64_be(&enc, expires_ms);
    enc_bytes(&enc, name + 1, len - 1);
    return key_end(&enc);
}

bool row_key_expires_parse(Str row_key, uint64_t *expires_ms, BucketUid *bucket, Str *key,
                           VersionId *version)
{
    uint8_t name[ROW_KEY_MAX];
    if (row_key.len <= EXPIRES_HEAD_LEN || row_key.len > ROW_KEY_MAX) return false;
    Dec dec = dec_of(row_key.ptr, row_key.len);
    bool right = dec_u8(&dec) == 'e';
    uint64_t expires = dec_u64_be(&dec);
    size_t len = dec_left(&dec);
    name[0] = 'n';
    dec_bytes(&dec, name + 1, len);
    Str own;
    if (!right || !row_key_name_parse(str_of(name, len + 1), bucket, &own, version)) return false;
    *expires_ms = expires;
    *key = str_slice(row_key, EXPIRES_HEAD_LEN + NAME_HEAD_LEN - 1, own.len);
    return true;
}

size_t row_key_file(uint8_t *out, FileId file)
{
    Enc enc = key_begin(out, 'i');
    enc_bytes(&enc, file.bytes + 2, sizeof file.bytes - 2);
    enc_bytes(&enc, file.bytes, 2);
    return key_end(&enc);
}

size_t row_key_applied(uint8_t *out, ShardId shard)
{
    Enc enc = key_begin(out, 'a');
    enc_shard(&enc, shard);
    return key_end(&enc);
}

size_t row_key_request(uint8_t *out, ShardId shard, RequestId id)
{
    Enc enc = key_begin(out, 'r');
    enc_bytes(&enc, id.bytes, sizeof id.bytes);
    enc_shard(&enc, shard);
    return key_end(&enc);
}

size_t row_key_request_prefix(uint8_t *out, RequestId id)
{
    Enc enc = key_begin(out, 'r');
    enc_bytes(&enc, id.bytes, sizeof id.bytes);
    return key_end(&enc);
}

size_t row_key_request_expiry(uint8_t *out, uint64_t expiry_ms, ShardId shard, RequestId id)
{
    Enc enc = key_begin(out, 'x');
    enc_u64_be(&enc, expiry_ms);
    enc_shard(&enc, shard);
    enc_bytes(&enc, id.bytes, sizeof id.bytes);
    return key_end(&enc);
}

static ShardId dec_shard(Dec *dec)
{
    unsigned high = dec_u8(dec);
    return (ShardId)(high << 8 | dec_u8(dec));
}

bool row_key_request_parse(Str row_key, ShardId *shard)
{
    RequestId id;
    Dec dec = dec_of(row_key.ptr, row_key.len);
    bool right = dec_u8(&dec) == 'r';
    dec_bytes(&dec, id.bytes, sizeof id.bytes);
    ShardId value = dec_shard(&dec);
    if (!dec_done(&dec) || !right) return false;
    *shard = value;
    return true;
}

bool row_key_request_expiry_parse(Str row_key, uint64_t *expiry_ms, ShardId *shard, RequestId *id)
{
    RequestId request;
    Dec dec = dec_of(row_key.ptr, row_key.len);
    bool right = dec_u8(&dec) == 'x';
    uint64_t expiry = dec_u64_be(&dec);
    ShardId value = dec_shard(&dec);
    dec_bytes(&dec, request.bytes, sizeof request.bytes);
    if (!dec_done(&dec) || !right) return false;
    *expiry_ms = expiry;
    *shard = value;
    *id = request;
    return true;
}

static size_t key_extent(uint8_t *out, char kind, BodyId body, uint32_t number)
{
    Enc enc = key_begin(out, kind);
    enc_bytes(&enc, body.bytes, sizeof body.bytes);
    enc_u32_be(&enc, number);
    return key_end(&enc);
}

size_t row_key_extent(uint8_t *out, BodyId body, uint32_t number)
{
    return key_extent(out, 'b', body, number);
}

size_t row_key_garbage(uint8_t *out, BodyId body, uint32_t number)
{
    return key_extent(out, 'g', body, number);
}

bool row_key_garbage_parse(Str row_key, BodyId *body, uint32_t *number)
{
    Dec dec = dec_of(row_key.ptr, row_key.len);
    BodyId id;
    bool kind = dec_u8(&dec) == 'g';
    dec_bytes(&dec, id.bytes, sizeof id.bytes);
    uint32_t extent = dec_u32_be(&dec);
    if (!kind || !dec_done(&dec)) return false;
    *body = id;
    *number = extent;
    return true;
}

size_t row_key_pack(uint8_t *out, uint64_t pack)
{
    Enc enc = key_begin(out, 'p');
    enc_u64_be(&enc, pack);
    return key_end(&enc);
}

static bool key_pack_parse(Str row_key, char kind, uint64_t *pack)
{
    Dec dec = dec_of(row_key.ptr, row_key.len);
    bool right = dec_u8(&dec) == (uint8_t)kind;
    uint64_t number = dec_u64_be(&dec);
    if (!right || !dec_done(&dec)) return false;
    *pack = number;
    return true;
}

bool row_key_pack_parse(Str row_key, uint64_t *pack)
{
    return key_pack_parse(row_key, 'p', pack);
}

size_t row_key_names_prefix(uint8_t *out, uint64_t pack)
{
    Enc enc = key_begin(out, 'f');
    enc_u64_be(&enc, pack);
    return key_end(&enc);
}

size_t row_key_names(uint8_t *out, uint64_t pack, uint32_t part)
{
    Enc enc = key_begin(out, 'f');
    enc_u64_be(&enc, pack);
    enc_u32_be(&enc, part);
    return key_end(&enc);
}

size_t row_key_retired(uint8_t *out, uint64_t pack)
{
    Enc enc = key_begin(out, 'o');
    enc_u64_be(&enc, pack);
    return key_end(&enc);
}

bool row_key_retired_parse(Str row_key, uint64_t *pack)
{
    return key_pack_parse(row_key, 'o', pack);
}

size_t row_key_bucket_stat(uint8_t *out, BucketUid bucket)
{
    Enc enc = key_begin(out, 'u');
    enc_u64_be(&enc, bucket);
    return key_end(&enc);
}

/* Attributes that a FileRow does not repeat. */
static bool attr_left_out(uint64_t type)
{
    return type == ATTR_KEY || type == ATTR_REQUEST_ID || type == ATTR_REQUEST_HASH;
}

static void attrs_encode(Str attrs, Enc *enc)
{
    size_t pos = 0;
    Attr attr;
    while (attr_next(attrs, &pos, &attr)) {
        if (attr_left_out(attr.type)) continue;
        enc_varint(enc, attr.type);
        enc_str(enc, attr.value);
    }
}

/* Well-formed, and without those that are left out. */
static bool row_attrs_valid(Str attrs)
{
    if (!attrs_valid(attrs)) return false;
    size_t pos = 0;
    Attr attr;
    while (attr_next(attrs, &pos, &attr)) {
        if (attr_left_out(attr.type)) return false;
    }
    return true;
}

/* RowField bits of what row has. */
static unsigned row_fields(const FileRow *row)
{
    unsigned fields = 0;
    if (row->created_ms != file_id_created_ms(row->file)) fields |= ROW_CREATED;
    if (row->updated_ms != row->created_ms) fields |= ROW_UPDATED;
    if (!id128_is_zero(row->body)) fields |= ROW_BODY;
    if (!sha256_is_zero(&row->digest)) fields |= ROW_DIGEST;
    if (row->place.pack != 0) fields |= ROW_PLACE;
    if (row->extent_count != 0) fields |= ROW_EXTENTS;
    return fields;
}

void file_row_encode(const FileRow *row, Enc *enc)
{
    ASSERT(row->extents.len == (size_t)row->extent_count * EXTENT_LEN);
    ASSERT((row->flags & ~(unsigned)ROW_FLAGS_KNOWN) == 0);
    unsigned fields = row_fields(row);
    enc_u8(enc, (uint8_t)fields);
    enc_varint(enc, row->flags);
    enc_bytes(enc, row->file.bytes, sizeof row->file.bytes);
    if ((fields & ROW_CREATED) != 0)
        enc_varint(enc, zigzag_delta(row->created_ms, file_id_created_ms(row->file)));
    if ((fields & ROW_UPDATED) != 0)
        enc_varint(enc, zigzag_delta(row->updated_ms, row->created_ms));
    enc_varint(enc, row->size);
    if ((fields & ROW_BODY) != 0) enc_bytes(enc, row->body.bytes, sizeof row->body.bytes);
    if ((fields & ROW_DIGEST) != 0) enc_bytes(enc, row->digest.bytes, SHA256_LEN);
    if ((fields & ROW_PLACE) != 0) {
        enc_varint(enc, row->place.pack);
        enc_varint(enc, row->place.offset);
        enc_varint(enc, row->place.length);
    }
    if ((fields & ROW_EXTENTS) != 0) {
        enc_varint(enc, row->extent_count);
        enc_bytes(enc, row->extents.ptr, row->extents.len);
    }
    attrs_encode(row->attrs, enc);
}

/* The optional fields from the body on, as in file_row_encode(). */
static void row_body_decode(Dec *dec, unsigned fields, FileRow *row)
{
    if ((fields & ROW_BODY) != 0) dec_bytes(dec, row->body.bytes, sizeof row->body.bytes);
    if ((fields & ROW_DIGEST) != 0) dec_bytes(dec, row->digest.bytes, SHA256_LEN);
    if ((fields & ROW_PLACE) != 0) {
        row->place.pack = dec_varint(dec);
        row->place.offset = dec_varint(dec);
        uint64_t length = dec_varint(dec);
        if (length > UINT32_MAX) dec->failed = true;
        row->place.length = (uint32_t)length;
    }
    if ((fields & ROW_EXTENTS) != 0) {
        uint64_t count = dec_varint(dec);
        if (count > EXTENTS_MAX) dec->failed = true;
        if (dec->failed) return;
        row->extent_count = (uint32_t)count;
        row->extents = dec_view(dec, (size_t)count * EXTENT_LEN);
    }
}

bool file_row_decode(Str data, FileRow *out)
{
    Dec dec = dec_of(data.ptr, data.len);
    unsigned fields = dec_u8(&dec);
    uint64_t flags = dec_varint(&dec);
    if (dec.failed || (fields & ~ROW_FIELDS_KNOWN) != 0) return false;
    if ((flags & ~(uint64_t)ROW_FLAGS_KNOWN) != 0) return false;
    FileRow row = {.flags = (uint16_t)flags};
    dec_bytes(&dec, row.file.bytes, sizeof row.file.bytes);
    row.created_ms = file_id_created_ms(row.file);
    if ((fields & ROW_CREATED) != 0)
        row.created_ms = zigzag_apply(dec_varint(&dec), row.created_ms);
    row.updated_ms = row.created_ms;
    if ((fields & ROW_UPDATED) != 0)
        row.updated_ms = zigzag_apply(dec_varint(&dec), row.updated_ms);
    row.size = dec_varint(&dec);
    row_body_decode(&dec, fields, &row);
    if (dec.failed || row_fields(&row) != fields) return false;
    row.attrs = dec_view(&dec, dec_left(&dec));
    if (!row_attrs_valid(row.attrs)) return false;
    *out = row;
    return true;
}

void id_row_encode(BucketUid bucket, Str key, Enc *enc)
{
    enc_u64_be(enc, bucket);
    enc_bytes(enc, key.ptr, key.len);
}

bool id_row_decode(Str data, BucketUid *bucket, Str *key)
{
    Dec dec = dec_of(data.ptr, data.len);
    BucketUid uid = dec_u64_be(&dec);
    Str name = dec_view(&dec, dec_left(&dec));
    if (dec.failed || name.len == 0 || name.len > KEY_MAX) return false;
    *bucket = uid;
    *key = name;
    return true;
}

void applied_row_encode(const AppliedRow *row, Enc *enc)
{
    enc_varint(enc, row->lsn);
    enc_varint(enc, row->term);
    enc_bytes(enc, row->hash.bytes, SHA256_LEN);
}

bool applied_row_decode(Str data, AppliedRow *out)
{
    Dec dec = dec_of(data.ptr, data.len);
    AppliedRow row = {.lsn = dec_varint(&dec)};
    uint64_t term = dec_varint(&dec);
    dec_bytes(&dec, row.hash.bytes, SHA256_LEN);
    if (!dec_done(&dec) || term > UINT32_MAX) return false;
    row.term = (Term)term;
    *out = row;
    return true;
}

/* u8 op, file 16, varints term, lsn, time_ms, hash 32. */
void request_row_encode(const RequestRow *row, Enc *enc)
{
    ASSERT(row->op >= OP_CREATE && row->op <= OP_MAX);
    enc_u8(enc, (uint8_t)row->op);
    enc_bytes(enc, row->file.bytes, sizeof row->file.bytes);
    enc_varint(enc, row->version.term);
    enc_varint(enc, row->version.lsn);
    enc_varint(enc, row->time_ms);
    enc_bytes(enc, row->request_hash.bytes, SHA256_LEN);
}

bool request_row_decode(Str data, RequestRow *out)
{
    Dec dec = dec_of(data.ptr, data.len);
    unsigned op = dec_u8(&dec);
    RequestRow row = {0};
    dec_bytes(&dec, row.file.bytes, sizeof row.file.bytes);
    uint64_t term = dec_varint(&dec);
    row.version.lsn = dec_varint(&dec);
    row.time_ms = dec_varint(&dec);
    dec_bytes(&dec, row.request_hash.bytes, SHA256_LEN);
    if (!dec_done(&dec) || term > UINT32_MAX || op < OP_CREATE || op > OP_MAX) return false;
    row.op = (Op)op;
    row.version.term = (Term)term;
    *out = row;
    return true;
}

bool request_row_of_entry(const Entry *entry, RequestId *id, RequestRow *out)
{
    Str value;
    if (!attr_get(entry->attrs, ATTR_REQUEST_ID, &value) || value.len != sizeof id->bytes)
        return false;
    memcpy(id->bytes, value.ptr, sizeof id->bytes);
    *out = (RequestRow){.op = entry->op,
                        .file = entry->file,
                        .version = {.term = entry->term, .lsn = entry->lsn},
                        .time_ms = entry->time_ms};
    if (attr_get(entry->attrs, ATTR_REQUEST_HASH, &value) && value.len == SHA256_LEN)
        memcpy(out->request_hash.bytes, value.ptr, SHA256_LEN);
    if (attr_get(entry->attrs, ATTR_REQUEST_OP, &value) && value.len == 1) {
        uint8_t op = (uint8_t)value.ptr[0];
        if (op >= OP_CREATE && op <= OP_MAX) out->op = (Op)op;
    }
    return true;
}

/* Two varints, nothing behind. */
static bool two_varints(Str data, uint64_t *a, uint64_t *b)
{
    Dec dec = dec_of(data.ptr, data.len);
    uint64_t first = dec_varint(&dec);
    uint64_t second = dec_varint(&dec);
    if (!dec_done(&dec)) return false;
    *a = first;
    *b = second;
    return true;
}

void pack_row_encode(const PackRow *row, Enc *enc)
{
    enc_varint(enc, row->bytes);
    enc_varint(enc, row->dead);
    enc_varint(enc, row->unsure);
    enc_varint(enc, row->end);
}

bool pack_row_decode(Str data, PackRow *out)
{
    Dec dec = dec_of(data.ptr, data.len);
    PackRow row = {.bytes = dec_varint(&dec)};
    row.dead = dec_varint(&dec);
    row.unsure = dec_varint(&dec);
    row.end = dec_varint(&dec);
    if (!dec_done(&dec)) return false;
    *out = row;
    return true;
}

uint32_t name_hash(BucketUid bucket, Str key)
{
    uint8_t bytes[8];
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_u64_be(&enc, bucket);
    return crc32c_more(crc32c(bytes, sizeof bytes), key.ptr, key.len);
}

void names_part_encode(const uint32_t *names, size_t count, Enc *enc)
{
    ASSERT(count <= NAMES_PART_MAX);
    for (size_t i = 0; i < count; i++)
        enc_u32(enc, names[i]);
}

bool names_part_decode(Str data, size_t *count)
{
    if (data.len % 4 != 0 || data.len / 4 > NAMES_PART_MAX) return false;
    for (size_t i = 1; i < data.len / 4; i++) {
        if (names_part_at(data, i - 1) >= names_part_at(data, i)) return false;
    }
    *count = data.len / 4;
    return true;
}

uint32_t names_part_at(Str data, size_t i)
{
    return get_u32(data.ptr + 4 * i);
}

void bucket_stat_encode(const BucketStatRow *row, Enc *enc)
{
    enc_varint(enc, row->files);
    enc_varint(enc, row->bytes);
}

bool bucket_stat_decode(Str data, BucketStatRow *out)
{
    return two_varints(data, &out->files, &out->bytes);
}

void file_row_of_entry(const Entry *entry, FileRow *out)
{
    FileRow row = {
        .file = entry->file,
        .version = {.term = entry->term, .lsn = entry->lsn},
        .created_ms = file_id_created_ms(entry->file),
        .updated_ms = entry->time_ms,
        .size = entry->size,
        .body = entry->body,
        .digest = entry->body_digest,
        .extent_count = entry->extent_count,
        .extents = entry->extents,
        .attrs = entry->attrs,
    };
    unsigned flags = 0;
    if ((entry->flags & ENTRY_FLAG_DELETE_MARKER) != 0) flags |= ROW_FLAG_DELETE_MARKER;
    if (entry_makes_null(entry)) flags |= ROW_FLAG_NULL_VERSION;
    if ((entry->flags & ENTRY_FLAG_DIGEST_KNOWN) != 0) flags |= ROW_FLAG_DIGEST_KNOWN;
    row.flags = (uint16_t)flags;
    uint64_t created_ms;
    if (attr_get_varint(entry->attrs, ATTR_CREATED_MS, &created_ms)) row.created_ms = created_ms;
    *out = row;
}

uint64_t file_row_expires(const FileRow *row)
{
    uint64_t expires_ms = 0;
    return attr_get_varint(row->attrs, ATTR_EXPIRES_MS, &expires_ms) ? expires_ms : 0;
}

void file_row_etag(const FileRow *row, char out[ETAG_MAX])
{
    Str etag;
    if (attr_get(row->attrs, ATTR_ETAG, &etag) && etag.len > 0 && str_to_cstr(etag, out, ETAG_MAX))
        return;
    if ((row->flags & ROW_FLAG_DIGEST_KNOWN) != 0) {
        hex_encode(row->digest.bytes, 20, out);
        memcpy(out + 40, "-1", 3);
        return;
    }
    version_id_text(row->version, out);
}
