/* Index from packs, blobs and log:
 *
 *   read packs, join log -> build in rebuild/ -> checkpoint, synced -> index.db to quarantine/
 *   -> its log to quarantine/ -> rebuild/index.db to index.db
 *
 * index.db goes first: an index.db without its log might be torn, a log alone is nobody's. Cut off
 * before the last step the root has no index.db, which the packs prove; the next run or start
 * builds it. A run that was cut off while building is gone on with if packs and log are the same:
 * the row `z` of the half-made index says what it was made of and how far. */
#include "store/rebuild_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "disk/sub.h"
#include "index/index.h"
#include "store/rows.h"

#define INDEX_FILE "index.db"
#define INDEX_LOG_FILE "index.db-wal"
#define BATCH_RECORDS 20000
#define BATCHES_PER_CHECKPOINT 4
#define WRITER_CACHE_BYTES (64 * MIB)
#define STATE_KEY STR("z")
#define STATE_LEN (SHA256_LEN + 8)

typedef struct {
    RebuildRefs refs;
    Packs *packs;
    Blobs *blobs;
    Disk *beside; /* REBUILD_DIR */
    Index *index; /* in it */
    Sha256 made_of;
    uint64_t done;   /* refs applied */
    uint64_t now_ms; /* the latest time of any of them in this run */
    Buf record;
    Buf value;
} Build;

static void build_deinit(Build *build)
{
    index_free(build->index);
    disk_free(build->beside);
    rebuild_refs_deinit(&build->refs);
    buf_deinit(&build->record);
    buf_deinit(&build->value);
}

ErrCode rebuild_quarantine(Disk *disk, const char *path, const char *name, bool *moved, Err *err)
{
    DiskStat stat;
    char to[DISK_PATH_MAX];
    *moved = false;
    TRY(disk_stat(disk, path, &stat, err));
    if (!stat.exists) return OK;
    TRY(disk_mkdir_durable(disk, REBUILD_QUARANTINE, err));
    for (unsigned n = 1; stat.exists; n++) {
        int len = snprintf(to, sizeof to, REBUILD_QUARANTINE "/%s.%u", name, n);
        ASSERT(len > 0 && (size_t)len < sizeof to);
        TRY(disk_stat(disk, to, &stat, err));
    }
    TRY(disk_rename_durable(disk, path, to, err));
    *moved = true;
    return OK;
}

ErrCode rebuild_keep_orphans(Disk *disk, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, REBUILD_KEEP_ORPHANS, &stat, err));
    if (stat.exists) return OK;
    TRY(disk_mkdir_durable(disk, REBUILD_QUARANTINE, err));
    return disk_create_durable(disk, REBUILD_KEEP_ORPHANS, (Str){NULL, 0}, err);
}

static ErrCode note_remade(Disk *disk, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, REBUILD_REMADE, &stat, err));
    if (stat.exists) return OK;
    return disk_create_durable(disk, REBUILD_REMADE, (Str){NULL, 0}, err);
}

/* A place to be killed or to fail at, in test builds. */
static ErrCode pass(const char *point, Err *err)
{
    int saved = fault_point(point);
    return saved == 0 ? OK : err_set_errno(err, ERR_IO, saved, "fault point %s", point);
}

/* --- the half-made index --- */

/* What the rows are made of: the records in their order, and how far each shard goes. */
static Sha256 fingerprint(const RebuildRefs *refs)
{
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_SHA256);
    Sha256 out;
    hash_update(hash, refs->refs, refs->count * sizeof *refs->refs);
    hash_update(hash, refs->packs, refs->pack_count * sizeof *refs->packs);
    for (size_t i = 0; i < SHARD_COUNT_MAX; i++)
        hash_update(hash, &refs->shards[i].last, sizeof refs->shards[i].last);
    hash_final(hash, out.bytes);
    return out;
}

static ErrCode put_state(Build *build, Err *err)
{
    uint8_t bytes[STATE_LEN];
    Enc enc = enc_of(bytes, sizeof bytes);
    enc_bytes(&enc, build->made_of.bytes, SHA256_LEN);
    enc_u64(&enc, build->done);
    return index_put(build->index, STATE_KEY, str_of(bytes, enc.len), err);
}

/* How far an earlier run came with the same records; 0: not at all. */
static ErrCode get_state(Build *build, uint64_t *done, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    Str value = {NULL, 0};
    bool found = false;
    Sha256 made_of;
    *done = 0;
    TRY(index_reader_open(build->index, &reader, err));
    TRY(index_get(reader, STATE_KEY, &value, &found, err));
    if (!found || value.len != STATE_LEN) return OK;
    Dec dec = dec_of(value.ptr, value.len);
    dec_bytes(&dec, made_of.bytes, SHA256_LEN);
    uint64_t count = dec_u64(&dec);
    if (sha256_eq(&made_of, &build->made_of) && count <= build->refs.count) *done = count;
    return OK;
}

