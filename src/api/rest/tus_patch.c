/* PATCH /v1/uploads/{id}, and the bytes that come with a POST: into an upload, and at its end the
 * file.
 *
 *   reading --> worker: into the sink --> piece is whole: row UPDATE, and on
 *      |                             '--> the end: row UPDATE, or the file and then row DELETE
 *      '--> the client goes away: what has come is made durable and named, as at the end
 *
 * What this request says is kept is in the row, and only the row says it. Of two requests for one
 * offset the row's version lets one through; nothing is locked, and a connection that hangs keeps
 * nobody from going on. */
#include "api/rest/tus_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "text/base64.h"

struct TusPatch {
    RestCall *call;
    LoopWork work;
    UploadFound upload;
    TusSink sink;
    Buf attrs;       /* of the row to be */
    int status;      /* of the answer when it goes well */
    uint64_t limit;  /* the upload may have so many bytes */
    uint64_t came;   /* bytes of the upload, with those that were read */
    uint64_t logged; /* bytes that the row names */
    bool news;       /* the row is to be written though no byte came */
    Buffer *writing; /* the worker's */
    Buffer *waiting;
    bool reading;    /* a piece was asked for */
    bool ended;      /* the last piece came */
    bool gone;       /* the body broke off; code says why */
    bool busy;       /* a worker or the engine has it */
    bool cut;        /* the worker's: a piece is whole */
    bool finishing;  /* the worker makes durable what there is */
    bool discarding; /* the worker removes what is not named */
    ErrCode work_code;
    Err work_err;
    ErrCode code; /* the first failure */
    Err err;
};

static void patch_step(TusPatch *p);

void rest_tus_free(TusPatch *p)
{
    if (p == NULL) return;
    ASSERT(!p->busy);
    buffer_release(p->writing);
    buffer_release(p->waiting);
    tus_sink_free(&p->sink);
    upload_found_deinit(&p->upload);
    buf_deinit(&p->attrs);
    mem_free(p);
}

static void fail(TusPatch *p, ErrCode code, const Err *err)
{
    if (p->code != OK) return;
    p->code = code;
    if (err != NULL) p->err = *err;
}

/* --- the worker --- */

static void work_write(void *arg)
{
    TusPatch *p = arg;
    TusSink *sink = &p->sink;
    Err *err = &p->work_err;
    p->cut = false;
    p->work_code = OK;
    if (p->writing != NULL) {
        p->work_code = tus_sink_write(sink, p->writing->data, p->writing->len, &p->cut, err);
        buffer_release(TAKE(p->writing));
    }
    if (!p->finishing || p->work_code != OK) return;
    p->work_code = tus_sink_check(sink, err);
    if (p->work_code == OK) p->work_code = tus_sink_finish(sink, err);
}

static void work_discard(void *arg)
{
    TusPatch *p = arg;
    tus_sink_discard(&p->sink);
}

static void start_work(TusPatch *p, LoopFn work, LoopFn done)
{
    ASSERT(!p->busy);
    p->busy = true;
    p->sink.next_body = id128_random(&p->call->loop->rng);
    p->work = (LoopWork){.work = work, .done = done, .arg = p};
    loop_work(http_request_loop(p->call->req), &p->work);
}

/* --- answers --- */

static void answer(TusPatch *p)
{
    RestCall *call = p->call;
    if (p->code != OK) {
        rest_answer_error(call, p->code, &p->err);
        return;
    }
    call->changed = true;
    http_header_addf(call->req, "Upload-Offset", "%" PRIu64, p->sink.offset);
    rest_answer_empty(call, p->status);
}

static void discarded(void *arg)
{
    TusPatch *p = arg;
    p->busy = false;
    answer(p);
}

/* Removes what no row names, then answers with the failure. */
static void give_up(TusPatch *p)
{
    ASSERT(!p->busy && p->code != OK);
    buffer_release(TAKE(p->waiting));
    p->discarding = true;
    start_work(p, work_discard, discarded);
}

/* --- the engine --- */

static Mutation *next_mutation(TusPatch *p, MutationType type)
{
    Mutation *m = &p->call->mutation;
    unsigned required = m->require_synced;
    mutation_deinit(m);
    mutation_init(m, type);
    m->require_synced = required;
    p->busy = true;
    return m;
}

static void refused(TusPatch *p, const Mutation *m)
{
    if (m->code == ERR_OUTCOME_UNKNOWN) { /* an entry may name what was stored, whatever else */
        p->code = m->code;                /* went wrong before: nothing of it is removed */
        p->err = m->err;
        answer(p);
        return;
    }
    fail(p, m->code, &m->err);
    give_up(p);
}

