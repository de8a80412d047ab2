/* HttpServer: HTTP/1.1 on a set of Loops, one listener per loop. A connection and its requests
 * belong to one loop: every function with an HttpRequest is called on that loop's thread only.
 *
 * A request's life
 *   on_request(ctx, req)  the head is there; req is now the handler's. It may answer at once, or
 *                         keep req and answer later, on the loop's thread (other threads come back
 *                         by loop_post(http_request_loop(req), task)).
 *   the body              is only read when asked for: http_request_collect() for small ones in
 *                         one piece, or http_request_read() for the next piece. Nobody asks:
 *                         nothing is read, TCP slows the client down. One asking at a time, none
 *                         after a failure or the end.
 *   the answer            exactly one of http_respond(), http_respond_buf(), http_respond_error()
 *                         or http_respond_begin() … write … end() or abort(). It may come before
 *                         the body was read: the rest is then drained or the connection closed.
 *   on_end(req, ctx)      exactly once, after the answer was sent or given up, possibly before the
 *                         final call returns: do not touch req after a final call.
 * If the client goes away, on_gone() tells once; the request stays the handler's, all its memory
 * stays, and it must still be answered (which then sends nothing). So work on other threads may
 * use the arena, headers and body until the handler answers.
 *
 * Callbacks of collect, read and write are never called from inside those functions.
 *
 * With TLS a handshake has header_timeout_ms; who speaks HTTP without it is told so (400).
 *
 * Limits: head 16 KiB → 431, request line 8 KiB → 414; head slower than header_timeout_ms → 408;
 * body or answer without progress for io_timeout_ms, or slower than rate_min_bytes_s → the end of
 * it; more than connections_max → 503. A body buffer's worth is the unit of rates.
 *
 * Crowded, which is with more than three quarters of requests_max or 15 of 16 connections, the slow
 * give way: a client that takes or sends less than rate_crowded_bytes_s over a fifteenth of
 * io_timeout_ms loses its connection (an upload: 408), and connections rest for a tenth of
 * idle_timeout_ms only. While no buffer for bodies is left, so do those uploads that hold one. */
#ifndef HOLDFAST_HTTP_SERVER_H
#define HOLDFAST_HTTP_SERVER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "http/parser.h"
#include "net/buffers.h"
#include "net/loop.h"
#include "net/tls.h"

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;

#define HTTP_REQUEST_ID_SIZE 33            /* 32 hex digits and a NUL */
#define HTTP_REQUEST_ARENA_MAX (256 * KIB) /* bytes per request */
#define HTTP_REQUEST_BYTES (288 * KIB)   /* of one in a handler's hands at most, beside the next */
#define HTTP_CONNECTION_BYTES (40 * KIB) /* of one at most, its head and first bytes included */
#define HTTP_ANSWER_FREE (64 * KIB)      /* bytes of an answer that answer_max_bytes leaves out */

typedef struct {
    const char *name;    /* "rest": in metrics and log lines; static */
    const char *address; /* "127.0.0.1:9001"; port 0: any free one, see http_server_port() */
    Loop **loops;        /* started or not; outlive the server */
    size_t loop_count;   /* 1..64 */
    Buffers *buffers;    /* for bodies; outlives the server */
    TlsContext *tls;     /* the server has it too; NULL: no TLS */
    Clock *clock;        /* for the Date header */
    void (*on_request)(void *ctx, HttpRequest *req);
    /* Answers, in the words of this server, what no handler ever saw (a head that can't be read,
     * too many connections) by http_respond_buf(); NULL: problem+json. */
    void (*on_refused)(HttpRequest *req, int status, ErrCode code, const char *detail);
    void *ctx;
    size_t connections_max;     /* all loops together */
    size_t requests_max;        /* in the handler's hands at which it is crowded; not a limit */
    size_t collect_max_bytes;   /* memory of all collected bodies that do not fit beside a head */
    size_t answer_max_bytes;    /* memory that http_respond_room() gives */
    uint32_t header_timeout_ms; /* first byte to last byte of a head */
    uint32_t idle_timeout_ms;   /* without a request */
    uint32_t io_timeout_ms;     /* body or answer without progress */
    uint32_t linger_timeout_ms; /* reading on after an early answer */
    uint32_t rate_min_bytes_s;  /* of bodies and answers */
    uint32_t rate_crowded_bytes_s;
} HttpServerOptions;

