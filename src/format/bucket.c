/* BucketRecord, format 1: u8 format, u8 phase, u8 versioning, u8 placement class, u64 uid, varints
 * created_ms, quota_bytes, quota_files; the rest is attributes of later releases. */
#include "format/bucket.h"

#include "format/attr.h"
#include <inttypes.h>

#define BUCKET_FORMAT 1

void bucket_record_encode(const BucketRecord *record, Enc *enc)
{
    ASSERT(record->uid > BUCKET_UID_UPLOADS);
    ASSERT(record->placement_class >= 1 && record->placement_class <= SHARD_CLASS_MAX);
    enc_u8(enc, BUCKET_FORMAT);
    enc_u8(enc, (uint8_t)record->phase);
    enc_u8(enc, (uint8_t)record->versioning);
    enc_u8(enc, record->placement_class);
    enc_u64(enc, record->uid);
    enc_varint(enc, record->created_ms);
    enc_varint(enc, record->quota_bytes);
    enc_varint(enc, record->quota_files);
    enc_bytes(enc, record->extra.ptr, record->extra.len);
}

ErrCode bucket_set_writes(Buf *extra, PlaceMode mode, PlaceRequire require, Err *err)
{
    uint8_t bytes[2] = {(uint8_t)mode, (uint8_t)require};
    bool usual = mode == PLACE_SYNC && require == PLACE_REQUIRE_IN_SYNC;
    Str value = usual ? (Str){NULL, 0} : str_of(bytes, sizeof bytes);
    return attr_set(extra, ATTR_BUCKET_WRITES, value, err);
}

/* What extra says of writes; nothing: as buckets are that nobody told otherwise. */
static ErrCode decode_writes(BucketRecord *record, Err *err)
{
    Str value;
    record->mode = PLACE_SYNC;
    record->require = PLACE_REQUIRE_IN_SYNC;
    if (!attr_get(record->extra, ATTR_BUCKET_WRITES, &value)) return OK;
    Dec dec = dec_of(value.ptr, value.len);
    unsigned mode = dec_u8(&dec);
    unsigned require = dec_u8(&dec);
    if (dec.failed || mode == 0 || require == 0)
        return err_set(err, ERR_CORRUPT, "writes of a bucket in %zu bytes", value.len);
    if (mode > PLACE_ASYNC || require > PLACE_REQUIRE_ALL)
        return err_set(err, ERR_FORMAT_VERSION,
                       "bucket whose writes are of mode %u, require %u is of a newer release", mode,
                       require);
    record->mode = (PlaceMode)mode;
    record->require = (PlaceRequire)require;
    return OK;
}

ErrCode bucket_record_decode(Str data, BucketRecord *out, Err *err)
{
    Dec dec = dec_of(data.ptr, data.len);
    unsigned format = dec_u8(&dec);
    unsigned phase = dec_u8(&dec);
    unsigned versioning = dec_u8(&dec);
    BucketRecord record = {.placement_class = dec_u8(&dec)};
    record.uid = dec_u64(&dec);
    record.created_ms = dec_varint(&dec);
    record.quota_bytes = dec_varint(&dec);
    record.quota_files = dec_varint(&dec);
    if (format > BUCKET_FORMAT)
        return err_set(err, ERR_FORMAT_VERSION, "bucket of format %u, up to %d is known", format,
                       BUCKET_FORMAT);
    if (dec.failed || format == 0 || phase == 0)
        return err_set(err, ERR_CORRUPT, "bucket record of %zu bytes", data.len);
    if (phase > BUCKET_CLOSING || versioning > VERSIONING_SUSPENDED)
        return err_set(err, ERR_FORMAT_VERSION,
                       "bucket of phase %u, versioning %u is of a newer release", phase,
                       versioning);
    if (record.uid <= BUCKET_UID_UPLOADS || record.placement_class == 0 ||
        record.placement_class > SHARD_CLASS_MAX)
        return err_set(err, ERR_CORRUPT, "bucket %" PRIu64 " of class %u", record.uid,
                       record.placement_class);
    record.phase = (BucketPhase)phase;
    record.versioning = (Versioning)versioning;
    record.extra = dec_view(&dec, dec_left(&dec));
    if (!attrs_valid(record.extra)) return err_set(err, ERR_CORRUPT, "attributes are malformed");
    TRY(decode_writes(&record, err));
    *out = record;
    return OK;
}
