/* index.db: every page by its checksum, then every row, in the order of keys: a b e f g i n o p r u
 * x. Sums over rows of names are compared as the names go by (buckets), or in fsck_packs.c and
 * fsck_blobs.c (packs, extents). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fsck/fsck_priv.h"
#include "index/index_walk.h"

#define INDEX "index.db"

typedef struct {
    Fsck *fsck;
    IndexReader *scan;
    uint64_t rows;
    BucketUid bucket; /* of the rows of names that go by */
    bool in_bucket;
    BucketStatRow sum;
    Buf name; /* row key prefix of the name that goes by */
    FileId file;
} Rows;

/* ---- pages ---- */

static ErrCode page_bad(void *ctx, IndexBadKind kind, const char *path, uint64_t offset,
                        uint64_t length, const char *text, Err *err)
{
    Fsck *fsck = ctx;
    if (kind == INDEX_LOG_END)
        return fsck_say(fsck, FSCK_NOTE, "index-log-end", path, offset, length, "", err,
                        "%s: the root's log has what this lacks", text);
    fsck->pages_bad = true;
    return fsck_say(fsck, FSCK_DAMAGE, kind == INDEX_BAD_LOG ? "index-log" : "index-page", path,
                    offset, length, FSCK_MEND_INDEX, err, "%s", text);
}

static void page_read(void *ctx, uint64_t bytes)
{
    fsck_read(ctx, bytes);
}

/* "… page 12 …" in an error's text: where that page stands; 0 if none is named. */
static uint64_t page_offset(const char *text)
{
    const char *at = strstr(text, "page ");
    uint64_t number = 0;
    if (at == NULL) return 0;
    for (at += 5; *at >= '0' && *at <= '9' && number < UINT32_MAX; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return number == 0 ? 0 : (number - 1) * 4096;
}

static ErrCode index_fails(Fsck *fsck, const Err *why, Err *err)
{
    fsck->index_whole = false;
    fsck->pages_bad = true;
    return fsck_say(fsck, FSCK_DAMAGE, "index", INDEX, page_offset(err_text(why)), 4096,
                    FSCK_MEND_INDEX, err, "%s", err_text(why));
}

/* ---- rows ---- */

static ErrCode row_bad(Rows *rows, Str key, const char *text, Err *err)
{
    BucketUid bucket = 0;
    Str name;
    VersionId version;
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = "index-row",
                           .path = INDEX,
                           .text = text,
                           .mend = FSCK_MEND_INDEX};
    FsckOwner owner;
    rows->fsck->index_whole = false;
    if (row_key_name_parse(key, &bucket, &name, &version)) {
        owner = fsck_owner(rows->fsck, bucket, name, version, (FileId){{0}});
        finding.owner = &owner;
    }
    return fsck_tell(rows->fsck, &finding, err);
}

/* The bucket's row says what its rows of names sum up to. */
static ErrCode bucket_end(Rows *rows, Err *err)
{
    Fsck *fsck = rows->fsck;
    if (!rows->in_bucket) return OK;
    rows->in_bucket = false;
    uint8_t key[ROW_KEY_MAX];
    Str row_key = str_of(key, row_key_bucket_stat(key, rows->bucket));
    Str value = {NULL, 0};
    bool found = false;
    BucketStatRow row = {0};
    TRY(index_get(fsck->reader, row_key, &value, &found, err));
    if (found && !bucket_stat_decode(value, &row)) return row_bad(rows, row_key, "malformed", err);
    if (row.files == rows->sum.files && row.bytes == rows->sum.bytes) return OK;
    uint8_t bytes[64];
    Enc enc = enc_of(bytes, sizeof bytes);
    bucket_stat_encode(&rows->sum, &enc);
    TRY(fsck_mend_row(fsck, row_key, str_of(bytes, enc.len), err));
    return fsck_say(fsck, FSCK_DAMAGE, "bucket-count", INDEX, 0, 0, FSCK_MEND_REPAIR, err,
                    "bucket %.*s (%" PRIu64 ") counts %" PRIu64 " files, %" PRIu64
                    " bytes; its rows are %" PRIu64 " and %" PRIu64,
                    STR_ARG(fsck_bucket_name(fsck, rows->bucket)), rows->bucket, row.files,
                    row.bytes, rows->sum.files, rows->sum.bytes);
}

