#include "store/rows.h"

#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "store/store.h"

static ErrCode put(Rows *b, const uint8_t *key, size_t key_len, const Enc *enc, Err *err)
{
    ASSERT(!enc->failed);
    return index_put(b->index, str_of(key, key_len), str_of(enc->data, enc->len), err);
}

static ErrCode flush_bucket(Rows *b, Err *err)
{
    if (b->files == 0 && b->bytes == 0) return OK;
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = row_key_bucket_stat(key, b->bucket);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_batch_get(b->index, str_of(key, key_len), &value, &found, err));
    BucketStatRow row = {0};
    if (found && !bucket_stat_decode(value, &row)) {
        return err_set(err, ERR_CORRUPT, "index.db: a bucket's counts are malformed");
    }
    row.files = (uint64_t)((int64_t)row.files + b->files);
    row.bytes = (uint64_t)((int64_t)row.bytes + b->bytes);
    b->files = 0;
    b->bytes = 0;
    /* A bucket without files has no row: the same rows however the entries came in batches. */
    if (row.files == 0 && row.bytes == 0) return index_delete(b->index, str_of(key, key_len), err);
    uint8_t bytes[64];
    Enc enc = enc_of(bytes, sizeof bytes);
    bucket_stat_encode(&row, &enc);
    return put(b, key, key_len, &enc, err);
}

static ErrCode count_file(Rows *b, BucketUid bucket, int64_t files, int64_t bytes, Err *err)
{
    if (b->bucket != bucket) TRY(flush_bucket(b, err));
    b->bucket = bucket;
    b->files += files;
    b->bytes += bytes;
    return OK;
}

/* Adds more to the row of a pack. */
static ErrCode add_pack(Rows *b, uint64_t pack, const PackRow *more, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = row_key_pack(key, pack);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_batch_get(b->index, str_of(key, key_len), &value, &found, err));
    PackRow row = {0};
    if (found && !pack_row_decode(value, &row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of pack %" PRIu64 " is malformed",
                       pack);
    }
    row.bytes += more->bytes;
    row.dead += more->dead;
    row.unsure += more->unsure;
    row.end = MAX(row.end, more->end);
    uint8_t bytes[64];
    Enc enc = enc_of(bytes, sizeof bytes);
    pack_row_encode(&row, &enc);
    return put(b, key, key_len, &enc, err);
}

static ErrCode flush_pack(Rows *b, Err *err)
{
    if (b->pack_bytes == 0) return OK;
    PackRow more = {.bytes = b->pack_bytes, .unsure = b->pack_unsure, .end = b->pack_end};
    b->pack_bytes = 0;
    b->pack_unsure = 0;
    b->pack_end = 0;
    return add_pack(b, b->pack, &more, err);
}

/* Has the entry a body that stands with it in the pack? Its row then says where. */
static bool has_place(const Entry *entry)
{
    return (entry->op == OP_CREATE || entry->op == OP_UPDATE) && entry->extent_count == 0 &&
           entry->size > 0;
}

ErrCode rows_pack_filled(Rows *b, const Entry *entry, const PackPlace *place, Err *err)
{
    if (b->pack != place->pack) TRY(flush_pack(b, err));
    b->pack = place->pack;
    b->pack_bytes += place->length;
    RequestId id;
    RequestRow request;
    bool unsure = !has_place(entry) || request_row_of_entry(entry, &id, &request);
    if (unsure) b->pack_unsure += place->length;
    b->pack_end = MAX(b->pack_end, place->offset + place->length);
    return OK;
}

ErrCode rows_pack_dead(Rows *b, const PackPlace *place, Err *err)
{
    PackRow more = {.dead = place->length};
    return add_pack(b, place->pack, &more, err);
}

/* One more, or one fewer, name for an extent; the last one makes it garbage. */
static ErrCode count_extent(Rows *b, const Extent *extent, bool more, Err *err)
{
    Index *index = b->index;
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = row_key_extent(key, extent->body, extent->number);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_batch_get(index, str_of(key, key_len), &value, &found, err));
    uint64_t references = 0;
    if (found) {
        Dec dec = dec_of(value.ptr, value.len);
        references = dec_varint(&dec);
        if (!dec_done(&dec))
            return err_set(err, ERR_CORRUPT, "index.db: a body's row is malformed");
    }
    uint8_t bytes[16];
    Enc enc = enc_of(bytes, sizeof bytes);
    if (more && references == 0) {
        /* The version before may have been the last to name it, in this batch or an earlier one. */
        uint8_t garbage[ROW_KEY_MAX];
        size_t len = row_key_garbage(garbage, extent->body, extent->number);
        TRY(index_delete(index, str_of(garbage, len), err));
    }
    if (more || references > 1) {
        enc_varint(&enc, more ? references + 1 : references - 1);
        return put(b, key, key_len, &enc, err);
    }
    TRY(index_delete(index, str_of(key, key_len), err));
    key_len = row_key_garbage(key, extent->body, extent->number);
    return put(b, key, key_len, &enc, err);
}

