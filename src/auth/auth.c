#include "auth/auth.h"

#include <string.h>

/* a, or b if choose_b; without a branch on it. Both have len bytes. */
static void select_bytes(bool choose_b, const char *a, const char *b, char *out, size_t len)
{
    unsigned mask = 0u - (unsigned)choose_b;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(((unsigned char)a[i] & ~mask) | ((unsigned char)b[i] & mask));
}

/* The number of the known key that sent equals, or keys->count. Takes as long for any key: every
 * known id is looked at, and one secret is compared, a known one or that of nobody. */
static size_t find_key(const AuthKeys *keys, const AccessKey *sent)
{
    AccessKey best = {0}; /* no secret that was parsed holds a NUL */
    size_t index = keys->count;
    for (size_t i = 0; i < keys->count; i++) {
        const AccessKey *key = &keys->keys[i].key;
        bool same = str_eq_secret(str_of(key->id, KEY_ID_LEN), str_of(sent->id, KEY_ID_LEN));
        select_bytes(same, best.secret, key->secret, best.secret, KEY_SECRET_LEN);
        size_t mask = (size_t)0 - (size_t)same;
        index = (index & ~mask) | (i & mask);
    }
    bool right = str_eq_secret(str_of(best.secret, KEY_SECRET_LEN),
                               str_of(sent->secret, KEY_SECRET_LEN));
    key_wipe(&best);
    return right ? index : keys->count;
}

ErrCode auth_identify(const AuthKeys *keys, const AuthRequest *request, Identity *out, Err *err)
{
    AccessKey sent;
    if (request->authorization.len == 0)
        return err_set(err, ERR_UNAUTHENTICATED, "the request has no Authorization header");
    if (!key_parse_authorization(request->authorization, &sent))
        return err_set(err, ERR_UNAUTHENTICATED,
                       "the Authorization header is neither Bearer ID.SECRET nor Basic");
    size_t index = find_key(keys, &sent);
    key_wipe(&sent);
    if (index == keys->count) return err_set(err, ERR_UNAUTHENTICATED, "this key is not valid");
    const AuthKey *key = &keys->keys[index];
    ASSERT(key->key.secret[0] != '\0');
    *out = (Identity){.name = str_from_cstr(key->name),
                      .key_id = str_of(key->key.id, KEY_ID_LEN),
                      .rights = key->rights};
    return OK;
}

ErrCode auth_allows(const Identity *identity, unsigned rights, Err *err)
{
    ASSERT(rights != 0 && (rights & ~RIGHTS_ALL) == 0);
    if ((identity->rights & rights) != rights)
        return err_set(err, ERR_FORBIDDEN, "the key %.*s may not do this",
                       STR_ARG(identity->key_id));
    return OK;
}
