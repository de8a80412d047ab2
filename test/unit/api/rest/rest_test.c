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
    AccessKey key;
    Keys *keys;
} Door;

static int open_door_for(void **state, const char *origins)
{
    Door *d = mem_new(sizeof *d);
    Err err = {0};
    uint8_t random[KEY_RANDOM_LEN] = {7};
    AccessKey root;
    key_generate(random, &root);
    d->keys = keys_new(&root);
    random[0] = 8; /* a key that may do everything but administrate */
    random[40] = 8;
    key_generate(random, &d->key);
    KeyRecord record = {.secret = str_from_cstr(d->key.secret),
                        .label = STR("user"),
                        .grants = {{GRANT_READ | GRANT_WRITE, STR("*"), {NULL, 0}}},
                        .grant_count = 1};
    keys_put(d->keys, str_from_cstr(d->key.id), &record);
    assert_ok(loop_open(0, &d->loop, &err), &err);
    assert_ok(loop_start(d->loop, &err), &err);
    assert_ok(buffers_open(2, BUFFERS_SIZE_DEFAULT, &d->buffers, &err), &err);
    RestOptions rest = {.keys = d->keys,
                        .cors_origins = origins,
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

static int open_door(void **state)
{
    return open_door_for(state, "");
}

static int open_to_two_origins(void **state)
{
    return open_door_for(state, "https://a.example,http://b.example:8080");
}

static int open_to_all_origins(void **state)
{
    return open_door_for(state, "*");
}

static int close_door(void **state)
{
    Door *d = *state;
    http_server_close(d->server);
    loop_close(d->loop);
    rest_free(d->rest);
    keys_free(d->keys);
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
    key_text(&d->key, key);
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
    ask(d, "GET /metrics", header, out); /* may list everything: what buckets hold is no secret */
    assert_answer(out, 200, "http_server_request_duration_seconds");
    char *last = &header[strlen(header) - 1]; /* which keys there are is not known yet */
    char was = *last;
    *last = was == 'x' ? 'y' : 'x';
    ask(d, "GET /v1/buckets", header, out);
    assert_answer(out, 503, "\"code\":\"not-ready\"");
    *last = was;
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
#define ASKS "\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: "
#define A_FILE "OPTIONS /v1/buckets/files/files/a%2Fb"

static void test_origins(void **state)
{
    static const char *const listed[] = {"https://a.example", "http://b.example:8080"};
    static const char *const others[] = {"https://a.example.evil",
                                         "https://a.exampl",
                                         "null",
                                         "https://A.example",
                                         "http://a.example",
                                         "*",
                                         "https://a.example,http://b.example:8080",
                                         ""};
    Door *d = *state;
    char header[256];
    char line[256];
    char out[8192];
    for (size_t i = 0; i < ARRAY_LEN(listed); i++) {
        snprintf(header, sizeof header, "Origin: %s", listed[i]);
        snprintf(line, sizeof line, "\r\nAccess-Control-Allow-Origin: %s\r\n", listed[i]);
        ask(d, "GET /healthz", header, out);
        assert_answer(out, 200, line);
        assert_answer(out, 200, "\r\nVary: Origin\r\n");
        assert_non_null(strstr(out, "ETag, Holdfast-File-Id, "));
        assert_null(strstr(out, "Access-Control-Allow-Credentials"));
        ask(d, "GET /v1/buckets", header, out); /* a refusal can be read, too */
        assert_answer(out, 401, line);
        snprintf(header, sizeof header, "Origin: %s" ASKS "authorization, holdfast-meta-a",
                 listed[i]);
        ask(d, A_FILE, header, out);
        assert_answer(out, 204, line);
        assert_answer(out, 204, "\r\nAccess-Control-Allow-Methods: GET, HEAD, PUT, DELETE");
        assert_answer(out, 204,
                      "\r\nAccess-Control-Allow-Headers: authorization, holdfast-meta-a\r\n");
        assert_answer(out, 204, "\r\nVary: Origin, Access-Control-Request-Method, ");
        ask(d, "OPTIONS /nothing", header, out);
        assert_answer(out, 404, line);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        snprintf(header, sizeof header, "Origin: %s", others[i]);
        ask(d, "GET /healthz", header, out);
        assert_answer(out, 200, "\r\nVary: Origin\r\n");
        assert_null(strstr(out, "Access-Control-"));
        snprintf(header, sizeof header, "Origin: %s" ASKS "a", others[i]);
        ask(d, A_FILE, header, out);
        assert_answer(out, 401, "\"code\":\"unauthenticated\"");
        assert_null(strstr(out, "Access-Control-Allow-"));
    }
    ask(d, "GET /healthz", "", out);
    assert_answer(out, 200, "\r\nVary: Origin\r\n");
    ask(d, "OPTIONS /healthz", "Origin: https://a.example", out); /* no question of a browser */
    assert_answer(out, 405, "\r\nAllow: GET, HEAD\r\n");
    ask(d, A_FILE, "Origin: https://a.example" ASKS "a\"b", out);
    assert_answer(out, 204, "");
    assert_null(strstr(out, "Access-Control-Allow-Headers"));
}

static void test_any_origin(void **state)
{
    Door *d = *state;
    char out[8192];
    ask(d, "GET /healthz", "Origin: null", out);
    assert_answer(out, 200, "\r\nAccess-Control-Allow-Origin: *\r\n");
    assert_null(strstr(out, "\r\nVary"));
    assert_null(strstr(out, "Credentials"));
    ask(d, A_FILE, "Origin: https://x" ASKS "authorization", out);
    assert_answer(out, 204, "\r\nAccess-Control-Allow-Origin: *\r\n");
    ask(d, "GET /healthz", "", out); /* no page */
    assert_null(strstr(out, "Access-Control-"));
}

static void test_no_origin(void **state)
{
    Door *d = *state;
    char out[8192];
    ask(d, "GET /healthz", "Origin: https://a.example", out);
    assert_answer(out, 200, "");
    assert_null(strstr(out, "Access-Control-"));
    assert_null(strstr(out, "Vary"));
    ask(d, A_FILE, "Origin: https://a.example" ASKS "a", out);
    assert_answer(out, 401, "");
}

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
        cmocka_unit_test_setup_teardown(test_origins, open_to_two_origins, close_door),
        cmocka_unit_test_setup_teardown(test_any_origin, open_to_all_origins, close_door),
        cmocka_unit_test_setup_teardown(test_no_origin, open_door, close_door),
        cmocka_unit_test(test_document),
        cmocka_unit_test_setup_teardown(test_recovering, open_door, close_door),
        cmocka_unit_test_setup_teardown(test_waits_for_service, open_door, close_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
