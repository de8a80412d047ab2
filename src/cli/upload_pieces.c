/* A large file in pieces. Source: tus 1.0 (https://tus.io/protocols/resumable-upload), core,
 * creation; Repr-Digest (RFC 9530) with the last piece is this server's own. */
#include "cli/upload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/resume.h"
#include "text/base64.h"
#include "text/uri.h"

#define DETOURS_MAX 8       /* in a row, without a byte more that is kept */
#define READ_STEP (4 * MIB) /* as others wait meanwhile */
#define READ_BYTES (64 * KIB)
#define TYPE "application/offset+octet-stream"
#define TUS "Tus-Resumable: 1.0.0"

void upload_pieces_init(UploadPieces *pieces)
{
    *pieces = (UploadPieces){.step = UPLOAD_CREATE};
    buf_init(&pieces->location, RESUME_LOCATION_MAX);
    buf_init(&pieces->new_location, RESUME_LOCATION_MAX);
    buf_init(&pieces->header, 16 * KIB);
}

void upload_pieces_deinit(UploadPieces *pieces)
{
    hash_run_free(TAKE(pieces->run));
    buf_deinit(&pieces->location);
    buf_deinit(&pieces->new_location);
    buf_deinit(&pieces->header);
}

static ResumeOf resume_of(const Upload *upload, const UploadTo *to)
{
    return (ResumeOf){.url = to->url,
                      .bucket = to->bucket,
                      .key = buf_str(&upload->key),
                      .path = upload->path,
                      .file = &upload->file};
}

static void load_state(UploadPieces *pieces, Str state)
{
    bool good = hash_run_load(pieces->run, state);
    ASSERT(good); /* it is our own */
}

/* The upload is not gone on with; the next is a new one. */
static void forget(Upload *upload, const UploadTo *to)
{
    UploadPieces *pieces = &upload->pieces;
    ResumeOf what = resume_of(upload, to);
    resume_forget(&what);
    buf_clear(&pieces->location);
    pieces->step = UPLOAD_CREATE;
    pieces->state_len = 0;
    pieces->state_at = 0;
    pieces->offset = 0;
    pieces->kept = 0;
    pieces->earlier = false;
    load_state(pieces, STR(""));
}

void upload_pieces_opened(Upload *upload, const UploadTo *to)
{
    UploadPieces *pieces = &upload->pieces;
    if (pieces->run == NULL) pieces->run = hash_run_new();
    bool known = pieces->location.len > 0;
    if (known && !local_same(&pieces->of, &upload->file)) {
        forget(upload, to);
        known = false;
    }
    if (!known) {
        ResumeOf what = resume_of(upload, to);
        load_state(pieces, STR(""));
        resume_find(&what, &pieces->location);
        pieces->earlier = pieces->location.len > 0;
    }
    pieces->of = upload->file;
    pieces->of.fd = -1;
    pieces->step = pieces->location.len > 0 ? UPLOAD_ASK : UPLOAD_CREATE;
}

/* ---- before a request ---- */

/* Reads on, for a few milliseconds, until the hash is over the first target bytes; *more: it is
 * not yet. */
static ErrCode catch_up(Upload *upload, uint64_t target, bool *more, Err *err)
{
    UploadPieces *pieces = &upload->pieces;
    uint8_t bytes[READ_BYTES];
    if (hash_run_size(pieces->run) > target) {
        load_state(pieces,
                   target >= pieces->state_at ? str_of(pieces->state, pieces->state_len) : STR(""));
    }
    uint64_t at = hash_run_size(pieces->run);
    TRY(local_seek(&upload->file, at, err));
    for (size_t done = 0; done < READ_STEP && at < target;) {
        size_t len = 0;
        size_t max = (size_t)MIN(target - at, (uint64_t)sizeof bytes);
        TRY(local_read(&upload->file, bytes, max, &len, err));
        if (len == 0) {
            TRY(local_check_unchanged(&upload->file, err));
            return err_set(err, ERR_IO, "it ended before its size");
        }
        hash_run_update(pieces->run, bytes, len);
        at += len;
        done += len;
    }
    *more = at < target;
    return OK;
}

