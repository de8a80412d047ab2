/* Rebuild: makes one view of a storage root again from the others (docs/architecture.md, "What
 * happens when"). The root must not be served: the caller holds its lock. One thread.
 *
 *   index   from packs and blobs; how far, and the chain's joint, from the log
 *   packs   damaged ones: what is whole is copied to new ones, what the log holds is taken from it
 *   wal     from the index and what is whole of the old log, under a new root uuid
 *
 * Each builds beside what is there, syncs, moves the old to quarantine/, then puts the new in its
 * place: killed anywhere, run again. */
#ifndef HOLDFAST_STORE_REBUILD_H
#define HOLDFAST_STORE_REBUILD_H

#include "blob/blobs.h"
#include "blob/packs.h"
#include "store/root.h"

/* Something that no view holds any more, or that is damaged. */
typedef enum {
    REBUILD_LOST_ENTRIES = 1, /* shard: lsns from..to are in no pack, and the log begins later */
    REBUILD_DAMAGED_PACK,     /* pack: len bytes from offset are no good */
    REBUILD_DAMAGED_FILE,     /* bucket, key, version: its body, at pack and offset, is lost; it
                                 stays listed */
    REBUILD_DAMAGED_LOG,      /* path: len bytes from offset are no good */
    REBUILD_LOST_TAIL         /* shard: from lsn `from` on (to `to`; 0: nobody knows) */
} RebuildLossKind;

typedef struct {
    RebuildLossKind kind;
    ShardId shard;
    Lsn from;
    Lsn to;
    uint64_t pack;
    const char *path; /* in the root; a view */
    uint64_t offset;
    uint64_t len;
    BucketUid bucket;
    Str key; /* a view */
    VersionId version;
} RebuildLoss;

typedef struct {
    RootInfo root;
    Clock *clock;
    /* Goes on though something is lost for good; without it that is ERR_CORRUPT, and nothing is
     * changed. */
    bool accept_loss;
    /* What is done now ("reading packs"), and how much of it; may be NULL. */
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
    /* May be NULL. */
    void (*loss)(void *ctx, const RebuildLoss *loss);
    /* Log: brings the control store from the uuid options->root has to this one; done again, it
     * does nothing. NULL: there is none. */
    ErrCode (*follow)(void *ctx, Uuid root, Err *err);
    void *ctx;
    uint64_t seed; /* log: of the new uuids */
} RebuildOptions;

typedef struct {
    uint64_t packs;         /* read */
    uint64_t records;       /* good ones in them */
    uint64_t applied;       /* of these: without doubles and those the log gives again */
    uint64_t resumed;       /* of these: by an earlier run that was cut off */
    uint64_t lost_entries;  /* lsns that nobody holds */
    uint64_t left_out;      /* lsns that are in no pack because compaction left them out */
    uint64_t damaged_bytes; /* of packs; what stood there may be in the log, or of no use */
    uint64_t damaged_files; /* whose body is in no pack and no longer in the log */
    bool log_damaged;       /* the log can't be read to its end: `holdfast recover --rebuild wal` */
    bool log_absent;
} RebuildReport;

/* Makes index.db again. The rows are those that the applier made. Opens packs and blobs itself.
 * Errors: ERR_CORRUPT: entries are lost and options->accept_loss is not set, nothing was changed;
 * ERR_NO_SPACE; ERR_FORMAT_VERSION; ERR_FOREIGN; ERR_IO. The old index.db is in quarantine/ or
 * still in its place. */
MUST_USE ErrCode rebuild_index(Disk *disk, const RebuildOptions *options, RebuildReport *report,
                               Err *err);
/* The same for who has packs and blobs open; the index must be closed. */
MUST_USE ErrCode rebuild_index_of(Disk *disk, Packs *packs, Blobs *blobs,
                                  const RebuildOptions *options, RebuildReport *report, Err *err);
/* Makes a log for a root that is alone: under a new root uuid (root.json, and follow() for the
 * control store), with what is whole of the old one and joins index.db, and a SNAPSHOT entry for
 * each shard. Errors: ERR_PRECONDITION: the log is whole; ERR_CORRUPT: accept_loss is not set, or
 * index.db is no good or behind the packs: nothing was changed; as above. */
MUST_USE ErrCode rebuild_wal(Disk *disk, const RebuildOptions *options, RebuildReport *report,
                             Err *err);
/* Was that cut off when it could no longer be taken back? Then only it may be run. */
MUST_USE ErrCode rebuild_wal_unfinished(Disk *disk, bool *unfinished, Err *err);
/* Copies what is whole of damaged packs to new ones, takes from the log what it still holds, points
 * index.db there, moves the damaged packs to quarantine/. index.db must be good: ERR_CORRUPT. */
MUST_USE ErrCode rebuild_packs(Disk *disk, const RebuildOptions *options, RebuildReport *report,
                               Err *err);
/* Is index.db missing from a root whose packs prove that there was one? */
MUST_USE ErrCode rebuild_index_missing(Disk *disk, Packs *packs, bool *missing, Err *err);
/* Unlinks what a rebuild that was cut off left behind, once index.db is good; else does nothing. */
MUST_USE ErrCode rebuild_index_discard(Disk *disk, Err *err);

#endif
