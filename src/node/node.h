/* Node: one process that serves storage roots. Opens the data directory, listens, recovers, runs
 * the engine's threads and the doors, and stops cleanly. Used by one thread (main).
 *
 *   node_open   lock and identity of the root, root key, HTTP door (answers 503 meanwhile), control
 *               store, store (replay), orphans, engine; then the service is published
 *   node_stop   no new connections, requests finish, readers close, everything is applied */
#ifndef HOLDFAST_NODE_NODE_H
#define HOLDFAST_NODE_NODE_H

#include "base/mem.h"

#define NODE_LOOPS_MAX 64

typedef struct {
    const char *const *data;  /* directories, each a copy; made if absent */
    unsigned data_count;      /* 1 to 3 */
    const char *http;         /* address and port */
    const char *cors_origins; /* as the setting says; NULL: none */
    const char *s3;           /* like http, of the S3 door; NULL: none */
    bool s3_asked;            /* somebody set that; else there is no S3 door where it is taken */
    const char *s3_region;
    const char *s3_domain; /* "": none */
    bool s3_sigv2;         /* presigned addresses of Signature Version 2 are taken */
    const char *tls_cert;  /* PEM files; NULL or "": no TLS */
    const char *tls_key;
    unsigned threads; /* loops; 0: one a processor, at most 8 */
    uint64_t segment_size;
    uint64_t index_cache_bytes; /* per thread */
    uint64_t compact_rate;      /* bytes a second; 0: no compaction */
    unsigned compact_dead_percent;
    uint64_t scrub_period_ms; /* 0: no scrub */
    uint64_t expiry_wait_ms;
    uint64_t scrub_rate_min; /* bytes a second */
    uint64_t scrub_rate_max;
    uint64_t
        async_lag_entries; /* that asynchronous writes are ahead of commits at most; 0: 1000 … */
    uint64_t async_lag_bytes; /* … and then these, too, are what the engine has */
    uint64_t async_lag_ms;
    uint64_t body_cache_bytes; /* all threads together; 0: none */
    uint64_t memory_bytes;     /* that is planned with; 0: most of what there is */
    uint64_t connections_max;  /* fewer where memory or open files do not suffice */
    bool connections_asked;    /* somebody set that number */
    uint64_t upload_expiry_ms; /* of resumable uploads; 0: 24 h */
    bool access_log;
    bool audit;            /* the audit log is kept */
    bool audit_strict;     /* no change while it can't be written */
    bool audit_log;        /* its lines go to the log as well */
    const char *audit_dir; /* NULL or "": in data */
    uint64_t audit_file_size;
    unsigned audit_files;
    uint64_t audit_sync_ms; /* 0: each line */
} NodeOptions;

typedef struct Node Node;

/* On OK all is recovered, and the node becomes ready by itself within moments. Errors: those of
 * root_open(), http_server_open() and store_open(), in one line for a person. */
MUST_USE ErrCode node_open(const NodeOptions *options, Node **out, Err *err);
uint16_t node_http_port(const Node *node);
uint16_t node_s3_port(const Node *node); /* 0: there is no S3 door */
/* Devices that its directories are on. */
unsigned node_disks(const Node *node);
bool node_ready(const Node *node);  /* the service is there */
bool node_failed(const Node *node); /* no more writes; before it was ready: it never will be */
/* Whether each request gets a line in the log. */
void node_set_access_log(Node *node, bool on);
/* Reads certificate and key again, for connections that begin from now on. On failure all is as
 * before. Errors: those of tls_context_open(); ERR_CONFIG: it was started without TLS, or is to go
 * on without. */
MUST_USE ErrCode node_reload_tls(Node *node, const char *cert, const char *key, Err *err);
/* Notes in the audit log that a setting was changed, as detail says. */
void node_audit_config(Node *node, const char *detail);
/* Drains for at most timeout_ms, then closes what is left of the connections; applies everything
 * and leaves nothing to replay. The node is then only freed. */
MUST_USE ErrCode node_stop(Node *node, uint32_t timeout_ms, Err *err);
void node_free(Node *node); /* NULL is fine; without node_stop() like a kill -9 */

AUTO_DEFINE(Node, node_free);

#endif
