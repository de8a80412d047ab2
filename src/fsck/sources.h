/* Sources: from which other directory of its store a root may be made anew. Only one that holds
 * every committed entry of the shards that it had (of all, if it can't be told which): a member in
 * sync (isr, or elr) by the rows that a majority of the control store's copies agree on, in the
 * incarnation that they name, with verdict clean; of these the one whose log is longest. All are
 * stopped, and locked by the caller; nothing is written. One thread.
 */
#ifndef HOLDFAST_FSCK_SOURCES_H
#define HOLDFAST_FSCK_SOURCES_H

#include "control/control.h"
#include "fsck/fsck.h"
#include "store/root.h"

#define SOURCES_MAX 32
#define SOURCE_WHY_MAX 240

typedef struct {
    const char *dir; /* as people call it */
    Disk *disk;
    ErrCode read; /* of root.json */
    RootInfo root;
    uint64_t lacking;         /* by sources_check_whole(): see FsckReport */
    FsckShard *shards;        /* SHARD_COUNT_MAX; NULL: not read. Freed by sources_deinit() */
    bool *keeps;              /* the same: of these shards it is a member, and is asked */
    char why[SOURCE_WHY_MAX]; /* why nothing can be copied from it; "": it can */
} Source;

typedef struct {
    Source items[SOURCES_MAX];
    size_t count;
    Source target; /* disk NULL: the directory is not there yet */
    /* One is taken of which fsck finds nothing but files in packs that the index does not name: a
     * copy from another root took them away, or rows are lost, and nothing says which. */
    bool take_lacking;
    Control *control; /* what is in force, by sources_judge() */
    Disk *scratch;    /* an empty directory elsewhere */
    void (*progress)(void *ctx, const char *dir, uint64_t done, uint64_t total); /* may be NULL */
    ErrCode (*finding)(void *ctx, const char *dir, const FsckFinding *finding, Err *err);
    void *ctx;
} Sources;

/* Reads root.json of each, and drops what is of no store or of another one than the target's; the
 * one at `named` (count: none) stays, or the error is why not. ERR_PRECONDITION: of which store the
 * target was can't be told. */
MUST_USE ErrCode sources_read(Sources *sources, size_t named, Err *err);
/* Which of them hold every committed entry: fills why. ERR_PRECONDITION: too few of the control
 * store's copies are here to say. */
MUST_USE ErrCode sources_judge(Sources *sources, Err *err);
/* Is the target whole, and in sync by what is in force? Then nothing is to be made anew. After
 * sources_judge(). */
MUST_USE ErrCode sources_target_whole(Sources *sources, bool *whole, Err *err);
/* The one with the longest log of those that can be copied from; count: none. */
size_t sources_longest(const Sources *sources);
/* Reads all of one: ERR_CORRUPT: it is damaged, finding() told where; why is set. */
MUST_USE ErrCode sources_check_whole(Sources *sources, size_t at, Err *err);
void sources_deinit(Sources *sources);

#endif
