#include "rebuild_kit.h"

#include <stdio.h>
#include <string.h>

void rebuild_kit_init(RebuildKit *kit, uint64_t seed)
{
    memset(kit, 0, sizeof *kit);
    rng_init(&kit->rng, seed);
    clock_manual_init(&kit->clock, 1700000000000);
    ErrCode code = disk_sim_new(seed, &kit->disk, NULL);
    ASSERT(code == OK);
    kit->root = (RootInfo){.uuid = id128_random(&kit->rng), .cluster = id128_random(&kit->rng)};
    for (unsigned i = 0; i < KIT_BUCKETS; i++)
        kit->uids[i] = i == 0 ? BUCKET_UID_SYSTEM : rng_u64(&kit->rng);
}

void rebuild_kit_deinit(RebuildKit *kit)
{
    store_free(kit->store);
    disk_free(kit->disk);
}

RebuildOptions rebuild_kit_options(RebuildKit *kit)
{
    return (RebuildOptions){.root = kit->root, .clock = &kit->clock.clock};
}

ErrCode rebuild_kit_open(RebuildKit *kit, Err *err)
{
    kit->root.incarnation++;
    StoreOptions options = {.root = kit->root,
                            .wal_segment_size = SEGMENT_SIZE_MIN,
                            .wal_spares = 1,
                            .pack_size = 32 * KIB,
                            .chunk_size = CHUNK_SIZE_MIN,
                            .clock = &kit->clock.clock,
                            .seed = rng_u64(&kit->rng)};
    TRY(store_open(kit->disk, &options, &kit->store, &kit->opened, err));
    for (unsigned i = 0; i < KIT_SHARDS; i++) {
        ReplicaState state;
        store_replica_state(kit->store, (ShardId)i, &state);
        kit->tail[i].lsn = state.last_lsn;
        kit->tail[i].hash = state.last_hash;
        kit->tail[i].term = MAX(state.last_term, 1u);
        for (Record *next = NULL, *r = store_replayed(kit->store, (ShardId)i); r != NULL;
             r = next) {
            next = r->next;
            store_committed(kit->store, r);
        }
    }
    return OK;
}

void rebuild_kit_stop(RebuildKit *kit, bool power)
{
    store_free(TAKE(kit->store));
    if (power)
        disk_sim_crash(kit->disk);
    else
        disk_sim_kill(kit->disk);
}

ErrCode rebuild_kit_apply(RebuildKit *kit, size_t max, Err *err)
{
    size_t applied = 0;
    return store_apply(kit->store, max, &applied, err);
}

static ErrCode append(RebuildKit *kit, Entry *entry, Err *err)
{
    unsigned shard = entry->shard;
    if (rng_below(&kit->rng, 40) == 0) kit->tail[shard].term++;
    entry->lsn = kit->tail[shard].lsn + 1;
    entry->term = kit->tail[shard].term;
    entry->prev_hash = kit->tail[shard].hash;
    entry->record_id = id128_random(&kit->rng);
    entry->time_ms = 1700000000000 + rng_below(&kit->rng, 1000000);
    entry_seal(entry);
    Sealed *sealed = NULL;
    TRY(sealed_new(entry, &sealed, err));
    Record *record = store_add(kit->store, sealed);
    sealed_drop_body(sealed);
    sealed_unref(sealed);
    TRY(store_log_append(kit->store, record, err));
    TRY(store_log_sync(kit->store, err));
    store_logged(kit->store, record);
    store_committed(kit->store, record);
    kit->tail[shard].lsn = entry->lsn;
    kit->tail[shard].hash = entry->checksum;
    return OK;
}

