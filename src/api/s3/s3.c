/* The door: who sends a request, what it names, and where it goes. */
#include "api/s3/s3.h"

#include <inttypes.h>
#include <string.h>

#include "api/s3/s3_priv.h"
#include "auth/sigv2.h"
#include "base/log.h"
#include "text/uri.h"

S3 *s3_new(const S3Options *options)
{
    S3 *s3 = mem_new(sizeof *s3);
    s3->options = *options;
    s3->loops = mem_new_array(options->loop_count, sizeof *s3->loops);
    for (size_t i = 0; i < options->loop_count; i++)
        rng_init_system(&s3->loops[i].rng);
    atomic_store(&s3->access_log, options->access_log);
    s3_metrics_register();
    return s3;
}

void s3_free(S3 *s3)
{
    if (s3 == NULL) return;
    for (size_t i = 0; i < s3->options.loop_count; i++) {
        ASSERT(s3->loops[i].reader == NULL);
        sigv4_cache_wipe(&s3->loops[i].signing);
        key_view_close(&s3->loops[i].keys);
    }
    mem_free(s3->loops);
    mem_free(s3);
}

void s3_set_access_log(S3 *s3, bool on)
{
    atomic_store(&s3->access_log, on);
}

void s3_publish(S3 *s3, Service *service)
{
    ASSERT(atomic_load(&s3->service) == NULL);
    atomic_store_explicit(&s3->service, service, memory_order_release);
}

void s3_close_reader(S3 *s3, unsigned loop_index)
{
    ASSERT(loop_index < s3->options.loop_count);
    service_reader_free(TAKE(s3->loops[loop_index].reader));
}

/* --- what handlers ask --- */

ErrCode s3_reader(S3Call *call, ServiceReader **out, Err *err)
{
    if (call->loop->reader == NULL)
        TRY(service_reader_open(call->service, &call->loop->reader, err));
    *out = call->loop->reader;
    return OK;
}

ErrCode s3_query(S3Call *call, const char *name, Str *value, Err *err)
{
    bool found = false;
    Str text = {NULL, 0};
    TRY(uri_query_get(http_request_arena(call->req), http_request_query(call->req),
                      str_from_cstr(name), &found, &text, err));
    *value = found && text.ptr == NULL ? STR("") : text;
    return OK;
}

ErrCode s3_query_name(S3Call *call, const char *name, Str *value, Err *err)
{
    TRY(s3_query(call, name, value, err));
    if (value->len <= KEY_MAX) return OK;
    return err_set(err, ERR_KEY_TOO_LONG, "%s is longer than %d bytes", name, KEY_MAX);
}

bool s3_has_param(const S3Call *call, const char *wanted)
{
    Str query = http_request_query(call->req);
    Str name;
    Str value;
    bool has_value = false;
    while (uri_query_next(&query, &name, &value, &has_value))
        if (str_eq(name, str_from_cstr(wanted))) return true;
    return false;
}

Str s3_header(const S3Call *call, const char *name)
{
    if (call->headers == NULL) return http_request_header(call->req, str_from_cstr(name));
    for (size_t i = 0; i < call->header_count; i++)
        if (str_eq_nocase(call->headers[i].name, str_from_cstr(name)))
            return call->headers[i].value;
    return (Str){NULL, 0};
}

static void run_then(void *arg)
{
    S3Call *call = arg;
    if (call->mutation.code == OK) call->durability = call->mutation.durability;
    call->then(call);
}

static void on_mutation_done(Mutation *mutation)
{
    S3Call *call = mutation->ctx;
    loop_post(http_request_loop(call->req), &call->task);
}

void s3_submit(S3Call *call, void (*then)(S3Call *call))
{
    Mutation *m = &call->mutation;
    m->ctx = call;
    m->done = on_mutation_done;
    call->then = then;
    call->task = (LoopTask){.fn = run_then, .arg = call};
    ErrCode code = service_submit(call->service, m);
    if (code == OK) return;
    m->code = code;
    then(call);
}

/* --- one request --- */

/* The names of the query's parameters, joined by commas, as many as fit: with method and path they
 * tell S3's operation. Their values may be secret. */
static Str names_of_query(Str query, char *out, size_t size)
{
    size_t len = 0;
    Str name;
    Str value;
    bool has_value = false;
    while (uri_query_next(&query, &name, &value, &has_value)) {
        if (name.len + 1 > size - len) break;
        if (len > 0) out[len++] = ',';
        memcpy(out + len, name.ptr, name.len);
        len += name.len;
    }
    return (Str){out, len};
}

