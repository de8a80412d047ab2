/* What the crash states of uploads share: a whole node on which an upload is made in steps, an
 * oracle that knows which step was acknowledged, and the check that what is found after a crash is
 * that step or the one behind it, before and after everything is applied, with its extents and no
 * more. */
#ifndef HOLDFAST_TEST_SIM_UPLOAD_KIT_H
#define HOLDFAST_TEST_SIM_UPLOAD_KIT_H

#include "node_kit.h"

#define UPLOAD_KIT_EXTENTS 3
#define UPLOAD_KIT_BODY 198000 /* bytes */

typedef struct {
    FileId id;
    VersionId version; /* of the upload's row */
    unsigned acked;    /* which of the test's states there is; 0 at first */
    unsigned asked;    /* the acked one, or the step behind it */
    uint64_t seed;
    Extent extents[UPLOAD_KIT_EXTENTS];
    uint8_t body[UPLOAD_KIT_BODY];
} UploadKit;

/* What the test found on a node: one of its states, and how many extents are the upload's or the
 * file's in it. */
typedef struct {
    unsigned state;
    size_t extents;
} UploadKitFound;

typedef ErrCode UploadKitSteps(NodeKit *kit, UploadKit *oracle, Err *err);
typedef ErrCode UploadKitLook(NodeKit *kit, const UploadKit *oracle, UploadKitFound *out, Err *err);

/* As CrashWorkload has them. setup: makes the node and draws the upload's id. */
void *upload_kit_new(uint64_t seed);
void upload_kit_free(void *oracle);
MUST_USE ErrCode upload_kit_setup(Disk *disk, void *oracle, Err *err);
/* The same, of these steps; of what look finds. */
MUST_USE ErrCode upload_kit_run(Disk *disk, UploadKit *oracle, UploadKitSteps *steps, Err *err);
MUST_USE ErrCode upload_kit_verify(Disk *disk, const UploadKit *oracle, UploadKitLook *look,
                                   uint64_t *outcome, Err *err);
/* Submits m, after which there is what state says; ends m. */
MUST_USE ErrCode upload_kit_step(NodeKit *kit, UploadKit *oracle, Mutation *m, unsigned state,
                                 Err *err);
/* Bytes from..to-1 of the body as an extent, finished, into extents[number]. */
MUST_USE ErrCode upload_kit_extent(NodeKit *kit, UploadKit *oracle, size_t number, size_t from,
                                   size_t to, Err *err);
/* ERR_ABORTED: the body of found is not these bytes. */
MUST_USE ErrCode upload_kit_check(NodeKit *kit, const StoreFound *found, Str bytes, Err *err);
/* Is there a file of that key in the bucket "files"? */
MUST_USE ErrCode upload_kit_find(NodeKit *kit, Str key, StoreFound *found, bool *there, Err *err);
/* The number of that bucket. */
MUST_USE ErrCode upload_kit_bucket(NodeKit *kit, BucketUid *out, Err *err);

#endif
