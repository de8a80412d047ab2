/* Parts of an upload in parts: rows beside its own (format/upload.h), each a body of at most one
 * extent, durable before the row names it. A part that comes again keeps the bytes of the one
 * before, as an older version, until the upload is over: who has read the parts and makes the file
 * of them finds each extent still there. Lists may run in any thread with its own reader. */
#ifndef HOLDFAST_SERVICE_PARTS_H
#define HOLDFAST_SERVICE_PARTS_H

#include <stdatomic.h>

#include "service/uploads.h"

#define PART_CHECKSUM_MAX 34 /* bytes of ATTR_CHECKSUM */

typedef struct {
    unsigned number; /* 1..UPLOAD_PART_MAX */
    uint64_t size;
    uint64_t updated_ms;
    bool has_extent; /* an empty part has none */
    Extent extent;
    uint8_t md5[MD5_LEN]; /* its etag */
    uint8_t checksum[PART_CHECKSUM_MAX];
    size_t checksum_len; /* 0: none */
} UploadPart;

/* The parts of an upload whose numbers are above after, in their order, up to max; *count below
 * max: these were the last. */
MUST_USE ErrCode service_list_parts(ServiceReader *reader, FileId upload, unsigned after,
                                    UploadPart *out, size_t max, size_t *count, Err *err);
/* The attributes of a part's row: those that it has, and whose it is. */
MUST_USE ErrCode part_attrs(const UploadRecord *upload, Buf *attrs, Err *err);

/* Takes the parts of an upload that is over away, a thousand in one write to the log. Fields are
 * its owner's while no step is under way. */
typedef struct PartsRemoval PartsRemoval;
struct PartsRemoval {
    FileId upload;
    void (*done)(PartsRemoval *removal); /* of a step; on the engine's thread */
    void *ctx;
    bool row;       /* its own row, too, before them */
    unsigned after; /* parts up to here are gone */
    Mutation *mutations;
    size_t count;
    _Atomic size_t left;
};
/* Begins a step: done() is called at its end. *over: there are no parts any more, or none that are
 * seen by now, and nothing was begun. Fails with what the step before failed with. */
MUST_USE ErrCode parts_removal_step(PartsRemoval *removal, ServiceReader *reader, bool *over,
                                    Err *err);
void parts_removal_deinit(PartsRemoval *removal); /* no step is under way */

#endif
