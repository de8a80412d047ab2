/* What the tests of the replica share. Those of single messages begin with a cluster of A, B, C and
 * LEARNER, min_isr 2, in which A is primary of term 1 and all have entries 1..3; 3 is committed,
 * which only A knows. */
#ifndef HOLDFAST_TEST_REPLICA_FIXTURE_H
#define HOLDFAST_TEST_REPLICA_FIXTURE_H

#include "replica_kit.h"

enum { A, B, C, LEARNER };

int replica_fixture_setup(void **state); /* *state: a ReplicaKit */
int replica_fixture_teardown(
    void **state); /* of any ReplicaKit; fails if an invariant was broken */
/* Does B vote for C, which asks to fence in term 2? */
bool replica_fixture_votes(ReplicaKit *kit);

#endif
