/* Changes of uploads, where they are decided: rows of uploads and of their parts, and files that
 * take extents over. Of the latter this is the only guard: an extent is unlinked some time after
 * the last row that names it, so a file may name it only while a row does. */
#include "service/engine_priv.h"

#include <string.h>

#include "base/fault.h"
#include "service/uploads.h"

/* The row of an upload, pending changes included. */
static ErrCode find_row(Engine *engine, FileId id, StoreFound *found, bool *there, Err *err)
{
    StoreReader *reader = engine_shard_reader(engine, file_id_shard(id));
    TRY(store_find_id(reader, id, NULL, engine_deciding_view(), found, there, err));
    if (*there && found->bucket != BUCKET_UID_UPLOADS) *there = false;
    return OK;
}

/* Is the primary of the file's shard where it is decided? */
static bool stands(const Engine *engine, FileId file)
{
    return replica_role(engine_lead_replica(engine_shard(engine, file_id_shard(file)))) ==
           ROLE_PRIMARY;
}

bool engine_may_take(Engine *engine, Mutation *m)
{
    StoreFound found;
    bool there = false;
    if (!engine_file_takes(engine, m, m->taken)) return false;
    if (!stands(engine, m->taken)) { /* its lead may lack what another's log brings back */
        engine_stall(engine, m);
        return false;
    }
    ErrCode code = find_row(engine, m->taken, &found, &there, &m->err);
    bool same = there && version_id_cmp(found.row.version, m->taken_version) == 0;
    if (code == OK && (same || fault_planted("take-any-extent"))) return true;
    if (code != OK) {
        engine_answer(engine, m, code);
    } else {
        code = err_set(&m->err, ERR_NOT_FOUND, "another request changed the upload");
        engine_refuse(engine, m, code, &found);
    }
    return false;
}

/* May upload m->file get a part? Else m is answered, or will be: what is over gets none any more,
 * so that whoever takes its parts away gets them all. */
static bool may_get_part(Engine *engine, Mutation *m)
{
    uint64_t now_ms = clock_wall_ms(engine->options.clock);
    uint64_t oldest_ms = now_ms - MIN(now_ms, (uint64_t)STORE_REQUEST_KEEP_MS);
    StoreRequest fate;
    StoreFound row = {.pending = false};
    bool decided = false;
    bool there = false;
    ErrCode code = store_find_request(engine_shard_reader(engine, file_id_shard(m->file)),
                                      upload_request(m->file, true), oldest_ms, &fate, &decided,
                                      &m->err);
    if (code == OK && decided) {
        engine_answer_after(engine, m, ERR_GONE, fate.shard, fate.row.version.lsn);
        return false;
    }
    if (code == OK) code = find_row(engine, m->file, &row, &there, &m->err);
    if (code == OK && there) return true;
    if (code != OK)
        engine_answer(engine, m, code);
    else
        engine_refuse(engine, m, ERR_GONE, &row);
    return false;
}

/* Whose quota the bytes of a row are held against; 0: it does not say. */
static BucketUid charged_of(Str attrs)
{
    Str value;
    UploadRecord record;
    bool told = attr_get(attrs, ATTR_UPLOAD_RECORD, &value) &&
                upload_record_decode(value, &record, NULL) == OK;
    return told ? record.bucket : 0;
}

/* Bytes of the versions of a part before the newest. */
static ErrCode count_older(Engine *engine, const Target *t, uint64_t *bytes, Err *err)
{
    StoreFound found;
    VersionId version = t->found.row.version;
    bool more = true;
    while (more) {
        TRY(store_look(engine_shard_reader(engine, t->shard), t->bucket, t->key, STORE_OLDER,
                       version, engine_deciding_view(), &found, &more, err));
        if (more) *bytes += found.row.size;
        if (more) version = found.row.version;
    }
    return OK;
}

