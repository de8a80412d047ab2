/* All that tells of a version, from index, packs and log, goes to scratch: 'S', its row key, the
 * number of the source -> what it is and where. In that order the newest version of a name comes
 * first, and its sources one behind the other. */
#include "fsck/salvage.h"

#include "blob/blob_walk.h"
#include "blob/pack_walk.h"
#include "fsck/fsck_priv.h"
#include "wal/wal_walk.h"
#include <string.h>

typedef enum {
    SOURCE_PLACE = 1, /* in a pack */
    SOURCE_EXTENTS,
    SOURCE_INLINE, /* the body itself, out of the log */
    SOURCE_EMPTY,
    SOURCE_NAME_GONE,   /* the name was deleted here */
    SOURCE_VERSION_GONE /* this version was deleted later */
} SourceKind;

typedef struct {
    Fsck fsck;
    const SalvageOptions *options;
    SalvageReport report;
    Buf key;
    Buf value;
    Buf record; /* one pack record */
    /* the name in hand */
    Buf name;
    bool decided;
    /* the version in hand */
    Buf version;
    bool tried;
    bool gone;
    SalvageFile file;
} Salvage;

/* ---- gathering ---- */

static ErrCode put_source(Salvage *s, Str row_key, uint64_t number, SourceKind kind,
                          const FileRow *row, Str body, Err *err)
{
    uint8_t head[160];
    uint8_t tail[8];
    Enc enc = enc_of(head, sizeof head);
    Enc end = enc_of(tail, sizeof tail);
    enc_u8(&enc, (uint8_t)kind);
    enc_bytes(&enc, row->file.bytes, sizeof row->file.bytes);
    enc_u64(&enc, row->size);
    enc_bytes(&enc, row->digest.bytes, SHA256_LEN);
    enc_u8(&enc, (row->flags & ROW_FLAG_DIGEST_KNOWN) != 0);
    enc_u64(&enc, row->place.pack);
    enc_u64(&enc, row->place.offset);
    enc_u32(&enc, row->place.length);
    ASSERT(!enc.failed);
    enc_u64_be(&end, number);
    buf_clear(&s->key);
    buf_clear(&s->value);
    TRY(buf_append(&s->key, "S", 1, err));
    TRY(buf_append_str(&s->key, row_key, err));
    TRY(buf_append(&s->key, tail, sizeof tail, err));
    TRY(buf_append(&s->value, head, enc.len, err));
    TRY(buf_append_str(&s->value, body, err));
    return scratch_put(s->fsck.scratch, buf_str(&s->key), buf_str(&s->value), err);
}

static ErrCode put_row(Salvage *s, Str row_key, uint64_t number, const FileRow *row, Err *err)
{
    SourceKind kind = SOURCE_EMPTY;
    Str body = {NULL, 0};
    if ((row->flags & ROW_FLAG_DELETE_MARKER) != 0) {
        kind = SOURCE_NAME_GONE;
    } else if (row->extent_count > 0) {
        kind = SOURCE_EXTENTS;
        body = row->extents;
    } else if (row->size > 0) {
        kind = SOURCE_PLACE;
    }
    return put_source(s, row_key, number, kind, row, body, err);
}

/* An entry of a pack (at place) or of the log (place NULL). number: of the source, rising. */
static ErrCode put_entry(Salvage *s, const Entry *entry, const PackPlace *place, uint64_t number,
                         Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    VersionId version = {.term = entry->term, .lsn = entry->lsn};
    Str key = entry_key(entry);
    FileRow row = {0};
    fsck_learn_bucket(&s->fsck, entry->bucket, key, entry->attrs);
    bool named = entry->op == OP_CREATE || entry->op == OP_UPDATE || entry->op == OP_DELETE;
    if (!named || !key_valid(key)) return OK;
    file_row_of_entry(entry, &row);
    bool target = entry->op == OP_DELETE && entry->target.lsn != 0;
    if (target) version = entry->target;
    Str row_key = str_of(bytes, row_key_name(bytes, entry->bucket, key, version));
    if (entry->op == OP_DELETE) {
        bool all = (entry->flags & ENTRY_FLAG_ALL_VERSIONS) != 0; /* and all before the target */
        SourceKind kind = target && !all ? SOURCE_VERSION_GONE : SOURCE_NAME_GONE;
        return put_source(s, row_key, target ? 0 : number, kind, &row, (Str){NULL, 0}, err);
    }
    if (place != NULL) {
        row.place = *place;
        return put_row(s, row_key, number, &row, err);
    }
    if (entry->inline_body.len > 0)
        return put_source(s, row_key, number, SOURCE_INLINE, &row, entry->inline_body, err);
    return put_row(s, row_key, number, &row, err);
}

