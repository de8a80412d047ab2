#include "audit/audit_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text/json.h"

#define START_TEXT "holdfast audit 1 start"
#define SEQ_BEGIN "{\"seq\":"
#define PREV_BEGIN ",\"prev\":\""
#define PREV_END "\"}"
#define HEX_LEN ((size_t)2 * SHA256_LEN)
#define NAME_BEGIN "audit-"
#define NAME_END ".jsonl"
#define MAC_BEGIN ",\"mac\":\""

Sha256 audit_start(const AuditKey *key)
{
    return hmac_sha256(key->bytes, AUDIT_KEY_LEN, START_TEXT, sizeof START_TEXT - 1);
}

Sha256 audit_digest(Str line)
{
    return sha256_of(line.ptr, line.len);
}

ErrCode audit_line_begin(Buf *line, uint64_t seq, Err *err)
{
    return buf_printf(line, err, SEQ_BEGIN "%" PRIu64, seq);
}

ErrCode audit_line_end(Buf *line, const Sha256 *prev, Err *err)
{
    char hex[HEX_LEN + 1];
    hex_encode(prev->bytes, SHA256_LEN, hex);
    TRY(buf_append_str(line, STR(PREV_BEGIN), err));
    TRY(buf_append(line, hex, HEX_LEN, err));
    return buf_append_str(line, STR(PREV_END "\n"), err);
}

/* Takes what s ends in off it: `begin`, 64 hex digits, `end`. */
static bool take_digest(Str *s, Str begin, Str end, Sha256 *out)
{
    size_t tail = begin.len + HEX_LEN + end.len;
    if (s->len < tail) return false;
    Str rest = str_slice(*s, s->len - tail, tail);
    if (!str_starts_with(rest, begin) || !str_ends_with(rest, end)) return false;
    if (!hex_decode(str_slice(rest, begin.len, HEX_LEN), out->bytes, SHA256_LEN)) return false;
    s->len -= tail;
    return true;
}

bool audit_line_parse(Str line, AuditLine *out)
{
    AuditLine parsed;
    if (!take_digest(&line, STR(PREV_BEGIN), STR(PREV_END), &parsed.prev)) return false;
    if (!str_starts_with(line, STR(SEQ_BEGIN))) return false;
    line = str_slice(line, sizeof SEQ_BEGIN - 1, line.len);
    if (!str_to_u64(str_slice(line, 0, str_find_char(line, ',')), UINT64_MAX, &parsed.seq))
        return false;
    if (parsed.seq == 0) return false;
    *out = parsed;
    return true;
}

void audit_file_name(uint64_t number, char out[AUDIT_NAME_SIZE])
{
    snprintf(out, AUDIT_NAME_SIZE, NAME_BEGIN "%012" PRIu64 NAME_END, number); /* fits */
}

bool audit_file_number(const char *name, uint64_t *number)
{
    Str s = str_from_cstr(name);
    char back[AUDIT_NAME_SIZE];
    uint64_t parsed = 0;
    if (!str_starts_with(s, STR(NAME_BEGIN)) || !str_ends_with(s, STR(NAME_END))) return false;
    if (s.len <= sizeof NAME_BEGIN + sizeof NAME_END - 2) return false;
    s = str_slice(s, sizeof NAME_BEGIN - 1, s.len - (sizeof NAME_BEGIN + sizeof NAME_END - 2));
    if (!str_to_u64(s, UINT64_MAX, &parsed) || parsed == 0) return false;
    audit_file_name(parsed, back);
    if (strcmp(back, name) != 0) return false;
    *number = parsed;
    return true;
}

ErrCode audit_anchor_encode(const AuditAnchor *anchor, const AuditKey *key, Buf *out, Err *err)
{
    char first[HEX_LEN + 1];
    char last[HEX_LEN + 1];
    char mac[HEX_LEN + 1];
    hex_encode(anchor->first_prev.bytes, SHA256_LEN, first);
    hex_encode(anchor->last.bytes, SHA256_LEN, last);
    buf_clear(out);
    TRY(buf_printf(out, err,
                   "{\"version\":1,\"first_seq\":%" PRIu64 ",\"first_prev\":\"%s\",\"last_seq\":"
                   "%" PRIu64 ",\"last_sha256\":\"%s\"",
                   anchor->first_seq, first, anchor->last_seq, last));
    Sha256 sum = hmac_sha256(key->bytes, AUDIT_KEY_LEN, out->data, out->len);
    hex_encode(sum.bytes, SHA256_LEN, mac);
    return buf_printf(out, err, MAC_BEGIN "%s\"}\n", mac);
}

static ErrCode get_digest(const json_t *object, const char *name, Sha256 *out, Err *err)
{
    Str hex = {NULL, 0};
    TRY(json_get_str(object, name, &hex, err));
    if (!hex_decode(hex, out->bytes, SHA256_LEN))
        return err_set(err, ERR_INVALID, "%s is no digest", name);
    return OK;
}

static ErrCode parse_anchor(Str text, AuditAnchor *out, Err *err)
{
    AUTO(json_t, json_free) object = NULL;
    uint64_t version = 0;
    TRY(json_parse(text, &object, err));
    TRY(json_get_u64(object, "version", &version, err));
    if (version != 1) return err_set(err, ERR_INVALID, "version %" PRIu64, version);
    TRY(json_get_u64(object, "first_seq", &out->first_seq, err));
    TRY(get_digest(object, "first_prev", &out->first_prev, err));
    TRY(json_get_u64(object, "last_seq", &out->last_seq, err));
    return get_digest(object, "last_sha256", &out->last, err);
}

ErrCode audit_anchor_decode(Str text, const AuditKey *key, AuditAnchor *out, Err *err)
{
    Sha256 mac;
    AuditAnchor anchor = {0};
    Err why = {0};
    if (parse_anchor(text, &anchor, &why) != OK)
        return err_set(err, ERR_CORRUPT, AUDIT_ANCHOR ": %s", err_text(&why));
    if (str_ends_with(text, STR("\n"))) text.len--;
    bool good = take_digest(&text, STR(MAC_BEGIN), STR("\"}"), &mac);
    Sha256 wanted = hmac_sha256(key->bytes, AUDIT_KEY_LEN, text.ptr, text.len);
    if (!good || !sha256_eq(&mac, &wanted))
        return err_set(err, ERR_CORRUPT, AUDIT_ANCHOR " was not written with this key");
    *out = anchor;
    return OK;
}
