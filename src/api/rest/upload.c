/* A body on its way into blobs. The loop reads pieces, a worker hashes and writes them, one at a
 * time; at most two buffers are in use: the one being written and the one read ahead.
 *
 *            piece                  idle worker               the last one
 *   reading ------> waiting piece ------------> being written ------------> finished: to the engine
 *                                                     | any failure
 *                                                     v
 *                                           removed by the worker, then answered
 *
 * A body larger than an extent goes on in the next one; one that is only compared with the first
 * of its request is hashed and not written. Of a form only the file's bytes go on
 * (form.c). */
#include "api/rest/rest_priv.h"

#include <string.h>

#include "base/log.h"

/* Bytes of a form's file that were held back as the beginning of a boundary, and were none. */
typedef struct {
    char bytes[4 + HTTP_FORM_BOUNDARY_MAX];
    size_t len;
} Carry;

struct Upload {
    RestCall *call;
    LoopWork work;
    unsigned class;     /* of the file */
    Store *store;       /* that takes the body */
    BlobWriter *writer; /* of the extent being written */
    HashCtx *md5;       /* NULL: nobody wants it */
    HashCtx *whole;     /* over all extents; NULL while one is sure to be enough */
    Extent *extents;    /* finished ones */
    uint32_t extent_count;
    uint32_t extent_capacity;
    BodyId body;
    bool unkept;     /* only its digest is wanted */
    uint64_t size;   /* bytes taken so far */
    Buffer *writing; /* the worker's */
    Buffer *waiting;
    Carry writing_carry; /* what comes before the buffer; of forms only */
    Carry waiting_carry;
    bool reading;   /* a piece was asked for */
    bool ended;     /* the last piece came */
    bool busy;      /* the worker has it */
    bool finishing; /* the worker also finishes */
    bool finished;
    bool removing;
    ErrCode work_code; /* the worker's answer */
    Err work_err;
    ErrCode code; /* the first failure; the loop's */
    Err err;
    void (*then)(RestCall *call); /* after removing, if nothing failed */
};

static void upload_step(Upload *u);

void rest_upload_free(Upload *u)
{
    if (u == NULL) return;
    ASSERT(!u->busy);
    buffer_release(u->writing);
    buffer_release(u->waiting);
    blob_writer_free(u->writer);
    hash_free(u->whole);
    hash_free(u->md5);
    mem_free(u->extents);
    mem_free(u);
}

/* --- on a worker --- */

static ErrCode finish_extent(Upload *u, Err *err)
{
    RestCall *call = u->call;
    if (u->extent_count == u->extent_capacity) {
        uint32_t capacity = u->extent_capacity == 0 ? 1 : 2 * u->extent_capacity;
        void *extents = u->extents;
        TRY(mem_retake(&extents, capacity * sizeof *u->extents, err));
        u->extents = extents;
        u->extent_capacity = capacity;
    }
    AUTO_BUF(attrs, ATTRS_MAX);
    TRY(buf_append_str(&attrs, buf_str(&call->attrs), err));
    if (call->mutation.key.len > 0) TRY(attr_set(&attrs, ATTR_KEY, call->mutation.key, err));
    BlobInfo info = {.shard = call->shard,
                     .bucket = call->bucket,
                     .time_ms = clock_wall_ms(call->rest->options.clock),
                     .attrs = buf_str(&attrs)};
    TRY(service_body_finish(call->service, u->writer, &info, &u->extents[u->extent_count], err));
    u->extent_count++;
    blob_writer_free(TAKE(u->writer));
    return OK;
}

static ErrCode write_piece(Upload *u, const uint8_t *data, size_t len, Err *err)
{
    if (u->whole != NULL) hash_update(u->whole, data, len);
    if (u->md5 != NULL) hash_update(u->md5, data, len);
    while (len > 0 && !u->unkept) {
        if (u->writer != NULL && blob_writer_size(u->writer) == EXTENT_SIZE_MAX) {
            TRY(finish_extent(u, err));
        }
        if (u->writer == NULL) {
            TRY(service_body_open(u->call->service, u->class, u->store, u->body, u->extent_count,
                                  &u->writer, err));
        }
        uint64_t room = EXTENT_SIZE_MAX - blob_writer_size(u->writer);
        size_t part = (size_t)MIN((uint64_t)len, room);
        TRY(blob_writer_write(u->writer, data, part, err));
        data += part;
        len -= part;
    }
    return OK;
}

