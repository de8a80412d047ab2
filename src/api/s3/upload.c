/* A body on its way into blobs: of a request, or of another large file (CopyObject). The loop reads
 * pieces, a worker takes chunks apart, hashes and writes, one piece at a time; two buffers are in
 * use, the one being written and the one read ahead, and those whose MD5 is being made
 * (body/md5_thread.h). A copy has no reader: the worker takes
 * the next bytes from the source, at most COPY_STEP in one turn.
 *
 *            piece                  idle worker               the last one
 *   reading ------> waiting piece ------------> being written ------------> checked: to the engine
 *                                                     | any failure
 *                                                     v
 *                                           removed by the worker, then answered
 */
#include <inttypes.h>
#include <string.h>

#include "api/body/extents.h"
#include "api/s3/s3_priv.h"
#include "http/form.h"

#define COPY_STEP (8 * MIB)      /* bytes a worker copies before others have their turn */
#define STREAM_LEAST (512 * KIB) /* bytes of a body whose MD5 is made by the thread for it */

/* What is copied. */
typedef struct {
    bool given;      /* else the body comes with the request */
    Extent *extents; /* NULL: memory has it */
    Store *store;    /* that has them */
    uint32_t count;
    Str memory;
    uint64_t from; /* bytes from … up to end */
    uint64_t end;
    uint64_t pos; /* of what comes next: extent `at` … */
    uint32_t at;
    uint64_t chunk; /* … and its chunk */
    BlobReader *reader;
    void *room; /* for one chunk */
    Sha256 digest;
    bool digest_known;
    S3File file;
    bool failed; /* its bytes could not be had: at extent `at`, byte `pos` */
} Source;

/* Bytes that a buffer of a form ended with, and that turned out to be the file's. */
typedef struct {
    size_t len;
    char bytes[4 + HTTP_FORM_BOUNDARY_MAX];
} Carry;

struct S3Upload {
    S3Call *call;
    LoopWork work;
    BodyExtents extents;
    Source source;
    uint64_t size;    /* decoded bytes written so far; the worker's */
    uint64_t arrived; /* bytes as they came */
    Carry carry;      /* the worker's: of a form, bytes that come before those of … */
    Buffer *writing;  /* … the worker's, too */
    Carry waiting_carry;
    Buffer *waiting;
    bool reading; /* a piece was asked for */
    bool ended;   /* the last piece came */
    bool busy;    /* the worker has it */
    bool finishing;
    bool finished;
    bool removing;
    ErrCode work_code; /* the worker's answer */
    S3Error work_error;
    Err work_err;
    ErrCode code; /* the first failure; the loop's */
    Err err;
};

static void upload_step(S3Upload *u);

void s3_upload_free(S3Upload *u)
{
    if (u == NULL) return;
    ASSERT(!u->busy);
    buffer_release(u->writing);
    buffer_release(u->waiting);
    body_extents_deinit(&u->extents);
    blob_reader_free(u->source.reader);
    mem_free(u->source.extents);
    mem_free(u->source.room);
    mem_free(u);
}

/* --- on a worker --- */

static BodyOwner owner_of(const S3Call *call)
{
    return (BodyOwner){.shard = call->shard,
                       .bucket = call->bucket_uid,
                       .time_ms = clock_wall_ms(call->s3->options.clock),
                       .key = call->mutation.key,
                       .attrs = buf_str(&call->attrs)};
}

static ErrCode write_bytes(S3Upload *u, const uint8_t *data, size_t len, Err *err)
{
    BodyOwner owner = owner_of(u->call);
    s3_checks_update(&u->call->checks, data, len);
    u->size += len;
    return body_extents_write(&u->extents, &owner, data, len, err);
}

/* Bodies of several pieces have their MD5 made by the thread for it. Not those of a form, whose
 * bytes are not all in its buffers. */
static bool wants_stream(const S3Upload *u)
{
    return u->call->form == NULL && u->call->mutation.size >= STREAM_LEAST;
}