static ErrCode gather_rows(Salvage *s, IndexReader *reader, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(reader, STR("n"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        Str name;
        BucketUid bucket = 0;
        VersionId version;
        FileRow row;
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'n') return OK;
        if (!row_key_name_parse(key, &bucket, &name, &version) || !file_row_decode(value, &row))
            return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
        fsck_learn_bucket(&s->fsck, bucket, name, row.attrs);
        TRY(put_row(s, key, 1, &row, err));
    }
}

/* ERR_CORRUPT: not to its end. */
static ErrCode gather_index(Salvage *s, Err *err)
{
    TRY(index_open_read(s->fsck.disk, NULL, &s->fsck.index, err));
    TRY(index_reader_open(s->fsck.index, &s->fsck.reader, err));
    return gather_rows(s, s->fsck.reader, err);
}

static ErrCode on_pack_record(void *ctx, const PackRecord *record, const PackPlace *place,
                              bool searched, Err *err)
{
    UNUSED(searched);
    return put_entry(ctx, &record->entry, place, (place->pack << 32) + place->offset, err);
}

static ErrCode on_pack_bad(void *ctx, const PackBad *bad, Err *err)
{
    Salvage *s = ctx;
    UNUSED(err);
    if (bad->kind != PACK_TORN) s->report.bad_places++;
    return OK;
}

static ErrCode gather_packs(Salvage *s, Err *err)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    PackWalkOptions options = {.record = on_pack_record, .bad = on_pack_bad, .ctx = s};
    TRY(pack_walk_list(s->fsck.disk, &numbers, &count, err));
    ErrCode code = OK;
    for (size_t i = 0; i < count && code == OK; i++) {
        PackWalked walked;
        code = pack_walk(s->fsck.disk, numbers[i], &options, &walked, err);
        if (code == ERR_IO) { /* unreadable; what else is there still counts */
            s->report.bad_places++;
            code = OK;
        }
    }
    mem_free(numbers);
    return code;
}

static ErrCode on_log_record(void *ctx, const char *path, const Frame *frame, Str payload, Err *err)
{
    Entry entry;
    UNUSED(path);
    if (frame->kind != FRAME_ENTRY) return OK;
    TRY(entry_decode(payload, false, &entry, err));
    return put_entry(ctx, &entry, NULL, UINT64_MAX, err);
}

static ErrCode on_log_bad(void *ctx, const WalBad *bad, Err *err)
{
    Salvage *s = ctx;
    UNUSED(err);
    if (bad->kind != WAL_TORN) s->report.bad_places++;
    return OK;
}

/* ---- handing out ---- */

static ErrCode blob_bad(void *ctx, uint64_t offset, uint64_t length, const char *text, Err *err)
{
    UNUSED(ctx);
    UNUSED(offset);
    UNUSED(length);
    UNUSED(text);
    UNUSED(err);
    return OK;
}

static ErrCode blob_bytes(void *ctx, const void *data, size_t len, Err *err)
{
    const Salvage *s = ctx;
    return s->options->bytes(s->options->ctx, data, len, err);
}

static ErrCode give_extents(Salvage *s, Str extents, bool *good, Err *err)
{
    BlobWalkOptions options = {.bad = blob_bad, .bytes = blob_bytes, .ctx = s};
    *good = true;
    for (uint32_t i = 0; *good && i < extents.len / EXTENT_LEN; i++) {
        Extent extent = extent_at(extents, i);
        BlobWalked walked = {0};
        Err why = {0};
        ErrCode code = blob_walk(s->fsck.disk, extent.body, extent.number, &options, &walked, &why);
        bool missing = code == ERR_NOT_FOUND || code == ERR_IO;
        if (code != OK && !missing && err != NULL) *err = why;
        if (code != OK && !missing) return code;
        *good = code == OK && walked.damages == 0 && walked.footer.plain_size == extent.size &&
                (sha256_is_zero(&extent.digest) ||
                 sha256_eq(&extent.digest, &walked.footer.digest));
    }
    return OK;
}

static ErrCode give_place(Salvage *s, const PackPlace *place, bool *good, Err *err)
{
    PackRecord record;
    Err why = {0};
    ErrCode code = pack_walk_read(s->fsck.disk, place, &s->record, &record, &why);
    *good = code == OK && record.entry.lsn == s->file.owner.version.lsn &&
            id128_eq(record.entry.file, s->file.owner.file) &&
            record.stored_body.len == s->file.size;
    if (!*good) return OK;
    return s->options->bytes(s->options->ctx, record.stored_body.ptr, record.stored_body.len, err);
}

