#include "format/attr.h"

#include <string.h>

/* Stored form: varint type (from 1), varint length, the bytes; types rise. */

/* Reads the attribute at dec; dec fails on malformed bytes. */
static Attr attr_read(Dec *dec)
{
    uint64_t type = dec_varint(dec);
    Str value = dec_str(dec);
    return (Attr){.type = type, .value = value};
}

bool attr_next(Str attrs, size_t *pos, Attr *out)
{
    if (*pos >= attrs.len) return false;
    Dec dec = dec_of(attrs.ptr + *pos, attrs.len - *pos);
    Attr attr = attr_read(&dec);
    if (dec.failed) return false;
    *pos += dec.pos;
    *out = attr;
    return true;
}

bool attrs_valid(Str attrs)
{
    if (attrs.len > ATTRS_MAX) return false;
    if (attrs.len == 0) return true;
    Dec dec = dec_of(attrs.ptr, attrs.len);
    uint64_t last = 0;
    while (dec_left(&dec) > 0) {
        Attr attr = attr_read(&dec);
        if (dec.failed || attr.type <= last) return false;
        last = attr.type;
    }
    return dec_done(&dec);
}

bool attr_get(Str attrs, uint64_t type, Str *value)
{
    size_t pos = 0;
    Attr attr;
    while (attr_next(attrs, &pos, &attr)) {
        if (attr.type > type) return false;
        if (attr.type == type) {
            *value = attr.value;
            return true;
        }
    }
    return false;
}

bool attr_get_varint(Str attrs, uint64_t type, uint64_t *value)
{
    Str bytes;
    if (!attr_get(attrs, type, &bytes)) return false;
    Dec dec = dec_of(bytes.ptr, bytes.len);
    uint64_t number = dec_varint(&dec);
    if (!dec_done(&dec)) return false;
    *value = number;
    return true;
}

ErrCode attr_set(Buf *attrs, uint64_t type, Str value, Err *err)
{
    ASSERT(type >= 1);
    ASSERT(attrs_valid(buf_str(attrs)));
    /* The stretch [start, end) that the new attribute takes the place of. */
    size_t start = 0;
    size_t end = 0;
    Attr attr;
    while (attr_next(buf_str(attrs), &end, &attr)) {
        if (attr.type == type) break;
        if (attr.type > type) {
            end = start;
            break;
        }
        start = end;
    }

    uint8_t head[20];
    Enc enc = enc_of(head, sizeof head);
    size_t value_len = 0;
    if (value.ptr != NULL) {
        enc_varint(&enc, type);
        enc_varint(&enc, value.len);
        value_len = value.len;
    }
    ASSERT(!enc.failed);

    size_t old_len = end - start;
    size_t kept = attrs->len - old_len;
    if (value_len > ATTRS_MAX || kept + enc.len + value_len > ATTRS_MAX)
        return err_set(err, ERR_TOO_BIG, "attributes of more than %d bytes", ATTRS_MAX);
    size_t new_len = enc.len + value_len;
    if (new_len > old_len) TRY(buf_reserve(attrs, new_len - old_len, err));
    if (attrs->data == NULL) return OK; /* nothing there, nothing to set */
    memmove(attrs->data + start + new_len, attrs->data + end, attrs->len - end);
    memcpy(attrs->data + start, head, enc.len);
    if (value_len > 0) memcpy(attrs->data + start + enc.len, value.ptr, value_len);
    attrs->len = kept + new_len;
    return OK;
}

ErrCode attr_set_varint(Buf *attrs, uint64_t type, uint64_t value, Err *err)
{
    uint8_t bytes[10];
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_varint(&enc, value);
    ASSERT(!enc.failed);
    return attr_set(attrs, type, str_of(bytes, enc.len), err);
}