static void log_access(const S3Call *call, uint64_t ns)
{
    HttpRequest *req = call->req;
    Str peer = http_request_peer(req);
    char names[256];
    Str params = names_of_query(http_request_query(req), names, sizeof names);
    LOG(INFO, "http.request",
        "request_id=" LOG_STR " peer=%.*s key=%.*s method=%s path=" LOG_STR " params=" LOG_STR
        " op=%s status=%d code=%s bytes_in=%" PRIu64 " bytes_out=%" PRIu64 " duration_us=%" PRIu64,
        LOG_ARG(http_request_id(req)), STR_ARG(peer), STR_ARG(call->auth.identity.key_id),
        http_method_name(http_request_method(req)), LOG_ARG(http_request_path(req)),
        LOG_ARG(params), s3_op_name(call->route == NULL ? S3_OP_NONE : call->route->op),
        call->status, err_info(call->code)->slug, call->bytes_in, call->bytes_out, ns / 1000);
}

static void on_end(HttpRequest *req, void *ctx)
{
    S3Call *call = ctx;
    UNUSED(req);
    uint64_t ns = clock_boot_ns(call->s3->options.clock) - call->start_ns;
    s3_metrics_end(call, ns);
    s3_audit(call); /* if it was not answered in one of the common ways */
    if (atomic_load_explicit(&call->s3->access_log, memory_order_relaxed)) log_access(call, ns);
    mutation_deinit(&call->mutation);
    buf_deinit(&call->attrs);
    buf_deinit(&call->body);
    s3_checks_deinit(&call->checks);
    aws_chunked_free(call->chunked);
    s3_upload_free(call->upload);
    s3_form_free(call->form);
    download_free(call->out.download);
    s3_delete_many_free(call->delete_many);
    s3_multipart_free(call->multipart);
    explicit_bzero(&call->auth.chain, sizeof call->auth.chain);
    key_hold_drop(call->keys);
}

static S3Error error_of(SigV4Result result)
{
    switch (result) {
    case SIGV4_OK: return S3_ERR_NONE;
    case SIGV4_OLD:
    case SIGV4_UNKNOWN_SCHEME:
    case SIGV4_NO_BODY_HASH:
    case SIGV4_BAD_BODY_HASH:
    case SIGV4_TOO_LARGE: return S3_ERR_INVALID_REQUEST;
    case SIGV4_BAD_HEADER: return S3_ERR_AUTH_HEADER;
    case SIGV4_BAD_QUERY: return S3_ERR_AUTH_QUERY;
    case SIGV4_UNKNOWN_KEY: return S3_ERR_KEY_ID;
    case SIGV4_SKEWED: return S3_ERR_SKEWED;
    case SIGV4_WRONG: return S3_ERR_SIGNATURE;
    case SIGV4_OTHER_ALGORITHM:
    case SIGV4_BAD_FORM:
    case SIGV4_UNSIGNED_PARAM:
    case SIGV4_TWICE:
    case SIGV4_NONE:
    case SIGV4_NO_DATE:
    case SIGV4_UNSIGNED_HEADER:
    case SIGV4_NOT_YET:
    case SIGV4_EXPIRED: break;
    }
    return S3_ERR_ACCESS_DENIED;
}

/* The bucket of BUCKET.domain[:port]; empty: the host is another. */
static Str bucket_of_host(const S3Call *call)
{
    Str domain = str_from_cstr(call->s3->options.domain);
    Str host;
    Str port;
    str_split(http_request_head(call->req)->host, ':', &host, &port);
    if (domain.len == 0 || host.len <= domain.len + 1) return (Str){NULL, 0};
    size_t at = host.len - domain.len;
    if (host.ptr[at - 1] != '.') return (Str){NULL, 0};
    if (!str_eq_nocase(str_slice(host, at, domain.len), domain)) return (Str){NULL, 0};
    return str_slice(host, 0, at - 1);
}

/* By Signature Version 4, or of an address by Version 2, if that is taken. */
static SigV4Result check_signature(S3Call *call, const AuthKeys *keys, const SigV4Request *request)
{
    uint64_t now_ms = clock_wall_ms(call->s3->options.clock);
    if (call->s3->options.sigv2 && sigv2_is_presigned(request))
        return sigv2_check(keys, request, bucket_of_host(call), now_ms, &call->auth);
    return sigv4_check(keys, &call->loop->signing, request, now_ms, &call->auth);
}

