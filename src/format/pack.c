/* Pack header, one block (block_priv.h), little endian:
 *
 *     0  magic "HLFPACK1"   8     32  pack number   8
 *     8  format             4     40  time_ms       8
 *    12  reserved, zero     4     48  zeros
 *    16  root uuid         16   4092  crc32c        4
 *
 * Record: u32 magic "HPR1", u8 type, u8 chunk flags, u16 zero, u32 payload length, u32 crc32c,
 * payload, zeros up to a multiple of 8 (not covered, not looked at).
 * Payload: varint core length, core, stored body.
 * Core: u8 op, varint flags, varint fields (CoreField bits: what follows), u16 shard, varint term,
 * varint lsn, [file 16], [bucket u64], [target: varint term, varint lsn], zigzag varint of time_ms
 * minus the file id's milliseconds, [body 16], [varint size], [digest 32], [varint attributes'
 * bytes], [varint extents' count], attributes, extents. A field in [] is there exactly when it is
 * not zero. */
#include "format/pack.h"

#include "base/crc.h"
#include "format/block_priv.h"
#include "format/entry_priv.h"
#include "format/varint_priv.h"
#include <inttypes.h>

#define WHAT "pack header"
#define CRC_AT 12 /* in a record */
#define CORE_HEAD_MAX 160

enum CoreField {
    CORE_FILE = 1 << 0,
    CORE_BUCKET = 1 << 1,
    CORE_TARGET = 1 << 2,
    CORE_BODY = 1 << 3,
    CORE_SIZE = 1 << 4,
    CORE_DIGEST = 1 << 5,
    CORE_ATTRS = 1 << 6,
    CORE_EXTENTS = 1 << 7,
};
#define CORE_FIELDS_KNOWN 0xffu
#define CHUNK_FLAGS_KNOWN (CHUNK_FLAG_ZSTD | CHUNK_FLAG_AES_GCM)

_Static_assert(PACK_HEADER_LEN == BLOCK_LEN, "a header is one block");
_Static_assert(PACK_RECORD_HEADER_LEN == CRC_AT + 4, "the table above");
_Static_assert(CORE_HEAD_MAX + ATTRS_MAX + EXTENTS_MAX * EXTENT_LEN + 2 * INLINE_MAX <=
                   PACK_PAYLOAD_MAX,
               "the largest record fits");

void pack_header_encode(const PackHeader *header, uint8_t out[PACK_HEADER_LEN])
{
    Enc enc = block_begin(out, PACK_MAGIC, PACK_FORMAT);
    enc_u32(&enc, 0);
    enc_bytes(&enc, header->root.bytes, sizeof header->root.bytes);
    enc_u64(&enc, header->number);
    enc_u64(&enc, header->time_ms);
    ASSERT(enc.len == 48);
    block_end(&enc);
}

ErrCode pack_header_decode(Str data, PackHeader *out, Err *err)
{
    Dec dec;
    TRY(block_open(data, PACK_MAGIC, PACK_FORMAT, WHAT, &dec, err));
    if (dec_u32(&dec) != 0) return err_set(err, ERR_CORRUPT, "reserved bytes of the " WHAT);
    PackHeader header;
    dec_bytes(&dec, header.root.bytes, sizeof header.root.bytes);
    header.number = dec_u64(&dec);
    header.time_ms = dec_u64(&dec);
    TRY(block_close(&dec, WHAT, err));
    *out = header;
    return OK;
}

/* CoreField bits of what entry has. */
static unsigned core_fields(const Entry *entry)
{
    unsigned fields = 0;
    if (!id128_is_zero(entry->file)) fields |= CORE_FILE;
    if (entry->bucket != 0) fields |= CORE_BUCKET;
    if (entry->target.lsn != 0) fields |= CORE_TARGET;
    if (!id128_is_zero(entry->body)) fields |= CORE_BODY;
    if (entry->size != 0) fields |= CORE_SIZE;
    if (!sha256_is_zero(&entry->body_digest)) fields |= CORE_DIGEST;
    if (entry->attrs.len != 0) fields |= CORE_ATTRS;
    if (entry->extent_count != 0) fields |= CORE_EXTENTS;
    return fields;
}

