/* UploadRecord, format 1: u8 format, u8 flags, u64 bucket, varints length, expires_ms, strings key,
 * owner, attributes of the file, metadata, state of the SHA-256; with FLAG_PARTS u8 checksum, u8 1
 * if that is of all bytes; the rest is attributes of later releases. */
#include "format/upload.h"

#include <stdio.h>

#include "format/attr.h"

#define UPLOAD_FORMAT 1

enum { FLAG_HAS_LENGTH = 1 << 0, FLAG_CREATE_ONLY = 1 << 1, FLAG_PARTS = 1 << 2 };
#define FLAGS_KNOWN (FLAG_HAS_LENGTH | FLAG_CREATE_ONLY | FLAG_PARTS)

void upload_part_key(FileId upload, unsigned number, char out[UPLOAD_PART_KEY_LEN + 1])
{
    ASSERT(number >= 1 && number <= UPLOAD_PART_MAX);
    id128_text(upload, out);
    snprintf(out + ID128_TEXT_LEN, UPLOAD_PART_KEY_LEN - ID128_TEXT_LEN + 1, "/%05u", number);
}

unsigned upload_part_number(Str key)
{
    uint64_t number = 0;
    bool good = key.len == UPLOAD_PART_KEY_LEN && key.ptr[ID128_TEXT_LEN] == '/' &&
                str_to_u64(str_slice(key, ID128_TEXT_LEN + 1, key.len), UPLOAD_PART_MAX, &number);
    return good ? (unsigned)number : 0;
}

void upload_record_encode(const UploadRecord *record, Enc *enc)
{
    ASSERT(record->bucket > BUCKET_UID_UPLOADS);
    ASSERT(record->has_length || record->length == 0);
    unsigned flags = (record->has_length ? FLAG_HAS_LENGTH : 0u) |
                     (record->create_only ? FLAG_CREATE_ONLY : 0u) |
                     (record->parts ? FLAG_PARTS : 0u);
    enc_u8(enc, UPLOAD_FORMAT);
    enc_u8(enc, (uint8_t)flags);
    enc_u64(enc, record->bucket);
    enc_varint(enc, record->length);
    enc_varint(enc, record->expires_ms);
    enc_str(enc, record->key);
    enc_str(enc, record->owner);
    enc_str(enc, record->attrs);
    enc_str(enc, record->metadata);
    enc_str(enc, record->hash);
    if (record->parts) {
        enc_u8(enc, record->checksum);
        enc_u8(enc, record->full_object);
    }
    enc_bytes(enc, record->extra.ptr, record->extra.len);
}

ErrCode upload_record_decode(Str data, UploadRecord *out, Err *err)
{
    Dec dec = dec_of(data.ptr, data.len);
    unsigned format = dec_u8(&dec);
    unsigned flags = dec_u8(&dec);
    UploadRecord record = {.bucket = dec_u64(&dec)};
    record.length = dec_varint(&dec);
    record.expires_ms = dec_varint(&dec);
    record.key = dec_str(&dec);
    record.owner = dec_str(&dec);
    record.attrs = dec_str(&dec);
    record.metadata = dec_str(&dec);
    record.hash = dec_str(&dec);
    record.parts = (flags & FLAG_PARTS) != 0;
    unsigned full_object = 0;
    if (record.parts) {
        record.checksum = dec_u8(&dec);
        full_object = dec_u8(&dec);
    }
    if (format > UPLOAD_FORMAT)
        return err_set(err, ERR_FORMAT_VERSION, "upload of format %u, up to %d is known", format,
                       UPLOAD_FORMAT);
    if (dec.failed || format == 0)
        return err_set(err, ERR_CORRUPT, "upload record of %zu bytes", data.len);
    if ((flags & ~(unsigned)FLAGS_KNOWN) != 0)
        return err_set(err, ERR_FORMAT_VERSION, "flags %#x of an upload are of a newer release",
                       flags);
    record.has_length = (flags & FLAG_HAS_LENGTH) != 0;
    record.create_only = (flags & FLAG_CREATE_ONLY) != 0;
    record.full_object = full_object == 1;
    record.extra = dec_view(&dec, dec_left(&dec));
    bool good = record.bucket > BUCKET_UID_UPLOADS && key_valid(record.key) &&
                (record.has_length || record.length == 0) && attrs_valid(record.attrs) &&
                attrs_valid(record.extra) && full_object <= 1;
    if (!good) return err_set(err, ERR_CORRUPT, "an upload record is malformed");
    *out = record;
    return OK;
}
