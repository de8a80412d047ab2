/* Upload: one local file on its way to the server. A small file is read and hashed first and sent
 * with its digest; a large one is hashed on its way out, and the server's SHA-256 must be the same.
 * Sending again by name is idempotent, so every failure may be retried. One thread. */
#ifndef HOLDFAST_CLI_UPLOAD_H
#define HOLDFAST_CLI_UPLOAD_H

#include "cli/local_file.h"
#include "cli/remote.h"

#define UPLOAD_MTIME_NAME "mtime" /* in the file's meta: "SECONDS.NANOSECONDS" since 1970 */
#define UPLOAD_MTIME_SIZE 40

typedef struct {
    ClientCall call; /* first: an item of a pool */
    char *path;      /* owned */
    Buf key;         /* bytes */
    Buf target;      /* of the request, terminated */
    LocalFile file;  /* a large one, while it is sent */
    HashCtx *hash;
    Buf small;     /* all of a small one */
    Sha256 digest; /* of a small one */
    uint64_t size; /* bytes */
    char header[sizeof "Holdfast-Meta-Mtime: " + UPLOAD_MTIME_SIZE];
} Upload;

/* relative below root ("": root is the file itself) becomes the key prefix + relative. upload's
 * call is initialized and stays so. Errors: as buf_append(); upload_deinit() is due all the same.
 */
MUST_USE ErrCode upload_init(Upload *upload, const char *root, Str prefix, Str relative, Err *err);
/* Frees all but the call. */
void upload_deinit(Upload *upload);
/* Opens the file and fills in the request; for each attempt. follow: it may be a symbolic link.
 * Errors: as local_open(); key_check()'s; ERR_ABORTED: it changes while it is read. */
MUST_USE ErrCode upload_begin(Upload *upload, Str bucket, bool follow, Err *err);
/* The answer is a success: has the server stored what was sent? *stored is the FILE; the caller
 * frees it. ERR_CORRUPT: other bytes; ERR_PEER; ERR_ABORTED. */
MUST_USE ErrCode upload_end(Upload *upload, json_t **stored, Err *err);
/* Bytes that are under way in a file that is not done, for progress. */
uint64_t upload_moving(const Upload *upload);

/* "1764323123.000000042" of nanoseconds since 1970. */
const char *upload_mtime_text(int64_t mtime_ns, char out[UPLOAD_MTIME_SIZE]);

#endif
