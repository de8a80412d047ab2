/* Entry, format 1. Little endian; the offsets are fixed.
 *
 *      0  magic "HFE1"        4     72  target.term           4
 *      4  format              2     76  attributes, bytes     4
 *      6  op                  2     80  time_ms               8
 *      8  flags               2     88  body                 16
 *     10  shard               2    104  size                  8
 *     12  term                4    112  extents, count        4
 *     16  lsn                 8    116  inline body, bytes    4
 *     24  record_id          16    120  body_digest          32
 *     40  file               16    152  prev_hash            32
 *     56  bucket              8    184  checksum             32
 *     64  target.lsn          8    216  reserved, zero        8
 *    224  attributes | extents (60 bytes each) | inline body
 */
#include "format/entry.h"

#include "format/entry_priv.h"
#include <inttypes.h>
#include <string.h>

#define ENTRY_MAGIC 0x31454648u /* "HFE1" */
#define CHECKSUM_AT 184
#define RESERVED_AT 216

#define FLAGS_KNOWN                                                                                \
    (ENTRY_FLAG_DELETE_MARKER | ENTRY_FLAG_NULL_VERSION | ENTRY_FLAG_KEEP_OLDER |                  \
     ENTRY_FLAG_DIGEST_KNOWN | ENTRY_FLAG_ALL_VERSIONS)

_Static_assert(ENTRY_HEADER_LEN == RESERVED_AT + 8, "the table above");
_Static_assert(CHECKSUM_AT + SHA256_LEN == RESERVED_AT, "the table above");
_Static_assert(EXTENT_LEN == 16 + 4 + 8 + SHA256_LEN, "body, number, size, digest");
_Static_assert(ENTRY_HEADER_LEN + ATTRS_MAX + EXTENTS_MAX * EXTENT_LEN + INLINE_MAX <= ENTRY_MAX,
               "the largest entry fits");

const char *op_name(Op op)
{
    switch (op) {
    case OP_CREATE: return "CREATE";
    case OP_UPDATE: return "UPDATE";
    case OP_DELETE: return "DELETE";
    case OP_META: return "META";
    case OP_CONFIG: return "CONFIG";
    case OP_START: return "START";
    case OP_CLOSE: return "CLOSE";
    case OP_REOPEN: return "REOPEN";
    case OP_SNAPSHOT: return "SNAPSHOT";
    case OP_NOOP: return "NOOP";
    }
    return "?";
}

size_t entry_len(const Entry *entry)
{
    return ENTRY_HEADER_LEN + entry->attrs.len + entry->extents.len + entry->inline_body.len;
}

/* The header as it is stored. Lengths beyond the limits are bugs of whoever built the entry. */
static void header_encode(const Entry *entry, const Sha256 *checksum, uint8_t out[ENTRY_HEADER_LEN])
{
    ASSERT(entry->attrs.len <= ATTRS_MAX);
    ASSERT(entry->extent_count <= EXTENTS_MAX);
    ASSERT(entry->extents.len == (size_t)entry->extent_count * EXTENT_LEN);
    ASSERT(entry->inline_body.len <= INLINE_MAX);
    Enc enc = enc_of(out, ENTRY_HEADER_LEN);
    enc_u32(&enc, ENTRY_MAGIC);
    enc_u16(&enc, ENTRY_FORMAT);
    enc_u16(&enc, (uint16_t)entry->op);
    enc_u16(&enc, entry->flags);
    enc_u16(&enc, entry->shard);
    enc_u32(&enc, entry->term);
    enc_u64(&enc, entry->lsn);
    enc_bytes(&enc, entry->record_id.bytes, sizeof entry->record_id.bytes);
    enc_bytes(&enc, entry->file.bytes, sizeof entry->file.bytes);
    enc_u64(&enc, entry->bucket);
    enc_u64(&enc, entry->target.lsn);
    enc_u32(&enc, entry->target.term);
    enc_u32(&enc, (uint32_t)entry->attrs.len);
    enc_u64(&enc, entry->time_ms);
    enc_bytes(&enc, entry->body.bytes, sizeof entry->body.bytes);
    enc_u64(&enc, entry->size);
    enc_u32(&enc, entry->extent_count);
    enc_u32(&enc, (uint32_t)entry->inline_body.len);
    enc_bytes(&enc, entry->body_digest.bytes, SHA256_LEN);
    enc_bytes(&enc, entry->prev_hash.bytes, SHA256_LEN);
    ASSERT(enc.len == CHECKSUM_AT);
    enc_bytes(&enc, checksum->bytes, SHA256_LEN);
    enc_zeros(&enc, ENTRY_HEADER_LEN - RESERVED_AT);
    ASSERT(!enc.failed && enc.len == ENTRY_HEADER_LEN);
}

