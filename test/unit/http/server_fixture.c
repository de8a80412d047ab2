#include "server_fixture.h"

#include "base/log.h"
#include "net/tcp.h"
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define STREAM_PIECE (64 * 1024)

/* What a handler keeps for one request. */
typedef struct {
    Fixture *fixture;
    HttpRequest *req;
    LoopTask task;
    LoopTimer *timer;
    uint64_t total; /* bytes read, or to write */
    uint64_t sum;
    uint64_t done;
    bool last;
    uint8_t *piece;
    int fd; /* of what is sent as a file; 0: none */
    Str body;
} Job;

static void job_end(HttpRequest *req, void *ctx)
{
    Job *job = ctx;
    assert_ptr_equal(job->req, req);
    atomic_fetch_add(&job->fixture->ends, 1);
    loop_timer_free(job->timer);
    if (job->fd > 0) close(job->fd);
    mem_free(job->piece);
    mem_free(job);
}

static void job_gone(HttpRequest *req, void *ctx)
{
    UNUSED(req);
    atomic_fetch_add(&((Job *)ctx)->fixture->gones, 1);
}

static void failed(Job *job, ErrCode code)
{
    atomic_store(&job->fixture->failure_code, (int)code);
    atomic_fetch_add(&job->fixture->failures, 1);
}

/* ---- bodies ---- */

static void on_collected(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    if (code != OK) {
        failed(ctx, code);
        http_respond_error(req, code, NULL);
        return;
    }
    http_header_add(req, "Content-Type", STR("application/octet-stream"));
    http_respond(req, 200, body);
}

static void answer_total(Job *job)
{
    Str text = arena_printf(http_request_arena(job->req), "%" PRIu64 " %" PRIu64, job->total,
                            job->sum);
    http_respond(job->req, 200, text);
}

static void on_piece(HttpRequest *req, void *ctx, ErrCode code, Buffer *buffer, bool last)
{
    Job *job = ctx;
    if (code != OK) {
        failed(job, code);
        assert_null(buffer);
        http_respond_error(req, code, NULL);
        return;
    }
    if (!last) assert_int_equal(buffer->len, FIXTURE_BUFFER_SIZE);
    for (size_t i = 0; buffer != NULL && i < buffer->len; i++)
        job->sum += buffer->data[i];
    job->total += buffer != NULL ? buffer->len : 0;
    buffer_release(buffer);
    if (last)
        answer_total(job);
    else
        http_request_read(req, on_piece);
}

static void on_slow_piece(HttpRequest *req, void *ctx, ErrCode code, Buffer *buffer, bool last);

static void ask_again(void *arg)
{
    Job *job = arg;
    loop_timer_free(job->timer);
    job->timer = NULL;
    if (job->last)
        answer_total(job);
    else
        http_request_read(job->req, on_slow_piece);
}

/* Holds each piece for 10 ms: the client must wait for us. */
static void on_slow_piece(HttpRequest *req, void *ctx, ErrCode code, Buffer *buffer, bool last)
{
    Job *job = ctx;
    if (code != OK) {
        on_piece(req, ctx, code, buffer, last);
        return;
    }
    job->total += buffer != NULL ? buffer->len : 0;
    for (size_t i = 0; buffer != NULL && i < buffer->len; i++)
        job->sum += buffer->data[i];
    buffer_release(buffer);
    job->last = last;
    job->timer = loop_timer_new(http_request_loop(req), 10, 0, ask_again, job);
}

/* ---- answers ---- */

static void write_more(HttpRequest *req, void *ctx, ErrCode code)
{
    Job *job = ctx;
    if (code != OK) {
        failed(job, code);
        http_respond_end(req);
        return;
    }
    while (job->done < job->total) {
        size_t len = (size_t)MIN((uint64_t)STREAM_PIECE, job->total - job->done);
        HttpWrite result = http_respond_write(req, str_of(job->piece, len), write_more);
        if (result == HTTP_WRITE_GONE) break;
        job->done += len;
        if (result == HTTP_WRITE_LATER) return;
    }
    http_respond_end(req);
}

/* The file's bytes, again and again; each time as many as are announced, or the client takes. */
static void send_more(HttpRequest *req, void *ctx, ErrCode code)
{
    Job *job = ctx;
    HttpWrite result = HTTP_WRITE_DONE;
    if (code != OK) failed(job, code);
    while (code == OK && job->done < job->total && result == HTTP_WRITE_DONE) {
        uint64_t from = job->done % FIXTURE_FILE_SIZE;
        size_t len = (size_t)MIN(FIXTURE_FILE_SIZE - from, job->total - job->done);
        size_t taken = SIZE_MAX;
        result = http_respond_file(req, job->fd, from, len, &taken, send_more);
        assert_true(taken <= len && (result != HTTP_WRITE_DONE || taken == len));
        job->done += taken;
    }
    if (result == HTTP_WRITE_LATER) return;
    if (result == HTTP_WRITE_FAILED) {
        failed(job, ERR_IO);
        http_respond_abort(req);
    } else {
        http_respond_end(req);
    }
}

