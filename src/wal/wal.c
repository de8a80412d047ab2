#include "wal/wal.h"

#include "base/fault.h"
#include "wal/wal_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static ErrCode check_options(const WalOptions *options, Err *err)
{
    uint64_t size = options->segment_size;
    if (size < SEGMENT_SIZE_MIN || size > SEGMENT_SIZE_MAX || size % WAL_BLOCK != 0) {
        return err_set(err, ERR_CONFIG,
                       "segments of %" PRIu64 " bytes: 64 KiB to 1 GiB, a multiple of 4 KiB", size);
    }
    unsigned spares = MAX(options->spares, options->recycled);
    if (spares > WAL_SPARES_MAX) {
        return err_set(err, ERR_CONFIG, "%u spare segments: at most %d", spares, WAL_SPARES_MAX);
    }
    ASSERT(options->clock != NULL && options->rng != NULL);
    ASSERT(!id128_is_zero(options->root));
    return OK;
}

static Wal *wal_new(Disk *disk, const WalOptions *options)
{
    Wal *wal = mem_new(sizeof *wal);
    wal->disk = disk;
    wal->options = *options;
    wal->next_spare = 1;
    lock_init(&wal->lock, LOCK_RANK_WAL);
    return wal;
}

void wal_free(Wal *wal)
{
    if (wal == NULL) return;
    wal_table_free(wal);
    wal_shards_free(&wal->shards);
    mem_free(wal->batch.memory);
    lock_deinit(&wal->lock);
    mem_free(wal);
}

/* Everything that opening changes on the disk. */
static ErrCode begin_new_segment(Wal *wal, const WalScanned *scanned, const WalOpened *opened,
                                 Err *err)
{
    TRY(disk_mkdir_durable(wal->disk, WAL_SEGMENTS, err));
    TRY(disk_mkdir_durable(wal->disk, WAL_QUARANTINE, err));
    if (scanned->duplicate) {
        TRY(disk_rename_durable(wal->disk, WAL_ACTIVE, WAL_QUARANTINE "/wal.active.second-name",
                                err));
    }
    TRY(wal_tail_quarantine(wal, scanned, opened, err));
    TRY(wal_spares_adopt(wal, err));
    TRY(wal_tail_make_durable(wal, scanned, opened, err));
    return wal_segment_begin(wal, 0, err);
}

ErrCode wal_open(Disk *disk, const WalOptions *options, WalReplayFn fn, void *ctx, Wal **out,
                 WalOpened *opened, Err *err)
{
    WalOptions complete = *options;
    if (complete.segment_size == 0) complete.segment_size = WAL_SEGMENT_SIZE_DEFAULT;
    TRY(check_options(&complete, err));
    wal_metrics_register();

    AUTO(Wal, wal_free) wal = wal_new(disk, &complete);
    WalOpened found = {0};
    WalScanned scanned = {0};
    ErrCode code = wal_scan(wal, fn, ctx, &found, &scanned, err);
    if (code == OK) code = begin_new_segment(wal, &scanned, &found, err);
    if (code != OK) return err_wrap(err, code, "open the log");
    *opened = found;
    *out = TAKE(wal);
    return OK;
}

ErrCode wal_close(Wal *wal, Err *err)
{
    return wal_attest(wal, err);
}

ErrCode wal_append(Wal *wal, const Entry *entry, Str head, Str body, WalPos *pos, Err *err)
{
    size_t len = head.len + body.len;
    if (len > ENTRY_MAX) {
        return err_set(err, ERR_TOO_BIG, "entry of %zu bytes, at most %u", len, ENTRY_MAX);
    }
    TRY(wal_batch_add(wal, FRAME_ENTRY, head, body, pos, err));
    lock_take(&wal->lock);
    wal_shards_entry(&wal->shards, entry);
    lock_give(&wal->lock);
    return OK;
}