ErrCode upload_pieces_prepare(Upload *upload, const UploadTo *to, PoolVerdict *verdict, Err *err)
{
    UploadPieces *pieces = &upload->pieces;
    bool more = false;
    bool check = pieces->step == UPLOAD_CHECK;
    pieces->going_on = true;
    if (check || pieces->step == UPLOAD_SEND) {
        TRY(catch_up(upload, check ? upload->size : pieces->offset, &more, err));
    }
    *verdict = more ? POOL_MORE : POOL_SEND;
    if (more || !check) return OK;
    /* The server has made a file: is it this one? */
    hash_run_digest(pieces->run, &upload->digest);
    if (!upload->call.has_answer_digest ||
        !sha256_eq(&upload->call.answer_digest, &upload->digest)) {
        forget(upload, to);
        return OK;
    }
    ResumeOf what = resume_of(upload, to);
    resume_forget(&what);
    pieces->made = true;
    pieces->offset = upload->size;
    pieces->step = UPLOAD_DESCRIBE;
    if (!to->describe) *verdict = POOL_SKIP;
    return OK;
}

/* ---- requests ---- */

static void header_came(void *ctx, Str name, Str value)
{
    UploadPieces *pieces = &((Upload *)ctx)->pieces;
    if (str_eq_nocase(name, STR("upload-offset"))) {
        pieces->has_offset = str_to_u64(value, INT64_MAX, &pieces->new_offset);
    } else if (str_eq_nocase(name, STR("upload-length"))) {
        pieces->has_length = str_to_u64(value, INT64_MAX, &pieces->new_length);
    } else if (str_eq_nocase(name, STR("location"))) {
        buf_clear(&pieces->new_location);
        if (buf_append_str(&pieces->new_location, value, NULL) != OK)
            buf_clear(&pieces->new_location);
    }
}

static ErrCode send_piece(void *ctx, void *data, size_t max, size_t *len, Err *err)
{
    Upload *upload = ctx;
    TRY(local_read(&upload->file, data, max, len, err));
    if (*len == 0) TRY(local_check_unchanged(&upload->file, err));
    hash_run_update(upload->pieces.run, data, *len);
    return OK;
}

static ErrCode send_again(void *ctx, Err *err)
{
    Upload *upload = ctx;
    UploadPieces *pieces = &upload->pieces;
    load_state(pieces, str_of(pieces->state, pieces->state_len));
    return local_seek(&upload->file, pieces->state_at, err);
}

static ErrCode add_pair(Buf *out, const char *before, Str value, Err *err)
{
    char text[4 * KIB];
    if (base64_encoded_len(value.len) >= sizeof text)
        return err_set(err, ERR_KEY_TOO_LONG, "the name is too long");
    base64_encode(value.ptr, value.len, text);
    return buf_printf(out, err, "%s%s", before, text);
}

static ErrCode begin_create(Upload *upload, const UploadTo *to, Err *err)
{
    Buf *header = &upload->pieces.header;
    char mtime[UPLOAD_MTIME_SIZE];
    Str when = str_from_cstr(upload_mtime_text(upload->file.mtime_ns, mtime));
    upload->call.method = "POST";
    upload->call.target = "/v1/uploads";
    TRY(buf_printf(header, err,
                   TUS "\nUpload-Length: %" PRIu64 "\nUpload-Metadata: ", upload->size));
    TRY(add_pair(header, "bucket ", to->bucket, err));
    TRY(add_pair(header, ",key ", buf_str(&upload->key), err));
    return add_pair(header, "," UPLOAD_MTIME_NAME " ", when, err);
}

