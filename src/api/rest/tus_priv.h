/* Resumable uploads (tus 1.0, https://tus.io/protocols/resumable-upload): what the files of this
 * part of the door share. What an upload is: service/uploads.h; how its bytes are kept:
 * docs/decisions/0010.
 *
 *   tus.c          OPTIONS, HEAD, DELETE; the headers that every request has
 *   tus_create.c   POST
 *   tus_patch.c    PATCH, and the bytes that a POST brings: the loop's part
 *   tus_sink.c     the worker's part: bytes into extents */
#ifndef HOLDFAST_API_REST_TUS_PRIV_H
#define HOLDFAST_API_REST_TUS_PRIV_H

#include "api/rest/rest_priv.h"
#include "base/hash_run.h"
#include "service/uploads.h"

#define TUS_PIECE_MIN (16 * MIB) /* bytes of an extent, at which it is made durable and named */
#define TUS_PIECES 1024          /* … or that part of the upload so far, if that is more */
#define TUS_CHECKSUM_MAX SHA256_LEN

/* Bytes on their way into an upload. The fields are the loop's while the worker has not got it. */
typedef struct {
    unsigned class; /* of the file to be */
    Store *store;   /* that takes the bytes */
    Service *service;
    UploadFound *upload;
    Clock *clock;
    BlobWriter *writer; /* of the extent being written */
    Buf small;          /* all of the upload's bytes, while they are few */
    Extent *extents;    /* those of the upload that stay, then new ones */
    uint32_t count;
    uint32_t capacity;
    uint32_t named; /* of these the upload's row names */
    HashRun *whole; /* over all of the upload */
    HashCtx *check; /* over what this request brings; NULL: no checksum was sent */
    uint8_t wanted[TUS_CHECKSUM_MAX];
    size_t wanted_len;
    uint64_t offset;  /* bytes of the upload, with what was taken */
    uint64_t coming;  /* bytes that the request still brings, as far as is known */
    bool opened;      /* this request has opened its first extent */
    BodyId next_body; /* of the next extent: given by the loop, which has the chance */
} TusSink;

/* Takes over what upload keeps so far. ERR_CORRUPT, ERR_NO_MEMORY. */
MUST_USE ErrCode tus_sink_begin(TusSink *sink, Err *err);
/* Takes bytes. *cut: an extent is whole, and is to be named. On a worker. */
MUST_USE ErrCode tus_sink_write(TusSink *sink, const uint8_t *data, size_t len, bool *cut,
                                Err *err);
/* Makes what was taken durable. On a worker. */
MUST_USE ErrCode tus_sink_finish(TusSink *sink, Err *err);
/* Has what this request brought its checksum? ERR_CHECKSUM_MISMATCH. */
MUST_USE ErrCode tus_sink_check(TusSink *sink, Err *err);
/* Removes what no row names. On a worker. */
void tus_sink_discard(TusSink *sink);
/* The body of m, an upload's row or the file itself, but for its id: all that was taken. Views into
 * sink. */
void tus_sink_body(TusSink *sink, Mutation *m);
void tus_sink_free(TusSink *sink);

/* --- tus.c --- */
/* The headers that every request but OPTIONS has to have, and every answer. False: answered. */
bool tus_begin(RestCall *call);
/* Upload-Offset, Upload-Length and the like: a number. ERR_INVALID. */
MUST_USE ErrCode tus_number(RestCall *call, Str name, bool *found, uint64_t *out, Err *err);
void tus_expires_header(RestCall *call, uint64_t expires_ms);
/* Of an upload that is over: Upload-Offset and Upload-Length, the same number (*size), and its
 * file. ERR_GONE: that is no more. */
MUST_USE ErrCode tus_done_headers(RestCall *call, const UploadFound *upload, uint64_t *size,
                                  Err *err);
/* Says where the file is, and which. */
void tus_file_headers(RestCall *call, const RestFile *file);
/* The upload of the path. ERR_NOT_FOUND, ERR_GONE, … */
MUST_USE ErrCode tus_find(RestCall *call, UploadFound *out, Err *err);

/* --- tus_patch.c --- */
/* Reads Upload-Checksum, if there is one. ERR_INVALID. */
MUST_USE ErrCode tus_read_checksum(RestCall *call, HashKind *kind, uint8_t *wanted, size_t *len,
                                   Err *err);
/* Takes the body of the request into upload, which was made by this request; NULL: by PATCH. */
void tus_take_body(RestCall *call, UploadFound *created);

#endif