/* Known keys of this moment. *loaded: are the store's among them? */
static AuthKeys take_keys(S3Call *call, bool *loaded)
{
    Keys *known = call->s3->options.keys;
    *loaded = keys_loaded(known); /* before the set is taken */
    if (call->keys == NULL) call->keys = key_view_take(&call->loop->keys, known);
    return key_hold_keys(call->keys);
}

static ErrCode judge(S3Call *call, SigV4Result result, bool loaded, Err *err)
{
    if (result == SIGV4_OK) return OK;
    if (result == SIGV4_UNKNOWN_KEY && !loaded)
        return err_set(err, ERR_NOT_READY, "the server is starting");
    if (result == SIGV4_OTHER_ALGORITHM)
        return err_set(err, ERR_NOT_IMPLEMENTED, "%s", sigv4_text(result));
    if (result == SIGV4_TWICE || result == SIGV4_BAD_FORM)
        return err_set(err, ERR_INVALID, "%s", sigv4_text(result));
    return s3_refuse(call, error_of(result), result == SIGV4_NONE ? NULL : sigv4_text(result), err);
}

ErrCode s3_authenticate(S3Call *call, Err *err)
{
    const HttpHead *head = http_request_head(call->req);
    SigV4Request request = {.method = head->method_text,
                            .path = head->path,
                            .query = head->query,
                            .headers = head->headers,
                            .header_count = head->header_count};
    bool loaded = false;
    AuthKeys keys = take_keys(call, &loaded);
    return judge(call, check_signature(call, &keys, &request), loaded, err);
}

ErrCode s3_authenticate_policy(S3Call *call, const SigV4Policy *shown, Err *err)
{
    bool loaded = false;
    AuthKeys keys = take_keys(call, &loaded);
    SigV4Result result = sigv4_check_policy(&keys, &call->loop->signing, shown,
                                            clock_wall_ms(call->s3->options.clock), &call->auth);
    return judge(call, result, loaded, err);
}

ErrCode s3_authenticate_policy_v2(S3Call *call, Str key_id, Str signature, Str policy, Err *err)
{
    bool loaded = false;
    AuthKeys keys = take_keys(call, &loaded);
    SigV4Result result = sigv2_check_policy(&keys, key_id, signature, policy,
                                            clock_wall_ms(call->s3->options.clock), &call->auth);
    return judge(call, result, loaded, err);
}

/* Bucket and key of the address, each decoded once. */
static ErrCode read_address(S3Call *call, Err *err)
{
    Arena *arena = http_request_arena(call->req);
    Str path = http_request_path(call->req);
    if (path.len == 0 || path.ptr[0] != '/')
        return err_set(err, ERR_NOT_IMPLEMENTED, "this address is not one of S3's");
    Str rest = str_slice(path, 1, path.len);
    Str bucket = bucket_of_host(call);
    Str key = rest;
    if (bucket.len == 0) str_split(rest, '/', &bucket, &key);
    if (bucket.len == 0 && key.len > 0)
        return err_set(err, ERR_BAD_BUCKET_NAME, "The specified bucket is not valid.");
    TRY(uri_decode(arena, URI_PATH, bucket, &call->bucket, err));
    return uri_decode(arena, URI_PATH, key, &call->key, err);
}

static ErrCode find_service(S3Call *call, Err *err)
{
    Service *service = atomic_load_explicit(&call->s3->service, memory_order_acquire);
    if (service == NULL || !service_ready(service))
        return err_set(err, ERR_NOT_READY, "the server is starting");
    call->service = service;
    return OK;
}

/* Holdfast-Require, before the body is read. */
static ErrCode check_required(S3Call *call, Err *err)
{
    HttpMethod method = http_request_method(call->req);
    if (method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD || method == HTTP_METHOD_OPTIONS)
        return OK;
    Str wanted = http_request_header(call->req, STR("holdfast-require"));
    if (wanted.ptr == NULL) return OK;
    unsigned class = service_class(call->service, call->bucket);
    return service_require(call->service, class, wanted, &call->mutation.require_synced, err);
}

/* One more request that takes memory for as long as its client likes? */
static ErrCode enter(S3Call *call, Err *err)
{
    size_t most = call->s3->options.requests_max;
    if (most != 0 && http_server_requests(http_request_server(call->req)) > most)
        return err_set(err, ERR_BUSY,
                       "%zu requests are under way, as many as there is memory for; try again",
                       most);
    TRY(find_service(call, err));
    return check_required(call, err);
}

