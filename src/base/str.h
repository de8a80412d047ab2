/* Str: a view of bytes by value; owns nothing, is not terminated, may hold any byte. Object keys
 * are Strs, never C strings. No state, any thread. */
#ifndef HOLDFAST_BASE_STR_H
#define HOLDFAST_BASE_STR_H

#include "base/err.h"

typedef struct {
    const char *ptr; /* may be NULL if len is 0 */
    size_t len;      /* bytes */
} Str;

/* For printf: printf("%.*s", STR_ARG(s)); */
#define STR_ARG(s) (int)(s).len, (s).ptr
/* A Str of a string literal; usable in static initializers as STR_INIT. */
#define STR(literal) ((Str){(literal), sizeof(literal) - 1})
#define STR_INIT(literal)                                                                          \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static inline Str str_of(const void *ptr, size_t len)
{
    return (Str){(const char *)ptr, len};
}
Str str_from_cstr(const char *text); /* NULL gives the empty Str */
bool str_eq(Str a, Str b);
bool str_eq_nocase(Str a, Str b); /* ASCII only */
/* Bytewise like memcmp, a prefix sorts first: <0, 0, >0. */
int str_cmp(Str a, Str b);
bool str_starts_with(Str s, Str prefix);
bool str_ends_with(Str s, Str suffix);
/* Bytes from..from+len of s, both clamped to s. */
Str str_slice(Str s, size_t from, size_t len);
/* Index of the first byte c, or s.len. */
size_t str_find_char(Str s, char c);
/* Without spaces and tabs at both ends. */
Str str_trim(Str s);
/* Splits at the first sep: *head before it, *tail after it; false (head = s, tail
 * empty) without. */
bool str_split(Str s, char sep, Str *head, Str *tail);
/* Decimal digits only, no sign, no spaces, 1..20 digits: false if not, or beyond max. */
bool str_to_u64(Str s, uint64_t max, uint64_t *out);
/* Copies s and a NUL into out[size]; false (out = "") if it does not fit or holds a NUL. */
bool str_to_cstr(Str s, char *out, size_t size);
/* Well-formed UTF-8 (no surrogates, no overlong forms, ≤ U+10FFFF). */
bool str_is_utf8(Str s);
/* Bytes (1..4) of the well-formed character that s begins with; 0 if it begins with none. */
size_t str_utf8_len(Str s);
/* Equal in time that depends on the lengths only. For secrets. */
bool str_eq_secret(Str a, Str b);
/* 2*len lower-case hex digits and a NUL into out. */
void hex_encode(const uint8_t *data, size_t len, char *out);
/* Exactly 2*len hex digits of either case; false otherwise, out then undefined. */
bool hex_decode(Str hex, uint8_t *out, size_t len);

#endif
