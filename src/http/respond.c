#include "http/http_priv.h"

#include "base/log.h"
#include "text/json.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROBLEM_MAX 2048 /* bytes of a problem+json body */

const char *http_status_phrase(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 460: return "Checksum Mismatch"; /* of tus, which made it up */
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "Unknown";
    }
}

/* ---- headers ---- */

void http_header_add(HttpRequest *req, const char *name, Str value)
{
    ASSERT(req->answer == ANSWER_NONE);
    Buf *out = &req->headers;
    size_t name_len = strlen(name);
    if (buf_reserve(out, name_len + value.len + 4, NULL) != OK) {
        req->out_failed = true;
        return;
    }
    uint8_t *at = out->data + out->len;
    memcpy(at, name, name_len);
    at += name_len;
    *at++ = ':';
    *at++ = ' ';
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = (uint8_t)value.ptr[i];
        *at++ = (c < 0x20 && c != '\t') || c == 0x7f ? ' ' : c;
    }
    *at++ = '\r';
    *at++ = '\n';
    out->len += name_len + value.len + 4;
}

void http_header_addf(HttpRequest *req, const char *name, const char *format, ...)
{
    char value[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(value, sizeof value, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof value)
        req->out_failed = true;
    else
        http_header_add(req, name, str_of(value, (size_t)len));
}

/* Appends text to at[*len]; the arrays of HttpRequest are sized for all there can be. */
static void put(char *at, size_t *len, size_t size, const char *text, size_t text_len)
{
    ASSERT(*len + text_len <= size);
    memcpy(at + *len, text, text_len);
    *len += text_len;
}

#define PUT(array, len, literal) put((array), &(len), sizeof(array), (literal), sizeof(literal) - 1)

static void put_number(char *at, size_t *len, size_t size, uint64_t value)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(at, len, size, digits + first, sizeof digits - first);
}

static const char *date_now(HttpLoop *loop)
{
    uint64_t ms = clock_wall_ms(loop->server->options.clock);
    if (ms / 1000 != loop->date_s || loop->date[0] == '\0') {
        loop->date_s = ms / 1000;
        date_format_http(ms, loop->date);
    }
    return loop->date;
}

/* Makes top and bottom. content_length is HTTP_LENGTH_UNKNOWN for an answer in chunks. */
static void make_head(HttpRequest *req, int status, uint64_t content_length)
{
    const char *phrase = http_status_phrase(status);
    size_t n = 0;
    ASSERT(status >= 200 && status <= 999);
    req->status = status;
    req->no_body_out = req->head.method == HTTP_METHOD_HEAD || status == 204 || status == 304;
    req->announced = content_length;
    PUT(req->top, n, "HTTP/1.1 ");
    put_number(req->top, &n, sizeof req->top, (uint64_t)status);
    PUT(req->top, n, " ");
    put(req->top, &n, sizeof req->top, phrase, strlen(phrase));
    PUT(req->top, n, "\r\nServer: holdfast\r\nDate: ");
    put(req->top, &n, sizeof req->top, date_now(req->loop), DATE_HTTP_SIZE - 1);
    PUT(req->top, n, "\r\nX-Request-Id: ");
    put(req->top, &n, sizeof req->top, req->id, HTTP_REQUEST_ID_SIZE - 1);
    PUT(req->top, n, "\r\n");
    req->top_len = n;
    n = 0;
    if (content_length != HTTP_LENGTH_UNKNOWN) {
        if (status != 204 && status != 304) {
            PUT(req->bottom, n, "Content-Length: ");
            put_number(req->bottom, &n, sizeof req->bottom, content_length);
            PUT(req->bottom, n, "\r\n");
        }
    } else if (req->head.minor == 1) {
        req->chunked_out = !req->no_body_out;
        if (status != 204 && status != 304) PUT(req->bottom, n, "Transfer-Encoding: chunked\r\n");
    } else {
        req->close_after = true; /* HTTP/1.0: the end of the connection is the end */
    }
    if (req->close_after)
        PUT(req->bottom, n, "Connection: close\r\n");
    else if (req->head.minor == 0)
        PUT(req->bottom, n, "Connection: keep-alive\r\n");
    PUT(req->bottom, n, "\r\n");
    req->bottom_len = n;
}

/* Can the connection take another request after this one? */
static void decide_close(HttpRequest *req)
{
    HttpServer *server = req->loop->server;
    if (req->conn->eof || atomic_load(&server->draining) || req->body_code != OK)
        req->close_after = true;
    if (req->continue_due) req->close_after = true; /* will its body come, or not? */
    if (!req->body_done && (req->head.chunked || req->body_left > DRAIN_MAX))
        req->close_after = true;
}

