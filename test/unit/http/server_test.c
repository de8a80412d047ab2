#include "server_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static uint64_t now_ms(void)
{
    return clock_boot_ns(clock_real()) / 1000000;
}

static void body_is(const Reply *reply, const char *text)
{
    assert_true(reply->complete);
    assert_int_equal(reply->body_len, strlen(text));
    assert_memory_equal(reply->body, text, strlen(text));
}

/* One request on a connection of its own. */
static Reply one(Fixture *f, const char *request)
{
    int fd = client_open(f);
    client_send_text(fd, request);
    Reply reply = client_reply(fd, false);
    client_close(fd);
    return reply;
}

static void answers_a_get(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    char ids[2][33];
    for (int i = 0; i < 2; i++) {
        client_send_text(fd, GET("/hello"));
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 200);
        body_is(&reply, "hello");
        assert_true(reply_has(&reply, "Server: holdfast"));
        assert_true(reply_has(&reply, "Content-Length: 5"));
        assert_true(reply_has(&reply, "X-Evil: a  b"));
        assert_non_null(strstr(reply.head, "\r\nDate: "));
        assert_null(strstr(reply.head, "Connection:"));
        const char *id = strstr(reply.head, "\r\nX-Request-Id: ");
        assert_non_null(id);
        memcpy(ids[i], id + 16, 32);
        ids[i][32] = '\0';
        assert_int_equal(strspn(ids[i], "0123456789abcdef"), 32);
    }
    assert_string_not_equal(ids[0], ids[1]);
    client_send_text(fd, GET("/none"));
    Reply none = client_reply(fd, false);
    assert_int_equal(none.status, 204);
    assert_null(strstr(none.head, "Content-Length"));
    client_send_text(fd, GET("/later"));
    Reply later = client_reply(fd, false);
    body_is(&later, "later");
    client_send_text(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"));
    Reply head = client_reply(fd, true);
    assert_true(reply_has(&head, "Content-Length: 5"));
    Reply after = client_reply(fd, false);
    body_is(&after, "hello");
    client_close(fd);
    fixture_close(&f);
}

static void answers_pipelined_requests_in_order(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    char all[40000];
    size_t len = 0;
    for (int i = 0; i < 300; i++)
        len += (size_t)snprintf(all + len, sizeof all - len,
                                i % 3 == 2   ? "POST /collect HTTP/1.1\r\nHost: a\r\n"
                                               "Content-Length: 4\r\n\r\n%04d"
                                : i % 3 == 1 ? GET("/later") "%.0d"
                                             : GET("/hello") "%.0d",
                                i % 3 == 2 ? i : 0);
    client_send(fd, all, len);
    for (int i = 0; i < 300; i++) {
        char text[16];
        snprintf(text, sizeof text, i % 3 == 2 ? "%04d" : i % 3 == 1 ? "later" : "hello", i);
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 200);
        body_is(&reply, text);
    }
    client_close(fd);
    fixture_close(&f);
}

static void takes_requests_in_any_cut(void **state)
{
    UNUSED(state);
    static const char request[] = "POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"
                                  "\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: v\r\n\r\n";
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    for (size_t cut = 1; cut < sizeof request - 1; cut += 3) {
        client_send(fd, request, cut);
        if (cut % 2 == 0) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        client_send(fd, request + cut, sizeof request - 1 - cut);
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 200);
        body_is(&reply, "abcdefg");
    }
    client_close(fd);
    fixture_close(&f);
}

static void long_linger(HttpServerOptions *options)
{
    options->linger_timeout_ms = 20000; /* more than the machine may stand still */
}

