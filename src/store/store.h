/* Store: one storage root. The log is the truth; packs, blobs and index are views of it that the
 * applier makes in large batches, and behind which the log is cut.
 *
 * Threads:  core          store_add, store_committed, lookups with STORE_PENDING
 *           WAL writer    store_log_*
 *           applier       store_apply, store_checkpoint
 *           any           StoreReader, one a thread; store_status
 *
 *  record: store_add -> store_log_append, store_log_sync -> store_logged -> store_committed
 *          -> store_apply (pack or blob, index) -> removed */
#ifndef HOLDFAST_STORE_STORE_H
#define HOLDFAST_STORE_STORE_H

#include "base/clock.h"
#include "blob/blobs.h"
#include "blob/packs.h"
#include "index/index.h"
#include "store/rebuild.h"
#include "store/risk.h"
#include "store/root.h"
#include "store/table.h"
#include "wal/wal.h"

#define STORE_BACKLOG_MAX 100000            /* un-applied records at which writers wait */
#define STORE_BACKLOG_BYTES_MAX (256 * MIB) /* the same for their bytes in the log */
#define STORE_APPLY_BATCH 20000             /* records of one index batch at most */
#define STORE_REQUEST_KEEP_MS (24ULL * 3600 * 1000)

#define SEED_ROWS_DEFAULT 2048

typedef struct {
    RootInfo root; /* with the incarnation of this start */
    uint64_t wal_segment_size;
    unsigned wal_spares;
    unsigned wal_recycled; /* see WalOptions */
    uint32_t chunk_size;
    uint64_t pack_size;
    unsigned verify_threads; /* of the log, at start; see WalOptions */
    bool places;             /* store_place() is wanted */
    unsigned seed_rows;      /* rows that seed_step() puts in at most; 0: SEED_ROWS_DEFAULT */
    unsigned
        seed_threads; /* that copy large bodies of a seed, at most SEED_THREADS_MAX; 0: who steps */
    uint64_t index_cache_bytes; /* per connection */
    uint64_t body_cache_bytes;  /* per reader that reads bodies; below CACHE_SIZE_MIN: none */
    Clock *clock;
    uint64_t seed; /* of ids of segments, packs, table levels */
    /* Called while the log is replayed: records and bytes so far; may be NULL. */
    void (*progress)(void *ctx, uint64_t records, uint64_t bytes);
    /* Called while index.db is made again: what is done, how much of it; may be NULL. */
    void (*rebuilding)(void *ctx, const char *what, uint64_t done, uint64_t total);
    void *progress_ctx; /* of both */
} StoreOptions;

typedef struct Store Store;
typedef struct StoreReader StoreReader;

typedef struct {
    WalOpened wal;
    uint64_t unapplied; /* records that the log holds beyond the index */
    bool index_created;
    bool index_rebuilt; /* index.db was missing or no good, and was made again … */
    Err index_damage;   /* … because of this; the old one is in quarantine/ */
    RebuildReport rebuilt;
} StoreOpened;

/* For a root that held data once: are its log, packs and index not all gone? Without any of them it
 * would be taken for a new one. ERR_CORRUPT. Before anything of the root is changed. */
MUST_USE ErrCode store_check_not_emptied(Disk *disk, Err *err);
/* Opens packs, blobs, index and log, replays the log into the table. An index that is no good, or
 * missing though there are packs, is made again first. What is not in the index
 * stands in the table as pending, in lsn order per shard, until the shard's replica commits it.
 * Errors: ERR_CORRUPT (names what, and what to do), ERR_FORMAT_VERSION, ERR_FOREIGN, ERR_IO, … */
MUST_USE ErrCode store_open(Disk *disk, const StoreOptions *options, Store **out,
                            StoreOpened *opened, Err *err);
/* Clean stop: everything committed is applied before (store_apply until 0), then the log is
 * attested, the index checkpointed, the log cut: nothing is left to replay. Readers must be closed.
 */