/* ---- sending ---- */

typedef struct {
    uv_buf_t pieces[PIECES_MAX];
    unsigned count;
    size_t total; /* bytes */
} Outgoing;

static void outgoing_add(Outgoing *out, const void *data, size_t len)
{
    if (len == 0) return;
    ASSERT(out->count < PIECES_MAX);
    out->pieces[out->count++] = (uv_buf_t){.base = (char *)(uintptr_t)data, .len = len};
    out->total += len;
}

static void outgoing_add_head(Outgoing *out, HttpRequest *req)
{
    if (req->head_sent) return;
    req->head_sent = true;
    outgoing_add(out, req->top, req->top_len);
    outgoing_add(out, req->headers.data, req->headers.len);
    outgoing_add(out, req->bottom, req->bottom_len);
}

/* Forgets the first sent bytes. */
static void outgoing_skip(Outgoing *out, size_t sent)
{
    unsigned first = 0;
    out->total -= sent;
    while (first < out->count && sent >= out->pieces[first].len)
        sent -= out->pieces[first++].len;
    out->count -= first;
    memmove(out->pieces, out->pieces + first, out->count * sizeof out->pieces[0]);
    if (out->count > 0) {
        out->pieces[0].base += sent;
        out->pieces[0].len -= sent;
    }
}

/* A write of so many bytes is pending; the least rate gives it the time of rated bytes. */
static void start_write_clock(HttpRequest *req, size_t bytes, size_t rated)
{
    const HttpServerOptions *options = &req->loop->server->options;
    req->unsent = bytes;
    req->unsent_ms = loop_now_ms(req->loop->loop);
    req->write_end_ms = req->unsent_ms + options->io_timeout_ms +
                        (uint64_t)rated * 1000 / options->rate_min_bytes_s;
}

/* One try at once; the rest, if any, is left to the loop. */
static HttpWrite send_out(HttpRequest *req, Outgoing *out)
{
    Tcp *tcp = &req->conn->tcp;
    size_t sent = 0;
    if (out->total == 0) return HTTP_WRITE_DONE;
    if (tcp_try_write(tcp, out->pieces, out->count, &sent) != OK) {
        http_conn_lost(req->conn, false);
        return HTTP_WRITE_GONE;
    }
    http_count(HTTP_COUNT_BYTES_OUT, out->total);
    outgoing_skip(out, sent);
    if (out->total == 0) return HTTP_WRITE_DONE;
    tcp_write(tcp, out->pieces, out->count);
    start_write_clock(req, out->total, out->total);
    return HTTP_WRITE_LATER;
}

/* Sends the last of an answer. Ends the request now or when all is out. */
static void send_last(HttpRequest *req, Outgoing *out)
{
    Conn *conn = req->conn;
    req->answer = ANSWER_ENDED;
    if (req->gone || send_out(req, out) == HTTP_WRITE_DONE) req->answer = ANSWER_SENT;
    if (req->answer != ANSWER_SENT || conn->running) return;
    if (req->gone) {
        http_conn_soon(conn);
        return;
    }
    http_conn_answered(conn);
    if (conn->state == CONN_HEAD || conn->state == CONN_DRAIN || !conn->tcp.reading)
        http_conn_soon(conn);
}

void http_respond_written(HttpRequest *req)
{
    if (req->answer == ANSWER_ENDED) {
        req->answer = ANSWER_SENT;
    } else {
        ASSERT(req->answer == ANSWER_BEGUN && req->written_fn != NULL);
        req->written_due = true;
        req->written_code = OK;
    }
}

void http_respond_free(HttpRequest *req)
{
    buf_deinit(&req->body);
    mem_free(TAKE(req->tail));
    if (req->answer_charged > 0)
        atomic_fetch_sub(&req->loop->server->answering, req->answer_charged);
    req->answer_charged = 0;
}

/* ---- whole answers ---- */

/* Headers that do not fit would leave the client with half of what was meant: 500 instead. */
static bool headers_failed(HttpRequest *req)
{
    if (!req->out_failed) return false;
    LOG(ERROR, "http.headers_too_large", "request_id=%s", req->id);
    req->out_failed = false;
    buf_clear(&req->headers);
    return true;
}

