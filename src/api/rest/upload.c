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

#include "api/body/extents.h"

/* Bytes of a form's file that were held back as the beginning of a boundary, and were none. */
typedef struct {
    char bytes[4 + HTTP_FORM_BOUNDARY_MAX];
    size_t len;
} Carry;

struct Upload {
    RestCall *call;
    LoopWork work;
    HashCtx *md5; /* NULL: nobody wants it */
    BodyExtents extents;
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
    body_extents_deinit(&u->extents);
    hash_free(u->md5);
    mem_free(u);
}

/* --- on a worker --- */

static BodyOwner owner_of(const RestCall *call)
{
    return (BodyOwner){.shard = call->shard,
                       .bucket = call->bucket,
                       .time_ms = clock_wall_ms(call->rest->options.clock),
                       .key = call->mutation.key,
                       .attrs = buf_str(&call->attrs)};
}

static ErrCode write_piece(Upload *u, const uint8_t *data, size_t len, Err *err)
{
    BodyOwner owner = owner_of(u->call);
    if (u->md5 != NULL) hash_update(u->md5, data, len);
    return body_extents_write(&u->extents, &owner, data, len, err);
}

static ErrCode finish_body(Upload *u, Err *err)
{
    RestCall *call = u->call;
    Mutation *m = &call->mutation;
    BodyOwner owner = owner_of(call);
    body_extents_digest(&u->extents, &m->digest);
    if (call->has_wanted && !sha256_eq(&call->wanted, &m->digest)) return OK;
    if (u->md5 != NULL) hash_final(u->md5, call->md5);
    if (u->md5 != NULL && memcmp(call->md5, call->wanted_md5, MD5_LEN) != 0) return OK;
    return u->extents.unkept ? OK : body_extents_finish(&u->extents, &owner, err);
}

static void work_write(void *arg)
{
    Upload *u = arg;
    if (u->writing != NULL && !u->extents.unkept) {
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
    body_extents_remove(&u->extents, http_request_id(u->call->req));
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
    if (u->work_code == ERR_ROOT_FAILED) node->fail(node->ctx, u->extents.store, &u->work_err);
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
    m->size = u->size;
    body_extents_give(&u->extents, m);
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
    body_extents_begin(&u->extents, call->service, &call->mutation, length,
                       call->mutation.refusal != OK, &call->loop->rng);
    if (call->has_wanted_md5) u->md5 = hash_new(HASH_MD5);
    call->upload = u;
    upload_step(u);
}
