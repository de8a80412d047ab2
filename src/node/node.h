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
    const char *data; /* directory; made if absent */
    const char *http; /* address and port */
    unsigned threads; /* loops; 0: one a processor, at most 8 */
    uint64_t segment_size;
    uint64_t index_cache_bytes; /* per thread */
    uint64_t compact_rate;      /* bytes a second; 0: no compaction */
    unsigned compact_dead_percent;
    uint64_t scrub_period_ms; /* 0: no scrub */
    uint64_t scrub_rate_min;  /* bytes a second */
    uint64_t scrub_rate_max;
    uint64_t body_cache_bytes; /* all threads together; 0: none */
    size_t connections_max;
    bool access_log;
} NodeOptions;

typedef struct Node Node;

/* On OK all is recovered, and the node becomes ready by itself within moments. Errors: those of
 * root_open(), http_server_open() and store_open(), in one line for a person. */
MUST_USE ErrCode node_open(const NodeOptions *options, Node **out, Err *err);
uint16_t node_http_port(const Node *node);
bool node_ready(const Node *node);  /* the service is there */
bool node_failed(const Node *node); /* no more writes; before it was ready: it never will be */
/* Whether each request gets a line in the log. */
void node_set_access_log(Node *node, bool on);
/* Drains for at most timeout_ms, then closes what is left of the connections; applies everything
 * and leaves nothing to replay. The node is then only freed. */
MUST_USE ErrCode node_stop(Node *node, uint32_t timeout_ms, Err *err);
void node_free(Node *node); /* NULL is fine; without node_stop() like a kill -9 */

AUTO_DEFINE(Node, node_free);

#endif
