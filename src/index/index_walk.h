/* IndexWalk: looks at every page of a stopped index.db and every frame of its log by their
 * checksums alone, without SQLite and without writing. Format: README.md. Any thread. */
#ifndef HOLDFAST_INDEX_INDEX_WALK_H
#define HOLDFAST_INDEX_INDEX_WALK_H

#include "disk/disk.h"

typedef enum {
    INDEX_BAD_PAGE = 1, /* of index.db, and the log holds no newer one */
    INDEX_BAD_FILE,     /* its length is no number of pages */
    INDEX_BAD_LOG,      /* the head of index.db-wal, of which frames follow */
    INDEX_LOG_END       /* no damage by itself: a frame is not whole, and neither it nor what stands
                           behind it is read; a crash leaves that, and so does damage. What of the
                           index is lost by it, root's log must still hold */
} IndexBadKind;

typedef struct {
    ErrCode (*bad)(void *ctx, IndexBadKind kind, const char *path, uint64_t offset, uint64_t length,
                   const char *text, Err *err);
    void (*progress)(void *ctx, uint64_t bytes); /* bytes read more; may be NULL */
    void *ctx;
} IndexWalkOptions;

/* ERR_NOT_FOUND: no index.db; ERR_IO, ERR_SYSTEM; damage is none. */
MUST_USE ErrCode index_walk(Disk *disk, const IndexWalkOptions *options, Err *err);

#endif