static ErrCode open_index(Build *build, Err *err)
{
    IndexOptions options = {.writer_cache_bytes = WRITER_CACHE_BYTES};
    bool created = false;
    return index_open(build->beside, &options, &build->index, &created, err);
}

/* Goes on with what an earlier run left, if that can be; else begins with nothing. */
static ErrCode begin_index(Build *build, Disk *disk, Err *err)
{
    TRY(disk_mkdir_durable(disk, REBUILD_DIR, err));
    TRY(disk_sub_open(disk, REBUILD_DIR, &build->beside, err));
    build->made_of = fingerprint(&build->refs);
    ErrCode code = open_index(build, err);
    if (code == OK) code = get_state(build, &build->done, err);
    if (code != OK && code != ERR_CORRUPT) return code;
    if (code == OK && build->done > 0) return OK;
    if (build->index != NULL) index_free(TAKE(build->index));
    err_clear(err);
    TRY(index_remove(build->beside, err));
    return open_index(build, err);
}

/* --- rows --- */

static ErrCode apply_ref(Build *build, Rows *rows, const RebuildRef *ref, Err *err)
{
    PackPlace place = {
        .pack = build->refs.packs[ref->pack], .offset = ref->offset, .length = ref->length};
    PackRecord record;
    TRY(packs_read(build->packs, &place, false, &build->record, &record, err));
    Entry *entry = &record.entry;
    if (fault_planted("rebuild-forgets-versions")) entry->flags &= (uint16_t)~ENTRY_FLAG_KEEP_OLDER;
    if (entry->lsn != ref->lsn || entry->shard != ref->shard || entry->term != ref->term) {
        return err_set(err, ERR_CORRUPT, "pack %" PRIu64 " at %" PRIu64 " changed meanwhile",
                       place.pack, place.offset);
    }
    ErrCode code = rows_apply(rows, entry, &place, err);
    build->now_ms = MAX(build->now_ms, entry->time_ms);
    if (code == OK) return OK;
    return err_wrap(err, code, "pack %" PRIu64 " at %" PRIu64, place.pack, place.offset);
}

static ErrCode apply_batch(Build *build, Err *err)
{
    const RebuildRefs *refs = &build->refs;
    Rows rows;
    TRY(index_begin(build->index, err));
    rows_begin(&rows, build->index, &build->value);
    uint64_t end = MIN(build->done + BATCH_RECORDS, (uint64_t)refs->count);
    ErrCode code = OK;
    for (uint64_t i = build->done; i < end && code == OK; i++)
        code = apply_ref(build, &rows, &refs->refs[i], err);
    if (code == OK) code = rows_flush(&rows, err);
    if (code == OK)
        code = rows_drop_requests(&rows, build->now_ms, REQUESTS_DROPPED(BATCH_RECORDS), err);
    uint64_t before = build->done;
    build->done = end;
    if (code == OK) code = put_state(build, err);
    if (code == OK) code = index_commit(build->index, err);
    if (code == OK) return OK;
    build->done = before;
    index_rollback(build->index);
    return code;
}

static ErrCode apply_all(Build *build, Err *err)
{
    const RebuildRefs *refs = &build->refs;
    rebuild_progress(refs->options, "writing the index", build->done, refs->count);
    for (unsigned batch = 1; build->done < refs->count; batch++) {
        TRY(pass("rebuild.batch", err));
        TRY(apply_batch(build, err));
        if (batch % BATCHES_PER_CHECKPOINT == 0) TRY(index_checkpoint(build->index, err));
        rebuild_progress(refs->options, "writing the index", build->done, refs->count);
    }
    return OK;
}

/* Which of the extents that lost their last name are still to be unlinked: those that are there and
 * got no other name since. */
static ErrCode prune_garbage(Build *build, Err *err)
{
    uint8_t from[64] = {'g'};
    size_t from_len = 1;
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        bool there = false;
        BodyId body;
        uint32_t number = 0;
        TRY(index_batch_first(build->index, str_of(from, from_len), STR("g"), &key, &value, &found,
                              err));
        if (!found) return OK;
        if (key.len >= sizeof from || !row_key_garbage_parse(key, &body, &number))
            return err_set(err, ERR_CORRUPT, "a garbage row is malformed");
        from_len = key.len;
        memcpy(from, key.ptr, from_len);
        uint8_t named[ROW_KEY_MAX];
        size_t named_len = row_key_extent(named, body, number);
        TRY(index_batch_get(build->index, str_of(named, named_len), &value, &found, err));
        if (!found) TRY(blob_exists(build->blobs, body, number, &there, err));
        if (!there) TRY(index_delete(build->index, str_of(from, from_len), err));
        from[from_len++] = 0; /* the next key */
    }
}

static ErrCode finish_rows(Build *build, Err *err)
{
    Rows rows;
    rows_begin(&rows, build->index, &build->value);
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        const RebuildShard *shard = &build->refs.shards[i];
        if (!shard->seen || shard->last == 0) continue;
        AppliedRow row = {.lsn = shard->last, .term = shard->last_term, .hash = shard->last_hash};
        TRY(rows_applied(&rows, (ShardId)i, &row, err));
    }
    TRY(prune_garbage(build, err));
    return index_delete(build->index, STATE_KEY, err);
}