/* Why the row is not what this request began with. */
static ErrCode moved_on(TusPatch *p, Err *err)
{
    __attribute__((cleanup(upload_found_deinit))) UploadFound now;
    upload_found_init(&now);
    uint64_t now_ms = clock_wall_ms(p->call->rest->options.clock);
    if (p->call->loop->reader == NULL) /* a POST with a body needed none yet */
        TRY(service_reader_open(p->call->service, &p->call->loop->reader, err));
    TRY(service_find_upload(p->call->loop->reader, p->upload.id, false, now_ms, &now, err));
    if (now.done) return err_set(err, ERR_GONE, "the upload is over: its file is there");
    return err_set(err, ERR_UPLOAD_OFFSET, "another request wrote to the upload");
}

static void row_written(RestCall *call)
{
    TusPatch *p = call->tus;
    Mutation *m = &call->mutation;
    p->busy = false;
    if (m->code == ERR_NOT_FOUND) {
        err_clear(&m->err);
        m->code = moved_on(p, &m->err);
    }
    if (m->code != OK) {
        refused(p, m);
        return;
    }
    p->upload.version = m->row.version;
    p->logged = p->sink.offset;
    p->sink.named = p->sink.count;
    p->news = false;
    if (!p->finishing) {
        patch_step(p);
        return;
    }
    if (p->code == OK) tus_expires_header(call, p->upload.record.expires_ms);
    answer(p);
}

static void write_row(TusPatch *p)
{
    RestCall *call = p->call;
    uint8_t state[HASH_RUN_STATE_MAX];
    UploadRecord record = p->upload.record;
    uint64_t now_ms = clock_wall_ms(call->rest->options.clock);
    record.hash = str_of(state, hash_run_save(p->sink.whole, state));
    record.expires_ms = now_ms + call->rest->options.upload_expiry_ms;
    Err err = {0};
    ErrCode code = upload_attrs(&record, &p->attrs, &err);
    if (code != OK) {
        fail(p, code, &err);
        give_up(p);
        return;
    }
    p->upload.record.expires_ms = record.expires_ms;
    Mutation *m = next_mutation(p, MUTATION_UPDATE);
    m->upload = true;
    m->file = p->upload.id;
    m->version = p->upload.version;
    m->attrs = buf_str(&p->attrs);
    tus_sink_body(&p->sink, m);
    m->body = p->sink.next_body;
    rest_submit(call, row_written);
}

static void row_deleted(RestCall *call)
{
    TusPatch *p = call->tus;
    p->busy = false; /* if the row stayed, the sweep of uploads finds it: its fate is decided */
    answer(p);
}

static void delete_row(void *arg)
{
    TusPatch *p = arg;
    p->busy = false;
    Mutation *m = next_mutation(p, MUTATION_DELETE_FILE);
    m->upload = true;
    m->file = p->upload.id;
    rest_submit(p->call, row_deleted);
}

static void file_made(RestCall *call)
{
    TusPatch *p = call->tus;
    Mutation *m = &call->mutation;
    p->busy = false;
    if (m->code == ERR_IDEMPOTENCY) {
        err_clear(&m->err);
        m->code = err_set(&m->err, ERR_GONE, "the upload is over: ended, or with other bytes");
    }
    if (m->code == ERR_NOT_FOUND) {
        err_clear(&m->err);
        m->code = moved_on(p, &m->err);
    }
    if (m->code != OK) {
        refused(p, m);
        return;
    }
    RestFile file = {
        .row = m->row, .bucket = m->bucket, .key = m->row_key, .durability = m->durability};
    tus_file_headers(call, &file);
    call->status = p->status;
    rest_audit(call);                             /* while the mutation tells of the file */
    int killed = fault_point("upload.file_made"); /* only a place to be killed at */
    UNUSED(killed);
    p->code = OK;    /* of a body that broke off behind its last byte: nobody hears it */
    if (m->repeated) /* the file was there before, of other extents */
        start_work(p, work_discard, delete_row);
    else
        delete_row(p);
}

/* Repr-Digest is of the file, so only the end can tell. Before it comes to be, for nobody shall see
 * one that its sender says is wrong. */
static ErrCode check_whole(const TusPatch *p, Err *err)
{
    Sha256 digest;
    const RestCall *call = p->call;
    if (!call->has_wanted) return OK;
    hash_run_digest(p->sink.whole, &digest);
    if (sha256_eq(&call->wanted, &digest)) return OK;
    return err_set(err, ERR_DIGEST_MISMATCH,
                   "the file would have another SHA-256; nothing of this request is kept");
}

