/* Answers out of files: http_respond_file(). */
#include "server_fixture.h"

#include "base/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void sleep_ms(unsigned ms)
{
    struct timespec wait = {.tv_nsec = (long)ms * 1000000};
    nanosleep(&wait, NULL);
}

/* Sum of the first total bytes of the file of the fixture, sent again and again. */
static uint64_t file_sum(uint64_t total)
{
    AUTO(uint8_t, mem_free) bytes = mem_new(FIXTURE_FILE_SIZE);
    uint64_t sum = 0;
    random_bytes(1, bytes, FIXTURE_FILE_SIZE);
    for (uint64_t i = 0; i < total; i++)
        sum += bytes[i % FIXTURE_FILE_SIZE];
    return sum;
}

static void sends_files(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    static const uint64_t sizes[] = {1, 4096, 700001, 700002, 20000000};
    int fd = client_open(&f);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char request[64];
        snprintf(request, sizeof request, "GET /file?%" PRIu64 " HTTP/1.1\r\nHost: a\r\n\r\n",
                 sizes[i]);
        client_send_text(fd, request);
        if (sizes[i] > 1000000) sleep_ms(20); /* the socket is full long before */
        Reply reply = client_reply(fd, false);
        assert_int_equal(reply.status, 200);
        assert_true(reply.complete);
        assert_int_equal(reply.body_len, sizes[i]);
        assert_int_equal(reply.body_sum, file_sum(sizes[i]));
    }
    client_send_text(fd, "HEAD /file?20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    Reply head = client_reply(fd, true);
    assert_true(reply_has(&head, "Content-Length: 20000000"));
    client_close(fd);
    fixture_close(&f);
    assert_int_equal(atomic_load(&f.failures), 0);
}

/* Whatever goes wrong in the middle is a reset: the client must not think that it has it all. */
static void resets_what_it_can_not_send(void **state)
{
    UNUSED(state);
    static const struct {
        const char *path, *fault;
        int error;
    } rows[] = {{"/short-file?700001", NULL, 0},
                {"/file?20000000", "net.sendfile", EIO},
                {"/file?20000000", "net.sendfile", ECONNRESET}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Fixture f;
        char request[64];
        bool reset = false;
        fixture_open(&f, NULL);
        if (rows[i].fault != NULL) fault_arm(rows[i].fault, rows[i].error, 2, false);
        int fd = client_open(&f);
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].path);
        client_send_text(fd, request);
        Reply reply = client_reply(fd, false);
        assert_false(reply.complete);
        (void)client_sees_end(fd, &reset); /* the reply may have seen it already */
        client_close(fd);
        fixture_close(&f);
        fault_reset();
    }
}

/* A client that goes away while a file waits for room. */
static void a_file_outlives_its_client(void **state)
{
    UNUSED(state);
    Fixture f;
    fixture_open(&f, NULL);
    int fd = client_open(&f);
    client_send_text(fd, "GET /file?50000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_wait(&f.requests, 1);
    sleep_ms(20); /* the socket is full long before */
    client_reset(fd);
    fixture_wait(&f.ends, 1);
    fixture_close(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_files),
        cmocka_unit_test(resets_what_it_can_not_send),
        cmocka_unit_test(a_file_outlives_its_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
