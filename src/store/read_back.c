#include "store/read_back.h"

#include "store/store_priv.h"

bool read_back_is_damage(ErrCode code)
{
    return code == ERR_CORRUPT || code == ERR_IO || code == ERR_FOREIGN || code == ERR_END ||
           code == ERR_NOT_FOUND;
}

ErrCode read_back_check_body(const FileRow *row, Str body, Err *err)
{
    if (body.len != row->size) return err_set(err, ERR_FOREIGN, "a body of another length");
    if ((row->flags & ROW_FLAG_DIGEST_KNOWN) == 0) return OK;
    Sha256 digest = sha256_of(body.ptr, body.len);
    if (sha256_eq(&digest, &row->digest)) return OK;
    return err_set(err, ERR_CORRUPT, "the body does not have its SHA-256");
}

ErrCode read_back_check_record(const PackRecord *record, const FileRow *row, Err *err)
{
    if (record->type != PACK_BODY || record->chunk_flags != 0 ||
        !id128_eq(record->entry.file, row->file) || record->entry.lsn != row->version.lsn)
        return err_set(err, ERR_FOREIGN, "another record stands there");
    return read_back_check_body(row, record->stored_body, err);
}

ErrCode read_back_small(Store *store, const FileRow *row, Buf *buf, Err *err)
{
    char path[PACK_PATH_MAX];
    AUTO(File, disk_close) file = NULL;
    PackRecord record;
    size_t total = 0;
    pack_path(row->place.pack, path);
    buf_clear(buf);
    if (row->place.length > buf->max)
        return err_set(err, ERR_CORRUPT, "the row of a file is malformed");
    TRY(buf_reserve(buf, row->place.length, err));
    TRY(disk_open(store->disk, path, DISK_OPEN_DIRECT, &file, err));
    TRY(disk_read_all(file, row->place.offset, buf->data, row->place.length, err));
    TRY(pack_record_decode(str_of(buf->data, row->place.length), &record, &total, err));
    return read_back_check_record(&record, row, err);
}

static ErrCode rest(ReadPace pace, void *ctx, uint64_t bytes, Err *err)
{
    if (pace(ctx, bytes)) return OK;
    return err_set(err, ERR_SHUTTING_DOWN, "the server is stopping");
}

ErrCode read_back_extent(Store *store, const Extent *extent, ReadPace pace, void *ctx, Err *err)
{
    AUTO(BlobReader, blob_reader_free) reader = NULL;
    AUTO(HashCtx, hash_free) sha = hash_new(HASH_SHA256);
    Sha256 digest;
    TRY(blob_reader_open_direct(store->blobs, extent->body, extent->number, &reader, err));
    const BlobFooter *footer = blob_reader_footer(reader);
    AUTO(void, mem_free) chunk = mem_new(footer->chunk_size);
    for (uint64_t i = 0; i < footer->chunk_count; i++) {
        size_t len = 0;
        TRY(blob_reader_chunk(reader, i, chunk, &len, err));
        hash_update(sha, chunk, len);
        TRY(rest(pace, ctx, len, err));
    }
    hash_final(sha, digest.bytes);
    if (sha256_is_zero(&extent->digest) || sha256_eq(&digest, &extent->digest)) return OK;
    return err_set(err, ERR_CORRUPT, "the extent does not have its SHA-256");
}

/* row: views that last; *extent: the one that is bad. */
static ErrCode read_row(Store *store, const FileRow *row, Buf *record, ReadPace pace, void *ctx,
                        Extent *extent, Err *err)
{
    if (row->extent_count == 0 && row->size == 0) return OK;
    if (row->extent_count == 0) {
        TRY(read_back_small(store, row, record, err));
        return rest(pace, ctx, row->size, err);
    }
    for (uint32_t i = 0; i < row->extent_count; i++) {
        *extent = extent_at(row->extents, i);
        TRY(read_back_extent(store, extent, pace, ctx, err));
    }
    return OK;
}

static void list_damage(Store *store, const StoreFound *found, const Extent *extent, const Err *err)
{
    char pack[PACK_PATH_MAX];
    char blob[BLOB_PATH_MAX];
    bool small = found->row.extent_count == 0;
    pack_path(found->row.place.pack, pack);
    blob_path(extent->body, extent->number, blob);
    RiskFound damage = {.file = found->row.file,
                        .version = found->row.version,
                        .bucket = found->bucket,
                        .key = found->key,
                        .size = found->row.size,
                        .cause = risk_cause_of(err->code),
                        .place = small ? pack : blob,
                        .offset = small ? found->row.place.offset : 0,
                        .detail = err_text(err)};
    risk_add(store->risk, &damage);
}

/* Does the row still say the same place? What moved meanwhile, or went, is read again later. */
static ErrCode stays(StoreReader *reader, const StoreFound *before, Str key, bool *stays, Err *err)
{
    StoreFound now;
    bool found = false;
    TRY(store_look(reader, before->bucket, key, STORE_EXACT, before->row.version, STORE_COMMITTED,
                   &now, &found, err));
    *stays = found && !now.in_log && now.row.place.pack == before->row.place.pack &&
             now.row.place.offset == before->row.place.offset;
    return OK;
}

ErrCode read_back_version(StoreReader *reader, BucketUid bucket, Str key, VersionId version,
                          Buf *record, ReadPace pace, void *ctx, ReadBack *out, Err *err)
{
    Store *store = reader->store;
    StoreFound found;
    Extent extent = {.number = 0};
    Err own = {0};
    bool there = false;
    AUTO_BUF(extents, ROW_VALUE_MAX);
    TRY(store_look(reader, bucket, key, STORE_EXACT, version, STORE_COMMITTED, &found, &there,
                   err));
    *out = READ_BACK_LATER;
    if (!there || found.in_log) return OK;
    TRY(buf_append_str(&extents, found.row.extents, err));
    found.row.extents = buf_str(&extents);
    ErrCode code = read_row(store, &found.row, record, pace, ctx, &extent, &own);
    if (code != OK && !read_back_is_damage(code)) return err_set(err, code, "%s", err_text(&own));
    *out = code == OK ? READ_BACK_WHOLE : READ_BACK_LATER;
    if (code == OK) return OK;
    TRY(stays(reader, &found, key, &there, err));
    if (!there) return OK;
    found.key = key;
    list_damage(store, &found, &extent, &own);
    *out = READ_BACK_BAD;
    if (err != NULL) *err = own;
    return OK;
}