MUST_USE ErrCode store_close(Store *store, Err *err);
/* As kill -9 would: nothing is written. NULL is fine. */
void store_free(Store *store);

/* Was its index made of packs, and were the rows of some shard not taken from another root since
 * (store/seed.h)? Then it may list files that were deleted: a snapshot takes rows away, and packs
 * do not tell. Any thread. */
bool store_is_remade(const Store *store);
/* It is taken as it is: there is nobody to ask. At start. ERR_IO … */
MUST_USE ErrCode store_accept_remade(Store *store, Err *err);
/* The same of one shard, on disk with the next checkpoint at which none is left. */
void store_accept_remade_shard(Store *store, ShardId shard);

/* What the log knows of a shard (tail, term, vote, commit); all zero for an unknown one. */
void store_replica_state(Store *store, ShardId shard, ReplicaState *out);
/* Term of the entry before the first of store_replayed(); 0: none. At start. */
Term store_applied_term(const Store *store, ShardId shard);
/* Pending records of shard found at start, oldest first, linked by ->next; the caller walks them.
 */
Record *store_replayed(Store *store, ShardId shard);

/* --- WAL writer, of a root of several --- */
/* A large body is not here that the entry to be logged next names: known on disk from here on, so
 * that a start has the root given all that the others have. ERR_BUSY: again, in a moment;
 * ERR_NO_SPACE … */
MUST_USE ErrCode store_owe(Store *store, Err *err);
/* One that was owed is here, or needed no more. */
void store_owes_less(Store *store);

/* --- core --- */
/* Takes a record for what was sealed in, which stays valid until it is applied or cut. */
Record *store_add(Store *store, Sealed *sealed);
/* The log holds record at its pos (set by store_log_append). One cut meanwhile is freed. */
void store_logged(Store *store, Record *record);
/* The same of one that the log did not take, if it was cut. */
void store_not_logged(Record *record);
/* Pending, and void: a TRUNCATE goes to the log behind it. Nobody sees it any more; it is freed
 * now, or by store_logged() if the WAL writer still has it. */
void store_cut(Store *store, Record *record);
/* The TRUNCATE or RESET behind the last that was cut of shard is durable: until then the log keeps
 * what was cut, since without it a start must find that again. */
void store_voided(Store *store, ShardId shard);
/* What is stored of shard counts no more: a snapshot comes (store/seed.h), behind lsn, where its
 * log begins anew (store_log_reset()). All its records that are pending were cut before. */
void store_reset(Store *store, ShardId shard, Lsn lsn);
/* Committed: visible to readers from here on; the applier may have it. */
void store_committed(Store *store, Record *record);
/* Not committed, but acknowledged, at now_ns: visible to readers from here on, until it is cut. */
void store_told(Store *store, Record *record, uint64_t now_ns);
/* Where the entry of that lsn stands in the log, for store_fetch(); false: not known. */
bool store_place(const Store *store, ShardId shard, Lsn lsn, WalPos *pos, uint32_t *len);
/* Any thread: the entry that stands at a place, verified; with its body. ERR_NOT_FOUND: the log was
 * cut there. ERR_CORRUPT: something else stands there; ERR_IO. */
MUST_USE ErrCode store_fetch(Store *store, WalPos pos, uint32_t len, Sealed **out, Err *err);
/* Un-applied records, for back-pressure. Any thread. */
size_t store_backlog(const Store *store);
/* Those of them that wait for no snapshot. Any thread, may be a moment old. */
size_t store_to_apply(const Store *store);
/* Bytes of all in the log. Any thread. */
uint64_t store_backlog_bytes(const Store *store);

/* --- WAL writer --- */
/* Into the batch; durable after store_log_sync(). Sets record's place for store_logged(). */
MUST_USE ErrCode store_log_append(Store *store, Record *record, Err *err);
MUST_USE ErrCode store_log_state(Store *store, const ReplicaState *state, Err *err);
MUST_USE ErrCode store_log_reset(Store *store, const ReplicaState *base, Err *err);
MUST_USE ErrCode store_log_truncate(Store *store, const Truncate *truncate, Err *err);
MUST_USE ErrCode store_log_sync(Store *store, Err *err);
/* Is code, of the call of this group just made, one that passes (no space, descriptors, memory)?
 * Then nothing was taken or lost, and the same call is to be made again, before any other append.
 */
