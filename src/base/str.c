#include "base/str.h"

#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

Str str_from_cstr(const char *text)
{
    return text == NULL ? (Str){NULL, 0} : (Str){text, strlen(text)};
}

bool str_eq(Str a, Str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eq_nocase(Str a, Str b)
{
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.ptr[i]) != lower(b.ptr[i])) return false;
    }
    return true;
}

int str_cmp(Str a, Str b)
{
    size_t common = MIN(a.len, b.len);
    int order = common == 0 ? 0 : memcmp(a.ptr, b.ptr, common);
    if (order != 0) return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts_with(Str s, Str prefix)
{
    return s.len >= prefix.len && str_eq(str_slice(s, 0, prefix.len), prefix);
}

bool str_ends_with(Str s, Str suffix)
{
    return s.len >= suffix.len && str_eq(str_slice(s, s.len - suffix.len, suffix.len), suffix);
}

Str str_slice(Str s, size_t from, size_t len)
{
    if (from >= s.len) return (Str){s.len == 0 ? s.ptr : s.ptr + s.len, 0};
    return (Str){s.ptr + from, MIN(len, s.len - from)};
}

size_t str_find_char(Str s, char c)
{
    if (s.len == 0) return 0;
    const char *found = memchr(s.ptr, c, s.len);
    return found == NULL ? s.len : (size_t)(found - s.ptr);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

Str str_trim(Str s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = str_slice(s, 1, s.len - 1);
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool str_split(Str s, char sep, Str *head, Str *tail)
{
    size_t at = str_find_char(s, sep);
    *head = str_slice(s, 0, at);
    *tail = str_slice(s, at + 1, s.len);
    return at < s.len;
}

bool str_to_u64(Str s, uint64_t max, uint64_t *out)
{
    if (s.len < 1 || s.len > 20) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_add_overflow(value, digit, &value)) return false;
    }
    if (value > max) return false;
    *out = value;
    return true;
}

bool str_to_cstr(Str s, char *out, size_t size)
{
    ASSERT(size >= 1);
    out[0] = '\0';
    if (s.len >= size || str_find_char(s, '\0') != s.len) return false;
    if (s.len > 0) memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return true;
}

size_t str_utf8_len(Str s)
{
    if (s.len == 0) return 0;
    const uint8_t *p = (const uint8_t *)s.ptr;
    if (p[0] < 0x80) return 1;
    /* Unicode 15, table 3-7: the second byte's range shuts out overlong forms and surrogates. */
    size_t len;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        if (p[0] == 0xe0) low = 0xa0;
        if (p[0] == 0xed) high = 0x9f;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        if (p[0] == 0xf0) low = 0x90;
        if (p[0] == 0xf4) high = 0x8f;
    } else {
        return 0;
    }
    if (s.len < len || p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    return len;
}

bool str_is_utf8(Str s)
{
    while (s.len > 0) {
        size_t len = str_utf8_len(s);
        if (len == 0) return false;
        s = str_slice(s, len, s.len);
    }
    return true;
}

bool str_eq_secret(Str a, Str b)
{
    if (a.len != b.len) return false;
    volatile uint8_t differ = 0; /* volatile: the loop may not end early */
    for (size_t i = 0; i < a.len; i++)
        differ |= (uint8_t)(a.ptr[i] ^ b.ptr[i]);
    return differ == 0;
}

void hex_encode(const uint8_t *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(Str hex, uint8_t *out, size_t len)
{
    if (hex.len / 2 != len || hex.len % 2 != 0) return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(hex.ptr[2 * i]);
        int low = hex_value(hex.ptr[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
