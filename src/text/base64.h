/* Base64 (RFC 4648 section 4): with padding, nothing but the alphabet, unused bits zero, so that
 * each value has exactly one form. Pure. */
#ifndef HOLDFAST_TEXT_BASE64_H
#define HOLDFAST_TEXT_BASE64_H

#include "base/str.h"

/* Characters that len bytes need, without a NUL. */
static inline size_t base64_encoded_len(size_t len)
{
    return (len + 2) / 3 * 4;
}
/* Writes base64_encoded_len(len) characters and a NUL into out. */
void base64_encode(const void *data, size_t len, char *out);
/* Decodes into out[capacity]; *len is the number of bytes. False (nothing promised about out) for
 * any other form, or if it does not fit. */
bool base64_decode(Str text, uint8_t *out, size_t capacity, size_t *len);

#endif