bool store_log_waits(const Store *store, ErrCode code);
/* After 10 ms of silence. */
MUST_USE ErrCode store_log_idle(Store *store, Err *err);
bool store_log_needs_idle(const Store *store);

/* --- applier --- */
/* Applies up to max committed records: bodies into packs, packs synced, rows and applied lsns into
 * the index in one transaction. *applied: how many. ERR_NO_SPACE, ERR_SYSTEM, ERR_NO_MEMORY:
 * nothing changed, call again later. Any other error: the views stand still from here on but
 * nothing is lost, for the log is not cut; store_status() says failed. */
MUST_USE ErrCode store_apply(Store *store, size_t max, size_t *applied, Err *err);
/* Checkpoints the index and cuts the log behind it (REPLICATION.md section 7), then unlinks bodies
 * that nothing names any more: at most 1000 a call; and packs that were compacted. Cheap when there
 * is nothing to do. */
MUST_USE ErrCode store_checkpoint(Store *store, Err *err);
/* Writes the list of damage if it changed, at most once a second; errors as risk_save(). */
MUST_USE ErrCode store_save_risk(Store *store, Err *err);
/* The applier failed for good. Any thread. */
bool store_failed(const Store *store);
/* Is there enough log behind the index, or for long enough, to be worth a checkpoint, or garbage
 * that the last one left? */
bool store_wants_checkpoint(const Store *store);
/* Unlinks bodies in blobs/ that neither index nor table names: left by a crash between a body's
 * arrival and its entry. Before the first upload of this process; *removed: how many. After a view
 * was made again (store/rebuild.h) they are moved to quarantine/ instead, once. */
MUST_USE ErrCode store_sweep_orphans(Store *store, uint64_t *removed, Err *err);

/* --- reading, any thread --- */
typedef enum {
    STORE_COMMITTED = 1, /* what clients may see; store_told(), too */
    STORE_PENDING        /* core only: what will be, if everything appended commits */
} StoreView;

typedef struct {
    FileRow row; /* views into the reader, until its next call */
    BucketUid bucket;
    Str key;
    bool latest; /* in a list of versions: the newest of its name */
    bool in_log; /* the body is in the log, at pos */
    WalPos pos;
    uint32_t log_len;
    bool pending;  /* STORE_PENDING: rests on a record that is not committed … */
    ShardId shard; /* … of this shard and lsn; set with absence by a pending DELETE too */
    Lsn lsn;
} StoreFound;

MUST_USE ErrCode store_reader_open(Store *store, StoreReader **out, Err *err);
void store_reader_free(StoreReader *reader);
/* What is looked for under a name. */
typedef enum {
    STORE_NEWEST = 1, /* the newest version */
    STORE_EXACT,      /* that one */
    STORE_OLDER       /* the newest that is older than that one, which need not be there */
} StoreWhich;
/* A version of a name, be it a delete marker: out->row.flags tells. */
MUST_USE ErrCode store_look(StoreReader *reader, BucketUid bucket, Str key, StoreWhich which,
                            VersionId version, StoreView view, StoreFound *out, bool *found,
                            Err *err);
/* The current version of a name (or file), or with version != NULL that one. found=false: absent,
 * or the newest is a delete marker or its time is over (then out->row is that one's). */
MUST_USE ErrCode store_find(StoreReader *reader, BucketUid bucket, Str key,
                            const VersionId *version, StoreView view, StoreFound *out, bool *found,
                            Err *err);
MUST_USE ErrCode store_find_id(StoreReader *reader, FileId file, const VersionId *version,
                               StoreView view, StoreFound *out, bool *found, Err *err);