void entry_seal(Entry *entry)
{
    static const Sha256 zero;
    uint8_t header[ENTRY_HEADER_LEN];
    header_encode(entry, &zero, header);
    Str attrs = entry->attrs;
    Str extents = entry->extents;
    if (attrs.len == 0 || extents.len == 0) {
        Str tail = attrs.len > 0 ? attrs : extents;
        entry->checksum = sha256_of2(header, sizeof header, tail.ptr, tail.len);
        return;
    }
    AUTO(HashCtx, hash_free) ctx = hash_new(HASH_SHA256);
    hash_update(ctx, header, sizeof header);
    hash_update(ctx, attrs.ptr, attrs.len);
    hash_update(ctx, extents.ptr, extents.len);
    hash_final(ctx, entry->checksum.bytes);
}

void entry_encode_head(const Entry *entry, Enc *enc)
{
    ASSERT(!sha256_is_zero(&entry->checksum)); /* sealed */
    uint8_t header[ENTRY_HEADER_LEN];
    header_encode(entry, &entry->checksum, header);
    enc_bytes(enc, header, sizeof header);
    enc_bytes(enc, entry->attrs.ptr, entry->attrs.len);
    enc_bytes(enc, entry->extents.ptr, entry->extents.len);
}

void entry_encode(const Entry *entry, Enc *enc)
{
    entry_encode_head(entry, enc);
    enc_bytes(enc, entry->inline_body.ptr, entry->inline_body.len);
}

ErrCode entry_check_op(uint64_t op, uint64_t flags, Err *err)
{
    if (op < OP_CREATE) return err_set(err, ERR_CORRUPT, "operation 0");
    if (op > OP_MAX)
        return err_set(err, ERR_FORMAT_VERSION, "operation %" PRIu64 " is of a newer release", op);
    if ((flags & ~(uint64_t)FLAGS_KNOWN) != 0)
        return err_set(err, ERR_FORMAT_VERSION, "flags %#" PRIx64 " are of a newer release", flags);
    return OK;
}

/* The extents' sizes and their sum. */
static ErrCode check_extents(const Entry *entry, Err *err)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < entry->extent_count; i++) {
        Extent extent = extent_at(entry->extents, i);
        if (extent.size == 0 || __builtin_add_overflow(sum, extent.size, &sum))
            return err_set(err, ERR_CORRUPT, "extent %" PRIu32 " of %" PRIu64 " bytes", i,
                           extent.size);
    }
    if (sum != entry->size)
        return err_set(err, ERR_CORRUPT, "extents of %" PRIu64 " bytes, size %" PRIu64, sum,
                       entry->size);
    return OK;
}

/* Body, size, digest, extents and inline bytes agree. */
static ErrCode check_body_fields(const Entry *entry, uint64_t inline_len, Err *err)
{
    bool digest_known = (entry->flags & ENTRY_FLAG_DIGEST_KNOWN) != 0;
    if (!digest_known && !sha256_is_zero(&entry->body_digest))
        return err_set(err, ERR_CORRUPT, "a body digest without its flag");
    if (entry->op != OP_CREATE && entry->op != OP_UPDATE) {
        if (digest_known || entry->size != 0 || inline_len != 0 || entry->extent_count != 0 ||
            !id128_is_zero(entry->body))
            return err_set(err, ERR_CORRUPT, "a body with operation %s", op_name(entry->op));
        return OK;
    }
    if (entry->extent_count != 0) {
        if (inline_len != 0) return err_set(err, ERR_CORRUPT, "extents and an inline body");
        return check_extents(entry, err);
    }
    if (entry->size != inline_len)
        return err_set(err, ERR_CORRUPT, "inline body of %" PRIu64 " bytes, size %" PRIu64,
                       inline_len, entry->size);
    /* Without a digest the checksum would not cover the inline bytes. */
    if (inline_len != 0 && !digest_known)
        return err_set(err, ERR_CORRUPT, "an inline body without a digest");
    return OK;
}

