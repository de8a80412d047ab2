/* Requests: the rows of changes that carried a request's id, how they are found and how they end. A
 * row counts for STORE_REQUEST_KEEP_MS of logged time. Who looks one up looks at its time, so rows
 * may end later; each batch that is applied takes away some more than it can have brought. */
#include <string.h>

#include "store/rows.h"
#include "store/store_priv.h"

static ErrCode malformed(Err *err)
{
    return err_set(err, ERR_CORRUPT, "index.db: the row of a request is malformed");
}

/* The first row of request, in any shard, of oldest_ms or later. */
static ErrCode ask_index(StoreReader *reader, RequestId request, uint64_t oldest_ms,
                         StoreRequest *out, bool *found, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str prefix = str_of(bytes, row_key_request_prefix(bytes, request));
    uint8_t from[ROW_KEY_MAX];
    size_t from_len = row_key_request_prefix(from, request);
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        TRY(index_first(reader->index, str_of(from, from_len), prefix, &key, &value, found, err));
        if (!*found) return OK;
        StoreRequest result;
        if (!row_key_request_parse(key, &result.shard) || !request_row_decode(value, &result.row))
            return malformed(err);
        if (result.row.time_ms >= oldest_ms) {
            *out = result;
            return OK;
        }
        from_len = key.len;
        memcpy(from, key.ptr, from_len);
        from[from_len++] = 0; /* the next key */
    }
}

ErrCode store_find_request(StoreReader *reader, RequestId request, uint64_t oldest_ms,
                           StoreRequest *out, bool *found, Err *err)
{
    Table *table = reader->store->table;
    *found = false;
    table_read_lock(table);
    const Record *record = table_find_request(table, request, oldest_ms);
    if (record != NULL) {
        RequestId id;
        *found = request_row_of_entry(&record->entry, &id, &out->row);
        out->shard = record->entry.shard;
    }
    table_unlock(table);
    return *found ? OK : ask_index(reader, request, oldest_ms, out, found, err);
}

/* The row whose time is over goes, unless the same request was made again since. */
static ErrCode drop_request(Rows *rows, uint64_t expiry_ms, ShardId shard, RequestId id, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_request(key, shard, id);
    Str value = {NULL, 0};
    bool found = false;
    RequestRow row;
    TRY(index_batch_get(rows->index, str_of(key, len), &value, &found, err));
    if (!found) return OK;
    if (!request_row_decode(value, &row)) return malformed(err);
    if (row.time_ms + STORE_REQUEST_KEEP_MS > expiry_ms) return OK;
    return index_delete(rows->index, str_of(key, len), err);
}

ErrCode rows_drop_requests(Rows *rows, uint64_t now_ms, size_t max, Err *err)
{
    for (size_t i = 0; i < max; i++) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        uint64_t expiry_ms = 0;
        ShardId shard = 0;
        RequestId id;
        TRY(index_batch_first(rows->index, STR("x"), STR("x"), &key, &value, &found, err));
        if (!found) return OK;
        if (!row_key_request_expiry_parse(key, &expiry_ms, &shard, &id)) return malformed(err);
        if (expiry_ms > now_ms) return OK;
        uint8_t own[ROW_KEY_MAX];
        size_t len = row_key_request_expiry(own, expiry_ms, shard, id);
        TRY(drop_request(rows, expiry_ms, shard, id, err));
        TRY(index_delete(rows->index, str_of(own, len), err));
    }
    return OK;
}
