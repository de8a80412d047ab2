#include "auth/auth.h"

#include <string.h>

unsigned auth_rights_of(unsigned granted)
{
    unsigned rights = 0;
    if ((granted & GRANT_READ) != 0) rights |= RIGHT_READ | RIGHT_LIST;
    if ((granted & GRANT_WRITE) != 0) rights |= RIGHT_WRITE | RIGHT_DELETE;
    if ((granted & GRANT_ADMIN) != 0) rights |= RIGHT_BUCKETS | RIGHT_ADMIN;
    return rights;
}

const AuthKey *auth_find(const AuthKeys *keys, Str id, uint64_t now_ms)
{
    size_t low = 0;
    size_t high = keys->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const AuthKey *key = &keys->keys[middle];
        int order = str_cmp(str_from_cstr(key->key.id), id);
        if (order == 0) return key->expires_ms != 0 && key->expires_ms <= now_ms ? NULL : key;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

Identity auth_identity(const AuthKey *key)
{
    return (Identity){.name = str_from_cstr(key->name),
                      .key_id = str_from_cstr(key->key.id),
                      .rights = key->rights,
                      .grants = key->grants,
                      .grant_count = key->grant_count};
}

/* The known key that sent equals, or NULL. One secret is compared in any case: that of the id, or
 * that of nobody. */
static const AuthKey *find_key(const AuthKeys *keys, const AccessKey *sent, uint64_t now_ms)
{
    static const char nobody[KEY_SECRET_LEN]; /* no secret that was parsed holds a NUL */
    const AuthKey *key = auth_find(keys, str_of(sent->id, KEY_ID_LEN), now_ms);
    const char *secret = key == NULL ? nobody : key->key.secret;
    bool right = str_eq_secret(str_of(secret, KEY_SECRET_LEN),
                               str_of(sent->secret, KEY_SECRET_LEN));
    return right ? key : NULL;
}

ErrCode auth_identify(const AuthKeys *keys, const AuthRequest *request, Identity *out, Err *err)
{
    AccessKey sent;
    if (request->authorization.len == 0)
        return err_set(err, ERR_UNAUTHENTICATED, "the request has no Authorization header");
    if (!key_parse_authorization(request->authorization, &sent))
        return err_set(err, ERR_UNAUTHENTICATED,
                       "the Authorization header is neither Bearer ID.SECRET nor Basic");
    const AuthKey *key = find_key(keys, &sent, request->now_ms);
    key_wipe(&sent);
    if (key == NULL) return err_set(err, ERR_UNAUTHENTICATED, "this key is not valid");
    *out = auth_identity(key);
    return OK;
}

/* --- rights --- */

/* What is asked about. */
typedef struct {
    Str bucket; /* empty: any */
    Str key;
    bool whole; /* all of the bucket, not a key */
    bool some;  /* anything of it */
} Asked;

static bool covers(const AuthGrant *grant, const Asked *asked)
{
    bool any_bucket = asked->bucket.len == 0 || str_eq(grant->bucket, STR("*"));
    if (!any_bucket && !str_eq(grant->bucket, asked->bucket)) return false;
    if (asked->some || grant->prefix.len == 0) return true;
    return !asked->whole && str_starts_with(asked->key, grant->prefix);
}

/* The rights that identity has over what is asked about. */
static unsigned rights_over(const Identity *identity, const Asked *asked)
{
    unsigned rights = identity->rights;
    for (size_t i = 0; i < identity->grant_count; i++)
        if (covers(&identity->grants[i], asked)) rights |= identity->grants[i].rights;
    return rights;
}

static ErrCode answer(const Identity *identity, unsigned wanted, unsigned had, Err *err)
{
    ASSERT(wanted != 0 && (wanted & ~RIGHTS_ALL) == 0);
    if ((had & wanted) == wanted) return OK;
    return err_set(err, ERR_FORBIDDEN, "the key %.*s may not do this", STR_ARG(identity->key_id));
}

ErrCode auth_allows(const Identity *identity, unsigned rights, Err *err)
{
    return answer(identity, rights, identity->rights, err);
}

ErrCode auth_allows_bucket(const Identity *identity, unsigned rights, Str bucket, Err *err)
{
    Asked asked = {.bucket = bucket, .whole = true};
    if (bucket.len == 0) return auth_allows(identity, rights, err);
    return answer(identity, rights, rights_over(identity, &asked), err);
}

ErrCode auth_allows_file(const Identity *identity, unsigned rights, Str bucket, Str key, Err *err)
{
    Asked asked = {.bucket = bucket, .key = key};
    if (bucket.len == 0) return auth_allows(identity, rights, err);
    return answer(identity, rights, rights_over(identity, &asked), err);
}

ErrCode auth_allows_some(const Identity *identity, unsigned rights, Str bucket, Err *err)
{
    Asked asked = {.bucket = bucket, .some = true};
    return answer(identity, rights, rights_over(identity, &asked), err);
}

bool auth_sees_bucket(const Identity *identity, Str bucket)
{
    Asked asked = {.bucket = bucket, .some = true};
    return bucket.len > 0 && rights_over(identity, &asked) != 0;
}

bool auth_sees_file(const Identity *identity, Str bucket, Str key)
{
    Asked asked = {.bucket = bucket, .key = key};
    return bucket.len > 0 && rights_over(identity, &asked) != 0;
}

/* Puts prefix into scope, which stays rising and without what another begins. */
static void scope_add(AuthScope *scope, Str prefix)
{
    size_t kept = 0;
    for (size_t i = 0; i < scope->count; i++) {
        if (str_starts_with(prefix, scope->prefixes[i])) return; /* then nothing was dropped */
        if (!str_starts_with(scope->prefixes[i], prefix))
            scope->prefixes[kept++] = scope->prefixes[i];
    }
    size_t at = kept;
    for (; at > 0 && str_cmp(scope->prefixes[at - 1], prefix) > 0; at--)
        scope->prefixes[at] = scope->prefixes[at - 1];
    scope->prefixes[at] = prefix;
    scope->count = kept + 1;
}

ErrCode auth_scope(const Identity *identity, Right right, Str bucket, Str prefix, AuthScope *out,
                   Err *err)
{
    AuthScope scope = {.count = 0};
    Asked asked = {.bucket = bucket, .some = true};
    ASSERT(bucket.len > 0);
    *out = scope;
    if ((identity->rights & right) != 0) return OK;
    ASSERT(identity->grant_count <= KEY_GRANTS_MAX);
    for (size_t i = 0; i < identity->grant_count; i++) {
        const AuthGrant *grant = &identity->grants[i];
        if ((grant->rights & right) == 0 || !covers(grant, &asked)) continue;
        if (str_starts_with(prefix, grant->prefix)) return OK;
        if (str_starts_with(grant->prefix, prefix)) scope_add(&scope, grant->prefix);
    }
    if (scope.count == 0) return answer(identity, right, 0, err);
    *out = scope;
    return OK;
}