static void refuses_and_closes(void **state)
{
    UNUSED(state);
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"GET /hello HTTP/1.1\r\n\r\n", 400},
        {"GET /hello HTTP/1.1\nHost: a\n\n", 400},
        {"GET /hello HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"GET /hello HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417},
        {"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
         "Transfer-Encoding: chunked\r\n\r\n",
         400},
    };
    Fixture f;
    fixture_open(&f, long_linger);
    uint64_t start = now_ms();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = client_open(&f);
        client_send_text(fd, rows[i].request);
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, rows[i].status);
        assert_true(reply_has(&reply, "Content-Type: application/problem+json"));
        assert_true(reply_has(&reply, "Connection: close"));
        assert_true(client_sees_end(fd, NULL));
        client_close(fd);
    }
    assert_true(now_ms() - start < f.options.linger_timeout_ms); /* a FIN at once */
    char *huge = mem_new(40000);
    memset(huge, 'a', 39999);
    memcpy(huge, "GET /", 5);
    int fd = client_open(&f);
    client_send(fd, huge, 39999);
    Reply reply = client_reply(fd, false);
    assert_int_equal(reply.status, 414);
    client_close(fd);
    memcpy(huge, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    fd = client_open(&f);
    client_send(fd, huge, 39999);
    reply = client_reply(fd, false);
    assert_int_equal(reply.status, 431);
    assert_true(client_sees_end(fd, NULL));
    client_close(fd);
    mem_free(huge);
    assert_int_equal(atomic_load(&f.requests), 0);
    fixture_close(&f);
}

static void short_header_deadline(HttpServerOptions *options)
{
    options->header_timeout_ms = 150;
    options->idle_timeout_ms = 300;
    options->linger_timeout_ms = 20000; /* the answer is still there for a client that is late */
}

#define TRIES 5 /* of what is timed: the machine may stand still in some */

/* Milliseconds after which a head that comes slowly was refused. */
static uint64_t slow_head_ends_ms(void)
{
    Fixture f;
    fixture_open(&f, short_header_deadline);
    int drip = client_open(&f), idle = client_open(&f);
    uint64_t start = now_ms();
    for (int i = 0; i < 12; i++) {
        client_send(drip, &"GET /hello HTTP/1.1"[i], 1);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    Reply reply = client_reply(drip, false);
    assert_int_equal(reply.status, 408);
    assert_true(client_sees_end(drip, NULL));
    uint64_t took = now_ms() - start;
    assert_true(client_sees_end(idle, NULL));
    client_close(drip);
    client_close(idle);
    fixture_close(&f);
    return took;
}

static void times_slow_headers_and_idle_clients_out(void **state)
{
    UNUSED(state);
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < TRIES && least >= 1000; i++)
        least = MIN(least, slow_head_ends_ms());
    assert_true(least < 1000);
}

static void short_io_deadline(HttpServerOptions *options)
{
    options->io_timeout_ms = 100;
    options->rate_min_bytes_s = 1000000;
}

static void times_slow_bodies_out(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, short_io_deadline);
    static const char *const requests[] = {
        "POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc",
        "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc",
        "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        int fd = client_open(&f);
        client_send_text(fd, requests[i]);
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 408);
        assert_true(client_sees_end(fd, NULL));
        client_close(fd);
        assert_int_equal(atomic_load(&f.failure_code), ERR_REQUEST_TIMEOUT);
    }
    fixture_close(&f);
}

/* Milliseconds after which a body is refused that is never silent for long, but far below the least
 * rate: 256 KiB must come within 0.36 s. */
