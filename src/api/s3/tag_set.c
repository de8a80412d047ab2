#include "api/s3/tag_set.h"

#include <string.h>

#include "text/uri.h"
#include "text/xml.h"

typedef struct {
    Buf *pairs;
    size_t max;
    size_t count;
    TagFault *fault;
    bool has_set; /* TagSet was there */
    bool has_key;
    bool has_value;
    Buf key;
    Buf value;
} Reading;

static ErrCode fail(TagFault *fault, TagFault what, Err *err)
{
    *fault = what;
    return err_set(err, ERR_INVALID, "the tags are not valid");
}

bool tag_set_next(Dec *pairs, Str *key, Str *value)
{
    if (dec_left(pairs) == 0) return false;
    *key = dec_str(pairs);
    *value = dec_str(pairs);
    return !pairs->failed;
}

size_t tag_set_count(Str pairs)
{
    Dec dec = dec_of(pairs.ptr, pairs.len);
    Str key;
    Str value;
    size_t count = 0;
    while (tag_set_next(&dec, &key, &value))
        count++;
    return count;
}

/* Characters that a tag, and XML, can have. */
static bool is_text(Str text)
{
    if (!str_is_utf8(text)) return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7f) return false;
        /* U+FFFE and U+FFFF: ef bf be, ef bf bf */
        if (c == 0xef && i + 2 < text.len && (unsigned char)text.ptr[i + 1] == 0xbf &&
            (unsigned char)text.ptr[i + 2] >= 0xbe)
            return false;
    }
    return true;
}

/* Characters of well-formed UTF-8. */
static size_t count_characters(Str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return count;
}

static ErrCode add(Reading *r, Str key, Str value, Err *err)
{
    Dec dec = dec_of(r->pairs->data, r->pairs->len);
    Str other;
    Str its_value;
    if (!is_text(key) || key.len == 0 || count_characters(key) > TAG_KEY_MAX)
        return fail(r->fault, TAG_FAULT_KEY, err);
    if (!is_text(value) || count_characters(value) > TAG_VALUE_MAX)
        return fail(r->fault, TAG_FAULT_VALUE, err);
    if (str_starts_with(key, STR("aws:"))) return fail(r->fault, TAG_FAULT_SYSTEM, err);
    while (tag_set_next(&dec, &other, &its_value))
        if (str_eq(other, key)) return fail(r->fault, TAG_FAULT_TWICE, err);
    if (++r->count > r->max) return fail(r->fault, TAG_FAULT_MANY, err);
    size_t need = key.len + value.len + 20;
    TRY(buf_reserve(r->pairs, need, err));
    Enc enc = enc_of(r->pairs->data + r->pairs->len, need);
    enc_str(&enc, key);
    enc_str(&enc, value);
    ASSERT(!enc.failed);
    r->pairs->len += enc.len;
    return OK;
}

/* --- XML --- */

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    static const char *const names[] = {"Tagging", "TagSet", "Tag"};
    Reading *r = ctx;
    bool known = depth == 4 ? str_eq(name, STR("Key")) || str_eq(name, STR("Value"))
                            : depth < 4 && str_eq(name, str_from_cstr(names[depth - 1]));
    if (!known || (depth == 2 && r->has_set)) return fail(r->fault, TAG_FAULT_FORM, err);
    if (depth == 2) r->has_set = true;
    if (depth == 3) {
        r->has_key = false;
        r->has_value = false;
    }
    return OK;
}

/* Takes the text of Key or Value, which is there once. */
static ErrCode take(Reading *r, bool *has, Buf *out, Str text, Err *err)
{
    if (*has) return fail(r->fault, TAG_FAULT_FORM, err);
    *has = true;
    buf_clear(out);
    return buf_append_str(out, text, err);
}

static ErrCode on_end(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    Reading *r = ctx;
    if (depth == 4) {
        bool is_key = str_eq(name, STR("Key"));
        return take(r, is_key ? &r->has_key : &r->has_value, is_key ? &r->key : &r->value, text,
                    err);
    }
    if (depth != 3) return OK;
    if (!r->has_key || !r->has_value) return fail(r->fault, TAG_FAULT_FORM, err);
    return add(r, buf_str(&r->key), buf_str(&r->value), err);
}

ErrCode tag_set_read_xml(Str xml, size_t max, Buf *pairs, TagFault *fault, Err *err)
{
    Reading r = {.pairs = pairs, .max = max, .fault = fault};
    XmlHandler handler = {.ctx = &r, .begin = on_begin, .end = on_end};
    ASSERT(pairs->len == 0);
    *fault = TAG_FAULT_NONE;
    buf_init(&r.key, XML_TEXT_MAX);
    buf_init(&r.value, XML_TEXT_MAX);
    ErrCode code = xml_read(xml, &handler, err);
    if (code == OK && !r.has_set) code = fail(fault, TAG_FAULT_FORM, err);
    if (code == ERR_INVALID && *fault == TAG_FAULT_NONE) *fault = TAG_FAULT_FORM;
    buf_deinit(&r.key);
    buf_deinit(&r.value);
    return code;
}

/* --- x-amz-tagging --- */

ErrCode tag_set_read_query(Arena *arena, Str query, size_t max, Buf *pairs, TagFault *fault,
                           Err *err)
{
    Reading r = {.pairs = pairs, .max = max, .fault = fault};
    Str key;
    Str value;
    bool has_value = false;
    ASSERT(pairs->len == 0);
    *fault = TAG_FAULT_NONE;
    while (uri_query_next(&query, &key, &value, &has_value)) {
        ErrCode code = uri_decode(arena, URI_QUERY, key, &key, err);
        if (code == OK) code = uri_decode(arena, URI_QUERY, value, &value, err);
        if (code == ERR_INVALID) return fail(fault, TAG_FAULT_FORM, err);
        TRY(code);
        TRY(add(&r, key, value, err));
    }
    return OK;
}
