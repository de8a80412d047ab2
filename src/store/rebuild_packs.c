/* Damaged packs:
 *
 *   walk all packs -> from the damaged ones, what is whole into new packs -> from the log, what no
 *   pack holds any more -> from the damaged ones again, what a row names and the walk only found by
 *   looking for it -> synced -> rows of index.db to the new places, one checkpoint -> damaged packs
 *   to quarantine/
 *
 * Cut off before the checkpoint, the new packs hold doubles, which compaction removes. A file whose
 * body nobody holds keeps its row and its old place: it is listed, and GET says file-damaged. */
#include "store/rebuild_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "index/index.h"
#include "store/compact_priv.h"
#include "store/rows.h"

/* A record that got a new place. */
typedef struct {
    Lsn lsn;
    Term term;
    ShardId shard;
    bool body;
    bool carries; /* a request */
    bool used;    /* a row names it */
    PackPlace place;
} Moved;

typedef struct {
    Disk *disk;
    const RebuildOptions *options;
    RebuildReport *report;
    RebuildRefs refs; /* of all packs, before */
    bool *bad;        /* by index of refs.packs */
    size_t bad_count;
    Packs *packs;
    Moved *moved; /* the first `sorted` of them by (shard, term, lsn) */
    size_t count;
    size_t sorted;
    size_t capacity;
    Index *index;
    IndexReader *reader;
    Buf key;
    Buf value;
    Buf record;
} Mend;

static void mend_deinit(Mend *mend)
{
    index_reader_free(mend->reader);
    index_free(mend->index);
    packs_free(mend->packs);
    rebuild_refs_deinit(&mend->refs);
    mem_free(mend->bad);
    mem_free(mend->moved);
    buf_deinit(&mend->key);
    buf_deinit(&mend->value);
    buf_deinit(&mend->record);
}

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_version(const void *left, const void *right)
{
    const Moved *a = left;
    const Moved *b = right;
    if (a->shard != b->shard) return compare(a->shard, b->shard);
    if (a->term != b->term) return compare(a->term, b->term);
    return compare(a->lsn, b->lsn);
}

/* --- which packs --- */

static bool in_packs(const Mend *mend, ShardId shard, VersionId version)
{
    size_t low = 0;
    size_t high = mend->refs.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const RebuildRef *ref = &mend->refs.refs[middle];
        int order = compare(ref->shard, shard);
        if (order == 0) order = compare(ref->term, version.term);
        if (order == 0) order = compare(ref->lsn, version.lsn);
        if (order == 0) return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static void note_loss(void *ctx, const RebuildLoss *loss)
{
    Mend *mend = ctx;
    for (size_t i = 0; i < mend->refs.pack_count; i++) {
        if (loss->kind != REBUILD_DAMAGED_PACK || mend->refs.packs[i] != loss->pack) continue;
        mend->bad_count += !mend->bad[i];
        mend->bad[i] = true;
    }
    if (loss->kind == REBUILD_DAMAGED_PACK) rebuild_loss(mend->options, loss);
}

static void pass_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    Mend *mend = ctx;
    /* Only now the number of packs is known. */
    if (mend->bad == NULL) mend->bad = mem_new_array(mend->refs.pack_count + 1, sizeof(bool));
    rebuild_progress(mend->options, what, done, total);
}

static bool is_bad(const Mend *mend, uint64_t pack)
{
    for (size_t i = 0; i < mend->refs.pack_count; i++) {
        if (mend->refs.packs[i] == pack) return mend->bad[i];
    }
    return true; /* it is not there at all */
}

/* A row whose body stands in a pack; views. */
typedef struct {
    Str key; /* of the row */
    BucketUid bucket;
    Str name;
    FileRow row; /* with its version */
} PackedRow;

typedef ErrCode (*PackedRowFn)(Mend *mend, const PackedRow *packed, Err *err);

