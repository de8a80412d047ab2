/* Walk: the files below a directory, one at a time, in the order the file system gives them, so
 * that memory depends on the depth and not on their number; or in the order of their paths as
 * bytes, which is that of keys, and then the names of each open directory are held. Symbolic links
 * are not followed. One thread. */
#ifndef HOLDFAST_CLI_WALK_H
#define HOLDFAST_CLI_WALK_H

#include "cli/local_file.h"

#define WALK_DEPTH_MAX 200 /* an open directory each */
#define WALK_PATH_MAX 4096 /* bytes below the root */

typedef struct Walk Walk;

typedef enum {
    WALK_END,
    WALK_FILE,    /* a regular file */
    WALK_SKIPPED, /* a link, device, socket or pipe: err says which */
    WALK_FAILED   /* can't be read: err says why; the walk goes on */
} WalkKind;

typedef struct {
    WalkKind kind;
    Str relative;     /* below the root; until the next call */
    uint64_t size;    /* bytes of a file */
    int64_t mtime_ns; /* of a file */
} WalkEntry;

typedef enum { WALK_ANY_ORDER, WALK_SORTED } WalkOrder;

/* Errors: those of local_dir_open(). */
MUST_USE ErrCode walk_open(const char *root, WalkOrder order, Walk **out, Err *err);
void walk_close(Walk *walk); /* NULL is fine */
/* The next entry that is no directory. err tells about WALK_SKIPPED and WALK_FAILED. */
WalkEntry walk_next(Walk *walk, Err *err);

AUTO_DEFINE(Walk, walk_close);

#endif
