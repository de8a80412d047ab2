/* PUT and POST of contents. What the headers alone decide is refused before the body is read; what
 * depends on the file's state is decided where the engine gives the lsn. A repeat of what was
 * carried out is answered by the engine, whatever would be refused now. */
#include "api/rest/rest_priv.h"

#include <inttypes.h>
#include <string.h>

#include "text/uri.h"

static void answer_put(RestCall *call)
{
    Mutation *m = &call->mutation;
    char name[BUCKET_NAME_MAX + 1] = "";
    RestFile file = {
        .row = m->row, .bucket = m->bucket, .key = m->row_key, .durability = m->durability};
    if (file.bucket.len == 0 && buckets_name(service_buckets(call->service), call->bucket, name)) {
        file.bucket = str_from_cstr(name);
    }
    AUTO_BUF(body, FILE_JSON_MAX);
    JsonWriter json;
    json_writer_init(&json, &body);
    json.code = buf_reserve(&body, FILE_JSON_USUAL, NULL);
    rest_file_json(&json, &file);
    rest_file_headers(call, &file, true);
    bool created = m->type == MUTATION_CREATE || (m->type == MUTATION_PUT && m->created);
    if (created) {
        AUTO_BUF(location, 8 * 1024);
        ErrCode code = buf_printf(&location, NULL, "/v1/buckets/%.*s/files/", STR_ARG(file.bucket));
        if (code == OK) code = uri_encode(&location, URI_ENCODE_PATH, file.key, NULL);
        if (code == OK) http_header_add(call->req, "Location", buf_str(&location));
    }
    rest_answer_json(call, created ? 201 : 200, &json, &body);
}

static void put_done(RestCall *call)
{
    Mutation *m = &call->mutation;
    if (m->code != OK) {
        rest_upload_remove(call, m->code, &m->err);
    } else if (m->repeated) {
        http_header_add(call->req, "Idempotent-Replayed", STR("true"));
        rest_upload_discard(call, answer_put);
    } else {
        answer_put(call);
    }
}

static void put_submit(RestCall *call)
{
    Mutation *m = &call->mutation;
    Err err = {0};
    if (call->has_wanted && !sha256_eq(&call->wanted, &m->digest)) {
        char hex[2 * SHA256_LEN + 1];
        hex_encode(m->digest.bytes, SHA256_LEN, hex);
        ErrCode code = err_set(&err, ERR_DIGEST_MISMATCH, "the body that arrived has SHA-256 %s",
                               hex);
        rest_upload_remove(call, code, &err);
        return;
    }
    if (call->has_wanted_md5 && memcmp(call->wanted_md5, call->md5, MD5_LEN) != 0) {
        char hex[2 * MD5_LEN + 1];
        hex_encode(call->md5, MD5_LEN, hex);
        ErrCode code = err_set(&err, ERR_DIGEST_MISMATCH, "the body that arrived has MD5 %s", hex);
        rest_upload_remove(call, code, &err);
        return;
    }
    m->attrs = buf_str(&call->attrs);
    rest_hash_request(call);
    rest_submit(call, put_done);
}

void rest_put_inline(RestCall *call, Str body)
{
    Mutation *m = &call->mutation;
    call->bytes_in = body.len;
    m->inline_body = body;
    m->size = body.len;
    m->digest = sha256_of(body.ptr, body.len);
    if (call->has_wanted_md5) {
        AUTO(HashCtx, hash_free) md5 = hash_new(HASH_MD5);
        hash_update(md5, body.ptr, body.len);
        hash_final(md5, call->md5);
    }
    put_submit(call);
}

void rest_put_stored(RestCall *call)
{
    put_submit(call);
}

static void on_collected(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    UNUSED(req);
    if (code != OK)
        rest_answer_error(ctx, code, NULL);
    else
        rest_put_inline(ctx, body);
}

static bool rests_on_state(ErrCode code)
{
    return code == ERR_NO_BUCKET || code == ERR_QUOTA_EXCEEDED || code == ERR_NO_SPACE;
}

/* OK, or a refusal that stands. One that rests on what is there now is not the answer to a request
 * that was carried out before: then the body is read, but not kept, and the engine decides. */
static ErrCode refuse_unless_repeat(RestCall *call, ErrCode code, Err *err)
{
    Mutation *m = &call->mutation;
    bool known = false;
    if (!rests_on_state(code)) return code;
    if (m->refusal != OK) return OK; /* refused already, and known */
    if (rest_read_request_key(call, NULL) != OK || !m->has_request) return code;
    if (call->loop->reader == NULL)
        TRY(service_reader_open(call->service, &call->loop->reader, err));
    TRY(service_knows_request(call->loop->reader, m->request,
                              clock_wall_ms(call->rest->options.clock), &known, err));
    if (!known) return code;
    m->refusal = code;
    m->err = *err;
    return OK;
}

