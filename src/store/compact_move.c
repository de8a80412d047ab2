/* The applier's part of compaction: one step is one batch of the index. */
#include "store/compact_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "store/rows.h"

#define UNLINK_BATCH 64

/* --- move --- */

/* Is the record still needed at place, in the writer's view? If its row says where it stands, *row
 * is that row (views into store->value_buf) under key. */
static ErrCode still_needed(Store *store, const Entry *entry, const PackPlace *place,
                            const uint8_t *key, size_t key_len, FileRow *row, bool *needed,
                            Err *err)
{
    CompactKind kind = compact_kind(entry);
    Str value = {NULL, 0};
    bool found = false;
    *needed = kind >= COMPACT_KIND_TOMBSTONE;
    if (*needed) return OK;
    TRY(index_batch_get(store->index, str_of(key, key_len), &value, &found, err));
    if (!found && !(fault_planted("compact-overwrites-newer") && kind == COMPACT_KIND_BODY)) {
        return OK;
    }
    buf_clear(&store->value_buf);
    TRY(buf_append_str(&store->value_buf, value, err));
    if (!found) { /* planted: the row as the record tells it */
        file_row_of_entry(entry, row);
        row->place = *place;
    } else if (!file_row_decode(buf_str(&store->value_buf), row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    }
    *needed = kind != COMPACT_KIND_BODY ||
              (row->place.pack == place->pack && row->place.offset == place->offset &&
               row->place.length == place->length);
    return OK;
}

/* What takes the place of a record that is needed no longer: what its request's row, if the index
 * still has it, is made of. *found false: nothing. */
static ErrCode keep_request(Store *store, PackRecord *record, Buf *attrs, bool *found, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    Str value = {NULL, 0};
    const Entry old = record->entry;
    size_t len = compact_request_key(&old, key);
    *found = false;
    if (len == 0 || fault_planted("compact-drops-request")) return OK;
    TRY(index_batch_get(store->index, str_of(key, len), &value, found, err));
    if (*found) TRY(compact_request_is(value, &old, found, err));
    return *found ? compact_request_only(&old, attrs, record, err) : OK;
}

ErrCode store_put_row(Store *store, const uint8_t *key, size_t key_len, const FileRow *row,
                      Err *err)
{
    Buf *buf = &store->move_buf;
    buf_clear(buf);
    TRY(buf_reserve(buf, row->attrs.len + row->extents.len + 512, err));
    Enc enc = enc_of(buf->data, buf->capacity);
    file_row_encode(row, &enc);
    ASSERT(!enc.failed);
    return index_put(store->index, str_of(key, key_len), str_of(enc.data, enc.len), err);
}

static ErrCode move_record(Store *store, Rows *rows, const CompactStep *step, size_t i,
                           uint64_t *moved, Err *err)
{
    const PackPlace *place = &step->items[i].place;
    Str bytes = str_slice(buf_str(&step->records), step->items[i].at, step->records.len);
    PackRecord record;
    size_t total = 0;
    TRY(pack_record_decode(bytes, &record, &total, err));
    const Entry *entry = &record.entry;
    ASSERT(total == place->length || compact_kind(entry) == COMPACT_KIND_REQUEST);
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = 0;
    if (compact_kind(entry) < COMPACT_KIND_TOMBSTONE) {
        key_len = row_key_name(key, entry->bucket, entry_key(entry), compact_version(entry));
    }
    FileRow row = {0};
    bool needed = false;
    TRY(still_needed(store, entry, place, key, key_len, &row, &needed, err));
    AUTO_BUF(attrs, COMPACT_REQUEST_ATTRS_MAX);
    if (!needed) TRY(keep_request(store, &record, &attrs, &needed, err));
    if (!needed) return OK;
    PackPlace new_place;
    TRY(packs_append(store->packs, &record, &new_place, err));
    TRY(rows_pack_filled(rows, entry, &new_place, err));
    *moved += new_place.length;
    if (compact_kind(entry) != COMPACT_KIND_BODY) return OK;
    TRY(rows_pack_dead(rows, place, err));
    row.place = new_place;
    return store_put_row(store, key, key_len, &row, err);
}

static ErrCode move_records(Store *store, const CompactStep *step, uint64_t *moved, Err *err)
{
    Rows rows;
    rows_begin(&rows, store->index, &store->value_buf);
    for (size_t i = 0; i < step->count; i++)
        TRY(move_record(store, &rows, step, i, moved, err));
    TRY(rows_flush(&rows, err));
    return packs_sync(store->packs, err); /* before the rows that say so are committed */
}

/* --- names --- */

static ErrCode put_names(Store *store, const CompactStep *step, Err *err)
{
    Buf *buf = &store->move_buf;
    size_t at = 0;
    for (uint32_t part = 0;; part++) {
        uint8_t key[ROW_KEY_MAX];
        size_t key_len = row_key_names(key, step->pack, part);
        size_t count = MIN(step->name_count - at, (size_t)NAMES_PART_MAX);
        buf_clear(buf);
        TRY(buf_reserve(buf, 4 * count + 4, err));
        Enc enc = enc_of(buf->data, buf->capacity);
        names_part_encode(step->names + at, count, &enc);
        TRY(index_put(store->index, str_of(key, key_len), str_of(enc.data, enc.len), err));
        at += count;
        if (count < NAMES_PART_MAX) return OK;
    }
}

static ErrCode drop_names(Store *store, uint64_t pack, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str prefix = str_of(bytes, row_key_names_prefix(bytes, pack));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        uint8_t copy[16];
        TRY(index_batch_first(store->index, prefix, prefix, &key, &value, &found, err));
        if (!found) return OK;
        size_t len = MIN(key.len, sizeof copy);
        memcpy(copy, key.ptr, len);
        TRY(index_delete(store->index, str_of(copy, len), err));
    }
}