/* The file's id leads to its name. */
static ErrCode check_id(Rows *rows, BucketUid bucket, Str name, const FileRow *row, Err *err)
{
    Fsck *fsck = rows->fsck;
    uint8_t key[ROW_KEY_MAX];
    Str row_key = str_of(key, row_key_file(key, row->file));
    Str value = {NULL, 0};
    Str known = {NULL, 0};
    BucketUid known_bucket = 0;
    bool found = false;
    fsck->id_pairs++;
    TRY(index_get(fsck->reader, row_key, &value, &found, err));
    bool good = found && id_row_decode(value, &known_bucket, &known) && known_bucket == bucket &&
                str_eq(known, name);
    if (good) return OK;
    uint8_t bytes[KEY_MAX + 16];
    Enc enc = enc_of(bytes, sizeof bytes);
    id_row_encode(bucket, name, &enc);
    TRY(fsck_mend_row(fsck, row_key, str_of(bytes, enc.len), err));
    FsckOwner owner = fsck_owner(fsck, bucket, name, row->version, row->file);
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = "id-row",
                           .path = INDEX,
                           .owner = &owner,
                           .text = found ? "the file's id leads to another name"
                                         : "the file's id leads nowhere",
                           .mend = FSCK_MEND_REPAIR};
    return fsck_tell(fsck, &finding, err);
}

/* One more name for each extent. */
static ErrCode count_extents(Rows *rows, const FsckOwner *owner, const FileRow *row, Err *err)
{
    for (uint32_t i = 0; i < row->extent_count; i++) {
        Extent extent = extent_at(row->extents, i);
        uint8_t key[ROW_KEY_MAX];
        uint8_t bytes[FSCK_OWNER_MAX + 64];
        Str value = {NULL, 0};
        bool found = false;
        Str name = str_of(key, row_key_extent(key, extent.body, extent.number));
        key[0] = 'e';
        TRY(scratch_get(rows->fsck->scratch, name, &value, &found, err));
        Dec dec = dec_of(value.ptr, value.len);
        uint64_t references = found ? dec_varint(&dec) : 0;
        Enc enc = enc_of(bytes, sizeof bytes);
        enc_varint(&enc, references + 1);
        if (found) {
            Str rest = dec_view(&dec, dec_left(&dec));
            enc_bytes(&enc, rest.ptr, rest.len);
        } else {
            enc_bytes(&enc, extent.digest.bytes, SHA256_LEN);
            enc_u64(&enc, extent.size);
            fsck_owner_encode(owner, &enc);
        }
        ASSERT(!enc.failed);
        TRY(scratch_put(rows->fsck->scratch, name, str_of(bytes, enc.len), err));
    }
    return OK;
}

/* A version that ends by itself is found by its time. */
static ErrCode check_expires(Rows *rows, BucketUid bucket, Str name, const FileRow *row, Err *err)
{
    Fsck *fsck = rows->fsck;
    uint64_t expires_ms = file_row_expires(row);
    uint8_t bytes[ROW_KEY_MAX];
    Str value = {NULL, 0};
    bool found = false;
    if (expires_ms == 0) return OK;
    Str key = str_of(bytes, row_key_expires(bytes, expires_ms, bucket, name, row->version));
    TRY(index_get(fsck->reader, key, &value, &found, err));
    if (found) return OK;
    TRY(fsck_mend_row(fsck, key, STR(""), err));
    FsckOwner owner = fsck_owner(fsck, bucket, name, row->version, row->file);
    FsckFinding finding = {.level = FSCK_DAMAGE,
                           .kind = "expires-row",
                           .path = INDEX,
                           .owner = &owner,
                           .text = "nothing would delete it when its time is over",
                           .mend = FSCK_MEND_REPAIR};
    return fsck_tell(fsck, &finding, err);
}

