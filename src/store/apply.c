/* The applier: committed records -> packs (synced) -> index rows and applied lsns (one transaction)
 * -> out of the table. Behind a checkpoint of the index the log is cut and garbage unlinked, in the
 * order of REPLICATION.md section 7. */
#include "store/store_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "store/compact_priv.h"
#include "store/rows.h"

#define GARBAGE_BATCH 1000
/* Log behind the index that is worth a checkpoint: segments. */
#define CHECKPOINT_SEGMENTS 64
/* And so long what was deleted may keep its space on the disk, when changes never cease. */
#define CHECKPOINT_AFTER_NS (10ULL * 1000 * 1000 * 1000)

static PackType pack_type(const Entry *entry)
{
    if (entry->op == OP_DELETE) return PACK_TOMBSTONE;
    return entry->inline_body.len > 0 ? PACK_BODY : PACK_META;
}

/* A record of the batch and where it stands in it. */
typedef struct {
    const Record *record;
    size_t at;
} Placed;

static int log_order(const void *a, const void *b)
{
    return wal_pos_cmp(((const Placed *)a)->record->pos, ((const Placed *)b)->record->pos);
}

/* One record's body and change into a pack. The log must hold what is known of it in memory. */
static ErrCode fill_pack(Store *store, const Record *record, PackPlace *place, Err *err)
{
    Str payload = {NULL, 0};
    TRY(wal_window_read(store->wal, &store->apply_window, record->pos, record->log_len, &payload,
                        err));
    Str head = buf_str(&record->head);
    if (!str_starts_with(payload, head)) {
        return err_set(
            err, ERR_CORRUPT,
            "the log holds another entry at %" PRIu64 ":%" PRIu64 " than shard %u lsn %" PRIu64,
            record->pos.segment, record->pos.offset, record->entry.shard, record->entry.lsn);
    }
    PackRecord pack = {.entry = record->entry};
    pack.entry.inline_body = str_slice(payload, head.len, payload.len);
    pack.type = pack_type(&pack.entry);
    pack.stored_body = pack.entry.inline_body;
    return packs_append(store->packs, &pack, place, err);
}

/* Bodies and changes of the batch into packs, synced, in the order of the log, which is read once
 * from front to back. places[i] belongs to records[i]. */
static ErrCode fill_packs(Store *store, Record **records, size_t count, PackPlace *places, Err *err)
{
    AUTO(void, mem_free) memory = mem_new_array(count, sizeof(Placed));
    Placed *order = memory;
    for (size_t i = 0; i < count; i++)
        order[i] = (Placed){.record = records[i], .at = i};
    qsort(order, count, sizeof *order, log_order);
    for (size_t i = 0; i < count; i++) {
        TRY(fill_pack(store, order[i].record, &places[order[i].at], err));
    }
    if (fault_planted("index-ahead-of-packs")) return OK;
    return packs_sync(store->packs, err);
}

/* Applied rows of the shards of the batch: the last record of each says how far. */
static ErrCode put_applied(Store *store, Rows *rows, Record **records, size_t count, Err *err)
{
    for (size_t i = 0; i < count; i++) {
        StoreShard *shard = store->shards[records[i]->entry.shard];
        shard->batch_last = records[i];
    }
    for (size_t i = 0; i < count; i++) {
        const Entry *e = &records[i]->entry;
        if (store->shards[e->shard]->batch_last != records[i]) continue;
        AppliedRow row = {.lsn = e->lsn, .term = e->term, .hash = e->checksum};
        TRY(rows_applied(rows, e->shard, &row, err));
    }
    return OK;
}

/* The batch is in the index. */
static void note_applied(Store *store, Record **records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Entry *e = &records[i]->entry;
        StoreShard *shard = store->shards[e->shard];
        ASSERT(e->lsn == shard->applied_lsn + 1);
        shard->applied_lsn = e->lsn;
        shard->applied_term = e->term;
        shard->applied_hash = e->checksum;
        shard->batch_last = NULL;
    }
}

static ErrCode fill_index(Store *store, Record **records, size_t count, const PackPlace *places,
                          Err *err)
{
    Rows rows;
    rows_begin(&rows, store->index, &store->value_buf);
    rows.risk = store->risk;
    for (size_t i = 0; i < count; i++) {
        TRY(rows_apply(&rows, &records[i]->entry, &places[i], err));
    }
    uint64_t now_ms = 0;
    for (size_t i = 0; i < count; i++)
        now_ms = MAX(now_ms, records[i]->entry.time_ms);
    TRY(rows_flush(&rows, err));
    TRY(rows_drop_requests(&rows, now_ms, REQUESTS_DROPPED(count), err));
    return put_applied(store, &rows, records, count, err);
}

static size_t take_committed(Store *store, Record **records, size_t max)
{
    size_t count = 0;
    lock_take(&store->lock);
    while (count < max && store->apply_first != NULL) {
        Record *record = store->apply_first;
        store->apply_first = record->next;
        if (store->apply_first == NULL) store->apply_last = NULL;
        records[count++] = record;
    }
    lock_give(&store->lock);
    return count;
}

/* Records that could not be applied now go back to the head of the queue, in their order. */
static void give_back(Store *store, Record **records, size_t count)
{
    lock_take(&store->lock);
    for (size_t i = count; i-- > 0;) {
        records[i]->next = store->apply_first;
        if (store->apply_first == NULL) store->apply_last = records[i];
        store->apply_first = records[i];
    }
    lock_give(&store->lock);
}