/* What has a body by its operation takes it; nothing else may have one. */
static ErrCode check_no_body(S3Call *call, Err *err)
{
    HttpMethod method = http_request_method(call->req);
    if (method != HTTP_METHOD_GET && method != HTTP_METHOD_HEAD && method != HTTP_METHOD_DELETE)
        return OK;
    Sha256 empty = sha256_of("", 0);
    if (call->auth.body == SIGV4_BODY_HASHED && !sha256_eq(&call->auth.body_hash, &empty))
        return s3_refuse(call, S3_ERR_CONTENT_SHA256, NULL, err);
    return OK;
}

/* A signature covers names as they are decoded, and tables compare them as they are sent: a name
 * has one way to be written, and stands there once. */
static ErrCode check_query(S3Call *call, Err *err)
{
    Str query = http_request_query(call->req);
    Str name;
    Str value;
    bool has_value = false;
    while (uri_query_next(&query, &name, &value, &has_value)) {
        Str rest = query;
        Str other;
        if (uri_needless(name))
            return err_set(err, ERR_INVALID, "a parameter's name is encoded where it need not be");
        while (uri_query_next(&rest, &other, &value, &has_value))
            if (str_eq(name, other))
                return err_set(err, ERR_INVALID, "the parameter %.*s stands there twice",
                               (int)MIN(name.len, (size_t)64), name.ptr);
    }
    return OK;
}

/* Has the sender the rights that the route needs over what the address names? Over which keys of a
 * bucket, its handler asks. Of a bucket anybody may know who has any right over something of it. */
static ErrCode check_rights(S3Call *call, Err *err)
{
    const Identity *who = &call->auth.identity;
    unsigned rights = call->route->rights;
    if (call->bucket.len == 0) return OK; /* ListBuckets: names of what it may know */
    if (call->key.len > 0) return auth_allows_file(who, rights, call->bucket, call->key, err);
    if ((rights & RIGHT_BUCKETS) != 0) return auth_allows_bucket(who, rights, call->bucket, err);
    if (call->route->op == S3_OP_BUCKET_GET && auth_sees_bucket(who, call->bucket)) return OK;
    return auth_allows_some(who, rights, call->bucket, err);
}

static ErrCode admit(S3Call *call, Err *err)
{
    static const S3Route form = {HTTP_METHOD_POST, S3_BUCKET, NULL, S3_OP_PUT,
                                 RIGHT_WRITE,      s3_form,   0};
    TRY(read_address(call, err));
    if (http_request_method(call->req) == HTTP_METHOD_OPTIONS) {
        call->route = s3_route(call);
        return enter(call, err);
    }
    if (http_request_header(call->req, STR("origin")).len > 0 && find_service(call, NULL) == OK)
        s3_cors_headers(call);
    if (s3_is_form(call)) { /* who sends it stands in the form */
        call->route = &form;
        return enter(call, err);
    }
    TRY(s3_authenticate(call, err));
    TRY(check_query(call, err)); /* their number is bounded by now */
    TRY(s3_take_headers(call, err));
    call->route = s3_route(call);
    if (call->route == NULL) {
        return err_set(err, ERR_NOT_IMPLEMENTED,
                       "A header or query you provided requested a function that is not "
                       "implemented.");
    }
    TRY(check_rights(call, err));
    TRY(s3_check_headers(call, err));
    TRY(s3_audit_allows(call, err));
    TRY(check_no_body(call, err));
    TRY(enter(call, err));
    if (call->route->run != NULL) return OK;
    BucketRecord record;
    if (!buckets_find(service_buckets(call->service), call->bucket, &record))
        return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
    return s3_refuse(call, call->route->error, NULL, err);
}

void s3_on_request(void *ctx, HttpRequest *req)
{
    S3 *s3 = ctx;
    S3Call *call = arena_alloc(http_request_arena(req), sizeof *call);
    if (call == NULL) {
        http_respond_error(req, ERR_NO_MEMORY, NULL);
        return;
    }
    call->s3 = s3;
    call->loop = &s3->loops[loop_index(http_request_loop(req))];
    call->req = req;
    call->start_ns = clock_boot_ns(s3->options.clock);
    mutation_init(&call->mutation, MUTATION_PUT);
    buf_init(&call->attrs, ATTRS_MAX);
    buf_init(&call->body, INLINE_MAX);
    s3_metrics_begin();
    http_request_own(req, call, NULL, on_end);
    Err err = {0};
    ErrCode code = admit(call, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        call->route->run(call);
}
