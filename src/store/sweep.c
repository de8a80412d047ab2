/* Orphans: bodies that arrived whole but whose entry was never logged, because the process died in
 * between. Nobody was told that they are kept. */
#include "store/store_priv.h"

typedef struct {
    Store *store;
    IndexReader *reader;
    OMap *named; /* row keys of extents that un-applied records name */
    uint64_t removed;
} Sweep;

static ErrCode sweep_extent(void *ctx, BodyId body, uint32_t number, Err *err)
{
    Sweep *sweep = ctx;
    uint8_t key[ROW_KEY_MAX];
    Str row_key = str_of(key, row_key_extent(key, body, number));
    if (omap_get(sweep->named, row_key) != NULL) return OK;
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_get(sweep->reader, row_key, &value, &found, err));
    if (found) return OK;
    /* Garbage of the index is unlinked with its row, after a checkpoint; here it is gone earlier.
     */
    sweep->removed++;
    return blob_remove(sweep->store->blobs, body, number, err);
}

static void note_named(void *ctx, const Record *record)
{
    OMap *named = ctx;
    for (uint32_t i = 0; i < record->entry.extent_count; i++) {
        Extent extent = extent_at(record->entry.extents, i);
        uint8_t key[ROW_KEY_MAX];
        size_t len = row_key_extent(key, extent.body, extent.number);
        (void)omap_put(named, str_of(key, len), named); /* a set: the value means nothing */
    }
}

ErrCode store_sweep_orphans(Store *store, uint64_t *removed, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(OMap, omap_free) named = omap_new(store->options.seed);
    TRY(index_reader_open(store->index, &reader, err));
    table_each(store->table, note_named, named);
    Sweep sweep = {.store = store, .reader = reader, .named = named};
    TRY(blobs_list(store->blobs, sweep_extent, &sweep, err));
    *removed = sweep.removed;
    return OK;
}