ErrCode entry_check(const Entry *entry, uint64_t inline_len, Err *err)
{
    if (entry->term == 0 || entry->lsn == 0)
        return err_set(err, ERR_CORRUPT, "term %" PRIu32 ", lsn %" PRIu64, entry->term, entry->lsn);
    if (entry->lsn == 1 && !sha256_is_zero(&entry->prev_hash))
        return err_set(err, ERR_CORRUPT, "lsn 1 with an entry before it");
    if ((entry->target.term == 0) != (entry->target.lsn == 0))
        return err_set(err, ERR_CORRUPT, "half a target");
    bool deletes = entry->op == OP_DELETE;
    if (entry->target.lsn != 0 && !deletes && entry->op != OP_META)
        return err_set(err, ERR_CORRUPT, "a target with operation %s", op_name(entry->op));
    bool marker = (entry->flags & ENTRY_FLAG_DELETE_MARKER) != 0;
    bool all = (entry->flags & ENTRY_FLAG_ALL_VERSIONS) != 0;
    bool keep = (entry->flags & ENTRY_FLAG_KEEP_OLDER) != 0;
    bool replaces = entry->op == OP_CREATE && !keep;
    if ((marker && (!deletes || all)) || (all && !deletes && !replaces))
        return err_set(err, ERR_CORRUPT, "flags %#x with operation %s", entry->flags,
                       op_name(entry->op));
    if (!attrs_valid(entry->attrs)) return err_set(err, ERR_CORRUPT, "attributes are malformed");
    return check_body_fields(entry, inline_len, err);
}

/* Lengths as the header tells them: they fill data exactly. */
static ErrCode check_lengths(Str data, uint64_t attrs, uint64_t extents, uint64_t body, Err *err)
{
    if (attrs > ATTRS_MAX || extents > EXTENTS_MAX || body > INLINE_MAX)
        return err_set(err, ERR_CORRUPT,
                       "entry with %" PRIu64 " bytes of attributes, %" PRIu64 " extents, %" PRIu64
                       " bytes of body",
                       attrs, extents, body);
    uint64_t total = ENTRY_HEADER_LEN + attrs + extents * EXTENT_LEN + body;
    if (total != data.len)
        return err_set(err, ERR_CORRUPT, "entry of %" PRIu64 " bytes in %zu", total, data.len);
    return OK;
}

/* SHA-256 of the encoded entry, its checksum field taken as zero, without the inline body. */
static Sha256 checksum_of(Str data, size_t tail_len)
{
    uint8_t header[ENTRY_HEADER_LEN];
    memcpy(header, data.ptr, sizeof header);
    memset(header + CHECKSUM_AT, 0, SHA256_LEN);
    return sha256_of2(header, sizeof header, data.ptr + ENTRY_HEADER_LEN, tail_len);
}

/* Magic and format, which later formats keep in their places. */
static ErrCode check_format(Dec *dec, Err *err)
{
    if (dec->len < ENTRY_HEADER_LEN)
        return err_set(err, ERR_CORRUPT, "entry of only %zu bytes", dec->len);
    if (dec_u32(dec) != ENTRY_MAGIC) return err_set(err, ERR_CORRUPT, "not an entry");
    unsigned format = dec_u16(dec);
    if (format == 0) return err_set(err, ERR_CORRUPT, "entry of format 0");
    if (format > ENTRY_FORMAT)
        return err_set(err, ERR_FORMAT_VERSION, "entry of format %u, up to %d is known", format,
                       ENTRY_FORMAT);
    return OK;
}

/* The fields; *reserved: its reserved bytes. */
static ErrCode entry_fields(Str data, Entry *out, unsigned *op_out, uint64_t *reserved_out,
                            Err *err)
{
    Dec dec = dec_of(data.ptr, data.len);
    TRY(check_format(&dec, err));
    unsigned op = dec_u16(&dec);
    Entry entry = {.flags = dec_u16(&dec)};
    entry.shard = dec_u16(&dec);
    entry.term = dec_u32(&dec);
    entry.lsn = dec_u64(&dec);
    dec_bytes(&dec, entry.record_id.bytes, sizeof entry.record_id.bytes);
    dec_bytes(&dec, entry.file.bytes, sizeof entry.file.bytes);
    entry.bucket = dec_u64(&dec);
    entry.target.lsn = dec_u64(&dec);
    entry.target.term = dec_u32(&dec);
    size_t attrs_len = dec_u32(&dec);
    entry.time_ms = dec_u64(&dec);
    dec_bytes(&dec, entry.body.bytes, sizeof entry.body.bytes);
    entry.size = dec_u64(&dec);
    entry.extent_count = dec_u32(&dec);
    size_t body_len = dec_u32(&dec);
    dec_bytes(&dec, entry.body_digest.bytes, SHA256_LEN);
    dec_bytes(&dec, entry.prev_hash.bytes, SHA256_LEN);
    dec_bytes(&dec, entry.checksum.bytes, SHA256_LEN);
    uint64_t reserved = dec_u64(&dec);
    ASSERT(!dec.failed && dec.pos == ENTRY_HEADER_LEN);

    TRY(check_lengths(data, attrs_len, entry.extent_count, body_len, err));
    entry.attrs = dec_view(&dec, attrs_len);
    entry.extents = dec_view(&dec, (size_t)entry.extent_count * EXTENT_LEN);
    entry.inline_body = dec_view(&dec, body_len);
    ASSERT(dec_done(&dec));
    *out = entry;
    *op_out = op;
    *reserved_out = reserved;
    return OK;
}

