/* Who is asking, and what may they do: the one place where each door asks both. What a request
 * shows goes in as an AuthRequest, an Identity with its rights comes out. Today a request shows a
 * key; signatures (SigV4) and tokens become further fields of AuthRequest, policies further rows
 * behind auth_allows(), without another way in.
 *
 * Whether a key exists cannot be told from an answer, nor from its time: an unknown id is compared
 * as long as a wrong secret. Pure; any thread. */
#ifndef HOLDFAST_AUTH_AUTH_H
#define HOLDFAST_AUTH_AUTH_H

#include "auth/key.h"

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

#define AUTH_NAME_MAX 31
/* One key that is known, and whose it is. */
typedef struct {
    AccessKey key;
    char name[AUTH_NAME_MAX + 1]; /* for logs and as a file's owner: "root" */
    unsigned rights;              /* of Right */
} AuthKey;

/* All that are known: a snapshot that nobody changes while it is used. No two have the same id. */
typedef struct {
    const AuthKey *keys;
    size_t count;
} AuthKeys;

/* What a request shows of its sender. */
typedef struct {
    Str authorization; /* value of the Authorization header; empty: there is none */
} AuthRequest;

/* The sender of a request. The views are good as long as the AuthKeys. */
typedef struct {
    Str name;
    Str key_id;
    unsigned rights; /* of Right */
} Identity;

/* Finds out who sent the request. ERR_UNAUTHENTICATED: no key, no well-formed one, or none that is
 * known; the text of an unknown id and of a wrong secret is the same, and holds nothing
 * of either. */
MUST_USE ErrCode auth_identify(const AuthKeys *keys, const AuthRequest *request, Identity *out,
                               Err *err);
/* OK if identity has all of these rights (at least one bit of Right), else ERR_FORBIDDEN. */
MUST_USE ErrCode auth_allows(const Identity *identity, unsigned rights, Err *err);

#endif
