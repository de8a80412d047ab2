/* Reading back: whether what a row says of a version's bytes can be read from the disk itself, past
 * the page cache, as it was written. For whoever mends, and for whoever was told too early. Any
 * thread. */
#ifndef HOLDFAST_STORE_READ_BACK_H
#define HOLDFAST_STORE_READ_BACK_H

#include "format/pack.h"
#include "store/store.h"

/* Called with the bytes that were just read; false: it ends with ERR_SHUTTING_DOWN. */
typedef bool (*ReadPace)(void *ctx, uint64_t bytes);

/* Is that the outcome of bytes that are damaged or gone, and not of a disk that is busy? */
bool read_back_is_damage(ErrCode code);
/* Is body what row says? ERR_FOREIGN, ERR_CORRUPT. */
MUST_USE ErrCode read_back_check_body(const FileRow *row, Str body, Err *err);
/* Is record that of row, and its body what row says? Errors as before. */
MUST_USE ErrCode read_back_check_record(const PackRecord *record, const FileRow *row, Err *err);
/* A small body, by the place that row says, into record. ERR_CORRUPT, ERR_FOREIGN, ERR_END, ERR_IO,
 * ERR_NOT_FOUND: it is damaged or gone; other errors: not known. */
MUST_USE ErrCode read_back_small(Store *store, const FileRow *row, Buf *record, Err *err);
/* An extent, all of it. The same errors. */
MUST_USE ErrCode read_back_extent(Store *store, const Extent *extent, ReadPace pace, void *ctx,
                                  Err *err);

/* What became of a version that a root is to have. */
typedef enum {
    READ_BACK_WHOLE = 1, /* it stands on the disk, all of it */
    READ_BACK_LATER,     /* it is in the log only, or there is no row of it (yet) */
    READ_BACK_BAD        /* it can't be read; it was listed as damaged, and err says why */
} ReadBack;
/* The version of a name on the root of reader. bucket, key and version are its; record: memory for
 * a record of packs. Errors: of the index; ERR_SHUTTING_DOWN, ERR_BUSY … */
MUST_USE ErrCode read_back_version(StoreReader *reader, BucketUid bucket, Str key,
                                   VersionId version, Buf *record, ReadPace pace, void *ctx,
                                   ReadBack *out, Err *err);

#endif
