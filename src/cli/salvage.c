#include "cli/salvage.h"

#include "cli/key_path.h"
#include "cli/local_file.h"
#include "text/json.h"
#include <inttypes.h>

#define MANIFEST "MANIFEST.jsonl" /* no bucket has capitals in its name */
#define FLAT_MAX 240

typedef struct {
    LocalDir *dir;
    Rng rng;
    LocalNew manifest;
    LocalNew file;
    HashCtx *hash;
    Buf path;
    Buf line;
} Out;

static ErrCode append_bucket(const FsckOwner *owner, Buf *path, Err *err)
{
    if (owner->bucket_name.len > 0) return buf_append_str(path, owner->bucket_name, err);
    return buf_printf(path, err, "%%uid-%" PRIu64, owner->bucket);
}

static ErrCode append_key(Str key, bool flat, Buf *path, Err *err)
{
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        bool coded = c == '%' || (flat && (c == '/' || (c == '.' && i == 0)));
        if (coded)
            TRY(buf_printf(path, err, "%%%02X", (unsigned)(uint8_t)c));
        else
            TRY(buf_append(path, &c, 1, err));
    }
    return OK;
}

ErrCode salvage_path(const FsckOwner *owner, bool flat, Buf *path, Err *err)
{
    buf_clear(path);
    TRY(append_bucket(owner, path, err));
    TRY(buf_append(path, "/", 1, err));
    size_t from = path->len;
    TRY(append_key(owner->key, flat, path, err));
    if (!flat && key_path_check(buf_str(path), NULL) != OK)
        return salvage_path(owner, true, path, err);
    if (!flat || path->len - from <= FLAT_MAX) return OK;
    char id[ID128_TEXT_LEN + 1];
    id128_text(owner->file, id);
    path->len = from;
    return buf_printf(path, err, "%%id-%s", id);
}

/* ---- what the run calls ---- */

static ErrCode on_begin(void *ctx, const SalvageFile *file, Err *err)
{
    Out *out = ctx;
    TRY(salvage_path(&file->owner, false, &out->path, err));
    hash_reset(out->hash);
    ErrCode code = local_new_open(out->dir, buf_str(&out->path), &out->rng, &out->file, err);
    if (code != ERR_EXISTS && code != ERR_BAD_NAME) return code;
    /* A file stands where a directory should be, or the other way round. */
    err_clear(err);
    TRY(salvage_path(&file->owner, true, &out->path, err));
    return local_new_open(out->dir, buf_str(&out->path), &out->rng, &out->file, err);
}

static ErrCode on_bytes(void *ctx, const void *data, size_t len, Err *err)
{
    Out *out = ctx;
    hash_update(out->hash, data, len);
    return local_new_write(&out->file, str_of(data, len), err);
}

/* text NULL: saved. */
static ErrCode tell(Out *out, const SalvageFile *file, const Sha256 *digest, const char *text,
                    Err *err)
{
    char id[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
    char hex[2 * SHA256_LEN + 1];
    JsonWriter json;
    id128_text(file->owner.file, id);
    version_id_text(file->owner.version, version);
    buf_clear(&out->line);
    json_writer_init(&json, &out->line);
    json_write_object_begin(&json);
    json_member_bool(&json, "saved", text == NULL);
    if (file->owner.bucket_name.len > 0) json_member_str(&json, "bucket", file->owner.bucket_name);
    json_member_u64(&json, "bucket_uid", file->owner.bucket);
    json_member_str(&json, "key", file->owner.key);
    json_member_cstr(&json, "id", id);
    json_member_cstr(&json, "version", version);
    json_member_u64(&json, "size", file->size);
    if (digest != NULL) hex_encode(digest->bytes, SHA256_LEN, hex);
    if (digest != NULL) json_member_cstr(&json, "sha256", hex);
    if (text == NULL)
        json_member_str(&json, "path", buf_str(&out->path));
    else
        json_member_cstr(&json, "error", text);
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    TRY(buf_append(&out->line, "\n", 1, err));
    return local_new_write(&out->manifest, buf_str(&out->line), err);
}

static ErrCode on_end(void *ctx, const SalvageFile *file, bool good, Err *err)
{
    Out *out = ctx;
    Sha256 digest;
    hash_final(out->hash, &digest);
    if (!good) {
        local_new_discard(&out->file);
        return OK;
    }
    TRY(local_new_commit(&out->file, err));
    return tell(out, file, &digest, NULL, err);
}

static ErrCode on_lost(void *ctx, const SalvageFile *file, const char *text, Err *err)
{
    return tell(ctx, file, file->digest_known ? &file->digest : NULL, text, err);
}

/* ---- the run ---- */

static ErrCode open_out(Out *out, const char *dir, Err *err)
{
    const char *name = NULL;
    TRY(local_make_dirs(dir, err));
    TRY(local_dir_open(NULL, dir, &out->dir, err));
    TRY(local_dir_next(out->dir, &name, err));
    if (name != NULL)
        return err_set(err, ERR_EXISTS, "%s is not empty; give a directory that is", dir);
    return local_new_open(out->dir, STR(MANIFEST), &out->rng, &out->manifest, err);
}

ErrCode salvage_run(Disk *disk, Disk *scratch, const char *out_dir, SalvageReport *report, Err *err)
{
    Out out = {.manifest = LOCAL_NEW_NONE, .file = LOCAL_NEW_NONE};
    SalvageOptions options = {.disk = disk,
                              .scratch = scratch,
                              .begin = on_begin,
                              .bytes = on_bytes,
                              .end = on_end,
                              .lost = on_lost,
                              .ctx = &out};
    rng_init_system(&out.rng);
    buf_init(&out.path, 8 * KIB);
    buf_init(&out.line, 64 * KIB);
    out.hash = hash_new(HASH_SHA256);
    ErrCode code = open_out(&out, out_dir, err);
    if (code == OK) code = fsck_salvage(&options, report, err);
    /* The manifest is there when all that it names is on disk, itself included when we return. */
    if (code == OK) code = local_dir_sync_all(out.dir, err);
    if (code == OK) code = local_new_commit(&out.manifest, err);
    if (code == OK) code = local_dir_sync_all(out.dir, err);
    local_new_discard(&out.file);
    local_new_discard(&out.manifest);
    local_dir_close(out.dir);
    hash_free(out.hash);
    buf_deinit(&out.path);
    buf_deinit(&out.line);
    return code;
}
