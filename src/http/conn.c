#include "http/http_priv.h"

#include "base/log.h"
#include <inttypes.h>
#include <string.h>

#define BUSY_EXTRA 64 /* connections beyond the maximum that are told so */

static Conn *conn_of(Tcp *tcp)
{
    return (Conn *)tcp;
}

static void conn_check(const Conn *conn)
{
    ASSERT((conn->state == CONN_SECURE || conn->state == CONN_IDLE || conn->state == CONN_LINGER ||
            conn->state == CONN_CLOSING) ||
           conn->req != NULL);
    if (conn->req != NULL) {
        const HttpRequest *req = conn->req;
        ASSERT(req->conn == conn);
        ASSERT(req->in_base <= req->in_pos && req->in_pos <= req->in_len);
        ASSERT(req->in_len <= INPUT_SIZE);
    }
}

/* ---- requests from the loop's pool ---- */

static HttpRequest *request_take(Conn *conn)
{
    HttpLoop *loop = conn->loop;
    HttpRequest *req = loop->free_requests;
    if (req != NULL) {
        loop->free_requests = req->next_free;
        loop->free_count--;
    } else {
        req = mem_new(sizeof *req);
        arena_init(&req->arena, HTTP_REQUEST_ARENA_MAX);
        buf_init(&req->headers, HEADERS_OUT_MAX);
    }
    req->conn = conn;
    req->loop = loop;
    return req;
}

/* Back to what a new request is, but for the input and the memory that is kept. */
static void request_reset(HttpRequest *req)
{
    Conn *conn = req->conn;
    HttpLoop *loop = req->loop;
    Arena arena = req->arena;
    Buf headers = req->headers;
    memset(req, 0, offsetof(HttpRequest, head));
    memset((uint8_t *)req + offsetof(HttpRequest, id), 0,
           offsetof(HttpRequest, in) - offsetof(HttpRequest, id));
    req->conn = conn;
    req->loop = loop;
    req->arena = arena;
    req->headers = headers;
    arena_reset(&req->arena);
    buf_clear(&req->headers);
    http_head_init(&req->head);
}

static void request_free(HttpRequest *req)
{
    arena_deinit(&req->arena);
    buf_deinit(&req->headers);
    mem_free(req);
}

static void request_release(HttpRequest *req)
{
    HttpLoop *loop = req->loop;
    if (loop->free_count == REQUESTS_KEPT) { /* a burst is over: its memory goes back */
        request_free(req);
        return;
    }
    request_reset(req);
    req->conn = NULL;
    req->next_free = loop->free_requests;
    loop->free_requests = req;
    loop->free_count++;
}

void http_conn_free_pool(HttpLoop *loop)
{
    while (loop->free_requests != NULL) {
        HttpRequest *req = loop->free_requests;
        loop->free_requests = req->next_free;
        request_free(req);
    }
    loop->free_count = 0;
}

/* ---- the connection's life ---- */

static void conn_set_deadline(Conn *conn, uint32_t timeout_ms)
{
    conn->deadline_ms = loop_now_ms(conn->loop->loop) + timeout_ms;
}

/* Frees conn once nothing refers to it. */
static void conn_maybe_free(Conn *conn)
{
    if (!conn->tcp_closed || conn->req != NULL || conn->running || conn->soon_posted) return;
    HttpServer *server = conn->loop->server;
    if (conn->prev != NULL) conn->prev->next = conn->next;
    if (conn->next != NULL) conn->next->prev = conn->prev;
    if (conn->loop->conns == conn) conn->loop->conns = conn->next;
    mem_free(conn);
    http_conn_ended(server);
}

static void on_tcp_closed(Tcp *tcp)
{
    Conn *conn = conn_of(tcp);
    conn->tcp_closed = true;
    conn_maybe_free(conn);
}

/* Closes a connection that has no request in a handler's hands. */
static void conn_close(Conn *conn)
{
    conn->state = CONN_CLOSING;
    tcp_close(&conn->tcp);
    if (conn->req != NULL) {
        request_release(conn->req);
        conn->req = NULL;
    }
}

