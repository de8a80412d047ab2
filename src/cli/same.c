#include "cli/same.h"

#define STEP_BYTES (4 * MIB)
#define PIECE_BYTES (64 * KIB)

void same_deinit(Same *same)
{
    local_close(&same->file);
    hash_free(TAKE(same->hash));
}

static ErrCode step(Same *same, const Sha256 *wanted, SameVerdict *out, Err *err)
{
    uint8_t piece[PIECE_BYTES];
    if (same->hash == NULL) same->hash = hash_new(HASH_SHA256);
    *out = SAME_MORE;
    for (size_t done = 0; done < STEP_BYTES;) {
        size_t len = 0;
        TRY(local_read(&same->file, piece, sizeof piece, &len, err));
        hash_update(same->hash, piece, len);
        done += len;
        if (len == sizeof piece) continue;
        Sha256 digest;
        hash_final(same->hash, digest.bytes);
        bool equal = sha256_eq(&digest, wanted) && local_check_unchanged(&same->file, NULL) == OK;
        *out = equal ? SAME_EQUAL : SAME_OTHER;
        break;
    }
    return OK;
}

ErrCode same_step(Same *same, const Sha256 *wanted, SameVerdict *out, Err *err)
{
    ASSERT(same->file.fd >= 0);
    ErrCode code = step(same, wanted, out, err);
    if (code != OK || *out != SAME_MORE) same_deinit(same);
    return code;
}