static void make_file(TusPatch *p)
{
    RestCall *call = p->call;
    const UploadRecord *record = &p->upload.record;
    char name[BUCKET_NAME_MAX + 1];
    Err err = {0};
    ErrCode code = check_whole(p, &err);
    if (code != OK) {
        fail(p, code, &err);
        give_up(p);
        return;
    }
    if (!buckets_name(service_buckets(call->service), record->bucket, name)) {
        fail(p, ERR_NO_BUCKET, NULL);
        give_up(p);
        return;
    }
    MutationType type = record->create_only ? MUTATION_CREATE : MUTATION_PUT;
    Mutation *m = next_mutation(p, type);
    m->bucket = arena_dup(http_request_arena(call->req), str_from_cstr(name));
    m->key = record->key;
    m->attrs = record->attrs;
    tus_sink_body(&p->sink, m);
    m->body = p->sink.next_body;
    upload_decide(m, p->upload.id, false, p->upload.version);
    rest_submit(call, file_made);
}

/* What came is durable. */
static void name_it(TusPatch *p)
{
    const UploadRecord *record = &p->upload.record;
    if (record->has_length && p->sink.offset == record->length) {
        make_file(p);
    } else if (p->sink.offset > p->logged || p->news) {
        write_row(p);
    } else {
        if (p->code == OK) tus_expires_header(p->call, record->expires_ms);
        answer(p);
    }
}

/* --- on the loop --- */

static void written(void *arg)
{
    TusPatch *p = arg;
    const RestNode *node = &p->call->rest->node;
    const UploadRecord *record = &p->upload.record;
    p->busy = false;
    if (p->work_code == ERR_ROOT_FAILED) node->fail(node->ctx, p->sink.store, &p->work_err);
    if (p->work_code != OK) {
        p->gone = false;
        fail(p, p->work_code, &p->work_err);
        give_up(p);
        return;
    }
    /* An upload whose row has all bytes and no file would look as if it were over. */
    bool whole = record->has_length && p->sink.offset == record->length;
    bool named = p->cut && !whole && p->sink.check == NULL && !p->ended && p->code == OK;
    if (p->finishing)
        name_it(p);
    else if (named)
        write_row(p);
    else
        patch_step(p);
}

static void on_piece(HttpRequest *req, void *ctx, ErrCode code, Buffer *buffer, bool last)
{
    RestCall *call = ctx;
    TusPatch *p = call->tus;
    UNUSED(req);
    ASSERT(p->reading && p->waiting == NULL);
    p->reading = false;
    if (p->discarding) {
        buffer_release(buffer);
        return;
    }
    p->waiting = buffer;
    if (buffer != NULL) p->came += buffer->len;
    call->bytes_in = p->came - p->upload.offset;
    if (p->came > p->limit) {
        Err err = {0};
        fail(p, err_set(&err, ERR_TOO_LARGE, "more bytes than the upload has"), &err);
    } else if (code != OK) {
        p->gone = true;
        fail(p, code, NULL);
    } else {
        p->ended = last;
    }
    patch_step(p);
}

/* Does what can be done now. */
static void patch_step(TusPatch *p)
{
    if (p->busy) return;
    if (p->gone && p->sink.check == NULL) { /* what came stays, whatever the client hears */
        p->gone = false;
        p->finishing = true;
        p->writing = TAKE(p->waiting);
        start_work(p, work_write, written);
        return;
    }
    if (p->code != OK) {
        give_up(p);
        return;
    }
    if (p->waiting != NULL || p->ended) {
        p->writing = TAKE(p->waiting);
        p->finishing = p->ended;
        start_work(p, work_write, written);
    }
    if (!p->reading && !p->ended && p->waiting == NULL) {
        p->reading = true;
        http_request_read(p->call->req, on_piece);
    }
}

/* --- what a request says --- */

ErrCode tus_read_checksum(RestCall *call, HashKind *kind, uint8_t *wanted, size_t *len, Err *err)
{
    static const struct {
        Str name;
        HashKind kind;
    } rows[] = {
        {STR_INIT("sha1"), HASH_SHA1},
        {STR_INIT("sha256"), HASH_SHA256},
        {STR_INIT("md5"), HASH_MD5},
    };
    Str value = http_request_header(call->req, STR("upload-checksum"));
    Str name;
    Str encoded;
    *len = 0;
    if (value.ptr == NULL) return OK;
    if (!str_split(str_trim(value), ' ', &name, &encoded))
        return err_set(err, ERR_INVALID, "Upload-Checksum is not like ALGORITHM BASE64");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!str_eq(name, rows[i].name)) continue;
        *kind = rows[i].kind;
        if (base64_decode(str_trim(encoded), wanted, TUS_CHECKSUM_MAX, len) &&
            *len == hash_len(*kind))
            return OK;
        return err_set(err, ERR_INVALID, "Upload-Checksum is not a digest in BASE64");
    }
    return err_set(err, ERR_INVALID, "Upload-Checksum takes sha1, sha256 and md5");
}