static ErrCode count_extents(Rows *b, Str extents, uint32_t count, bool more, Err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        Extent extent = extent_at(extents, i);
        TRY(count_extent(b, &extent, more, err));
    }
    return OK;
}

/* The row by which a version that ends by itself is found, put or deleted. */
static ErrCode change_expires(Rows *b, BucketUid bucket, Str key, const FileRow *row, bool more,
                              Err *err)
{
    uint64_t expires_ms = file_row_expires(row);
    uint8_t bytes[ROW_KEY_MAX];
    if (expires_ms == 0) return OK;
    Str own = str_of(bytes, row_key_expires(bytes, expires_ms, bucket, key, row->version));
    return more ? index_put(b->index, own, (Str){NULL, 0}, err) : index_delete(b->index, own, err);
}

/* Removes the version's row and what hangs on it. row_key and row are copies. */
static ErrCode drop_version(Rows *b, BucketUid bucket, Str key, Str row_key, const FileRow *row,
                            Err *err)
{
    TRY(change_expires(b, bucket, key, row, false, err));
    if (row->place.pack != 0) TRY(rows_pack_dead(b, &row->place, err));
    TRY(count_extents(b, row->extents, row->extent_count, false, err));
    if ((row->flags & ROW_FLAG_DELETE_MARKER) == 0) {
        TRY(count_file(b, bucket, -1, -(int64_t)row->size, err));
    }
    if (b->risk != NULL) risk_clear(b->risk, row->file, row->version, RISK_GONE);
    return index_delete(b->index, row_key, err);
}

/* The first row of entry's name that entry may end, and with it all older ones: into from. */
static size_t first_ended(const Entry *entry, uint8_t from[ROW_KEY_MAX])
{
    if (entry->op == OP_DELETE && entry->target.lsn != 0)
        return row_key_name(from, entry->bucket, entry_key(entry), entry->target);
    return row_key_name_prefix(from, entry->bucket, entry_key(entry));
}

/* One version and nothing before it. */
static bool ends_one(const Entry *entry)
{
    return entry->op == OP_DELETE && entry->target.lsn != 0 &&
           (entry->flags & (ENTRY_FLAG_NULL_VERSION | ENTRY_FLAG_ALL_VERSIONS)) == 0;
}

/* Reads the row under key, whose copy goes to own_key, into row, with views into b->value. */
static ErrCode take_row(Rows *b, Str key, Str value, uint8_t own_key[ROW_KEY_MAX], FileRow *row,
                        Err *err)
{
    BucketUid bucket;
    Str name;
    buf_clear(b->value);
    TRY(buf_append_str(b->value, value, err));
    size_t len = MIN(key.len, (size_t)ROW_KEY_MAX - 1); /* a longer one is malformed */
    memcpy(own_key, key.ptr, len);
    if (len != key.len || !file_row_decode(buf_str(b->value), row) ||
        !row_key_name_parse(str_of(own_key, len), &bucket, &name, &row->version)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    }
    return OK;
}

/* Drops the versions that entry ends; *left: does any of those looked at stay; *file: id of a
 * dropped one. */
static ErrCode drop_versions(Rows *b, const Entry *entry, bool *left, FileId *file, Err *err)
{
    uint8_t prefix[ROW_KEY_MAX];
    size_t prefix_len = row_key_name_prefix(prefix, entry->bucket, entry_key(entry));
    uint8_t from[ROW_KEY_MAX];
    size_t from_len = first_ended(entry, from);
    *left = false;
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        FileRow row;
        TRY(index_batch_first(b->index, str_of(from, from_len), str_of(prefix, prefix_len), &key,
                              &value, &found, err));
        if (!found) return OK;
        from_len = key.len;
        TRY(take_row(b, key, value, from, &row, err));
        bool null_version = (row.flags & ROW_FLAG_NULL_VERSION) != 0;
        if (entry_ends(entry, row.version, null_version)) {
            *file = row.file;
            TRY(drop_version(b, entry->bucket, entry_key(entry), str_of(from, from_len), &row,
                             err));
        } else {
            *left = true;
        }
        if (ends_one(entry)) return OK;
        from[from_len++] = 0; /* the next key */
    }
}

