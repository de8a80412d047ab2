/* Wal: the write-ahead log of one storage root, shared by all its shards. Formats:
 * format/segment.h, format/frame.h, format/entry.h; docs/format.md.
 *
 * Threads: wal_append*(), wal_sync(), wal_attest(), wal_rotate(), wal_close() and the functions
 * about ReplicaState belong to one thread, the WAL writer; wal_read(), wal_note(), wal_cut(),
 * wal_prepare_spare(), wal_stats() to any.
 *
 *   wal.active                  being written      -> rotation: synced, renamed to
 *   wal.segments/segment_N.wal  closed             -> wal_cut(): renamed to
 *   wal.spare.K                 zeros or stale frames that can never chain (other segment uuid)
 *
 * A spare gets its header (fresh uuid, id, exact end of the segment before) and its CHECKPOINT,
 * synced, while it still has the spare's name; only then is it renamed to wal.active. So a file of
 * that name always has a whole head, and a bad head there is damage, never a torn write.
 *
 * A record is durable when wal_sync() returned OK after its append. After ERR_IO from append or
 * sync the Wal is failed: it takes no more appends in this process (fsyncgate), reads go on. */
#ifndef HOLDFAST_WAL_WAL_H
#define HOLDFAST_WAL_WAL_H

#include "base/clock.h"
#include "base/rng.h"
#include "disk/disk.h"
#include "format/entry.h"
#include "format/segment.h"

typedef struct Wal Wal;

#define WAL_THREADS_MAX 8 /* that verify the log at start */

#define WAL_SEGMENT_SIZE_DEFAULT (1 * MIB)
#define WAL_BATCH_MAX                                                                              \
    (4 * MIB) /* bytes one group commit may hold; a batch never spans segments                     \
               */

typedef struct {
    Uuid root;
    uint64_t incarnation;    /* must be higher than at every earlier open */
    uint64_t segment_size;   /* bytes, 64 KiB..1 GiB, multiple of 4096; 0: 1 MiB */
    unsigned spares;         /* segments kept ready, 0..64 */
    unsigned recycled;       /* as spares when the log is cut, 0..64; at least as many as spares */
    unsigned verify_threads; /* that read the log at start, 1..8; 0: 1 */
    Clock *clock;
    Rng *rng; /* for segment uuids; owned by the caller, used by the writer thread */
} WalOptions;

/* One record as replay gives it, in log order: FRAME_ENTRY, FRAME_TRUNCATE, FRAME_STATE and each
 * segment's FRAME_CHECKPOINT. payload is a view for the time of the call. Entries' checksums and
 * inline bodies are verified before. Anything but OK stops the opening. */
typedef ErrCode (*WalReplayFn)(void *ctx, const Frame *frame, Str payload, Err *err);

/* What opening found. */
typedef struct {
    uint64_t segments; /* read */
    uint64_t records;  /* the CHECKPOINTs of segments not counted: 0 after a clean stop */
    uint64_t bytes;    /* of these and the CHECKPOINTs */
    bool torn;         /* a torn tail was moved to quarantine/ */
    WalPos torn_at;
    uint64_t torn_bytes;
    WalPos end; /* where the valid log ended */
} WalOpened;

/* Reads and verifies the whole log, replays it through fn, makes the tail durable (by new writes,
 * if nothing attests it, before anything may count on it: wal_tail.c), moves a torn tail to
 * quarantine/, and opens a new segment with a CHECKPOINT; nothing is ever appended to a segment of
 * an earlier process. Errors: ERR_CORRUPT: damage at or below an attested position (names file and
 * offset; nothing was changed); ERR_FORMAT_VERSION; ERR_FOREIGN: segments of another root; ERR_IO,
 * ERR_NO_SPACE. */
MUST_USE ErrCode wal_open(Disk *disk, const WalOptions *options, WalReplayFn fn, void *ctx,
                          Wal **out, WalOpened *opened, Err *err);
