/* The digests' implementations are looked up once in a process: EVP_get_digestbyname() and the like
 * do it again in each init, which costs more than hashing 1 KiB. One-shots use contexts that belong
 * to the thread and are freed when it ends. */
#include "base/hash.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

struct HashCtx {
    EVP_MD_CTX *evp;
    HashKind kind;
};

typedef struct {
    EVP_MD_CTX *sha256;
    EVP_MAC_CTX *hmac;
} ThreadCtx;

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *digests[3]; /* by HashKind */
static EVP_MAC *mac;
static pthread_key_t thread_key;
static _Thread_local ThreadCtx *thread_ctx;

static void thread_ctx_free(void *arg)
{
    ThreadCtx *ctx = arg;
    EVP_MD_CTX_free(ctx->sha256);
    EVP_MAC_CTX_free(ctx->hmac);
    mem_free(ctx);
    thread_ctx = NULL;
}

/* For the whole process, never freed: digests are used until its last moment. */
static void fetch(void)
{
    digests[HASH_SHA256] = EVP_MD_fetch(NULL, "SHA256", NULL);
    digests[HASH_MD5] = EVP_MD_fetch(NULL, "MD5", NULL);
    digests[HASH_SHA1] = EVP_MD_fetch(NULL, "SHA1", NULL);
    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    ASSERT(digests[HASH_SHA256] != NULL && digests[HASH_MD5] != NULL);
    ASSERT(digests[HASH_SHA1] != NULL && mac != NULL);
    ASSERT(pthread_key_create(&thread_key, thread_ctx_free) == 0);
}

static EVP_MD_CTX *evp_new(HashKind kind)
{
    ASSERT(pthread_once(&fetch_once, fetch) == 0);
    EVP_MD_CTX *evp = EVP_MD_CTX_new();
    ASSERT(evp != NULL);
    ASSERT(EVP_DigestInit_ex2(evp, digests[kind], NULL) == 1);
    return evp;
}

/* Ready for the first update, with the digest that it has. */
static void evp_reset(EVP_MD_CTX *evp)
{
    ASSERT(EVP_DigestInit_ex2(evp, NULL, NULL) == 1);
}

size_t hash_len(HashKind kind)
{
    if (kind == HASH_SHA256) return SHA256_LEN;
    return kind == HASH_MD5 ? MD5_LEN : SHA1_LEN;
}

HashCtx *hash_new(HashKind kind)
{
    ASSERT(kind == HASH_SHA256 || kind == HASH_MD5 || kind == HASH_SHA1);
    HashCtx *ctx = mem_new(sizeof *ctx);
    ctx->kind = kind;
    ctx->evp = evp_new(kind);
    return ctx;
}

void hash_free(HashCtx *ctx)
{
    if (ctx == NULL) return;
    EVP_MD_CTX_free(ctx->evp);
    mem_free(ctx);
}

void hash_reset(HashCtx *ctx)
{
    evp_reset(ctx->evp);
}

void hash_update(HashCtx *ctx, const void *data, size_t len)
{
    if (len == 0) return;
    ASSERT(EVP_DigestUpdate(ctx->evp, data, len) == 1);
}

void hash_final(HashCtx *ctx, void *out)
{
    unsigned len = 0;
    ASSERT(EVP_DigestFinal_ex(ctx->evp, out, &len) == 1);
    ASSERT(len == hash_len(ctx->kind));
    evp_reset(ctx->evp);
}

static ThreadCtx *thread_ctx_new(void)
{
    ThreadCtx *ctx = mem_new(sizeof *ctx);
    ctx->sha256 = evp_new(HASH_SHA256);
    ctx->hmac = EVP_MAC_CTX_new(mac);
    ASSERT(ctx->hmac != NULL);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    ASSERT(EVP_MAC_CTX_set_params(ctx->hmac, params) == 1);
    ASSERT(pthread_setspecific(thread_key, ctx) == 0); /* to be freed when the thread ends */
    thread_ctx = ctx;
    return ctx;
}

static ThreadCtx *thread_ctx_get(void)
{
    return thread_ctx != NULL ? thread_ctx : thread_ctx_new();
}

Sha256 sha256_of(const void *data, size_t len)
{
    return sha256_of2(data, len, NULL, 0);
}

Sha256 sha256_of2(const void *a, size_t a_len, const void *b, size_t b_len)
{
    EVP_MD_CTX *evp = thread_ctx_get()->sha256;
    Sha256 digest;
    evp_reset(evp);
    if (a_len > 0) ASSERT(EVP_DigestUpdate(evp, a, a_len) == 1);
    if (b_len > 0) ASSERT(EVP_DigestUpdate(evp, b, b_len) == 1);
    ASSERT(EVP_DigestFinal_ex(evp, digest.bytes, NULL) == 1);
    return digest;
}

bool sha256_eq(const Sha256 *a, const Sha256 *b)
{
    return memcmp(a->bytes, b->bytes, SHA256_LEN) == 0;
}

bool sha256_is_zero(const Sha256 *a)
{
    static const Sha256 zero;
    return sha256_eq(a, &zero);
}

Sha256 hmac_sha256(const void *key, size_t key_len, const void *data, size_t len)
{
    EVP_MAC_CTX *hmac = thread_ctx_get()->hmac;
    Sha256 digest;
    /* A NULL key would mean the one before. */
    ASSERT(EVP_MAC_init(hmac, key_len == 0 ? (const void *)"" : key, key_len, NULL) == 1);
    if (len > 0) ASSERT(EVP_MAC_update(hmac, data, len) == 1);
    size_t out_len = 0;
    ASSERT(EVP_MAC_final(hmac, digest.bytes, &out_len, SHA256_LEN) == 1);
    ASSERT(out_len == SHA256_LEN);
    return digest;
}