static ErrCode has_version(Rows *b, const Entry *entry, bool *found, Err *err)
{
    uint8_t bytes[ROW_KEY_MAX];
    Str prefix = str_of(bytes, row_key_name_prefix(bytes, entry->bucket, entry_key(entry)));
    Str key = {NULL, 0};
    Str value = {NULL, 0};
    return index_batch_first(b->index, prefix, prefix, &key, &value, found, err);
}

static ErrCode drop_id(Rows *b, FileId file, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_file(key, file);
    return index_delete(b->index, str_of(key, len), err);
}

/* Is a version of file left under the name? */
static ErrCode has_file(Rows *b, BucketUid bucket, Str name, FileId file, bool *out, Err *err)
{
    uint8_t prefix[ROW_KEY_MAX];
    uint8_t from[ROW_KEY_MAX];
    size_t prefix_len = row_key_name_prefix(prefix, bucket, name);
    size_t from_len = prefix_len;
    memcpy(from, prefix, prefix_len);
    *out = false;
    for (;;) {
        Str key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        FileRow row;
        TRY(index_batch_first(b->index, str_of(from, from_len), str_of(prefix, prefix_len), &key,
                              &value, &found, err));
        if (!found) return OK;
        from_len = key.len;
        TRY(take_row(b, key, value, from, &row, err));
        *out = id128_eq(row.file, file);
        if (*out) return OK;
        from[from_len++] = 0; /* the next key */
    }
}

ErrCode rows_drop_version(Rows *b, BucketUid bucket, Str key, Str row_key, const FileRow *row,
                          Err *err)
{
    bool left = false;
    FileId file = row->file;
    TRY(drop_version(b, bucket, key, row_key, row, err));
    TRY(has_file(b, bucket, key, file, &left, err));
    return left ? OK : drop_id(b, file, err);
}

static ErrCode put_version(Rows *b, const Entry *entry, const PackPlace *place, Err *err)
{
    FileRow row;
    file_row_of_entry(entry, &row);
    if (has_place(entry)) row.place = *place;
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_name(key, entry->bucket, entry_key(entry), row.version);
    Buf *buf = b->value;
    buf_clear(buf);
    TRY(buf_reserve(buf, entry->attrs.len + entry->extents.len + 512, err));
    Enc enc = enc_of(buf->data, buf->capacity);
    file_row_encode(&row, &enc);
    TRY(put(b, key, len, &enc, err));
    TRY(change_expires(b, entry->bucket, entry_key(entry), &row, true, err));
    TRY(count_extents(b, entry->extents, entry->extent_count, true, err));
    if ((row.flags & ROW_FLAG_DELETE_MARKER) != 0) return OK;
    return count_file(b, entry->bucket, 1, (int64_t)entry->size, err);
}

static ErrCode put_id(Rows *b, const Entry *entry, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t key_len = row_key_file(key, entry->file);
    uint8_t value[KEY_MAX + 16];
    Enc enc = enc_of(value, sizeof value);
    id_row_encode(entry->bucket, entry_key(entry), &enc);
    return put(b, key, key_len, &enc, err);
}

/* May a version be there that entry, a write, ends? A name that is created has none, unless the
 * entry says so: that was decided against all entries before it. */
static bool may_end(const Entry *entry)
{
    bool keep = (entry->flags & ENTRY_FLAG_KEEP_OLDER) != 0;
    if (keep) return (entry->flags & ENTRY_FLAG_NULL_VERSION) != 0;
    return entry->op != OP_CREATE || (entry->flags & ENTRY_FLAG_ALL_VERSIONS) != 0;
}

static ErrCode apply_write(Rows *b, const Entry *entry, const PackPlace *place, Err *err)
{
    bool left = false;
    FileId old = {{0}};
    if (may_end(entry)) TRY(drop_versions(b, entry, &left, &old, err));
    if (!left && !id128_is_zero(old) && !id128_eq(old, entry->file)) TRY(drop_id(b, old, err));
    TRY(put_version(b, entry, place, err));
    return put_id(b, entry, err);
}