/* Defaults: 10,000 connections, 64 MiB, 256 MiB, 10 s, 60 s, 60 s, 5 s, 1 KiB/s, 16 KiB/s,
 * the real clock. */
HttpServerOptions http_server_options(void);
/* Listens. Errors: ERR_IN_USE and ERR_SYSTEM name the address; ERR_CONFIG. Not from a loop. */
MUST_USE ErrCode http_server_open(const HttpServerOptions *options, HttpServer **out, Err *err);
/* New connections get another certificate; those that are there keep theirs. Only where there was a
 * context from the beginning. Not from a loop. */
void http_server_set_tls(HttpServer *server, TlsContext *tls);
uint16_t http_server_port(const HttpServer *server);
/* Stops accepting, closes idle connections, lets requests in flight finish (with Connection:
 * close), and waits up to timeout_ms for that. True if no connection is left. Not from a loop. */
bool http_server_drain(HttpServer *server, uint32_t timeout_ms);
/* Closes all connections (handlers hear on_gone) and waits until every request was answered, then
 * frees the server. Not from a loop. NULL is fine. */
void http_server_close(HttpServer *server);
size_t http_server_connections(const HttpServer *server);
/* Requests in the handler's hands, the caller's included. Any thread. */
size_t http_server_requests(const HttpServer *server);

/* ---- the request ---- */
const HttpHead *http_request_head(const HttpRequest *req);
HttpMethod http_request_method(const HttpRequest *req);
Str http_request_path(const HttpRequest *req);
Str http_request_query(const HttpRequest *req); /* ptr NULL without '?' */
/* ptr is NULL if absent. */
Str http_request_header(const HttpRequest *req, Str name);
/* 32 hex digits, also in the X-Request-Id of the answer. */
Str http_request_id(const HttpRequest *req);
/* Reset when the request ends. */
Arena *http_request_arena(HttpRequest *req);
Loop *http_request_loop(const HttpRequest *req);
HttpServer *http_request_server(const HttpRequest *req);
/* "127.0.0.1:50412" into the arena. */
Str http_request_peer(HttpRequest *req);
/* Did it come over TLS? */
bool http_request_is_secure(const HttpRequest *req);
/* Did the client go away? */
bool http_request_is_gone(const HttpRequest *req);
/* The handler's own pointer and callbacks (each may be NULL). on_gone: see above; it may be called
 * from within no function of this file. */
void http_request_own(HttpRequest *req, void *ctx, void (*on_gone)(HttpRequest *req, void *ctx),
                      void (*on_end)(HttpRequest *req, void *ctx));
void *http_request_ctx(const HttpRequest *req);

/* ---- its body ---- */
/* Bytes to come if known: *length; false if the body is chunked. */
bool http_request_length(const HttpRequest *req, uint64_t *length);

/* code is OK: body is all of it, valid until the request ends. Else ERR_TOO_LARGE (more than max),
 * ERR_BUSY (no memory in the budget), ERR_BAD_HTTP (chunks), ERR_REQUEST_TIMEOUT or
 * ERR_INCOMPLETE_BODY (client gone); answer with http_respond_error(). */
typedef void (*HttpCollectFn)(HttpRequest *req, void *ctx, ErrCode code, Str body);
/* max: bytes. Works for a request without a body as well. */
void http_request_collect(HttpRequest *req, size_t max, HttpCollectFn fn);

/* code is OK: buffer is the next piece, which the callee now owns and gives back by
 * buffer_release() from any thread; it is full (buffers_size()) unless last. Last: no more will
 * come; buffer is NULL if there was nothing. Failures (buffer NULL) as for collect. */
