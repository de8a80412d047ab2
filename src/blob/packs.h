/* Packs: the small bodies of one root (format/pack.h). One appender (the index writer thread);
 * readers on any thread. */
#ifndef HOLDFAST_BLOB_PACKS_H
#define HOLDFAST_BLOB_PACKS_H

#include "base/clock.h"
#include "disk/disk.h"
#include "format/pack.h"
#include "format/row.h"

typedef struct Packs Packs;

#define PACK_SIZE_DEFAULT (64 * MIB) /* a pack is closed at this size */

typedef struct {
    Uuid root;
    uint64_t pack_size; /* bytes; 0: 64 MiB */
    Clock *clock;
} PacksOptions;

/* Opens packs/ (made if absent). Never appends to a pack of an earlier process. */
MUST_USE ErrCode packs_open(Disk *disk, const PacksOptions *options, Packs **out, Err *err);
void packs_free(Packs *packs);
/* Appends a record to the batch; *place is where it will stand. Not durable until packs_sync(). */
MUST_USE ErrCode packs_append(Packs *packs, const PackRecord *record, PackPlace *place, Err *err);
/* Writes and syncs the batch (and the directory for a new pack). After ERR_IO: failed for good. */
MUST_USE ErrCode packs_sync(Packs *packs, Err *err);
/* Reads and verifies one record; views point into buf (cleared first). With check_body also the
 * SHA-256 of the body. ERR_CORRUPT, ERR_NOT_FOUND (pack gone: look up again), ERR_IO. */
MUST_USE ErrCode packs_read(Packs *packs, const PackPlace *place, bool check_body, Buf *buf,
                            PackRecord *out, Err *err);
/* Numbers of all packs, rising; *out from mem_new_array (mem_free()). */
MUST_USE ErrCode packs_list(Packs *packs, uint64_t **out, size_t *count, Err *err);
typedef ErrCode (*PackScanFn)(void *ctx, const PackRecord *record, const PackPlace *place,
                              Err *err);
/* Every record of a pack in order, for rebuilding an index, scrub and compaction. A torn end of the
 * last batch ends the scan without error and sets *torn_at (else 0); damage inside: ERR_CORRUPT. */
MUST_USE ErrCode packs_scan(Packs *packs, uint64_t number, PackScanFn fn, void *ctx,
                            uint64_t *torn_at, Err *err);
/* Unlinks a pack that no row needs any more. Not the one being written. */
MUST_USE ErrCode packs_remove(Packs *packs, uint64_t number, Err *err);

AUTO_DEFINE(Packs, packs_free);

#endif
