/* Scrub's reading of what files are made of: packs record by record, then the files of the index.
 */
#include "store/scrub_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static bool is_damage(ErrCode code)
{
    return code == ERR_CORRUPT || code == ERR_IO || code == ERR_FOREIGN || code == ERR_END;
}

static void let_go_blob(Scrub *s)
{
    blob_reader_free(TAKE(s->blob));
    mem_free(TAKE(s->chunk_data));
}

void scrub_let_go(Scrub *s)
{
    wal_verify_free(TAKE(s->log));
    pack_scan_free(TAKE(s->scan));
    let_go_blob(s);
    index_reader_free(TAKE(s->reader));
}

/* --- packs --- */

static void add_suspect(Scrub *s, uint64_t pack)
{
    if (s->suspect_count == s->suspect_capacity) {
        s->suspect_capacity = MAX(2 * s->suspect_capacity, (size_t)16);
        s->suspects = mem_resize(s->suspects, s->suspect_capacity * sizeof *s->suspects);
    }
    s->suspects[s->suspect_count++] = pack;
}

static bool is_suspect(const Scrub *s, uint64_t pack)
{
    for (size_t i = 0; i < s->suspect_count; i++) {
        if (s->suspects[i] == pack) return true;
    }
    return false;
}

/* The pack in hand is damaged at offset: told now, and its files are looked for later. */
static void pack_damaged(Scrub *s, uint64_t offset, ErrCode code, const Err *err)
{
    char path[PACK_PATH_MAX];
    PackPlace whole = {.pack = s->status.pack, .offset = store_pack_bytes(&s->pack_row)};
    pack_path(s->status.pack, path);
    RiskFound found = {.cause = store_pack_cause(s->store, &whole, code),
                       .place = path,
                       .offset = offset,
                       .detail = err_text(err)};
    risk_add(s->store->risk, &found);
    add_suspect(s, s->status.pack);
    scrub_count(s, 0, 1);
}

/* The lowest pack on the disk behind the last one; UINT64_MAX: none. */
static ErrCode next_on_disk(Scrub *s, uint64_t *out, Err *err)
{
    AUTO(uint64_t, mem_free) numbers = NULL;
    size_t count = 0;
    *out = UINT64_MAX;
    TRY(packs_list(s->store->packs, &numbers, &count, err));
    for (size_t i = 0; i < count && *out == UINT64_MAX; i++) {
        if (numbers[i] > s->status.pack) *out = numbers[i];
    }
    return OK;
}

/* The same of those in which the index counts something. */
static ErrCode next_counted(Scrub *s, uint64_t *out, Err *err)
{
    uint8_t from[ROW_KEY_MAX];
    uint64_t pack = s->status.pack;
    *out = UINT64_MAX;
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        PackRow row;
        size_t len = row_key_pack(from, pack + 1);
        TRY(index_first(s->reader, str_of(from, len), STR("p"), &key, &value, &found, err));
        if (!found || !row_key_pack_parse(key, &pack)) return OK;
        if (!pack_row_decode(value, &row) || store_pack_bytes(&row) == 0) continue;
        *out = pack;
        return OK;
    }
}

/* What the index can't say is nothing: its damage is told where its pages are read. */
static ErrCode unless_damaged(ErrCode code, const Err *own, Err *err)
{
    return code == OK || code == ERR_CORRUPT ? OK : err_set(err, code, "%s", err_text(own));
}

/* The next pack, on the disk or only in the index; 0: there are no more. */
static ErrCode next_pack(Scrub *s, uint64_t *out, Err *err)
{
    uint64_t there = UINT64_MAX;
    uint64_t counted = UINT64_MAX;
    Err own = {0};
    if (s->reader == NULL) TRY(index_reader_open(s->store->index, &s->reader, err));
    TRY(unless_damaged(next_counted(s, &counted, &own), &own, err));
    TRY(next_on_disk(s, &there, err)); /* behind the other: a pack is made before it is counted */
    *out = MIN(there, counted);
    if (*out == UINT64_MAX) *out = 0;
    return OK;
}

