/* Fsck: reads a stopped storage root whole, without changing a byte of it, and tells each place
 * that is not what was written, and where the views (packs, blobs, index) and the log do not agree.
 * It does what a server would refuse to: goes on behind damage. Memory does not grow with the
 * number of files; what must be sorted goes to a scratch directory elsewhere. One thread. */
#ifndef HOLDFAST_FSCK_FSCK_H
#define HOLDFAST_FSCK_FSCK_H

#include "base/hash.h"
#include "disk/disk.h"
#include "format/ids.h"

typedef enum {
    FSCK_NOTE = 1, /* as a crash leaves things; the next start sees to it */
    FSCK_DAMAGE    /* not what was written, or lacking, or views that contradict each other */
} FsckLevel;

#define FSCK_KIND_LACKS "index-lacks" /* see FsckReport.lacking */

/* What a place belonged to. */
typedef struct {
    BucketUid bucket;
    Str bucket_name; /* empty if not known */
    Str key;
    VersionId version;
    FileId file;
} FsckOwner;

typedef struct {
    FsckLevel level;
    const char *kind; /* one word for programs: "pack-record", "index-page", … */
    const char *path; /* in the root */
    uint64_t offset;
    uint64_t length;        /* bytes; 0: the file as a whole, or not known */
    const FsckOwner *owner; /* NULL: not known, or nobody's */
    const char *text;
    const char *mend; /* what mends it, "" if nothing does */
} FsckFinding;

/* What a root has of a shard, as far as it can be read. */
typedef struct {
    bool seen;       /* log or index tell of it */
    bool incomplete; /* a copy from another root was begun and is not whole: it proves nothing */
    Lsn applied;     /* in the index: committed, and here with its bodies */
    Term applied_term;
    Sha256 applied_hash;
    Lsn last; /* the log's end, or the index's where that is further */
    Term last_term;
    Lsn commit; /* the highest that log or index say was committed */
} FsckShard;

typedef struct {
    Disk *disk;    /* the root; must be locked by the caller */
    Disk *scratch; /* an empty directory elsewhere; what is left there is the caller's to remove */
    ErrCode (*finding)(void *ctx, const FsckFinding *finding, Err *err);
    void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total); /* may be NULL */
    void *ctx;
    bool only_ends;    /* neither packs nor blobs are read */
    FsckShard *shards; /* SHARD_COUNT_MAX of them, filled; may be NULL */
} FsckOptions;

typedef struct {
    uint64_t damages;
    uint64_t mendable; /* damages of them that fsck_repair() mends */
    uint64_t lacking;  /* damages of them of kind "index-lacks": none if a copy from another root
                          took  those files away, which packs do not tell */
    uint64_t notes;
    uint64_t files;    /* versions that the index names */
    uint64_t bytes;    /* read */
    uint64_t repaired; /* by fsck_repair() */
    unsigned copies;   /* that its store has, by its control.json; 0: that can't be read */
} FsckReport;

/* Errors: ERR_NOT_FOUND: there is no root.json nor anything of a root; ERR_IO of scratch, what
 * finding() gave. Damage is none: report->damages. */
MUST_USE ErrCode fsck_run(const FsckOptions *options, FsckReport *report, Err *err);

/* The same, and then mends what can be mended without losing anything, in a disk that may be
 * written to: wrong counts, missing rows of ids, references that nothing has; bodies that nothing
 * names, torn ends and strangers' files go to quarantine/. Nothing is deleted. An index.db of which
 * a page is damaged is left to `holdfast recover --rebuild index`. finding() is called as above,
 * before. */
MUST_USE ErrCode fsck_repair(const FsckOptions *options, FsckReport *report, Err *err);

#endif