/* --- retire --- */

/* The last look before a pack goes: what was counted into it as bodies must all have been counted
 * dead, or a file that the scan did not see still stands there. */
static ErrCode check_dead(Store *store, const CompactStep *step, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_pack(key, step->pack);
    Str value = {NULL, 0};
    bool found = false;
    PackRow row = {0};
    TRY(index_batch_get(store->index, str_of(key, len), &value, &found, err));
    if (found && !pack_row_decode(value, &row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of pack %" PRIu64 " is malformed",
                       step->pack);
    }
    if (row.bytes - MIN(row.bytes, row.dead) <= step->rest_bytes) return OK;
    return err_set(err, ERR_BUSY,
                   "pack %" PRIu64 " holds %" PRIu64 " bytes, %" PRIu64 " of them dead and %" PRIu64
                   " no bodies: some are still in use",
                   step->pack, row.bytes, row.dead, step->rest_bytes);
}

static ErrCode retire(Store *store, const CompactStep *step, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    TRY(check_dead(store, step, err));
    size_t len = row_key_pack(key, step->pack);
    TRY(index_delete(store->index, str_of(key, len), err));
    TRY(drop_names(store, step->pack, err));
    len = row_key_retired(key, step->pack);
    return index_put(store->index, str_of(key, len), (Str){NULL, 0}, err);
}

/* --- steps --- */

static ErrCode do_step(Store *store, const CompactStep *step, uint64_t *moved, Err *err)
{
    switch (step->kind) {
    case COMPACT_MOVE: return move_records(store, step, moved, err);
    case COMPACT_NAMES: return put_names(store, step, err);
    case COMPACT_RETIRE: break;
    }
    return retire(store, step, err);
}

bool store_step_harmless(ErrCode code)
{
    return code == ERR_NO_SPACE || code == ERR_NO_MEMORY || code == ERR_SYSTEM || code == ERR_BUSY;
}

void store_note_dirty(Store *store)
{
    if (!store->dirty) store->dirty_since_ns = clock_boot_ns(store->options.clock);
    store->dirty = true;
}

