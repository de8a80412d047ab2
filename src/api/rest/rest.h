/* The REST door: requests of /v1, health and metrics, to the service and back. One file an
 * operation group; rest.c has the table of routes. A request is handled on the loop that took it;
 * the Rest itself may be told things from any thread. */
#ifndef HOLDFAST_API_REST_REST_H
#define HOLDFAST_API_REST_REST_H

#include "audit/audit.h"
#include "auth/auth.h"
#include "http/server.h"
#include "service/confirm.h"
#include "service/service.h"
#include "store/scrub.h"

/* What the ledger tells of a root. Times are of the wall clock. */
typedef struct {
    uint64_t files;    /* that lack their copy there: damaged, or all while it is not in sync … */
    uint64_t bytes;    /* … of them, then; else 0 */
    uint64_t since_ms; /* not in sync since then; 0: it is */
    uint64_t done_ms;  /* about when it will have caught up; 0: not known */
    uint64_t mended_ms; /* the same of all that is damaged there */
    uint64_t mended;    /* files that were put right since the start */
    uint64_t helpless;  /* damaged ones that no other root has whole */
} RestLedger;

/* A storage root, as administrators are told of it. */
typedef struct {
    const char *directory;
    Store *store;
    Scrub *scrub;    /* what scrub.h leaves to any thread */
    uint64_t device; /* of the file system */
    bool leads;
    bool in_sync;
    bool out;     /* failed, or left out by an administrator … */
    bool evicted; /* … */
    bool full;
    Err cause; /* why it is out */
    uint64_t lag_entries;
    uint64_t lag_bytes; /* if lag_known */
    bool lag_known;
    uint64_t lag_ms;
    uint64_t sync_age_ms;
    uint64_t sync_p99_ms;
    uint64_t synced_ms; /* ago; UINT64_MAX: never */
    RestLedger ledger;
} RestRoot;

/* A directory that was given and is not served. */
typedef struct {
    const char *directory;
    Err why;
} RestAbsent;

/* What goes for all of them. */
typedef struct {
    unsigned needed; /* copies in sync, for changes */
    uint64_t lead_moves;
    uint64_t sync_changes;
    EngineAsync async;
    ConfirmStatus confirm; /* of what was acknowledged so */
} RestCopies;

typedef enum { REST_HAND_OVER, REST_EVICT, REST_ADD } RestAction;

/* What administrators ask the node; called on loops. */
typedef struct {
    void *ctx;
    size_t (*shards)(void *ctx, EngineShardStatus *out, size_t max);
    size_t (*in_flight)(void *ctx);     /* mutations under way */
    bool (*failed)(void *ctx);          /* no more writes */
    void (*cause)(void *ctx, Err *out); /* why */
    size_t (*roots)(void *ctx, RestRoot out[ENGINE_ROOTS_MAX]);
    void (*copies)(void *ctx, RestCopies *out);
    size_t (*absent)(void *ctx, RestAbsent out[ENGINE_ROOTS_MAX]);
    /* Waits for its end; on a worker. ERR_PRECONDITION, ERR_BUSY, ERR_NOT_READY. */
    ErrCode (*act)(void *ctx, RestAction action, unsigned root, Err *err);
    /* A body could not be made durable: the root takes no more writes. */
    void (*fail)(void *ctx, const Store *store, const Err *err);
} RestNode;

#define REST_REQUEST_BYTES                                                                         \
    (1 * MIB) /* of a request under way at most, HTTP_REQUEST_BYTES included */

/* What the node keeps to, as `admin status` tells it. */
typedef struct {
    uint64_t connections; /* at once; http/ keeps to it */
    uint64_t requests;    /* at once, for files, all doors together */
    uint64_t buffers;
    uint64_t queue;        /* changes that wait for the core */
    uint64_t open_files;   /* that all this needs */
    uint64_t memory_bytes; /* the sum of all that is planned */
    uint64_t memory_of;    /* bytes that the process may take; 0: not known */
} RestLimits;

typedef struct {
    Keys *keys; /* not owned */
    RestLimits limits;
    uint64_t
        requests_max; /* for files, at this door at once: more are told to come back; 0: none */
    /* Whose pages a browser lets read answers: origins that commas separate, or "*"; not copied.
     * NULL or empty: nobody's. */
    const char *cors_origins;
    size_t loop_count; /* loops have the indexes 0..loop_count-1 */
    Buffers *buffers;  /* for bodies that are sent; outlives the Rest */
    Clock *clock;
    bool access_log;           /* a line for each request */
    Audit *audit;              /* NULL: none */
    bool audit_strict;         /* changes are refused while it can't be written */
    uint64_t upload_expiry_ms; /* how long a resumable upload waits for its next bytes */
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