/* A length that was not known before. */
static ErrCode take_length(RestCall *call, TusPatch *p, Err *err)
{
    bool found = false;
    uint64_t length = 0;
    UploadRecord *record = &p->upload.record;
    TRY(tus_number(call, STR("upload-length"), &found, &length, err));
    if (!found || p->status == 201) return OK;
    if (record->has_length && record->length != length)
        return err_set(err, ERR_INVALID, "Upload-Length was %" PRIu64 " before", record->length);
    if (length < p->upload.offset)
        return err_set(err, ERR_INVALID, "Upload-Length is less than the upload has");
    if (length > BODY_SIZE_MAX)
        return err_set(err, ERR_TOO_LARGE, "a file has at most %" PRIu64 " bytes",
                       (uint64_t)BODY_SIZE_MAX);
    p->news = !record->has_length;
    record->has_length = true;
    record->length = length;
    return OK;
}

/* Everything that the head decides. */
static ErrCode admit(TusPatch *p, Err *err)
{
    RestCall *call = p->call;
    TusSink *sink = &p->sink;
    uint64_t length = 0;
    HashKind kind = HASH_SHA1;
    bool known = http_request_length(call->req, &length);
    TRY(tus_read_checksum(call, &kind, sink->wanted, &sink->wanted_len, err));
    TRY(rest_read_repr_digest(call, err));
    TRY(take_length(call, p, err));
    p->limit = p->upload.record.has_length ? p->upload.record.length : BODY_SIZE_MAX;
    if (known && length > p->limit - p->upload.offset)
        return err_set(err, ERR_TOO_LARGE, "more bytes than the upload has left");
    TRY(service_admit_upload(call->service, known ? length : 0, err));
    sink->class = shard_class(file_id_shard(p->upload.id));
    sink->store = service_class_store(call->service, sink->class);
    sink->service = call->service;
    sink->upload = &p->upload;
    sink->clock = call->rest->options.clock;
    sink->coming = known ? length : buffers_size(call->rest->options.buffers);
    if (sink->wanted_len > 0) sink->check = hash_new(kind);
    p->came = p->upload.offset;
    p->logged = p->upload.offset;
    return tus_sink_begin(sink, err);
}

static TusPatch *patch_new(RestCall *call)
{
    TusPatch *p = mem_new(sizeof *p);
    p->call = call;
    p->status = 204;
    upload_found_init(&p->upload);
    buf_init(&p->attrs, ATTRS_MAX);
    call->tus = p;
    return p;
}

static void begin(TusPatch *p)
{
    Err err = {0};
    ErrCode code = admit(p, &err);
    if (code != OK) {
        rest_answer_error(p->call, code, &err);
    } else {
        http_request_keep_partial(p->call->req);
        patch_step(p);
    }
}

void tus_take_body(RestCall *call, UploadFound *created)
{
    TusPatch *p = patch_new(call);
    p->status = 201;
    p->upload = *created;
    begin(p);
}

/* The upload that the request goes on with. */
static ErrCode find_upload(TusPatch *p, bool *over, Err *err)
{
    RestCall *call = p->call;
    UploadFound *upload = &p->upload;
    bool found = false;
    uint64_t offset = 0;
    uint64_t length = 0;
    Str type = http_request_header(call->req, STR("content-type"));
    if (!str_eq_nocase(type, STR("application/offset+octet-stream")))
        return err_set(err, ERR_MEDIA_TYPE,
                       "the Content-Type of PATCH is application/offset+octet-stream");
    TRY(tus_number(call, STR("upload-offset"), &found, &offset, err));
    if (!found) return err_set(err, ERR_INVALID, "Upload-Offset is missing");
    TRY(tus_find(call, upload, err));
    uint64_t expected = upload->offset;
    if (upload->done) TRY(tus_done_headers(call, upload, &expected, err));
    if (offset != expected)
        return err_set(err, ERR_UPLOAD_OFFSET, "the upload has %" PRIu64 " bytes", expected);
    *over = upload->done;
    if (*over && (!http_request_length(call->req, &length) || length > 0))
        return err_set(err, ERR_TOO_LARGE, "the upload is over: its file is there");
    return OK;
}

void rest_tus_patch(RestCall *call)
{
    Err err = {0};
    bool over = false;
    if (!tus_begin(call)) return;
    TusPatch *p = patch_new(call);
    ErrCode code = find_upload(p, &over, &err);
    if (code == OK && !over)
        code = rest_require(call, shard_class(file_id_shard(p->upload.id)), &err);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else if (over)
        rest_answer_empty(call, 204);
    else
        begin(p);
}