/* All rows are there; then all is in index.db, synced, and its log is empty. */
static ErrCode finish_index(Build *build, Err *err)
{
    DiskStat stat;
    TRY(index_begin(build->index, err));
    ErrCode code = finish_rows(build, err);
    if (code != OK) {
        index_rollback(build->index);
        return code;
    }
    TRY(index_commit(build->index, err));
    TRY(index_checkpoint(build->index, err));
    index_free(TAKE(build->index));
    TRY(disk_stat(build->beside, INDEX_LOG_FILE, &stat, err));
    if (stat.exists && stat.size > 0)
        return err_set(err, ERR_BUSY, "the new index could not be brought into one file");
    return OK;
}

static ErrCode put_in_place(Build *build, Disk *disk, Err *err)
{
    bool moved = false;
    TRY(rebuild_quarantine(disk, INDEX_FILE, INDEX_FILE, &moved, err));
    TRY(pass("rebuild.swap", err));
    if (!fault_planted("rebuild-keeps-index-log"))
        TRY(rebuild_quarantine(disk, INDEX_LOG_FILE, INDEX_LOG_FILE, &moved, err));
    TRY(disk_rename_durable(disk, REBUILD_DIR "/" INDEX_FILE, INDEX_FILE, err));
    return index_remove(build->beside, err);
}

/* --- the whole --- */

static ErrCode check_losses(const Build *build, Err *err)
{
    const RebuildReport *report = build->refs.report;
    if (report->lost_entries == 0 || build->refs.options->accept_loss) return OK;
    return err_set(err, ERR_CORRUPT,
                   "%" PRIu64 " changes are in no pack, and the log no longer holds them; nothing "
                   "was changed; `holdfast recover --rebuild index --yes DIR` goes on "
                   "without them",
                   report->lost_entries);
}

ErrCode rebuild_index_of(Disk *disk, Packs *packs, Blobs *blobs, const RebuildOptions *options,
                         RebuildReport *report, Err *err)
{
    *report = (RebuildReport){0};
    __attribute__((cleanup(build_deinit))) Build build = {.packs = packs, .blobs = blobs};
    rebuild_refs_init(&build.refs, options, report);
    buf_init(&build.record, PACK_RECORD_HEADER_LEN + PACK_PAYLOAD_MAX + 8);
    buf_init(&build.value, ROW_VALUE_MAX);
    TRY(rebuild_refs_read(&build.refs, disk, err));
    TRY(rebuild_refs_join_log(&build.refs, disk, err));
    if (report->packs == 0 && report->log_absent) {
        return err_set(err, ERR_CORRUPT,
                       "packs and log are both gone: there is nothing to make an index of; nothing "
                       "was changed");
    }
    TRY(check_losses(&build, err));
    rebuild_refs_order(&build.refs);
    TRY(begin_index(&build, disk, err));
    report->resumed = build.done;
    TRY(apply_all(&build, err));
    TRY(finish_index(&build, err));
    report->applied = build.refs.count;
    TRY(rebuild_keep_orphans(disk, err));
    TRY(note_remade(disk, err));
    return put_in_place(&build, disk, err);
}

ErrCode rebuild_index(Disk *disk, const RebuildOptions *options, RebuildReport *report, Err *err)
{
    AUTO(Packs, packs_free) packs = NULL;
    AUTO(Blobs, blobs_free) blobs = NULL;
    bool unfinished = false;
    TRY(rebuild_wal_unfinished(disk, &unfinished, err));
    if (unfinished) return rebuild_wal_first(err);
    PacksOptions packs_options = {.root = root_storage(&options->root), .clock = options->clock};
    BlobsOptions blobs_options = {.root = root_storage(&options->root)};
    TRY(packs_open(disk, &packs_options, &packs, err));
    TRY(blobs_open(disk, &blobs_options, &blobs, err));
    return rebuild_index_of(disk, packs, blobs, options, report, err);
}

ErrCode rebuild_index_missing(Disk *disk, Packs *packs, bool *missing, Err *err)
{
    DiskStat stat;
    *missing = false;
    TRY(disk_stat(disk, INDEX_FILE, &stat, err));
    if (stat.exists) return OK;
    AUTO(uint64_t, mem_free) numbers = NULL;
    size_t count = 0;
    TRY(packs_list(packs, &numbers, &count, err));
    *missing = count > 0;
    return OK;
}

ErrCode rebuild_index_discard(Disk *disk, Err *err)
{
    AUTO(Disk, disk_free) beside = NULL;
    DiskStat stat;
    TRY(disk_stat(disk, REBUILD_DIR "/" INDEX_FILE, &stat, err));
    if (!stat.exists) return OK;
    TRY(disk_sub_open(disk, REBUILD_DIR, &beside, err));
    return index_remove(beside, err);
}
