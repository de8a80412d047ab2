#include "api/rest/rest.h"

#include <inttypes.h>
#include <string.h>

#include "api/rest/rest_priv.h"
#include "base/log.h"
#include "text/uri.h"

/* What a request is before its route is known. */
static const RestRoute row_none = {.op = REST_OP_NONE};

/* --- the door --- */

Rest *rest_new(const RestOptions *options)
{
    Rest *rest = mem_new(sizeof *rest);
    rest->options = *options;
    rest->started_ms = clock_wall_ms(options->clock);
    rest->loops = mem_new_array(options->loop_count, sizeof *rest->loops);
    for (size_t i = 0; i < options->loop_count; i++) {
        rng_init_system(&rest->loops[i].rng);
        buf_init(&rest->loops[i].openapi, REST_OPENAPI_MAX);
    }
    atomic_store(&rest->phase, "starting");
    atomic_store(&rest->access_log, options->access_log);
    rest_metrics_register();
    return rest;
}

void rest_set_access_log(Rest *rest, bool on)
{
    atomic_store(&rest->access_log, on);
}

void rest_free(Rest *rest)
{
    if (rest == NULL) return;
    for (size_t i = 0; i < rest->options.loop_count; i++) {
        ASSERT(rest->loops[i].reader == NULL);
        key_view_close(&rest->loops[i].keys);
        buf_deinit(&rest->loops[i].openapi);
    }
    mem_free(rest->loops);
    mem_free(rest);
}

void rest_set_phase(Rest *rest, const char *phase)
{
    atomic_store(&rest->phase, phase);
}

void rest_set_progress(Rest *rest, uint64_t records, uint64_t bytes)
{
    atomic_store(&rest->records, records);
    atomic_store(&rest->bytes, bytes);
}

void rest_publish(Rest *rest, Service *service, const RestNode *node)
{
    ASSERT(atomic_load(&rest->service) == NULL);
    rest->node = *node;
    atomic_store_explicit(&rest->service, service, memory_order_release);
}

void rest_drain(Rest *rest)
{
    atomic_store(&rest->draining, true);
}

void rest_close_reader(Rest *rest, unsigned loop_index)
{
    ASSERT(loop_index < rest->options.loop_count);
    service_reader_free(TAKE(rest->loops[loop_index].reader));
}

/* --- one request --- */

bool rest_reader(RestCall *call, ServiceReader **out)
{
    Err err = {0};
    ErrCode code = OK;
    if (call->loop->reader == NULL) {
        code = service_reader_open(call->service, &call->loop->reader, &err);
    }
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return false;
    }
    *out = call->loop->reader;
    return true;
}

bool rest_query(RestCall *call, Str name, bool *found, Str *value)
{
    Err err = {0};
    Str query = http_request_query(call->req);
    ErrCode code = uri_query_get(http_request_arena(call->req), query, name, found, value, &err);
    if (code == OK) return true;
    rest_answer_error(call, code, &err);
    return false;
}

static void run_then(void *arg)
{
    RestCall *call = arg;
    call->then(call);
}

static void on_mutation_done(Mutation *mutation)
{
    RestCall *call = mutation->ctx;
    loop_post(http_request_loop(call->req), &call->task);
}

void rest_submit(RestCall *call, void (*then)(RestCall *call))
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

static void log_access(const RestCall *call, uint64_t ns)
{
    HttpRequest *req = call->req;
    Str peer = http_request_peer(req);
    /* The path without the query: it may hold what is not for logs. */
    LOG(INFO, "http.request",
        "request_id=" LOG_STR " peer=%.*s key=%.*s method=%s path=" LOG_STR
        " status=%d code=%s bytes_in=%" PRIu64 " bytes_out=%" PRIu64 " duration_us=%" PRIu64,
        LOG_ARG(http_request_id(req)), STR_ARG(peer), STR_ARG(call->identity.key_id),
        http_method_name(http_request_method(req)), LOG_ARG(http_request_path(req)), call->status,
        err_info(call->code)->slug, call->bytes_in, call->bytes_out, ns / 1000);
}

static void on_end(HttpRequest *req, void *ctx)
{
    RestCall *call = ctx;
    UNUSED(req);
    uint64_t ns = clock_boot_ns(call->rest->options.clock) - call->start_ns;
    rest_metrics_end(call, ns);
    rest_audit(call); /* if it was not answered in one of the common ways */
    if (atomic_load_explicit(&call->rest->access_log, memory_order_relaxed)) log_access(call, ns);
    mutation_deinit(&call->mutation);
    buf_deinit(&call->attrs);
    buf_deinit(&call->body);
    rest_upload_free(call->upload);
    rest_tus_free(call->tus);
    download_free(call->out.download);
    rest_delete_many_free(call->delete_many);
    rest_key_free(call->key_work);
    key_hold_drop(call->keys);
}

