#include "service/uploads.h"

#include <string.h>

#include "base/log.h"
#include "service/service_priv.h"

#define FIND_TRIES 8 /* look-ups of a row whose bytes keep moving */

void upload_found_init(UploadFound *found)
{
    *found = (UploadFound){.extent_count = 0};
    buf_init(&found->attrs, ATTRS_MAX);
    buf_init(&found->extents, EXTENTS_MAX * EXTENT_LEN);
    buf_init(&found->body, INLINE_MAX);
}

void upload_found_deinit(UploadFound *found)
{
    buf_deinit(&found->attrs);
    buf_deinit(&found->extents);
    buf_deinit(&found->body);
}

RequestId upload_request(FileId id, bool parts)
{
    RequestId request;
    Str kind = parts ? STR("parts") : STR("upload");
    Sha256 digest = sha256_of2(kind.ptr, kind.len, id.bytes, sizeof id.bytes);
    memcpy(request.bytes, digest.bytes, sizeof request.bytes);
    return request;
}

Sha256 upload_fate(const Sha256 *digest, FileId id)
{
    return sha256_of2(digest->bytes, SHA256_LEN, id.bytes, sizeof id.bytes);
}

void upload_decide(Mutation *m, FileId id, bool parts, VersionId version)
{
    static const Sha256 none = {{0}};
    bool ended = m->type == MUTATION_DELETE_FILE;
    const Sha256 *fate = ended ? &none : &m->digest;
    m->takes = !ended;
    m->taken = id;
    m->taken_version = version;
    m->has_request = true;
    m->request = upload_request(id, parts);
    m->request_hash = upload_fate(fate, id);
}

ErrCode upload_attrs(const UploadRecord *record, Buf *attrs, Err *err)
{
    AUTO_BUF(bytes, UPLOAD_RECORD_MAX);
    TRY(buf_reserve(&bytes, UPLOAD_RECORD_MAX, err));
    Enc enc = enc_of(bytes.data, bytes.capacity);
    upload_record_encode(record, &enc);
    if (enc.failed) return err_set(err, ERR_TOO_LARGE, "too much metadata");
    buf_clear(attrs);
    return attr_set(attrs, ATTR_UPLOAD_RECORD, str_of(enc.data, enc.len), err);
}

static ErrCode record_of(Str attrs, UploadRecord *out, Err *err)
{
    Str value;
    if (!attr_get(attrs, ATTR_UPLOAD_RECORD, &value))
        return err_set(err, ERR_CORRUPT, "an upload has no record");
    return upload_record_decode(value, out, err);
}

/* The row, if there is one, copied. ERR_NOT_FOUND with *there: its body moved, look again. */
static ErrCode read_row(ServiceReader *reader, FileId id, UploadFound *out, bool *there, Err *err)
{
    StoreFound found;
    Str body = {NULL, 0};
    *there = false;
    if (file_id_shard(id) == SHARD_SYSTEM) return OK;
    TRY(store_find_id(reader->reader, id, NULL, STORE_COMMITTED, &found, there, err));
    if (*there && found.bucket != BUCKET_UID_UPLOADS) *there = false;
    if (*there && upload_part_number(found.key) != 0) *there = false;
    if (!*there) return OK;
    buf_clear(&out->attrs);
    buf_clear(&out->extents);
    buf_clear(&out->body);
    TRY(buf_append_str(&out->attrs, found.row.attrs, err));
    TRY(buf_append_str(&out->extents, found.row.extents, err));
    out->extent_count = found.row.extent_count;
    out->version = found.row.version;
    out->offset = found.row.size;
    if (found.row.extent_count == 0 && found.row.size > 0) {
        TRY(store_body(reader->reader, &found, &body, err));
        TRY(buf_append_str(&out->body, body, err));
    }
    return record_of(buf_str(&out->attrs), &out->record, err);
}

static ErrCode find_row(ServiceReader *reader, FileId id, UploadFound *out, bool *there, Err *err)
{
    ErrCode code = ERR_NOT_FOUND;
    for (int i = 0; code == ERR_NOT_FOUND && i < FIND_TRIES; i++)
        code = read_row(reader, id, out, there, err);
    if (code != ERR_NOT_FOUND) return code;
    return err_wrap(err, ERR_BUSY, "the upload's bytes keep moving");
}