static ErrCode large_body(RebuildKit *kit, Entry *entry, uint8_t out[EXTENT_LEN], Err *err)
{
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    Extent extent;
    char bytes[300];
    BlobInfo info = {.shard = entry->shard, .bucket = entry->bucket};
    memset(bytes, (int)rng_below(&kit->rng, 256), sizeof bytes);
    TRY(blob_writer_open(store_blobs(kit->store), entry->body, 0, &writer, err));
    TRY(blob_writer_write(writer, bytes, sizeof bytes, err));
    TRY(blob_writer_finish(writer, &info, &extent, err));
    Enc enc = enc_of(out, EXTENT_LEN);
    extent_encode(&extent, &enc);
    entry->extents = str_of(out, EXTENT_LEN);
    entry->extent_count = 1;
    entry->size = sizeof bytes;
    entry->body_digest = extent.digest;
    return OK;
}

static ErrCode write_attrs(RebuildKit *kit, Str key, Buf *attrs, Err *err)
{
    RequestId id = id128_random(&kit->rng);
    TRY(attr_set(attrs, ATTR_KEY, key, err));
    if (rng_below(&kit->rng, 2) == 0) TRY(attr_set(attrs, ATTR_CONTENT_TYPE, STR("a/b"), err));
    if (rng_below(&kit->rng, 3) == 0)
        TRY(attr_set(attrs, ATTR_REQUEST_ID, str_of(id.bytes, sizeof id.bytes), err));
    if (rng_below(&kit->rng, 3) == 0)
        TRY(attr_set_varint(attrs, ATTR_CREATED_MS, rng_below(&kit->rng, 1u << 30), err));
    return OK;
}

static unsigned any_flags(Rng *rng)
{
    static const unsigned flags[] = {0, 0, ENTRY_FLAG_KEEP_OLDER,
                                     ENTRY_FLAG_KEEP_OLDER | ENTRY_FLAG_NULL_VERSION};
    return flags[rng_below(rng, ARRAY_LEN(flags))];
}

typedef struct {
    unsigned bucket;
    unsigned key;
} Name;

/* Remembers versions that METAs and DELETEs may name, there or not. */
static void note_version(RebuildKit *kit, Name name, const Entry *entry)
{
    unsigned *count = &kit->names[name.bucket][name.key].count;
    VersionId version = {.term = entry->term, .lsn = entry->lsn};
    kit->names[name.bucket][name.key].versions[(*count)++ % KIT_VERSIONS] = version;
}

static ErrCode put(RebuildKit *kit, Name name, Entry *entry, Err *err)
{
    uint8_t extent[EXTENT_LEN];
    char body[900];
    FileId *file = &kit->names[name.bucket][name.key].file;
    bool known = !id128_is_zero(*file);
    if (!known) *file = file_id_make(entry->shard, 1700000000000, &kit->rng);
    entry->op = known ? OP_UPDATE : OP_CREATE;
    entry->file = *file;
    entry->body = id128_random(&kit->rng);
    entry->flags = (uint16_t)(any_flags(&kit->rng) | ENTRY_FLAG_DIGEST_KNOWN);
    if (rng_below(&kit->rng, 4) == 0) {
        TRY(large_body(kit, entry, extent, err));
    } else {
        size_t len = rng_below(&kit->rng, sizeof body);
        memset(body, (int)rng_below(&kit->rng, 256), sizeof body);
        entry->inline_body = str_of(body, len);
        entry->size = len;
        entry->body_digest = sha256_of(body, len);
    }
    TRY(append(kit, entry, err));
    note_version(kit, name, entry);
    return OK;
}

static ErrCode remove_name(RebuildKit *kit, Name name, Entry *entry, Err *err)
{
    unsigned count = MIN(kit->names[name.bucket][name.key].count, (unsigned)KIT_VERSIONS);
    entry->op = OP_DELETE;
    entry->file = kit->names[name.bucket][name.key].file;
    unsigned pick = (unsigned)rng_below(&kit->rng, 4);
    if (pick == 0) {
        entry->flags = ENTRY_FLAG_DELETE_MARKER;
        if (rng_below(&kit->rng, 2) == 0) entry->flags |= ENTRY_FLAG_NULL_VERSION;
    } else if (pick == 1 && count > 0) {
        entry->target = kit->names[name.bucket][name.key].versions[rng_below(&kit->rng, count)];
    } else {
        entry->flags = ENTRY_FLAG_ALL_VERSIONS;
        kit->names[name.bucket][name.key].file = (FileId){{0}};
    }
    TRY(append(kit, entry, err));
    if (pick == 0) note_version(kit, name, entry);
    return OK;
}