/* The last piece, read and hashed: nothing is left to change behind its digest. */
static ErrCode read_last(Upload *upload, Err *err)
{
    size_t len = 0;
    size_t left = (size_t)upload->pieces.piece;
    buf_clear(&upload->small);
    TRY(buf_reserve(&upload->small, left, err));
    TRY(local_read(&upload->file, upload->small.data, left, &len, err));
    TRY(local_check_unchanged(&upload->file, err));
    if (len != left) return err_set(err, ERR_IO, "it ended before its size");
    upload->small.len = len;
    hash_run_update(upload->pieces.run, upload->small.data, len);
    hash_run_digest(upload->pieces.run, &upload->digest);
    upload->call.body = buf_str(&upload->small);
    upload->call.digest = &upload->digest;
    return OK;
}

static ErrCode begin_send(Upload *upload, Err *err)
{
    UploadPieces *pieces = &upload->pieces;
    ClientCall *call = &upload->call;
    uint64_t left = upload->size - pieces->offset;
    ASSERT(left > 0 && hash_run_size(pieces->run) == pieces->offset);
    pieces->state_len = hash_run_save(pieces->run, pieces->state);
    pieces->state_at = pieces->offset;
    call->method = "PATCH";
    call->target = (const char *)pieces->location.data;
    call->has_body = true;
    call->type = TYPE;
    call->send = send_piece;
    call->rewind = send_again;
    pieces->piece = left;
    if (left <= UPLOAD_LAST_MAX) {
        TRY(read_last(upload, err));
    } else {
        uint64_t most = MAX(upload->size / UPLOAD_PIECE_SHARE, (uint64_t)UPLOAD_PIECE_MIN);
        pieces->piece = MIN(most, left - UPLOAD_LAST_MAX);
    }
    call->body_size = pieces->piece;
    /* No Expect: the upload is there, and each piece would wait for a round trip more. */
    return buf_printf(&pieces->header, err,
                      TUS "\nUpload-Offset: %" PRIu64 "\nExpect:", pieces->offset);
}

static ErrCode begin_describe(Upload *upload, const UploadTo *to, Err *err)
{
    buf_clear(&upload->target);
    TRY(buf_append_str(&upload->target, STR("/v1/files?limit=1&bucket="), err));
    TRY(uri_encode(&upload->target, URI_ENCODE_ALL, to->bucket, err));
    TRY(buf_append_str(&upload->target, STR("&prefix="), err));
    TRY(uri_encode(&upload->target, URI_ENCODE_ALL, buf_str(&upload->key), err));
    upload->call.method = "GET";
    TRY(buf_append_zeros(&upload->target, 1, err));
    upload->call.target = (const char *)upload->target.data;
    return OK;
}

ErrCode upload_pieces_begin(Upload *upload, const UploadTo *to, Err *err)
{
    UploadPieces *pieces = &upload->pieces;
    ClientCall *call = &upload->call;
    pieces->going_on = false;
    pieces->has_offset = false;
    pieces->has_length = false;
    buf_clear(&pieces->new_location);
    buf_clear(&pieces->header);
    call->has_body = false;
    call->body_size = 0;
    call->header_came = header_came;
    switch (pieces->step) {
    case UPLOAD_CREATE: TRY(begin_create(upload, to, err)); break;
    case UPLOAD_ASK:
        call->method = "HEAD";
        call->target = (const char *)pieces->location.data;
        TRY(buf_append_str(&pieces->header, STR(TUS), err));
        break;
    case UPLOAD_SEND: TRY(begin_send(upload, err)); break;
    case UPLOAD_DESCRIBE: TRY(begin_describe(upload, to, err)); break;
    case UPLOAD_CHECK: ASSERT(false); break; /* makes no request */
    }
    TRY(buf_append_zeros(&pieces->header, 1, err));
    call->header = pieces->header.len > 1 ? (const char *)pieces->header.data : NULL;
    return OK;
}

/* ---- answers ---- */

static ErrCode bad_answer(Err *err)
{
    return err_set(err, ERR_PEER, "the server's answer is none of a resumable upload (tus 1.0)");
}