static ErrCode write_piece(S3Upload *u, Err *err)
{
    S3Call *call = u->call;
    Buffer *buffer = u->writing;
    size_t len = buffer->len;
    if (u->size == 0 && call->checks.stream == NULL && wants_stream(u))
        s3_checks_begin_stream(&call->checks, call->s3->options.md5);
    if (call->chunked != NULL) {
        AwsChunkedResult result = aws_chunked_feed(call->chunked, buffer->data, len, &len);
        TRY(s3_chunked_error(result, &u->work_error, err));
    }
    TRY(service_admit_write(call->service, len, err));
    if (u->carry.len > 0) TRY(write_bytes(u, (const uint8_t *)u->carry.bytes, u->carry.len, err));
    TRY(write_bytes(u, buffer->data, len, err));
    if (call->checks.stream != NULL) {
        buffer->len = len;
        s3_checks_hand_over(&call->checks, TAKE(u->writing));
    }
    return OK;
}

/* Stored bytes are not what was written, or cannot be read. */
static bool is_damage(ErrCode code)
{
    return code == ERR_CORRUPT || code == ERR_NOT_FOUND || code == ERR_IO;
}

/* Opens extent `at` at the chunk that has the first byte wanted. */
static ErrCode open_source(S3Upload *u, const Extent *extent, Err *err)
{
    Source *s = &u->source;
    TRY(blob_reader_open(store_blobs(s->store), extent->body, extent->number, &s->reader, err));
    uint32_t chunk_size = blob_reader_footer(s->reader)->chunk_size;
    s->chunk = s->from > s->pos ? (s->from - s->pos) / chunk_size : 0;
    s->pos += s->chunk * chunk_size;
    mem_free(TAKE(s->room));
    return mem_take(chunk_size, &s->room, err);
}

static ErrCode copy_chunk(S3Upload *u, Err *err)
{
    Source *s = &u->source;
    size_t len = 0;
    ErrCode code = blob_reader_chunk(s->reader, s->chunk++, s->room, &len, err);
    s->failed = is_damage(code);
    TRY(code);
    size_t from = s->from > s->pos ? (size_t)MIN(s->from - s->pos, (uint64_t)len) : 0;
    size_t end = (size_t)MIN(s->end - s->pos, (uint64_t)len);
    s->pos += len;
    return end > from ? write_bytes(u, (const uint8_t *)s->room + from, end - from, err) : OK;
}

/* Copies some of the source. *all: there is no more. */
static ErrCode copy_some(S3Upload *u, bool *all, Err *err)
{
    Source *s = &u->source;
    uint64_t until = u->size + COPY_STEP;
    TRY(service_admit_write(u->call->service, COPY_STEP, err));
    *all = true;
    if (s->extents == NULL) {
        Str part = str_slice(s->memory, (size_t)s->from, (size_t)(s->end - s->from));
        return write_bytes(u, (const uint8_t *)part.ptr, part.len, err);
    }
    while (u->size < until && s->pos < s->end && s->at < s->count) {
        const Extent *extent = &s->extents[s->at];
        if (s->reader == NULL && s->pos + extent->size <= s->from) {
            s->pos += extent->size;
            s->at++;
            continue;
        }
        ErrCode code = s->reader == NULL ? open_source(u, extent, err) : OK;
        s->failed = is_damage(code);
        TRY(code);
        if (s->chunk == blob_reader_footer(s->reader)->chunk_count) {
            blob_reader_free(TAKE(s->reader));
            s->at++;
            continue;
        }
        TRY(copy_chunk(u, err));
    }
    *all = s->pos >= s->end || s->at == s->count;
    return OK;
}

static ErrCode finish_body(S3Upload *u, Err *err)
{
    S3Call *call = u->call;
    Mutation *m = &call->mutation;
    if (call->chunked != NULL)
        TRY(s3_chunked_error(aws_chunked_end(call->chunked), &u->work_error, err));
    if (u->size != m->size)
        return err_set(err, ERR_INCOMPLETE_BODY, "the body is not as long as was announced");
    if (u->extents.writer == NULL) return err_set(err, ERR_INCOMPLETE_BODY, "the body is empty");
    body_extents_digest(&u->extents, &m->digest);
    if (u->source.digest_known && !sha256_eq(&u->source.digest, &m->digest))
        return err_set(err, ERR_CORRUPT, "the source is not what its digest says");
    TRY(s3_checks_end(call, &m->digest, &u->work_error, err));
    BodyOwner owner = owner_of(call);
    return body_extents_finish(&u->extents, &owner, err);
}

