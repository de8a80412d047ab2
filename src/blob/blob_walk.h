/* BlobWalk: verifies whole extents by their files alone, without writing and without Blobs that
 * were opened for a server: for fsck, for copying out what is whole, for making an index anew.
 * Format: format/blob_file.h. Any thread. */
#ifndef HOLDFAST_BLOB_BLOB_WALK_H
#define HOLDFAST_BLOB_BLOB_WALK_H

#include "disk/disk.h"
#include "format/blob_file.h"

#define BLOB_WALK_PATH_MAX 80

typedef struct {
    /* Each place that is not what was written; text is a view. */
    ErrCode (*bad)(void *ctx, uint64_t offset, uint64_t length, const char *text, Err *err);
    /* The plain bytes in order, up to the first bad place; may be NULL. */
    ErrCode (*bytes)(void *ctx, const void *data, size_t len, Err *err);
    void (*progress)(void *ctx, uint64_t bytes); /* bytes read more; may be NULL */
    void *ctx;
} BlobWalkOptions;

typedef struct {
    uint64_t size;   /* bytes of the file */
    bool has_footer; /* footer is good; its attrs are not kept */
    BlobFooter footer;
    uint64_t damages; /* given to bad() */
} BlobWalked;

/* blobs/ab/cd/BODY.EXTENT */
void blob_walk_path(BodyId body, uint32_t extent, char out[BLOB_WALK_PATH_MAX]);
/* The extent that a file in blobs/ is by its path; false if none would have that path. */
bool blob_walk_parse(const char *path, BodyId *body, uint32_t *extent);
/* Reads the extent and verifies footer, table, every chunk and the SHA-256 of all. Errors:
 * ERR_NOT_FOUND, ERR_IO, ERR_SYSTEM, ERR_NO_MEMORY, what a callback gave; damage is none. */
MUST_USE ErrCode blob_walk(Disk *disk, BodyId body, uint32_t extent, const BlobWalkOptions *options,
                           BlobWalked *out, Err *err);

#endif
