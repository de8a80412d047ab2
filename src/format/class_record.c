/* ClassRecord, format 1: u8 format, u8 number, u8 copies, u8 min_isr, u8 mode, u8 require, varints
 * shard_count, created_ms; the rest is attributes of later releases. */
#include "format/class_record.h"

#include "format/attr.h"

#define CLASS_FORMAT 1

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool class_name_valid(Str name)
{
    if (name.len < 1 || name.len > CLASS_NAME_MAX) return false;
    if (!is_alnum(name.ptr[0]) || !is_alnum(name.ptr[name.len - 1])) return false;
    for (size_t i = 0; i < name.len; i++)
        if (!is_alnum(name.ptr[i]) && name.ptr[i] != '-') return false;
    return !str_eq(name, STR("system")) && !str_eq(name, STR("standard"));
}

void class_record_encode(const ClassRecord *record, Enc *enc)
{
    enc_u8(enc, CLASS_FORMAT);
    enc_u8(enc, record->number);
    enc_u8(enc, record->copies);
    enc_u8(enc, record->min_isr);
    enc_u8(enc, (uint8_t)record->mode);
    enc_u8(enc, (uint8_t)record->require);
    enc_varint(enc, record->shard_count);
    enc_varint(enc, record->created_ms);
    enc_bytes(enc, record->extra.ptr, record->extra.len);
}

static bool in_range(uint64_t value, uint64_t least, uint64_t most)
{
    return value >= least && value <= most;
}

ErrCode class_record_decode(Str data, ClassRecord *out, Err *err)
{
    Dec dec = dec_of(data.ptr, data.len);
    unsigned format = dec_u8(&dec);
    ClassRecord record = {.number = dec_u8(&dec)};
    record.copies = dec_u8(&dec);
    record.min_isr = dec_u8(&dec);
    unsigned mode = dec_u8(&dec);
    unsigned require = dec_u8(&dec);
    uint64_t shard_count = dec_varint(&dec);
    record.created_ms = dec_varint(&dec);
    if (format > CLASS_FORMAT)
        return err_set(err, ERR_FORMAT_VERSION, "class of format %u, up to %d is known", format,
                       CLASS_FORMAT);
    if (!dec.failed && (mode > PLACE_ASYNC || require > PLACE_REQUIRE_ALL))
        return err_set(err, ERR_FORMAT_VERSION,
                       "class of mode %u, require %u is of a newer release", mode, require);
    record.extra = dec_view(&dec, dec_left(&dec));
    bool good = !dec.failed && format != 0 && mode != 0 && require != 0 &&
                in_range(record.number, CLASS_NUMBER_FIRST, SHARD_CLASS_MAX) &&
                in_range(record.copies, 1, MEMBERS_MAX) &&
                in_range(record.min_isr, 1, record.copies) &&
                in_range(shard_count, 1, SHARD_NUMBER_MAX + 1) && attrs_valid(record.extra);
    if (!good) return err_set(err, ERR_CORRUPT, "a class's record of %zu bytes", data.len);
    record.shard_count = (uint16_t)shard_count;
    record.mode = (PlaceMode)mode;
    record.require = (PlaceRequire)require;
    *out = record;
    return OK;
}