void http_conn_lost(Conn *conn, bool reset)
{
    if (conn->state == CONN_CLOSING) return;
    HttpRequest *req = conn->req;
    bool owned = conn->state == CONN_REQUEST;
    if (!owned) {
        conn_close(conn);
        return;
    }
    conn->state = CONN_CLOSING;
    if (reset)
        tcp_reset(&conn->tcp);
    else
        tcp_close(&conn->tcp);
    req->gone = true;
    if (req->answer >= ANSWER_ENDED) {
        req->answer = ANSWER_SENT; /* as far as it ever will be */
        http_conn_soon(conn);
        return;
    }
    if (req->written_fn != NULL) {
        req->written_due = true;
        req->written_code = ERR_ABORTED;
    }
    if (!req->body_done) http_body_fail(req, ERR_INCOMPLETE_BODY);
    http_conn_soon(conn); /* calls on_gone() and what waits */
}

static void linger(Conn *conn)
{
    request_release(conn->req);
    conn->req = NULL;
    if (conn->eof) {
        conn_close(conn);
        return;
    }
    conn->state = CONN_LINGER;
    conn_set_deadline(conn, conn->loop->server->options.linger_timeout_ms);
    tcp_shutdown(&conn->tcp);
    tcp_read(&conn->tcp);
}

/* Makes room for the next request: what was pipelined becomes its beginning. */
static void next_request(Conn *conn)
{
    HttpRequest *req = conn->req;
    const HttpServerOptions *options = &conn->loop->server->options;
    size_t rest = req->in_len - req->in_pos;
    if (rest > 0) memmove(req->in, req->in + req->in_pos, rest);
    if (rest > 0) {
        request_reset(req);
        req->in_len = rest;
        conn->state = CONN_HEAD;
        conn_set_deadline(conn, options->header_timeout_ms);
        return;
    }
    request_release(req);
    conn->req = NULL;
    conn->state = CONN_IDLE;
    conn_set_deadline(conn, options->idle_timeout_ms);
    if (conn->eof || atomic_load(&conn->loop->server->draining)) conn_close(conn);
}

void http_conn_answered(Conn *conn)
{
    HttpRequest *req = conn->req;
    ASSERT(req->answer == ANSWER_SENT);
    LOG(DEBUG, "http.answered", "request_id=%s method=%s path=" LOG_STR " status=%d bytes=%" PRIu64,
        req->id, http_method_name(req->head.method), LOG_ARG(req->head.path), req->status,
        req->written);
    void (*on_end)(HttpRequest *, void *) = req->on_end;
    req->on_gone = NULL;
    req->on_end = NULL;
    if (on_end != NULL) on_end(req, req->ctx);
    if (req->counted) atomic_fetch_sub(&conn->loop->server->requests, 1);
    req->counted = false;
    http_respond_free(req);
    http_body_end(req);
    if (conn->state == CONN_CLOSING) {
        ASSERT(conn->running); /* which frees conn in its end */
        request_release(req);
        conn->req = NULL;
    } else if (req->close_after) {
        linger(conn);
    } else if (!req->body_done) {
        conn->state = CONN_DRAIN;
        conn->drained = 0;
        conn_set_deadline(conn, conn->loop->server->options.linger_timeout_ms);
    } else {
        next_request(conn);
    }
}

/* ---- progress ---- */

/* Hands a request, whose head was read or refused, to the answering side. */
static void begin_request(Conn *conn)
{
    uint8_t id[16];
    HttpRequest *req = conn->req;
    rng_bytes(&conn->loop->rng, id, sizeof id);
    hex_encode(id, sizeof id, req->id);
    conn->state = CONN_REQUEST;
    req->close_after = !req->head.keep_alive;
}

/* Answers by itself and closes: nothing after this can be trusted. */
static void refuse_request(Conn *conn, const HttpRefusal *refusal)
{
    HttpRequest *req = conn->req;
    begin_request(conn);
    req->close_after = true;
    req->body_done = true;
    req->head.method = HTTP_METHOD_OTHER;
    http_count(HTTP_COUNT_REFUSED, 1);
    const HttpServerOptions *options = &conn->loop->server->options;
    if (options->on_refused != NULL)
        options->on_refused(req, refusal->status, refusal->code, refusal->detail);
    else
        http_respond_problem(req, refusal->status, refusal->code, refusal->detail);
}

