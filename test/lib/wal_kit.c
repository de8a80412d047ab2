#include "wal_kit.h"

#include "testing.h"

#include <string.h>

static void records_add(KitRecords *records, WalPos pos, const Entry *entry, Str bytes)
{
    if (records->count == records->capacity) {
        records->capacity = MAX((size_t)64, records->capacity * 2);
        records->items = mem_resize(records->items, records->capacity * sizeof *records->items);
    }
    records->items[records->count++] = (KitRecord){
        .pos = pos,
        .len = bytes.len,
        .digest = sha256_of(bytes.ptr, bytes.len),
        .shard = entry->shard,
        .lsn = entry->lsn,
    };
}

static bool record_eq(const KitRecord *a, const KitRecord *b)
{
    return wal_pos_cmp(a->pos, b->pos) == 0 && a->len == b->len &&
           sha256_eq(&a->digest, &b->digest) && a->shard == b->shard && a->lsn == b->lsn;
}

void kit_init(Kit *kit, Disk *disk, uint64_t seed)
{
    *kit = (Kit){.disk = disk, .seed = seed};
    clock_manual_init(&kit->clock, 1700000000000);
    rng_init(&kit->rng, seed);
    kit->options = (WalOptions){
        .root = {{7, 7, 7}},
        .segment_size = SEGMENT_SIZE_MIN,
        .clock = &kit->clock.clock,
        .rng = &kit->rng,
    };
}

void kit_deinit(Kit *kit)
{
    wal_free(TAKE(kit->wal));
    mem_free(kit->replayed.items);
    mem_free(kit->model.records.items);
    kit->replayed = (KitRecords){0};
    kit->model = (KitModel){0};
}

static ErrCode replay(void *ctx, const Frame *frame, Str payload, Err *err)
{
    Kit *kit = ctx;
    Entry entry;
    if (frame->kind != FRAME_ENTRY) return OK;
    TRY(entry_decode(payload, true, &entry, err));
    records_add(&kit->replayed, frame->pos, &entry, payload);
    return OK;
}

ErrCode kit_open(Kit *kit, Err *err)
{
    wal_free(TAKE(kit->wal));
    kit->replayed.count = 0;
    kit->options.incarnation++;
    return wal_open(kit->disk, &kit->options, replay, kit, &kit->wal, &kit->opened, err);
}

/* Extents of as many bytes as len, about, into bytes. */
static void extents_fill(Entry *entry, Buf *bytes, uint64_t seed, size_t len)
{
    uint32_t count = (uint32_t)(len / EXTENT_LEN);
    Enc enc = enc_of(bytes->data, bytes->len);
    for (uint32_t i = 0; i < count; i++) {
        Extent extent = {.body = entry->body, .number = i, .size = 1000};
        random_bytes(seed + i, &extent.digest, sizeof extent.digest);
        extent_encode(&extent, &enc);
    }
    entry->extents = str_of(bytes->data, enc.len);
    entry->extent_count = count;
    entry->size = count * (uint64_t)1000;
}

/* Fills entry, whose data is in bytes. */
static ErrCode entry_fill(Entry *entry, Buf *bytes, uint64_t seed, size_t len, Err *err)
{
    TRY(buf_append_zeros(bytes, len, err));
    entry->body = (BodyId){{2}};
    if (len > INLINE_MAX) {
        extents_fill(entry, bytes, seed, len);
        return OK;
    }
    random_bytes(seed, bytes->data, len);
    entry->size = len;
    entry->flags = ENTRY_FLAG_DIGEST_KNOWN;
    entry->body_digest = sha256_of(bytes->data, len);
    entry->inline_body = buf_str(bytes);
    return OK;
}

ErrCode kit_append(Kit *kit, ShardId shard, size_t len, Err *err)
{
    ReplicaState state = {0};
    if (!wal_replica_state(kit->wal, shard, &state)) state.max_term = 1;
    Entry entry = {
        .op = OP_CREATE,
        .shard = shard,
        .term = MAX(state.max_term, (Term)1),
        .lsn = state.last_lsn + 1,
        .record_id = {{1}},
        .prev_hash = state.last_hash,
    };
    AUTO_BUF(bytes, ENTRY_MAX);
    AUTO_BUF(encoded, ENTRY_MAX);
    uint64_t seed = kit->seed ^ ((uint64_t)shard << 48) ^ ((uint64_t)entry.term << 32) ^ entry.lsn;
    TRY(entry_fill(&entry, &bytes, seed, len, err));
    entry_seal(&entry);
    TRY(buf_append_zeros(&encoded, entry_len(&entry), err));
    Enc enc = enc_of(encoded.data, encoded.len);
    entry_encode(&entry, &enc);
    ASSERT(!enc.failed && enc.len == encoded.len);

    Str all = buf_str(&encoded);
    size_t head = all.len - entry.inline_body.len;
    WalPos pos;
    TRY(wal_append(kit->wal, &entry, str_slice(all, 0, head), str_slice(all, head, all.len), &pos,
                   err));
    records_add(&kit->model.records, pos, &entry, all);
    return OK;
}