static ErrCode finish_body(Upload *u, Err *err)
{
    Mutation *m = &u->call->mutation;
    /* The digest before the sync: a body that is not what was announced need not be kept. */
    if (u->unkept || (u->whole != NULL && u->extent_count > 0))
        hash_final(u->whole, m->digest.bytes);
    else
        blob_writer_digest(u->writer, &m->digest);
    RestCall *call = u->call;
    if (call->has_wanted && !sha256_eq(&call->wanted, &m->digest)) return OK;
    if (u->md5 != NULL) hash_final(u->md5, call->md5);
    if (u->md5 != NULL && memcmp(call->md5, call->wanted_md5, MD5_LEN) != 0) return OK;
    return u->unkept ? OK : finish_extent(u, err);
}

static void work_write(void *arg)
{
    Upload *u = arg;
    if (u->writing != NULL && !u->unkept) {
        u->work_code = service_admit_write(u->call->service, u->writing->len, &u->work_err);
    }
    if (u->writing != NULL && u->work_code == OK) {
        u->work_code = write_piece(u, (const uint8_t *)u->writing_carry.bytes, u->writing_carry.len,
                                   &u->work_err);
    }
    if (u->writing != NULL && u->work_code == OK) {
        u->work_code = write_piece(u, u->writing->data, u->writing->len, &u->work_err);
        buffer_release(TAKE(u->writing));
    }
    if (u->work_code == OK && u->finishing) u->work_code = finish_body(u, &u->work_err);
}

static void work_remove(void *arg)
{
    Upload *u = arg;
    blob_writer_free(TAKE(u->writer));
    for (uint32_t i = 0; i < u->extent_count; i++) {
        Err err = {0};
        if (service_body_remove(u->call->service, u->body, u->extents[i].number, &err) == OK)
            continue;
        LOG(WARN, "http.orphan_left", "request_id=" LOG_STR " error=" LOG_STR,
            LOG_ARG(http_request_id(u->call->req)), LOG_CSTR(err_text(&err)));
    }
    u->extent_count = 0;
}

/* --- on the loop --- */

static void removed(void *arg)
{
    Upload *u = arg;
    u->busy = false;
    if (u->code != OK)
        rest_answer_error(u->call, u->code, &u->err);
    else
        u->then(u->call);
}

static void start_removing(Upload *u)
{
    ASSERT(!u->busy && (u->code != OK || u->then != NULL));
    buffer_release(TAKE(u->waiting));
    u->removing = true;
    u->busy = true;
    u->work = (LoopWork){.work = work_remove, .done = removed, .arg = u};
    loop_work(http_request_loop(u->call->req), &u->work);
}

void rest_upload_remove(RestCall *call, ErrCode code, const Err *err)
{
    Upload *u = call->upload;
    /* An entry whose outcome is unknown may name the extents; not those of its repeat. */
    bool named = code == ERR_OUTCOME_UNKNOWN && !call->mutation.repeated;
    if (u == NULL || named) {
        rest_answer_error(call, code, err);
        return;
    }
    u->code = code;
    u->err = *err;
    start_removing(u);
}

void rest_upload_discard(RestCall *call, void (*then)(RestCall *call))
{
    Upload *u = call->upload;
    if (u == NULL) {
        then(call);
        return;
    }
    u->then = then;
    start_removing(u);
}

static void fail(Upload *u, ErrCode code, const Err *err)
{
    if (u->code != OK) return;
    u->code = code;
    if (err != NULL) u->err = *err;
}

static void written(void *arg)
{
    Upload *u = arg;
    const RestNode *node = &u->call->rest->node;
    u->busy = false;
    u->finished = u->finishing && u->work_code == OK;
    if (u->work_code == ERR_ROOT_FAILED) node->fail(node->ctx, u->store, &u->work_err);
    if (u->work_code != OK) fail(u, u->work_code, &u->work_err);
    upload_step(u);
}

