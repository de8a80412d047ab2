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

#define PACK_PATH_MAX 40
/* packs/NUMBER.pack */
void pack_path(uint64_t number, char out[PACK_PATH_MAX]);
/* The number of the pack at path; 0: it is no pack's. */
uint64_t pack_path_number(const char *path);

/* Opens packs/ (made if absent). The clock must outlive it. Never appends to a pack of an earlier
 * process. */
MUST_USE ErrCode packs_open(Disk *disk, const PacksOptions *options, Packs **out, Err *err);
void packs_free(Packs *packs);
/* Cuts off the torn end that a crash has left behind known_end in the newest pack, durably: *cut
 * bytes, 0 if there is none. Records up to known_end are in the index (0: none), all others still
 * in the log. Whole records behind a torn one would else stand where no scan gets, and be found
 * again by pack_walk() when the log has them no more. Before the first append and the first reader.
 * Damage, and what can't be read, is left alone. ERR_IO (of the cut itself), ERR_SYSTEM. */
MUST_USE ErrCode packs_cut_torn(Packs *packs, uint64_t known_end, uint64_t *cut, Err *err);
/* Appends a record to the batch; *place is where it will stand, and may be read from when
 * packs_sync() has returned. Not durable until then. Errors: ERR_TOO_BIG; ERR_NO_SPACE, ERR_SYSTEM,
 * ERR_NO_MEMORY: nothing is given up, the call can be made again; ERR_IO, after which the Packs
 * take nothing more (ERR_ROOT_FAILED); reading goes on. */
MUST_USE ErrCode packs_append(Packs *packs, const PackRecord *record, PackPlace *place, Err *err);
/* Writes and syncs the batch: all that was appended is durable then. Errors as packs_append(), but
 * of the sync itself every one is final. OK without a batch. */
MUST_USE ErrCode packs_sync(Packs *packs, Err *err);
/* The next record goes to a new pack. The appender's, between batches; errors as packs_sync(). */
MUST_USE ErrCode packs_leave(Packs *packs, Err *err);
/* Reads and verifies one record; views point into buf (cleared first). With check_body also the
 * SHA-256 of the body. That the record is the file asked for, the caller compares. ERR_CORRUPT,
 * ERR_NOT_FOUND (pack gone: look up again), ERR_FOREIGN (another root's), ERR_IO. */
MUST_USE ErrCode packs_read(Packs *packs, const PackPlace *place, bool check_body, Buf *buf,
                            PackRecord *out, Err *err);
/* Numbers of all packs, rising; *out from mem_new_array (mem_free()). */
MUST_USE ErrCode packs_list(Packs *packs, uint64_t **out, size_t *count, Err *err);
typedef ErrCode (*PackScanFn)(void *ctx, const PackRecord *record, const PackPlace *place,
                              Err *err);
/* Every record of a pack in order, for rebuilding an index, scrub and compaction; of the pack being
 * written, what is synced. A torn end of the last batch ends the scan without error and sets
 * *torn_at (else 0). Damage before the end of a batch that is known to be synced, because a later
 * batch or the next pack says so: ERR_CORRUPT, after the good records before it. For the last batch
 * of a process nothing says so: there the caller compares *torn_at with what the index knows. */
MUST_USE ErrCode packs_scan(Packs *packs, uint64_t number, PackScanFn fn, void *ctx,
                            uint64_t *torn_at, Err *err);
/* The same in pieces, for scans that give way to other work: opened, record by record, freed.
 * direct: past the system's cache (DISK_OPEN_DIRECT). One thread at a time. The pack may be removed
 * meanwhile; what was opened can be read to its end. */
typedef struct PackScan PackScan;
MUST_USE ErrCode pack_scan_open(Packs *packs, uint64_t number, bool direct, PackScan **out,
                                Err *err);
/* The next good record (views, until the next call); *found false behind the last, as the end of
 * packs_scan(). ERR_CORRUPT as there, after the good records. */
MUST_USE ErrCode pack_scan_next(PackScan *scan, PackRecord *record, PackPlace *place, bool *found,
                                Err *err);
/* Bytes of the file that the scan looks at; and, behind the last record, where a torn end begins
 * (else 0) and where the last good record ends. */
uint64_t pack_scan_size(const PackScan *scan);
uint64_t pack_scan_torn_at(const PackScan *scan);
uint64_t pack_scan_records_end(const PackScan *scan);
void pack_scan_free(PackScan *scan); /* NULL is fine */
/* The highest number that a pack has or had; 0: none. Any thread. */
uint64_t packs_newest(const Packs *packs);
/* Numbers up to this one are taken, though packs/ does not show it (a pack was lost): what the
 * index says of a lost pack must never meet another pack of its number. Before the first append. */
void packs_reserve(Packs *packs, uint64_t number);
/* Unlinks a pack that no row needs any more; OK if it is not there. Not synced. ERR_BUSY: the
 * newest pack, whose number must not come up again. */
MUST_USE ErrCode packs_remove(Packs *packs, uint64_t number, Err *err);

AUTO_DEFINE(Packs, packs_free);
AUTO_DEFINE(PackScan, pack_scan_free);

#endif