/* The core up to its attributes into out; returns its bytes. */
static size_t core_head_encode(const Entry *entry, uint8_t out[CORE_HEAD_MAX])
{
    unsigned fields = core_fields(entry);
    Enc enc = enc_of(out, CORE_HEAD_MAX);
    enc_u8(&enc, (uint8_t)entry->op);
    enc_varint(&enc, entry->flags);
    enc_varint(&enc, fields);
    enc_u16(&enc, entry->shard);
    enc_varint(&enc, entry->term);
    enc_varint(&enc, entry->lsn);
    if ((fields & CORE_FILE) != 0) enc_bytes(&enc, entry->file.bytes, sizeof entry->file.bytes);
    if ((fields & CORE_BUCKET) != 0) enc_u64(&enc, entry->bucket);
    if ((fields & CORE_TARGET) != 0) {
        enc_varint(&enc, entry->target.term);
        enc_varint(&enc, entry->target.lsn);
    }
    enc_varint(&enc, zigzag_delta(entry->time_ms, file_id_created_ms(entry->file)));
    if ((fields & CORE_BODY) != 0) enc_bytes(&enc, entry->body.bytes, sizeof entry->body.bytes);
    if ((fields & CORE_SIZE) != 0) enc_varint(&enc, entry->size);
    if ((fields & CORE_DIGEST) != 0) enc_bytes(&enc, entry->body_digest.bytes, SHA256_LEN);
    if ((fields & CORE_ATTRS) != 0) enc_varint(&enc, entry->attrs.len);
    if ((fields & CORE_EXTENTS) != 0) enc_varint(&enc, entry->extent_count);
    ASSERT(!enc.failed);
    return enc.len;
}

/* A varint that must not be higher than max; fails dec if it is. */
static uint64_t dec_varint_max(Dec *dec, uint64_t max)
{
    uint64_t value = dec_varint(dec);
    if (value <= max) return value;
    dec->failed = true;
    return 0;
}

/* The optional fields of the core; dec fails if they do not fit it. */
static void core_fields_decode(Dec *dec, uint64_t fields, Entry *entry)
{
    if ((fields & CORE_FILE) != 0) dec_bytes(dec, entry->file.bytes, sizeof entry->file.bytes);
    if ((fields & CORE_BUCKET) != 0) entry->bucket = dec_u64(dec);
    if ((fields & CORE_TARGET) != 0) {
        entry->target.term = (Term)dec_varint_max(dec, UINT32_MAX);
        entry->target.lsn = dec_varint(dec);
    }
    entry->time_ms = zigzag_apply(dec_varint(dec), file_id_created_ms(entry->file));
    if ((fields & CORE_BODY) != 0) dec_bytes(dec, entry->body.bytes, sizeof entry->body.bytes);
    if ((fields & CORE_SIZE) != 0) entry->size = dec_varint(dec);
    if ((fields & CORE_DIGEST) != 0) dec_bytes(dec, entry->body_digest.bytes, SHA256_LEN);
    size_t attrs_len = (fields & CORE_ATTRS) != 0 ? dec_varint_max(dec, ATTRS_MAX) : 0;
    if ((fields & CORE_EXTENTS) != 0)
        entry->extent_count = (uint32_t)dec_varint_max(dec, EXTENTS_MAX);
    if (attrs_len > 0) entry->attrs = dec_view(dec, attrs_len);
    if (entry->extent_count > 0)
        entry->extents = dec_view(dec, (size_t)entry->extent_count * EXTENT_LEN);
}

