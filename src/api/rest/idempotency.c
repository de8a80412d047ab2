/* Idempotency-Key: a change that carries one is made once, however often it is sent
 * (draft-ietf-httpapi-idempotency-key-header). The key belongs to its sender: another identity's is
 * another. */
#include "api/rest/rest_priv.h"

#include <string.h>

#define KEY_BYTES_MAX 255

/* The value, without the quotes of a structured field's string. */
static bool take_key(Str value, Str *out)
{
    Str key = str_trim(value);
    if (key.len >= 2 && key.ptr[0] == '"' && key.ptr[key.len - 1] == '"')
        key = str_slice(key, 1, key.len - 2);
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] < 0x20 || key.ptr[i] > 0x7e) return false;
    }
    *out = key;
    return key.len > 0 && key.len <= KEY_BYTES_MAX;
}

ErrCode rest_read_request_key(RestCall *call, Err *err)
{
    Mutation *m = &call->mutation;
    Str value = http_request_header(call->req, STR("idempotency-key"));
    Str key;
    if (value.ptr == NULL || m->has_request) return OK;
    if (!take_key(value, &key)) {
        return err_set(err, ERR_INVALID, "an Idempotency-Key has 1 to %d printable characters",
                       KEY_BYTES_MAX);
    }
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_SHA256);
    Sha256 digest;
    hash_update(hash, call->identity.name.ptr, call->identity.name.len);
    hash_update(hash, "", 1);
    hash_update(hash, key.ptr, key.len);
    hash_final(hash, digest.bytes);
    memcpy(m->request.bytes, digest.bytes, sizeof m->request.bytes);
    m->has_request = true;
    return OK;
}

static void add(HashCtx *hash, Str part)
{
    uint8_t bytes[8];
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_u64(&enc, part.len);
    hash_update(hash, bytes, enc.len);
    hash_update(hash, part.ptr, part.len);
}

/* Kept for 24 hours with the request's row: whoever changes what goes in, or its order, makes each
 * repeat of an older request another one. */
void rest_hash_request(RestCall *call)
{
    Mutation *m = &call->mutation;
    if (!m->has_request) return;
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_SHA256);
    uint8_t bytes[8 + 8 + 4 + 8];
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_u64(&enc, (uint64_t)m->type);
    enc_u64(&enc, m->size);
    enc_u32(&enc, m->version.term);
    enc_u64(&enc, m->version.lsn);
    ASSERT(!enc.failed);
    hash_update(hash, bytes, enc.len);
    hash_update(hash, m->digest.bytes, SHA256_LEN);
    hash_update(hash, m->file.bytes, sizeof m->file.bytes);
    add(hash, m->bucket);
    add(hash, m->key);
    add(hash, m->if_match);
    add(hash, m->if_none_match);
    add(hash, http_request_header(call->req, STR("if-unmodified-since")));
    add(hash, m->attrs);
    Str expires = http_request_header(call->req, STR("holdfast-expires"));
    if (expires.ptr != NULL) add(hash, expires); /* as sent: the time that it means passes */
    hash_final(hash, m->request_hash.bytes);
}
