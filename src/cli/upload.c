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
    upload->large = false;
    upload->repeat[0] = '\0';
    upload_pieces_init(&upload->pieces);
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
    upload_pieces_deinit(&upload->pieces);
    buf_deinit(&upload->small);
    buf_deinit(&upload->target);
    buf_deinit(&upload->key);
}

uint64_t upload_moving(const Upload *upload)
{
    const UploadPieces *pieces = &upload->pieces;
    if (upload->file.fd < 0) return 0;
    if (!upload->large) return MIN(upload->call.moved_bytes, upload->size);
    bool sending = pieces->step == UPLOAD_SEND && !pieces->going_on;
    return pieces->offset - pieces->kept + (sending ? MIN(upload->call.sent, pieces->piece) : 0);
}

uint64_t upload_kept(const Upload *upload)
{
    return upload->large ? upload->pieces.kept : 0;
}

uint64_t upload_begun(const Upload *upload)
{
    return upload->large && !upload->pieces.made ? upload->pieces.offset : 0;
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
    return local_seek(&upload->file, 0, err);
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

ErrCode upload_prepare(Upload *upload, const UploadTo *to, PoolVerdict *verdict, Err *err)
{
    *verdict = POOL_SEND;
    if (upload->large && upload->pieces.made) return OK;
    if (!upload->large || !upload->pieces.going_on) {
        local_close(&upload->file);
        TRY(key_check(buf_str(&upload->key), err));
        TRY(local_open(upload->path, to->follow, &upload->file, err));
        upload->size = upload->file.size;
        upload->large = upload->size >= UPLOAD_PIECES_MIN;
        if (upload->large) upload_pieces_opened(upload, to);
    }
    return upload->large ? upload_pieces_prepare(upload, to, verdict, err) : OK;
}

/* The headers of a file that goes in one request. What has changed since the last attempt is
 * another change. */
static void make_header(Upload *upload, const LocalFile *of, const UploadTo *to)
{
    char mtime[UPLOAD_MTIME_SIZE];
    bool small = upload->call.digest != NULL;
    bool same = local_same(of, &upload->repeat_of) &&
                (!small || sha256_eq(&upload->digest, &upload->repeat_digest));
    if (!same) upload->repeat[0] = '\0';
    upload->repeat_of = *of;
    upload->repeat_of.fd = -1;
    if (small) upload->repeat_digest = upload->digest;
    remote_repeat_header(&upload->call, to->rng, upload->repeat);
    snprintf(upload->header, sizeof upload->header, "Holdfast-Meta-Mtime: %s\n%s",
             upload_mtime_text(of->mtime_ns, mtime), upload->repeat);
    upload->call.header = upload->header;
}

ErrCode upload_begin(Upload *upload, const UploadTo *to, Err *err)
{
    ClientCall *call = &upload->call;
    call->moved_bytes = 0;
    call->ctx = upload;
    call->body = (Str){NULL, 0};
    call->digest = NULL;
    call->header_came = NULL;
    call->type = NULL;
    if (upload->large) return upload_pieces_begin(upload, to, err);
    TRY(remote_file_target(&upload->target, to->bucket, buf_str(&upload->key), err));
    call->method = "PUT";
    call->target = (const char *)upload->target.data;
    call->has_body = true;
    call->body_size = upload->size;
    call->send = send_piece;
    call->rewind = send_again;
    LocalFile of = upload->file;
    if (upload->size <= SMALL_MAX) {
        ErrCode code = read_small(upload, err);
        local_close(&upload->file);
        if (code != OK) return code;
        call->body = buf_str(&upload->small);
        call->digest = &upload->digest;
        make_header(upload, &of, to);
        return OK;
    }
    make_header(upload, &of, to);
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

ErrCode upload_end(Upload *upload, const UploadTo *to, Err *err)
{
    AUTO(json_t, json_free) object = NULL;
    if (upload->large) return upload_pieces_end(upload, to, err);
    ErrCode code = json_parse(buf_str(&upload->call.answer), &object, err);
    if (code != OK) return err_wrap(err, ERR_PEER, "the server's answer");
    return check_stored(upload, object, err);
}

bool upload_over(const Upload *upload, const UploadTo *to)
{
    const UploadPieces *pieces = &upload->pieces;
    return !upload->large || (pieces->made && (!to->describe || pieces->step != UPLOAD_DESCRIBE));
}

PoolNext upload_follow(Upload *upload, const UploadTo *to, ErrCode code)
{
    return upload->large ? upload_pieces_follow(upload, to, code) : POOL_OVER;
}

/* What is known here of a file that was made in pieces. */
static json_t *describe(const Upload *upload, const UploadTo *to)
{
    char hex[2 * SHA256_LEN + 1];
    hex_encode(upload->digest.bytes, SHA256_LEN, hex);
    Str key = buf_str(&upload->key);
    return json_pack("{s:s%,s:s%,s:I,s:s}", "bucket", to->bucket.ptr, to->bucket.len, "key",
                     key.ptr, key.len, "size", (json_int_t)upload->size, "sha256", hex);
}

/* The answer is a listing that begins with the file, unless that has changed since. */
static json_t *listed(const Upload *upload, const json_t *page)
{
    RemoteFile file;
    json_t *object = json_array_get(json_object_get(page, "files"), 0);
    if (object == NULL || remote_file_parse(object, &file, NULL) != OK) return NULL;
    bool same = str_eq(file.key, buf_str(&upload->key)) && file.has_sha256 &&
                sha256_eq(&file.sha256, &upload->digest);
    return same ? json_incref(object) : NULL;
}

ErrCode upload_stored(Upload *upload, const UploadTo *to, json_t **stored, Err *err)
{
    AUTO(json_t, json_free) answer = NULL;
    json_t *object = NULL;
    if (!upload->large || to->describe) {
        ErrCode code = json_parse(buf_str(&upload->call.answer), &answer, err);
        if (code != OK) return err_wrap(err, ERR_PEER, "the server's answer");
        object = upload->large ? listed(upload, answer) : json_incref(answer);
    }
    if (object == NULL) object = describe(upload, to);
    if (object == NULL) return err_set(err, ERR_NO_MEMORY, "the answer takes too much memory");
    if (upload_kept(upload) > 0)
        json_object_set_new(object, "resumed", json_integer((json_int_t)upload_kept(upload)));
    *stored = object;
    return OK;
}
