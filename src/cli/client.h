/* Client: requests to one server over libcurl's multi interface, several at once, driven by the
 * one thread that owns it. A call is one request and its answer; retrying is the caller's.
 *
 *   client_call_init → client_start → client_poll … until call->finished → look at code, answer
 *                        ^                                                    |
 *                        +----------------------------------------------------+ the next attempt */
#ifndef HOLDFAST_CLI_CLIENT_H
#define HOLDFAST_CLI_CLIENT_H

#include "base/buf.h"
#include "base/hash.h"
#include "cli/retry.h"
#include <signal.h>

typedef struct Client Client;
typedef struct ClientCall ClientCall;

#define CLIENT_ANSWER_MAX (64 * KIB) /* bytes of an answer that is kept, unless told otherwise */

struct ClientCall {
    /* The request: the caller's, unchanged until the call has finished. */
    const char *method;
    const char *target; /* encoded path and query: "/v1/files?bucket=a" */
    bool has_body;
    Str body;             /* all of it, or ptr NULL: send() gives it */
    uint64_t body_size;   /* bytes */
    const Sha256 *digest; /* of the body, sent as Repr-Digest; NULL: none */
    const char *type;     /* of the body; NULL: application/octet-stream */
    const char *header;   /* lines more, '\n' between: "If-Match: …"; NULL: none */
    ErrCode (*send)(void *ctx, void *data, size_t max, size_t *len, Err *err); /* *len 0: the end */
    ErrCode (*rewind)(void *ctx, Err *err); /* send() begins again */
    /* Each header of the answer, before its body; NULL: nobody asks. */
    void (*header_came)(void *ctx, Str name, Str value);
    /* Pieces of a 2xx answer; NULL: it is kept in answer. */
    ErrCode (*receive)(void *ctx, Str piece, Err *err);
    void *ctx;

    /* The answer. */
    bool finished;
    ErrCode code; /* OK for 2xx; else from the problem's code, or why there is no answer */
    Err err;
    int status;   /* of HTTP; 0: there was no answer */
    bool local;   /* send(), rewind() or receive() failed */
    bool refused; /* no connection was made at all */
    bool moved;   /* bytes of a body were moved */
    uint64_t retry_after_ms;
    bool has_answer_digest;
    Sha256 answer_digest; /* Repr-Digest of the answer */
    Buf answer;

    /* The client's. */
    Client *client;
    void *easy;
    void *headers;
    bool running;
    uint64_t sent;        /* bytes of the body, by this attempt */
    uint64_t moved_bytes; /* of bodies, all attempts; callers may read it for progress */
    char error_text[256];
};

/* answer_max: bytes of an answer that is kept. */
void client_call_init(ClientCall *call, size_t answer_max);
/* Cancels it if it runs; frees what it holds. */
void client_call_deinit(ClientCall *call);

/* url: "http://HOST:PORT" or https; key: "ID.SECRET" or NULL; both copied. stop: when it is not 0,
 * waiting ends (set by a signal handler); NULL: never. Errors: ERR_SYSTEM. */
MUST_USE ErrCode client_open(const char *url, const char *key, size_t connections,
                             const volatile sig_atomic_t *stop, Client **out, Err *err);
/* An https server is trusted by the authorities in this PEM file, and no others; copied. NULL: by
 * the system's. */
void client_trust(Client *client, const char *ca);
/* No call runs any more. NULL is fine. */
void client_close(Client *client);
const char *client_url(const Client *client);
/* Has the server answered anything yet? */
bool client_heard(const Client *client);
bool client_stopped(const Client *client);

/* Begins an attempt. What goes wrong is told by the call when it has finished. */
void client_start(Client *client, ClientCall *call);
/* Drives all calls for at most timeout_ms; returns early when one has finished. */
void client_poll(Client *client, int timeout_ms);
/* Ends a running attempt: ERR_ABORTED. */
void client_cancel(Client *client, ClientCall *call);

/* How long failures are retried (retry.h). */
typedef struct {
    uint64_t window_ms;
    bool given; /* the user asked for it, so it holds before the server was ever reached */
    Rng *rng;
} ClientRetry;

/* One call from start to end, with its retries; other calls go on meanwhile. Returns its code;
 * ERR_ABORTED when stopped. */
MUST_USE ErrCode client_run(Client *client, ClientCall *call, const ClientRetry *retry, Err *err);
/* The window for a call that has failed: none where no server was ever reached, so that a wrong
 * address is told at once. */
uint64_t client_window(const Client *client, const ClientCall *call, const ClientRetry *retry);
RetryCause client_cause(const ClientCall *call);

AUTO_DEFINE(Client, client_close);

#endif
