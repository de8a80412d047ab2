/* What the files of this folder share. */
#ifndef HOLDFAST_STORE_STORE_PRIV_H
#define HOLDFAST_STORE_STORE_PRIV_H

#include <stdatomic.h>

#include "store/cache.h"
#include "store/places.h"
#include "store/store.h"

/* A shard as the store knows it. */
typedef struct {
    Lsn applied_lsn; /* in the index */
    Term applied_term;
    Sha256 applied_hash;
    Record *batch_last; /* applier: the shard's last record in the batch in hand */
    Lsn synced_lsn;     /* in the index when it was last checkpointed */
    Lsn commit_lsn;     /* highest given to store_committed() */
    Lsn replay_lsn;     /* tail while replaying */
    Sha256 replay_hash;
    Lsn void_from; /* while replaying: what the log says from there on must turn out to be void, a
                      TRUNCATE follows; 0: nothing */
    Lsn void_gap;  /* a CHECKPOINT said that the log had come so far; 0: an entry did, at … */
    WalPos void_pos;
    Record *replayed; /* pending at start, oldest first */
    Record *replayed_last;
    Places places;  /* core; if StoreOptions.places */
    Term base_term; /* incomplete at start: of the entry before the first that was replayed */
    /* Under Store.lock: a snapshot is to be put in (store/seed.h). What is committed waits. */
    bool incomplete;
    uint64_t resets; /* how often one was begun */
    bool remade;     /* its rows were made of packs, and no snapshot was put in since */
    /* Under Store.lock: the oldest segment that may hold what was cut and is not void by the log's
     * own word yet (store_voided()); 0: none. */
    uint64_t void_segment;
} StoreShard;

typedef enum { MARK_NONE, MARK_THERE, MARK_GOES } StoreMark;

struct Store {
    Disk *disk;
    StoreOptions options;
    Rng rng;
    Wal *wal;
    Packs *packs;
    Blobs *blobs;
    Index *index;
    Risk *risk;
    Table *table;
    /* NULL: never seen. Made by the core, looked at by the applier too. */
    _Atomic(StoreShard *) shards[SHARD_COUNT_MAX];
    Lock lock;           /* LOCK_RANK_STORE: the apply queue and StoreShard.commit_lsn */
    Record *apply_first; /* committed, in commit order, linked by next */
    Record *apply_last;
    Record *held_first; /* the same, of shards that wait for a snapshot; the applier's */
    Record *held_last;
    _Atomic size_t held;
    _Atomic uint64_t apply_generation; /* raised after an index commit, before the table shrinks */
    _Atomic uint64_t applied;
    _Atomic bool remade;     /* of some shard; so it is on disk (REBUILD_REMADE, or _OWED) */
    _Atomic size_t owed;     /* large bodies that the log names and that are not here */
    _Atomic int owed_mark;   /* StoreMark: the file REBUILD_OWED */
    _Atomic bool failed;     /* the applier failed: views stand still */
    bool log_failed;         /* the WAL writer's: nothing more may be appended */
    bool dirty;              /* applier: batches were committed since the last checkpoint */
    uint64_t dirty_since_ns; /* applier: the first of them */
    _Atomic unsigned seeds;  /* that read from here: nothing may be unlinked meanwhile */
    bool garbage_left;       /* applier: a checkpoint's garbage may not all be unlinked */
    bool retired_left;       /* applier: the same for packs */
    struct {                 /* compaction: CompactStatus */
        _Atomic uint64_t pack;
        _Atomic uint64_t packs_retired;
        _Atomic uint64_t bytes_freed;
        _Atomic uint64_t bytes_moved;
        _Atomic uint64_t tombstones_dropped;
    } compacted;
    uint64_t logged_segment; /* core: segment of the newest record in the log */
    uint64_t replayed_records;
    uint64_t replayed_bytes;
    WalWindow apply_window; /* applier: of the log */
    Buf value_buf;          /* applier: one encoded row */
    Buf move_buf;           /* applier: the same, of compaction */
};

struct StoreReader {
    Store *store;
    IndexReader *index; /* point look-ups */
    IndexReader *scan;  /* cursors of lists */
    Buf row;            /* the encoded head or row that StoreFound points into */
    Buf key;
    Buf meta;     /* attributes, if a META in the table says them */
    Buf body;     /* log record or pack record */
    Cache *cache; /* NULL: none, or not needed yet */
};

/* The shard's state, made if it was never seen. */
StoreShard *store_shard(Store *store, ShardId shard);
/* At start: were the rows made of packs? (remake.c) */
MUST_USE ErrCode store_note_remade(Store *store, Err *err);
/* Is there a mark on disk that has no reason any more? */
bool store_has_marks(Store *store);
/* Is none of it left that was? Then it is forgotten, durably. */
MUST_USE ErrCode store_forget_remade(Store *store, Err *err);
/* Reads how far each shard is applied, from the index (recover.c). ERR_CORRUPT. */
MUST_USE ErrCode store_read_applied(Store *store, Err *err);
/* A snapshot is in: what waited for it is to be applied, and committed records that it had already,
 * which hide what it brought, go (apply.c). The applier's. */
void store_drop_needless(Store *store);
/* The change that makes the row, whatever else is there: what it once ended is not there. Views
 * into row and attrs, which is cleared (remake.c). Errors: attrs has no room. */
MUST_USE ErrCode store_remake_entry(BucketUid bucket, Str key, const FileRow *row, Buf *attrs,
                                    Entry *out, Err *err);
/* Of the pack record that entry gets (apply.c). */
PackType store_pack_type(const Entry *entry);
/* Its entry at lsn stands there, if that is to be known. */
void store_note_place(Store *store, StoreShard *shard, Lsn lsn, WalPos pos, uint32_t len);
/* Can be read from the index what nobody serves without: the names of buckets and what each holds
 * (usage.c)? ERR_CORRUPT: no. */
MUST_USE ErrCode store_check_buckets(Store *store, Err *err);
/* Reads the log at start; the index was read before (recover.c). */
MUST_USE ErrCode store_recover(Store *store, StoreOpened *opened, Err *err);
/* Takes what is no more, or is whole again, off the list of damage (risk_review.c): at start, as
 * the last process left it; later on any thread. */
MUST_USE ErrCode store_review_risk(Store *store, bool at_start, Err *err);
/* Packs that the index counts and that are missing or too short go onto the list of damage, with
 * their files; and no pack will be made under a number that the index knows (start_check.c). */
MUST_USE ErrCode store_check_packs(Store *store, Err *err);
/* Is the version's time over? By the wall clock: see docs/architecture.md, "Versions that end". */
bool store_is_over(const Store *store, const FileRow *row);
/* How long a pack must be by its row; 0: nothing in it is needed. */
uint64_t store_pack_bytes(const PackRow *row);
/* Why a record could not be read: RISK_MISSING if its pack does not reach so far, else as
 * risk_cause_of(). */
RiskCause store_pack_cause(Store *store, const PackPlace *place, ErrCode code);
#endif
