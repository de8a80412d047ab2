/* Records that are made anew of rows of the index: what they were made of is not needed for it. */
#include "store/rebuild_priv.h"
#include "store/store_priv.h"

ErrCode store_remake_entry(BucketUid bucket, Str key, const FileRow *row, Buf *attrs, Entry *out,
                           Err *err)
{
    bool marker = (row->flags & ROW_FLAG_DELETE_MARKER) != 0;
    unsigned flags = marker ? ENTRY_FLAG_DELETE_MARKER : ENTRY_FLAG_KEEP_OLDER;
    if ((row->flags & ROW_FLAG_NULL_VERSION) != 0) flags |= ENTRY_FLAG_NULL_VERSION;
    if ((row->flags & ROW_FLAG_DIGEST_KNOWN) != 0) flags |= ENTRY_FLAG_DIGEST_KNOWN;
    buf_clear(attrs);
    TRY(buf_append_str(attrs, row->attrs, err));
    TRY(attr_set(attrs, ATTR_KEY, key, err));
    *out = (Entry){.op = marker ? OP_DELETE : OP_CREATE,
                   .shard = file_id_shard(row->file),
                   .flags = (uint16_t)flags,
                   .term = row->version.term,
                   .lsn = row->version.lsn,
                   .file = row->file,
                   .bucket = bucket,
                   .time_ms = row->updated_ms,
                   .body = row->body,
                   .size = row->size,
                   .body_digest = row->digest,
                   .attrs = buf_str(attrs),
                   .extents = row->extents,
                   .extent_count = row->extent_count};
    return OK;
}

/* --- an index that is made anew of packs --- */

bool store_is_remade(const Store *store)
{
    return atomic_load(&store->remade);
}

ErrCode store_note_remade(Store *store, Err *err)
{
    DiskStat made;
    DiskStat owed;
    TRY(disk_stat(store->disk, REBUILD_REMADE, &made, err));
    TRY(disk_stat(store->disk, REBUILD_OWED, &owed, err));
    bool remade = made.exists || owed.exists;
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        StoreShard *shard = atomic_load(&store->shards[i]);
        if (shard != NULL) shard->remade = remade;
    }
    atomic_store(&store->owed_mark, owed.exists ? MARK_THERE : MARK_NONE);
    atomic_store(&store->remade, remade);
    return OK;
}

static bool shards_left(Store *store)
{
    bool left = false;
    lock_take(&store->lock);
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        const StoreShard *shard = atomic_load(&store->shards[i]);
        left = left || (shard != NULL && shard->remade);
    }
    lock_give(&store->lock);
    return left;
}

static ErrCode remove_mark(Store *store, const char *path, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(store->disk, path, &stat, err));
    if (!stat.exists) return OK;
    TRY(disk_unlink(store->disk, path, err));
    return disk_sync_dir(store->disk, "", err);
}

/* The writer may begin to owe something at any moment: it waits while the mark goes. */
static ErrCode forget_owed(Store *store, Err *err)
{
    int there = MARK_THERE;
    if (atomic_load(&store->owed) > 0) return OK;
    if (!atomic_compare_exchange_strong(&store->owed_mark, &there, MARK_GOES)) return OK;
    bool again = atomic_load(&store->owed) > 0;
    ErrCode code = again ? OK : remove_mark(store, REBUILD_OWED, err);
    atomic_store(&store->owed_mark, again ? MARK_THERE : MARK_NONE); /* on failure: made again */
    return code;
}

bool store_has_marks(Store *store)
{
    bool owed = atomic_load(&store->owed_mark) != MARK_NONE && atomic_load(&store->owed) == 0;
    return (atomic_load(&store->remade) || owed) && !shards_left(store);
}

ErrCode store_forget_remade(Store *store, Err *err)
{
    if (shards_left(store)) return OK;
    if (atomic_load(&store->remade)) TRY(remove_mark(store, REBUILD_REMADE, err));
    TRY(forget_owed(store, err));
    atomic_store(&store->remade, false);
    return OK;
}

ErrCode store_owe(Store *store, Err *err)
{
    atomic_fetch_add(&store->owed, 1);
    int mark = atomic_load(&store->owed_mark);
    ErrCode code = mark == MARK_THERE ? OK
                   : mark == MARK_GOES
                       ? ERR_BUSY
                       : disk_replace_durable(store->disk, REBUILD_OWED, (Str){NULL, 0}, err);
    if (code == OK) atomic_store(&store->owed_mark, MARK_THERE);
    if (code != OK) atomic_fetch_sub(&store->owed, 1);
    return code;
}

void store_owes_less(Store *store)
{
    ASSERT(atomic_load(&store->owed) > 0);
    atomic_fetch_sub(&store->owed, 1);
}

void store_accept_remade_shard(Store *store, ShardId number)
{
    StoreShard *shard = store_shard(store, number);
    lock_take(&store->lock);
    shard->remade = false;
    lock_give(&store->lock);
}

ErrCode store_accept_remade(Store *store, Err *err)
{
    lock_take(&store->lock);
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        StoreShard *shard = atomic_load(&store->shards[i]);
        if (shard != NULL) shard->remade = false;
    }
    lock_give(&store->lock);
    return store_forget_remade(store, err);
}
