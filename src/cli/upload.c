#include "cli/upload.h"

#include "cli/key_path.h"
#include "cli/walk.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SMALL_MAX (1 * MIB) /* bytes that are read before they are sent */

const char *upload_mtime_text(int64_t mtime_ns, char out[UPLOAD_MTIME_SIZE])
{
    const int64_t s = 1000000000;
    int64_t seconds = mtime_ns / s - (mtime_ns % s < 0 ? 1 : 0);
    snprintf(out, UPLOAD_MTIME_SIZE, "%" PRId64 ".%09" PRId64, seconds, mtime_ns - seconds * s);
    return out;
}

ErrCode upload_init(Upload *upload, const char *root, Str prefix, Str relative, Err *err)
{
    size_t root_len = strlen(root);
    upload->file = LOCAL_FILE_NONE;
    upload->hash = NULL;
    upload->size = 0;
    buf_init(&upload->small, SMALL_MAX + 1);
    buf_init(&upload->target, REMOTE_TARGET_MAX + 4 * WALK_PATH_MAX);
    buf_init(&upload->key, 2 * WALK_PATH_MAX);
    upload->path = mem_new(root_len + relative.len + 2);
    memcpy(upload->path, root, root_len);
    if (relative.len > 0) {
        upload->path[root_len] = '/';
        memcpy(upload->path + root_len + 1, relative.ptr, relative.len);
    }
    TRY(buf_append_str(&upload->key, prefix, err));
    return buf_append_str(&upload->key, relative, err);
}

void upload_deinit(Upload *upload)
{
    local_close(&upload->file);
    mem_free(TAKE(upload->path));
    hash_free(TAKE(upload->hash));
    buf_deinit(&upload->small);
    buf_deinit(&upload->target);
    buf_deinit(&upload->key);
}

uint64_t upload_moving(const Upload *upload)
{
    return upload->file.fd >= 0 ? MIN(upload->call.moved_bytes, upload->size) : 0;
}

static ErrCode send_piece(void *ctx, void *data, size_t max, size_t *len, Err *err)
{
    Upload *upload = ctx;
    TRY(local_read(&upload->file, data, max, len, err));
    /* Shorter than announced: nothing of it is stored. */
    if (*len == 0) TRY(local_check_unchanged(&upload->file, err));
    hash_update(upload->hash, data, *len);
    return OK;
}

static ErrCode send_again(void *ctx, Err *err)
{
    Upload *upload = ctx;
    hash_reset(upload->hash);
    return local_rewind(&upload->file, err);
}

static ErrCode read_small(Upload *upload, Err *err)
{
    size_t len = 0;
    uint8_t probe;
    size_t beyond = 0;
    buf_clear(&upload->small);
    TRY(buf_reserve(&upload->small, (size_t)upload->size + 1, err));
    TRY(local_read(&upload->file, upload->small.data, (size_t)upload->size, &len, err));
    TRY(local_read(&upload->file, &probe, 1, &beyond, err));
    if (len + beyond != upload->size) {
        return err_set(err, ERR_ABORTED, "it changed while it was read: it had %" PRIu64 " bytes",
                       upload->size);
    }
    upload->small.len = len;
    upload->digest = sha256_of(upload->small.data, len);
    return OK;
}

ErrCode upload_begin(Upload *upload, Str bucket, bool follow, Err *err)
{
    char mtime[UPLOAD_MTIME_SIZE];
    ClientCall *call = &upload->call;
    local_close(&upload->file);
    TRY(key_check(buf_str(&upload->key), err));
    TRY(remote_file_target(&upload->target, bucket, buf_str(&upload->key), err));
    TRY(local_open(upload->path, follow, &upload->file, err));
    upload->size = upload->file.size;
    snprintf(upload->header, sizeof upload->header, "Holdfast-Meta-Mtime: %s",
             upload_mtime_text(upload->file.mtime_ns, mtime));
    call->moved_bytes = 0;
    call->method = "PUT";
    call->target = (const char *)upload->target.data;
    call->header = upload->header;
    call->has_body = true;
    call->body_size = upload->size;
    call->ctx = upload;
    call->send = send_piece;
    call->rewind = send_again;
    call->body = (Str){NULL, 0};
    call->digest = NULL;
    if (upload->size <= SMALL_MAX) {
        ErrCode code = read_small(upload, err);
        local_close(&upload->file);
        if (code != OK) return code;
        call->body = buf_str(&upload->small);
        call->digest = &upload->digest;
        return OK;
    }
    if (upload->hash == NULL) upload->hash = hash_new(HASH_SHA256);
    hash_reset(upload->hash);
    return OK;
}

static ErrCode check_stored(Upload *upload, json_t *object, Err *err)
{
    RemoteFile stored;
    TRY(remote_file_parse(object, &stored, err));
    if (upload->file.fd >= 0) {
        hash_final(upload->hash, upload->digest.bytes);
        TRY(local_check_unchanged(&upload->file, err));
    }
    if (stored.size == upload->size && stored.has_sha256 &&
        sha256_eq(&stored.sha256, &upload->digest)) {
        return OK;
    }
    return err_set(err, ERR_CORRUPT,
                   "the server has stored other bytes than were sent (%" PRIu64 " of %" PRIu64 ")",
                   stored.size, upload->size);
}

ErrCode upload_end(Upload *upload, json_t **stored, Err *err)
{
    AUTO(json_t, json_free) object = NULL;
    ErrCode code = json_parse(buf_str(&upload->call.answer), &object, err);
    if (code != OK) return err_wrap(err, ERR_PEER, "the server's answer");
    TRY(check_stored(upload, object, err));
    *stored = TAKE(object);
    return OK;
}
