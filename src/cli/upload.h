/* Upload: one local file on its way to the server. A small file is read and hashed first and sent
 * with its digest; a larger one is hashed on its way out, and the server's SHA-256 must be the
 * same. From UPLOAD_PIECES_MIN bytes on it goes in pieces, by a resumable upload (tus 1.0) that a
 * later attempt or run goes on with; the last piece has the digest of all, so that the server makes
 * the file only if it is this one. Sending again by name is idempotent, so every failure may be
 * retried. One thread.
 *
 *   CREATE --> SEND --> SEND … --> DESCRIBE (for --json) --> over
 *     ^          |  ^                 ^
 *     | gone     v  |                 | all of it is there already
 *     +--------- ASK (how much is kept?) --> CHECK (is it this file?) */
#ifndef HOLDFAST_CLI_UPLOAD_H
#define HOLDFAST_CLI_UPLOAD_H

#include "base/hash_run.h"
#include "cli/local_file.h"
#include "cli/pool.h"
#include "cli/remote.h"

#define UPLOAD_MTIME_NAME "mtime" /* in the file's meta: "SECONDS.NANOSECONDS" since 1970 */
#define UPLOAD_MTIME_SIZE 40

#define UPLOAD_PIECES_MIN (128 * MIB)
#define UPLOAD_PIECE_MIN (512 * KIB) /* bytes of a piece, the most that is ever sent again … */
#define UPLOAD_PIECE_SHARE 160       /* … or that part of the file, if it is more: below 1 % */
#define UPLOAD_LAST_MAX (256 * KIB)  /* bytes of the last piece, which is read before it is sent */

typedef enum { UPLOAD_CREATE, UPLOAD_ASK, UPLOAD_CHECK, UPLOAD_SEND, UPLOAD_DESCRIBE } UploadStep;

/* A large file's. */
typedef struct {
    UploadStep step;
    Buf location; /* path of the upload there, terminated; empty: there is none */
    Buf header;   /* of the request */
    LocalFile of; /* the file that it is of; not open */
    HashRun *run; /* over the bytes that were read */
    uint8_t state[HASH_RUN_STATE_MAX]; /* of run behind state_at bytes: where the piece begins */
    size_t state_len;
    uint64_t state_at;
    uint64_t offset; /* bytes that the server keeps, as far as is known */
    uint64_t kept;   /* of these, sent by an earlier run */
    uint64_t piece;  /* bytes of the request */
    unsigned detours;
    bool going_on; /* the last request was no failure */
    bool earlier;  /* the upload is an earlier run's, not asked about yet */
    bool forward;  /* the last request was not for nothing */
    bool made;     /* the file is there */
    /* Of the answer. */
    Buf new_location;
    bool has_offset;
    bool has_length;
    uint64_t new_offset;
    uint64_t new_length;
} UploadPieces;

/* Where it goes. */
typedef struct {
    Str bucket;
    const char *url; /* of the server */
    bool follow;     /* the file may be a symbolic link */
    bool describe;   /* upload_end() has to give the whole FILE */
    Rng *rng;
} UploadTo;

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
    bool large;    /* it goes in pieces */
    UploadPieces pieces;
    char repeat[REMOTE_REPEAT_SIZE]; /* of one that does not … */
    LocalFile repeat_of;             /* … as it was then, not open, … */
    Sha256 repeat_digest;            /* … and of a small one its bytes */
    char header[sizeof "Holdfast-Meta-Mtime: " + UPLOAD_MTIME_SIZE + REMOTE_REPEAT_SIZE];
} Upload;

/* relative below root ("": root is the file itself) becomes the key prefix + relative. upload's
 * call is initialized and stays so. Errors: as buf_append(); upload_deinit() is due all the same.
 */
MUST_USE ErrCode upload_init(Upload *upload, const char *root, Str prefix, Str relative, Err *err);
/* Frees all but the call. */
void upload_deinit(Upload *upload);
/* Opens the file, for each attempt; a large one is read up to where the server has it, in steps:
 * *verdict as of a PoolOps. Errors: as local_open(); key_check()'s; ERR_ABORTED: it changes. */
MUST_USE ErrCode upload_prepare(Upload *upload, const UploadTo *to, PoolVerdict *verdict, Err *err);
/* Fills in the request. ERR_ABORTED: it changes while it is read. */
MUST_USE ErrCode upload_begin(Upload *upload, const UploadTo *to, Err *err);
/* The answer is a success: has the server stored what was sent? */
MUST_USE ErrCode upload_end(Upload *upload, const UploadTo *to, Err *err);
/* Behind upload_end() and behind a failure: as of a PoolOps. */
PoolNext upload_follow(Upload *upload, const UploadTo *to, ErrCode code);
/* Behind upload_end(): no request follows. */
bool upload_over(const Upload *upload, const UploadTo *to);
/* The FILE that was made, after the last upload_end(); the caller frees it. With to->describe as
 * the server tells it, else at least bucket, key, size, sha256. ERR_PEER. */
MUST_USE ErrCode upload_stored(Upload *upload, const UploadTo *to, json_t **stored, Err *err);
/* Bytes that this run has moved of a file that is not done, for progress. */
uint64_t upload_moving(const Upload *upload);
/* Bytes of it that an earlier run moved. */
uint64_t upload_kept(const Upload *upload);
/* Bytes that the server keeps of a file that is not done, for the next run. */
uint64_t upload_begun(const Upload *upload);

/* ---- upload_pieces.c, for upload.c ---- */
void upload_pieces_init(UploadPieces *pieces);
void upload_pieces_deinit(UploadPieces *pieces);
/* The file was opened anew. */
void upload_pieces_opened(Upload *upload, const UploadTo *to);
MUST_USE ErrCode upload_pieces_prepare(Upload *upload, const UploadTo *to, PoolVerdict *verdict,
                                       Err *err);
MUST_USE ErrCode upload_pieces_begin(Upload *upload, const UploadTo *to, Err *err);
MUST_USE ErrCode upload_pieces_end(Upload *upload, const UploadTo *to, Err *err);
PoolNext upload_pieces_follow(Upload *upload, const UploadTo *to, ErrCode code);

/* "1764323123.000000042" of nanoseconds since 1970. */
const char *upload_mtime_text(int64_t mtime_ns, char out[UPLOAD_MTIME_SIZE]);

#endif