/* The pack in hand can't be opened: has it gone since it was looked for, or is it lost? */
static ErrCode pack_closed(Scrub *s, ErrCode code, const Err *why, Err *err)
{
    Err own = {0};
    PackRow row = s->pack_row;
    if (code != ERR_NOT_FOUND && !is_damage(code)) return err_set(err, code, "%s", err_text(why));
    if (code == ERR_NOT_FOUND) {
        row = (PackRow){0};
        TRY(unless_damaged(compact_pack_row(s->reader, s->status.pack, &row, &own), &own, err));
    }
    /* The newest may have been cut off while it was made; nothing was ever in it then. */
    if (store_pack_bytes(&row) > 0) pack_damaged(s, 0, code, why);
    return OK;
}

static ErrCode begin_pack(Scrub *s, bool *ended, Err *err)
{
    uint64_t pack = 0;
    Err own = {0};
    TRY(next_pack(s, &pack, err));
    *ended = pack == 0;
    if (*ended) return OK;
    s->pack_row = (PackRow){0};
    TRY(unless_damaged(compact_pack_row(s->reader, pack, &s->pack_row, &own), &own, err));
    lock_take(&s->lock);
    s->status.pack = pack;
    lock_give(&s->lock);
    s->scan_at = 0;
    err_clear(&own);
    ErrCode code = pack_scan_open(s->store->packs, pack, true, &s->scan, &own);
    return code == OK ? OK : pack_closed(s, code, &own, err);
}

/* A record is what was written: the CRC was right, and so must its body's own digest be. */
static ErrCode check_record(const PackRecord *record, Err *err)
{
    const Entry *e = &record->entry;
    if (record->type != PACK_BODY || record->chunk_flags != 0) return OK;
    if ((e->flags & ENTRY_FLAG_DIGEST_KNOWN) == 0) return OK;
    Sha256 digest = sha256_of(record->stored_body.ptr, record->stored_body.len);
    if (sha256_eq(&digest, &e->body_digest)) return OK;
    return err_set(err, ERR_CORRUPT, "a body does not have its SHA-256");
}

/* One record of the pack in hand; *done behind the last. */
static ErrCode read_record(Scrub *s, bool *done, Err *err)
{
    PackRecord record;
    PackPlace place;
    bool found = false;
    TRY(pack_scan_next(s->scan, &record, &place, &found, err));
    *done = !found;
    if (found) return check_record(&record, err);
    if (pack_scan_records_end(s->scan) >= s->pack_row.end) return OK;
    return err_set(err, ERR_CORRUPT,
                   "the records end early: the index knows of more, up to %" PRIu64,
                   s->pack_row.end);
}

ErrCode scrub_packs(Scrub *s, uint64_t bytes, uint64_t *read, bool *ended, Err *err)
{
    if (s->scan == NULL) return begin_pack(s, ended, err);
    bool done = false;
    while (!done && *read < bytes) {
        Err own = {0};
        ErrCode code = read_record(s, &done, &own);
        uint64_t at = pack_scan_records_end(s->scan);
        *read += at - MIN(at, s->scan_at);
        scrub_count(s, at - MIN(at, s->scan_at), 0);
        s->scan_at = at;
        if (code == OK) continue;
        if (!is_damage(code)) return err_set(err, code, "%s", err_text(&own));
        pack_damaged(s, at, code, &own);
        done = true;
    }
    if (done) pack_scan_free(TAKE(s->scan));
    return OK;
}

/* --- files --- */

/* Is the row in hand still there, as it was? What was deleted or moved is nobody's damage. */
static ErrCode row_is_current(Scrub *s, bool *current, Err *err)
{
    Str value = {NULL, 0};
    TRY(index_get(s->reader, str_of(s->key, s->key_len), &value, current, err));
    *current = *current && str_eq(value, buf_str(&s->row));
    return OK;
}