static bool step_head(Conn *conn)
{
    HttpRequest *req = conn->req;
    ASSERT(req != NULL);
    HttpRefusal refusal;
    size_t used;
    switch (http_head_parse(&req->head, (const char *)req->in, req->in_len, &used, &refusal)) {
    case HTTP_PARSE_MORE:
        if (conn->eof) conn_close(conn);
        return false;
    case HTTP_PARSE_FAILED: refuse_request(conn, &refusal); return true;
    case HTTP_PARSE_DONE: break;
    }
    req->in_base = used;
    req->in_pos = used;
    begin_request(conn);
    http_body_begin(req);
    HttpServer *server = conn->loop->server;
    atomic_fetch_add(&server->requests, 1);
    req->counted = true;
    server->options.on_request(server->options.ctx, req);
    return true;
}

static bool step_request(Conn *conn)
{
    HttpRequest *req = conn->req;
    if (req->answer == ANSWER_SENT) {
        http_conn_answered(conn);
        return true;
    }
    if (req->gone && req->on_gone != NULL) {
        void (*on_gone)(HttpRequest *, void *) = req->on_gone;
        req->on_gone = NULL;
        on_gone(req, req->ctx);
        return true;
    }
    if (req->written_due && req->answer == ANSWER_BEGUN) {
        HttpWrittenFn fn = req->written_fn;
        req->written_due = false;
        req->written_fn = NULL;
        req->turn_bytes = 0;
        fn(req, req->ctx, req->written_code);
        return true;
    }
    if (req->answer == ANSWER_NONE || req->answer == ANSWER_BEGUN) return http_body_step(req);
    return false;
}

static bool step_drain(Conn *conn)
{
    HttpRequest *req = conn->req;
    ASSERT(req != NULL);
    uint64_t before = req->in_len - req->in_pos;
    http_body_drop(req);
    conn->drained += before;
    if (req->body_done && req->body_code == OK) {
        next_request(conn);
        return true;
    }
    if (req->body_code != OK || conn->eof || conn->drained > DRAIN_MAX + INPUT_SIZE) {
        linger(conn);
        return true;
    }
    return false;
}

static bool conn_step(Conn *conn)
{
    conn_check(conn);
    switch (conn->state) {
    case CONN_HEAD: return step_head(conn);
    case CONN_REQUEST: return step_request(conn);
    case CONN_DRAIN: return step_drain(conn);
    case CONN_CLOSING: return conn->req != NULL && step_request(conn);
    case CONN_SECURE:
    case CONN_IDLE:
    case CONN_LINGER: return false;
    }
    return false;
}

/* The free part of the input; 0 bytes if a body or pipelined requests have filled it. */
static size_t input_room(HttpRequest *req)
{
    if (req->in_pos == req->in_len) req->in_pos = req->in_len = req->in_base;
    return INPUT_SIZE - req->in_len;
}

void http_conn_run(Conn *conn)
{
    if (conn->running) return;
    conn->running = true;
    while (conn_step(conn)) {}
    conn->running = false;
    if (conn->state == CONN_CLOSING) {
        conn_maybe_free(conn);
    } else if (!conn->tcp.reading && !conn->eof) {
        uint8_t *data;
        size_t capacity;
        if (conn->req == NULL || http_body_room(conn->req, &data, &capacity) ||
            input_room(conn->req) > 0)
            tcp_read(&conn->tcp);
    }
}

static void run_soon(void *arg)
{
    Conn *conn = arg;
    HttpRequest *req = conn->req;
    conn->soon_posted = false;
    if (req != NULL && req->turn_over) {
        req->turn_over = false;
        req->written_due = true;
    }
    http_conn_run(conn);
}

void http_conn_next_turn(Conn *conn)
{
    if (conn->soon_posted) return;
    conn->soon_posted = true;
    conn->soon = (LoopTask){.fn = run_soon, .arg = conn};
    loop_post(conn->loop->loop, &conn->soon);
}

void http_conn_soon(Conn *conn)
{
    if (!conn->running) http_conn_next_turn(conn);
}

/* ---- what the socket says ---- */

static void on_room(Tcp *tcp, uint8_t **data, size_t *capacity)
{
    Conn *conn = conn_of(tcp);
    conn->direct = false;
    if (conn->state == CONN_LINGER) {
        *data = conn->loop->scratch;
        *capacity = SCRATCH_SIZE;
        return;
    }
    if (conn->req == NULL) conn->req = request_take(conn);
    HttpRequest *req = conn->req;
    if (conn->state == CONN_REQUEST && http_body_room(req, data, capacity)) {
        conn->direct = true;
        return;
    }
    *capacity = input_room(req);
    *data = req->in + req->in_len;
}