static ErrCode expires_row(Rows *rows, Str key, Err *err)
{
    Fsck *fsck = rows->fsck;
    uint64_t expires_ms = 0;
    BucketUid bucket = 0;
    Str name;
    VersionId version;
    uint8_t bytes[ROW_KEY_MAX];
    Str value = {NULL, 0};
    FileRow row;
    bool found = false;
    if (!row_key_expires_parse(key, &expires_ms, &bucket, &name, &version))
        return row_bad(rows, key, "the row of a version that ends is malformed", err);
    Str row_key = str_of(bytes, row_key_name(bytes, bucket, name, version));
    TRY(index_get(fsck->reader, row_key, &value, &found, err));
    if (found && file_row_decode(value, &row) && file_row_expires(&row) == expires_ms) return OK;
    TRY(fsck_mend_row(fsck, key, (Str){NULL, 0}, err));
    return fsck_say(fsck, FSCK_DAMAGE, "expires-row", INDEX, 0, 0, FSCK_MEND_REPAIR, err,
                    "a version is to end that is not there, or not then");
}

static ErrCode name_row(Rows *rows, Str key, Str value, Err *err)
{
    Fsck *fsck = rows->fsck;
    BucketUid bucket = 0;
    Str name;
    FileRow row;
    VersionId version;
    if (!row_key_name_parse(key, &bucket, &name, &version) || !file_row_decode(value, &row))
        return row_bad(rows, key, "the row of a file is malformed", err);
    row.version = version;
    if (!rows->in_bucket || rows->bucket != bucket) {
        TRY(bucket_end(rows, err));
        rows->in_bucket = true;
        rows->bucket = bucket;
        rows->sum = (BucketStatRow){0};
    }
    fsck->report.files++;
    bool marker = (row.flags & ROW_FLAG_DELETE_MARKER) != 0;
    if (!marker) {
        rows->sum.files++;
        rows->sum.bytes += row.size;
    }
    fsck_learn_bucket(fsck, bucket, name, row.attrs);
    Str prefix = str_slice(key, 0, key.len - 12); /* without the version */
    bool same = str_eq(buf_str(&rows->name), prefix) && id128_eq(rows->file, row.file);
    if (!marker && !same) TRY(check_id(rows, bucket, name, &row, err));
    TRY(check_expires(rows, bucket, name, &row, err));
    buf_clear(&rows->name);
    TRY(buf_append_str(&rows->name, prefix, err));
    rows->file = row.file;
    FsckOwner owner = fsck_owner(fsck, bucket, name, version, row.file);
    if (row.place.pack == 0) {
        fsck->rows_unplaced++;
        return count_extents(rows, &owner, &row, err);
    }
    fsck->rows_placed++;
    fsck_pack(fsck, row.place.pack)->live += row.place.length;
    return OK;
}

static ErrCode applied_row(Rows *rows, Str key, Str value, Err *err)
{
    AppliedRow row;
    Dec dec = dec_of(key.ptr + 1, key.len - 1);
    unsigned high = dec_u8(&dec);
    unsigned low = dec_u8(&dec);
    if (!dec_done(&dec) || !applied_row_decode(value, &row))
        return row_bad(rows, key, "an applied row is malformed", err);
    rows->fsck->applied[high << 8 | low] = row;
    return OK;
}

static ErrCode pack_row(Rows *rows, Str key, Str value, Err *err)
{
    PackRow row;
    Dec dec = dec_of(key.ptr + 1, key.len - 1);
    uint64_t number = dec_u64_be(&dec);
    if (!dec_done(&dec) || number == 0 || !pack_row_decode(value, &row))
        return row_bad(rows, key, "the row of a pack is malformed", err);
    FsckPack *pack = fsck_pack(rows->fsck, number);
    pack->has_row = true;
    pack->row = row;
    return OK;
}

static ErrCode names_row(Rows *rows, Str key, Str value, Err *err)
{
    size_t count = 0;
    if (key.len != 1 + 8 + 4 || !names_part_decode(value, &count))
        return row_bad(rows, key, "the names of a pack are malformed", err);
    return OK;
}

