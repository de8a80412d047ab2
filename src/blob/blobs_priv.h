/* Shared by blobs.c, blob_writer.c and blob_reader.c. */
#ifndef HOLDFAST_BLOB_BLOBS_PRIV_H
#define HOLDFAST_BLOB_BLOBS_PRIV_H

#include "base/lock.h"
#include "base/omap.h"
#include "blob/blobs.h"
#include "blob/body_pool.h"
#include <stdatomic.h>

#define BLOB_LEAVES (256 * 1024) /* directories blobs/ab/cd that there can be */

struct Blobs {
    Disk *disk;
    Uuid root;
    uint32_t chunk_size; /* bytes */
    atomic_bool failed;  /* a sync failed: nothing more is finished */
    BodyPool *pool;      /* NULL: whoever writes does it itself, and waits */
    Lock lock;
    OMap *pins;                          /* under lock: how often, by body and number */
    uint8_t leaf_known[BLOB_LEAVES / 8]; /* under lock: this process made it durable */
};

/* staging/BODY.EXTENT.tmp */
void blob_staging_path(BodyId body, uint32_t extent, char out[BLOB_PATH_MAX]);
/* "ID.NUMBER" as blob_path() writes it, in the directory dir. */
bool blob_name_parse(const char *dir, const char *name, BodyId *body, uint32_t *extent);
/* Makes the directory of body's extents, durable with its parents. ERR_NO_SPACE, ERR_IO. */
MUST_USE ErrCode blob_leaf_make(Blobs *blobs, BodyId body, Err *err);

#endif
