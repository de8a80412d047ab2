/* A log on a simulated disk of its own, for unit tests: what cannot be had fails the test. One
 * thread. */
#ifndef HOLDFAST_TEST_LIB_WAL_FIXTURE_H
#define HOLDFAST_TEST_LIB_WAL_FIXTURE_H

#include "wal_kit.h"

typedef struct {
    Kit kit;
    Disk *disk; /* owned */
    Err err;
} WalFixture;

/* Opened, with so many spares kept ready. */
WalFixture *wal_fixture_new(unsigned spares);
/* The setup of a cmocka test whose state is a WalFixture: no spares. */
int wal_fixture_setup(void **state);
/* Its teardown: no fault is left, the log is dropped as by kill -9. */
int wal_fixture_teardown(void **state);
WalStats wal_fixture_stats(WalFixture *fixture);

#endif