static ErrCode file_damaged(Scrub *s, const FileRow *row, const char *place, uint64_t offset,
                            RiskCause cause, const Err *why, Err *err)
{
    bool current = false;
    BucketUid bucket;
    Str key;
    VersionId version;
    TRY(row_is_current(s, &current, err));
    if (!current || !row_key_name_parse(str_of(s->key, s->key_len), &bucket, &key, &version))
        return OK;
    RiskFound found = {.file = row->file,
                       .version = version,
                       .bucket = bucket,
                       .key = key,
                       .size = row->size,
                       .cause = cause,
                       .place = place,
                       .offset = offset,
                       .detail = err_text(why)};
    risk_add(s->store->risk, &found);
    scrub_count(s, 0, 1);
    return OK;
}

/* The next row of a file into s->row; *found false: there are no more. */
static ErrCode next_row(Scrub *s, bool *found, Err *err)
{
    Str key = {NULL, 0};
    Str value = {NULL, 0};
    uint8_t from[ROW_KEY_MAX + 1];
    size_t from_len = s->key_len;
    memcpy(from, s->key, s->key_len);
    if (from_len > 0) from[from_len++] = 0; /* the key behind it */
    Str prefix = STR("n");
    Str start = from_len > 0 ? str_of(from, from_len) : prefix;
    buf_clear(&s->row);
    TRY(index_first(s->reader, start, prefix, &key, &value, found, err));
    if (!*found) return OK;
    if (key.len > sizeof s->key) return err_set(err, ERR_CORRUPT, "index.db: a row's key");
    TRY(buf_append_str(&s->row, value, err));
    memcpy(s->key, key.ptr, key.len);
    s->key_len = key.len;
    s->extent = 0;
    return OK;
}

/* A small body of a pack that has damage somewhere: is it this file's? */
static ErrCode check_place(Scrub *s, const FileRow *row, uint64_t *read, Err *err)
{
    char path[PACK_PATH_MAX];
    AUTO(File, disk_close) file = NULL;
    PackRecord record;
    size_t total = 0;
    Err own = {0};
    pack_path(row->place.pack, path);
    buf_clear(&s->buf);
    TRY(buf_reserve(&s->buf, row->place.length, err));
    ErrCode code = disk_open(s->store->disk, path, DISK_OPEN_DIRECT, &file, &own);
    if (code == OK)
        code = disk_read_all(file, row->place.offset, s->buf.data, row->place.length, &own);
    if (code == OK)
        code = pack_record_decode(str_of(s->buf.data, row->place.length), &record, &total, &own);
    if (code == OK) code = check_record(&record, &own);
    if (code == OK && !id128_eq(record.entry.file, row->file))
        code = err_set(&own, ERR_FOREIGN, "another file's record stands there");
    *read += row->place.length;
    if (code == OK) return OK;
    RiskCause cause = store_pack_cause(s->store, &row->place, code);
    return file_damaged(s, row, path, row->place.offset, cause, &own, err);
}

/* The extent in hand is done, or can't be gone on with. */
static void end_extent(Scrub *s)
{
    let_go_blob(s);
    s->extent++;
}

static ErrCode extent_damaged(Scrub *s, const FileRow *row, const Extent *extent, ErrCode code,
                              const Err *why, Err *err)
{
    char path[BLOB_PATH_MAX];
    uint64_t offset = s->blob == NULL ? 0 : s->chunk * blob_reader_footer(s->blob)->chunk_size;
    blob_path(extent->body, extent->number, path);
    ErrCode noted = file_damaged(s, row, path, offset, risk_cause_of(code), why, err);
    end_extent(s);
    return noted;
}

/* One more chunk of the extent in hand, or its digest behind the last. */
static ErrCode read_chunk(Scrub *s, uint64_t *read, bool *done, Err *err)
{
    const BlobFooter *footer = blob_reader_footer(s->blob);
    size_t len = 0;
    *done = s->chunk == footer->chunk_count;
    if (!*done) {
        TRY(blob_reader_chunk(s->blob, s->chunk, s->chunk_data, &len, err));
        hash_update(s->sha, s->chunk_data, len);
        s->chunk++;
        *read += len;
        scrub_count(s, len, 0);
        return OK;
    }
    Sha256 digest;
    hash_final(s->sha, digest.bytes);
    if (sha256_is_zero(&footer->digest) || sha256_eq(&digest, &footer->digest)) return OK;
    return err_set(err, ERR_CORRUPT, "the extent does not have its SHA-256");
}

