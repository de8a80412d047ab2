/* Bodies are taken from two places: first from what came into the input together with the head,
 * then, if the length is known, directly from the socket into the memory that the handler gets.
 * A chunked body always passes through the input, because its end is not known before it is seen
 * and what follows it is the next request. */
#include "http/http_priv.h"

#include "base/fault.h"
#include <stdio.h>
#include <string.h>

void http_body_begin(HttpRequest *req)
{
    if (req->head.chunked) {
        http_chunked_init(&req->chunked);
    } else {
        req->body_left = req->head.content_length;
        req->body_done = req->body_left == 0;
    }
    /* Of an empty body too: there are clients that keep the status line of an answer without it for
     * their next request on the connection, and then wait for ever. */
    bool announced = req->head.chunked || req->head.has_length;
    req->continue_due = req->head.expect_continue && announced;
}

/* ---- from the input ---- */

typedef enum {
    TAKE_MORE, /* the input is used up */
    TAKE_FULL, /* there is more than room for */
    TAKE_DONE,
    TAKE_FAILED
} Take;

static Take take_sized(HttpRequest *req, uint8_t *room, size_t capacity, size_t *got)
{
    size_t there = req->in_len - req->in_pos;
    size_t take = (size_t)MIN(MIN((uint64_t)there, req->body_left), (uint64_t)capacity);
    if (take > 0 && room != NULL) memcpy(room, req->in + req->in_pos, take);
    req->in_pos += take;
    req->body_left -= take;
    *got = take;
    if (req->body_left == 0) return TAKE_DONE;
    return take == capacity ? TAKE_FULL : TAKE_MORE;
}

static Take take_chunked(HttpRequest *req, uint8_t *room, size_t capacity, size_t *got)
{
    *got = 0;
    for (;;) {
        Str piece;
        size_t used;
        HttpRefusal refusal;
        const char *data = (const char *)req->in + req->in_pos;
        switch (http_chunked_next(&req->chunked, data, req->in_len - req->in_pos, &used, &piece,
                                  &refusal)) {
        case HTTP_CHUNK_MORE: req->in_pos += used; return TAKE_MORE;
        case HTTP_CHUNK_END: req->in_pos += used; return TAKE_DONE;
        case HTTP_CHUNK_FAILED:
            snprintf(req->body_detail, sizeof req->body_detail, "%s", refusal.detail);
            return TAKE_FAILED;
        case HTTP_CHUNK_DATA: {
            size_t take = MIN(piece.len, capacity - *got);
            if (take > 0 && room != NULL) memcpy(room + *got, piece.ptr, take);
            *got += take;
            http_chunked_unread(&req->chunked, piece.len - take);
            req->in_pos += used - (piece.len - take);
            if (take < piece.len) return TAKE_FULL;
        }
        }
    }
}

/* Moves up to capacity body bytes from the input to room (NULL: drops them). */
static Take take_input(HttpRequest *req, uint8_t *room, size_t capacity, size_t *got)
{
    *got = 0;
    if (req->body_done) return TAKE_DONE;
    Take result = req->head.chunked ? take_chunked(req, room, capacity, got)
                                    : take_sized(req, room, capacity, got);
    if (result == TAKE_DONE) req->body_done = true;
    if (result == TAKE_FAILED) http_body_fail(req, ERR_BAD_HTTP);
    return result;
}

void http_body_drop(HttpRequest *req)
{
    size_t got;
    if (req->body_code == OK)
        (void)take_input(req, NULL, SIZE_MAX, &got); /* the caller looks at body_done */
}

/* ---- telling the handler ---- */

static void uncharge(HttpRequest *req)
{
    if (req->collect_charged > 0)
        atomic_fetch_sub(&req->loop->server->collecting, req->collect_charged);
    req->collect_charged = 0;
}

static void tell_collected(HttpRequest *req, ErrCode code, Str body)
{
    req->ask = ASK_NONE;
    req->body_told = true;
    if (code != OK) {
        buf_deinit(&req->collected);
        uncharge(req);
    }
    req->collect_fn(req, req->ctx, code, body);
}

