/* The REST door: requests of /v1, health and metrics, to the service and back. One file an
 * operation group; rest.c has the table of routes. A request is handled on the loop that took it;
 * the Rest itself may be told things from any thread. */
#ifndef HOLDFAST_API_REST_REST_H
#define HOLDFAST_API_REST_REST_H

#include "auth/auth.h"
#include "http/server.h"
#include "service/service.h"
#include "store/scrub.h"

/* What administrators ask the node; called on loops. */
typedef struct {
    void *ctx;
    size_t (*shards)(void *ctx, EngineShardStatus *out, size_t max);
    size_t (*in_flight)(void *ctx);     /* mutations under way */
    bool (*failed)(void *ctx);          /* no more writes */
    void (*cause)(void *ctx, Err *out); /* why */
    Scrub *scrub;                       /* what scrub.h leaves to any thread */
    /* A body could not be made durable: the root takes no more writes. */
    void (*fail)(void *ctx, const Err *err);
} RestNode;

typedef struct {
    AuthKeys keys;     /* not copied */
    size_t loop_count; /* loops have the indexes 0..loop_count-1 */
    Buffers *buffers;  /* for bodies that are sent; outlives the Rest */
    Clock *clock;
    bool access_log; /* a line for each request */
} RestOptions;

typedef struct Rest Rest;

Rest *rest_new(const RestOptions *options);
void rest_free(Rest *rest); /* no request is left, readers are closed; NULL is fine */
/* HttpServerOptions.on_request, with the Rest as ctx. */
void rest_on_request(void *rest, HttpRequest *req);

/* The OpenAPI 3.1 document of this door, as /openapi.json answers it. out: at least
 * REST_OPENAPI_MAX. Errors: ERR_TOO_BIG, ERR_NO_MEMORY. */
#define REST_OPENAPI_MAX (1024 * 1024)
MUST_USE ErrCode rest_openapi_print(Buf *out, Err *err);

/* Before the service is there: what /readyz tells. phase: static text. */
void rest_set_phase(Rest *rest, const char *phase);
void rest_set_progress(Rest *rest, uint64_t records, uint64_t bytes);
/* From now on requests reach the service. node is copied. */
void rest_publish(Rest *rest, Service *service, const RestNode *node);
/* Whether each request gets a line in the log. Any thread. */
void rest_set_access_log(Rest *rest, bool on);
/* /readyz says no from now on. */
void rest_drain(Rest *rest);
/* Requests under way in this process. Any thread. */
int64_t rest_in_flight(void);
/* Closes the reader of a loop, on its thread; no request is left on it. */
void rest_close_reader(Rest *rest, unsigned loop_index);

AUTO_DEFINE(Rest, rest_free);

#endif