ErrCode engine_count_uploads(Engine *engine, const EngineGroup *group, Err *err)
{
    AUTO(StoreList, store_list_close) list = NULL;
    StoreListOptions options = {.bucket = BUCKET_UID_UPLOADS, .versions = true, .over = true};
    TRY(store_list_open(engine_group_reader(engine, group), &options, &list, err));
    for (;;) {
        StoreFound file;
        bool is_prefix = false;
        bool found = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        if (!found) return OK;
        if (shard_class(file_id_shard(file.row.file)) != group->rules.number) continue;
        BucketUid bucket = charged_of(file.row.attrs);
        if (bucket != 0)
            buckets_add_uploads(engine->options.buckets, bucket, (int64_t)file.row.size);
    }
}

static void decide_part(Engine *engine, Mutation *m)
{
    Target t = {.shard = file_id_shard(m->file), .bucket = BUCKET_UID_UPLOADS};
    char key[UPLOAD_PART_KEY_LEN + 1];
    ASSERT(m->type == MUTATION_PUT || m->type == MUTATION_DELETE_FILE);
    if (!stands(engine, m->file)) {
        engine_stall(engine, m);
        return;
    }
    if (m->type == MUTATION_PUT && !may_get_part(engine, m)) return;
    /* What a part was before stays until all of it goes: a completion may just have read it. */
    t.versioning = m->type == MUTATION_PUT ? VERSIONING_ON : VERSIONING_OFF;
    upload_part_key(m->file, m->part, key);
    buf_clear(&m->key_buf);
    ErrCode code = buf_append_str(&m->key_buf, str_from_cstr(key), &m->err);
    t.key = buf_str(&m->key_buf);
    if (code == OK)
        code = store_find(engine_shard_reader(engine, t.shard), t.bucket, t.key, NULL,
                          engine_deciding_view(), &t.found, &t.there, &m->err);
    bool writes = m->type == MUTATION_PUT;
    if (code == OK) t.charged = charged_of(writes ? m->attrs : t.found.row.attrs);
    if (code == OK && t.there && !writes) {
        /* One look ends the other's views: the key is ours, and of the row no view is needed. */
        t.found.row.attrs = t.found.row.extents = t.found.key = (Str){NULL, 0};
        code = count_older(engine, &t, &t.older_bytes, &m->err);
    }
    if (code != OK)
        engine_answer(engine, m, code);
    else
        engine_decide_found(engine, m, &t);
}

/* An upload, by its id; its name space is no bucket, and nobody else's id or name leads there. */
static void decide_row(Engine *engine, Mutation *m)
{
    Target t = {.shard = file_id_shard(m->file), .bucket = BUCKET_UID_UPLOADS};
    char text[ID128_TEXT_LEN + 1];
    ErrCode code = store_find_id(engine_shard_reader(engine, t.shard), m->file, NULL,
                                 engine_deciding_view(), &t.found, &t.there, &m->err);
    if (code == OK && t.there && t.found.bucket != BUCKET_UID_UPLOADS) code = ERR_NOT_FOUND;
    if (code == OK && t.there && upload_part_number(t.found.key) != 0) code = ERR_NOT_FOUND;
    id128_text(m->file, text);
    buf_clear(&m->key_buf);
    if (code == OK) code = buf_append(&m->key_buf, text, ID128_TEXT_LEN, &m->err);
    if (code != OK) {
        engine_answer(engine, m, code);
        return;
    }
    t.key = buf_str(&m->key_buf);
    bool ends = m->type == MUTATION_DELETE_FILE;
    if (!ends || t.there) t.charged = charged_of(ends ? t.found.row.attrs : m->attrs);
    engine_decide_found(engine, m, &t);
}

void engine_decide_upload(Engine *engine, Mutation *m)
{
    if (!engine_file_takes(engine, m, m->file)) return;
    if (m->part != 0)
        decide_part(engine, m);
    else
        decide_row(engine, m);
}
