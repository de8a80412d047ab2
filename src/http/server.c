#include "http/server.h"

#include "base/log.h"
#include "base/metric.h"
#include "http/http_priv.h"
#include <inttypes.h>
#include <string.h>

#define LOOPS_MAX 64
#define TICK_MAX_MS 500

/* ---- metrics: of all servers of the process ---- */

static Metric metric_connections = {.kind = METRIC_GAUGE,
                                    .name = "holdfast_http_connections",
                                    .help = "Open connections.",
                                    .labels = ""};
/* By HttpCount. */
static Metric metric_counts[] = {
    {.kind = METRIC_COUNTER,
     .name = "holdfast_http_received_bytes_total",
     .help = "Bytes read from clients.",
     .labels = ""},
    {.kind = METRIC_COUNTER,
     .name = "holdfast_http_sent_bytes_total",
     .help = "Bytes written to clients.",
     .labels = ""},
    {.kind = METRIC_COUNTER,
     .name = "holdfast_http_refused_total",
     .help = "Requests refused before they reached a handler.",
     .labels = ""},
};

static void register_metrics(void)
{
    static atomic_flag registered = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&registered)) return;
    metric_register(&metric_connections);
    for (size_t i = 0; i < ARRAY_LEN(metric_counts); i++)
        metric_register(&metric_counts[i]);
    tls_register_metrics();
}

void http_count(HttpCount what, uint64_t add)
{
    metric_add(&metric_counts[what], (int64_t)add);
}

/* ---- the server ---- */

HttpServerOptions http_server_options(void)
{
    return (HttpServerOptions){
        .name = "http",
        .connections_max = 10000,
        .requests_max = 10000,
        .collect_max_bytes = 64 * MIB,
        .answer_max_bytes = 256 * MIB,
        .header_timeout_ms = 10000,
        .idle_timeout_ms = 60000,
        .io_timeout_ms = 60000,
        .linger_timeout_ms = 5000,
        .rate_min_bytes_s = 1024,
        .rate_crowded_bytes_s = 16 * 1024,
        .clock = clock_real(),
    };
}

/* A buffer came back to the pool: any thread. */
static void wake_waiting(void *ctx)
{
    HttpLoop *loop = ctx;
    if (atomic_exchange(&loop->buffers_posted, true)) return;
    loop_post(loop->loop, &loop->buffers_task);
}

static uint32_t tick_ms(const HttpServerOptions *options)
{
    uint32_t least = MIN(MIN(options->header_timeout_ms, options->idle_timeout_ms),
                         MIN(options->io_timeout_ms, options->linger_timeout_ms));
    return MAX(MIN(least / 4, (uint32_t)TICK_MAX_MS), (uint32_t)5);
}

typedef struct {
    HttpLoop *loop;
    ErrCode code;
    Err *err;
} OpenCall;

static void open_loop(void *arg)
{
    OpenCall *call = arg;
    HttpLoop *loop = call->loop;
    HttpServer *server = loop->server;
    call->code = tcp_listen(loop->loop, &server->address, http_conn_accept, loop, &loop->listener,
                            call->err);
    if (call->code != OK) return;
    uint32_t every = tick_ms(&server->options);
    rng_init_system(&loop->rng);
    loop->tick = loop_timer_new(loop->loop, every, every, http_conn_tick, loop);
    loop->buffers_task = (LoopTask){.fn = http_body_buffers_free, .arg = loop};
    loop->watcher = buffers_watch(server->options.buffers, wake_waiting, loop);
}

static ErrCode check_options(const HttpServerOptions *options, Err *err)
{
    if (options->loop_count < 1 || options->loop_count > LOOPS_MAX)
        return err_set(err, ERR_CONFIG, "a server runs on 1 to %d loops", LOOPS_MAX);
    if (options->header_timeout_ms == 0 || options->idle_timeout_ms == 0 ||
        options->io_timeout_ms == 0 || options->linger_timeout_ms == 0 ||
        options->rate_min_bytes_s == 0 || options->connections_max == 0)
        return err_set(err, ERR_CONFIG, "the limits of a server are at least 1");
    ASSERT(options->on_request != NULL && options->buffers != NULL && options->clock != NULL);
    return OK;
}

ErrCode http_server_open(const HttpServerOptions *options, HttpServer **out, Err *err)
{
    TcpAddress address;
    TRY(check_options(options, err));
    TRY(tcp_address_parse(options->address, &address, err));
    TRY(tcp_address_claim(&address, err));
    register_metrics();
    HttpServer *server = mem_new(sizeof *server);
    server->options = *options;
    server->address = address;
    server->loops = mem_new_array(options->loop_count, sizeof *server->loops);
    for (size_t i = 0; i < options->loop_count; i++)
        server->loops[i].tls = tls_context_ref(options->tls);
    server->empty = queue_new(1);
    for (size_t i = 0; i < options->loop_count; i++) {
        OpenCall call = {.loop = &server->loops[i], .err = err};
        call.loop->server = server;
        call.loop->loop = options->loops[i];
        loop_call(call.loop->loop, open_loop, &call);
        if (call.code != OK) {
            http_server_close(server);
            return call.code;
        }
    }
    char text[TCP_ADDRESS_SIZE];
    tcp_address_format(&address, text);
    LOG(INFO, "http.listening", "door=%s address=%s tls=%s loops=%zu", options->name, text,
        options->tls != NULL ? "yes" : "no", options->loop_count);
    *out = server;
    return OK;
}

uint16_t http_server_port(const HttpServer *server)
{
    return tcp_address_port(&server->address);
}

