/* More clients than there is room for: who is slow or idle gives way to the others. */
#include "server_fixture.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

static void body_is(const Reply *reply, const char *text)
{
    assert_int_equal(reply->status, 200);
    assert_true(reply->complete);
    assert_int_equal(reply->body_len, strlen(text));
    assert_memory_equal(reply->body, text, strlen(text));
}

/* Three slow uploads, for two of which there are buffers to spare: the third shows what it sends
 * before it gets the last one, so that others find it free. */
static void slow_bodies_leave_a_buffer(void **state)
{
    UNUSED(state);
    static char body[1000000];
    char head[128];
    int slow[6];
    Fixture f;
    fixture_open(&f, NULL);
    for (unsigned i = 0; i < ARRAY_LEN(slow); i++) {
        slow[i] = client_open(&f);
        client_send_text(slow[i], i % 2 == 0
                                      ? "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: "
                                        "1000000\r\n\r\nslow"
                                      : "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                                        "chunked\r\n\r\n5\r\nslow");
        fixture_wait(&f.requests, i + 1);
    }
    int fd = client_open(&f);
    memset(body, 1, sizeof body);
    snprintf(head, sizeof head, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
             sizeof body);
    client_send_text(fd, head);
    client_send(fd, body, sizeof body);
    Reply reply = client_reply(fd, false);
    body_is(&reply, "1000000 1000000");
    client_send_text(fd, "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n0\r\n\r\n");
    reply = client_reply(fd, false);
    body_is(&reply, "3 294");
    client_close(fd);
    for (unsigned i = 0; i < ARRAY_LEN(slow); i++)
        client_close(slow[i]);
    fixture_close(&f);
}

static void small_crowd(HttpServerOptions *options)
{
    options->requests_max = 1;
    options->io_timeout_ms = 1500; /* a hundred milliseconds to show one's speed */
    options->rate_min_bytes_s = 1;
}

static void no_crowd(HttpServerOptions *options)
{
    small_crowd(options);
    options->requests_max = 100;
}

/* Sends a byte every 10 ms, at most that many; is it told that it is too slow? */
static bool is_told_to_go(void (*change)(HttpServerOptions *options), unsigned bytes)
{
    Fixture f;
    fixture_open(&f, change);
    int fd = client_open(&f);
    client_send_text(fd, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    struct pollfd waits = {.fd = fd, .events = POLLIN};
    bool told = false;
    for (unsigned i = 0; i < bytes && !told; i++) {
        client_send_text(fd, "x");
        told = poll(&waits, 1, 10) == 1;
    }
    if (told) {
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 408);
    }
    client_close(fd);
    fixture_close(&f);
    return told;
}

static void the_slow_give_way_in_a_crowd(void **state)
{
    UNUSED(state);
    assert_true(is_told_to_go(small_crowd, 3000));
    bool told = true;
    for (int i = 0; i < 5 && told; i++) /* silent for too long, where the machine stands still */
        told = is_told_to_go(no_crowd, 200);
    assert_false(told);
}

static void crowded_by_connections(HttpServerOptions *options)
{
    options->connections_max = 4;
    options->idle_timeout_ms = 30000;
}

/* Connections that rest are closed after a tenth of the time if nearly all are taken. */
static void the_idle_give_way_in_a_crowd(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, crowded_by_connections);
    int fds[4];
    for (unsigned i = 0; i < 4; i++) {
        fds[i] = client_open(&f);
        client_send_text(fds[i], GET("/hello"));
        client_reply(fds[i], false);
    }
    struct pollfd waits[4];
    for (unsigned i = 0; i < 4; i++)
        waits[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    assert_true(poll(waits, 4, 20000) > 0); /* the first one; then there is room again */
    for (unsigned i = 0; i < 4; i++)
        if (waits[i].revents != 0) assert_true(client_sees_end(fds[i], NULL));
    for (unsigned i = 0; i < 4; i++)
        client_close(fds[i]);
    fixture_close(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_bodies_leave_a_buffer),
        cmocka_unit_test(the_slow_give_way_in_a_crowd),
        cmocka_unit_test(the_idle_give_way_in_a_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