static void work_write(void *arg)
{
    S3Upload *u = arg;
    bool all = u->finishing;
    if (u->source.given) {
        u->work_code = copy_some(u, &all, &u->work_err);
        u->finishing = all;
    } else if (u->writing != NULL) {
        u->work_code = write_piece(u, &u->work_err);
        buffer_release(TAKE(u->writing));
    }
    if (u->work_code == OK && u->finishing) u->work_code = finish_body(u, &u->work_err);
}

static void work_remove(void *arg)
{
    S3Upload *u = arg;
    s3_checks_stop(&u->call->checks);
    body_extents_remove(&u->extents, http_request_id(u->call->req));
}

/* --- on the loop --- */

static void removed(void *arg)
{
    S3Upload *u = arg;
    u->busy = false;
    s3_answer_error(u->call, u->code, &u->err);
}

static void start_removing(S3Upload *u)
{
    ASSERT(!u->busy && u->code != OK);
    buffer_release(TAKE(u->waiting));
    u->removing = true;
    u->busy = true;
    u->work = (LoopWork){.work = work_remove, .done = removed, .arg = u};
    loop_work(http_request_loop(u->call->req), &u->work);
}

void s3_upload_remove(S3Call *call, ErrCode code, const Err *err)
{
    S3Upload *u = call->upload;
    /* An entry whose outcome is unknown may name the extents. */
    if (u == NULL || code == ERR_OUTCOME_UNKNOWN) {
        s3_answer_error(call, code, err);
        return;
    }
    u->code = code;
    if (err != NULL) u->err = *err;
    start_removing(u);
}

static void fail(S3Upload *u, ErrCode code, const Err *err)
{
    if (u->code != OK) return;
    u->code = code;
    if (err != NULL) u->err = *err;
}

/* The source's bytes could not be had. A version that is still there is damaged; one that went
 * meanwhile took them along, and whoever asks again finds what is there now. */
static ErrCode judge_source(S3Upload *u, const Err *why, Err *err)
{
    const Source *s = &u->source;
    const S3File *file = &s->file;
    const Extent *extent = &s->extents[s->at];
    ServiceReader *reader = NULL;
    StoreFound found;
    char place[BLOB_PATH_MAX];
    TRY(s3_reader(u->call, &reader, err));
    ErrCode code = service_find(reader, file->bucket, file->key, &file->row.version, &found, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        return err_set(err, ERR_BUSY, "the source was replaced while it was read; try again");
    }
    TRY(code);
    blob_path(extent->body, extent->number, place);
    RiskFound risk = {.file = file->row.file,
                      .version = file->row.version,
                      .key = file->key,
                      .size = file->row.size,
                      .cause = risk_cause_of(why->code),
                      .place = place,
                      .offset = s->pos,
                      .detail = err_text(why)};
    service_damaged(u->call->service, file->bucket, risk);
    *err = *why;
    return err_wrap(err, ERR_FILE_DAMAGED, "extent %" PRIu32 " of the source", s->at);
}

static void written(void *arg)
{
    S3Upload *u = arg;
    const S3Options *options = &u->call->s3->options;
    u->busy = false;
    u->finished = u->finishing && u->work_code == OK;
    if (u->work_code == ERR_ROOT_FAILED)
        options->fail(options->fail_ctx, u->extents.store, &u->work_err);
    if (u->work_code != OK) {
        u->call->refusal = u->work_error;
        Err err = u->work_err;
        ErrCode code = u->work_code;
        if (u->source.failed) {
            err_clear(&err);
            code = judge_source(u, &u->work_err, &err);
        }
        fail(u, code, &err);
    }
    upload_step(u);
}

/* All of it came in one piece and is small. */
static void become_inline(S3Upload *u, Buffer *buffer)
{
    S3Call *call = u->call;
    size_t len = buffer == NULL ? 0 : buffer->len;
    Err err = {0};
    ErrCode code = OK;
    if (call->chunked != NULL)
        code = s3_body_decode(call, buffer == NULL ? NULL : buffer->data, len, &len, &err);
    ASSERT(buffer != NULL || len == 0); /* of nothing comes nothing */
    if (code == OK && len > 0) code = buf_append(&call->body, buffer->data, len, &err);
    buffer_release(buffer);
    call->upload = NULL;
    s3_upload_free(u);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_put_inline(call, buf_str(&call->body));
}

