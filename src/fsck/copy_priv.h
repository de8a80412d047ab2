/* What the files of copying a root share: copy_root.c (the order of things), copy_files.c (bytes),
 * copy_log.c (the new log), copy_place.c (taking the old one's place). */
#ifndef HOLDFAST_FSCK_COPY_PRIV_H
#define HOLDFAST_FSCK_COPY_PRIV_H

#include "fsck/copy_root.h"

#define COPY_ROOT_DIR ROOT_RECOVER_DIR "/root"
#define COPY_PLAN ROOT_RECOVER_DIR "/plan"
#define COPY_MOVED ROOT_RECOVER_DIR "/moved"
#define COPY_BLOCK (1024 * KIB) /* read and written at once */

typedef struct {
    const CopyRootOptions *options;
    CopyRootReport *report;
    Disk *beside; /* recover/root */
    RootInfo info;
    CopyRootProgress progress;
    HashCtx *hash;
    void *memory;   /* of block */
    uint8_t *block; /* COPY_BLOCK bytes, aligned for DISK_OPEN_BODY */
} CopyRoot;

/* A place to be killed or to fail at, in test builds. */
MUST_USE ErrCode copy_pass(const char *point, Err *err);
void copy_tell(CopyRoot *copy);
/* Sums up what is to be copied, and what of it is there already. */
MUST_USE ErrCode copy_files_count(CopyRoot *copy, uint64_t *bytes, Err *err);
/* Packs, blobs, index. */
MUST_USE ErrCode copy_files(CopyRoot *copy, Err *err);
/* Unlinks all below dir. */
MUST_USE ErrCode copy_files_discard(Disk *disk, const char *dir, Err *err);
/* A log that begins where the copied index ends. */
MUST_USE ErrCode copy_log(CopyRoot *copy, Err *err);

/* Calls fn for each file below dir, with its path; dir absent: none. Files may be unlinked or
 * renamed meanwhile. */
typedef ErrCode (*CopyWalkFn)(void *ctx, const char *path, Err *err);
/* … and dir_fn (may be NULL) for each directory, after what is below it. */
MUST_USE ErrCode copy_walk(Disk *disk, const char *dir, CopyWalkFn fn, CopyWalkFn dir_fn, void *ctx,
                           Err *err);

#endif