/* A version whose time is over. */
typedef struct {
    BucketUid bucket;
    Str key; /* view into the cursor */
    VersionId version;
} StoreOver;
/* The next in the order of their times, behind cursor (empty: the first), which it moves there, of
 * those whose time was over at now_ms; in the index, and perhaps deleted since. */
MUST_USE ErrCode store_next_over(StoreReader *reader, uint64_t now_ms, Buf *cursor, StoreOver *out,
                                 bool *found, Err *err);
/* What came of a request. */
typedef struct {
    ShardId shard; /* where its change was made */
    RequestRow row;
} StoreRequest;
/* The change that carried request, pending ones included, at oldest_ms or later; in whatever shard.
 * One that is not found may be appended meanwhile, except for the core. */
MUST_USE ErrCode store_find_request(StoreReader *reader, RequestId request, uint64_t oldest_ms,
                                    StoreRequest *out, bool *found, Err *err);
/* The whole small body of what was found, verified; view into the reader. ERR_NOT_FOUND: it moved
 * meanwhile, find again. ERR_FILE_DAMAGED. */
MUST_USE ErrCode store_body(StoreReader *reader, const StoreFound *found, Str *body, Err *err);
/* Lists names of bucket in byte order: current versions, or all of them with delete markers, the
 * newest of a name first. */
typedef struct {
    BucketUid bucket;
    Str prefix;
    Str after;               /* names behind this one; empty: from the start */
    char delimiter;          /* 0: none. Names are rolled up to the first delimiter behind prefix */
    bool versions;           /* all of them */
    bool over;               /* … and those whose time is over, which are not deleted yet */
    VersionId after_version; /* not zero: and first what `after` has of versions older than this */
    /* Only names that begin with one of these: rising, none the beginning of another; they stay.
     * 0: all. */
    const Str *only;
    size_t only_count;
} StoreListOptions;
typedef struct StoreList StoreList;
MUST_USE ErrCode store_list_open(StoreReader *reader, const StoreListOptions *options,
                                 StoreList **out, Err *err);
/* Next file (*is_prefix false, *file) or rolled-up prefix (*is_prefix true, file->key alone). Views
 * until the next call. *found false at the end. */
MUST_USE ErrCode store_list_next(StoreList *list, StoreFound *file, bool *is_prefix, bool *found,
                                 Err *err);
void store_list_close(StoreList *list);
/* Has bucket no version of any file, and is no change of one under way? (core) */
MUST_USE ErrCode store_bucket_empty(StoreReader *reader, BucketUid bucket, bool *empty, Err *err);
MUST_USE ErrCode store_bucket_stat(StoreReader *reader, BucketUid bucket, BucketStatRow *out,
                                   Err *err);

/* Of all buckets together, the server's own too. */
MUST_USE ErrCode store_totals(Store *store, BucketStatRow *out, Err *err);

/* Calls fn for each bucket that the index knows files of, or the changes that the log has beyond
 * it: what it will hold when all of those are committed. Core only, before it commits anything. */
typedef void (*StoreUsageFn)(void *ctx, BucketUid bucket, const BucketStatRow *usage);
MUST_USE ErrCode store_usage(Store *store, StoreUsageFn fn, void *ctx, Err *err);

/* Large bodies: staging, see blob/blobs.h. */
Blobs *store_blobs(Store *store);
Wal *store_wal(Store *store);
/* What is known to be damaged; any thread. */
Risk *store_risk(Store *store);
Disk *store_disk(Store *store);
const RootInfo *store_root(const Store *store);

typedef struct {
    WalStats wal;
    IndexStats index;
    size_t unapplied;
    uint64_t applied;    /* records since start */
    uint64_t disk_total; /* bytes */
    uint64_t disk_free;
    bool failed;
} StoreStatus;
void store_status(Store *store, StoreStatus *out);

AUTO_DEFINE(Store, store_free);
AUTO_DEFINE(StoreReader, store_reader_free);
AUTO_DEFINE(StoreList, store_list_close);

#endif