static void respond_whole(HttpRequest *req, int status, uint64_t length, Str body)
{
    ASSERT(loop_is_mine(req->loop->loop) && req->answer == ANSWER_NONE);
    Outgoing out = {0};
    http_body_cancel(req);
    if (headers_failed(req)) {
        status = 500;
        length = 0;
        body = (Str){NULL, 0};
    }
    if (!req->body_done && !req->gone) http_body_drop(req);
    decide_close(req);
    make_head(req, status, length);
    outgoing_add_head(&out, req);
    if (!req->no_body_out) {
        outgoing_add(&out, body.ptr, body.len);
        req->written = body.len;
    }
    send_last(req, &out);
}

void http_respond(HttpRequest *req, int status, Str body)
{
    respond_whole(req, status, body.len, body);
}

bool http_respond_room(HttpRequest *req, size_t size)
{
    HttpServer *server = req->loop->server;
    ASSERT(req->answer == ANSWER_NONE && req->answer_charged == 0);
    if (size <= HTTP_ANSWER_FREE) return true;
    size_t before = atomic_fetch_add(&server->answering, size);
    if (before + size > server->options.answer_max_bytes) {
        atomic_fetch_sub(&server->answering, size);
        return false;
    }
    req->answer_charged = size;
    return true;
}

void http_respond_buf(HttpRequest *req, int status, Buf *body)
{
    ASSERT(req->body.data == NULL);
    size_t max = body->max;
    req->body = *body;
    buf_init(body, max);
    respond_whole(req, status, req->body.len, buf_str(&req->body));
}

void http_respond_head(HttpRequest *req, int status, uint64_t content_length)
{
    ASSERT(req->head.method == HTTP_METHOD_HEAD);
    respond_whole(req, status, content_length, (Str){NULL, 0});
}

void http_respond_problem(HttpRequest *req, int status, ErrCode code, const char *detail)
{
    const ErrInfo *info = err_info(code);
    char type[64];
    JsonWriter json;
    AUTO_BUF(body, PROBLEM_MAX);
    snprintf(type, sizeof type, "urn:holdfast:error:%s", info->slug);
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_cstr(&json, "type", type);
    json_member_cstr(&json, "title", info->text);
    json_member_u64(&json, "status", (uint64_t)status);
    json_member_cstr(&json, "detail", detail != NULL ? detail : info->text);
    json_member_cstr(&json, "code", info->slug);
    json_member_cstr(&json, "request_id", req->id);
    json_write_object_end(&json);
    http_header_add(req, "Content-Type", STR("application/problem+json"));
    if (status == 503) http_header_add(req, "Retry-After", STR("1"));
    if (json_writer_end(&json, NULL) != OK)
        http_respond(req, status,
                     STR("{}\n")); /* no memory, or a huge detail: the status says it */
    else
        http_respond_buf(req, status, &body);
}

void http_respond_error(HttpRequest *req, ErrCode code, const char *detail)
{
    ASSERT(code != OK);
    if (detail == NULL && code == req->body_code && req->body_detail[0] != '\0')
        detail = req->body_detail;
    http_respond_problem(req, err_info(code)->http_status, code, detail);
}

/* ---- answers in pieces ---- */

void http_respond_begin(HttpRequest *req, int status, uint64_t content_length)
{
    ASSERT(loop_is_mine(req->loop->loop) && req->answer == ANSWER_NONE);
    if (!req->body_done) req->close_after = true; /* what becomes of the rest is not known yet */
    decide_close(req);
    make_head(req, headers_failed(req) ? 500 : status, content_length);
    req->answer = ANSWER_BEGUN;
}

/* After bytes were all taken: DONE, or LATER if others are to have their turn first. */
static HttpWrite end_turn(HttpRequest *req, size_t bytes)
{
    req->turn_bytes += bytes;
    if (req->turn_bytes < TURN_MAX) return HTTP_WRITE_DONE;
    req->turn_over = true;
    req->written_code = OK;
    http_conn_next_turn(req->conn);
    return HTTP_WRITE_LATER;
}

HttpWrite http_respond_write(HttpRequest *req, Str data, HttpWrittenFn fn)
{
    ASSERT(loop_is_mine(req->loop->loop) && req->answer == ANSWER_BEGUN);
    ASSERT(req->written_fn == NULL && data.len > 0);
    ASSERT(req->announced == HTTP_LENGTH_UNKNOWN || data.len <= req->announced - req->written);
    if (req->gone) return HTTP_WRITE_GONE;
    if (req->no_body_out) return HTTP_WRITE_DONE;
    Outgoing out = {0};
    outgoing_add_head(&out, req);
    if (req->chunked_out) {
        int len = snprintf(req->chunk_line, sizeof req->chunk_line, "%zx\r\n", data.len);
        outgoing_add(&out, req->chunk_line, (size_t)len);
    }
    outgoing_add(&out, data.ptr, data.len);
    if (req->chunked_out) outgoing_add(&out, "\r\n", 2);
    req->written += data.len;
    HttpWrite result = send_out(req, &out);
    if (result == HTTP_WRITE_GONE) return result;
    if (result == HTTP_WRITE_DONE) result = end_turn(req, data.len);
    if (result == HTTP_WRITE_LATER) req->written_fn = fn;
    return result;
}