typedef void (*HttpReadFn)(HttpRequest *req, void *ctx, ErrCode code, Buffer *buffer, bool last);
/* Waits for a free buffer when the pool is empty (ERR_BUSY after io_timeout_ms). Ask again from fn
 * to read ahead. */
void http_request_read(HttpRequest *req, HttpReadFn fn);
/* From now on a failure comes with the bytes that had come of the next piece, if any had: a buffer
 * that is the callee's as always. For who keeps the beginning of a body that broke off. */
void http_request_keep_partial(HttpRequest *req);

/* ---- the answer ---- */
/* Adds a header; before the head is sent. name and value are copied; bytes that may not stand in a
 * value become spaces. Content-Length, Date, Server, X-Request-Id, Connection and
 * Transfer-Encoding are the server's own. */
void http_header_add(HttpRequest *req, const char *name, Str value);
void http_header_addf(HttpRequest *req, const char *name, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Answers. body is not copied: static, in the arena, or the owner's until on_end(). For HEAD only
 * its length is sent; use http_respond_head() if that is known without the body. */
void http_respond(HttpRequest *req, int status, Str body);
/* The same; takes body's memory over and leaves it empty. */
void http_respond_buf(HttpRequest *req, int status, Buf *body);
/* Before http_respond_buf() with more than HTTP_ANSWER_FREE bytes, which a slow reader would keep
 * for long: is there memory for size more bytes of such answers? It is then the request's until its
 * end. Once a request. */
MUST_USE bool http_respond_room(HttpRequest *req, size_t size);
/* An answer to HEAD that says content_length. */
void http_respond_head(HttpRequest *req, int status, uint64_t content_length);
/* application/problem+json (RFC 9457) with the row's status and detail (NULL: what was wrong
 * with a body that could not be had, or the row's text); Retry-After for what may be retried with
 * 503. */
void http_respond_error(HttpRequest *req, ErrCode code, const char *detail);

#define HTTP_LENGTH_UNKNOWN UINT64_MAX /* chunked, or until close for HTTP/1.0 */

typedef enum {
    HTTP_WRITE_DONE,  /* all was taken; data is free again; fn is not called */
    HTTP_WRITE_LATER, /* fn will be called; data must stay until then */
    HTTP_WRITE_GONE,  /* the client is gone: end() or abort() */
    HTTP_WRITE_FAILED /* the file can't be read: abort() */
} HttpWrite;
/* code: OK, or ERR_ABORTED when the client is gone. */
typedef void (*HttpWrittenFn)(HttpRequest *req, void *ctx, ErrCode code);

/* Begins an answer in pieces: exactly content_length bytes must follow, none for HEAD. The head is
 * sent with the first piece. */
void http_respond_begin(HttpRequest *req, int status, uint64_t content_length);
/* The next piece (1 byte or more). One at a time: not before fn was called. */
MUST_USE HttpWrite http_respond_write(HttpRequest *req, Str data, HttpWrittenFn fn);
/* The next piece out of a file, not copied: len bytes (1 or more) of fd from offset on. *taken says
 * how many of them are on their way, whatever is returned: DONE means all, LATER some or none, and
 * the caller gives the rest again when fn was called; the file's bytes and fd itself are not looked
 * at in between. The caller sees to it that they are in memory. Not for answers of unknown length.
 */
MUST_USE HttpWrite http_respond_file(HttpRequest *req, int fd, uint64_t offset, size_t len,
                                     size_t *taken, HttpWrittenFn fn);
/* Final. With fewer bytes than announced it is an abort. */
void http_respond_end(HttpRequest *req);
/* Final: the connection is reset, so that the client knows that it has not got it all. Before
 * anything was sent it is an answer of 500. A pending write is given up: its fn is not called, its
 * data must stay until on_end(). */
void http_respond_abort(HttpRequest *req);

/* A standard phrase for status: "Not Found". */
const char *http_status_phrase(int status);

#endif
