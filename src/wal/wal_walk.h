/* WalWalk: everything that can still be read of a log that nobody has open, over its damage,
 * without writing. Where wal_open() refuses at the first bad place, this goes on behind it: for
 * fsck, for copying out what is whole, for making views anew. Formats: docs/format.md. One thread.
 */
#ifndef HOLDFAST_WAL_WAL_WALK_H
#define HOLDFAST_WAL_WAL_WALK_H

#include "disk/disk.h"
#include "format/segment.h"

typedef enum {
    WAL_BAD_HEADER = 1, /* the header block of a segment */
    WAL_BAD_FRAME,      /* bytes that are no record, before a place that was synced */
    WAL_BAD_MISSING,    /* whole segments */
    WAL_BAD_FILE, /* a segment of another root, of a wrong size, two different of one number */
    WAL_TORN      /* no damage: what a crash left behind the end of what was synced */
} WalBadKind;

typedef struct {
    WalBadKind kind;
    const char *path; /* in the root; a view */
    uint64_t segment; /* 0: not known */
    uint64_t offset;
    uint64_t length;
    const char *text; /* what is wrong there; a view */
} WalBad;

typedef struct {
    Uuid root; /* whose log it must be; zero: whichever root's */
    /* Each good record but PAD and ATTEST, in log order; payload is a view. Frame CRC, and the
     * checksum and the inline body of entries, are verified. Anything but OK ends the walk. */
    ErrCode (*record)(void *ctx, const char *path, const Frame *frame, Str payload, Err *err);
    ErrCode (*bad)(void *ctx, const WalBad *bad, Err *err);
    void (*progress)(void *ctx, uint64_t bytes); /* bytes read more; may be NULL */
    void *ctx;
} WalWalkOptions;

typedef struct {
    uint64_t segments;
    uint64_t records;  /* given to record() */
    uint64_t damages;  /* given to bad(), WAL_TORN not counted */
    uint64_t first_id; /* of the oldest segment; 0 without any */
    WalPos attested;   /* highest position that the log says was synced */
    WalPos end;        /* where it ends */
} WalWalked;

/* Walks the whole log, twice: first for what it attests, then record by record. A bad place at or
 * below the highest attested position is damage, and what is whole behind it is given all the same;
 * above, the log ends there (WAL_TORN if something of it stands behind). Errors: ERR_IO,
 * ERR_SYSTEM, ERR_NO_MEMORY; damage is none. */
MUST_USE ErrCode wal_walk(Disk *disk, const WalWalkOptions *options, WalWalked *out, Err *err);

#endif