/* size: bytes the file has; what is sent thinks that it has FIXTURE_FILE_SIZE. */
static void begin_file(Job *job, size_t size)
{
    char name[] = "/tmp/holdfast-server-XXXXXX";
    AUTO(uint8_t, mem_free) bytes = mem_new(FIXTURE_FILE_SIZE);
    random_bytes(1, bytes, FIXTURE_FILE_SIZE);
    job->fd = mkstemp(name);
    assert_true(job->fd > 0);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(write(job->fd, bytes, size), size);
    http_respond_begin(job->req, 200, job->total);
    send_more(job->req, job, OK);
}

static void begin_stream(Job *job, bool chunked)
{
    job->piece = mem_new(STREAM_PIECE);
    memset(job->piece, 'x', STREAM_PIECE);
    http_respond_begin(job->req, 200, chunked ? HTTP_LENGTH_UNKNOWN : job->total);
    write_more(job->req, job, OK);
}

static void answer_later(void *arg)
{
    Job *job = arg;
    http_respond(job->req, 200, STR("later"));
}

static void *post_from_thread(void *arg)
{
    Job *job = arg;
    job->task = (LoopTask){.fn = answer_later, .arg = job};
    loop_post(http_request_loop(job->req), &job->task);
    return NULL;
}

static void answer_from_other_thread(Job *job)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_from_thread, job), 0);
    assert_int_equal(pthread_detach(thread), 0);
}

/* Answers when the timer ends, whatever became of the client. */
static void on_hold_over(void *arg)
{
    Job *job = arg;
    http_respond(job->req, 200, STR("held"));
}

static void on_keep_over(void *arg)
{
    Job *job = arg;
    http_respond(job->req, 200, job->body);
}

/* Answers a little later with the body, which must still be there. */
static void on_kept(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    Job *job = ctx;
    assert_int_equal(code, OK);
    job->body = body;
    job->timer = loop_timer_new(http_request_loop(req), 40, 0, on_keep_over, job);
}

static void begin_abort(Job *job)
{
    http_respond_begin(job->req, 200, 1000);
    HttpWrite result = http_respond_write(job->req, STR("only this"), write_more);
    assert_int_equal(result, HTTP_WRITE_DONE);
    http_respond_abort(job->req);
}

static void on_request(void *ctx, HttpRequest *req)
{
    Fixture *f = ctx;
    Job *job = mem_new(sizeof *job);
    *job = (Job){.fixture = f, .req = req};
    atomic_fetch_add(&f->requests, 1);
    http_request_own(req, job, job_gone, job_end);
    Str path = http_request_path(req);
    if (!str_to_u64(http_request_query(req), UINT32_MAX, &job->total)) job->total = 0;
    if (str_eq(path, STR("/hello"))) {
        http_header_add(req, "X-Evil", STR("a\r\nb"));
        http_respond(req, 200, STR("hello"));
    } else if (str_eq(path, STR("/collect"))) {
        http_request_collect(req, job->total > 0 ? (size_t)job->total : 100000, on_collected);
    } else if (str_eq(path, STR("/keep"))) {
        http_request_collect(req, 1000, on_kept);
    } else if (str_eq(path, STR("/read"))) {
        job->total = 0;
        http_request_read(req, on_piece);
    } else if (str_eq(path, STR("/slow"))) {
        job->total = 0;
        http_request_read(req, on_slow_piece);
    } else if (str_eq(path, STR("/early"))) {
        http_respond_error(req, ERR_FORBIDDEN, "no");
    } else if (str_eq(path, STR("/stream"))) {
        begin_stream(job, false);
    } else if (str_eq(path, STR("/file"))) {
        begin_file(job, FIXTURE_FILE_SIZE);
    } else if (str_eq(path, STR("/short-file"))) {
        begin_file(job, FIXTURE_FILE_SIZE / 2);
    } else if (str_eq(path, STR("/chunks"))) {
        begin_stream(job, true);
    } else if (str_eq(path, STR("/later"))) {
        answer_from_other_thread(job);
    } else if (str_eq(path, STR("/hold"))) {
        job->timer = loop_timer_new(http_request_loop(req), job->total, 0, on_hold_over, job);
    } else if (str_eq(path, STR("/abort"))) {
        begin_abort(job);
    } else if (str_eq(path, STR("/none"))) {
        http_respond(req, 204, (Str){NULL, 0});
    } else {
        http_respond_error(req, ERR_NO_ROUTE, NULL);
    }
}

/* ---- the server ---- */