size_t http_server_connections(const HttpServer *server)
{
    return atomic_load(&server->connections);
}

size_t http_server_requests(const HttpServer *server)
{
    return atomic_load(&server->requests);
}

size_t http_conn_begun(HttpServer *server)
{
    metric_add(&metric_connections, 1);
    return atomic_fetch_add(&server->connections, 1);
}

void http_conn_ended(HttpServer *server)
{
    metric_add(&metric_connections, -1);
    size_t before = atomic_fetch_sub(&server->connections, 1);
    ASSERT(before > 0);
    if (before > 1) return;
    /* Full means that the waiting thread has its wake-up already; it looks at the count itself. */
    ErrCode pushed = queue_push(server->empty, server);
    ASSERT(pushed == OK || pushed == ERR_BUSY);
}

static void drain_loop(void *arg)
{
    HttpLoop *loop = arg;
    tcp_listener_close(loop->listener);
    loop->listener = NULL;
    http_conn_close_all(loop, true);
}

static void each_loop(HttpServer *server, LoopFn fn)
{
    for (size_t i = 0; i < server->options.loop_count; i++)
        if (server->loops[i].tick != NULL) loop_call(server->loops[i].loop, fn, &server->loops[i]);
}

typedef struct {
    HttpLoop *loop;
    TlsContext *tls;
} TlsCall;

static void set_tls(void *arg)
{
    TlsCall *call = arg;
    tls_context_unref(call->loop->tls);
    call->loop->tls = tls_context_ref(call->tls);
}

void http_server_set_tls(HttpServer *server, TlsContext *tls)
{
    for (size_t i = 0; i < server->options.loop_count; i++) {
        TlsCall call = {.loop = &server->loops[i], .tls = tls};
        ASSERT(call.loop->tls != NULL && tls != NULL);
        loop_call(call.loop->loop, set_tls, &call);
    }
}

/* Waits for the last connection to end; timeout_ms -1 for ever. */
static bool wait_empty(HttpServer *server, int64_t timeout_ms)
{
    uint64_t start = uv_hrtime() / 1000000;
    while (atomic_load(&server->connections) > 0) {
        int wait_ms = 1000;
        if (timeout_ms >= 0) {
            int64_t left = timeout_ms - (int64_t)(uv_hrtime() / 1000000 - start);
            if (left <= 0) return false;
            wait_ms = (int)MIN(left, (int64_t)1000);
        }
        void *item;
        (void)queue_pop_wait(server->empty, &item, 1, wait_ms); /* the count decides */
    }
    return true;
}

bool http_server_drain(HttpServer *server, uint32_t timeout_ms)
{
    atomic_store(&server->draining, true);
    each_loop(server, drain_loop);
    return wait_empty(server, timeout_ms);
}

static void close_connections(void *arg)
{
    HttpLoop *loop = arg;
    tcp_listener_close(loop->listener);
    loop->listener = NULL;
    http_conn_close_all(loop, false);
}

static void close_loop(void *arg)
{
    HttpLoop *loop = arg;
    ASSERT(loop->conns == NULL && loop->waiting_head == NULL);
    loop_timer_free(loop->tick);
    loop->tick = NULL;
    http_conn_free_pool(loop);
}

void http_server_close(HttpServer *server)
{
    if (server == NULL) return;
    atomic_store(&server->draining, true);
    each_loop(server, close_connections);
    (void)wait_empty(server, -1); /* true, or it would not have returned */
    for (size_t i = 0; i < server->options.loop_count; i++)
        if (server->loops[i].tick != NULL)
            buffers_unwatch(server->options.buffers, server->loops[i].watcher);
    each_loop(server, close_loop);
    for (size_t i = 0; i < server->options.loop_count; i++)
        tls_context_unref(server->loops[i].tls);
    queue_free(server->empty);
    mem_free(server->loops);
    mem_free(server);
}

/* ---- the request, seen by handlers ---- */

const HttpHead *http_request_head(const HttpRequest *req)
{
    return &req->head;
}

HttpMethod http_request_method(const HttpRequest *req)
{
    return req->head.method;
}

Str http_request_path(const HttpRequest *req)
{
    return req->head.path;
}

Str http_request_query(const HttpRequest *req)
{
    return req->head.query;
}

Str http_request_header(const HttpRequest *req, Str name)
{
    return http_head_find(&req->head, name);
}

Str http_request_id(const HttpRequest *req)
{
    return str_of(req->id, HTTP_REQUEST_ID_SIZE - 1);
}

Arena *http_request_arena(HttpRequest *req)
{
    return &req->arena;
}

Loop *http_request_loop(const HttpRequest *req)
{
    return req->loop->loop;
}

HttpServer *http_request_server(const HttpRequest *req)
{
    return req->loop->server;
}

Str http_request_peer(HttpRequest *req)
{
    Conn *conn = req->conn;
    if (conn->peer[0] == '\0') tcp_peer(&conn->tcp, conn->peer);
    return arena_dup(&req->arena, str_from_cstr(conn->peer));
}

bool http_request_is_secure(const HttpRequest *req)
{
    return req->conn->tcp.tls != NULL;
}

bool http_request_is_gone(const HttpRequest *req)
{
    return req->gone;
}

void http_request_own(HttpRequest *req, void *ctx, void (*on_gone)(HttpRequest *req, void *ctx),
                      void (*on_end)(HttpRequest *req, void *ctx))
{
    req->ctx = ctx;
    req->on_gone = on_gone;
    req->on_end = on_end;
}

void *http_request_ctx(const HttpRequest *req)
{
    return req->ctx;
}
