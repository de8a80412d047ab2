/* What the files of rebuilding share. */
#ifndef HOLDFAST_STORE_REBUILD_PRIV_H
#define HOLDFAST_STORE_REBUILD_PRIV_H

#include "blob/pack_walk.h"
#include "store/rebuild.h"
#include "wal/wal_walk.h"

#define REBUILD_DIR "rebuild"
#define REBUILD_QUARANTINE "quarantine"
/* While it is there, bodies that nothing names are moved to quarantine/ instead of unlinked. */
#define REBUILD_KEEP_ORPHANS REBUILD_QUARANTINE "/orphans.keep"

/* While it is there, rows may be of files that a snapshot of another root took away, which packs
 * don't tell: of several roots this one is to be given their rows (store/seed.h). */
#define REBUILD_REMADE "index.remade"
/* The same: large bodies that its log names may be missing. */
#define REBUILD_OWED "bodies.owed"

#define REBUILD_REQUEST 0 /* only what is left of a change for its request (store/compact.h) */

/* One good pack record, in 32 bytes: there are as many as there were changes. */
typedef struct {
    Lsn lsn;
    uint64_t offset;
    uint32_t pack; /* index into RebuildRefs.packs */
    Term term;
    uint32_t length; /* with padding */
    ShardId shard;
    uint8_t type; /* PackType, or REBUILD_REQUEST */
    bool behind;  /* a bad place that no mark proves to have been synced */
} RebuildRef;
_Static_assert(sizeof(RebuildRef) == 32, "without holes: its bytes are hashed");

/* A shard as packs and log tell of it. */
typedef struct {
    bool seen;
    Lsn begin; /* the log holds all entries behind it … */
    Term begin_term;
    Sha256 begin_hash;
    Lsn last; /* up to which the new index is complete */
    Term last_term;
    Sha256 last_hash; /* zero: nobody knows it any more */
} RebuildShard;

typedef struct {
    const RebuildOptions *options;
    RebuildReport *report;
    uint64_t *packs; /* numbers, rising */
    size_t pack_count;
    RebuildRef *refs; /* by (shard, term, lsn), no doubles */
    size_t count;
    size_t capacity;
    RebuildShard *shards; /* SHARD_COUNT_MAX */
} RebuildRefs;

void rebuild_refs_init(RebuildRefs *refs, const RebuildOptions *options, RebuildReport *report);
void rebuild_refs_deinit(RebuildRefs *refs);
/* Reads all packs, damage or not; what is there twice counts once, the later one. */
MUST_USE ErrCode rebuild_refs_read(RebuildRefs *refs, Disk *disk, Err *err);
/* Reads the log: how far the packs must reach and do reach, shard by shard. Tells losses. */
MUST_USE ErrCode rebuild_refs_join_log(RebuildRefs *refs, Disk *disk, Err *err);
/* Drops what the log will give again, and brings the rest into an order in which each shard's
 * entries rise: that of the packs if it does, so that they are read from front to end. */
void rebuild_refs_order(RebuildRefs *refs);

/* The next sweep (store_sweep_orphans()) unlinks nothing: a view was made again, perhaps without a
 * record that was lost, and what that named may be whole. Durable. */
MUST_USE ErrCode rebuild_keep_orphans(Disk *disk, Err *err);
/* Renames path, durably, to the first free quarantine/NAME.N; *moved false: it is not there. */
MUST_USE ErrCode rebuild_quarantine(Disk *disk, const char *path, const char *name, bool *moved,
                                    Err *err);
/* Sets err: a rebuild of the log was cut off, and must be run to its end first. */
ErrCode rebuild_wal_first(Err *err);
void rebuild_progress(const RebuildOptions *options, const char *what, uint64_t done,
                      uint64_t total);
void rebuild_loss(const RebuildOptions *options, const RebuildLoss *loss);

#endif