/* Tries one source of the version in hand. */
static ErrCode try_source(Salvage *s, SourceKind kind, const PackPlace *place, Str body, Err *err)
{
    bool good = true;
    s->tried = true;
    TRY(s->options->begin(s->options->ctx, &s->file, err));
    if (kind == SOURCE_PLACE)
        TRY(give_place(s, place, &good, err));
    else if (kind == SOURCE_EXTENTS)
        TRY(give_extents(s, body, &good, err));
    else if (kind == SOURCE_INLINE)
        TRY(s->options->bytes(s->options->ctx, body.ptr, body.len, err));
    TRY(s->options->end(s->options->ctx, &s->file, good, err));
    s->decided = good;
    s->report.saved += good;
    return OK;
}

/* The version in hand has no more sources. */
static ErrCode version_end(Salvage *s, Err *err)
{
    if (s->version.len == 0 || s->decided || s->gone || !s->tried) return OK;
    s->decided = true;
    s->report.lost++;
    return s->options->lost(s->options->ctx, &s->file, "none of its copies is whole", err);
}

static ErrCode version_begin(Salvage *s, Str row_key, Err *err)
{
    TRY(version_end(s, err));
    buf_clear(&s->version);
    TRY(buf_append_str(&s->version, row_key, err));
    s->tried = false;
    s->gone = false;
    Str name = str_slice(row_key, 0, row_key.len - 12);
    if (str_eq(buf_str(&s->name), name)) return OK;
    buf_clear(&s->name);
    s->decided = false;
    return buf_append_str(&s->name, name, err);
}

static ErrCode one_source(void *ctx, Str key, Str value, Err *err)
{
    Salvage *s = ctx;
    Str row_key = str_slice(key, 1, key.len - 9);
    BucketUid bucket = 0;
    Str name;
    VersionId version;
    PackPlace place;
    if (!str_eq(row_key, buf_str(&s->version))) TRY(version_begin(s, row_key, err));
    if (s->decided || s->gone) return OK;
    Dec dec = dec_of(value.ptr, value.len);
    SourceKind kind = (SourceKind)dec_u8(&dec);
    Str held = buf_str(&s->version);
    if (!row_key_name_parse(held, &bucket, &name, &version)) return OK;
    s->file = (SalvageFile){0};
    FileId file;
    dec_bytes(&dec, file.bytes, sizeof file.bytes);
    s->file.owner = fsck_owner(&s->fsck, bucket, name, version, file);
    s->file.size = dec_u64(&dec);
    dec_bytes(&dec, s->file.digest.bytes, SHA256_LEN);
    s->file.digest_known = dec_u8(&dec) != 0;
    place.pack = dec_u64(&dec);
    place.offset = dec_u64(&dec);
    place.length = dec_u32(&dec);
    if (kind == SOURCE_VERSION_GONE) s->gone = true;
    if (kind == SOURCE_NAME_GONE || bucket == BUCKET_UID_SYSTEM) s->decided = true;
    if (s->gone || s->decided) return OK;
    return try_source(s, kind, &place, dec_view(&dec, dec_left(&dec)), err);
}

static ErrCode salvage_all(Salvage *s, Err *err)
{
    Err why = {0};
    ErrCode code = gather_index(s, &why);
    s->report.index_damaged = code == ERR_CORRUPT || code == ERR_NOT_FOUND || code == ERR_IO ||
                              code == ERR_FORMAT_VERSION;
    if (code != OK && !s->report.index_damaged) {
        if (err != NULL) *err = why;
        return code;
    }
    if (s->report.index_damaged) TRY(gather_packs(s, err));
    WalWalkOptions options = {.record = on_log_record, .bad = on_log_bad, .ctx = s};
    WalWalked walked;
    TRY(wal_walk(s->fsck.disk, &options, &walked, err));
    TRY(scratch_each(s->fsck.scratch, STR("S"), one_source, s, err));
    return version_end(s, err);
}

ErrCode fsck_salvage(const SalvageOptions *options, SalvageReport *report, Err *err)
{
    FsckOptions base = {.disk = options->disk, .scratch = options->scratch};
    AUTO(void, mem_free) memory = mem_new(sizeof(Salvage));
    Salvage *s = memory;
    s->options = options;
    buf_init(&s->key, INDEX_KEY_MAX);
    buf_init(&s->value, INDEX_VALUE_MAX);
    buf_init(&s->record, 2 * MIB);
    buf_init(&s->name, ROW_KEY_MAX);
    buf_init(&s->version, ROW_KEY_MAX);
    ErrCode code = fsck_begin(&s->fsck, &base, err);
    if (code == OK) code = salvage_all(s, err);
    if (code == OK) *report = s->report;
    fsck_end(&s->fsck);
    buf_deinit(&s->key);
    buf_deinit(&s->value);
    buf_deinit(&s->record);
    buf_deinit(&s->name);
    buf_deinit(&s->version);
    return code;
}
