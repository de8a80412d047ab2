/* Packs against the index and back. One pass over each pack, in order, with a look-up in the index
 * per record: a row whose place is that record's is matched. If as many rows are matched as name a
 * place, every row has its body; else, and for the owners of bad places, a second pass over the
 * rows. */
#include "fsck/fsck_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "blob/pack_walk.h"

typedef struct {
    Fsck *fsck;
    FsckPack *pack;
    char path[48];
} PackRun;

static void path_of(uint64_t number, char out[48])
{
    snprintf(out, 48, "packs/%" PRIu64 ".pack", number); /* fits */
}

/* ---- records ---- */

static ErrCode record_differs(PackRun *run, const FsckOwner *owner, const PackPlace *place,
                              const char *text, Err *err)
{
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = "index-row",
                           .path = run->path,
                           .offset = place->offset,
                           .length = place->length,
                           .owner = owner,
                           .text = text,
                           .mend = FSCK_MEND_INDEX};
    return fsck_tell(run->fsck, &finding, err);
}

/* The row and the record of one version say the same. */
static bool row_agrees(const FileRow *row, const Entry *entry)
{
    FileRow said;
    file_row_of_entry(entry, &said);
    /* Builds without versions did not write down what is the null version. */
    bool flags = row->flags == said.flags || (row->flags | ROW_FLAG_NULL_VERSION) == said.flags;
    return id128_eq(row->file, said.file) && row->size == said.size && flags &&
           id128_eq(row->body, said.body) && sha256_eq(&row->digest, &said.digest) &&
           str_eq(row->extents, said.extents) && row->updated_ms == said.updated_ms &&
           row->created_ms == said.created_ms;
}

static ErrCode match(PackRun *run, const FileRow *row, Str row_key, const PackPlace *place,
                     Err *err)
{
    Fsck *fsck = run->fsck;
    if (row->place.pack != 0) {
        bool here = row->place.pack == place->pack && row->place.offset == place->offset &&
                    row->place.length == place->length;
        fsck->matched += here;
        return OK;
    }
    AUTO_BUF(key, INDEX_KEY_MAX);
    Str value = {NULL, 0};
    bool found = false;
    TRY(buf_append(&key, "m", 1, err));
    TRY(buf_append_str(&key, row_key, err));
    TRY(scratch_get(fsck->scratch, buf_str(&key), &value, &found, err));
    if (found) return OK;
    fsck->matched_unplaced++;
    return scratch_put(fsck->scratch, buf_str(&key), STR(""), err);
}

/* A change of a name that has no row at all: the newest write and the newest deletion are compared
 * at the end. */
static ErrCode note_rowless(Fsck *fsck, Str prefix, const Entry *entry, bool write, Err *err)
{
    AUTO_BUF(key, INDEX_KEY_MAX);
    uint8_t bytes[2 * 12];
    Str value = {NULL, 0};
    bool found = false;
    VersionId newest[2] = {{0}};
    TRY(buf_append(&key, "d", 1, err));
    TRY(buf_append_str(&key, prefix, err));
    TRY(scratch_get(fsck->scratch, buf_str(&key), &value, &found, err));
    Dec dec = dec_of(value.ptr, value.len);
    for (size_t i = 0; found && i < 2; i++) {
        newest[i].term = dec_u32(&dec);
        newest[i].lsn = dec_u64(&dec);
    }
    VersionId own = {.term = entry->term, .lsn = entry->lsn};
    VersionId *mine = &newest[write ? 0 : 1];
    if (version_id_cmp(own, *mine) > 0) *mine = own;
    Enc enc = enc_of(bytes, sizeof bytes);
    for (size_t i = 0; i < 2; i++) {
        enc_u32(&enc, newest[i].term);
        enc_u64(&enc, newest[i].lsn);
    }
    return scratch_put(fsck->scratch, buf_str(&key), str_of(bytes, enc.len), err);
}

