/* OpenSSL's newer interface (EVP) does not give a state away; the older one, kept beside it, is a
 * plain struct whose fields are public. */
#define OPENSSL_SUPPRESS_DEPRECATED 1
#include "base/hash_run.h"

#include <openssl/sha.h>
#include <string.h>

#include "base/codec.h"

#define BLOCK_LEN 64
#define WORDS 8

struct HashRun {
    SHA256_CTX ctx;
    uint64_t size; /* bytes so far */
};

HashRun *hash_run_new(void)
{
    HashRun *run = mem_new(sizeof *run);
    ASSERT(SHA256_Init(&run->ctx) == 1);
    return run;
}

void hash_run_free(HashRun *run)
{
    mem_free(run);
}

void hash_run_update(HashRun *run, const void *data, size_t len)
{
    if (len == 0) return;
    ASSERT(SHA256_Update(&run->ctx, data, len) == 1);
    run->size += len;
}

void hash_run_digest(const HashRun *run, Sha256 *out)
{
    SHA256_CTX copy = run->ctx;
    ASSERT(SHA256_Final(out->bytes, &copy) == 1);
}

uint64_t hash_run_size(const HashRun *run)
{
    return run->size;
}

size_t hash_run_save(const HashRun *run, uint8_t out[HASH_RUN_STATE_MAX])
{
    Enc enc = enc_of(out, HASH_RUN_STATE_MAX);
    size_t pending = (size_t)(run->size % BLOCK_LEN);
    ASSERT(run->ctx.num == pending);
    for (size_t i = 0; i < WORDS; i++)
        enc_u32(&enc, run->ctx.h[i]);
    enc_u64(&enc, run->size);
    enc_bytes(&enc, run->ctx.data, pending);
    ASSERT(!enc.failed);
    return enc.len;
}

bool hash_run_load(HashRun *run, Str state)
{
    HashRun loaded = {.size = 0};
    ASSERT(SHA256_Init(&loaded.ctx) == 1);
    if (state.len > 0) {
        Dec dec = dec_of(state.ptr, state.len);
        for (size_t i = 0; i < WORDS; i++)
            loaded.ctx.h[i] = dec_u32(&dec);
        loaded.size = dec_u64(&dec);
        if (dec.failed || loaded.size >> 61 != 0) return false;
        size_t pending = (size_t)(loaded.size % BLOCK_LEN);
        if (dec_left(&dec) != pending) return false;
        dec_bytes(&dec, loaded.ctx.data, pending);
        loaded.ctx.num = (unsigned)pending;
        uint64_t bits = loaded.size * 8;
        loaded.ctx.Nl = (SHA_LONG)bits;
        loaded.ctx.Nh = (SHA_LONG)(bits >> 32);
    }
    *run = loaded;
    return true;
}
