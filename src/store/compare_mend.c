/* The applier's part of comparing: one row is one batch of the index. */
#include "store/compare_priv.h"

#include "base/fault.h"
#include "store/rows.h"

static ErrCode parse(Str row_key, Str value, FileRow *row, BucketUid *bucket, Str *name, Err *err)
{
    if (file_row_decode(value, row) && row_key_name_parse(row_key, bucket, name, &row->version))
        return OK;
    return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
}

static ErrCode drop(Store *store, Rows *rows, CompareStep *step, Err *err)
{
    FileRow row;
    BucketUid bucket = 0;
    Str name = {NULL, 0};
    Str value = {NULL, 0};
    bool found = false;
    Str key = buf_str(&step->key);
    TRY(index_batch_get(store->index, key, &value, &found, err));
    if (!found) return OK;
    buf_clear(&step->old);
    TRY(buf_append_str(&step->old, value, err));
    TRY(parse(key, buf_str(&step->old), &row, &bucket, &name, err));
    return rows_drop_version(rows, bucket, name, key, &row, err);
}

static ErrCode put(Store *store, Rows *rows, CompareStep *step, Err *err)
{
    FileRow row;
    BucketUid bucket = 0;
    Str name = {NULL, 0};
    PackRecord record = {0};
    PackPlace place;
    TRY(parse(buf_str(&step->key), buf_str(&step->value), &row, &bucket, &name, err));
    TRY(store_remake_entry(bucket, name, &row, &step->attrs, &record.entry, err));
    record.entry.inline_body = buf_str(&step->body);
    record.stored_body = record.entry.inline_body;
    record.type = store_pack_type(&record.entry);
    TRY(packs_append(store->packs, &record, &place, err));
    return rows_apply(rows, &record.entry, &place, err);
}

static ErrCode change(Store *store, CompareStep *step, Err *err)
{
    Rows rows;
    rows_begin(&rows, store->index, &store->value_buf);
    rows.risk = store->risk;
    TRY(drop(store, &rows, step, err));
    if (step->value.len > 0) TRY(put(store, &rows, step, err));
    TRY(rows_flush(&rows, err));
    return packs_sync(store->packs, err); /* before the rows that say so are committed */
}

ErrCode store_put_right(Store *store, CompareStep *step, Err *err)
{
    if (atomic_load(&store->failed)) return err_set(err, ERR_ROOT_FAILED, "the applier has failed");
    const StoreShard *shard = store->shards[step->shard];
    step->done = false;
    if (shard == NULL || shard->incomplete || shard->applied_lsn != step->lsn) return OK;
    TRY(index_begin(store->index, err));
    ErrCode code = change(store, step, err);
    int injected = fault_point("compare.step");
    if (code == OK && injected != 0) code = err_set_errno(err, ERR_IO, injected, "put a row right");
    if (code == OK)
        code = index_commit(store->index, err);
    else
        index_rollback(store->index);
    store_note_dirty(store);
    step->done = code == OK;
    if (code == OK) return OK;
    if (!store_step_harmless(code)) atomic_store(&store->failed, true);
    return err_wrap(err, code, "put a row of the index right");
}
