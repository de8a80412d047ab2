/* Who is asking, and what may they do: the one place where each door asks both. What a request
 * shows goes in as an AuthRequest, an Identity with its rights comes out.
 *
 * A key may do things with everything (rights), and with what its grants name: a bucket, or the
 * keys of it that begin with a prefix. What each operation needs stands in the doors' tables of
 * routes; a refusal is the same for what is there and what is not.
 *
 * Whether a key exists cannot be told from an answer: an unknown id is compared as long as a wrong
 * secret. An id is no secret. Pure; any thread. */
#ifndef HOLDFAST_AUTH_AUTH_H
#define HOLDFAST_AUTH_AUTH_H

#include "auth/key.h"
#include "format/key_record.h"

/* What can be allowed, as a set of bits. */
typedef enum {
    RIGHT_READ = 1 << 0,    /* contents and attributes of files */
    RIGHT_LIST = 1 << 1,    /* names of files and buckets */
    RIGHT_WRITE = 1 << 2,   /* create and update files */
    RIGHT_DELETE = 1 << 3,  /* delete files */
    RIGHT_BUCKETS = 1 << 4, /* make and delete buckets */
    RIGHT_ADMIN = 1 << 5    /* /v1/admin and metrics */
} Right;
#define RIGHTS_ALL ((unsigned)(RIGHT_ADMIN << 1) - 1)

/* Rights over a part of what is there. */
typedef struct {
    unsigned rights; /* of Right */
    Str bucket;      /* name; "*": any */
    Str prefix;      /* of keys; empty: all of the bucket */
} AuthGrant;
/* The Rights that a stored grant means (bits of GrantRight): read is READ and LIST, write is WRITE
 * and DELETE, admin is BUCKETS and ADMIN. */
unsigned auth_rights_of(unsigned granted);

#define AUTH_NAME_MAX 31
/* One key that is known, and whose it is. */
typedef struct {
    AccessKey key;
    char name[AUTH_NAME_MAX + 1]; /* as a file's owner: "root", or the key's id */
    unsigned rights;              /* of Right, over everything */
    const AuthGrant *grants;
    size_t grant_count;  /* at most KEY_GRANTS_MAX */
    uint64_t expires_ms; /* 0: never */
} AuthKey;

/* All that are known, in the order of their ids, each of which is there once: a snapshot that
 * nobody changes while it is used. */
typedef struct {
    const AuthKey *keys;
    size_t count;
} AuthKeys;

/* What a request shows of its sender. */
typedef struct {
    Str authorization; /* value of the Authorization header; empty: there is none */
    uint64_t now_ms;   /* since 1970: keys that have expired are not valid */
} AuthRequest;

/* The sender of a request. The views are good as long as the AuthKeys. */
typedef struct {
    Str name;
    Str key_id;
    unsigned rights; /* of Right, over everything */
    const AuthGrant *grants;
    size_t grant_count;
} Identity;

/* The key of that id, unless it has expired; NULL: there is none. */
const AuthKey *auth_find(const AuthKeys *keys, Str id, uint64_t now_ms);
Identity auth_identity(const AuthKey *key);
/* Finds out who sent the request. ERR_UNAUTHENTICATED: no key, no well-formed one, or none that is
 * known; the text of an unknown id and of a wrong secret is the same, and holds nothing
 * of either. */
MUST_USE ErrCode auth_identify(const AuthKeys *keys, const AuthRequest *request, Identity *out,
                               Err *err);
/* OK if identity has all of these rights (at least one bit of Right) over … else ERR_FORBIDDEN,
 * with the same text: */
/* … everything. */
MUST_USE ErrCode auth_allows(const Identity *identity, unsigned rights, Err *err);
/* … all of a bucket. */
MUST_USE ErrCode auth_allows_bucket(const Identity *identity, unsigned rights, Str bucket,
                                    Err *err);
/* … that key of it. */
MUST_USE ErrCode auth_allows_file(const Identity *identity, unsigned rights, Str bucket, Str key,
                                  Err *err);
/* … something of the bucket; bucket empty: of any. */
MUST_USE ErrCode auth_allows_some(const Identity *identity, unsigned rights, Str bucket, Err *err);
/* Has it any right over something of the bucket, so that it may know that the bucket is there? */
bool auth_sees_bucket(const Identity *identity, Str bucket);
/* The same of a file. */
bool auth_sees_file(const Identity *identity, Str bucket, Str key);

/* Which names of a bucket, of those that begin with a prefix, are within a right. */
typedef struct {
    Str prefixes[KEY_GRANTS_MAX]; /* rising, none the beginning of another; views of the grants */
    size_t count;                 /* 0: all of them */
} AuthScope;
/* ERR_FORBIDDEN: none can be. */
MUST_USE ErrCode auth_scope(const Identity *identity, Right right, Str bucket, Str prefix,
                            AuthScope *out, Err *err);

#endif