/* Clean stop: syncs and attests what was appended. Then wal_free(). */
MUST_USE ErrCode wal_close(Wal *wal, Err *err);
void wal_free(Wal *wal); /* NULL is fine; syncs nothing, as if killed */

/* Appends a sealed, encoded entry, given in two parts that are joined (head: header, attributes,
 * extents; body: the inline body; either may be empty), copied into the batch. *pos is where its
 * frame stands. Not durable until wal_sync(). Rotates first if it does not fit; an entry larger
 * than a segment gets one of its own. Errors: ERR_TOO_BIG (> ENTRY_MAX); ERR_NO_SPACE, ERR_SYSTEM,
 * ERR_NO_MEMORY: it was not taken, and the call may be made again (here and in all that append or
 * sync, as long as wal_failed() is false); ERR_IO. */
MUST_USE ErrCode wal_append(Wal *wal, const Entry *entry, Str head, Str body, WalPos *pos,
                            Err *err);
/* Appends a FRAME_STATE: what a replica promises: max_term, voted_for, config. Not durable until
 * wal_sync(). The other fields are the Wal's own (see wal_replica_state()). A max_term below the
 * one known changes neither it nor the vote, an empty config neither it nor the one before.
 * ERR_TOO_BIG: config beyond WAL_CONFIG_MAX. */
#define WAL_CONFIG_MAX (64 * KIB)
MUST_USE ErrCode wal_append_state(Wal *wal, const ReplicaState *state, Err *err);
/* Appends a FRAME_RESET: the log of base's shard begins anew behind base's last entry, which was
 * committed elsewhere, under base's config; what is before it counts no more, but the term and the
 * vote known. The shard is incomplete from here on, until a wal_append_state() says otherwise. */
MUST_USE ErrCode wal_append_reset(Wal *wal, const ReplicaState *base, Err *err);
/* Appends a FRAME_TRUNCATE. If the last CONFIG is among the voided entries, the one before it holds
 * again; if that is, too, a wal_append_state() that says which one does must follow. */
MUST_USE ErrCode wal_append_truncate(Wal *wal, const Truncate *truncate, Err *err);
/* Writes the batch, padded to 4 KiB, and makes it durable with one sync. With nothing appended it
 * does nothing. ERR_NO_SPACE with wal_failed() false: nothing was given up, call again. */
MUST_USE ErrCode wal_sync(Wal *wal, Err *err);
/* Attests the last batch by an ATTEST record, synced, unless that is done: after 10 ms
 * of silence. */
MUST_USE ErrCode wal_attest(Wal *wal, Err *err);
bool wal_needs_attest(const Wal *wal);
bool wal_failed(const Wal *wal);

/* Reads and verifies the record whose frame stands at pos, which is durable; *payload is a view
 * into buf (cleared first). ERR_NOT_FOUND: that segment was cut or recycled meanwhile, look the
 * file up again (or pos is not durable yet); ERR_CORRUPT; ERR_IO; ERR_TOO_BIG: buf's maximum. */
MUST_USE ErrCode wal_read(Wal *wal, WalPos pos, size_t payload_len, Buf *buf, Str *payload,
                          Err *err);
/* A stretch of one segment in memory, for reading many records in rising positions. One thread's.
 */
typedef struct {
    Buf bytes;
    WalPos start; /* where bytes stood; segment 0: nowhere */
    Uuid uuid;    /* of that segment */
} WalWindow;
void wal_window_init(WalWindow *window);
void wal_window_deinit(WalWindow *window);
/* As wal_read(), but reads a stretch behind pos with it and serves what lies in the last stretch
 * from memory, also when its segment was cut meanwhile. *payload is a view into window. */
MUST_USE ErrCode wal_window_read(Wal *wal, WalWindow *window, WalPos pos, size_t payload_len,
                                 Str *payload, Err *err);
