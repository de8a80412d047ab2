/* CopyRoot: makes a storage root anew from another one of the same store (REPLICATION.md, section
 * 7; docs/decisions/0016): its packs, blobs and index are copied, what is read back is compared,
 * the log is begun where that index ends, under a new root uuid. It then learns what it lacks from
 * the others, as a new directory does.
 *
 *   recover/plan  -> recover/root/…: each file copied, synced, read back, only then under its name
 *   -> index, log, root.json -> read whole by fsck -> recover/ready
 *   -> what stood here to quarantine/before_recover_N -> recover/moved -> recover/root here
 *   -> no ready -> no moved
 *
 * Before recover/ready nothing of the old root is touched; from it on each run goes on, and no
 * server opens the directory. Killed anywhere, run again: files that are copied stay, as long as
 * the source was not started since. One thread. */
#ifndef HOLDFAST_FSCK_COPY_ROOT_H
#define HOLDFAST_FSCK_COPY_ROOT_H

#include "control/control.h"
#include "fsck/fsck.h"
#include "store/root.h"

typedef struct {
    const char *what; /* "copying", "reading back" */
    uint64_t files;
    uint64_t files_total;
    uint64_t bytes; /* in this run */
    uint64_t bytes_kept;
    uint64_t bytes_total;
} CopyRootProgress;

typedef struct {
    Disk *source; /* whole, stopped and locked; nothing is written there */
    RootInfo from;
    Control
        *control; /* what is in force of the local control store: the copy gets it; NULL: none */
    uint64_t lacking; /* of the source, see FsckReport: the copy has as many */
    Disk *target;     /* locked */
    Disk *scratch;    /* an empty directory elsewhere */
    Clock *clock;
    uint64_t seed;                                                 /* of the new uuids */
    void (*progress)(void *ctx, const CopyRootProgress *progress); /* may be NULL */
    /* What is damaged in the copy, as fsck tells it; may be NULL. */
    ErrCode (*finding)(void *ctx, const FsckFinding *finding, Err *err);
    void *ctx;
} CopyRootOptions;

typedef struct {
    Uuid root;           /* the new one */
    uint64_t files;      /* copied by this run */
    uint64_t bytes;      /* of these */
    uint64_t files_kept; /* copied by an earlier one */
    uint64_t bytes_kept;
    char aside[64]; /* where what stood here is now; "": there was nothing */
} CopyRootReport;

/* Is the copy whole, and waits only to take its place? Then no source is needed. */
MUST_USE ErrCode copy_root_is_ready(Disk *target, bool *ready, Err *err);
/* Bytes that a copy takes beyond what an earlier run left, with what a start needs. */
MUST_USE ErrCode copy_root_needs(const CopyRootOptions *options, uint64_t *bytes, Err *err);
/* Copies and checks; at the end recover/ready is there. Errors: ERR_CORRUPT: a file of the source
 * can't be read, or what was copied is not whole, err and finding() name it: nothing but recover/
 * was changed, and the next run copies anew; ERR_NO_SPACE, ERR_IO. */
MUST_USE ErrCode copy_root_make(const CopyRootOptions *options, CopyRootReport *report, Err *err);
/* Puts the copy in its place. ERR_EXISTS: the place in quarantine/ is taken; ERR_IO. */
MUST_USE ErrCode copy_root_place(Disk *target, CopyRootReport *report, Err *err);

#endif