/* The newest row of a name against a deletion of all of it. */
static ErrCode check_deleted(PackRun *run, Str prefix, Str row_key, const Entry *entry,
                             const PackPlace *place, Err *err)
{
    BucketUid bucket = 0;
    Str name;
    VersionId version;
    bool all = entry->op == OP_DELETE && entry->target.lsn == 0 &&
               (entry->flags & (ENTRY_FLAG_DELETE_MARKER | ENTRY_FLAG_KEEP_OLDER)) == 0;
    UNUSED(prefix);
    if (!all || !row_key_name_parse(row_key, &bucket, &name, &version)) return OK;
    VersionId deleted = {.term = entry->term, .lsn = entry->lsn};
    if (version_id_cmp(version, deleted) > 0) return OK;
    FsckOwner owner = fsck_owner(run->fsck, bucket, name, version, entry->file);
    return record_differs(run, &owner, place, "index.db names a file that was deleted", err);
}

static ErrCode check_version(PackRun *run, const Entry *entry, const PackPlace *place, Err *err)
{
    Fsck *fsck = run->fsck;
    uint8_t key[ROW_KEY_MAX];
    uint8_t prefix_bytes[ROW_KEY_MAX];
    VersionId version = {.term = entry->term, .lsn = entry->lsn};
    bool write = entry->op != OP_DELETE || (entry->flags & ENTRY_FLAG_DELETE_MARKER) != 0;
    Str name = entry_key(entry);
    Str row_key = str_of(key, row_key_name(key, entry->bucket, name, version));
    Str prefix = str_of(prefix_bytes, row_key_name_prefix(prefix_bytes, entry->bucket, name));
    Str value = {NULL, 0};
    bool found = false;
    if (write) TRY(index_get(fsck->reader, row_key, &value, &found, err));
    if (found) {
        FileRow row;
        if (!file_row_decode(value, &row)) return OK; /* told before */
        FsckOwner owner = fsck_owner(fsck, entry->bucket, name, version, entry->file);
        if (!row_agrees(&row, entry))
            return record_differs(run, &owner, place, "index.db says something else of this file",
                                  err);
        return match(run, &row, row_key, place, err);
    }
    Str other = {NULL, 0};
    TRY(index_first(fsck->reader, prefix, prefix, &other, &value, &found, err));
    if (found) return check_deleted(run, prefix, other, entry, place, err);
    return note_rowless(fsck, prefix, entry, write, err);
}

static ErrCode on_record(void *ctx, const PackRecord *record, const PackPlace *place, bool searched,
                         Err *err)
{
    PackRun *run = ctx;
    Fsck *fsck = run->fsck;
    const Entry *entry = &record->entry;
    UNUSED(searched);
    RequestId id;
    RequestRow request;
    run->pack->records_end = MAX(run->pack->records_end, place->offset + place->length);
    if (record->type == PACK_BODY) run->pack->body_bytes += place->length;
    if (record->type != PACK_BODY || request_row_of_entry(entry, &id, &request))
        run->pack->unsure_bytes += place->length;
    if (!fsck->index_whole) {
        fsck_learn_bucket(fsck, entry->bucket, entry_key(entry), entry->attrs);
        return OK;
    }
    if (run->pack->retired) return OK;
    bool named = entry->op == OP_CREATE || entry->op == OP_UPDATE || entry->op == OP_DELETE;
    if (!named || entry->lsn > fsck->applied[entry->shard].lsn) return OK;
    if (!key_valid(entry_key(entry))) {
        return fsck_say(fsck, FSCK_DAMAGE, "pack-record", run->path, place->offset, place->length,
                        "", err, "a record without a key that could be one");
    }
    return check_version(run, entry, place, err);
}

/* ---- bad places ---- */

static ErrCode tell_range(Fsck *fsck, const FsckRange *range, const FsckOwner *owner, Err *err)
{
    char path[48];
    path_of(range->pack, path);
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = range->kind,
                           .path = path,
                           .offset = range->offset,
                           .length = range->length,
                           .owner = owner,
                           .text = range->text,
                           .mend = ""};
    return fsck_tell(fsck, &finding, err);
}