static ErrCode change_name(RebuildKit *kit, Name name, Entry *entry, Err *err)
{
    unsigned count = MIN(kit->names[name.bucket][name.key].count, (unsigned)KIT_VERSIONS);
    bool known = !id128_is_zero(kit->names[name.bucket][name.key].file);
    unsigned pick = (unsigned)rng_below(&kit->rng, 10);
    if (pick < 3 && known) return remove_name(kit, name, entry, err);
    if (pick > 4 || !known || count == 0) return put(kit, name, entry, err);
    entry->op = OP_META;
    entry->file = kit->names[name.bucket][name.key].file;
    entry->target = kit->names[name.bucket][name.key].versions[rng_below(&kit->rng, count)];
    return append(kit, entry, err);
}

ErrCode rebuild_kit_change(RebuildKit *kit, Err *err)
{
    char key[16];
    Name name = {.bucket = (unsigned)rng_below(&kit->rng, KIT_BUCKETS),
                 .key = (unsigned)rng_below(&kit->rng, KIT_KEYS)};
    snprintf(key, sizeof key, "k%u", name.key);
    unsigned shard = name.bucket == 0 ? 0 : 1 + name.key % (KIT_SHARDS - 1);
    Entry entry = {.shard = (ShardId)shard};
    if (rng_below(&kit->rng, 20) == 0) {
        entry.op = rng_below(&kit->rng, 2) == 0 ? OP_START : OP_NOOP;
        return append(kit, &entry, err);
    }
    /* A bucket is deleted when it is empty, and made again under another uid. */
    bool empty = name.bucket > 0;
    for (unsigned i = 0; i < KIT_KEYS; i++)
        empty = empty && id128_is_zero(kit->names[name.bucket][i].file);
    if (empty && rng_below(&kit->rng, 2) == 0) {
        kit->uids[name.bucket] = rng_u64(&kit->rng) | 1;
        for (unsigned i = 0; i < KIT_KEYS; i++)
            kit->names[name.bucket][i].count = 0;
    }
    AUTO_BUF(attrs, 4096);
    TRY(write_attrs(kit, str_from_cstr(key), &attrs, err));
    entry.bucket = kit->uids[name.bucket];
    entry.attrs = buf_str(&attrs);
    return change_name(kit, name, &entry, err);
}

void rebuild_kit_dump(Disk *disk, bool garbage, Buf *out)
{
    Index *index = NULL;
    IndexReader *reader = NULL;
    IndexCursor *cursor = NULL;
    bool created = false;
    ErrCode code = index_open(disk, NULL, &index, &created, NULL);
    ASSERT(code == OK && !created);
    code = index_reader_open(index, &reader, NULL);
    if (code == OK) code = index_scan(reader, STR("\1"), &cursor, NULL);
    for (bool found = true; code == OK && found;) {
        Str key;
        Str value;
        char line[64];
        code = index_next(cursor, &key, &value, &found, NULL);
        if (code != OK || !found) break;
        if (key.ptr[0] == 'g' && !garbage) continue;
        snprintf(line, sizeof line, "%zu %zu ", key.len, value.len);
        code = buf_append(out, line, strlen(line), NULL);
        if (code == OK) code = buf_append_str(out, key, NULL);
        if (code == OK) code = buf_append_str(out, value, NULL);
    }
    ASSERT(code == OK);
    index_cursor_close(cursor);
    index_reader_free(reader);
    index_free(index);
}