static ErrCode each_row(Mend *mend, PackedRowFn fn, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(mend->reader, STR("n"), &cursor, err));
    for (;;) {
        PackedRow packed = {0};
        Str value = {NULL, 0};
        VersionId version;
        bool found = false;
        TRY(index_next(cursor, &packed.key, &value, &found, err));
        if (!found || packed.key.ptr[0] != 'n') return OK;
        if (!row_key_name_parse(packed.key, &packed.bucket, &packed.name, &version) ||
            !file_row_decode(value, &packed.row))
            return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
        packed.row.version = version;
        if (packed.row.place.pack != 0) TRY(fn(mend, &packed, err));
    }
}

/* A pack whose end is gone looks like one that a crash cut off, but for the row that names it. */
static ErrCode mark_row(Mend *mend, const PackedRow *packed, Err *err)
{
    UNUSED(err);
    if (in_packs(mend, file_id_shard(packed->row.file), packed->row.version)) return OK;
    for (size_t i = 0; i < mend->refs.pack_count; i++) {
        if (mend->refs.packs[i] != packed->row.place.pack || mend->bad[i]) continue;
        mend->bad[i] = true;
        mend->bad_count++;
    }
    return OK;
}

/* --- copying --- */

/* Is a record still of use? One that is dead must not get into a newer pack: what says so stands in
 * an older one, and compaction looks for what it covers in packs before it (store/compact.h). */
static ErrCode is_needed(Mend *mend, const Entry *entry, bool *needed, Err *err)
{
    VersionId version = {.term = entry->term, .lsn = entry->lsn};
    bool marker = (entry->flags & ENTRY_FLAG_DELETE_MARKER) != 0;
    *needed = entry->op == OP_DELETE && !marker;
    if (*needed || entry->op > OP_META) return OK;
    if (entry->op == OP_META) version = entry->target;
    uint8_t key[ROW_KEY_MAX];
    if (!key_valid(entry_key(entry))) return OK;
    size_t len = row_key_name(key, entry->bucket, entry_key(entry), version);
    Str value = {NULL, 0};
    return index_get(mend->reader, str_of(key, len), &value, needed, err);
}

static ErrCode append(Mend *mend, const PackRecord *record, Err *err)
{
    if (mend->count == mend->capacity) {
        mend->capacity = MAX((size_t)1024, mend->capacity + mend->capacity / 2);
        mend->moved = mem_resize(mend->moved, mend->capacity * sizeof *mend->moved);
    }
    Moved moved = {.lsn = record->entry.lsn,
                   .term = record->entry.term,
                   .shard = record->entry.shard,
                   .body = record->type == PACK_BODY};
    RequestId id;
    RequestRow row;
    moved.carries = request_row_of_entry(&record->entry, &id, &row);
    TRY(packs_append(mend->packs, record, &moved.place, err));
    mend->moved[mend->count++] = moved;
    return OK;
}

/* What is left of a record that is dead: its request, while that has a row. */
static ErrCode copy_request(Mend *mend, const Entry *entry, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    Str value = {NULL, 0};
    bool found = false;
    AUTO_BUF(attrs, COMPACT_REQUEST_ATTRS_MAX);
    PackRecord rest;
    size_t len = compact_request_key(entry, key);
    if (len == 0) return OK;
    TRY(index_get(mend->reader, str_of(key, len), &value, &found, err));
    if (found) TRY(compact_request_is(value, entry, &found, err));
    if (!found) return OK;
    TRY(compact_request_only(entry, &attrs, &rest, err));
    TRY(append(mend, &rest, err));
    mend->moved[mend->count - 1].lsn = 0; /* no row of a file is to be led there */
    return OK;
}

static ErrCode copy_record(Mend *mend, const PackRecord *record, Err *err)
{
    bool needed = false;
    TRY(is_needed(mend, &record->entry, &needed, err));
    return needed ? append(mend, record, err) : copy_request(mend, &record->entry, err);
}

static ErrCode on_whole(void *ctx, const PackRecord *record, const PackPlace *place, bool searched,
                        Err *err)
{
    UNUSED(place);
    return searched ? OK : copy_record(ctx, record, err);
}

static ErrCode on_bad_pack(void *ctx, const PackBad *bad, Err *err)
{
    UNUSED(ctx);
    UNUSED(bad);
    UNUSED(err);
    return OK; /* told before */
}

