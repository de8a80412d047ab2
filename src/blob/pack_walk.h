/* PackWalk: everything that can still be read of one pack, over its damage, without writing and
 * without Packs. Where packs_scan() ends at the first bad place, this goes on behind it: for fsck,
 * for copying out what is whole, for making an index anew. Layout: blob/packs_priv.h. Any thread.
 */
#ifndef HOLDFAST_BLOB_PACK_WALK_H
#define HOLDFAST_BLOB_PACK_WALK_H

#include "disk/disk.h"
#include "format/pack.h"
#include "format/pack_mark.h"
#include "format/row.h"

typedef enum {
    PACK_BAD_HEADER = 1, /* the header block */
    PACK_BAD_BYTES,      /* no record or mark where one was synced */
    PACK_BAD_RECORD,     /* a record whose CRC is right and whose contents are not */
    PACK_TORN /* bad, and nothing in the packs says that it was synced: the end of a batch
                 that a crash cut off, unless an index names something in it */
} PackBadKind;

typedef struct {
    PackBadKind kind;
    uint64_t offset;
    uint64_t length;
    const char *text; /* what is wrong there; a view */
} PackBad;

typedef struct {
    Uuid root; /* whose pack it must be; zero: whichever root's */
    /* Each good record (CRC, and the body's SHA-256), in order; views. searched: it was found
     * behind a bad place by looking for one, so only its own CRC says that it is one. Anything but
     * OK ends the walk. */
    ErrCode (*record)(void *ctx, const PackRecord *record, const PackPlace *place, bool searched,
                      Err *err);
    ErrCode (*bad)(void *ctx, const PackBad *bad, Err *err);
    void (*progress)(void *ctx, uint64_t bytes); /* bytes read more; may be NULL */
    void *ctx;
} PackWalkOptions;

typedef struct {
    uint64_t size;         /* bytes of the file */
    uint64_t records;      /* given to record() */
    uint64_t record_bytes; /* of all good ones, with padding */
    uint64_t damages;      /* given to bad(), PACK_TORN not counted */
} PackWalked;

/* Numbers of the packs, rising; *out from mem_new_array (mem_free()). No directory: none. */
MUST_USE ErrCode pack_walk_list(Disk *disk, uint64_t **out, size_t *count, Err *err);
/* Walks pack number. Errors: ERR_NOT_FOUND, ERR_IO, ERR_SYSTEM, ERR_NO_MEMORY; damage is none. */
MUST_USE ErrCode pack_walk(Disk *disk, uint64_t number, const PackWalkOptions *options,
                           PackWalked *out, Err *err);
/* Reads and verifies the one record at place, by the file alone; views into buf (cleared first).
 * ERR_NOT_FOUND: no such pack; ERR_CORRUPT; ERR_IO. */
MUST_USE ErrCode pack_walk_read(Disk *disk, const PackPlace *place, Buf *buf, PackRecord *out,
                                Err *err);

#endif
