/* A server with handlers that use every way to take a body and to answer, and raw clients. */
#ifndef HOLDFAST_TEST_UNIT_HTTP_SERVER_FIXTURE_H
#define HOLDFAST_TEST_UNIT_HTTP_SERVER_FIXTURE_H

#include "http/server.h"
#include "testing.h"

#include <stdatomic.h>

#define FIXTURE_BUFFERS 4
#define FIXTURE_BUFFER_SIZE (256 * 1024)
#define FIXTURE_FILE_SIZE ((size_t)700001) /* of random_bytes(1): /file?N sends N bytes of it */

typedef struct {
    Loop *loops[2];
    Buffers *buffers;
    HttpServer *server;
    HttpServerOptions options;
    /* counted by the handlers */
    _Atomic unsigned requests, ends, gones, failures;
    _Atomic int failure_code; /* the last ErrCode of a body or write callback */
    _Atomic size_t buffers_held_max;
} Fixture;

/* change may alter f->options before the server opens (NULL: nothing). */
void fixture_open(Fixture *f, void (*change)(HttpServerOptions *options));
/* Closes and checks that each request ended once and every buffer is back. */
void fixture_close(Fixture *f);
/* Waits, at most 5 s, until *counter is at least value. */
void fixture_wait(_Atomic unsigned *counter, unsigned value);

/* ---- a raw client; 5 s at most for each step ---- */
int client_open(const Fixture *f);
void client_close(int fd);
/* Closes with a reset. */
void client_reset(int fd);
void client_send(int fd, const void *data, size_t len);
#define client_send_text(fd, text) client_send((fd), (text), strlen(text))

typedef struct {
    int status;
    char head[4096];
    size_t body_len;
    uint64_t body_sum;  /* of all bytes */
    uint8_t body[8192]; /* the first ones */
    bool complete;      /* as long as announced */
} Reply;

/* Reads one reply (Content-Length or chunked), leaving what follows. Fails the test if there is
 * none. head: the request was HEAD. */
Reply client_reply(int fd, bool head);
bool reply_has(const Reply *reply, const char *header_line);
/* Does the server close the connection (with a FIN; *reset: with a reset)? */
bool client_sees_end(int fd, bool *reset);

#endif