static ErrCode copy_whole(Mend *mend, Err *err)
{
    size_t done = 0;
    for (size_t i = 0; i < mend->refs.pack_count; i++) {
        PackWalked walked;
        PackWalkOptions walk = {.root = root_storage(&mend->options->root),
                                .record = on_whole,
                                .bad = on_bad_pack,
                                .ctx = mend};
        if (!mend->bad[i]) continue;
        rebuild_progress(mend->options, "copying what is whole", done++, mend->bad_count);
        TRY(pack_walk(mend->disk, mend->refs.packs[i], &walk, &walked, err));
    }
    return OK;
}

/* --- the log --- */

/* An applied entry that no pack holds: again into one. What is not applied yet will be at start. */
static ErrCode on_log_record(void *ctx, const char *path, const Frame *frame, Str payload, Err *err)
{
    Mend *mend = ctx;
    PackRecord record = {0};
    UNUSED(path);
    if (frame->kind != FRAME_ENTRY) return OK;
    TRY(entry_decode(payload, false, &record.entry, err));
    const RebuildShard *shard = &mend->refs.shards[record.entry.shard];
    VersionId version = {.term = record.entry.term, .lsn = record.entry.lsn};
    if (version.lsn > shard->last || in_packs(mend, record.entry.shard, version)) return OK;
    record.stored_body = record.entry.inline_body;
    record.type = record.entry.op == OP_DELETE       ? PACK_TOMBSTONE
                  : record.entry.inline_body.len > 0 ? PACK_BODY
                                                     : PACK_META;
    return copy_record(mend, &record, err);
}

static ErrCode on_bad_log(void *ctx, const WalBad *bad, Err *err)
{
    Mend *mend = ctx;
    UNUSED(err);
    if (bad->kind != WAL_TORN) mend->report->log_damaged = true;
    return OK;
}

static ErrCode copy_from_log(Mend *mend, Err *err)
{
    WalWalked walked;
    WalWalkOptions walk = {
        .root = mend->options->root.uuid, .record = on_log_record, .bad = on_bad_log, .ctx = mend};
    rebuild_progress(mend->options, "reading the log", 0, 1);
    TRY(wal_walk(mend->disk, &walk, &walked, err));
    mend->report->log_absent = walked.first_id == 0;
    return OK;
}

/* --- behind damage --- */

static void sort_moved(Mend *mend)
{
    if (mend->count > 0) qsort(mend->moved, mend->count, sizeof *mend->moved, by_version);
    mend->sorted = mend->count;
}

static Moved *find_moved(const Mend *mend, ShardId shard, VersionId version)
{
    Moved key = {.shard = shard, .term = version.term, .lsn = version.lsn};
    if (mend->sorted == 0) return NULL;
    return bsearch(&key, mend->moved, mend->sorted, sizeof key, by_version);
}

/* A record that the walk found by looking for one may be what a client stored, and is not taken
 * from there. One that stands where its row says is no such thing: it is read by its place, or
 * everything behind a bad place in a batch would go to quarantine with it. */
static ErrCode copy_named(Mend *mend, const PackedRow *packed, Err *err)
{
    ShardId shard = file_id_shard(packed->row.file);
    VersionId version = packed->row.version;
    PackRecord record;
    if (!is_bad(mend, packed->row.place.pack)) return OK;
    if (find_moved(mend, shard, version) != NULL) return OK;
    ErrCode code = pack_walk_read(mend->disk, &packed->row.place, &mend->record, &record, err);
    if (code == ERR_NOT_FOUND || code == ERR_CORRUPT) return OK; /* told by move_row() */
    if (code != OK) return code;
    const Entry *entry = &record.entry;
    bool same = id128_eq(entry->file, packed->row.file) && entry->term == version.term &&
                entry->lsn == version.lsn;
    return same ? append(mend, &record, err) : OK;
}

/* --- the index --- */

static ErrCode read_applied(Mend *mend, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(mend->reader, STR("a"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        AppliedRow row;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.len != 3 || key.ptr[0] != 'a') return OK;
        if (!applied_row_decode(value, &row))
            return err_set(err, ERR_CORRUPT, "index.db: applied row of a shard is malformed");
        Dec dec = dec_of(key.ptr + 1, 2);
        unsigned high = dec_u8(&dec);
        mend->refs.shards[high << 8 | dec_u8(&dec)].last = row.lsn;
    }
}

