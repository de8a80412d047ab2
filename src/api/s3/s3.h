/* The S3 door: requests as S3's programs send them, on the same files, rights and durability as the
 * REST door. One file an operation group; routes.c has the table. A request is handled on the loop
 * that took it. What there is and what not: docs/s3.md. */
#ifndef HOLDFAST_API_S3_S3_H
#define HOLDFAST_API_S3_S3_H

#include "api/body/md5_thread.h"
#include "audit/audit.h"
#include "auth/auth.h"
#include "http/server.h"
#include "service/service.h"

typedef struct {
    Keys *keys;          /* not owned */
    size_t loop_count;   /* loops have the indexes 0..loop_count-1 */
    size_t requests_max; /* at once: more are told to come back; 0: no limit */
    Buffers *buffers;    /* for bodies that are sent; outlives the S3 */
    Md5Thread *md5;      /* not owned; outlives the S3 */
    Clock *clock;
    const char *region;        /* where its buckets are; stays */
    const char *domain;        /* BUCKET.domain is a host of ours; "": paths only; stays */
    bool tls;                  /* its addresses are https://… */
    bool sigv2;                /* addresses and forms signed by Version 2 are taken */
    uint64_t upload_expiry_ms; /* an upload in parts that gets none for so long is ended */
    bool access_log;           /* a line for each request */
    Audit *audit;              /* NULL: none */
    bool audit_strict;         /* changes are refused while it can't be written */
    /* A body could not be made durable: the root takes no more writes. */
    void (*fail)(void *ctx, const Store *store, const Err *err);
    void *fail_ctx;
} S3Options;

typedef struct S3 S3;

S3 *s3_new(const S3Options *options);
void s3_free(S3 *s3); /* no request is left, readers are closed; NULL is fine */
/* HttpServerOptions.on_request, with the S3 as ctx. */
void s3_on_request(void *s3, HttpRequest *req);
/* HttpServerOptions.on_refused. */
void s3_on_refused(HttpRequest *req, int status, ErrCode code, const char *detail);
/* From now on requests reach the service. Until then: 503. */
void s3_publish(S3 *s3, Service *service);
/* Whether each request gets a line in the log. Any thread. */
void s3_set_access_log(S3 *s3, bool on);
/* Requests under way in this process. Any thread. */
int64_t s3_in_flight(void);
/* Closes the reader of a loop, on its thread; no request is left on it. */
void s3_close_reader(S3 *s3, unsigned loop_index);

AUTO_DEFINE(S3, s3_free);

#endif