/* Nothing was lost or half done, and it may go well later. */
static bool worth_retrying(ErrCode code)
{
    return code == ERR_NO_SPACE || code == ERR_NO_MEMORY || code == ERR_SYSTEM;
}

static ErrCode apply_records(Store *store, Record **records, size_t count, Err *err)
{
    AUTO(void, mem_free) memory = mem_new_array(count, sizeof(PackPlace));
    PackPlace *places = memory;
    TRY(fill_packs(store, records, count, places, err));
    TRY(index_begin(store->index, err));
    ErrCode code = fill_index(store, records, count, places, err);
    if (code != OK) {
        index_rollback(store->index);
        return code;
    }
    return index_commit(store->index, err);
}

ErrCode store_apply(Store *store, size_t max, size_t *applied, Err *err)
{
    *applied = 0;
    if (atomic_load(&store->failed)) return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    AUTO(void, mem_free) memory = mem_new_array(MIN(max, STORE_APPLY_BATCH), sizeof(Record *));
    Record **records = memory;
    size_t count = take_committed(store, records, MIN(max, STORE_APPLY_BATCH));
    if (count == 0) return OK;
    (void)fault_point("store.apply"); /* only a place to be killed at */
    ErrCode code = apply_records(store, records, count, err);
    if (code != OK) {
        /* The records stay in the table: readable, and in the log for the next start. */
        give_back(store, records, count);
        if (!worth_retrying(code)) atomic_store(&store->failed, true);
        return err_wrap(err, code, "apply %zu records", count);
    }
    note_applied(store, records, count);
    if (!store->dirty) store->dirty_since_ns = clock_boot_ns(store->options.clock);
    store->dirty = true;
    atomic_fetch_add(&store->apply_generation, 1);
    for (size_t i = 0; i < count; i++)
        table_remove(store->table, records[i]);
    atomic_fetch_add(&store->applied, count);
    *applied = count;
    return OK;
}

bool store_failed(const Store *store)
{
    return atomic_load(&store->failed);
}

bool store_wants_checkpoint(const Store *store)
{
    if (atomic_load(&store->failed)) return false;
    if (store->garbage_left || store->retired_left) return true;
    if (!store->dirty) return false;
    uint64_t now = clock_boot_ns(store->options.clock);
    if (now - store->dirty_since_ns >= CHECKPOINT_AFTER_NS) return true;
    WalStats stats;
    wal_stats(store->wal, &stats);
    return stats.active_segment - stats.first_segment >= CHECKPOINT_SEGMENTS;
}

/* Bodies that no row names, after the checkpoint that made that durable: some of them, so that
 * records do not wait for long. */
static ErrCode unlink_garbage(Store *store, Err *err)
{
    bool left = true;
    TRY(index_begin(store->index, err));
    for (int i = 0; i < GARBAGE_BATCH && left; i++) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        ErrCode code = index_batch_first(store->index, STR("g"), STR("g"), &key, &value, &found,
                                         err);
        BodyId body = {{0}};
        uint32_t number = 0;
        uint8_t copy[64];
        size_t len = MIN(key.len, sizeof copy);
        if (code == OK && found && !row_key_garbage_parse(key, &body, &number)) {
            code = err_set(err, ERR_CORRUPT, "index.db: a garbage row is malformed");
        }
        if (code == OK && found) memcpy(copy, key.ptr, len);
        if (code == OK && found) code = blob_remove(store->blobs, body, number, err);
        if (code == OK && found) code = index_delete(store->index, str_of(copy, len), err);
        if (code != OK) {
            index_rollback(store->index);
            return code;
        }
        left = found;
    }
    TRY(index_commit(store->index, err));
    store->garbage_left = left;
    return OK;
}

/* The oldest segment that the views do not make dispensable. */
static uint64_t keep_from(Store *store)
{
    WalStats stats;
    wal_stats(store->wal, &stats);
    uint64_t keep = stats.active_segment;
    return MIN(keep, table_oldest_segment(store->table));
}

static ErrCode checkpoint_and_cut(Store *store, Err *err)
{
    uint64_t keep = keep_from(store); /* before the checkpoint: later records may only raise it */
    if (!fault_planted("cut-before-checkpoint")) {
        ErrCode code = index_checkpoint(store->index, err);
        if (code != OK) return err_wrap(err, code, "checkpoint index.db");
    }
    store->dirty = false;
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        StoreShard *shard = store->shards[i];
        if (shard == NULL || shard->synced_lsn == shard->applied_lsn) continue;
        shard->synced_lsn = shard->applied_lsn;
        wal_note(store->wal, (ShardId)i, shard->applied_lsn, shard->applied_lsn);
    }
    store->garbage_left = true;     /* perhaps */
    store->retired_left = true;     /* likewise */
    (void)fault_point("store.cut"); /* only a place to be killed at */
    return wal_cut(store->wal, keep, err);
}

ErrCode store_checkpoint(Store *store, Err *err)
{
    if (!store->dirty && !store->garbage_left && !store->retired_left) return OK;
    if (atomic_load(&store->failed)) return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    ErrCode code = store->dirty ? checkpoint_and_cut(store, err) : OK;
    if (code == OK && store->retired_left) code = store_unlink_retired(store, err);
    if (code == OK) code = unlink_garbage(store, err);
    if (code != OK && code != ERR_BUSY && !worth_retrying(code)) {
        atomic_store(&store->failed, true);
    }
    return code;
}
