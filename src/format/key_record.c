/* KeyRecord, format 1: u8 format, strings secret, label, varints created_ms, expires_ms, number of
 * grants, and of each u8 rights, strings bucket, prefix; the rest is attributes of later releases.
 */
#include "format/key_record.h"

#include "format/attr.h"

#define KEY_RECORD_FORMAT 1

bool key_label_valid(Str label)
{
    if (label.len == 0 || label.len > KEY_LABEL_MAX || !key_valid(label)) return false;
    for (size_t i = 0; i < label.len; i++)
        if ((unsigned char)label.ptr[i] < 0x20 || label.ptr[i] == 0x7f) return false;
    return true;
}

bool key_grant_valid(const KeyGrant *grant)
{
    if (!str_eq(grant->bucket, STR("*")) && !bucket_name_valid(grant->bucket)) return false;
    return grant->prefix.len == 0 || key_valid(grant->prefix);
}

void key_record_encode(const KeyRecord *record, Enc *enc)
{
    ASSERT(record->grant_count <= KEY_GRANTS_MAX);
    enc_u8(enc, KEY_RECORD_FORMAT);
    enc_str(enc, record->secret);
    enc_str(enc, record->label);
    enc_varint(enc, record->created_ms);
    enc_varint(enc, record->expires_ms);
    enc_varint(enc, record->grant_count);
    for (size_t i = 0; i < record->grant_count; i++) {
        const KeyGrant *grant = &record->grants[i];
        enc_u8(enc, grant->rights);
        enc_str(enc, grant->bucket);
        enc_str(enc, grant->prefix);
    }
    enc_bytes(enc, record->extra.ptr, record->extra.len);
}

static bool decode_grants(Dec *dec, uint64_t count, KeyRecord *out)
{
    if (dec->failed || count > KEY_GRANTS_MAX) return false;
    for (size_t i = 0; i < count; i++) {
        KeyGrant *grant = &out->grants[i];
        grant->rights = dec_u8(dec);
        grant->bucket = dec_str(dec);
        grant->prefix = dec_str(dec);
        if (dec->failed || !key_grant_valid(grant)) return false;
    }
    out->grant_count = (size_t)count;
    return true;
}

ErrCode key_record_decode(Str data, KeyRecord *out, Err *err)
{
    Dec dec = dec_of(data.ptr, data.len);
    unsigned format = dec_u8(&dec);
    KeyRecord record = {.secret = dec_str(&dec)};
    record.label = dec_str(&dec);
    record.created_ms = dec_varint(&dec);
    record.expires_ms = dec_varint(&dec);
    uint64_t count = dec_varint(&dec);
    if (format > KEY_RECORD_FORMAT)
        return err_set(err, ERR_FORMAT_VERSION, "key of format %u, up to %d is known", format,
                       KEY_RECORD_FORMAT);
    bool good = format != 0 && decode_grants(&dec, count, &record);
    record.extra = dec_view(&dec, dec_left(&dec));
    good = good && record.secret.len > 0 && record.secret.len <= KEY_SECRET_STORED_MAX &&
           key_label_valid(record.label) && attrs_valid(record.extra);
    if (!good) return err_set(err, ERR_CORRUPT, "a key's record of %zu bytes", data.len);
    *out = record;
    return OK;
}
