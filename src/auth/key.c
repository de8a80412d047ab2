#include "auth/key.h"

#include "base/codec.h"
#include "text/base64.h"
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz";
#define ID_ALPHABET 36 /* the first so many are for ids */
#define SECRET_ALPHABET 62

_Static_assert(sizeof alphabet == SECRET_ALPHABET + 1, "letters and digits");

void key_generate(const uint8_t random[KEY_RANDOM_LEN], AccessKey *out)
{
    *out = (AccessKey){.id = "HF"};
    for (size_t i = 2; i < KEY_ID_LEN; i++, random += 4)
        out->id[i] = alphabet[get_u32(random) % ID_ALPHABET];
    for (size_t i = 0; i < KEY_SECRET_LEN; i++, random += 4)
        out->secret[i] = alphabet[get_u32(random) % SECRET_ALPHABET];
}

void key_text(const AccessKey *key, char out[KEY_TEXT_LEN + 1])
{
    memcpy(out, key->id, KEY_ID_LEN);
    out[KEY_ID_LEN] = '.';
    memcpy(out + KEY_ID_LEN + 1, key->secret, KEY_SECRET_LEN);
    out[KEY_TEXT_LEN] = '\0';
}

/* All characters of [A-Z0-9] and, with lower, of [a-z]? Looks at each, whatever it finds, and into
 * no table: where a secret goes wrong must not be seen in the time. */
static bool is_alphanumeric(Str s, bool lower)
{
    unsigned bad = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned c = (unsigned char)s.ptr[i];
        unsigned upper_or_digit = (unsigned)(c - 'A' < 26) | (unsigned)(c - '0' < 10);
        bad |= (upper_or_digit | ((unsigned)(c - 'a' < 26) & (unsigned)lower)) ^ 1u;
    }
    return bad == 0;
}

/* ID, separator, SECRET. */
static bool parse_pair(Str text, char separator, AccessKey *out)
{
    if (text.len != KEY_TEXT_LEN || text.ptr[KEY_ID_LEN] != separator) return false;
    Str id = str_slice(text, 0, KEY_ID_LEN);
    Str secret = str_slice(text, KEY_ID_LEN + 1, KEY_SECRET_LEN);
    if (!is_alphanumeric(id, false) || !is_alphanumeric(secret, true)) return false;
    *out = (AccessKey){0};
    memcpy(out->id, id.ptr, KEY_ID_LEN);
    memcpy(out->secret, secret.ptr, KEY_SECRET_LEN);
    return true;
}

bool key_parse(Str text, AccessKey *out)
{
    return parse_pair(text, '.', out);
}

static bool parse_basic(Str credentials, AccessKey *out)
{
    uint8_t pair[KEY_TEXT_LEN];
    size_t len = 0;
    bool good = base64_decode(credentials, pair, sizeof pair, &len) &&
                parse_pair(str_of(pair, len), ':', out);
    explicit_bzero(pair, sizeof pair);
    return good;
}

bool key_parse_authorization(Str header, AccessKey *out)
{
    Str scheme;
    Str credentials;
    if (!str_split(header, ' ', &scheme, &credentials)) return false;
    while (credentials.len > 0 && credentials.ptr[0] == ' ')
        credentials = str_slice(credentials, 1, credentials.len - 1);
    if (str_eq_nocase(scheme, STR("Bearer"))) return key_parse(credentials, out);
    if (str_eq_nocase(scheme, STR("Basic"))) return parse_basic(credentials, out);
    return false;
}

void key_wipe(AccessKey *key)
{
    explicit_bzero(key->secret, sizeof key->secret);
}
