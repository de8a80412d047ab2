/* The door before the service is there, and without it: health answers, the rest waits. What needs
 * a store is in test/e2e. */
#include "testing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/rest/rest.h"
#include "base/fault.h"

typedef struct {
    Loop *loop;
    Buffers *buffers;
    Rest *rest;
    HttpServer *server;
    AuthKey key;
} Door;

static int open_door(void **state)
{
    Door *d = mem_new(sizeof *d);
    Err err = {0};
    uint8_t random[KEY_RANDOM_LEN] = {7};
    key_generate(random, &d->key.key);
    d->key.rights = RIGHTS_ALL & ~(unsigned)RIGHT_ADMIN;
    assert_ok(loop_open(0, &d->loop, &err), &err);
    assert_ok(loop_start(d->loop, &err), &err);
    assert_ok(buffers_open(2, BUFFERS_SIZE_DEFAULT, &d->buffers, &err), &err);
    RestOptions rest = {.keys = {.keys = &d->key, .count = 1},
                        .loop_count = 1,
                        .buffers = d->buffers,
                        .clock = clock_real()};
    d->rest = rest_new(&rest);
    HttpServerOptions http = http_server_options();
    http.address = "127.0.0.1:0";
    http.loops = &d->loop;
    http.loop_count = 1;
    http.buffers = d->buffers;
    http.on_request = rest_on_request;
    http.ctx = d->rest;
    assert_ok(http_server_open(&http, &d->server, &err), &err);
    *state = d;
    return 0;
}

static int close_door(void **state)
{
    Door *d = *state;
    http_server_close(d->server);
    loop_close(d->loop);
    rest_free(d->rest);
    buffers_close(d->buffers);
    mem_free(d);
    return 0;
}

/* Sends "METHOD PATH" with one more header (may be ""); the whole answer into out. */
static void ask(Door *d, const char *what, const char *header, char out[8192])
{
    char text[1024];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(d->server)),
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int len = snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%s\r\n",
                       what, header, header[0] == '\0' ? "" : "\r\n");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(fd, text, (size_t)len, 0), len);
    size_t got = 0;
    for (;;) {
        ssize_t n = recv(fd, out + got, 8191 - got, 0);
        assert_true(n >= 0);
        if (n == 0) break;
        got += (size_t)n;
    }
    out[got] = '\0';
    close(fd);
}

static void assert_answer(const char *answer, int status, const char *part)
{
    char begin[32];
    snprintf(begin, sizeof begin, "HTTP/1.1 %d ", status);
    if (strncmp(answer, begin, strlen(begin)) != 0 || strstr(answer, part) == NULL)
        fail_msg("not %d with %s: %s", status, part, answer);
}

static void test_recovering(void **state)
{
    Door *d = *state;
    char out[8192];
    rest_set_phase(d->rest, "replaying");
    rest_set_progress(d->rest, 4096, 123456);
    ask(d, "GET /healthz", "", out);
    assert_answer(out, 200, "\"status\":\"ok\"");
    ask(d, "GET /readyz", "", out);
    assert_answer(out, 503,
                  "{\"ready\":false,\"phase\":\"replaying\",\"records\":4096,\"bytes\":123456}");
    ask(d, "HEAD /readyz", "", out);
    assert_answer(out, 503, "Content-Length: ");
    ask(d, "GET /metrics", "", out);
    assert_answer(out, 200, "text/plain; version=0.0.4");
    ask(d, "HEAD /openapi.json", "", out);
    assert_answer(out, 200, "Content-Type: application/json");
    ask(d, "HEAD /docs/docs.css", "", out);
    assert_answer(out, 200, "Content-Security-Policy: default-src 'none'");
    ask(d, "GET /docs/docs.html", "", out);
    assert_answer(out, 404, "\"code\":\"no-route\"");
    rest_drain(d->rest);
    ask(d, "GET /readyz", "", out);
    assert_answer(out, 503, "\"phase\":\"stopping\"");
}

static void test_waits_for_service(void **state)
{
    Door *d = *state;
    char key[KEY_TEXT_LEN + 1];
    char header[128];
    char out[8192];
    key_text(&d->key.key, key);
    snprintf(header, sizeof header, "Authorization: Bearer %s", key);
    static const char *const what[] = {
        "GET /v1/buckets", "GET /v1/files?bucket=files", "PUT /v1/buckets/files/files/x",
        "DELETE /v1/files/00000000000000000000000000", "POST /v1/files?bucket=files"};
    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        ask(d, what[i], header, out);
        assert_answer(out, 503, "\"code\":\"not-ready\"");
        assert_non_null(strstr(out, "Retry-After: "));
        ask(d, what[i], "", out);
        assert_answer(out, 401, "\"code\":\"unauthenticated\"");
    }
    ask(d, "GET /v1/admin/status", header, out);
    assert_answer(out, 403, "\"code\":\"forbidden\"");
    ask(d, "GET /metrics", header, out); /* without a key it is open, this key wants more */
    assert_answer(out, 403, "\"code\":\"forbidden\"");
    ask(d, "GET /metrics", "Authorization: Bearer x", out);
    assert_answer(out, 401, "\"code\":\"unauthenticated\"");
    ask(d, "PATCH /v1/buckets", header, out);
    assert_answer(out, 405, "Allow: GET, HEAD\r\n");
    ask(d, "GET /v1/nothing", header, out);
    assert_answer(out, 404, "\"code\":\"no-route\"");
    ask(d, "GET /v1/buckets/%zz", header, out);
    assert_answer(out, 400, "\"code\":\"invalid\"");
}

/* Memory that fails anywhere on the way is told, and nothing ends by it. */
static void test_document(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(whole, REST_OPENAPI_MAX);
    assert_ok(rest_openapi_print(&whole, &err), &err);
    for (uint64_t nth = 1; nth < 1000; nth++) {
        AUTO_BUF(document, REST_OPENAPI_MAX);
        fault_arm("mem.take", ENOMEM, nth, false);
        ErrCode code = rest_openapi_print(&document, &err);
        fault_reset();
        if (code == OK) {
            assert_true(nth > 1 && str_eq(buf_str(&document), buf_str(&whole)));
            return;
        }
        assert_int_equal(code, ERR_NO_MEMORY);
    }
    fail_msg("it takes memory too often");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),
        cmocka_unit_test_setup_teardown(test_recovering, open_door, close_door),
        cmocka_unit_test_setup_teardown(test_waits_for_service, open_door, close_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
