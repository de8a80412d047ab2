#include "text/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t len, char *out)
{
    const uint8_t *in = data;
    size_t i = 0;
    for (; len - i >= 3; i += 3) {
        uint32_t bits = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = alphabet[bits >> 6 & 63];
        *out++ = alphabet[bits & 63];
    }
    if (len - i == 1) {
        *out++ = alphabet[in[i] >> 2];
        *out++ = alphabet[(in[i] & 3) << 4];
        *out++ = '=';
        *out++ = '=';
    } else if (len - i == 2) {
        *out++ = alphabet[in[i] >> 2];
        *out++ = alphabet[(in[i] & 3) << 4 | in[i + 1] >> 4];
        *out++ = alphabet[(in[i + 1] & 15) << 2];
        *out++ = '=';
    }
    *out = '\0';
}

/* The value of one character, or -1. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

bool base64_decode(Str text, uint8_t *out, size_t capacity, size_t *len)
{
    if (text.len % 4 != 0) return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.len && text.ptr[text.len - 1 - padding] == '=')
        padding++;
    size_t size = text.len / 4 * 3 - padding;
    if (size > capacity) return false;
    size_t at = 0;
    uint32_t bits = 0;
    unsigned have = 0; /* bits in hand, < 8 after each round */
    for (size_t i = 0; i < text.len - padding; i++) {
        int value = value_of(text.ptr[i]);
        if (value < 0) return false;
        bits = (bits << 6 | (uint32_t)value) & 0xffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[at++] = (uint8_t)(bits >> have);
        }
    }
    if ((bits & ((1u << have) - 1)) != 0) return false;
    ASSERT(at == size);
    *len = size;
    return true;
}