static ErrCode core_decode(Str core, Entry *out, Err *err)
{
    Dec dec = dec_of(core.ptr, core.len);
    unsigned op = dec_u8(&dec);
    uint64_t flags = dec_varint(&dec);
    uint64_t fields = dec_varint(&dec);
    if (dec.failed) return err_set(err, ERR_CORRUPT, "pack entry of %zu bytes", core.len);
    TRY(entry_check_op(op, flags, err));
    if ((fields & ~(uint64_t)CORE_FIELDS_KNOWN) != 0)
        return err_set(err, ERR_FORMAT_VERSION, "fields %#" PRIx64 " are of a newer release",
                       fields);
    Entry entry = {.op = (Op)op, .flags = (uint16_t)flags};
    entry.shard = dec_u16(&dec);
    entry.term = (Term)dec_varint_max(&dec, UINT32_MAX);
    entry.lsn = dec_varint(&dec);
    core_fields_decode(&dec, fields, &entry);
    if (!dec_done(&dec)) return err_set(err, ERR_CORRUPT, "pack entry of %zu bytes", core.len);
    if (core_fields(&entry) != fields)
        return err_set(err, ERR_CORRUPT, "a field of a pack entry is there and zero");
    *out = entry;
    return OK;
}

/* Plain bytes that stand in the pack for the record's entry. */
static uint64_t record_inline_len(const PackRecord *record)
{
    if (record->type != PACK_BODY) return 0;
    return record->chunk_flags == 0 ? record->stored_body.len : record->entry.size;
}

/* Type, operation and body agree. ERR_CORRUPT. */
static ErrCode record_check(const PackRecord *record, Err *err)
{
    const Entry *entry = &record->entry;
    if ((record->type == PACK_TOMBSTONE) != (entry->op == OP_DELETE))
        return err_set(err, ERR_CORRUPT, "operation %s in a pack record of type %d",
                       op_name(entry->op), (int)record->type);
    if (record->type == PACK_BODY) {
        if (entry->extent_count != 0 || entry->size > INLINE_MAX)
            return err_set(err, ERR_CORRUPT, "pack body of %" PRIu64 " bytes, %" PRIu32 " extents",
                           entry->size, entry->extent_count);
    } else if (record->stored_body.len != 0 || record->chunk_flags != 0) {
        return err_set(err, ERR_CORRUPT, "pack record of type %d with a body", (int)record->type);
    }
    return entry_check(entry, record_inline_len(record), err);
}

static size_t core_len(const Entry *entry, size_t head_len)
{
    return head_len + entry->attrs.len + entry->extents.len;
}

static size_t payload_len(const PackRecord *record, size_t head_len)
{
    size_t core = core_len(&record->entry, head_len);
    return varint_len(core) + core + record->stored_body.len;
}

/* A whole record around payload bytes, padded. */
static size_t padded_len(size_t payload)
{
    return ALIGN_UP(PACK_RECORD_HEADER_LEN + payload, (size_t)8);
}

size_t pack_record_len(const PackRecord *record)
{
    uint8_t head[CORE_HEAD_MAX];
    return padded_len(payload_len(record, core_head_encode(&record->entry, head)));
}

void pack_record_encode(const PackRecord *record, Enc *enc)
{
    const Entry *entry = &record->entry;
    ASSERT(record->type >= PACK_BODY && record->type <= PACK_TOMBSTONE);
    ASSERT(entry->extents.len == (size_t)entry->extent_count * EXTENT_LEN);
    uint8_t head[CORE_HEAD_MAX];
    size_t head_len = core_head_encode(entry, head);
    size_t payload = payload_len(record, head_len);
    ASSERT(payload <= PACK_PAYLOAD_MAX);

    size_t start = enc->len;
    enc_u32(enc, PACK_RECORD_MAGIC);
    enc_u8(enc, (uint8_t)record->type);
    enc_u8(enc, record->chunk_flags);
    enc_u16(enc, 0);
    enc_u32(enc, (uint32_t)payload);
    enc_u32(enc, 0);
    enc_varint(enc, core_len(entry, head_len));
    enc_bytes(enc, head, head_len);
    enc_bytes(enc, entry->attrs.ptr, entry->attrs.len);
    enc_bytes(enc, entry->extents.ptr, entry->extents.len);
    enc_bytes(enc, record->stored_body.ptr, record->stored_body.len);
    if (enc->failed) return;
    ASSERT(enc->len - start == PACK_RECORD_HEADER_LEN + payload);
    put_u32(enc->data + start + CRC_AT, crc32c(enc->data + start, enc->len - start));
    enc_zeros(enc, padded_len(payload) - (enc->len - start));
}