/* Path of the file that holds segment; of one that was cut, what it was. */
void wal_path(Wal *wal, uint64_t segment, char out[DISK_PATH_MAX]);
/* Tells what the next CHECKPOINT should say of shard's commit and applied lsn. */
void wal_note(Wal *wal, ShardId shard, Lsn commit_lsn, Lsn applied_lsn);
/* What the log says of shard: its tail from the entries appended, promises from FRAME_STATE
 * (and an entry of a higher term raises max_term, a CONFIG entry sets config), commit and applied
 * from wal_note().
 * False if the log never heard of it. out->config is a view until the next append. */
bool wal_replica_state(Wal *wal, ShardId shard, ReplicaState *out);
/* The same for all shards in rising order: *cursor starts at 0; false behind the last. */
bool wal_replica_next(Wal *wal, size_t *cursor, ReplicaState *out);
/* Gives up every closed segment before number keep_from_segment, oldest first, each durably:
 * recycled as a spare or unlinked. ERR_BUSY: another wal_cut() or wal_prepare_spare() is at work.
 * ERR_IO, after which the Wal is failed. Caller proved that packs and blobs are synced and the
 * index is checkpointed and synced for all in them. */
MUST_USE ErrCode wal_cut(Wal *wal, uint64_t keep_from_segment, Err *err);
/* Ends the active segment now, so that it can be cut later (writer thread). Syncs what was appended
 * and attests it. */
MUST_USE ErrCode wal_rotate(Wal *wal, Err *err);
/* True if fewer spares than WalOptions.spares are ready. */
bool wal_needs_spare(Wal *wal);
/* Makes one spare (zeros, synced) if one is lacking, so that rotation need not: for a background
 * thread. ERR_BUSY as for wal_cut(); ERR_NO_SPACE; ERR_IO, after which the Wal is failed. */
MUST_USE ErrCode wal_prepare_spare(Wal *wal, Err *err);

/* Unlinks the recycled spares beyond WalOptions.spares: for a background thread, when no burst is
 * to be expected. Those that a crash brings back are adopted at the next start. ERR_BUSY as for
 * wal_cut(); ERR_IO, after which the Wal is failed. */
MUST_USE ErrCode wal_trim_spares(Wal *wal, Err *err);

/* Closed segments read again, for scrub, past the system's cache. One thread's; the Wal must
 * outlive it. */
typedef struct WalVerify WalVerify;
/* Begins with the first closed segment from number `from` on; *out NULL: there is none. One that
 * can't be opened is told by wal_verify_next(). ERR_SYSTEM, ERR_NO_MEMORY: call again. */
MUST_USE ErrCode wal_verify_open(Wal *wal, uint64_t from, WalVerify **out, Err *err);
/* Reads and verifies about bytes more of it; *read how many. *done: it is through, or was cut
 * meanwhile, or is damaged: ERR_CORRUPT, ERR_FOREIGN, ERR_IO, ERR_NOT_FOUND (it, or its end, is not
 * there) at wal_verify_offset(). ERR_SYSTEM, ERR_NO_MEMORY without *done: call again. */
MUST_USE ErrCode wal_verify_next(WalVerify *verify, uint64_t bytes, uint64_t *read, bool *done,
                                 Err *err);
uint64_t wal_verify_segment(const WalVerify *verify);
uint64_t wal_verify_offset(const WalVerify *verify);
const char *wal_verify_path(const WalVerify *verify);
void wal_verify_free(WalVerify *verify); /* NULL is fine */

typedef struct {
    uint64_t first_segment; /* oldest kept */
    uint64_t active_segment;
    uint64_t active_bytes;
    uint64_t segment_bytes; /* of all kept */
    unsigned spares;
    uint64_t appended; /* records since start */
    uint64_t syncs;
    WalPos durable;  /* everything before is synced */
    WalPos attested; /* highest position that a durable record attests */
    bool failed;
} WalStats;
void wal_stats(Wal *wal, WalStats *out);

AUTO_DEFINE(Wal, wal_free);
AUTO_DEFINE(WalVerify, wal_verify_free);

#endif