/* A chunked body that turned out small: as if its length had been known. */
static void become_inline(Upload *u, Buffer *buffer)
{
    RestCall *call = u->call;
    size_t len = buffer == NULL ? 0 : buffer->len;
    Err err = {0};
    ErrCode code = len == 0 ? OK : buf_append(&call->body, buffer->data, len, &err);
    buffer_release(buffer);
    call->upload = NULL;
    rest_upload_free(u);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        rest_put_inline(call, buf_str(&call->body));
}

/* The file's bytes of a form's. *buffer may become NULL: it held none. */
static ErrCode unwrap(Upload *u, Buffer **buffer, bool last, Err *err)
{
    RestCall *call = u->call;
    ErrCode code = OK;
    if (*buffer != NULL) code = rest_form_filter(call, *buffer, err);
    if (code == OK && last) code = rest_form_end(call, err);
    Str carry = str_of(call->form->carry, *buffer == NULL ? 0 : call->form->carry_len);
    if (carry.len > 0) memcpy(u->waiting_carry.bytes, carry.ptr, carry.len);
    u->waiting_carry.len = carry.len;
    u->size += carry.len;
    if (*buffer != NULL && (code != OK || (carry.len == 0 && (*buffer)->len == 0)))
        buffer_release(TAKE(*buffer));
    return code;
}

static void on_piece(HttpRequest *req, void *ctx, ErrCode code, Buffer *buffer, bool last)
{
    RestCall *call = ctx;
    Upload *u = call->upload;
    Err err = {0};
    UNUSED(req);
    ASSERT(u->reading && u->waiting == NULL);
    u->reading = false;
    if (code == OK && call->form != NULL) code = unwrap(u, &buffer, last, &err);
    if (code != OK) {
        fail(u, code, &err);
    } else if (last && u->size == 0 && (buffer == NULL || buffer->len <= INLINE_MAX)) {
        become_inline(u, buffer);
        return;
    } else {
        u->ended = last;
        u->waiting = buffer;
        if (buffer != NULL) u->size += buffer->len;
        call->bytes_in = u->size;
    }
    if (u->size > BODY_SIZE_MAX) {
        fail(u, err_set(&err, ERR_TOO_LARGE, "a file has at most 5 TiB"), &err);
    }
    if (u->removing)
        buffer_release(TAKE(u->waiting));
    else
        upload_step(u);
}

static void finish(Upload *u)
{
    Mutation *m = &u->call->mutation;
    m->body = u->body;
    m->size = u->size;
    m->store = u->store;
    m->extents = u->extents;
    m->extent_count = u->extent_count;
    rest_put_stored(u->call);
}

/* Does what can be done now. */
static void upload_step(Upload *u)
{
    HttpRequest *req = u->call->req;
    if (u->finished) {
        finish(u);
        return;
    }
    if (!u->busy && u->code != OK) {
        start_removing(u);
        return;
    }
    if (!u->busy && (u->waiting != NULL || u->ended)) {
        u->writing = TAKE(u->waiting);
        u->writing_carry = u->waiting_carry;
        u->finishing = u->ended;
        u->busy = true;
        u->work = (LoopWork){.work = work_write, .done = written, .arg = u};
        loop_work(http_request_loop(req), &u->work);
    }
    if (!u->reading && !u->ended && u->waiting == NULL && u->code == OK) {
        u->reading = true;
        http_request_read(req, on_piece);
    }
}

void rest_upload(RestCall *call, uint64_t length)
{
    Upload *u = mem_new(sizeof *u);
    u->call = call;
    u->class = service_class_of(call->service, &call->mutation);
    u->store = service_class_store(call->service, u->class);
    u->body = id128_random(&call->loop->rng);
    u->unkept = call->mutation.refusal != OK;
    if (u->unkept || length > EXTENT_SIZE_MAX) u->whole = hash_new(HASH_SHA256);
    if (call->has_wanted_md5) u->md5 = hash_new(HASH_MD5);
    call->upload = u;
    upload_step(u);
}