/* What the log knows of state's shard, with what state promises; *config stays a view. */
static ErrCode promise(Wal *wal, const ReplicaState *state, ReplicaState *out, Err *err)
{
    if (state->config.len > WAL_CONFIG_MAX || state->before.len > WAL_CONFIG_MAX) {
        return err_set(err, ERR_TOO_BIG, "configuration of %zu bytes",
                       MAX(state->config.len, state->before.len));
    }
    ReplicaState full = {.shard = state->shard};
    if (!wal_replica_state(wal, state->shard, &full)) full.shard = state->shard;
    if (state->max_term >= full.max_term) {
        full.max_term = state->max_term;
        full.voted_for = state->voted_for;
    }
    full.incomplete = state->incomplete;
    *out = full;
    return OK;
}

static ErrCode add_state(Wal *wal, FrameKind kind, const ReplicaState *state, Err *err)
{
    AUTO_BUF(payload, 3 * WAL_CONFIG_MAX);
    size_t most = replica_state_len(state);
    TRY(buf_reserve(&payload, most, err));
    Enc enc = enc_of(payload.data, most);
    replica_state_encode(state, &enc);
    ASSERT(!enc.failed);
    return wal_batch_add(wal, kind, str_of(payload.data, enc.len), (Str){0}, NULL, err);
}

ErrCode wal_append_state(Wal *wal, const ReplicaState *state, Err *err)
{
    ReplicaState full;
    TRY(promise(wal, state, &full, err));
    if (state->config.len > 0) {
        full.config = state->config;
        full.config_lsn = state->config_lsn;
        full.before = state->before;
        full.before_lsn = state->before_lsn;
    }
    TRY(add_state(wal, FRAME_STATE, &full, err));
    lock_take(&wal->lock);
    wal_shards_promise(&wal->shards, &full);
    lock_give(&wal->lock);
    return OK;
}

ErrCode wal_append_reset(Wal *wal, const ReplicaState *base, Err *err)
{
    ReplicaState full;
    TRY(promise(wal, base, &full, err));
    full.last_lsn = base->last_lsn;
    full.last_term = base->last_term;
    full.last_hash = base->last_hash;
    full.commit_lsn = base->last_lsn;
    full.applied_lsn = MIN(full.applied_lsn, base->last_lsn);
    full.config_lsn = base->config_lsn;
    full.config = base->config;
    full.before_lsn = 0;
    full.before = (Str){0};
    full.incomplete = true;
    TRY(add_state(wal, FRAME_RESET, &full, err));
    lock_take(&wal->lock);
    wal_shards_reset(&wal->shards, &full);
    lock_give(&wal->lock);
    return OK;
}

ErrCode wal_append_truncate(Wal *wal, const Truncate *truncate, Err *err)
{
    uint8_t payload[TRUNCATE_LEN];
    truncate_encode(truncate, payload);
    TRY(wal_batch_add(wal, FRAME_TRUNCATE, str_of(payload, sizeof payload), (Str){0}, NULL, err));
    lock_take(&wal->lock);
    wal_shards_truncate(&wal->shards, truncate);
    lock_give(&wal->lock);
    return OK;
}

void wal_note(Wal *wal, ShardId shard, Lsn commit_lsn, Lsn applied_lsn)
{
    lock_take(&wal->lock);
    wal_shards_note(&wal->shards, shard, commit_lsn, applied_lsn);
    lock_give(&wal->lock);
}

bool wal_replica_state(Wal *wal, ShardId shard, ReplicaState *out)
{
    lock_take(&wal->lock);
    const ReplicaState *state = wal_shards_find(&wal->shards, shard);
    if (state != NULL) *out = *state;
    lock_give(&wal->lock);
    return state != NULL;
}

bool wal_replica_next(Wal *wal, size_t *cursor, ReplicaState *out)
{
    lock_take(&wal->lock);
    bool found = *cursor < wal->shards.count;
    if (found) *out = wal->shards.items[(*cursor)++].state;
    lock_give(&wal->lock);
    return found;
}