/* Before the route is looked up for all of /v1, so that without a key
 * everything there looks the same. */
ErrCode rest_identify(RestCall *call, Err *err)
{
    const RestOptions *options = &call->rest->options;
    AuthRequest shown = {.authorization = http_request_header(call->req, STR("authorization")),
                         .now_ms = clock_wall_ms(options->clock)};
    bool loaded = keys_loaded(options->keys); /* before the set is taken */
    if (call->keys == NULL) call->keys = key_view_take(&call->loop->keys, options->keys);
    AuthKeys keys = key_hold_keys(call->keys);
    ErrCode code = auth_identify(&keys, &shown, &call->identity, err);
    AccessKey key;
    if (code == OK || loaded || !key_parse_authorization(shown.authorization, &key)) return code;
    key_wipe(&key);
    if (keys_is_root(options->keys, str_from_cstr(key.id))) return code;
    err_clear(err);
    return err_set(err, ERR_NOT_READY, "the server is starting, and knows only the root key yet");
}

/* Has the sender the rights that the route needs, as far as its address tells over what? */
static ErrCode check_rights(RestCall *call, Err *err)
{
    const Identity *who = &call->identity;
    unsigned rights = call->route->rights;
    Str bucket = call->match.params[0];
    switch (call->route->reach) {
    case REACH_NONE: return OK;
    case REACH_FILE: return auth_allows_file(who, rights, bucket, call->match.params[1], err);
    case REACH_BUCKET: return auth_allows_bucket(who, rights, bucket, err);
    case REACH_SEEN:
        if (call->match.param_count == 0 || auth_sees_bucket(who, bucket)) return OK;
        return auth_allows(who, rights, err); /* no: for its text */
    case REACH_LATER: return auth_allows_some(who, rights, (Str){NULL, 0}, err);
    case REACH_ALL: break;
    }
    return auth_allows(who, rights, err);
}

/* The bucket of a uid; empty if it went meanwhile, over which nobody but the mighty has rights. */
static Str bucket_of(RestCall *call, BucketUid uid, char name[BUCKET_NAME_MAX + 1])
{
    if (!buckets_name(service_buckets(call->service), uid, name)) name[0] = '\0';
    return str_from_cstr(name);
}

ErrCode rest_allows_found(RestCall *call, const StoreFound *found, Err *err)
{
    char name[BUCKET_NAME_MAX + 1];
    Str bucket = bucket_of(call, found->bucket, name);
    ErrCode code = auth_allows_file(&call->identity, call->route->rights, bucket, found->key, err);
    if (code == OK || auth_sees_file(&call->identity, bucket, found->key)) return code;
    err_clear(err);
    return err_set(err, ERR_NOT_FOUND, "there is no such file");
}

ErrCode rest_allows_id(RestCall *call, FileId file, Err *err)
{
    const Mutation *m = &call->mutation;
    StoreFound found;
    bool known = false;
    if (auth_allows(&call->identity, call->route->rights, NULL) == OK) return OK;
    if (call->loop->reader == NULL)
        TRY(service_reader_open(call->service, &call->loop->reader, err));
    ErrCode code = service_find_id(call->loop->reader, file, NULL, &found, err);
    if (code == OK) return rest_allows_found(call, &found, err);
    /* Where only a delete marker is left, of which the row tells the name. */
    if (code == ERR_NOT_FOUND && found.key.len > 0 && found.bucket != BUCKET_UID_SYSTEM) {
        err_clear(err);
        return rest_allows_found(call, &found, err);
    }
    if (code != ERR_NOT_FOUND || !m->has_request) return code;
    err_clear(err);
    TRY(service_knows_request(call->loop->reader, m->request,
                              clock_wall_ms(call->rest->options.clock), &known, err));
    return known ? OK : err_set(err, ERR_NOT_FOUND, "there is no such file");
}

/* A change that cannot be told from its repeat: who sends an Idempotency-Key counts on it. */
static ErrCode refuse_unkept(RestCall *call, Err *err)
{
    HttpMethod method = http_request_method(call->req);
    if (method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD) return OK;
    if ((call->route->about.params & BIT(PARAM_IDEMPOTENCY_KEY)) != 0) return OK;
    if (http_request_header(call->req, STR("idempotency-key")).ptr == NULL) return OK;
    return err_set(err, ERR_NOT_IMPLEMENTED,
                   "Idempotency-Key is kept for changes of one file only; send this without it");
}