static ErrCode find_fate(ServiceReader *reader, FileId id, bool parts, uint64_t now_ms,
                         StoreRequest *fate, bool *decided, Err *err)
{
    uint64_t oldest_ms = now_ms - MIN(now_ms, (uint64_t)STORE_REQUEST_KEEP_MS);
    return store_find_request(reader->reader, upload_request(id, parts), oldest_ms, fate, decided,
                              err);
}

/* Is the file that came of it there to be seen? A fate that is not committed yet has none. */
static ErrCode find_file(ServiceReader *reader, const StoreRequest *fate, UploadFound *out,
                         bool *there, Err *err)
{
    StoreFound found;
    *there = false;
    if (fate->row.op != OP_CREATE && fate->row.op != OP_UPDATE) return OK;
    out->file = fate->row.file;
    out->file_version = fate->row.version;
    out->fate_hash = fate->row.request_hash;
    return store_find_id(reader->reader, out->file, &out->file_version, STORE_COMMITTED, &found,
                         there, err);
}

ErrCode service_find_upload(ServiceReader *reader, FileId id, bool parts, uint64_t now_ms,
                            UploadFound *out, Err *err)
{
    StoreRequest fate;
    bool there = false;
    bool decided = false;
    out->id = id;
    out->done = false;
    if (!service_ready(reader->service)) return err_set(err, ERR_NOT_READY, "recovery is not over");
    if (!service_is_shard(reader->service, file_id_shard(id)))
        return err_set(err, ERR_NOT_FOUND, "there is no such upload");
    TRY(service_turn_to(reader, shard_class(file_id_shard(id)), err));
    /* The row first: when it is gone already, its fate is known. */
    TRY(find_row(reader, id, out, &there, err));
    if (there && out->record.parts != parts) /* of the other kind: nobody's here */
        return err_set(err, ERR_NOT_FOUND, "there is no such upload");
    TRY(find_fate(reader, id, parts, now_ms, &fate, &decided, err));
    if (decided) TRY(find_file(reader, &fate, out, &out->done, err));
    TRY(service_may_tell(reader, err));
    if (out->done) return OK;
    if (!there && decided)
        return err_set(err, ERR_GONE, "the upload was ended, or its file is gone");
    if (!there) return err_set(err, ERR_NOT_FOUND, "there is no such upload");
    if (!parts && out->record.expires_ms <= now_ms)
        return err_set(err, ERR_GONE, "the upload has expired");
    return OK;
}

ErrCode service_uploads_stat(ServiceReader *reader, BucketStatRow *out, Err *err)
{
    TRY(service_turn_to(reader, PLACE_CLASS_SYSTEM, err));
    return store_bucket_stat(reader->reader, BUCKET_UID_UPLOADS, out, err);
}

/* Parts without a row before them: nobody else takes them away. */
static void add_orphan(FileId id, FileId last, UploadListed *out, size_t *count)
{
    if (id128_eq(id, last)) return;
    out[(*count)++] = (UploadListed){.id = id, .parts = true, .orphan = true};
}

/* Of which upload a row, or all parts under one prefix, are: its key says it. */
static bool id_of(const StoreFound *file, bool is_prefix, FileId *out)
{
    return id128_parse(str_slice(file->key, 0, file->key.len - is_prefix), out);
}

/* What all ids of class are above: they begin with it. */
static FileId before_class(unsigned class)
{
    return (FileId){.bytes = {(uint8_t)(class << 4)}};
}

static bool is_of_class(FileId id, unsigned class)
{
    return shard_class(file_id_shard(id)) == class;
}

/* Those of the reader's class. */
static ErrCode list_rows(ServiceReader *reader, FileId after, UploadListed *out, size_t max,
                         size_t *count, Err *err)
{
    FileId from = before_class(reader->class);
    char text[ID128_TEXT_LEN + 1];
    AUTO(StoreList, store_list_close) list = NULL;
    StoreListOptions options = {.bucket = BUCKET_UID_UPLOADS, .delimiter = '/'};
    FileId last = after;
    if (id128_cmp(after, from) > 0) from = after;
    id128_text(from, text);
    options.after = str_from_cstr(text);
    TRY(store_list_open(reader->reader, &options, &list, err));
    while (*count < max) {
        StoreFound file;
        UploadRecord record = {.bucket = 0};
        bool is_prefix = false;
        bool found = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        FileId id;
        if (!found) break;
        if (!id_of(&file, is_prefix, &id)) continue;
        if (!is_of_class(id, reader->class)) break;
        if (is_prefix) {
            add_orphan(id, last, out, count);
            continue;
        }
        bool damaged = record_of(file.row.attrs, &record, NULL) != OK;
        last = file.row.file;
        out[(*count)++] = (UploadListed){.id = last, .version = file.row.version};
        if (damaged) {
            out[*count - 1].damaged = true;
            continue;
        }
        out[*count - 1].bucket = record.bucket;
        out[*count - 1].expires_ms = record.expires_ms;
        out[*count - 1].parts = record.parts;
    }
    return OK;
}