static void tell_read(HttpRequest *req, ErrCode code, bool last)
{
    Buffer *buffer = req->buffer;
    req->buffer = NULL;
    req->ask = ASK_NONE;
    req->body_told = last;
    bool dropped = code != OK && !req->keeps_partial;
    if (buffer != NULL && (dropped || buffer->len == 0)) {
        buffer_release(buffer);
        buffer = NULL;
    }
    req->read_fn(req, req->ctx, code, buffer, last);
}

static bool tell_failure(HttpRequest *req, ErrCode code)
{
    if (req->ask == ASK_COLLECT)
        tell_collected(req, code, (Str){NULL, 0});
    else
        tell_read(req, code, true);
    return true;
}

/* Tells a client that waits for it that its body is wanted. False: the connection is lost. */
static bool say_continue(HttpRequest *req)
{
    static const uv_buf_t interim = {.base = (char *)(uintptr_t) "HTTP/1.1 100 Continue\r\n\r\n",
                                     .len = 25};
    if (!req->continue_due) return true;
    req->continue_due = false;
    size_t sent = 0;
    if (req->in_pos < req->in_len || req->conn->tcp.writing) return true; /* it did not wait */
    ErrCode code = tcp_try_write(&req->conn->tcp, &interim, 1, &sent);
    if (code == OK && sent == interim.len) return true;
    http_conn_lost(req->conn, true);
    return false;
}

/* Nothing more can be done before more input comes. True if none will. */
static bool need_input(HttpRequest *req)
{
    if (req->conn->eof) return tell_failure(req, ERR_INCOMPLETE_BODY);
    return !say_continue(req);
}

/* ---- collect ---- */

/* Memory for a body that does not fit beside its head. */
static ErrCode collect_memory(HttpRequest *req)
{
    if (req->collected.max > 0) return OK;
    HttpServer *server = req->loop->server;
    size_t max = req->head.chunked ? req->collect_max : (size_t)req->body_left;
    if (fault_point("pool.take") != 0) return ERR_BUSY;
    size_t before = atomic_fetch_add(&server->collecting, max);
    req->collect_charged = max;
    if (before + max > server->options.collect_max_bytes) {
        uncharge(req);
        return ERR_BUSY;
    }
    buf_init(&req->collected, MAX(max, (size_t)1));
    if (!req->head.chunked && buf_reserve(&req->collected, max, NULL) != OK) return ERR_BUSY;
    return OK;
}

/* The whole body lies, or will lie, behind the head. */
static bool collect_in_place(HttpRequest *req)
{
    if (req->in_len - req->in_pos < req->body_left) return need_input(req);
    Str body = str_of(req->in + req->in_pos, (size_t)req->body_left);
    req->in_pos += body.len;
    req->in_base = req->in_pos; /* it stays until the request ends */
    req->body_left = 0;
    req->body_done = true;
    tell_collected(req, OK, body);
    return true;
}

static bool step_collect(HttpRequest *req)
{
    if (!req->head.chunked && req->collected.max == 0) {
        if (req->body_left > req->collect_max) return tell_failure(req, ERR_TOO_LARGE);
        if (req->in_pos + req->body_left <= INPUT_SIZE) return collect_in_place(req);
    }
    ErrCode code = collect_memory(req);
    if (code != OK) return tell_failure(req, code);
    Buf *to = &req->collected;
    size_t want = MIN(req->in_len - req->in_pos, to->max - to->len);
    if (req->head.chunked && buf_reserve(to, want, NULL) != OK) return tell_failure(req, ERR_BUSY);
    size_t got;
    Take result = take_input(req, to->data == NULL ? NULL : to->data + to->len,
                             req->head.chunked ? MIN(to->capacity, req->collect_max) - to->len
                                               : to->capacity - to->len,
                             &got);
    to->len += got;
    switch (result) {
    case TAKE_DONE: tell_collected(req, OK, buf_str(to)); return true;
    case TAKE_FAILED: return tell_failure(req, req->body_code);
    case TAKE_FULL:
        if (to->len >= req->collect_max) return tell_failure(req, ERR_TOO_LARGE);
        return true; /* the next turn makes more room */
    case TAKE_MORE: break;
    }
    return need_input(req);
}