/* A piece of the row's extents; *done behind the last. */
static ErrCode check_extents(Scrub *s, const FileRow *row, uint64_t *read, bool *done, Err *err)
{
    *done = s->extent >= row->extent_count;
    if (*done) return OK;
    Extent extent = extent_at(row->extents, s->extent);
    Err own = {0};
    ErrCode code = OK;
    bool ended = false;
    if (s->blob == NULL) {
        code = blob_reader_open_direct(s->store->blobs, extent.body, extent.number, &s->blob, &own);
        s->chunk = 0;
        hash_reset(s->sha);
        if (code == OK) s->chunk_data = mem_new(blob_reader_footer(s->blob)->chunk_size);
    } else {
        code = read_chunk(s, read, &ended, &own);
    }
    if (code == ERR_NOT_FOUND || is_damage(code))
        return extent_damaged(s, row, &extent, code, &own, err);
    if (code != OK) return err_set(err, code, "%s", err_text(&own));
    if (ended) end_extent(s);
    return OK;
}

/* A row that no release wrote, though its page is whole: told, and passed over. */
static void row_malformed(Scrub *s)
{
    BucketUid bucket = 0;
    Str key = {NULL, 0};
    VersionId version;
    char detail[RISK_DETAIL_MAX];
    bool named = row_key_name_parse(str_of(s->key, s->key_len), &bucket, &key, &version);
    snprintf(detail, sizeof detail, "the row of a file is malformed: \"%.*s\" of bucket %" PRIu64,
             named ? (int)MIN(key.len, (size_t)100) : 1, named ? key.ptr : "?", bucket); /* cut */
    RiskFound found = {.cause = RISK_CHECKSUM, .place = "index.db", .detail = detail};
    risk_add(s->store->risk, &found);
    scrub_count(s, 0, 1);
}

/* A piece of the row in hand; *done: it is through. */
static ErrCode check_row(Scrub *s, uint64_t *read, bool *done, Err *err)
{
    FileRow row;
    if (!file_row_decode(buf_str(&s->row), &row)) {
        row_malformed(s);
        *done = true;
        return OK;
    }
    if (row.extent_count > 0) return check_extents(s, &row, read, done, err);
    *done = true;
    if (row.place.pack == 0 || !is_suspect(s, row.place.pack)) {
        *read += SCRUB_ROW_BYTES;
        scrub_count(s, SCRUB_ROW_BYTES, 0);
        return OK;
    }
    return check_place(s, &row, read, err);
}

/* The next row can't be read, nor one behind it be found: its page is in the list of damage. The
 * pass ends here, and does not count as one that read everything. */
static void give_up(Scrub *s, const Err *why)
{
    LOG(WARN, "scrub.failed", "error=" LOG_STR, LOG_CSTR(err_text(why)));
    s->given_up = true;
}

ErrCode scrub_files(Scrub *s, uint64_t bytes, uint64_t *read, bool *ended, Err *err)
{
    if (s->reader == NULL) TRY(index_reader_open(s->store->index, &s->reader, err));
    while (*read < bytes) {
        bool found = true;
        bool done = false;
        Err own = {0};
        ErrCode code = s->row.len > 0 ? OK : next_row(s, &found, &own);
        if (code != OK && code != ERR_CORRUPT) return err_set(err, code, "%s", err_text(&own));
        if (code == ERR_CORRUPT) {
            give_up(s, &own);
            found = false;
        }
        if (!found) {
            *ended = true;
            scrub_let_go(s);
            return OK;
        }
        TRY(check_row(s, read, &done, err));
        if (done) buf_clear(&s->row);
    }
    return OK;
}