static ErrCode keep_range(PackRun *run, const char *kind, uint64_t offset, uint64_t length,
                          const char *text, Err *err)
{
    Fsck *fsck = run->fsck;
    FsckRange range = {.pack = run->pack->number, .offset = offset, .length = length, .kind = kind};
    snprintf(range.text, sizeof range.text, "%s", text); /* a long one is cut */
    fsck->packs_bad = true;
    if (fsck->range_count == FSCK_RANGES_MAX || !fsck->index_whole)
        return tell_range(fsck, &range, NULL, err);
    if (fsck->range_count == fsck->range_capacity) {
        fsck->range_capacity = MAX((size_t)64, 2 * fsck->range_capacity);
        fsck->ranges = mem_resize(fsck->ranges, fsck->range_capacity * sizeof *fsck->ranges);
    }
    fsck->ranges[fsck->range_count++] = range;
    return OK;
}

static ErrCode on_bad(void *ctx, const PackBad *bad, Err *err)
{
    PackRun *run = ctx;
    switch (bad->kind) {
    case PACK_TORN:
        if (run->pack->torn_len == 0) run->pack->torn_at = bad->offset;
        run->pack->torn_len = bad->offset + bad->length - run->pack->torn_at;
        return OK;
    case PACK_BAD_HEADER:
        return keep_range(run, "pack-header", bad->offset, bad->length, bad->text, err);
    case PACK_BAD_BYTES:
    case PACK_BAD_RECORD:
        return keep_range(run, "pack-record", bad->offset, bad->length, bad->text, err);
    }
    return OK;
}

static void on_read(void *ctx, uint64_t bytes)
{
    PackRun *run = ctx;
    fsck_read(run->fsck, bytes);
}

/* Sums of the pack against its row; and whether what looks torn was cut off by a crash. */
static ErrCode check_sums(PackRun *run, Err *err)
{
    Fsck *fsck = run->fsck;
    FsckPack *pack = run->pack;
    const PackRow *row = &pack->row;
    bool known = fsck->index_whole && pack->has_row;
    bool counted = pack->torn_len > 0 && pack->torn_at < row->end;
    bool lacks = known && (counted || pack->record_bytes < row->bytes);
    if (pack->torn_len > 0) {
        if (lacks || (pack->live > 0 && !known && fsck->index_whole))
            return keep_range(run, "pack-record", pack->torn_at, pack->torn_len,
                              "damaged: index.db counts records here", err);
        return fsck_say(fsck, FSCK_NOTE, "pack-torn", run->path, pack->torn_at, pack->torn_len, "",
                        err, "a batch that was being written when the process ended");
    }
    if (!known) return OK;
    if (lacks && !fsck->packs_bad) {
        return keep_range(run, "pack-short", 0, 0, "fewer records than index.db counts here", err);
    }
    if (row->dead <= row->bytes && pack->live <= row->bytes - row->dead) return OK;
    PackRow right = {.bytes = pack->record_bytes,
                     .dead = pack->body_bytes > pack->live ? pack->body_bytes - pack->live : 0,
                     .unsure = pack->unsure_bytes,
                     .end = MAX(row->end, pack->records_end)};
    uint8_t key[ROW_KEY_MAX];
    uint8_t bytes[64];
    Enc enc = enc_of(bytes, sizeof bytes);
    pack_row_encode(&right, &enc);
    TRY(fsck_mend_row(fsck, str_of(key, row_key_pack(key, pack->number)), str_of(bytes, enc.len),
                      err));
    return fsck_say(fsck, FSCK_DAMAGE, "pack-count", "index.db", 0, 0, FSCK_MEND_REPAIR, err,
                    "pack %" PRIu64 " counts %" PRIu64 " bytes, %" PRIu64
                    " of them dead; files need %" PRIu64,
                    pack->number, row->bytes, row->dead, pack->live);
}

