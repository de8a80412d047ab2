/* Footer, one block (block_priv.h), little endian:
 *
 *     0  magic "HLFBLOB1"   8     68  crc32c of the table     4
 *     8  format             4     72  SHA-256, plain bytes   32
 *    12  extent             4    104  time_ms                 8
 *    16  body id           16    112  shard                   2
 *    32  bucket uid         8    114  reserved, zero          2
 *    40  plain size         8    116  attributes, bytes       4
 *    48  stored size        8    120  attributes, then zeros
 *    56  chunk count        8   4092  crc32c                  4
 *    64  chunk size         4
 *
 * Chunk row, 28 bytes: u32 stored length, u8 flags, 3 zeros, u32 crc32c, 16 bytes tag. */
#include "format/blob_file.h"

#include "format/block_priv.h"
#include "format/pack.h"
#include <inttypes.h>
#include <string.h>

#define WHAT "blob footer"

_Static_assert(BLOB_FOOTER_LEN == BLOCK_LEN, "a footer is one block");
_Static_assert(120 + BLOB_FOOTER_ATTRS_MAX + 4 <= BLOB_FOOTER_LEN, "the table above");
_Static_assert(BLOB_CHUNK_ROW_LEN == 4 + 1 + 3 + 4 + 16, "the row above");

/* The first attributes, as many as fit whole. */
static Str attrs_that_fit(Str attrs)
{
    size_t fits = 0;
    size_t pos = 0;
    Attr attr;
    while (attr_next(attrs, &pos, &attr) && pos <= BLOB_FOOTER_ATTRS_MAX)
        fits = pos;
    return str_slice(attrs, 0, fits);
}

void blob_footer_encode(const BlobFooter *footer, uint8_t out[BLOB_FOOTER_LEN])
{
    Str attrs = attrs_that_fit(footer->attrs);
    Enc enc = block_begin(out, BLOB_MAGIC, BLOB_FORMAT);
    enc_u32(&enc, footer->extent);
    enc_bytes(&enc, footer->body.bytes, sizeof footer->body.bytes);
    enc_u64(&enc, footer->bucket);
    enc_u64(&enc, footer->plain_size);
    enc_u64(&enc, footer->stored_size);
    enc_u64(&enc, footer->chunk_count);
    enc_u32(&enc, footer->chunk_size);
    enc_u32(&enc, footer->table_crc);
    enc_bytes(&enc, footer->digest.bytes, SHA256_LEN);
    enc_u64(&enc, footer->time_ms);
    enc_u16(&enc, footer->shard);
    enc_u16(&enc, 0);
    enc_u32(&enc, (uint32_t)attrs.len);
    ASSERT(enc.len == 120);
    enc_bytes(&enc, attrs.ptr, attrs.len);
    block_end(&enc);
}

/* The sizes agree, so that offsets computed from them lie in the file and nothing overflows. */
static ErrCode footer_check(const BlobFooter *footer, Err *err)
{
    uint64_t chunk = footer->chunk_size;
    if (chunk < CHUNK_SIZE_MIN || chunk > CHUNK_SIZE_MAX || chunk % 4096 != 0)
        return err_set(err, ERR_CORRUPT, "chunks of %" PRIu64 " bytes", chunk);
    if (footer->plain_size > EXTENT_SIZE_MAX || footer->stored_size > footer->plain_size)
        return err_set(err, ERR_CORRUPT, "extent of %" PRIu64 " bytes, stored in %" PRIu64,
                       footer->plain_size, footer->stored_size);
    if (footer->chunk_count != (footer->plain_size + chunk - 1) / chunk)
        return err_set(err, ERR_CORRUPT, "%" PRIu64 " chunks of %" PRIu64 " bytes for %" PRIu64,
                       footer->chunk_count, chunk, footer->plain_size);
    return OK;
}

ErrCode blob_footer_decode(Str data, BlobFooter *out, Err *err)
{
    Dec dec;
    TRY(block_open(data, BLOB_MAGIC, BLOB_FORMAT, WHAT, &dec, err));
    BlobFooter footer = {.extent = dec_u32(&dec)};
    dec_bytes(&dec, footer.body.bytes, sizeof footer.body.bytes);
    footer.bucket = dec_u64(&dec);
    footer.plain_size = dec_u64(&dec);
    footer.stored_size = dec_u64(&dec);
    footer.chunk_count = dec_u64(&dec);
    footer.chunk_size = dec_u32(&dec);
    footer.table_crc = dec_u32(&dec);
    dec_bytes(&dec, footer.digest.bytes, SHA256_LEN);
    footer.time_ms = dec_u64(&dec);
    footer.shard = dec_u16(&dec);
    unsigned reserved = dec_u16(&dec);
    size_t attrs_len = dec_u32(&dec);
    if (reserved != 0) return err_set(err, ERR_CORRUPT, "reserved bytes of the " WHAT);
    if (attrs_len > BLOB_FOOTER_ATTRS_MAX)
        return err_set(err, ERR_CORRUPT, WHAT " with %zu bytes of attributes", attrs_len);
    footer.attrs = dec_view(&dec, attrs_len);
    TRY(block_close(&dec, WHAT, err));
    if (!attrs_valid(footer.attrs)) return err_set(err, ERR_CORRUPT, "attributes are malformed");
    TRY(footer_check(&footer, err));
    *out = footer;
    return OK;
}

void chunk_row_encode(const ChunkRow *row, Enc *enc)
{
    enc_u32(enc, row->stored_len);
    enc_u8(enc, row->flags);
    enc_zeros(enc, 3);
    enc_u32(enc, row->crc);
    enc_bytes(enc, row->tag, sizeof row->tag);
}

bool chunk_row_decode(Dec *dec, ChunkRow *out)
{
    static const uint8_t zeros[16];
    ChunkRow row = {.stored_len = dec_u32(dec)};
    row.flags = dec_u8(dec);
    uint8_t reserved[3];
    dec_bytes(dec, reserved, sizeof reserved);
    row.crc = dec_u32(dec);
    dec_bytes(dec, row.tag, sizeof row.tag);
    if (dec->failed || memcmp(reserved, zeros, sizeof reserved) != 0) return false;
    if (row.stored_len == 0 || row.stored_len > CHUNK_SIZE_MAX) return false;
    if ((row.flags & ~(unsigned)(CHUNK_FLAG_ZSTD | CHUNK_FLAG_AES_GCM)) != 0) return false;
    bool has_tag = memcmp(row.tag, zeros, sizeof row.tag) != 0;
    if (has_tag && (row.flags & CHUNK_FLAG_AES_GCM) == 0) return false;
    *out = row;
    return true;
}