void fixture_open(Fixture *f, void (*change)(HttpServerOptions *options))
{
    Err err;
    memset(f, 0, sizeof *f);
    signal(SIGPIPE, SIG_IGN); /* which sendfile raises, unlike send */
    log_init(STDERR_FILENO, LOG_TEXT, LOG_ERROR);
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(loop_open(i, &f->loops[i], &err), &err);
        assert_ok(loop_start(f->loops[i], &err), &err);
    }
    assert_ok(buffers_open(FIXTURE_BUFFERS, FIXTURE_BUFFER_SIZE, &f->buffers, &err), &err);
    f->options = http_server_options();
    f->options.name = "test";
    f->options.address = "127.0.0.1:0";
    f->options.loops = f->loops;
    f->options.loop_count = 2;
    f->options.buffers = f->buffers;
    f->options.on_request = on_request;
    f->options.ctx = f;
    f->options.linger_timeout_ms = 500;
    if (change != NULL) change(&f->options);
    assert_ok(http_server_open(&f->options, &f->server, &err), &err);
}

void fixture_close(Fixture *f)
{
    http_server_close(f->server);
    for (unsigned i = 0; i < 2; i++)
        loop_close(f->loops[i]);
    assert_int_equal(atomic_load(&f->requests), atomic_load(&f->ends));
    assert_int_equal(buffers_free_count(f->buffers), FIXTURE_BUFFERS);
    buffers_close(f->buffers);
}

static void sleep_ms(unsigned ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&wait, NULL);
}

void fixture_wait(_Atomic unsigned *counter, unsigned value)
{
    for (unsigned i = 0; i < 15000 && atomic_load(counter) < value; i++)
        sleep_ms(2);
    assert_true(atomic_load(counter) >= value);
}

/* ---- the client ---- */

int client_open(const Fixture *f)
{
    struct timeval limit = {.tv_sec = 30};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(http_server_port(f->server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

void client_close(int fd)
{
    close(fd);
}

void client_reset(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(fd);
}

void client_send(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) return; /* closed early: the reply tells */
        at += sent;
        len -= (size_t)sent;
    }
}

/* One byte, or -1 at the end. */
static int read_byte(int fd)
{
    uint8_t c;
    return recv(fd, &c, 1, 0) == 1 ? c : -1;
}

/* Up to and with the next CR LF, terminated. False at the end of the connection. */
static bool read_line(int fd, char *out, size_t size)
{
    size_t len = 0;
    while (len + 1 < size) {
        int c = read_byte(fd);
        if (c < 0) return false;
        out[len++] = (char)c;
        out[len] = '\0';
        if (len >= 2 && out[len - 2] == '\r' && c == '\n') return true;
    }
    return false;
}

static bool read_body(int fd, Reply *reply, uint64_t len)
{
    static uint8_t data[65536];
    while (len > 0) {
        ssize_t got = recv(fd, data, (size_t)MIN(len, (uint64_t)sizeof data), 0);
        if (got <= 0) return false;
        for (ssize_t i = 0; i < got; i++) {
            if (reply->body_len < sizeof reply->body) reply->body[reply->body_len] = data[i];
            reply->body_len++;
            reply->body_sum += data[i];
        }
        len -= (uint64_t)got;
    }
    return true;
}

static bool read_chunks(int fd, Reply *reply)
{
    for (;;) {
        char line[64];
        if (!read_line(fd, line, sizeof line)) return false;
        uint64_t len = strtoull(line, NULL, 16);
        if (!read_body(fd, reply, len) || !read_line(fd, line, sizeof line)) return false;
        assert_string_equal(line, "\r\n");
        if (len == 0) return true;
    }
}

Reply client_reply(int fd, bool head)
{
    Reply reply = {0};
    char line[1024];
    size_t used = 0;
    while (read_line(fd, line, sizeof line) && strcmp(line, "\r\n") != 0) {
        size_t len = strlen(line);
        assert_true(used + len < sizeof reply.head);
        memcpy(reply.head + used, line, len + 1);
        used += len;
    }
    assert_memory_equal(reply.head, "HTTP/1.1 ", 9);
    reply.status = (int)strtol(reply.head + 9, NULL, 10);
    const char *length = strstr(reply.head, "\r\nContent-Length: ");
    uint64_t announced = 0;
    if (length != NULL) announced = strtoull(length + 18, NULL, 10);
    if (head || reply.status == 204 || reply.status == 100)
        reply.complete = true;
    else if (strstr(reply.head, "\r\nTransfer-Encoding: chunked\r\n") != NULL)
        reply.complete = read_chunks(fd, &reply);
    else if (length != NULL)
        reply.complete = read_body(fd, &reply, announced);
    else
        (void)read_body(fd, &reply, UINT64_MAX); /* until the end of the connection */
    return reply;
}

bool reply_has(const Reply *reply, const char *header_line)
{
    char line[512];
    snprintf(line, sizeof line, "\r\n%s\r\n", header_line);
    return strstr(reply->head, line) != NULL;
}

bool client_sees_end(int fd, bool *reset)
{
    char data[4096];
    ssize_t got;
    while ((got = recv(fd, data, sizeof data, 0)) > 0) {}
    if (reset != NULL) *reset = got < 0 && errno == ECONNRESET;
    return got == 0 || errno == ECONNRESET;
}