ErrCode store_compact(Store *store, CompactStep *step, Err *err)
{
    if (atomic_load(&store->failed)) return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    uint64_t moved = 0;
    TRY(index_begin(store->index, err));
    ErrCode code = do_step(store, step, &moved, err);
    int injected = fault_point("compact.step");
    if (code == OK && injected != 0) code = err_set_errno(err, ERR_IO, injected, "compact");
    if (code == OK)
        code = index_commit(store->index, err);
    else
        index_rollback(store->index);
    if (code != OK) {
        if (!store_step_harmless(code)) atomic_store(&store->failed, true);
        return err_wrap(err, code, "compact pack %" PRIu64, step->pack);
    }
    store_note_dirty(store);
    atomic_fetch_add(&store->compacted.bytes_moved, moved);
    if (step->kind != COMPACT_RETIRE) return OK;
    store->retired_left = true;
    atomic_fetch_add(&store->compacted.packs_retired, 1);
    if (fault_planted("compact-unlinks-before-checkpoint")) return store_unlink_retired(store, err);
    return OK;
}

/* --- unlink --- */

typedef struct {
    uint64_t packs[UNLINK_BATCH];
    size_t count;
} Retired;

/* The first rows 'o', in a batch. */
static ErrCode list_retired(Store *store, Retired *out, Err *err)
{
    uint8_t from[ROW_KEY_MAX];
    size_t from_len = row_key_retired(from, 0);
    *out = (Retired){0};
    while (out->count < UNLINK_BATCH) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_batch_first(store->index, str_of(from, from_len), STR("o"), &key, &value, &found,
                              err));
        if (!found) return OK;
        uint64_t pack = 0;
        if (!row_key_retired_parse(key, &pack)) {
            return err_set(err, ERR_CORRUPT, "index.db: the row of a retired pack is malformed");
        }
        out->packs[out->count++] = pack;
        from_len = row_key_retired(from, pack + 1);
    }
    return OK;
}

static ErrCode unlink_pack(Store *store, uint64_t pack, bool *gone, Err *err)
{
    char path[PACK_PATH_MAX];
    pack_path(pack, path);
    DiskStat stat = {0};
    TRY(disk_stat(store->disk, path, &stat, err));
    ErrCode code = packs_remove(store->packs, pack, err);
    *gone = code == OK;
    if (code == ERR_BUSY) return OK; /* the newest: its number must stay known */
    TRY(code);
    atomic_fetch_add(&store->compacted.bytes_freed, stat.size);
    risk_clear_path(store->risk, path, RISK_GONE);
    LOG(INFO, "compact.unlinked", "pack=%" PRIu64 " bytes=%" PRIu64, pack, stat.size);
    return OK;
}

/* Rows whose packs are gone for good. */
static ErrCode forget_retired(Store *store, const Retired *gone, Err *err)
{
    for (size_t i = 0; i < gone->count; i++) {
        uint8_t key[ROW_KEY_MAX];
        size_t len = row_key_retired(key, gone->packs[i]);
        TRY(index_delete(store->index, str_of(key, len), err));
    }
    return OK;
}

static ErrCode unlink_batch(Store *store, Err *err)
{
    Retired retired;
    Retired gone = {0};
    TRY(list_retired(store, &retired, err));
    for (size_t i = 0; i < retired.count; i++) {
        bool is_gone = false;
        TRY(unlink_pack(store, retired.packs[i], &is_gone, err));
        if (is_gone) gone.packs[gone.count++] = retired.packs[i];
    }
    int injected = fault_point("compact.unlink");
    if (injected != 0) return err_set_errno(err, ERR_IO, injected, "unlink packs");
    if (gone.count == 0) return OK;
    /* A pack that comes back after a crash would hold names that no tombstone covers any more. */
    TRY(disk_sync_dir(store->disk, "packs", err));
    return forget_retired(store, &gone, err);
}

ErrCode store_unlink_retired(Store *store, Err *err)
{
    if (atomic_load(&store->seeds) > 0) return OK; /* retired_left: later */
    TRY(index_begin(store->index, err));
    ErrCode code = unlink_batch(store, err);
    if (code != OK) {
        index_rollback(store->index);
        return code;
    }
    TRY(index_commit(store->index, err));
    store->retired_left = false;
    return OK;
}

void store_compact_status(Store *store, CompactStatus *out)
{
    out->pack = atomic_load(&store->compacted.pack);
    out->packs_retired = atomic_load(&store->compacted.packs_retired);
    out->bytes_freed = atomic_load(&store->compacted.bytes_freed);
    out->bytes_moved = atomic_load(&store->compacted.bytes_moved);
    out->tombstones_dropped = atomic_load(&store->compacted.tombstones_dropped);
}
