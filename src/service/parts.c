#include "service/parts.h"

#include <string.h>

#include "service/service_priv.h"

#define REMOVAL_STEP 1000 /* parts */

static ErrCode part_of(const StoreFound *found, UploadPart *out, Err *err)
{
    const FileRow *row = &found->row;
    Str etag = {NULL, 0};
    Str checksum = {NULL, 0};
    *out = (UploadPart){.number = upload_part_number(found->key),
                        .size = row->size,
                        .updated_ms = row->updated_ms,
                        .has_extent = row->extent_count == 1};
    bool good = out->number != 0 && row->extent_count <= 1 &&
                (row->extent_count == 1) == (row->size > 0);
    good = good && attr_get(row->attrs, ATTR_ETAG, &etag) && etag.len == 2 * MD5_LEN &&
           hex_decode(etag, out->md5, MD5_LEN);
    if (good && attr_get(row->attrs, ATTR_CHECKSUM, &checksum)) {
        good = checksum.len <= sizeof out->checksum;
        out->checksum_len = MIN(checksum.len, sizeof out->checksum);
        memcpy(out->checksum, checksum.ptr, out->checksum_len);
    }
    if (!good) return err_set(err, ERR_CORRUPT, "the row of an upload's part is malformed");
    if (out->has_extent) out->extent = extent_at(row->extents, 0);
    return OK;
}

ErrCode service_list_parts(ServiceReader *reader, FileId upload, unsigned after, UploadPart *out,
                           size_t max, size_t *count, Err *err)
{
    char prefix[UPLOAD_PART_KEY_LEN + 1];
    char from[UPLOAD_PART_KEY_LEN + 1];
    AUTO(StoreList, store_list_close) list = NULL;
    upload_part_key(upload, 1, prefix);
    StoreListOptions options = {.bucket = BUCKET_UID_UPLOADS,
                                .prefix = str_of(prefix, ID128_TEXT_LEN + 1)};
    *count = 0;
    if (after >= UPLOAD_PART_MAX) return OK;
    if (after > 0) {
        upload_part_key(upload, after, from);
        options.after = str_from_cstr(from);
    }
    if (!service_is_shard(reader->service, file_id_shard(upload))) return OK;
    TRY(service_turn_to(reader, shard_class(file_id_shard(upload)), err));
    TRY(store_list_open(reader->reader, &options, &list, err));
    while (*count < max) {
        StoreFound file;
        bool is_prefix = false;
        bool found = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        if (!found) break;
        TRY(part_of(&file, &out[*count], err));
        (*count)++;
    }
    return OK;
}

ErrCode part_attrs(const UploadRecord *upload, Buf *attrs, Err *err)
{
    AUTO_BUF(bytes, KEY_MAX + 128);
    UploadRecord record = {.bucket = upload->bucket,
                           .key = upload->key,
                           .parts = true,
                           .checksum = upload->checksum,
                           .full_object = upload->full_object};
    TRY(buf_reserve(&bytes, KEY_MAX + 128, err));
    Enc enc = enc_of(bytes.data, bytes.capacity);
    upload_record_encode(&record, &enc);
    ASSERT(!enc.failed);
    return attr_set(attrs, ATTR_UPLOAD_RECORD, str_of(enc.data, enc.len), err);
}

/* --- removal --- */

static void one_done(Mutation *m)
{
    PartsRemoval *removal = m->ctx;
    if (atomic_fetch_sub(&removal->left, 1) > 1) return;
    removal->done(removal);
}

static void forget(PartsRemoval *removal)
{
    for (size_t i = 0; i < removal->count; i++)
        mutation_deinit(&removal->mutations[i]);
    removal->count = 0;
}

void parts_removal_deinit(PartsRemoval *removal)
{
    ASSERT(atomic_load(&removal->left) == 0);
    forget(removal);
    mem_free(TAKE(removal->mutations));
}

static ErrCode last_step(const PartsRemoval *removal, Err *err)
{
    for (size_t i = 0; i < removal->count; i++) {
        const Mutation *m = &removal->mutations[i];
        if (m->code == OK || m->code == ERR_NOT_FOUND) continue; /* another was there before */
        return err_set(err, m->code, "%s", err_text(&m->err));
    }
    return OK;
}

static void add(PartsRemoval *removal, unsigned number)
{
    Mutation *m = &removal->mutations[removal->count];
    mutation_init(m, MUTATION_DELETE_FILE);
    m->upload = true;
    m->file = removal->upload;
    m->part = number;
    m->done = one_done;
    m->ctx = removal;
    if (removal->count > 0) removal->mutations[removal->count - 1].also = m;
    removal->count++;
}

ErrCode parts_removal_step(PartsRemoval *removal, ServiceReader *reader, bool *over, Err *err)
{
    AUTO(void, mem_free) parts = NULL;
    void *mutations = NULL;
    size_t count = 0;
    *over = false;
    ASSERT(atomic_load(&removal->left) == 0);
    TRY(last_step(removal, err));
    forget(removal);
    TRY(mem_take(REMOVAL_STEP * sizeof(UploadPart), &parts, err));
    const UploadPart *list = parts;
    TRY(service_list_parts(reader, removal->upload, removal->after, parts, REMOVAL_STEP, &count,
                           err));
    *over = count == 0 && !removal->row;
    if (*over) return OK;
    mem_free(TAKE(removal->mutations));
    TRY(mem_take((count + 1) * sizeof *removal->mutations, &mutations, err));
    removal->mutations = mutations;
    if (removal->row) add(removal, 0);
    removal->row = false;
    for (size_t i = 0; i < count; i++)
        add(removal, list[i].number);
    if (count > 0) removal->after = list[count - 1].number;
    atomic_store(&removal->left, removal->count);
    ErrCode code = service_submit(reader->service, removal->mutations);
    if (code == OK) return OK;
    atomic_store(&removal->left, 0);
    forget(removal);
    return err_set(err, code, "the parts of an upload stay for now");
}