/* Clients of resumable uploads that cannot send PATCH send POST, and say what they mean. */
static HttpMethod meant_method(RestCall *call, bool upload)
{
    HttpMethod method = http_request_method(call->req);
    Str meant = http_request_header(call->req, STR("x-http-method-override"));
    if (!upload || method != HTTP_METHOD_POST || meant.ptr == NULL) return method;
    if (str_eq(meant, STR("PATCH"))) return HTTP_METHOD_PATCH;
    if (str_eq(meant, STR("DELETE"))) return HTTP_METHOD_DELETE;
    return str_eq(meant, STR("HEAD")) ? HTTP_METHOD_HEAD : method;
}

static ErrCode find_route(RestCall *call, Err *err)
{
    HttpRequest *req = call->req;
    Str path = http_request_path(req);
    bool upload = str_starts_with(path, STR("/v1/uploads"));
    HttpMethod method = meant_method(call, upload);
    /* The protocol wants it in each answer, whatever that is. */
    if (upload) http_header_add(req, "Tus-Resumable", STR("1.0.0"));
    bool versioned = str_starts_with(path, STR("/v1/")) || str_eq(path, STR("/v1"));
    if (versioned && !(upload && method == HTTP_METHOD_OPTIONS)) TRY(rest_identify(call, err));
    ErrCode code = http_route(rest_routes, rest_route_count, method, path, http_request_arena(req),
                              &call->match, err);
    if (code == ERR_METHOD) http_header_add(req, "Allow", str_from_cstr(call->match.allow));
    if (code == ERR_NO_ROUTE) {
        return err_set(err, code,
                       "there is nothing at this address; files are at "
                       "/v1/buckets/BUCKET/files/KEY");
    }
    if (code != OK) return code;
    call->route = call->match.route->row;
    TRY(check_rights(call, err));
    TRY(rest_audit_allows(call, err));
    return refuse_unkept(call, err);
}

/* One more request that takes memory for as long as its client likes? What tells of the server's
 * health is answered in any case. */
static ErrCode admit(const RestCall *call, Err *err)
{
    uint64_t most = call->rest->options.requests_max;
    if (call->route->op == REST_OP_ADMIN || most == 0) return OK;
    if (http_server_requests(http_request_server(call->req)) <= most) return OK;
    return err_set(err, ERR_BUSY,
                   "%" PRIu64 " requests are under way, as many as there is memory for; try again",
                   most);
}

static ErrCode find_service(RestCall *call, Err *err)
{
    TRY(admit(call, err));
    Service *service = atomic_load_explicit(&call->rest->service, memory_order_acquire);
    if (service == NULL || !service_ready(service)) {
        return err_set(err, ERR_NOT_READY, "the server is starting; /readyz tells how far it is");
    }
    call->service = service;
    return OK;
}

ErrCode rest_require(RestCall *call, unsigned class, Err *err)
{
    if ((call->route->about.params & BIT(PARAM_REQUIRE)) == 0) return OK;
    Str wanted = http_request_header(call->req, STR("holdfast-require"));
    if (wanted.ptr == NULL) return OK;
    if (service_durability(call->service, class).copies == 0) return OK; /* no file is of it */
    return service_require(call->service, class, wanted, &call->mutation.require_synced, err);
}

void rest_on_request(void *ctx, HttpRequest *req)
{
    Rest *rest = ctx;
    RestCall *call = arena_alloc(http_request_arena(req), sizeof *call);
    if (call == NULL) {
        http_respond_error(req, ERR_NO_MEMORY, NULL);
        return;
    }
    call->rest = rest;
    call->loop = &rest->loops[loop_index(http_request_loop(req))];
    call->req = req;
    call->route = &row_none;
    call->start_ns = clock_boot_ns(rest->options.clock);
    mutation_init(&call->mutation, MUTATION_PUT);
    buf_init(&call->attrs, ATTRS_MAX);
    buf_init(&call->body, INLINE_MAX);
    rest_metrics_begin();
    http_request_own(req, call, NULL, on_end);
    if (rest_cors(call)) return;
    Err err = {0};
    ErrCode code = find_route(call, &err);
    if (code == OK && call->route->needs_store) code = find_service(call, &err);
    /* Whichever class the file is of, none has more copies; that one's are looked at where it is
     * known, and once more where the change is decided. */
    if (code == OK) code = rest_require(call, PLACE_CLASS_STANDARD, &err);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        call->route->run(call);
}
