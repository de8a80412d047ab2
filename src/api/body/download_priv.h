/* What download.c (the loop's side: sending) and download_fill.c (verifying) share. */
#ifndef HOLDFAST_API_BODY_DOWNLOAD_PRIV_H
#define HOLDFAST_API_BODY_DOWNLOAD_PRIV_H

#include "api/body/download.h"

#define PIECES 2 /* one is verified while the other is sent */

/* Verified bytes on their way out: chunks of one extent, mapped, or else one chunk in memory. */
typedef struct {
    size_t len;          /* bytes left to send; 0: free */
    uint64_t from;       /* of the first of them in the extent */
    uint32_t extent;     /* its number */
    BlobWindow window;   /* mapped; closed if data is set */
    const uint8_t *data; /* in buffer or heap: the bytes from `from` on */
    Buffer *buffer;      /* of the pool, or */
    void *heap;          /* for chunks larger than the pool's buffers */
    int fd;              /* of the extent, for a window */
    bool was_resident;   /* nothing was waited for to fill it */
    BlobReader *last;    /* owned: the extent's reader, after its last chunk */
} Piece;

/* The filler's: what is verified next. A worker has it while it is busy, else the loop. */
#define MENDS_MAX 4
typedef struct {
    Service *service;
    Store *store; /* of what was looked up */
    Blobs *blobs; /* its */
    BlobReader
        *mended[MENDS_MAX]; /* owned: of files that were damaged; pieces may still send from them */
    unsigned mends;
    Buffers *buffers;
    const Extent *extents;
    uint64_t pos; /* next byte of the file */
    uint64_t end; /* of the range, in the file */
    uint32_t extent;
    uint64_t extent_from; /* where it begins in the file */
    BlobReader *reader;   /* of extent; NULL: not open */
    uint32_t bad_extent;  /* after a failure: where, in the extent */
    uint64_t bad_offset;
} Fill;

/* Verifies the next bytes into piece, which is free, and moves fill behind them. May wait for the
 * disk. An extent that can't be read back is first put back from another root, if one has it whole.
 * Errors: ERR_BUSY: neither memory to map nor a buffer; again later. ERR_NOT_FOUND,
 * ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY. */
MUST_USE ErrCode download_fill(Fill *fill, Piece *piece, Err *err);
/* Stored bytes are not what was written, or cannot be read. */
bool download_is_damage(ErrCode code);
/* The same, but only by what is in memory, of an extent that is open: never waits, at most a
 * window's bytes are verified. *done: false if it can't, and nothing has changed. */
MUST_USE ErrCode download_fill_now(Fill *fill, Piece *piece, bool *done, Err *err);
/* All is sent or given up: back to free. A buffer is kept for the next chunk unless all is true. */
void download_piece_clear(Piece *piece, bool all);

#endif
