/* What the tests of the local driver share: a control store over three simulated disks. */
#ifndef HOLDFAST_TEST_UNIT_CONTROL_LOCAL_FIXTURE_H
#define HOLDFAST_TEST_UNIT_CONTROL_LOCAL_FIXTURE_H

#include "control/control.h"
#include "disk/sim.h"

#define ROOTS 3

typedef struct {
    Disk *disks[ROOTS];
    Control *control; /* NULL: not open */
} Fixture;

/* cmocka: *state becomes a Fixture with empty disks; teardown disarms all faults. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Opens `count` roots from `first` on, anew if the store is open. */
ErrCode open_some(Fixture *f, unsigned first, unsigned count, Err *err);
/* Opens all. Fails the test. */
void open_all(Fixture *f);
/* Makes the row with uid out of the one in force with parent; 0: there is none. */
ErrCode put_row(Fixture *f, uint8_t parent, uint8_t uid, Err *err);
/* The version of the row in force; 0: none. */
uint64_t row_version(Fixture *f);
/* The control file of a root; the caller frees it. Fails the test. */
char *read_file(Disk *disk);
/* From now on writes to root i fail where fails[i], of ROOTS. */
void fail_writes_of(Fixture *f, const bool *fails);

#endif
