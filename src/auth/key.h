/* Access keys: ID.SECRET, as in root.key, in HOLDFAST_KEY, and after "Bearer". The id is no secret:
 * it stands in logs and URLs. Pure; any thread. */
#ifndef HOLDFAST_AUTH_KEY_H
#define HOLDFAST_AUTH_KEY_H

#include "base/str.h"

#define KEY_ID_LEN 20     /* characters of [A-Z0-9]; ours begin with HF */
#define KEY_SECRET_LEN 40 /* characters of [A-Za-z0-9]: 238 bits */
#define KEY_TEXT_LEN (KEY_ID_LEN + 1 + KEY_SECRET_LEN)

typedef struct {
    char id[KEY_ID_LEN + 1]; /* both terminated */
    char secret[KEY_SECRET_LEN + 1];
} AccessKey;

/* Bytes that key_generate() makes a key of: four a character, so that none is more likely than
 * another by more than one in 2^26. */
#define KEY_RANDOM_LEN (4 * (KEY_ID_LEN - 2 + KEY_SECRET_LEN))

/* The key that follows from these bytes, which must come from rng_secret(). */
void key_generate(const uint8_t random[KEY_RANDOM_LEN], AccessKey *out);
/* ID.SECRET and a NUL. */
void key_text(const AccessKey *key, char out[KEY_TEXT_LEN + 1]);
/* Exactly ID.SECRET, no spaces, no newline: false otherwise, *out untouched. */
bool key_parse(Str text, AccessKey *out);
/* The value of an Authorization header: `Bearer ID.SECRET` or `Basic base64(ID:SECRET)`, the scheme
 * in any case (RFC 9110, 11.1), one space or more behind it, nothing after. False otherwise, *out
 * untouched. */
bool key_parse_authorization(Str header, AccessKey *out);
/* Overwrites the secret, in a way that the compiler keeps. */
void key_wipe(AccessKey *key);

#endif
