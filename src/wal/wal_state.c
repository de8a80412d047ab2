#include "wal/wal_priv.h"

#include <string.h>

#include "base/fault.h"

static size_t shards_lower_bound(const WalShards *shards, ShardId shard)
{
    size_t low = 0;
    size_t high = shards->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (shards->items[middle].state.shard < shard) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const ReplicaState *wal_shards_find(const WalShards *shards, ShardId shard)
{
    size_t at = shards_lower_bound(shards, shard);
    if (at == shards->count || shards->items[at].state.shard != shard) return NULL;
    return &shards->items[at].state;
}

/* Finds or inserts. */
static WalShard *shards_get(WalShards *shards, ShardId shard)
{
    size_t at = shards_lower_bound(shards, shard);
    if (at < shards->count && shards->items[at].state.shard == shard) return &shards->items[at];
    if (shards->count == shards->capacity) {
        shards->capacity = MAX((size_t)16, shards->capacity * 2);
        shards->items = mem_resize(shards->items, shards->capacity * sizeof *shards->items);
    }
    memmove(&shards->items[at + 1], &shards->items[at],
            (shards->count - at) * sizeof *shards->items);
    shards->items[at] = (WalShard){.state = {.shard = shard}};
    shards->count++;
    return &shards->items[at];
}

void wal_shards_free(WalShards *shards)
{
    for (size_t i = 0; i < shards->count; i++) {
        mem_free(shards->items[i].config);
        mem_free(shards->items[i].before);
    }
    mem_free(shards->items);
    *shards = (WalShards){0};
}

static char *copy_of(Str bytes)
{
    ASSERT(bytes.len <= WAL_CONFIG_MAX);
    if (bytes.len == 0) return NULL;
    char *copy = mem_new(bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    return copy;
}

/* The last CONFIG, and the one before it. */
static void shard_set_configs(WalShard *shard, Lsn lsn, Str config, Lsn before_lsn, Str before)
{
    char *config_copy = copy_of(config); /* first: they may be views of what is freed */
    char *before_copy = copy_of(before);
    mem_free(shard->config);
    mem_free(shard->before);
    shard->config = config_copy;
    shard->before = before_copy;
    shard->state.config = str_of(config_copy, config.len);
    shard->state.config_lsn = lsn;
    shard->state.before = str_of(before_copy, before.len);
    shard->state.before_lsn = before_lsn;
}

/* Another CONFIG: the last one is the one before it now. One of the same entry only says it anew.
 */
static void shard_add_config(WalShard *shard, Lsn lsn, Str config)
{
    const ReplicaState *state = &shard->state;
    if (lsn > state->config_lsn)
        shard_set_configs(shard, lsn, config, state->config_lsn, state->config);
    else
        shard_set_configs(shard, lsn, config, state->before_lsn, state->before);
}

static void shard_raise_term(WalShard *shard, Term term, Uuid voted_for)
{
    if (term < shard->state.max_term) return;
    shard->state.max_term = term;
    shard->state.voted_for = voted_for;
}

void wal_shards_entry(WalShards *shards, const Entry *entry)
{
    WalShard *shard = shards_get(shards, entry->shard);
    if (entry->term > shard->state.max_term) shard_raise_term(shard, entry->term, (Uuid){{0}});
    /* An entry logged again for a stalled shard (REPLICATION.md section 7) is no new tail. */
    if (entry->lsn <= shard->state.last_lsn) return;
    shard->state.last_lsn = entry->lsn;
    shard->state.last_term = entry->term;
    shard->state.last_hash = entry->checksum;
    Str config;
    if (entry->op == OP_CONFIG && attr_get(entry->attrs, ATTR_CONFIG, &config)) {
        shard_add_config(shard, entry->lsn, config);
    }
}

void wal_shards_promise(WalShards *shards, const ReplicaState *promise)
{
    WalShard *shard = shards_get(shards, promise->shard);
    shard_raise_term(shard, promise->max_term, promise->voted_for);
    shard->state.incomplete = promise->incomplete;
    if (promise->config.len == 0) return;
    shard_set_configs(shard, promise->config_lsn, promise->config, promise->before_lsn,
                      promise->before);
}

void wal_shards_truncate(WalShards *shards, const Truncate *truncate)
{
    WalShard *shard = shards_get(shards, truncate->shard);
    if (truncate->from > shard->state.last_lsn) return;
    if (fault_planted("truncate-keeps-end")) return;
    shard->state.last_lsn = truncate->from - 1;
    shard->state.last_term = truncate->term;
    shard->state.last_hash = truncate->hash;
    if (shard->state.config_lsn < truncate->from) return;
    /* The last CONFIG is void; of two that are cut at once nothing is known, but of those only one
     * can be in a log (REPLICATION.md section 5). */
    const ReplicaState *state = &shard->state;
    bool kept = state->before_lsn < truncate->from;
    shard_set_configs(shard, kept ? state->before_lsn : 0, kept ? state->before : (Str){0}, 0,
                      (Str){0});
}

void wal_shards_reset(WalShards *shards, const ReplicaState *base)
{
    WalShard *shard = shards_get(shards, base->shard);
    ReplicaState *state = &shard->state;
    shard_raise_term(shard, base->max_term, base->voted_for);
    state->last_lsn = base->last_lsn;
    state->last_term = base->last_term;
    state->last_hash = base->last_hash;
    state->commit_lsn = base->last_lsn;
    state->applied_lsn = MIN(state->applied_lsn, base->last_lsn);
    state->incomplete = true;
    shard_set_configs(shard, base->config_lsn, base->config, 0, (Str){0});
}

void wal_shards_note(WalShards *shards, ShardId shard, Lsn commit_lsn, Lsn applied_lsn)
{
    ReplicaState *state = &shards_get(shards, shard)->state;
    state->commit_lsn = MAX(state->commit_lsn, commit_lsn);
    state->applied_lsn = MAX(state->applied_lsn, applied_lsn);
}

ErrCode wal_shards_load(WalShards *shards, Str payload, Err *err)
{
    CheckpointReader reader;
    TRY(checkpoint_open(payload, &reader, err));
    for (;;) {
        ReplicaState state;
        bool found = false;
        TRY(checkpoint_next(&reader, &state, &found, err));
        if (!found) return OK;
        if (state.config.len > WAL_CONFIG_MAX || state.before.len > WAL_CONFIG_MAX) {
            return err_set(err, ERR_CORRUPT, "checkpoint: configuration of %zu bytes",
                           MAX(state.config.len, state.before.len));
        }
        WalShard *shard = shards_get(shards, state.shard);
        shard->state = state;
        shard_set_configs(shard, state.config_lsn, state.config, state.before_lsn, state.before);
    }
}

ErrCode wal_shards_save(const WalShards *shards, Buf *out, Err *err)
{
    size_t most = 10; /* the count, a varint */
    for (size_t i = 0; i < shards->count; i++) {
        most += replica_state_len(&shards->items[i].state);
    }
    TRY(buf_reserve(out, most, err));
    Enc enc = enc_of(out->data + out->len, most);
    enc_varint(&enc, shards->count);
    for (size_t i = 0; i < shards->count; i++)
        replica_state_encode(&shards->items[i].state, &enc);
    ASSERT(!enc.failed);
    out->len += enc.len;
    return OK;
}
