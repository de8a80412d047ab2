/* The log of a copy: for each shard a RESET where the copied index ends, then a STATE that says
 * that it is whole, as a seed leaves them (store/seed.h); then what the source's log has behind
 * that and what joins it, of which nobody knows yet whether it is committed. The chain is the
 * source's, so whoever leads finds by it what is shared. No vote is taken over: the new uuid has
 * cast none. */
#include "fsck/copy_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format/row.h"
#include "index/index.h"
#include "wal/wal.h"
#include "wal/wal_walk.h"

#define COPY_INCARNATION 0 /* below that of the first start */

typedef struct {
    bool seen;
    AppliedRow applied;
    Lsn lsn;        /* the new log's end */
    Sha256 hash;    /* of the entry there */
    Lsn config_lsn; /* the last CONFIG that the index has; 0: the log does not tell */
    char *config;
    size_t config_len;
} LogShard;

typedef struct {
    CopyRoot *copy;
    LogShard *shards; /* SHARD_COUNT_MAX */
    Wal *wal;
} CopyLog;

static void copy_log_deinit(CopyLog *log)
{
    wal_free(log->wal);
    for (size_t i = 0; i < SHARD_COUNT_MAX; i++)
        mem_free(log->shards[i].config);
    mem_free(log->shards);
}

/* --- where the index ends --- */

static ErrCode read_applied(CopyLog *log, Err *err)
{
    AUTO(Index, index_free) index = NULL;
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_open_read(log->copy->beside, NULL, &index, err));
    TRY(index_reader_open(index, &reader, err));
    TRY(index_scan(reader, STR("a"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'a') return OK;
        Dec dec = dec_of(key.ptr + 1, key.len - 1);
        unsigned high = dec_u8(&dec);
        LogShard *shard = &log->shards[high << 8 | dec_u8(&dec)];
        if (!dec_done(&dec) || !applied_row_decode(value, &shard->applied))
            return err_set(err, ERR_CORRUPT, "index.db: an applied row is malformed");
        shard->seen = true;
    }
}

/* --- the configurations that hold there --- */

static void note_config(CopyLog *log, ShardId id, Lsn lsn, Str config)
{
    LogShard *shard = &log->shards[id];
    bool newer = lsn > shard->config_lsn && lsn <= shard->applied.lsn;
    if (!shard->seen || !newer || config.len == 0) return;
    shard->config = mem_resize(shard->config, config.len);
    memcpy(shard->config, config.ptr, config.len);
    shard->config_len = config.len;
    shard->config_lsn = lsn;
}

static void note_state(CopyLog *log, const ReplicaState *state)
{
    note_config(log, state->shard, state->before_lsn, state->before);
    note_config(log, state->shard, state->config_lsn, state->config);
}

static ErrCode note_checkpoint(CopyLog *log, Str payload, Err *err)
{
    CheckpointReader reader;
    bool found = true;
    TRY(checkpoint_open(payload, &reader, err));
    while (found) {
        ReplicaState state;
        TRY(checkpoint_next(&reader, &state, &found, err));
        if (found) note_state(log, &state);
    }
    return OK;
}

static ErrCode note_entry(CopyLog *log, Str payload, Err *err)
{
    Entry entry;
    Str config;
    TRY(entry_decode(payload, false, &entry, err));
    if (entry.op == OP_CONFIG && attr_get(entry.attrs, ATTR_CONFIG, &config))
        note_config(log, entry.shard, entry.lsn, config);
    return OK;
}

static ErrCode on_record(void *ctx, const char *path, const Frame *frame, Str payload, Err *err)
{
    CopyLog *log = ctx;
    ReplicaState state;
    UNUSED(path);
    if (frame->kind == FRAME_ENTRY) return note_entry(log, payload, err);
    if (frame->kind == FRAME_CHECKPOINT) return note_checkpoint(log, payload, err);
    if (frame->kind != FRAME_STATE && frame->kind != FRAME_RESET) return OK;
    Dec dec = dec_of(payload.ptr, payload.len);
    if (replica_state_decode(&dec, &state)) note_state(log, &state);
    return OK;
}

