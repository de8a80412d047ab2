/* Every call of sockets, pools and memory below the HTTP server fails, one after the other, once or
 * from then on: nothing may crash or hang, each request ends exactly once, every buffer comes back,
 * and the next connection without failures is served. */
#include "../unit/http/server_fixture.h"

#include "base/fault.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REQUIRED 60 /* runs */
#define BODY_LEN 300000

static FaultStat points[] = {
    {.name = "net.accept"}, {.name = "net.read"}, {.name = "net.write"},
    {.name = "pool.take"},  {.name = "mem.take"},
};

static void short_deadlines(HttpServerOptions *options)
{
    options->io_timeout_ms = 60;
    options->linger_timeout_ms = 60;
    options->header_timeout_ms = 60;
    options->idle_timeout_ms = 60;
}

static void send_with_body(int fd, const char *request, size_t len)
{
    static uint8_t body[BODY_LEN];
    char head[200];
    snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", request,
             len);
    client_send_text(fd, head);
    client_send(fd, body, len);
}

/* Requests of each kind, then everything is read until the server closes. */
static void work(Fixture *f)
{
    int fd = client_open(f);
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    send_with_body(fd, "POST /collect", 50000);
    send_with_body(fd, "PUT /read", BODY_LEN);
    client_send_text(fd, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
                         "PUT /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n0\r\n\r\n"
                         "GET /chunks?3000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_true(client_sees_end(fd, NULL));
    client_close(fd);
}

static void works_as_ever(Fixture *f)
{
    int fd = client_open(f);
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    Reply reply = client_reply(fd, false);
    assert_int_equal(reply.status, 200);
    client_close(fd);
}

static void count_points(void)
{
    FaultStat passed[FAULT_POINTS_MAX];
    size_t count = fault_stats(passed, FAULT_POINTS_MAX);
    for (size_t i = 0; i < count; i++) {
        for (size_t p = 0; p < ARRAY_LEN(points); p++) {
            if (strcmp(points[p].name, passed[i].name) != 0) continue;
            points[p].hits += passed[i].hits;
            points[p].fired += passed[i].fired;
        }
    }
}

/* Fails the nth pass over point; false when there are not so many. */
static bool run(const char *point, uint64_t nth, bool sticky)
{
    Fixture f;
    fixture_open(&f, short_deadlines);
    fault_reset();
    fault_arm(point, strcmp(point, "net.accept") == 0 ? EMFILE : ECONNRESET, nth, sticky);
    work(&f);
    FaultStat passed[FAULT_POINTS_MAX];
    bool fired = false;
    size_t count = fault_stats(passed, FAULT_POINTS_MAX);
    for (size_t i = 0; i < count; i++)
        if (strcmp(passed[i].name, point) == 0 && passed[i].fired > 0) fired = true;
    count_points();
    fault_reset();
    works_as_ever(&f);
    fixture_close(&f);
    return fired;
}

static void survives_each_failure(void **state)
{
    UNUSED(state);
    unsigned runs = 0;
    for (size_t p = 0; p < ARRAY_LEN(points); p++)
        for (int sticky = 0; sticky < 2; sticky++)
            for (uint64_t nth = 1; nth <= 60; nth++) {
                runs++;
                if (!run(points[p].name, nth, sticky == 1)) break;
            }
    for (size_t p = 0; p < ARRAY_LEN(points); p++) {
        printf("%s: hits=%llu fired=%llu\n", points[p].name, (unsigned long long)points[p].hits,
               (unsigned long long)points[p].fired);
        assert_true(points[p].fired > 0);
    }
    printf("LAYER torture required=%d executed=%u failed=0\n", REQUIRED, runs);
    assert_true(runs >= REQUIRED);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
