/* Orphans: bodies that arrived whole but whose entry was never logged, because the process died in
 * between. Nobody was told that they are kept. But after a view was made again, a body that nothing
 * names may be one whose record was lost: then it goes to quarantine/. */
#include "store/rebuild_priv.h"
#include "store/store_priv.h"

#include <stdio.h>

typedef struct {
    Store *store;
    IndexReader *reader;
    bool keep;   /* in quarantine/ */
    OMap *named; /* row keys of extents that un-applied records name */
    uint64_t removed;
} Sweep;

static ErrCode keep_orphan(Disk *disk, BodyId body, uint32_t number, Err *err)
{
    char path[BLOB_PATH_MAX];
    char id[ID128_TEXT_LEN + 1];
    char name[sizeof id + 16];
    bool moved = false;
    blob_path(body, number, path);
    id128_text(body, id);
    snprintf(name, sizeof name, "%s.%u", id, number);
    return rebuild_quarantine(disk, path, name, &moved, err);
}

/* The sweep is over: the next one unlinks again. */
static ErrCode forget_mark(Disk *disk, Err *err)
{
    TRY(disk_unlink(disk, REBUILD_KEEP_ORPHANS, err));
    return disk_sync_dir(disk, REBUILD_QUARANTINE, err);
}

static ErrCode sweep_extent(void *ctx, BodyId body, uint32_t number, Err *err)
{
    Sweep *sweep = ctx;
    uint8_t key[ROW_KEY_MAX];
    Str row_key = str_of(key, row_key_extent(key, body, number));
    if (omap_get(sweep->named, row_key) != NULL) return OK;
    Str value = {NULL, 0};
    bool found = false;
    Err own = {0};
    ErrCode code = index_get(sweep->reader, row_key, &value, &found, &own);
    if (code == ERR_CORRUPT) return OK; /* a damaged page may name it */
    if (code != OK) return err_set(err, code, "%s", err_text(&own));
    if (found) return OK;
    /* Garbage of the index is unlinked with its row, after a checkpoint; here it is gone earlier.
     */
    sweep->removed++;
    if (sweep->keep) return keep_orphan(sweep->store->disk, body, number, err);
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
    DiskStat mark;
    TRY(disk_stat(store->disk, REBUILD_KEEP_ORPHANS, &mark, err));
    Sweep sweep = {.store = store, .reader = reader, .keep = mark.exists, .named = named};
    TRY(blobs_list(store->blobs, sweep_extent, &sweep, err));
    if (mark.exists) TRY(forget_mark(store->disk, err));
    *removed = sweep.removed;
    return OK;
}
