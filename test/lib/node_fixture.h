/* A whole node over a simulated disk of its own, for unit tests: what cannot be had fails the test.
 * One thread. */
#ifndef HOLDFAST_TEST_LIB_NODE_FIXTURE_H
#define HOLDFAST_TEST_LIB_NODE_FIXTURE_H

#include "node_kit.h"

typedef struct {
    Disk *disk; /* owned */
    NodeKit kit;
    NodeKitOptions options;
} NodeFixture;

/* Opened and ready. */
NodeFixture *node_fixture_new(const NodeKitOptions *options);
/* Opens the node of a disk again, after it was closed or dropped. */
void node_fixture_open(NodeFixture *f);
/* As kill -9, then all is freed. NULL is fine. */
void node_fixture_free(NodeFixture *f);
/* All that is committed is applied, and a checkpoint made. */
void node_fixture_apply(NodeFixture *f);
/* As kill -9; node_fixture_open() may follow. */
void node_fixture_stop(NodeFixture *f);
/* Starts the node again after a clean stop, or after a loss of power. */
void node_fixture_restart(NodeFixture *f, bool clean);
/* Submits m; *done grows by one when it is answered. Nothing is pumped. */
void node_fixture_submit(NodeFixture *f, Mutation *m, unsigned *done);
/* The teardown of a cmocka test whose state is a NodeFixture. */
int node_fixture_teardown(void **state);

#endif