static void on_data(Tcp *tcp, size_t len)
{
    Conn *conn = conn_of(tcp);
    http_count(HTTP_COUNT_BYTES_IN, len);
    if (conn->state == CONN_LINGER) return;
    if (conn->state == CONN_IDLE) {
        conn->state = CONN_HEAD;
        conn_set_deadline(conn, conn->loop->server->options.header_timeout_ms);
    }
    HttpRequest *req = conn->req;
    if (!conn->direct) req->in_len += len;
    if (conn->state == CONN_REQUEST) {
        req->progress_ms = loop_now_ms(conn->loop->loop);
        req->received += len;
        if (conn->direct) http_body_arrived(req, len);
    }
    http_conn_run(conn);
}

static void on_eof(Tcp *tcp)
{
    Conn *conn = conn_of(tcp);
    conn->eof = true;
    if (conn->state <= CONN_IDLE || conn->state == CONN_LINGER)
        conn_close(conn);
    else
        http_conn_run(conn);
}

static void on_broken(Tcp *tcp, int errno_value)
{
    UNUSED(errno_value); /* clients come and go */
    http_conn_lost(conn_of(tcp), false);
}

static void on_written(Tcp *tcp, int errno_value)
{
    Conn *conn = conn_of(tcp);
    if (conn->state != CONN_REQUEST) return;
    if (errno_value != 0) {
        http_conn_lost(conn, false);
        return;
    }
    http_respond_written(conn->req);
    http_conn_run(conn);
}

static void refuse_full(Conn *conn)
{
    static const HttpRefusal refusal = {503, ERR_BUSY, "there are too many connections; try again"};
    conn->req = request_take(conn);
    refuse_request(conn, &refusal);
    http_conn_run(conn);
}

static void on_secured(Tcp *tcp)
{
    Conn *conn = conn_of(tcp);
    conn->state = CONN_IDLE;
    conn_set_deadline(conn, conn->loop->server->options.idle_timeout_ms);
    if (conn->full) refuse_full(conn);
}

static void on_plain(Tcp *tcp)
{
    static const HttpRefusal refusal = {
        400, ERR_BAD_HTTP, "this port speaks TLS: the address begins with https://, not http://"};
    Conn *conn = conn_of(tcp);
    conn->req = request_take(conn);
    refuse_request(conn, &refusal);
    http_conn_run(conn);
}

static const TcpOps conn_ops = {
    .room = on_room,
    .data = on_data,
    .end = on_eof,
    .broken = on_broken,
    .written = on_written,
    .closed = on_tcp_closed,
    .secured = on_secured,
    .plain = on_plain,
};

void http_conn_accept(void *ctx, TcpListener *listener)
{
    HttpLoop *loop = ctx;
    HttpServer *server = loop->server;
    Conn *conn = mem_new(sizeof *conn);
    conn->loop = loop;
    conn->next = loop->conns;
    if (conn->next != NULL) conn->next->prev = conn;
    loop->conns = conn;
    size_t before = http_conn_begun(server);
    if (tcp_accept(listener, &conn_ops, &conn->tcp, NULL) != OK) {
        conn->state = CONN_CLOSING; /* logged by tcp_accept(); on_tcp_closed() follows */
        return;
    }
    if (before >= server->options.connections_max + BUSY_EXTRA) {
        conn_close(conn);
        return;
    }
    conn->full = before >= server->options.connections_max;
    if (loop->tls != NULL) {
        conn->state = CONN_SECURE;
        if (tcp_secure(&conn->tcp, loop->tls, NULL) != OK) {
            conn_close(conn);
            return;
        }
        conn_set_deadline(conn, server->options.header_timeout_ms);
    } else if (conn->full) {
        refuse_full(conn);
        return;
    } else {
        conn->state = CONN_IDLE;
        conn_set_deadline(conn, server->options.idle_timeout_ms);
    }
    tcp_read(&conn->tcp);
}

/* ---- time ---- */