static void tell_file(const Mend *mend, BucketUid bucket, Str key, const FileRow *row)
{
    RebuildLoss loss = {.kind = REBUILD_DAMAGED_FILE,
                        .bucket = bucket,
                        .key = key,
                        .version = row->version,
                        .pack = row->place.pack,
                        .offset = row->place.offset};
    mend->report->damaged_files++;
    rebuild_loss(mend->options, &loss);
}

/* One row of a file: to its record's new place, if it has one. */
static ErrCode move_row(Mend *mend, const PackedRow *packed, Err *err)
{
    if (!is_bad(mend, packed->row.place.pack)) return OK;
    FileRow row = packed->row;
    Moved *moved = find_moved(mend, file_id_shard(row.file), row.version);
    if (moved == NULL) {
        tell_file(mend, packed->bucket, packed->name, &row);
        return OK;
    }
    moved->used = true;
    row.place = moved->place;
    buf_clear(&mend->value);
    TRY(buf_reserve(&mend->value, row.attrs.len + row.extents.len + 512, err));
    Enc enc = enc_of(mend->value.data, mend->value.capacity);
    file_row_encode(&row, &enc);
    ASSERT(!enc.failed);
    mend->report->applied++;
    return index_put(mend->index, packed->key, str_of(enc.data, enc.len), err);
}

/* All rows of a kind that begin with prefix. */
static ErrCode delete_all(Mend *mend, Str prefix, Err *err)
{
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_batch_first(mend->index, prefix, prefix, &key, &value, &found, err));
        if (!found) return OK;
        buf_clear(&mend->key);
        TRY(buf_append_str(&mend->key, key, err));
        TRY(index_delete(mend->index, buf_str(&mend->key), err));
    }
}

/* Nothing is counted in the pack any more. Its row stays: rows of files that nobody could give a
 * new place still name its number, which must never come up again. */
static ErrCode empty_pack_row(Mend *mend, uint64_t pack, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    uint8_t bytes[64];
    PackRow none = {0};
    Enc enc = enc_of(bytes, sizeof bytes);
    pack_row_encode(&none, &enc);
    ASSERT(!enc.failed);
    size_t len = row_key_pack(key, pack);
    TRY(index_put(mend->index, str_of(key, len), str_of(bytes, enc.len), err));
    len = row_key_names_prefix(key, pack);
    return delete_all(mend, str_of(key, len), err);
}

static bool is_there(const Mend *mend, uint64_t pack)
{
    for (size_t i = 0; i < mend->refs.pack_count; i++) {
        if (mend->refs.packs[i] == pack) return true;
    }
    for (size_t i = 0; i < mend->count; i++) {
        if (mend->moved[i].place.pack == pack) return true; /* made just now */
    }
    return false;
}

/* The same for packs that the index counts and that are not there. */
static ErrCode empty_missing(Mend *mend, Err *err)
{
    uint8_t from[ROW_KEY_MAX];
    size_t from_len = row_key_pack(from, 0);
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        uint64_t pack = 0;
        TRY(index_batch_first(mend->index, str_of(from, from_len), STR("p"), &key, &value, &found,
                              err));
        if (!found) return OK;
        if (!row_key_pack_parse(key, &pack))
            return err_set(err, ERR_CORRUPT, "index.db: the row of a pack is malformed");
        if (!is_there(mend, pack)) TRY(empty_pack_row(mend, pack, err));
        from_len = row_key_pack(from, pack + 1);
    }
}

/* No new pack gets a number that the index names: that pack may be lost. */
static ErrCode reserve_numbers(Mend *mend, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(mend->reader, STR("p"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        uint64_t pack = 0;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'p') return OK;
        if (row_key_pack_parse(key, &pack)) packs_reserve(mend->packs, pack);
    }
}