static Uuid vote_in(Term term)
{
    return (Uuid){{9, (uint8_t)term, (uint8_t)(term >> 8)}};
}

ErrCode kit_vote(Kit *kit, ShardId shard, Err *err)
{
    ASSERT(shard < KIT_SHARDS);
    ReplicaState state = {0};
    if (!wal_replica_state(kit->wal, shard, &state)) state.shard = shard;
    state.max_term++;
    state.voted_for = vote_in(state.max_term);
    TRY(wal_append_state(kit->wal, &state, err));
    kit->model.term[shard] = state.max_term;
    return OK;
}

static void model_ack(KitModel *model)
{
    model->acked = model->records.count;
    memcpy(model->acked_term, model->term, sizeof model->term);
}

ErrCode kit_sync(Kit *kit, Err *err)
{
    TRY(wal_sync(kit->wal, err));
    model_ack(&kit->model);
    return OK;
}

ErrCode kit_attest(Kit *kit, Err *err)
{
    TRY(wal_attest(kit->wal, err));
    model_ack(&kit->model);
    return OK;
}

ErrCode kit_rotate(Kit *kit, Err *err)
{
    TRY(wal_rotate(kit->wal, err));
    model_ack(&kit->model);
    return OK;
}

ErrCode kit_cut(Kit *kit, uint64_t keep_from, Err *err)
{
    WalStats stats;
    wal_stats(kit->wal, &stats);
    keep_from = MIN(keep_from, stats.active_segment);
    kit->model.cut_asked = MAX(kit->model.cut_asked, keep_from);
    TRY(wal_cut(kit->wal, keep_from, err));
    kit->model.cut_done = MAX(kit->model.cut_done, keep_from);
    return OK;
}

/* Index in the model of the first entry that must come in the replay. */
static size_t first_expected(const KitModel *model, const KitRecords *replayed)
{
    size_t i = 0;
    const KitRecord *items = model->records.items;
    while (i < model->records.count && items[i].pos.segment < model->cut_done)
        i++;
    while (i < model->records.count && items[i].pos.segment < model->cut_asked &&
           (replayed->count == 0 || !record_eq(&items[i], &replayed->items[0]))) {
        i++;
    }
    return i;
}

/* The states of the shards when the model's first `end` entries are in the log. */
static const char *verify_states(Kit *kit, const KitModel *model, size_t end)
{
    for (ShardId shard = 0; shard < KIT_SHARDS; shard++) {
        ReplicaState state = {0};
        bool known = wal_replica_state(kit->wal, shard, &state);
        Lsn last = 0;
        for (size_t i = 0; i < end; i++) {
            if (model->records.items[i].shard == shard) last = model->records.items[i].lsn;
        }
        if (last > 0 && !known) return "a shard is forgotten";
        if (state.last_lsn != last) return "a shard's tail is another one";
        if (state.max_term < model->acked_term[shard]) return "a promised term is forgotten";
        if (state.max_term > MAX(model->term[shard], (Term)1)) return "a term that nobody gave";
        if (model->term[shard] > 0 && state.max_term > 0 && state.max_term != 1 &&
            !id128_eq(state.voted_for, vote_in(state.max_term))) {
            return "a vote changed";
        }
    }
    return NULL;
}

const char *kit_verify(Kit *kit, const KitModel *model)
{
    const KitRecords *replayed = &kit->replayed;
    size_t first = first_expected(model, replayed);
    size_t end = first + replayed->count;
    if (end > model->records.count) return "more entries than were appended";
    if (end < model->acked) return "an acknowledged entry is gone";
    for (size_t i = 0; i < replayed->count; i++) {
        if (!record_eq(&replayed->items[i], &model->records.items[first + i])) {
            return "an entry is not the one that was appended there";
        }
    }
    return verify_states(kit, model, end);
}

void kit_settle(Kit *kit)
{
    KitModel *model = &kit->model;
    model->records.count = first_expected(model, &kit->replayed) + kit->replayed.count;
    for (ShardId shard = 0; shard < KIT_SHARDS; shard++) {
        ReplicaState state = {0};
        bool known = wal_replica_state(kit->wal, shard, &state);
        if (model->term[shard] > 0) model->term[shard] = known ? state.max_term : 0;
    }
    model_ack(model);
    WalStats stats;
    wal_stats(kit->wal, &stats);
    model->cut_done = model->cut_asked = stats.first_segment;
}