/* ---- read ---- */

static void wait_for_buffer(HttpRequest *req)
{
    HttpLoop *loop = req->loop;
    req->waiting = true;
    req->next_waiting = NULL;
    if (loop->waiting_tail != NULL)
        loop->waiting_tail->next_waiting = req;
    else
        loop->waiting_head = req;
    loop->waiting_tail = req;
}

static void stop_waiting(HttpRequest *req)
{
    if (!req->waiting) return;
    HttpLoop *loop = req->loop;
    HttpRequest *before = NULL;
    HttpRequest *at = loop->waiting_head;
    for (; at != req; before = at, at = at->next_waiting)
        ASSERT(at != NULL);
    if (before != NULL)
        before->next_waiting = req->next_waiting;
    else
        loop->waiting_head = req->next_waiting;
    if (loop->waiting_tail == req) loop->waiting_tail = before;
    req->waiting = false;
}

/* Starts the clocks of a piece of so many bytes. */
static void start_clock(HttpRequest *req, uint64_t bytes)
{
    const HttpServerOptions *options = &req->loop->server->options;
    req->progress_ms = loop_now_ms(req->loop->loop);
    req->piece_end_ms = req->progress_ms + options->io_timeout_ms +
                        bytes * 1000 / options->rate_min_bytes_s;
}

void http_body_buffers_free(void *arg)
{
    HttpLoop *loop = arg;
    atomic_store(&loop->buffers_posted, false);
    size_t count = 0;
    for (HttpRequest *req = loop->waiting_head; req != NULL; req = req->next_waiting)
        count++;
    for (; count > 0 && loop->waiting_head != NULL; count--) {
        HttpRequest *req = loop->waiting_head;
        stop_waiting(req);
        http_conn_run(req->conn);
    }
}

/* Does the input hold the end of a chunked body, or what is none? */
static bool has_last_chunk(const HttpRequest *req)
{
    HttpChunked chunked = req->chunked; /* a copy: only looked at */
    size_t at = req->in_pos;
    for (;;) {
        Str piece;
        size_t used;
        HttpRefusal refusal;
        HttpChunk found = http_chunked_next(&chunked, (const char *)req->in + at, req->in_len - at,
                                            &used, &piece, &refusal);
        if (found == HTTP_CHUNK_MORE) return false;
        if (found != HTTP_CHUNK_DATA) return true;
        at += used;
    }
}

/* Where buffers are scarce a client shows first that it sends: bytes wait in the input, which it
 * has anyway. Else slow ones would hold them all, each with a few bytes in it. */
static bool must_show(const HttpRequest *req)
{
    if (req->buffer != NULL || req->body_done || req->conn->eof) return false;
    size_t there = req->in_len - req->in_pos;
    if (there >= SHOWN_MIN || req->in_len == INPUT_SIZE) return false;
    if (!req->head.chunked && there >= req->body_left) return false;
    if (buffers_plenty(req->loop->server->options.buffers, BUFFERS_IN)) return false;
    return !req->head.chunked || !has_last_chunk(req);
}

/* The clocks run from here: who has waited for a buffer in vain keeps the time it began to wait. */
static bool hold_buffer(HttpRequest *req)
{
    Buffers *buffers = req->loop->server->options.buffers;
    if (req->buffer != NULL || req->body_done) return true;
    if (buffers_take(buffers, BUFFERS_IN, &req->buffer, NULL) != OK) {
        wait_for_buffer(req);
        return false;
    }
    start_clock(req, buffers_size(buffers));
    return true;
}