/* What the fields say, once they are known to be those that were written. */
static ErrCode entry_judge(Entry *entry, unsigned op, uint64_t reserved, Err *err)
{
    if (reserved != 0) return err_set(err, ERR_CORRUPT, "reserved bytes are not zero");
    TRY(entry_check_op(op, entry->flags, err));
    entry->op = (Op)op;
    return entry_check(entry, entry->inline_body.len, err);
}

ErrCode entry_decode(Str data, bool check_body, Entry *out, Err *err)
{
    Entry entry;
    unsigned op = 0;
    uint64_t reserved = 0;
    TRY(entry_fields(data, &entry, &op, &reserved, err));
    Sha256 checksum = checksum_of(data, entry.attrs.len + entry.extents.len);
    if (!sha256_eq(&checksum, &entry.checksum))
        return err_set(err, ERR_CORRUPT, "checksum of entry %u/%" PRIu64 " is wrong", entry.shard,
                       entry.lsn);
    TRY(entry_judge(&entry, op, reserved, err));
    if (check_body && (entry.flags & ENTRY_FLAG_DIGEST_KNOWN) != 0 && entry.extent_count == 0) {
        Sha256 digest = sha256_of(entry.inline_body.ptr, entry.inline_body.len);
        if (!sha256_eq(&digest, &entry.body_digest))
            return err_set(err, ERR_CORRUPT, "body of entry %u/%" PRIu64 " is not what was written",
                           entry.shard, entry.lsn);
    }
    *out = entry;
    return OK;
}

ErrCode entry_parse(Str data, Entry *out, Err *err)
{
    Entry entry;
    unsigned op = 0;
    uint64_t reserved = 0;
    TRY(entry_fields(data, &entry, &op, &reserved, err));
    TRY(entry_judge(&entry, op, reserved, err));
    *out = entry;
    return OK;
}

static bool target_ends(const Entry *entry, VersionId version, bool null_version)
{
    int order = version_id_cmp(version, entry->target);
    if (order >= 0) return order == 0;
    if ((entry->flags & ENTRY_FLAG_ALL_VERSIONS) != 0) return true;
    return null_version && (entry->flags & ENTRY_FLAG_NULL_VERSION) != 0;
}

bool entry_ends(const Entry *entry, VersionId version, bool null_version)
{
    bool ends_null = null_version && (entry->flags & ENTRY_FLAG_NULL_VERSION) != 0;
    if (entry->op == OP_CREATE || entry->op == OP_UPDATE)
        return (entry->flags & ENTRY_FLAG_KEEP_OLDER) == 0 || ends_null;
    if (entry->op != OP_DELETE) return false;
    if (entry->target.lsn != 0) return target_ends(entry, version, null_version);
    return (entry->flags & ENTRY_FLAG_DELETE_MARKER) == 0 || ends_null;
}

bool entry_makes_null(const Entry *entry)
{
    if ((entry->flags & ENTRY_FLAG_NULL_VERSION) != 0) return true;
    bool write = entry->op == OP_CREATE || entry->op == OP_UPDATE;
    return write && (entry->flags & ENTRY_FLAG_KEEP_OLDER) == 0;
}

Str entry_key(const Entry *entry)
{
    Str key = {0};
    if (!attr_get(entry->attrs, ATTR_KEY, &key)) return (Str){0};
    return key;
}

Extent extent_at(Str extents, uint32_t i)
{
    ASSERT(((size_t)i + 1) * EXTENT_LEN <= extents.len);
    Dec dec = dec_of(extents.ptr + (size_t)i * EXTENT_LEN, EXTENT_LEN);
    Extent extent;
    dec_bytes(&dec, extent.body.bytes, sizeof extent.body.bytes);
    extent.number = dec_u32(&dec);
    extent.size = dec_u64(&dec);
    dec_bytes(&dec, extent.digest.bytes, SHA256_LEN);
    ASSERT(dec_done(&dec));
    return extent;
}

void extent_encode(const Extent *extent, Enc *enc)
{
    enc_bytes(enc, extent->body.bytes, sizeof extent->body.bytes);
    enc_u32(enc, extent->number);
    enc_u64(enc, extent->size);
    enc_bytes(enc, extent->digest.bytes, SHA256_LEN);
}