/* All that can be refused without the body; its length (or HTTP_LENGTH_UNKNOWN). */
static ErrCode admit(RestCall *call, uint64_t *length, Err *err)
{
    if (!http_request_length(call->req, length)) *length = HTTP_LENGTH_UNKNOWN;
    bool known = *length != HTTP_LENGTH_UNKNOWN;
    if (known && *length > BODY_SIZE_MAX) {
        return err_set(err, ERR_TOO_LARGE, "a file has at most %" PRIu64 " bytes",
                       (uint64_t)BODY_SIZE_MAX);
    }
    ErrCode room = service_admit_upload(call->service, known ? *length : 0, err);
    if (room == OK) room = service_admit_bucket(call->service, call->mutation.bucket, err);
    unsigned class = service_class_of(call->service, &call->mutation);
    if (room == OK) room = rest_require(call, class, err);
    TRY(refuse_unless_repeat(call, room, err));
    rest_read_conditions(call);
    TRY(rest_read_request_key(call, err));
    if (http_request_header(call->req, STR("content-range")).ptr != NULL) {
        return err_set(err, ERR_INVALID, "a part of a file can't be written: Content-Range");
    }
    return rest_read_attrs(call, err);
}

static void take_body(RestCall *call)
{
    Err err = {0};
    uint64_t length = 0;
    ErrCode code = admit(call, &length, &err);
    if (code == OK && rest_is_form(call)) code = rest_form_begin(call, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
    } else if (length <= INLINE_MAX && call->form == NULL) {
        http_request_collect(call->req, INLINE_MAX, on_collected);
    } else {
        rest_upload(call, length);
    }
}

/* Only what exceeds the quota whatever is there: a version in the place of one that is as large
 * makes no more, and none is larger than all files together. The rest is for the engine. */
static ErrCode check_quota(RestCall *call, const BucketRecord *record, Err *err)
{
    BucketStatRow usage;
    uint64_t length = 0;
    if (record->quota_bytes == 0 || rest_is_form(call))
        return OK; /* a form is more than its file */
    if (!http_request_length(call->req, &length) || length <= record->quota_bytes) return OK;
    buckets_usage(service_buckets(call->service), record->uid, &usage);
    if (call->mutation.type != MUTATION_CREATE && length <= usage.bytes) return OK;
    return err_set(err, ERR_QUOTA_EXCEEDED,
                   "%" PRIu64 " bytes are more than the bucket's quota of %" PRIu64, length,
                   record->quota_bytes);
}

/* Bucket and key of the mutation, looked at before the body is taken. */
static ErrCode check_name(RestCall *call, Err *err)
{
    Mutation *m = &call->mutation;
    BucketRecord record;
    if (!buckets_find(service_buckets(call->service), m->bucket, &record)) {
        return err_set(err, ERR_NO_BUCKET, "there is no such bucket");
    }
    if (!key_valid(m->key)) {
        return err_set(err, m->key.len > KEY_MAX ? ERR_KEY_TOO_LONG : ERR_BAD_NAME,
                       "a key has 1 to %d bytes of UTF-8 without NUL", KEY_MAX);
    }
    call->bucket = record.uid;
    call->shard = service_shard(call->service, &record, m->key);
    return check_quota(call, &record, err);
}

static void put_to_name(RestCall *call)
{
    Err err = {0};
    ErrCode code = refuse_unless_repeat(call, check_name(call, &err), &err);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        take_body(call);
}

void rest_put_name(RestCall *call)
{
    call->mutation.type = MUTATION_PUT;
    call->mutation.bucket = call->match.params[0];
    call->mutation.key = call->match.params[1];
    put_to_name(call);
}

void rest_put_id(RestCall *call)
{
    Mutation *m = &call->mutation;
    ServiceReader *reader = NULL;
    StoreFound found;
    Err err = {0};
    m->type = MUTATION_UPDATE;
    if (!rest_reader(call, &reader)) return;
    ErrCode code = id128_parse(call->match.params[0], &m->file)
                       ? service_find_id(reader, m->file, NULL, &found, &err)
                       : ERR_NOT_FOUND;
    if (code == OK) code = rest_allows_found(call, &found, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    call->bucket = found.bucket;
    call->shard = file_id_shard(m->file);
    m->key = arena_dup(http_request_arena(call->req), found.key); /* for the body's own record */
    take_body(call);
}

void rest_post(RestCall *call)
{
    Mutation *m = &call->mutation;
    bool has_bucket = false;
    bool has_key = false;
    Err err = {0};
    m->type = MUTATION_CREATE;
    if (!rest_query(call, STR("bucket"), &has_bucket, &m->bucket)) return;
    if (!rest_query(call, STR("key"), &has_key, &m->key)) return;
    ErrCode code = rest_read_request_key(call, &err);
    if (code == OK && !has_bucket) {
        code = err_set(&err, ERR_INVALID, "?bucket= is missing");
    } else if (code == OK && !has_key) { /* a name that nobody has, or that its repeat has again */
        char text[ID128_TEXT_LEN + 1];
        id128_text(m->has_request ? m->request : id128_random(&call->loop->rng), text);
        m->key = arena_dup(http_request_arena(call->req), str_from_cstr(text));
        if (m->key.ptr == NULL) code = ERR_NO_MEMORY;
    }
    if (code == OK) code = auth_allows_file(&call->identity, RIGHT_WRITE, m->bucket, m->key, &err);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        put_to_name(call);
}