static ErrCode on_bad(void *ctx, const WalBad *bad, Err *err)
{
    UNUSED(ctx);
    if (bad->kind == WAL_TORN) return OK;
    return err_set(err, ERR_CORRUPT, "the source's %s is damaged at offset %" PRIu64 ": %s",
                   bad->path, bad->offset, bad->text);
}

typedef ErrCode (*RecordFn)(void *ctx, const char *path, const Frame *frame, Str payload, Err *err);

static ErrCode walk(CopyLog *log, RecordFn record, Err *err)
{
    WalWalked walked;
    WalWalkOptions options = {
        .root = log->copy->options->from.uuid, .record = record, .bad = on_bad, .ctx = log};
    return wal_walk(log->copy->options->source, &options, &walked, err);
}

/* --- what is behind it --- */

static ErrCode take_entry(CopyLog *log, Str payload, Err *err)
{
    Entry entry;
    WalPos pos;
    TRY(entry_decode(payload, false, &entry, err));
    LogShard *shard = &log->shards[entry.shard];
    if (entry.lsn != shard->lsn + 1 || !sha256_eq(&entry.prev_hash, &shard->hash)) return OK;
    TRY(wal_append(log->wal, &entry, payload, (Str){NULL, 0}, &pos, err));
    shard->lsn = entry.lsn;
    shard->hash = entry.checksum;
    return OK;
}

static ErrCode take_truncate(CopyLog *log, Str payload, Err *err)
{
    Truncate truncate;
    TRY(truncate_decode(payload, &truncate, err));
    LogShard *shard = &log->shards[truncate.shard];
    if (truncate.from <= shard->applied.lsn || truncate.from > shard->lsn) return OK;
    shard->lsn = truncate.from - 1;
    shard->hash = truncate.hash;
    return wal_append_truncate(log->wal, &truncate, err);
}

static ErrCode on_tail(void *ctx, const char *path, const Frame *frame, Str payload, Err *err)
{
    UNUSED(path);
    if (frame->kind == FRAME_ENTRY) return take_entry(ctx, payload, err);
    if (frame->kind == FRAME_TRUNCATE) return take_truncate(ctx, payload, err);
    return OK;
}

/* --- the new one --- */

static ErrCode append_shard(CopyLog *log, ShardId id, Err *err)
{
    LogShard *shard = &log->shards[id];
    shard->lsn = shard->applied.lsn;
    shard->hash = shard->applied.hash;
    ReplicaState state = {.shard = id,
                          .max_term = shard->applied.term,
                          .last_lsn = shard->applied.lsn,
                          .last_term = shard->applied.term,
                          .last_hash = shard->applied.hash,
                          .config_lsn = shard->config_lsn,
                          .config = str_of(shard->config, shard->config_len)};
    ReplicaState whole = {.shard = id, .max_term = shard->applied.term};
    TRY(wal_append_reset(log->wal, &state, err));
    return wal_append_state(log->wal, &whole, err);
}

static ErrCode write_log(CopyLog *log, Err *err)
{
    CopyRoot *copy = log->copy;
    Rng rng;
    WalOpened opened;
    rng_init(&rng, copy->options->seed);
    WalOptions options = {.root = copy->info.uuid,
                          .incarnation = COPY_INCARNATION,
                          .clock = copy->options->clock,
                          .rng = &rng};
    TRY(wal_open(copy->beside, &options, NULL, NULL, &log->wal, &opened, err));
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        if (log->shards[i].seen) TRY(append_shard(log, (ShardId)i, err));
    }
    TRY(walk(log, on_tail, err));
    TRY(wal_sync(log->wal, err));
    return wal_close(log->wal, err);
}

static ErrCode discard_log(CopyRoot *copy, Err *err)
{
    DiskStat stat;
    TRY(copy_files_discard(copy->beside, "wal.segments", err));
    TRY(disk_stat(copy->beside, "wal.active", &stat, err));
    return stat.exists ? disk_unlink(copy->beside, "wal.active", err) : OK;
}

ErrCode copy_log(CopyRoot *copy, Err *err)
{
    __attribute__((cleanup(copy_log_deinit))) CopyLog log = {.copy = copy};
    log.shards = mem_new_array(SHARD_COUNT_MAX, sizeof *log.shards);
    TRY(discard_log(copy, err));
    TRY(read_applied(&log, err));
    TRY(walk(&log, on_record, err));
    return write_log(&log, err);
}