/* The first bytes of what the socket has no room for now: copied, so that the caller need not keep
 * it, and written when there is room, which is what calls written_fn. */
static HttpWrite wait_for_room(HttpRequest *req, int fd, uint64_t offset, size_t len, size_t *taken)
{
    void *tail = req->tail;
    if (tail == NULL && mem_take(TAIL_SIZE, &tail, NULL) != OK) return HTTP_WRITE_FAILED;
    req->tail = tail;
    size_t part = MIN(len, (size_t)TAIL_SIZE);
    Tcp *tcp = &req->conn->tcp;
    if (tcp_write_file(tcp, fd, offset, req->tail, part, NULL) != OK) return HTTP_WRITE_FAILED;
    start_write_clock(req, part, buffers_size(req->loop->server->options.buffers));
    http_count(HTTP_COUNT_BYTES_OUT, part);
    req->written += part;
    *taken += part;
    return HTTP_WRITE_LATER;
}

/* Hands to the kernel what it takes; *full: it takes no more now. */
static HttpWrite send_file(HttpRequest *req, int fd, uint64_t offset, size_t len, size_t *taken,
                           bool *full)
{
    size_t sent = 0;
    ErrCode code = tcp_send_file(&req->conn->tcp, fd, offset, len, &sent, NULL);
    if (code == ERR_IO) return HTTP_WRITE_FAILED;
    if (code != OK) {
        http_conn_lost(req->conn, false);
        return HTTP_WRITE_GONE;
    }
    http_count(HTTP_COUNT_BYTES_OUT, sent);
    req->written += sent;
    *taken = sent;
    *full = sent < len;
    return HTTP_WRITE_DONE;
}

HttpWrite http_respond_file(HttpRequest *req, int fd, uint64_t offset, size_t len, size_t *taken,
                            HttpWrittenFn fn)
{
    ASSERT(loop_is_mine(req->loop->loop) && req->answer == ANSWER_BEGUN);
    ASSERT(req->written_fn == NULL && len > 0 && !req->chunked_out);
    ASSERT(req->announced != HTTP_LENGTH_UNKNOWN && len <= req->announced - req->written);
    *taken = 0;
    if (req->gone) return HTTP_WRITE_GONE;
    if (req->no_body_out) {
        *taken = len;
        return HTTP_WRITE_DONE;
    }
    bool full = false;
    Outgoing out = {0};
    outgoing_add_head(&out, req);
    HttpWrite result = send_out(req, &out);
    if (result == HTTP_WRITE_DONE) result = send_file(req, fd, offset, len, taken, &full);
    if (result == HTTP_WRITE_DONE && full)
        result = wait_for_room(req, fd, offset + *taken, len - *taken, taken);
    if (result == HTTP_WRITE_DONE) result = end_turn(req, len);
    if (result == HTTP_WRITE_LATER) req->written_fn = fn;
    return result;
}

void http_respond_end(HttpRequest *req)
{
    ASSERT(loop_is_mine(req->loop->loop) && req->answer == ANSWER_BEGUN);
    ASSERT(req->gone || req->written_fn == NULL);
    Outgoing out = {0};
    if (!req->gone && !req->no_body_out && req->announced != HTTP_LENGTH_UNKNOWN &&
        req->written < req->announced) {
        http_respond_abort(req);
        return;
    }
    http_body_cancel(req);
    outgoing_add_head(&out, req);
    if (req->chunked_out) outgoing_add(&out, "0\r\n\r\n", 5);
    send_last(req, &out);
}

void http_respond_abort(HttpRequest *req)
{
    ASSERT(loop_is_mine(req->loop->loop) && req->answer <= ANSWER_BEGUN);
    if (!req->gone && !req->head_sent) {
        req->answer = ANSWER_NONE;
        buf_clear(&req->headers);
        http_respond_problem(req, 500, ERR_ABORTED, NULL);
        return;
    }
    http_body_cancel(req);
    req->answer = ANSWER_ENDED;
    req->written_fn = NULL;
    req->written_due = false;
    if (req->gone) {
        Outgoing out = {0};
        send_last(req, &out);
    } else {
        http_conn_lost(req->conn, true);
    }
}
