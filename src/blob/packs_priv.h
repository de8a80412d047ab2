/* Shared by packs.c (writing), pack_files.c (open descriptors) and pack_scan.c (reading a pack from
 * its head). The layout above the records of format/pack.h is a matter of this folder:
 *
 *   header 4096 | batch | batch | ...      batch: mark, record, record ..., zeros up to a block
 *
 * What stands between two packs_sync() is one batch, which begins with a mark (format/pack_mark.h):
 * a bad record before a place that some mark says was synced is damage; behind the last such place
 * it is the torn end of a batch that nobody was told of. */
#ifndef HOLDFAST_BLOB_PACKS_PRIV_H
#define HOLDFAST_BLOB_PACKS_PRIV_H

#include "base/buf.h"
#include "base/lock.h"
#include "blob/packs.h"
#include "format/pack_mark.h"
#include <stdatomic.h>

#define PACK_FILES_MAX 64                                           /* descriptors kept open */
#define PACK_RECORD_MAX (PACK_RECORD_HEADER_LEN + PACK_PAYLOAD_MAX) /* bytes, with padding */

/* An open pack file. Its File is read by any threads; the counts belong to the lock
 * of PackFiles. */
typedef struct {
    uint64_t number;
    File *file;
    uint64_t used; /* tick of the last use */
    uint32_t refs; /* readers in it now */
    bool cached;   /* in the table; else closed with the last reader */
} PackFile;

/* Descriptors for reading, least recently used closed first. Any thread. */
typedef struct {
    Disk *disk;
    Uuid root;
    Lock lock;
    PackFile *slots[PACK_FILES_MAX];
    uint64_t tick;
    uint64_t forgotten; /* number of pack_files_forget() calls */
} PackFiles;

struct Packs {
    Disk *disk;
    Uuid root;
    uint64_t pack_size; /* bytes */
    Clock *clock;
    PackFiles files;
    _Atomic uint64_t newest; /* highest number that was ever given to a pack here */

    /* The appender's own. */
    File *active;     /* NULL: the next append makes a pack */
    uint64_t tried;   /* number that was last tried to be made */
    Buf batch;        /* encoded, not yet written */
    uint64_t written; /* offset in the pack where batch goes */
    bool batch_open;  /* a mark was appended since the last sync */
    bool failed;      /* for good */
    PackEnd synced;   /* where the last synced batch ended; what the next mark says */

    /* Under files.lock, for readers: how much of the pack being written is synced. */
    PackEnd shared;
};

void pack_files_init(PackFiles *files, Disk *disk, Uuid root);
/* No reader may be left. */
void pack_files_deinit(PackFiles *files);
/* Opens pack number and verifies its header, or finds it open. The caller gives *out back.
 * Errors: ERR_NOT_FOUND; ERR_FOREIGN: another root's; ERR_CORRUPT; ERR_IO; ERR_SYSTEM. */
MUST_USE ErrCode pack_files_take(PackFiles *files, uint64_t number, PackFile **out, Err *err);
/* The same past the system's cache, and for the caller alone. */
MUST_USE ErrCode pack_files_take_direct(PackFiles *files, uint64_t number, PackFile **out,
                                        Err *err);
void pack_files_give(PackFiles *files, PackFile *file);
/* Closes pack number as soon as its readers are done, and keeps no descriptor that is being opened
 * meanwhile. */
void pack_files_forget(PackFiles *files, uint64_t number);

/* As packs_list(), in packs/ of disk. */
MUST_USE ErrCode pack_numbers(Disk *disk, uint64_t **out, size_t *count, Err *err);

#endif
