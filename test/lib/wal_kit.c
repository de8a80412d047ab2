#include "wal_kit.h"

#include "testing.h"

#include <string.h>

void kit_records_add(KitRecords *records, FrameKind kind, WalPos pos, Str payload)
{
    if (records->count == records->capacity) {
        records->capacity = MAX((size_t)64, records->capacity * 2);
        records->items = mem_resize(records->items, records->capacity * sizeof *records->items);
    }
    records->items[records->count++] = (KitRecord){
        .kind = kind,
        .pos = pos,
        .len = payload.len,
        .digest = sha256_of(payload.ptr, payload.len),
    };
}

void kit_records_clear(KitRecords *records)
{
    records->count = 0;
}

void kit_records_deinit(KitRecords *records)
{
    mem_free(records->items);
    *records = (KitRecords){0};
}

bool kit_records_prefix(const KitRecords *part, const KitRecords *whole)
{
    if (part->count > whole->count) return false;
    for (size_t i = 0; i < part->count; i++) {
        const KitRecord *a = &part->items[i];
        const KitRecord *b = &whole->items[i];
        if (a->kind != b->kind || a->len != b->len || wal_pos_cmp(a->pos, b->pos) != 0 ||
            !sha256_eq(&a->digest, &b->digest)) {
            return false;
        }
    }
    return true;
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
    kit_records_deinit(&kit->replayed);
    kit_records_deinit(&kit->appended);
}

static ErrCode replay(void *ctx, const Frame *frame, Str payload, Err *err)
{
    Kit *kit = ctx;
    UNUSED(err);
    if (frame->kind != FRAME_CHECKPOINT) {
        kit_records_add(&kit->replayed, frame->kind, frame->pos, payload);
    }
    return OK;
}

ErrCode kit_open(Kit *kit, Err *err)
{
    wal_free(TAKE(kit->wal));
    kit_records_clear(&kit->replayed);
    kit_records_clear(&kit->appended);
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
        .term = state.max_term,
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
    kit_records_add(&kit->appended, FRAME_ENTRY, pos, all);
    return OK;
}

ErrCode kit_append_vote(Kit *kit, ShardId shard, Term term, Err *err)
{
    ReplicaState state = {.shard = shard, .max_term = term, .voted_for = {{9, (uint8_t)term}}};
    return wal_append_state(kit->wal, &state, err);
}