/* Leaves of a form's piece the bytes of its file; *buffer may become NULL. */
static ErrCode unwrap(S3Upload *u, Buffer **buffer, bool last, Err *err)
{
    S3Call *call = u->call;
    Str carry = {NULL, 0};
    ErrCode code = OK;
    if (*buffer != NULL) code = s3_form_filter(call, *buffer, &carry, err);
    if (code == OK && last) code = s3_form_end(call, err);
    u->waiting_carry.len = carry.len;
    if (carry.len > 0) memcpy(u->waiting_carry.bytes, carry.ptr, carry.len);
    u->arrived += carry.len;
    if (*buffer != NULL && (code != OK || (carry.len == 0 && (*buffer)->len == 0)))
        buffer_release(TAKE(*buffer));
    return code;
}

/* May what came be the whole content, for the log? Of a form its size is known with the last. */
static bool is_small(const S3Upload *u, const Buffer *buffer)
{
    const S3Call *call = u->call;
    if (call->form != NULL && buffer != NULL && buffer->len > INLINE_MAX) return false;
    return call->mutation.size <= (call->part != 0 ? 0 : INLINE_MAX);
}

static void on_piece(HttpRequest *req, void *ctx, ErrCode code, Buffer *buffer, bool last)
{
    S3Call *call = ctx;
    S3Upload *u = call->upload;
    UNUSED(req);
    ASSERT(u->reading && u->waiting == NULL);
    Err err = {0};
    u->reading = false;
    if (code == OK && call->form != NULL) code = unwrap(u, &buffer, last, &err);
    if (code != OK) {
        fail(u, code, &err);
    } else if (last && u->arrived == 0 && is_small(u, buffer)) {
        become_inline(u, buffer);
        return;
    } else {
        u->ended = last;
        u->waiting = buffer;
        if (buffer != NULL) u->arrived += buffer->len;
        call->bytes_in = u->arrived;
    }
    if (u->removing)
        buffer_release(TAKE(u->waiting));
    else
        upload_step(u);
}

static void finish(S3Upload *u)
{
    body_extents_give(&u->extents, &u->call->mutation);
    s3_put_stored(u->call);
}

/* Does what can be done now. */
static void upload_step(S3Upload *u)
{
    HttpRequest *req = u->call->req;
    bool copies = u->source.given;
    if (u->finished) {
        finish(u);
        return;
    }
    if (!u->busy && u->code != OK) {
        if (!u->removing) start_removing(u);
        return;
    }
    if (!u->busy && (u->waiting != NULL || u->ended || copies)) {
        u->writing = TAKE(u->waiting);
        u->carry = u->waiting_carry;
        u->waiting_carry.len = 0;
        u->finishing = u->ended;
        u->busy = true;
        u->work = (LoopWork){.work = work_write, .done = written, .arg = u};
        loop_work(http_request_loop(req), &u->work);
    }
    if (!copies && !u->reading && !u->ended && u->waiting == NULL && u->code == OK) {
        u->reading = true;
        http_request_read(req, on_piece);
    }
}

static S3Upload *upload_new(S3Call *call)
{
    S3Upload *u = mem_new(sizeof *u);
    u->call = call;
    body_extents_begin(&u->extents, call->service, &call->mutation, call->mutation.size, false,
                       &call->loop->rng);
    call->upload = u;
    return u;
}

void s3_upload(S3Call *call)
{
    upload_step(upload_new(call));
}

void s3_upload_copy(S3Call *call, const S3CopySource *source)
{
    S3Upload *u = upload_new(call);
    const FileRow *row = &source->file->row;
    bool whole = source->from == 0 && source->end == row->size;
    u->source = (Source){.given = true,
                         .store = source->store,
                         .extents = source->extents,
                         .count = source->count,
                         .memory = source->memory,
                         .from = source->from,
                         .end = source->end,
                         .file = *source->file,
                         .digest = row->digest,
                         .digest_known = whole && (row->flags & ROW_FLAG_DIGEST_KNOWN) != 0};
    upload_step(u);
}