static uint64_t slow_rate_ends_ms(void)
{
    Fixture f;
    fixture_open(&f, short_io_deadline);
    int fd = client_open(&f);
    client_send_text(fd, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    uint64_t start = now_ms();
    while (atomic_load(&f.failures) < 1 && now_ms() - start < 30000) {
        client_send(fd, "x", 1);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    uint64_t took = now_ms() - start;
    assert_int_equal(atomic_load(&f.failures), 1);
    client_close(fd);
    fixture_close(&f);
    return took;
}

/* Neither at once, which is what silence for 100 ms would do, nor much later. */
static void times_slow_rates_out(void **state)
{
    UNUSED(state);
    uint64_t took = 0;
    for (int i = 0; i < TRIES && !(took >= 300 && took < 1500); i++)
        took = slow_rate_ends_ms();
    assert_true(took >= 300 && took < 1500);
}

/* Sends a body of so many bytes with a length or in chunks of odd sizes; returns the sum. */
static uint64_t send_body(int fd, const char *path, size_t len, bool chunked)
{
    static uint8_t body[3000000];
    char head[200];
    uint64_t sum = 0;
    assert_true(len <= sizeof body);
    random_bytes(len, body, len);
    for (size_t i = 0; i < len; i++)
        sum += body[i];
    if (!chunked) {
        snprintf(head, sizeof head, "PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                 path, len);
        client_send_text(fd, head);
        client_send(fd, body, len);
        return sum;
    }
    snprintf(head, sizeof head, "PUT %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
             path);
    client_send_text(fd, head);
    for (size_t at = 0, size = 1; at < len; size = size * 3 + 7) {
        size_t take = MIN(MIN(size, (size_t)200000), len - at);
        snprintf(head, sizeof head, "%zx\r\n", take);
        client_send_text(fd, head);
        client_send(fd, body + at, take);
        client_send_text(fd, "\r\n");
        at += take;
    }
    client_send_text(fd, "0\r\n\r\n");
    return sum;
}

static void reads_bodies_in_pieces(void **state)
{
    UNUSED(state);
    static const size_t sizes[] = {0,      1,      4096,   30000,  FIXTURE_BUFFER_SIZE - 1,
                                   262144, 262145, 524288, 1000000};
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    for (size_t i = 0; i < ARRAY_LEN(sizes) * 2; i++) {
        char text[64];
        size_t len = sizes[i / 2];
        uint64_t sum = send_body(fd, "/read", len, i % 2 == 1);
        snprintf(text, sizeof text, "%zu %llu", len, (unsigned long long)sum);
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 200);
        body_is(&reply, text);
    }
    client_close(fd);
    fixture_close(&f);
}

static void collects_bodies(void **state)
{
    UNUSED(state);
    static const size_t sizes[] = {0, 1, 4096, 31000, 32768, 40000, 99999, 100000};
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    for (size_t i = 0; i < ARRAY_LEN(sizes) * 2; i++) {
        uint64_t sum = send_body(fd, "/collect", sizes[i / 2], i % 2 == 1);
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 200);
        assert_true(reply.complete);
        assert_int_equal(reply.body_len, sizes[i / 2]);
        assert_int_equal(reply.body_sum, sum);
    }
    client_close(fd);
    for (int chunked = 0; chunked < 2; chunked++) {
        fd = client_open(&f);
        send_body(fd, "/collect", 100001, chunked == 1);
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 413);
        client_close(fd);
    }
    fixture_close(&f);
}

static void no_collect_budget(HttpServerOptions *options)
{
    options->collect_max_bytes = 60000;
}

static void keeps_collected_bodies_within_the_budget(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, no_collect_budget);
    int fd = client_open(&f);
    send_body(fd, "/collect", 61000, false);
    Reply reply = client_reply(fd, false);
    assert_int_equal(reply.status, 503);
    assert_true(reply_has(&reply, "Retry-After: 1"));
    for (int i = 0; i < 3; i++) { /* drained: the connection goes on; given back each time */
        send_body(fd, "/collect", 50000, false);
        reply = client_reply(fd, false);
        assert_int_equal(reply.status, 200);
    }
    client_close(fd);
    fixture_close(&f);
}

/* What is pipelined meanwhile goes elsewhere. */
static void keeps_a_collected_body_until_the_end(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    client_send_text(fd, "POST /keep HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n"
                         "01234567890123456789");
    fixture_wait(&f.requests, 1);
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    client_send_text(fd, GET("/hello"));
    Reply reply = client_reply(fd, false);
    body_is(&reply, "01234567890123456789");
    reply = client_reply(fd, false);
    body_is(&reply, "hello");
    client_close(fd);
    fixture_close(&f);
}

static void slows_the_client_down(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    char text[64];
    uint64_t sum = send_body(fd, "/slow", 2500000, false);
    snprintf(text, sizeof text, "2500000 %llu", (unsigned long long)sum);
    Reply reply = client_reply(fd, false);
    body_is(&reply, text);
    sum = send_body(fd, "/slow", 600000, true);
    snprintf(text, sizeof text, "600000 %llu", (unsigned long long)sum);
    reply = client_reply(fd, false);
    body_is(&reply, text);
    client_close(fd);
    fixture_close(&f);
}

