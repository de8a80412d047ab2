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

PackType store_pack_type(const Entry *entry)
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
    Str head = sealed_head(record->sealed);
    if (!str_starts_with(payload, head)) {
        return err_set(
            err, ERR_CORRUPT,
            "the log holds another entry at %" PRIu64 ":%" PRIu64 " than shard %u lsn %" PRIu64,
            record->pos.segment, record->pos.offset, record->entry.shard, record->entry.lsn);
    }
    PackRecord pack = {.entry = record->entry};
    pack.entry.inline_body = str_slice(payload, head.len, payload.len);
    pack.type = store_pack_type(&pack.entry);
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
        const Entry *entry = &records[i]->entry;
        if (compact_kind(entry) == COMPACT_KIND_BODY && fault_point("apply.lose_row") != 0)
            continue;
        TRY(rows_apply(&rows, entry, &places[i], err));
    }
    uint64_t now_ms = 0;
    for (size_t i = 0; i < count; i++)
        now_ms = MAX(now_ms, records[i]->entry.time_ms);
    TRY(rows_flush(&rows, err));
    TRY(rows_drop_requests(&rows, now_ms, REQUESTS_DROPPED(count), err));
    return put_applied(store, &rows, records, count, err);
}

/* What a snapshot that was put in has already; under Store.lock. */
static bool is_in_snapshot(const Store *store, const Record *record)
{
    const StoreShard *shard = store->shards[record->entry.shard];
    return !shard->incomplete && record->entry.lsn <= shard->applied_lsn;
}

static bool is_held(const Store *store, const Record *record)
{
    const StoreShard *shard = store->shards[record->entry.shard];
    return shard->incomplete;
}

/* To the others that wait for a snapshot, behind those of its shard. */
static void hold(Store *store, Record *record)
{
    record->next = NULL;
    if (store->held_last == NULL)
        store->held_first = record;
    else
        store->held_last->next = record;
    store->held_last = record;
    atomic_fetch_add(&store->held, 1);
}

/* Those of shards that wait for a snapshot are put aside, so that nobody walks over them each time;
 * *needless: those that one had already. */
static size_t take_committed(Store *store, Record **records, size_t max, Record **needless)
{
    size_t count = 0;
    lock_take(&store->lock);
    while (store->apply_first != NULL) {
        Record *record = store->apply_first;
        bool drop = is_in_snapshot(store, record);
        bool held = is_held(store, record);
        if (!drop && !held && count == max) break;
        store->apply_first = record->next;
        if (held) {
            hold(store, record);
        } else if (drop) {
            record->next = *needless;
            *needless = record;
        } else {
            records[count++] = record;
        }
    }
    if (store->apply_first == NULL) store->apply_last = NULL;
    lock_give(&store->lock);
    return count;
}

static void free_needless(Store *store, Record *record)
{
    while (record != NULL) {
        Record *next = record->next;
        table_remove(store->table, record);
        record = next;
    }
}

/* Those that waited go before those that were committed since; under Store.lock. apply_last is the
 * caller's to set. */
static void give_held(Store *store)
{
    if (store->held_first == NULL) return;
    store->held_last->next = store->apply_first;
    store->apply_first = store->held_first;
    store->held_first = NULL;
    store->held_last = NULL;
    atomic_store(&store->held, 0);
}

void store_drop_needless(Store *store)
{
    Record *needless = NULL;
    lock_take(&store->lock);
    give_held(store);
    Record **link = &store->apply_first;
    store->apply_last = NULL;
    while (*link != NULL) {
        Record *record = *link;
        if (is_in_snapshot(store, record)) {
            *link = record->next;
            record->next = needless;
            needless = record;
        } else {
            store->apply_last = record;
            link = &record->next;
        }
    }
    lock_give(&store->lock);
    free_needless(store, needless);
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
    Record *needless = NULL;
    size_t count = take_committed(store, records, MIN(max, STORE_APPLY_BATCH), &needless);
    free_needless(store, needless);
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

/* Unlinks the first body of the list at or behind *from, moves *from behind it. */
static ErrCode unlink_next(Store *store, Buf *from, bool *found, Err *err)
{
    Str key = {NULL, 0};
    Str value = {NULL, 0};
    BodyId body = {{0}};
    uint32_t number = 0;
    TRY(index_batch_first(store->index, buf_str(from), STR("g"), &key, &value, found, err));
    if (!*found) return OK;
    if (!row_key_garbage_parse(key, &body, &number))
        return err_set(err, ERR_CORRUPT, "index.db: a garbage row is malformed");
    buf_clear(from);
    TRY(buf_append_str(from, key, err));
    bool pinned = blob_pinned(store->blobs, body, number);
    if (!pinned) TRY(blob_remove(store->blobs, body, number, err));
    if (!pinned) TRY(index_delete(store->index, buf_str(from), err));
    return buf_append_zeros(from, 1, err);
}

/* Bodies that no row names, after the checkpoint that made that durable: some of them, so that
 * records do not wait for long. What a download still reads stays for a later call. */
static ErrCode unlink_garbage(Store *store, Err *err)
{
    bool left = true;
    ErrCode code = OK;
    if (atomic_load(&store->seeds) > 0) return OK; /* garbage_left: later */
    AUTO_BUF(from, ROW_KEY_MAX + 1);
    TRY(buf_append_str(&from, STR("g"), err));
    TRY(index_begin(store->index, err));
    for (int i = 0; i < GARBAGE_BATCH && left && code == OK; i++)
        code = unlink_next(store, &from, &left, err);
    if (code != OK) {
        index_rollback(store->index);
        return code;
    }
    TRY(index_commit(store->index, err));
    store->garbage_left = left;
    return OK;
}

/* The oldest segment of entries that are void, but not by the log's own word yet: a start before
 * that finds them, or misses them if a CHECKPOINT tells of them. */
static uint64_t oldest_void(Store *store)
{
    uint64_t oldest = UINT64_MAX;
    if (fault_planted("log-cut-before-void")) return oldest;
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        const StoreShard *shard = store->shards[i];
        if (shard == NULL) continue;
        lock_take(&store->lock);
        if (shard->void_segment != 0) oldest = MIN(oldest, shard->void_segment);
        lock_give(&store->lock);
    }
    return oldest;
}

/* The oldest segment that the views do not make dispensable. */
static uint64_t keep_from(Store *store)
{
    WalStats stats;
    wal_stats(store->wal, &stats);
    uint64_t keep = stats.active_segment;
    keep = MIN(keep, table_oldest_segment(store->table)); /* first: store_cut() */
    return MIN(keep, oldest_void(store));
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
    if (!store->dirty && !store->garbage_left && !store->retired_left && !store_has_marks(store))
        return OK;
    if (atomic_load(&store->failed)) return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    ErrCode code = store->dirty ? checkpoint_and_cut(store, err) : OK;
    if (code == OK && store->retired_left) code = store_unlink_retired(store, err);
    if (code == OK) code = unlink_garbage(store, err);
    if (code == OK) code = store_forget_remade(store, err);
    if (code != OK && code != ERR_BUSY && !worth_retrying(code)) {
        atomic_store(&store->failed, true);
    }
    return code;
}