static ErrCode end_create(Upload *upload, const UploadTo *to, Err *err)
{
    UploadPieces *pieces = &upload->pieces;
    Str location = buf_str(&pieces->new_location);
    if (location.len == 0 || location.ptr[0] != '/') return bad_answer(err);
    ResumeOf what = resume_of(upload, to);
    resume_keep(&what, location, to->rng);
    buf_clear(&pieces->location);
    TRY(buf_append_str(&pieces->location, location, err));
    TRY(buf_append_zeros(&pieces->location, 1, err));
    pieces->offset = 0;
    pieces->step = UPLOAD_SEND;
    return OK;
}

static ErrCode end_ask(Upload *upload, const UploadTo *to, Err *err)
{
    UploadPieces *pieces = &upload->pieces;
    if (!pieces->has_offset) return bad_answer(err);
    if (!pieces->has_length || pieces->new_length != upload->size ||
        pieces->new_offset > upload->size) {
        forget(upload, to); /* it is of something else */
        pieces->detours++;
        return OK;
    }
    pieces->forward = pieces->new_offset > pieces->offset;
    pieces->offset = pieces->new_offset;
    if (pieces->earlier) pieces->kept = pieces->offset;
    pieces->earlier = false;
    pieces->step = pieces->offset == upload->size ? UPLOAD_CHECK : UPLOAD_SEND;
    return OK;
}

static ErrCode end_send(Upload *upload, const UploadTo *to, Err *err)
{
    UploadPieces *pieces = &upload->pieces;
    const ClientCall *call = &upload->call;
    if (!pieces->has_offset || pieces->new_offset != pieces->offset + pieces->piece)
        return bad_answer(err);
    pieces->offset = pieces->new_offset;
    pieces->detours = 0;
    if (pieces->offset < upload->size) return local_check_unchanged(&upload->file, err);
    if (!call->has_answer_digest || !sha256_eq(&call->answer_digest, &upload->digest)) {
        return err_set(err, ERR_CORRUPT, "the server does not say that it stored what was sent");
    }
    ResumeOf what = resume_of(upload, to);
    resume_forget(&what);
    pieces->made = true;
    pieces->step = UPLOAD_DESCRIBE;
    return OK;
}

ErrCode upload_pieces_end(Upload *upload, const UploadTo *to, Err *err)
{
    UploadPieces *pieces = &upload->pieces;
    pieces->forward = true;
    switch (pieces->step) {
    case UPLOAD_CREATE: return end_create(upload, to, err);
    case UPLOAD_ASK: return end_ask(upload, to, err);
    case UPLOAD_SEND: return end_send(upload, to, err);
    case UPLOAD_DESCRIBE: pieces->step = UPLOAD_CHECK; return OK; /* nothing comes behind it */
    case UPLOAD_CHECK: break;
    }
    ASSERT(false);
    return OK;
}

/* A request failed with code; true: another one is the answer to that. */
static bool get_around(Upload *upload, const UploadTo *to, ErrCode code)
{
    UploadPieces *pieces = &upload->pieces;
    bool gone = code == ERR_NOT_FOUND || code == ERR_GONE;
    if (pieces->made) return false;
    if (code == ERR_DIGEST_MISMATCH || code == ERR_CORRUPT) forget(upload, to);
    if (pieces->detours >= DETOURS_MAX) return false;
    if (pieces->step == UPLOAD_ASK && gone) {
        forget(upload, to);
    } else if (pieces->step == UPLOAD_SEND && (gone || code == ERR_UPLOAD_OFFSET)) {
        pieces->step = UPLOAD_ASK; /* another request wrote to it, or it has expired */
    } else {
        return false;
    }
    pieces->detours++;
    return true;
}

PoolNext upload_pieces_follow(Upload *upload, const UploadTo *to, ErrCode code)
{
    UploadPieces *pieces = &upload->pieces;
    bool goes_on = code == OK ? !upload_over(upload, to) : get_around(upload, to, code);
    pieces->going_on = goes_on;
    if (!goes_on) return POOL_OVER;
    return code == OK && pieces->forward ? POOL_FURTHER : POOL_DETOUR;
}