/* A row that came up since the list passed its place makes it none. */
static ErrCode look_for_row(ServiceReader *reader, UploadListed *orphan, Err *err)
{
    StoreFound found;
    bool there = false;
    TRY(store_find_id(reader->reader, orphan->id, NULL, STORE_COMMITTED, &found, &there, err));
    orphan->orphan = !there;
    orphan->expires_ms = UINT64_MAX;
    return OK;
}

static ErrCode list_class(ServiceReader *reader, unsigned class, FileId after, uint64_t now_ms,
                          UploadListed *out, size_t max, size_t *count, Err *err)
{
    size_t i = *count;
    TRY(service_turn_to(reader, class, err));
    TRY(list_rows(reader, after, out, max, count, err));
    for (; i < *count; i++) {
        StoreRequest fate;
        TRY(find_fate(reader, out[i].id, out[i].parts, now_ms, &fate, &out[i].decided, err));
        if (out[i].orphan) TRY(look_for_row(reader, &out[i], err));
    }
    return OK;
}

ErrCode service_list_uploads(ServiceReader *reader, FileId after, uint64_t now_ms,
                             UploadListed *out, size_t max, size_t *count, Err *err)
{
    unsigned first = shard_class(file_id_shard(after));
    unsigned class = first == 0 ? 0 : first - 1;
    *count = 0;
    while (*count < max && service_next_class(reader->service, &class)) {
        size_t before = *count;
        ErrCode code = list_class(reader, class, after, now_ms, out, max, count, err);
        if (code == OK) continue;
        if (class == PLACE_CLASS_STANDARD) return code;
        LOG(WARN, "upload.list_failed", "class=%u error=" LOG_STR, class, LOG_CSTR(err_text(err)));
        err_clear(err);
        *count = before;
    }
    return OK;
}

/* The record is copied, since asking for their fates moves the list's views. */
static ErrCode tell(ServiceReader *reader, uint64_t now_ms, const StoreFound *file, UploadFn fn,
                    void *ctx, Err *err)
{
    UploadRecord record;
    StoreRequest fate;
    FileId id = file->row.file;
    bool wanted = false;
    bool decided = false;
    AUTO_BUF(attrs, ATTRS_MAX);
    TRY(record_of(file->row.attrs, &record, err));
    TRY(fn(ctx, id, &record, &wanted, err));
    if (!wanted) return OK;
    TRY(buf_append_str(&attrs, file->row.attrs, err));
    TRY(record_of(buf_str(&attrs), &record, err));
    TRY(find_fate(reader, id, record.parts, now_ms, &fate, &decided, err));
    return decided ? OK : fn(ctx, id, &record, &wanted, err);
}

/* Of the reader's class. */
static ErrCode each_of_class(ServiceReader *reader, uint64_t now_ms, UploadFn fn, void *ctx,
                             Err *err)
{
    char text[ID128_TEXT_LEN + 1];
    AUTO(StoreList, store_list_close) list = NULL;
    StoreListOptions options = {.bucket = BUCKET_UID_UPLOADS, .delimiter = '/'};
    id128_text(before_class(reader->class), text);
    options.after = str_from_cstr(text);
    TRY(store_list_open(reader->reader, &options, &list, err));
    for (;;) {
        StoreFound file;
        FileId id;
        bool is_prefix = false;
        bool found = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        if (!found) return OK;
        if (!id_of(&file, is_prefix, &id)) continue;
        if (!is_of_class(id, reader->class)) return OK;
        if (!is_prefix) TRY(tell(reader, now_ms, &file, fn, ctx, err));
    }
}

ErrCode service_each_upload(ServiceReader *reader, unsigned class, uint64_t now_ms, UploadFn fn,
                            void *ctx, Err *err)
{
    TRY(service_turn_to(reader, class, err));
    return each_of_class(reader, now_ms, fn, ctx, err);
}
