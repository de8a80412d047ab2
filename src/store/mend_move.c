/* The applier's part of mending: one step is one batch of the index. */
#include "store/mend_priv.h"

#include <string.h>

#include "base/fault.h"
#include "store/rows.h"

static ErrCode malformed(Err *err)
{
    return err_set(err, ERR_CORRUPT, "index.db: a row is malformed");
}

static bool same_place(const PackPlace *a, const PackPlace *b)
{
    return a->pack == b->pack && a->offset == b->offset && a->length == b->length;
}

/* The row under key as it is now, into step->row; *found false: it is gone. */
static ErrCode get_row(Store *store, MendStep *step, Str key, bool *found, Err *err)
{
    Str value = {NULL, 0};
    TRY(index_batch_get(store->index, key, &value, found, err));
    if (!*found) return OK;
    buf_clear(&step->row);
    return buf_append_str(&step->row, value, err);
}

static ErrCode append(Store *store, Rows *rows, PackRecord *record, PackPlace *place, Err *err)
{
    record->type = store_pack_type(&record->entry);
    record->stored_body = record->entry.inline_body;
    TRY(packs_append(store->packs, record, place, err));
    return rows_pack_filled(rows, &record->entry, place, err);
}

/* The record may take an older version's place in packs that hold one: it must end that, as the one
 * it stands for did, if the row is a name's only version. */
static ErrCode end_older(Store *store, Str key, const FileRow *row, Entry *entry, Err *err)
{
    uint8_t from[ROW_KEY_MAX + 1];
    uint8_t prefix[ROW_KEY_MAX];
    BucketUid bucket = 0;
    Str name = {NULL, 0};
    VersionId version;
    Str next = {NULL, 0};
    Str value = {NULL, 0};
    bool older = false;
    if (entry->op != OP_CREATE || (row->flags & ROW_FLAG_NULL_VERSION) == 0) return OK;
    bool named = row_key_name_parse(key, &bucket, &name, &version);
    ASSERT(named); /* its caller did the same */
    memcpy(from, key.ptr, key.len);
    from[key.len] = 0; /* behind it */
    size_t prefix_len = row_key_name_prefix(prefix, bucket, name);
    TRY(index_batch_first(store->index, str_of(from, key.len + 1), str_of(prefix, prefix_len),
                          &next, &value, &older, err));
    if (older) return OK;
    entry->op = OP_UPDATE;
    entry->flags = (uint16_t)(entry->flags & ~(unsigned)ENTRY_FLAG_KEEP_OLDER);
    return OK;
}

/* A version whose row still says that its body stands at the old place, or nowhere. */
static ErrCode mend_version(Store *store, Rows *rows, MendStep *step, const MendItem *item,
                            Err *err)
{
    FileRow row;
    BucketUid bucket = 0;
    Str name = {NULL, 0};
    PackRecord record = {0};
    PackPlace place;
    bool found = false;
    Str key = str_slice(buf_str(&step->bytes), item->key_at, item->key_len);
    TRY(get_row(store, step, key, &found, err));
    if (!found) return OK;
    if (!file_row_decode(buf_str(&step->row), &row) ||
        !row_key_name_parse(key, &bucket, &name, &row.version))
        return malformed(err);
    if (!same_place(&row.place, &item->place)) return OK;
    TRY(store_remake_entry(bucket, name, &row, &step->attrs, &record.entry, err));
    TRY(end_older(store, key, &row, &record.entry, err));
    record.entry.inline_body = str_slice(buf_str(&step->bytes), item->key_at + item->key_len,
                                         item->body_len);
    TRY(append(store, rows, &record, &place, err));
    if (item->kind == MEND_ROW) return OK;
    TRY(rows_pack_dead(rows, &item->place, err));
    row.place = place;
    return store_put_row(store, (const uint8_t *)key.ptr, key.len, &row, err);
}

/* A record of which an index makes the request's row and nothing else. */
static ErrCode mend_request(Store *store, Rows *rows, MendStep *step, const MendItem *item,
                            Err *err)
{
    RequestRow row;
    ShardId shard = 0;
    PackRecord record = {0};
    PackPlace place;
    bool found = false;
    Str key = str_slice(buf_str(&step->bytes), item->key_at, item->key_len);
    TRY(get_row(store, step, key, &found, err));
    if (!found) return OK;
    if (!request_row_decode(buf_str(&step->row), &row) || !row_key_request_parse(key, &shard))
        return malformed(err);
    uint8_t op = (uint8_t)row.op;
    buf_clear(&step->attrs);
    TRY(attr_set(&step->attrs, ATTR_REQUEST_ID, str_slice(key, 1, sizeof(RequestId)), err));
    TRY(attr_set(&step->attrs, ATTR_REQUEST_HASH,
                 str_of(row.request_hash.bytes, sizeof row.request_hash.bytes), err));
    TRY(attr_set(&step->attrs, ATTR_REQUEST_OP, str_of(&op, sizeof op), err));
    record.entry = (Entry){.op = OP_NOOP,
                           .shard = shard,
                           .term = row.version.term,
                           .lsn = row.version.lsn,
                           .file = row.file,
                           .time_ms = row.time_ms,
                           .attrs = buf_str(&step->attrs)};
    return append(store, rows, &record, &place, err);
}

static ErrCode do_items(Store *store, MendStep *step, Err *err)
{
    Rows rows;
    rows_begin(&rows, store->index, &store->value_buf);
    for (size_t i = 0; i < step->count; i++) {
        const MendItem *item = &step->items[i];
        if (item->kind == MEND_REQUEST)
            TRY(mend_request(store, &rows, step, item, err));
        else
            TRY(mend_version(store, &rows, step, item, err));
    }
    TRY(rows_flush(&rows, err));
    if (fault_planted("mend-not-synced")) return OK;
    return packs_sync(store->packs, err); /* before the rows that say so are committed */
}

ErrCode store_mend(Store *store, MendStep *step, Err *err)
{
    if (atomic_load(&store->failed)) return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    ErrCode code = OK;
    if (step->leave) {
        code = packs_leave(store->packs, err);
        step->first = packs_newest(store->packs) + 1;
    }
    if (code == OK && step->count > 0) {
        TRY(index_begin(store->index, err));
        code = do_items(store, step, err);
        int injected = fault_point("mend.step");
        if (code == OK && injected != 0) code = err_set_errno(err, ERR_IO, injected, "mend");
        if (code == OK)
            code = index_commit(store->index, err);
        else
            index_rollback(store->index);
        store_note_dirty(store);
    }
    if (code == OK) return OK;
    if (!store_step_harmless(code)) atomic_store(&store->failed, true);
    return err_wrap(err, code, "mend");
}