static ErrCode retired_row(Rows *rows, Str key, Err *err)
{
    uint64_t number = 0;
    if (!row_key_retired_parse(key, &number))
        return row_bad(rows, key, "the row of a pack to unlink is malformed", err);
    fsck_pack(rows->fsck, number)->retired = true;
    return OK;
}

static ErrCode bucket_row(Rows *rows, Str key, Str value, Err *err)
{
    BucketStatRow row;
    Dec dec = dec_of(key.ptr + 1, key.len - 1);
    BucketUid bucket = dec_u64_be(&dec);
    if (!dec_done(&dec) || !bucket_stat_decode(value, &row))
        return row_bad(rows, key, "a bucket's counts are malformed", err);
    uint8_t from[ROW_KEY_MAX];
    Str prefix = str_of(from, row_key_bucket_prefix(from, bucket, STR("")));
    Str found_key = {NULL, 0};
    Str found_value = {NULL, 0};
    bool found = false;
    TRY(index_first(rows->fsck->reader, prefix, prefix, &found_key, &found_value, &found, err));
    if (found || (row.files == 0 && row.bytes == 0)) return OK; /* compared when they went by */
    TRY(fsck_mend_row(rows->fsck, key, (Str){NULL, 0}, err));
    return fsck_say(rows->fsck, FSCK_DAMAGE, "bucket-count", INDEX, 0, 0, FSCK_MEND_REPAIR, err,
                    "bucket %" PRIu64 " counts %" PRIu64 " files and has none", bucket, row.files);
}

static ErrCode garbage_row(Rows *rows, Str key, Err *err)
{
    BodyId body;
    uint32_t number = 0;
    if (!row_key_garbage_parse(key, &body, &number))
        return row_bad(rows, key, "the row of a body to unlink is malformed", err);
    uint8_t named[ROW_KEY_MAX];
    Str row_key = str_of(named, row_key_extent(named, body, number));
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_get(rows->fsck->reader, row_key, &value, &found, err));
    if (!found) return OK;
    TRY(fsck_mend_row(rows->fsck, key, (Str){NULL, 0}, err));
    return fsck_say(rows->fsck, FSCK_DAMAGE, "garbage-row", INDEX, 0, 0, FSCK_MEND_REPAIR, err,
                    "a body that files name is to be unlinked");
}

static ErrCode request_row(Rows *rows, Str key, Str value, Err *err)
{
    RequestRow row;
    if (key.len != 1 + 2 + sizeof(RequestId) || !request_row_decode(value, &row))
        return row_bad(rows, key, "the row of a request is malformed", err);
    return OK;
}

static ErrCode id_row(Rows *rows, Str key, Str value, Err *err)
{
    BucketUid bucket = 0;
    Str name;
    rows->fsck->id_rows++;
    if (key.len != 1 + sizeof(FileId) || !id_row_decode(value, &bucket, &name) || !key_valid(name))
        return row_bad(rows, key, "the row of a file's id is malformed", err);
    return OK;
}

static ErrCode extent_row(Rows *rows, Str key, Str value, Err *err)
{
    Dec dec = dec_of(value.ptr, value.len);
    uint64_t references = dec_varint(&dec);
    if (key.len != 1 + sizeof(BodyId) + 4 || !dec_done(&dec) || references == 0)
        return row_bad(rows, key, "the row of a body is malformed", err);
    return OK;
}

static ErrCode one_row(Rows *rows, Str key, Str value, Err *err)
{
    rows->rows++;
    switch (key.len == 0 ? '\0' : key.ptr[0]) {
    case 'a': return applied_row(rows, key, value, err);
    case 'b': return extent_row(rows, key, value, err);
    case 'e': return expires_row(rows, key, err);
    case 'f': return names_row(rows, key, value, err);
    case 'g': return garbage_row(rows, key, err);
    case 'i': return id_row(rows, key, value, err);
    case 'n': return name_row(rows, key, value, err);
    case 'o': return retired_row(rows, key, err);
    case 'p': return pack_row(rows, key, value, err);
    case 'r': return request_row(rows, key, value, err);
    case 'u': return bucket_row(rows, key, value, err);
    case 'x': return OK;
    default: return row_bad(rows, key, "a row of a kind that is not known", err);
    }
}