static ErrCode apply_delete(Rows *b, const Entry *entry, const PackPlace *place, Err *err)
{
    bool left = false;
    FileId old = {{0}};
    bool marker = (entry->flags & ENTRY_FLAG_DELETE_MARKER) != 0;
    bool null_version = (entry->flags & ENTRY_FLAG_NULL_VERSION) != 0;
    if (!marker || null_version) TRY(drop_versions(b, entry, &left, &old, err));
    if (marker) {
        TRY(put_version(b, entry, place, err));
        return put_id(b, entry, err);
    }
    if (!left && entry->target.lsn != 0) TRY(has_version(b, entry, &left, err));
    if (!left && !id128_is_zero(old)) TRY(drop_id(b, old, err));
    return OK;
}

/* New attributes for a version that stays. */
static ErrCode apply_meta(Rows *b, const Entry *entry, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_name(key, entry->bucket, entry_key(entry), entry->target);
    Str value = {NULL, 0};
    bool found = false;
    TRY(index_batch_get(b->index, str_of(key, len), &value, &found, err));
    if (!found) return OK; /* the version was deleted before */
    AUTO_BUF(old, ROW_VALUE_MAX);
    TRY(buf_append_str(&old, value, err));
    FileRow row;
    if (!file_row_decode(buf_str(&old), &row)) {
        return err_set(err, ERR_CORRUPT, "index.db: the row of a file is malformed");
    }
    row.version = entry->target;
    TRY(change_expires(b, entry->bucket, entry_key(entry), &row, false, err));
    row.attrs = entry->attrs;
    TRY(change_expires(b, entry->bucket, entry_key(entry), &row, true, err));
    Buf *buf = b->value;
    buf_clear(buf);
    TRY(buf_reserve(buf, entry->attrs.len + row.extents.len + 512, err));
    Enc enc = enc_of(buf->data, buf->capacity);
    file_row_encode(&row, &enc);
    return put(b, key, len, &enc, err);
}

/* The request's own result, for a repeat of it; dropped a day later, by logged time. */
static ErrCode apply_request(Rows *b, const Entry *entry, Err *err)
{
    RequestId id;
    RequestRow row;
    if (!request_row_of_entry(entry, &id, &row)) return OK;
    return rows_request(b, entry->shard, id, &row, row.time_ms, err);
}

ErrCode rows_request(Rows *b, ShardId shard, RequestId id, const RequestRow *row, uint64_t time_ms,
                     Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    uint8_t expiry[ROW_KEY_MAX];
    uint8_t bytes[128];
    size_t len = row_key_request(key, shard, id);
    size_t expiry_len = row_key_request_expiry(expiry, time_ms + STORE_REQUEST_KEEP_MS, shard, id);
    Enc enc = enc_of(bytes, sizeof bytes);
    if (row == NULL) {
        TRY(index_delete(b->index, str_of(key, len), err));
        return index_delete(b->index, str_of(expiry, expiry_len), err);
    }
    request_row_encode(row, &enc);
    TRY(put(b, key, len, &enc, err));
    enc = enc_of(bytes, sizeof bytes);
    return put(b, expiry, expiry_len, &enc, err);
}

ErrCode rows_apply(Rows *b, const Entry *entry, const PackPlace *place, Err *err)
{
    TRY(rows_pack_filled(b, entry, place, err));
    TRY(apply_request(b, entry, err));
    switch (entry->op) {
    case OP_CREATE:
    case OP_UPDATE: return apply_write(b, entry, place, err);
    case OP_DELETE: return fault_planted("lose-delete") ? OK : apply_delete(b, entry, place, err);
    case OP_META: return apply_meta(b, entry, err);
    case OP_CONFIG:
    case OP_START:
    case OP_CLOSE:
    case OP_REOPEN:
    case OP_SNAPSHOT:
    case OP_NOOP: return OK; /* they change no row but the applied lsn */
    }
    return err_set(err, ERR_FORMAT_VERSION, "operation %d is not known", (int)entry->op);
}

ErrCode rows_put_version(Rows *b, const Entry *entry, const PackPlace *place, Err *err)
{
    TRY(rows_pack_filled(b, entry, place, err));
    TRY(put_version(b, entry, place, err));
    return put_id(b, entry, err);
}

void rows_begin(Rows *b, Index *index, Buf *value)
{
    *b = (Rows){.index = index, .value = value};
}

ErrCode rows_applied(Rows *b, ShardId shard, const AppliedRow *row, Err *err)
{
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_applied(key, shard);
    uint8_t bytes[96];
    Enc enc = enc_of(bytes, sizeof bytes);
    applied_row_encode(row, &enc);
    return put(b, key, len, &enc, err);
}

ErrCode rows_flush(Rows *b, Err *err)
{
    TRY(flush_bucket(b, err));
    return flush_pack(b, err);
}
