/* A node with its real threads over a real directory, for unit tests: what cannot be had fails the
 * test. node_kit.h has one without threads. */
#ifndef HOLDFAST_TEST_LIB_NODE_THREADS_H
#define HOLDFAST_TEST_LIB_NODE_THREADS_H

#include "base/rng.h"
#include "control/control.h"
#include "node/workers.h"
#include "service/service.h"
#include "store/root.h"
#include "store/store.h"

typedef struct {
    uint16_t shard_count;
    size_t queue_max;
    uint64_t pack_size; /* bytes; 0: as a server's */
} NodeThreadsOptions;

typedef struct {
    char *dir; /* owned, removed with all in it */
    Rng rng;
    NodeThreadsOptions options;

    Disk *disk;
    RootInfo root;
    Control *control;
    Store *store;
    StoreOpened opened;
    Buckets *buckets;
    Workers *workers;
    Service *service;
} NodeThreads;

/* An empty directory; nothing runs. */
void node_threads_init(NodeThreads *n, const NodeThreadsOptions *options, uint64_t seed);
void node_threads_deinit(NodeThreads *n);
/* Starts and waits until it is ready. */
void node_threads_start(NodeThreads *n);
/* A clean stop. */
void node_threads_stop(NodeThreads *n);
/* What is left of a stop once workers_close() was called. */
void node_threads_free(NodeThreads *n);
/* Submits m and waits for its answer: its code, or that of the refusal. Any thread. */
MUST_USE ErrCode node_threads_submit(NodeThreads *n, Mutation *m);

#endif