static ErrCode one_pack(Fsck *fsck, uint64_t number, Err *err)
{
    PackRun run = {.fsck = fsck, .pack = fsck_pack(fsck, number)};
    PackWalkOptions options = {
        .record = on_record, .bad = on_bad, .progress = on_read, .ctx = &run};
    PackWalked walked = {0};
    if (fsck->root_known) options.root = root_storage(&fsck->root);
    path_of(number, run.path);
    run.pack->has_file = true;
    ErrCode code = pack_walk(fsck->disk, number, &options, &walked, err);
    if (code != OK) {
        fsck->packs_bad = true;
        return fsck_unreadable(fsck, run.path, code, err);
    }
    run.pack->record_bytes = walked.record_bytes;
    return check_sums(&run, err);
}

/* Of what is not whole yet rows may be lacking, and have been taken away. */
static bool any_incomplete(const Fsck *fsck)
{
    for (size_t i = 0; i < SHARD_COUNT_MAX; i++) {
        if (fsck->tails[i].incomplete) return true;
    }
    return false;
}

/* Names without a row: the last that is known of them must be a deletion. */
static ErrCode rowless(void *ctx, Str key, Str value, Err *err)
{
    Fsck *fsck = ctx;
    VersionId newest[2];
    Dec dec = dec_of(value.ptr, value.len);
    for (size_t i = 0; i < 2; i++) {
        newest[i].term = dec_u32(&dec);
        newest[i].lsn = dec_u64(&dec);
    }
    /* A deletion that can't be read may be what is lacking. */
    if (version_id_cmp(newest[1], newest[0]) >= 0 || fsck->packs_bad) return OK;
    uint8_t row_key[ROW_KEY_MAX + 16] = {0};
    BucketUid bucket = 0;
    Str name;
    VersionId ignored;
    ASSERT(key.len + 12 <= sizeof row_key + 1);
    memcpy(row_key, key.ptr + 1, key.len - 1);
    if (!row_key_name_parse(str_of(row_key, key.len - 1 + 12), &bucket, &name, &ignored)) return OK;
    FsckOwner owner = fsck_owner(fsck, bucket, name, newest[0], (FileId){{0}});
    FsckFinding finding = {
        .level = FSCK_DAMAGE,
        .kind = FSCK_KIND_LACKS,
        .path = "index.db",
        .owner = &owner,
        .text = "the packs hold this file, nothing deleted it, and no row names it",
        .mend = FSCK_MEND_INDEX};
    fsck->report.lacking++;
    return fsck_tell(fsck, &finding, err);
}

ErrCode fsck_check_packs(Fsck *fsck, Err *err)
{
    AUTO(uint64_t, mem_free) numbers = NULL;
    size_t count = 0;
    ErrCode code = pack_walk_list(fsck->disk, &numbers, &count, err);
    if (code != OK) return fsck_unreadable(fsck, "packs", code, err);
    for (size_t i = 0; i < count; i++)
        TRY(one_pack(fsck, numbers[i], err));
    if (!fsck->index_whole) return OK;
    for (size_t i = 0; i < fsck->pack_count; i++) {
        FsckPack *pack = &fsck->packs[i];
        if (pack->has_file || (pack->live == 0 && pack->row.bytes == pack->row.dead)) continue;
        char path[48];
        path_of(pack->number, path);
        fsck->packs_bad = true;
        TRY(fsck_say(fsck, FSCK_DAMAGE, "pack-missing", path, 0, 0, FSCK_MEND_PACKS, err,
                     "index.db counts %" PRIu64 " bytes of files in it and it is not there",
                     pack->live));
    }
    if (any_incomplete(fsck)) return OK;
    return scratch_each(fsck->scratch, STR("d"), rowless, fsck, err);
}

/* ---- owners ---- */

static FsckRange *range_of(Fsck *fsck, const PackPlace *place)
{
    for (size_t i = 0; i < fsck->range_count; i++) {
        FsckRange *range = &fsck->ranges[i];
        if (range->pack == place->pack && range->offset < place->offset + place->length &&
            place->offset < range->offset + range->length)
            return range;
    }
    return NULL;
}