/* CRC32C of the record with its field zero; data holds header and payload. */
static uint32_t record_crc(Str data)
{
    static const uint8_t zeros[4];
    uint32_t crc = crc32c(data.ptr, CRC_AT);
    crc = crc32c_more(crc, zeros, sizeof zeros);
    return crc32c_more(crc, data.ptr + PACK_RECORD_HEADER_LEN, data.len - PACK_RECORD_HEADER_LEN);
}

size_t pack_record_peek(Str data)
{
    if (data.len < PACK_RECORD_HEADER_LEN || get_u32(data.ptr) != PACK_RECORD_MAGIC) return 0;
    uint32_t payload = get_u32(data.ptr + 8);
    return payload <= PACK_PAYLOAD_MAX ? padded_len(payload) : 0;
}

/* Splits the payload: entry and body of *record, whose type and chunk flags are set. */
static ErrCode payload_decode(Str payload, PackRecord *record, Err *err)
{
    Dec dec = dec_of(payload.ptr, payload.len);
    Str core = dec_str(&dec);
    if (dec.failed) return err_set(err, ERR_CORRUPT, "pack record of %zu bytes", payload.len);
    TRY(core_decode(core, &record->entry, err));
    record->stored_body = dec_view(&dec, dec_left(&dec));
    TRY(record_check(record, err));
    if (record->chunk_flags == 0) record->entry.inline_body = record->stored_body;
    return OK;
}

ErrCode pack_record_decode(Str data, PackRecord *out, size_t *total, Err *err)
{
    if (data.len < 4 || get_u32(data.ptr) != PACK_RECORD_MAGIC)
        return err_set(err, ERR_END, "no pack record begins here");
    size_t padded = pack_record_peek(data);
    if (padded == 0 || padded > data.len)
        return err_set(err, ERR_CORRUPT, "pack record of %zu bytes in %zu", padded, data.len);
    Dec dec = dec_of(data.ptr + 4, PACK_RECORD_HEADER_LEN - 4); /* behind the magic */
    unsigned type = dec_u8(&dec);
    PackRecord record = {.chunk_flags = dec_u8(&dec)};
    unsigned reserved = dec_u16(&dec);
    size_t payload = dec_u32(&dec);
    uint32_t crc = dec_u32(&dec);
    ASSERT(dec_done(&dec));
    if (record_crc(str_slice(data, 0, PACK_RECORD_HEADER_LEN + payload)) != crc)
        return err_set(err, ERR_CORRUPT, "checksum of the pack record is wrong");

    if (type == 0 || reserved != 0)
        return err_set(err, ERR_CORRUPT, "pack record of type %u, reserved %#x", type, reserved);
    if (type > PACK_TOMBSTONE || (record.chunk_flags & ~(unsigned)CHUNK_FLAGS_KNOWN) != 0)
        return err_set(err, ERR_FORMAT_VERSION,
                       "pack record of type %u, flags %#x is of a newer release", type,
                       record.chunk_flags);
    record.type = (PackType)type;
    TRY(payload_decode(str_slice(data, PACK_RECORD_HEADER_LEN, payload), &record, err));
    *out = record;
    *total = padded;
    return OK;
}