/* Is a pending write stuck, or too slow? */
static bool write_late(HttpRequest *req, uint64_t now_ms)
{
    const HttpServerOptions *options = &req->loop->server->options;
    if (!req->conn->tcp.writing) return false;
    size_t unsent = tcp_unsent(&req->conn->tcp);
    if (unsent != req->unsent) {
        req->unsent = unsent;
        req->unsent_ms = now_ms;
    }
    return now_ms - req->unsent_ms > options->io_timeout_ms || now_ms > req->write_end_ms;
}

/* What there is too little of for slow clients. */
typedef struct {
    bool crowded;   /* connections or requests */
    bool exhausted; /* buffers for what is sent to us */
} Scarcity;

static Scarcity look_for_scarcity(const HttpServer *server)
{
    bool crowded = atomic_load(&server->requests) > server->options.requests_max / 4 * 3 ||
                   atomic_load(&server->connections) * 16 > server->options.connections_max * 15;
    return (Scarcity){crowded, buffers_exhausted(server->options.buffers, BUFFERS_IN)};
}

/* Is it the client that is waited for, and slower than one may be that holds what others need? */
static bool holds_up(HttpRequest *req, uint64_t now_ms, Scarcity scarce)
{
    const HttpServerOptions *options = &req->loop->server->options;
    uint64_t span_ms = MAX(options->io_timeout_ms / CROWDED_PART, 1U);
    bool sends = req->ask != ASK_NONE && !req->body_done && !req->waiting;
    bool matters = scarce.crowded || (scarce.exhausted && sends && req->buffer != NULL);
    if (!matters || !(sends || req->conn->tcp.writing)) {
        req->window_ms = 0;
        return false;
    }
    uint64_t bytes = req->received + req->written - MIN(tcp_unsent(&req->conn->tcp), req->written);
    if (req->window_ms != 0 && now_ms - req->window_ms < span_ms) return false;
    bool slow = req->window_ms != 0 &&
                (bytes - MIN(bytes, req->window_bytes)) * 1000 <
                    options->rate_crowded_bytes_s * (now_ms - req->window_ms);
    req->window_ms = now_ms;
    req->window_bytes = bytes;
    return slow;
}

static void tick_request(Conn *conn, uint64_t now_ms, Scarcity scarce)
{
    bool slow = holds_up(conn->req, now_ms, scarce);
    if (write_late(conn->req, now_ms) || (slow && conn->tcp.writing)) {
        http_conn_lost(conn, true);
        return;
    }
    ErrCode late_code = http_body_late(conn->req, now_ms);
    if (late_code == OK && slow) late_code = ERR_REQUEST_TIMEOUT;
    if (late_code == OK) return;
    http_body_fail(conn->req, late_code);
    http_conn_run(conn);
}

static void tick_conn(Conn *conn, uint64_t now_ms, Scarcity scarce)
{
    uint64_t idle_ms = conn->loop->server->options.idle_timeout_ms;
    static const HttpRefusal slow_head = {408, ERR_REQUEST_TIMEOUT,
                                          "the headers did not arrive in time"};
    bool late = now_ms >= conn->deadline_ms;
    switch (conn->state) {
    case CONN_IDLE:
        late = late || (scarce.crowded && now_ms + idle_ms - idle_ms / 10 >= conn->deadline_ms);
        if (late) conn_close(conn);
        break;
    case CONN_SECURE:
    case CONN_LINGER:
    case CONN_DRAIN:
        if (late) conn_close(conn);
        break;
    case CONN_HEAD:
        if (!late) break;
        refuse_request(conn, &slow_head);
        http_conn_run(conn);
        break;
    case CONN_REQUEST: tick_request(conn, now_ms, scarce); break;
    case CONN_CLOSING: break;
    }
}

void http_conn_tick(void *arg)
{
    HttpLoop *loop = arg;
    uint64_t now_ms = loop_now_ms(loop->loop);
    Scarcity scarce = look_for_scarcity(loop->server);
    Conn *next;
    for (Conn *conn = loop->conns; conn != NULL; conn = next) {
        next = conn->next; /* only conn itself may be freed by its tick */
        tick_conn(conn, now_ms, scarce);
    }
}

void http_conn_close_all(HttpLoop *loop, bool idle_only)
{
    Conn *next;
    for (Conn *conn = loop->conns; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->state <= CONN_IDLE)
            conn_close(conn);
        else if (!idle_only)
            http_conn_lost(conn, false);
    }
}
