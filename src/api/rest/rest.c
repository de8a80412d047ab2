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
    for (size_t i = 0; i < options->loop_count; i++)
        rng_init_system(&rest->loops[i].rng);
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
    for (size_t i = 0; i < rest->options.loop_count; i++)
        ASSERT(rest->loops[i].reader == NULL);
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
    if (atomic_load_explicit(&call->rest->access_log, memory_order_relaxed)) log_access(call, ns);
    mutation_deinit(&call->mutation);
    buf_deinit(&call->attrs);
    buf_deinit(&call->body);
    rest_upload_free(call->upload);
    rest_download_free(call->download);
    rest_delete_many_free(call->delete_many);
}

/* Before the route is looked up for all of /v1, so that without a key
 * everything there looks the same. */
ErrCode rest_identify(RestCall *call, Err *err)
{
    AuthRequest shown = {.authorization = http_request_header(call->req, STR("authorization"))};
    return auth_identify(&call->rest->options.keys, &shown, &call->identity, err);
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

static ErrCode find_route(RestCall *call, Err *err)
{
    HttpRequest *req = call->req;
    Str path = http_request_path(req);
    if (str_starts_with(path, STR("/v1/")) || str_eq(path, STR("/v1")))
        TRY(rest_identify(call, err));
    ErrCode code = http_route(rest_routes, rest_route_count, http_request_method(req), path,
                              http_request_arena(req), &call->match, err);
    if (code == ERR_METHOD) http_header_add(req, "Allow", str_from_cstr(call->match.allow));
    if (code == ERR_NO_ROUTE) {
        return err_set(err, code,
                       "there is nothing at this address; files are at "
                       "/v1/buckets/BUCKET/files/KEY");
    }
    if (code != OK) return code;
    call->route = call->match.route->row;
    if (call->route->rights != 0) TRY(auth_allows(&call->identity, call->route->rights, err));
    return refuse_unkept(call, err);
}

static ErrCode find_service(RestCall *call, Err *err)
{
    Service *service = atomic_load_explicit(&call->rest->service, memory_order_acquire);
    if (service == NULL || !service_ready(service)) {
        return err_set(err, ERR_NOT_READY, "the server is starting; /readyz tells how far it is");
    }
    call->service = service;
    return OK;
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
    Err err = {0};
    ErrCode code = find_route(call, &err);
    if (code == OK && call->route->needs_store) code = find_service(call, &err);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        call->route->run(call);
}
