/* Salvage: hands out every file of a stopped root that is still whole, from whatever holds it:
 * pack, blob or log; also of a root that a server refuses to start from. Changes nothing. One
 * thread. */
#ifndef HOLDFAST_FSCK_SALVAGE_H
#define HOLDFAST_FSCK_SALVAGE_H

#include "fsck/fsck.h"

typedef struct {
    FsckOwner owner;
    uint64_t size;
    Sha256 digest; /* of the body, if digest_known */
    bool digest_known;
} SalvageFile;

typedef struct {
    Disk *disk;    /* the root */
    Disk *scratch; /* as in FsckOptions */
    /* A file's body comes: begin, bytes…, end. good false: it is not whole after all, and another
     * begin of the same file may follow. Anything but OK ends the run. */
    ErrCode (*begin)(void *ctx, const SalvageFile *file, Err *err);
    ErrCode (*bytes)(void *ctx, const void *data, size_t len, Err *err);
    ErrCode (*end)(void *ctx, const SalvageFile *file, bool good, Err *err);
    /* The file could not be had from anywhere; text says why. */
    ErrCode (*lost)(void *ctx, const SalvageFile *file, const char *text, Err *err);
    void *ctx;
} SalvageOptions;

typedef struct {
    uint64_t saved;
    uint64_t lost;
    bool index_damaged;  /* so packs and log say which files there are */
    uint64_t bad_places; /* in packs and log: what they held is not known */
} SalvageReport;

/* The newest version of every file, in the order of names. Where index.db can be read to its end it
 * says which files there are, else packs and log do, and a file whose only record is damaged is not
 * known of (bad_places counts). Errors: ERR_IO of scratch, what the callbacks gave. */
MUST_USE ErrCode fsck_salvage(const SalvageOptions *options, SalvageReport *report, Err *err);

#endif
