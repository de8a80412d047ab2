/* Digests, by OpenSSL: SHA-256, SHA-1, MD5, HMAC-SHA-256. A HashCtx belongs to one thread at a
 * time. */
#ifndef HOLDFAST_BASE_HASH_H
#define HOLDFAST_BASE_HASH_H

#include "base/mem.h"
#include "base/str.h"

#define SHA256_LEN 32
#define MD5_LEN 16
#define SHA1_LEN 20

typedef struct {
    uint8_t bytes[SHA256_LEN];
} Sha256;

typedef struct HashCtx HashCtx;
typedef enum { HASH_SHA256, HASH_MD5, HASH_SHA1 } HashKind;

/* A context to use again and again; begins ready for the first update. */
HashCtx *hash_new(HashKind kind);
void hash_free(HashCtx *ctx);
void hash_reset(HashCtx *ctx);
void hash_update(HashCtx *ctx, const void *data, size_t len);
/* Bytes of a digest: 32, 16 or 20. */
size_t hash_len(HashKind kind);
/* Writes that many bytes and resets. */
void hash_final(HashCtx *ctx, void *out);
/* SHA-256 of len bytes at once (and of two pieces, as if joined). */
Sha256 sha256_of(const void *data, size_t len);
Sha256 sha256_of2(const void *a, size_t a_len, const void *b, size_t b_len);
bool sha256_eq(const Sha256 *a, const Sha256 *b);
bool sha256_is_zero(const Sha256 *a);
Sha256 hmac_sha256(const void *key, size_t key_len, const void *data, size_t len);

AUTO_DEFINE(HashCtx, hash_free);

#endif