static ErrCode scan_rows(Rows *rows, Err *err)
{
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(rows->scan, STR(""), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found) return bucket_end(rows, err);
        TRY(one_row(rows, key, value, err));
    }
}

/* Rows of ids that no name has: only if there are more of them than names have ids. */
static ErrCode extra_ids(Rows *rows, Err *err)
{
    Fsck *fsck = rows->fsck;
    if (fsck->id_rows == fsck->id_pairs) return OK;
    AUTO(IndexCursor, index_cursor_close) cursor = NULL;
    TRY(index_scan(rows->scan, STR("i"), &cursor, err));
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        Str name;
        BucketUid bucket = 0;
        bool found = false;
        TRY(index_next(cursor, &key, &value, &found, err));
        if (!found || key.ptr[0] != 'i') return OK;
        if (!id_row_decode(value, &bucket, &name) || !key_valid(name)) continue;
        uint8_t from[ROW_KEY_MAX];
        Str prefix = str_of(from, row_key_name_prefix(from, bucket, name));
        Str row_key = {NULL, 0};
        Str row_value = {NULL, 0};
        bool named = false;
        TRY(index_first(fsck->reader, prefix, prefix, &row_key, &row_value, &named, err));
        FileRow row = {0};
        if (named && file_row_decode(row_value, &row) &&
            memcmp(row.file.bytes, key.ptr + 1, sizeof row.file) == 0)
            continue;
        if (named) continue; /* an older version's, or told above as one that leads elsewhere */
        TRY(fsck_mend_row(fsck, key, (Str){NULL, 0}, err));
        FsckOwner owner = fsck_owner(fsck, bucket, name, (VersionId){0}, (FileId){{0}});
        FsckFinding finding = {.level = FSCK_DAMAGE,
                               .kind = "id-row",
                               .path = INDEX,
                               .owner = &owner,
                               .text = "a file's id leads to a name that has no file",
                               .mend = FSCK_MEND_REPAIR};
        TRY(fsck_tell(fsck, &finding, err));
    }
}

static ErrCode check_rows(Fsck *fsck, Err *err)
{
    Rows rows = {.fsck = fsck};
    Err why = {0};
    buf_init(&rows.name, ROW_KEY_MAX);
    fsck->index_whole = true;
    ErrCode code = index_reader_open(fsck->index, &rows.scan, &why);
    if (code == OK) code = scan_rows(&rows, &why);
    if (code == OK) code = extra_ids(&rows, &why);
    index_reader_free(rows.scan);
    buf_deinit(&rows.name);
    if (code == ERR_CORRUPT || code == ERR_IO) return index_fails(fsck, &why, err);
    if (code != OK && err != NULL) *err = why;
    return code;
}

ErrCode fsck_check_index(Fsck *fsck, Err *err)
{
    Err why = {0};
    DiskStat stat;
    TRY(disk_stat(fsck->disk, INDEX, &stat, err));
    if (!stat.exists) {
        bool fresh = fsck->root_known && fsck->root.incarnation == 0;
        if (fresh) return OK; /* never started */
        return fsck_say(fsck, FSCK_DAMAGE, "index", INDEX, 0, 0, FSCK_MEND_INDEX, err,
                        "there is no index.db");
    }
    IndexWalkOptions options = {.bad = page_bad, .progress = page_read, .ctx = fsck};
    ErrCode code = index_walk(fsck->disk, &options, err);
    if (code != OK) TRY(fsck_unreadable(fsck, INDEX, code, err));
    code = index_open_read(fsck->disk, NULL, &fsck->index, &why);
    if (code == OK) code = index_reader_open(fsck->index, &fsck->reader, &why);
    if (code != OK) return index_fails(fsck, &why, err);
    return check_rows(fsck, err);
}