/* The record at the row's place is whole and the row's. */
static ErrCode check_place(Fsck *fsck, const FsckOwner *owner, const FileRow *row, Buf *buf,
                           Err *err)
{
    PackRecord record;
    Err why = {0};
    ErrCode code = pack_walk_read(fsck->disk, &row->place, buf, &record, &why);
    if (code == OK && record.entry.lsn == owner->version.lsn &&
        id128_eq(record.entry.file, row->file))
        return OK;
    if (code == ERR_NO_MEMORY || code == ERR_SYSTEM) return code;
    char path[48];
    path_of(row->place.pack, path);
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = "body-missing",
                           .path = path,
                           .offset = row->place.offset,
                           .length = row->place.length,
                           .owner = owner,
                           .text = code == OK
                                       ? "another file's record stands where this one's body "
                                         "should be"
                                       : err_text(&why),
                           .mend = FSCK_MEND_PACKS};
    return fsck_tell(fsck, &finding, err);
}

/* A row without a place has a record in some pack all the same, or packs alone could not tell of
 * it. */
static ErrCode check_unplaced(Fsck *fsck, const FsckOwner *owner, Str row_key, Err *err)
{
    AUTO_BUF(key, INDEX_KEY_MAX);
    Str value = {NULL, 0};
    bool found = false;
    if (fsck->matched_unplaced == fsck->rows_unplaced) return OK;
    TRY(buf_append(&key, "m", 1, err));
    TRY(buf_append_str(&key, row_key, err));
    TRY(scratch_get(fsck->scratch, buf_str(&key), &value, &found, err));
    if (found) return OK;
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = "pack-lacks",
                           .path = "packs",
                           .owner = owner,
                           .text = "no pack tells of this version, which index.db names",
                           .mend = FSCK_MEND_PACKS};
    return fsck_tell(fsck, &finding, err);
}

static ErrCode own_row(Fsck *fsck, Str key, Str value, Buf *buf, Err *err)
{
    BucketUid bucket = 0;
    Str name;
    FileRow row;
    if (!file_row_decode(value, &row) || !row_key_name_parse(key, &bucket, &name, &row.version))
        return OK;
    FsckOwner owner = fsck_owner(fsck, bucket, name, row.version, row.file);
    if (row.place.pack == 0) return check_unplaced(fsck, &owner, key, err);
    FsckRange *range = range_of(fsck, &row.place);
    if (range != NULL) {
        FsckRange shown = *range;
        range->claimed = true;
        shown.offset = row.place.offset;
        shown.length = row.place.length;
        if (range->offset > shown.offset) { /* the bad bytes, not the whole record */
            shown.length -= range->offset - shown.offset;
            shown.offset = range->offset;
        }
        Err why = {0};
        PackRecord record;
        if (pack_walk_read(fsck->disk, &row.place, buf, &record, &why) != OK)
            return tell_range(fsck, &shown, &owner, err);
        range->claimed = false;
        return OK;
    }
    if (fsck->matched == fsck->rows_placed) return OK;
    return check_place(fsck, &owner, &row, buf, err);
}

static ErrCode own_rows(Fsck *fsck, Err *err)
{
    AUTO_BUF(buf, 2 * MIB);
    AUTO(IndexReader, index_reader_free) reader = NULL;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_reader_open(fsck->index, &reader, err));
    TRY(index_scan(reader, STR("n"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'n') break;
        TRY(own_row(fsck, key, value, &buf, err));
    }
    return OK;
}

ErrCode fsck_find_owners(Fsck *fsck, Err *err)
{
    bool lacking = fsck->matched != fsck->rows_placed ||
                   fsck->matched_unplaced != fsck->rows_unplaced;
    if (!fsck->index_whole || (fsck->range_count == 0 && !lacking)) return OK;
    TRY(own_rows(fsck, err));
    for (size_t i = 0; i < fsck->range_count; i++) {
        if (!fsck->ranges[i].claimed) TRY(tell_range(fsck, &fsck->ranges[i], NULL, err));
    }
    return OK;
}