static bool step_read(HttpRequest *req)
{
    if (req->waiting) return false;
    if (must_show(req)) return need_input(req);
    if (!hold_buffer(req)) return false;
    size_t got = 0;
    Take result = TAKE_DONE;
    if (req->buffer != NULL) {
        Buffer *to = req->buffer;
        result = take_input(req, to->data + to->len, to->capacity - to->len, &got);
        to->len += got;
    }
    switch (result) {
    case TAKE_DONE: tell_read(req, OK, true); return true;
    case TAKE_FULL: tell_read(req, OK, false); return true;
    case TAKE_FAILED: return tell_failure(req, req->body_code);
    case TAKE_MORE: break;
    }
    return need_input(req);
}

bool http_body_step(HttpRequest *req)
{
    if (req->ask == ASK_NONE) return false;
    if (req->body_code != OK) return tell_failure(req, req->body_code);
    if (req->body_done && !say_continue(req)) return true;
    return req->ask == ASK_COLLECT ? step_collect(req) : step_read(req);
}

/* ---- directly from the socket ---- */

bool http_body_room(HttpRequest *req, uint8_t **data, size_t *capacity)
{
    if (req->head.chunked || req->body_done || req->in_pos < req->in_len) return false;
    size_t room = 0;
    if (req->ask == ASK_COLLECT && req->collected.data != NULL) {
        *data = req->collected.data + req->collected.len;
        room = req->collected.capacity - req->collected.len;
    } else if (req->ask == ASK_READ && req->buffer != NULL) {
        *data = req->buffer->data + req->buffer->len;
        room = req->buffer->capacity - req->buffer->len;
    }
    *capacity = (size_t)MIN((uint64_t)room, req->body_left);
    return *capacity > 0;
}

void http_body_arrived(HttpRequest *req, size_t len)
{
    ASSERT(len <= req->body_left);
    if (req->ask == ASK_COLLECT)
        req->collected.len += len;
    else
        req->buffer->len += len;
    req->body_left -= len;
    if (req->body_left == 0) req->body_done = true;
}

/* ---- ends ---- */

void http_body_fail(HttpRequest *req, ErrCode code)
{
    if (req->body_code == OK) req->body_code = code;
    stop_waiting(req);
}

ErrCode http_body_late(const HttpRequest *req, uint64_t now_ms)
{
    if (req->ask == ASK_NONE || req->body_done || req->body_code != OK) return OK;
    bool stuck = now_ms - req->progress_ms > req->loop->server->options.io_timeout_ms;
    if (req->waiting) return stuck ? ERR_BUSY : OK;
    return stuck || now_ms > req->piece_end_ms ? ERR_REQUEST_TIMEOUT : OK;
}

void http_body_cancel(HttpRequest *req)
{
    stop_waiting(req);
    req->ask = ASK_NONE;
    buffer_release(req->buffer);
    req->buffer = NULL;
}

void http_body_end(HttpRequest *req)
{
    http_body_cancel(req);
    buf_deinit(&req->collected);
    uncharge(req);
}

/* ---- what handlers call ---- */

void http_request_keep_partial(HttpRequest *req)
{
    req->keeps_partial = true;
}

static void ask(HttpRequest *req, Ask what, uint64_t bytes)
{
    ASSERT(loop_is_mine(req->loop->loop));
    ASSERT(req->ask == ASK_NONE && !req->body_told && req->answer <= ANSWER_BEGUN);
    req->ask = what;
    start_clock(req, bytes);
    http_conn_soon(req->conn);
}

void http_request_collect(HttpRequest *req, size_t max, HttpCollectFn fn)
{
    req->collect_fn = fn;
    req->collect_max = max;
    ask(req, ASK_COLLECT, max);
}

void http_request_read(HttpRequest *req, HttpReadFn fn)
{
    req->read_fn = fn;
    ask(req, ASK_READ, buffers_size(req->loop->server->options.buffers));
}

bool http_request_length(const HttpRequest *req, uint64_t *length)
{
    if (req->head.chunked) return false;
    *length = req->head.content_length;
    return true;
}