/* More uploads than buffers: all of them end, because buffers that come back wake who waits. */
static void shares_few_buffers(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fds[12];
    static uint8_t body[700000];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client_open(&f);
        client_send_text(fds[i], "PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 700000\r\n\r\n");
        assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
    }
    size_t sent[ARRAY_LEN(fds)] = {0}, done = 0;
    uint64_t start = now_ms();
    while (done < ARRAY_LEN(fds) && now_ms() - start < 60000) {
        done = 0;
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
            ssize_t n = send(fds[i], body, sizeof body - sent[i], MSG_NOSIGNAL);
            if (n > 0) sent[i] += (size_t)n;
            if (sent[i] == sizeof body) done++;
        }
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        assert_int_equal(fcntl(fds[i], F_SETFL, 0), 0);
        Reply reply = client_reply(fds[i], false);
        body_is(&reply, "700000 0");
        client_close(fds[i]);
    }
    fixture_close(&f);
}

/* An upload that finds no buffer waits; for one that comes back, or until it is told to retry. */
static void waits_for_a_buffer(void **state)
{
    UNUSED(state);
    Fixture f;
    Buffer *held[FIXTURE_BUFFERS];
    fixture_open(&f, short_io_deadline);
    for (size_t i = 0; i < FIXTURE_BUFFERS; i++)
        assert_ok(buffers_take(f.buffers, (BuffersUse)(i % 2), &held[i], NULL), NULL);
    int fd = client_open(&f);
    client_send_text(fd, "PUT /read HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    fixture_wait(&f.requests, 1);
    buffer_release(held[0]);
    Reply reply = client_reply(fd, false);
    body_is(&reply, "3 294");
    assert_ok(buffers_take(f.buffers, BUFFERS_IN, &held[0], NULL), NULL);
    client_send_text(fd, "PUT /read HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    reply = client_reply(fd, false);
    assert_int_equal(reply.status, 503);
    assert_int_equal(atomic_load(&f.failure_code), ERR_BUSY);
    client_close(fd);
    for (size_t i = 0; i < FIXTURE_BUFFERS; i++)
        buffer_release(held[i]);
    fixture_close(&f);
}

static void answers_before_the_body_is_read(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    /* Small: drained, the connection goes on. */
    client_send_text(fd, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n");
    Reply reply = client_reply(fd, false);
    assert_int_equal(reply.status, 403);
    assert_null(strstr(reply.head, "Connection: close"));
    static uint8_t zeros[20000];
    client_send(fd, zeros, sizeof zeros);
    client_send_text(fd, GET("/hello"));
    reply = client_reply(fd, false);
    body_is(&reply, "hello");
    /* A chunked one that is all there. */
    client_send_text(fd, "POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "1\r\na\r\n0\r\n\r\n" GET("/hello"));
    reply = client_reply(fd, false);
    assert_int_equal(reply.status, 403);
    reply = client_reply(fd, false);
    body_is(&reply, "hello");
    /* Large: answered, closed in order, although the client still sends. */
    client_send_text(fd, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    for (int i = 0; i < 50; i++)
        client_send(fd, zeros, sizeof zeros);
    bool reset;
    reply = client_reply(fd, false);
    assert_int_equal(reply.status, 403);
    assert_true(reply.complete);
    assert_true(reply_has(&reply, "Connection: close"));
    assert_true(client_sees_end(fd, &reset));
    assert_false(reset);
    client_close(fd);
    fixture_close(&f);
}

static void says_100_continue_when_the_body_is_wanted(void **state)
{
    UNUSED(state);
    static const char rest[] =
        " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    client_send_text(fd, "POST /collect");
    client_send_text(fd, rest);
    Reply reply = client_reply(fd, false);
    assert_int_equal(reply.status, 100);
    client_send_text(fd, "abc");
    reply = client_reply(fd, false);
    body_is(&reply, "abc");
    client_send_text(fd, "POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
                         "Expect: 100-continue\r\n\r\n");
    reply = client_reply(fd, false); /* an empty one is wanted too */
    assert_int_equal(reply.status, 100);
    reply = client_reply(fd, false);
    body_is(&reply, "");
    client_send_text(fd, "POST /collect?2");
    client_send_text(fd, rest);
    reply = client_reply(fd, false); /* too large: refused without asking for it */
    assert_int_equal(reply.status, 413);
    assert_true(reply_has(&reply, "Connection: close"));
    assert_true(client_sees_end(fd, NULL));
    client_close(fd);
    fixture_close(&f);
}

static void tells_that_the_client_is_gone(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    /* In the body, by a reset. */
    int fd = client_open(&f);
    client_send_text(fd, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
    fixture_wait(&f.requests, 1);
    client_reset(fd);
    fixture_wait(&f.ends, 1);
    assert_int_equal(atomic_load(&f.gones), 1);
    assert_int_equal(atomic_load(&f.failure_code), ERR_INCOMPLETE_BODY);
    /* While the answer is made: the request stays until it was answered. */
    fd = client_open(&f);
    client_send_text(fd, GET("/hold?100"));
    fixture_wait(&f.requests, 2);
    client_reset(fd);
    fixture_wait(&f.gones, 2);
    assert_int_equal(atomic_load(&f.ends), 1);
    fixture_wait(&f.ends, 2);
    /* In the answer. */
    fd = client_open(&f);
    client_send_text(fd, GET("/stream?100000000"));
    char some[1000];
    assert_true(recv(fd, some, sizeof some, 0) > 0);
    client_reset(fd);
    fixture_wait(&f.ends, 3);
    /* In the body, by a FIN: the answer can still be read. */
    fd = client_open(&f);
    client_send_text(fd, "POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    Reply reply = client_reply(fd, false);
    assert_int_equal(reply.status, 400);
    assert_true(client_sees_end(fd, NULL));
    client_close(fd);
    /* After the request, by a FIN: answered as any other. */
    fd = client_open(&f);
    client_send_text(fd, GET("/hold?30"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    reply = client_reply(fd, false);
    body_is(&reply, "held");
    assert_true(client_sees_end(fd, NULL));
    client_close(fd);
    fixture_close(&f);
}

/* VmHWM in KiB. */
static long peak_memory(void)
{
    char line[200];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    while (value < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0) value = strtol(line + 6, NULL, 10);
    fclose(file);
    return value;
}

static void streams_with_flat_memory(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    Reply reply = one(&f, GET("/stream?1000000"));
    assert_int_equal(reply.body_len, 1000000);
    reply = one(&f, GET("/chunks?1000000"));
    assert_true(reply.complete);
    assert_int_equal(reply.body_len, 1000000);
    assert_true(reply_has(&reply, "Transfer-Encoding: chunked"));
    reply = one(&f, GET("/chunks"));
    assert_true(reply.complete);
    assert_int_equal(reply.body_len, 0);
    long before = peak_memory();
    int fd = client_open(&f);
    client_send_text(fd, GET("/stream?60000000"));
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* a reader that is late */
    reply = client_reply(fd, false);
    assert_true(reply.complete);
    assert_int_equal(reply.body_len, 60000000);
    assert_int_equal(reply.body_sum, (uint64_t)60000000 * 'x');
    assert_true(peak_memory() - before < 8 * 1024);
    client_send_text(fd, "HEAD /stream?77 HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"));
    reply = client_reply(fd, true);
    assert_true(reply_has(&reply, "Content-Length: 77"));
    reply = client_reply(fd, false);
    body_is(&reply, "hello");
    client_close(fd);
    fixture_close(&f);
}

static void gives_stuck_readers_up(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, short_io_deadline);
    int fd = client_open(&f);
    client_send_text(fd, GET("/stream?100000000"));
    fixture_wait(&f.ends, 1);
    assert_int_equal(atomic_load(&f.gones), 1);
    client_close(fd);
    fixture_close(&f);
}

static void resets_an_aborted_answer(void **state)
{
    UNUSED(state);
    Fixture f;
    bool reset;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    client_send_text(fd, GET("/abort"));
    assert_true(client_sees_end(fd, &reset));
    assert_true(reset);
    client_close(fd);
    fixture_close(&f);
}

static void closes_after_http_1_0(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    client_send_text(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    Reply reply = client_reply(fd, false);
    body_is(&reply, "hello");
    assert_true(reply_has(&reply, "Connection: keep-alive"));
    client_send_text(fd, "GET /hello HTTP/1.0\r\n\r\n");
    reply = client_reply(fd, false);
    body_is(&reply, "hello");
    assert_true(client_sees_end(fd, NULL));
    client_close(fd);
    fd = client_open(&f);
    client_send_text(fd, "GET /chunks?100000 HTTP/1.0\r\n\r\n");
    reply = client_reply(fd, false);
    assert_int_equal(reply.body_len, 100000);
    assert_null(strstr(reply.head, "chunked"));
    client_close(fd);
    fixture_close(&f);
}

static void two_connections(HttpServerOptions *options)
{
    options->connections_max = 2;
}

static void refuses_too_many_connections(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, two_connections);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(&f);
        if (i < 2) client_send_text(fds[i], GET("/hello"));
        Reply reply = client_reply(fds[i], false);
        assert_int_equal(reply.status, i < 2 ? 200 : 503);
    }
    assert_true(client_sees_end(fds[2], NULL));
    for (int i = 0; i < 3; i++)
        client_close(fds[i]);
    fixture_close(&f);
}

static void drains(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int idle = client_open(&f), busy = client_open(&f);
    client_send_text(idle, GET("/hello"));
    client_reply(idle, false);
    client_send_text(busy, GET("/hold?150"));
    fixture_wait(&f.requests, 2);
    assert_false(http_server_drain(f.server, 20));
    assert_true(client_sees_end(idle, NULL));
    Reply reply = client_reply(busy, false);
    body_is(&reply, "held");
    assert_true(reply_has(&reply, "Connection: close"));
    client_close(idle);
    client_close(busy);
    assert_true(http_server_drain(f.server, 5000));
    assert_int_equal(http_server_connections(f.server), 0);
    fixture_close(&f);
}

static void closes_with_requests_in_flight(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fds[4];
    for (int i = 0; i < 4; i++)
        fds[i] = client_open(&f);
    client_send_text(fds[0], GET("/hold?50"));
    client_send_text(fds[1], GET("/stream?100000000"));
    client_send_text(fds[2], "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    client_send_text(fds[3], "GET /hel");
    fixture_wait(&f.requests, 3);
    fixture_close(&f);
    for (int i = 0; i < 4; i++)
        client_close(fds[i]);
}

static void names_the_address_in_use(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    char address[40];
    Err err;
    HttpServer *second;
    HttpServerOptions options = f.options;
    snprintf(address, sizeof address, "127.0.0.1:%u", http_server_port(f.server));
    options.address = address;
    assert_code(http_server_open(&options, &second, &err), ERR_IN_USE, &err);
    assert_non_null(strstr(err_text(&err), address));
    options.address = "nowhere";
    assert_code(http_server_open(&options, &second, &err), ERR_CONFIG, &err);
    fixture_close(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_a_get),
        cmocka_unit_test(answers_pipelined_requests_in_order),
        cmocka_unit_test(takes_requests_in_any_cut),
        cmocka_unit_test(refuses_and_closes),
        cmocka_unit_test(times_slow_headers_and_idle_clients_out),
        cmocka_unit_test(times_slow_bodies_out),
        cmocka_unit_test(times_slow_rates_out),
        cmocka_unit_test(reads_bodies_in_pieces),
        cmocka_unit_test(collects_bodies),
        cmocka_unit_test(keeps_collected_bodies_within_the_budget),
        cmocka_unit_test(keeps_a_collected_body_until_the_end),
        cmocka_unit_test(slows_the_client_down),
        cmocka_unit_test(shares_few_buffers),
        cmocka_unit_test(waits_for_a_buffer),
        cmocka_unit_test(answers_before_the_body_is_read),
        cmocka_unit_test(says_100_continue_when_the_body_is_wanted),
        cmocka_unit_test(tells_that_the_client_is_gone),
        cmocka_unit_test(streams_with_flat_memory),
        cmocka_unit_test(gives_stuck_readers_up),
        cmocka_unit_test(resets_an_aborted_answer),
        cmocka_unit_test(closes_after_http_1_0),
        cmocka_unit_test(refuses_too_many_connections),
        cmocka_unit_test(drains),
        cmocka_unit_test(closes_with_requests_in_flight),
        cmocka_unit_test(names_the_address_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
