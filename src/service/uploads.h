/* Uploads that go on: bodies that come in pieces, over hours, from clients that come and go.
 *
 * An upload is a file like others, in a name space that no door reaches (format/upload.h): its row
 * has what the file is to be, and its body is what is kept of it so far, each piece durable before
 * the row that names it. So the log, packs, index, compaction, scrub, fsck and rebuilding need not
 * know of it.
 *
 *   CREATE row --> UPDATE row, one a piece --> CREATE or UPDATE of the file --> DELETE row
 *                       '--> DELETE row: ended by its client, or expired
 *
 * An upload in parts (S3's) has a row for each part beside its own, which then never changes; its
 * bytes are those of the parts that its client names at the end (service/parts.h).
 *
 * Its fate is decided once: the change that makes the file, and the one that ends the upload, carry
 * the same request (service/mutation.h, has_request), which is made of the upload's id. Who comes
 * second is refused, over restarts too, for STORE_REQUEST_KEEP_MS; so long it is also known what
 * became of it. The file takes over the extents, which are counted; nothing is copied. It may only
 * while the row is what it was when they were read from it: the engine looks. Row and file are of
 * one shard, so that no replay takes the row away before the file names the extents. */
#ifndef HOLDFAST_SERVICE_UPLOADS_H
#define HOLDFAST_SERVICE_UPLOADS_H

#include "format/upload.h"
#include "service/service.h"

typedef struct {
    FileId id;
    bool done; /* the file is there; what follows fate_hash tells only of others */
    FileId file;
    VersionId file_version;
    Sha256 fate_hash;    /* the request_hash of the change that made it */
    VersionId version;   /* of its row */
    uint64_t offset;     /* bytes that are kept */
    UploadRecord record; /* views into attrs */
    Buf attrs;
    Buf extents;
    uint32_t extent_count;
    Buf body; /* small: all that is kept, instead of extents */
} UploadFound;

void upload_found_init(UploadFound *found);
void upload_found_deinit(UploadFound *found);
/* What is known of an upload (in parts, or of the other kind), copied. ERR_NOT_FOUND: nothing;
 * ERR_GONE: it was ended, or it has expired, or its file is gone again. One in parts expires when
 * it is ended for that, not before. */
MUST_USE ErrCode service_find_upload(ServiceReader *reader, FileId id, bool parts, uint64_t now_ms,
                                     UploadFound *out, Err *err);

/* The bytes of all uploads that go on, and how many there are, as of some moments ago. */
MUST_USE ErrCode service_uploads_stat(ServiceReader *reader, BucketStatRow *out, Err *err);

/* Makes m, whose type and digest are set, the change that decides the upload's fate: a file of
 * these bytes, or (DELETE_FILE) none. ERR_IDEMPOTENCY is then its answer if another was decided
 * before; ERR_NOT_FOUND of a file, if the row is not of that version any more. */
void upload_decide(Mutation *m, FileId id, bool parts, VersionId version);
/* The request_hash of that change, of a file with such a digest; and its request. */
Sha256 upload_fate(const Sha256 *digest, FileId id);
RequestId upload_request(FileId id, bool parts);
/* Puts record into attrs (cleared first): the attributes of an upload's row. ERR_TOO_LARGE. */
MUST_USE ErrCode upload_attrs(const UploadRecord *record, Buf *attrs, Err *err);

/* A page of the uploads that there are, in the order of their ids. */
typedef struct {
    FileId id;
    BucketUid bucket;
    uint64_t expires_ms;
    VersionId version;
    bool parts;
    bool decided; /* its file is there, or it was ended; only the row is left … */
    bool orphan;  /* … or only parts */
    bool damaged; /* its row can't be decoded: nothing but id and version is known */
} UploadListed;
/* Up to max of them behind after (zero: from the first); *count below max: these were the last.
 * Those of a class that can't be read now are left out. */
MUST_USE ErrCode service_list_uploads(ServiceReader *reader, FileId after, uint64_t now_ms,
                                      UploadListed *out, size_t max, size_t *count, Err *err);

/* Calls fn for each upload of a class whose row there is, in the order of their ids: first with
 * *wanted false, and if it sets that and the upload goes on, again with *wanted true. Views until
 * fn returns. */
typedef ErrCode (*UploadFn)(void *ctx, FileId id, const UploadRecord *record, bool *wanted,
                            Err *err);
MUST_USE ErrCode service_each_upload(ServiceReader *reader, unsigned class, uint64_t now_ms,
                                     UploadFn fn, void *ctx, Err *err);

#endif