static ErrCode change_pack_rows(Mend *mend, Err *err)
{
    Rows rows;
    rows_begin(&rows, mend->index, &mend->value);
    for (size_t i = 0; i < mend->count; i++) {
        const Moved *moved = &mend->moved[i];
        bool sure = moved->body && !moved->carries;
        Entry entry = {.op = sure ? OP_CREATE : OP_NOOP, .size = sure};
        TRY(rows_pack_filled(&rows, &entry, &moved->place, err));
        if (moved->body && !moved->used) TRY(rows_pack_dead(&rows, &moved->place, err));
    }
    TRY(rows_flush(&rows, err));
    for (size_t i = 0; i < mend->refs.pack_count; i++) {
        if (mend->bad[i]) TRY(empty_pack_row(mend, mend->refs.packs[i], err));
    }
    return empty_missing(mend, err);
}

/* All in one batch: rows of packs and rows of files tell one story. */
static ErrCode change_index(Mend *mend, Err *err)
{
    sort_moved(mend);
    rebuild_progress(mend->options, "writing the index", 0, 1);
    TRY(index_begin(mend->index, err));
    ErrCode code = each_row(mend, move_row, err);
    if (code == OK) code = change_pack_rows(mend, err);
    if (code == OK) code = index_commit(mend->index, err);
    if (code != OK) {
        index_rollback(mend->index);
        return code;
    }
    rebuild_progress(mend->options, "writing the index", 1, 1);
    return index_checkpoint(mend->index, err);
}

static ErrCode quarantine_bad(Mend *mend, Err *err)
{
    for (size_t i = 0; i < mend->refs.pack_count; i++) {
        char path[64];
        char name[32];
        bool moved = false;
        if (!mend->bad[i]) continue;
        snprintf(name, sizeof name, "%" PRIu64 ".pack", mend->refs.packs[i]); /* fits */
        snprintf(path, sizeof path, "packs/%s", name);
        int saved = fault_point("rebuild.packs");
        if (saved != 0) return err_set_errno(err, ERR_IO, saved, "fault point rebuild.packs");
        TRY(rebuild_quarantine(mend->disk, path, name, &moved, err));
    }
    return OK;
}

/* --- the whole --- */

static ErrCode find_bad(Mend *mend, Err *err)
{
    RebuildOptions inner = {.root = mend->options->root,
                            .clock = mend->options->clock,
                            .progress = pass_progress,
                            .loss = note_loss,
                            .ctx = mend};
    rebuild_refs_init(&mend->refs, &inner, mend->report);
    ErrCode code = rebuild_refs_read(&mend->refs, mend->disk, err);
    mend->refs.options = mend->options;
    return code;
}

static ErrCode run(Mend *mend, Err *err)
{
    PacksOptions packs = {.root = root_storage(&mend->options->root),
                          .clock = mend->options->clock};
    bool created = false;
    DiskStat stat;
    TRY(disk_stat(mend->disk, "index.db", &stat, err));
    if (!stat.exists) {
        return err_set(err, ERR_CORRUPT,
                       "index.db is missing: first run `holdfast recover --rebuild index DIR`");
    }
    TRY(index_open(mend->disk, NULL, &mend->index, &created, err));
    TRY(index_reader_open(mend->index, &mend->reader, err));
    TRY(find_bad(mend, err));
    TRY(each_row(mend, mark_row, err));
    TRY(read_applied(mend, err));
    TRY(packs_open(mend->disk, &packs, &mend->packs, err));
    TRY(reserve_numbers(mend, err));
    TRY(copy_whole(mend, err));
    TRY(copy_from_log(mend, err));
    sort_moved(mend);
    TRY(each_row(mend, copy_named, err));
    TRY(packs_sync(mend->packs, err));
    TRY(change_index(mend, err));
    return quarantine_bad(mend, err);
}

ErrCode rebuild_packs(Disk *disk, const RebuildOptions *options, RebuildReport *report, Err *err)
{
    *report = (RebuildReport){0};
    bool unfinished = false;
    TRY(rebuild_wal_unfinished(disk, &unfinished, err));
    if (unfinished) return rebuild_wal_first(err);
    __attribute__((cleanup(mend_deinit)))
    Mend mend = {.disk = disk, .options = options, .report = report};
    buf_init(&mend.key, INDEX_KEY_MAX);
    buf_init(&mend.value, ROW_VALUE_MAX);
    buf_init(&mend.record, 2 * MIB); /* more than a record takes, as in fsck/salvage.c */
    return run(&mend, err);
}
