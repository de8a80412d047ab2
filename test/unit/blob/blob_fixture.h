/* What the tests of packs and blobs share: a Disk of either driver, and records whose every byte
 * follows from a number, so that what is read can be compared without keeping what was written. */
#ifndef HOLDFAST_TEST_UNIT_BLOB_FIXTURE_H
#define HOLDFAST_TEST_UNIT_BLOB_FIXTURE_H

#include "testing.h"

#include "base/clock.h"
#include "blob/blobs.h"
#include "blob/packs.h"
#include "disk/sim.h"

typedef struct {
    Disk *disk;
    char *dir; /* NULL: simulated */
    ManualClock clock;
    Uuid root;
} Fixture;

/* cmocka: *state becomes a Fixture; teardown disarms all faults. */
int fixture_sim(void **state);
int fixture_posix(void **state);
int fixture_teardown(void **state);
/* The same test on both drivers, as two rows of its table. */
#define ON_BOTH(test)                                                                              \
    {#test " on sim", test, fixture_sim, fixture_teardown, NULL},                                  \
    {                                                                                              \
#test " on posix", test, fixture_posix, fixture_teardown, NULL                             \
    }
#define ON_SIM(test)                                                                               \
    {                                                                                              \
#test, test, fixture_sim, fixture_teardown, NULL                                           \
    }

/* Packs of pack_size bytes on the fixture's disk (or on disk, if not NULL). Fails the test. */
Packs *fixture_packs(Fixture *fixture, Disk *disk, uint64_t pack_size);
Blobs *fixture_blobs(Fixture *fixture, Disk *disk);

#define RECORD_BODY_MAX INLINE_MAX
typedef struct {
    PackRecord record; /* views into what follows */
    char key[32];
    Buf attrs;
    uint8_t body[RECORD_BODY_MAX];
} TestRecord;
/* Record number n (from 1) with a body of len bytes; freed by test_record_free(). */
TestRecord *test_record(uint64_t n, size_t len);
void test_record_free(TestRecord *record);
AUTO_DEFINE(TestRecord, test_record_free);
/* Is got record number n with a body of len bytes, byte for byte? */
bool test_record_is(const PackRecord *got, uint64_t n, size_t len);

/* Appends record number n with a body of len bytes. */
ErrCode append_number(Packs *packs, uint64_t n, size_t len, PackPlace *place, Err *err);
/* Reads place and compares; OK, the error, or ERR_ABORTED for wrong bytes. */
ErrCode read_number(Packs *packs, const PackPlace *place, uint64_t n, size_t len, Err *err);

/* Work on a simulated disk that stops underway, and what must hold on the images that a power
 * failure leaves then. */
typedef struct {
    uint64_t seed;
    size_t ways; /* images of each stop: nothing is kept, all is, then as it comes */
    void *run;   /* what work notes for violations; not owned */
    void (*work)(Fixture *fixture, Disk *disk, void *run);
    size_t (*violations)(Fixture *fixture, Disk *image, const void *run);
} CrashWork;
/* Stops before each operation of the work and crashes in several ways. The violations; *images:
 * how many were looked at. */
size_t crash_everywhere(Fixture *fixture, const CrashWork *crash, size_t *images);
/* Fails the test unless each of these bugs, planted, leads to violations. */
void crash_shows_bugs(Fixture *fixture, const CrashWork *crash, const char *const *bugs,
                      size_t count);

#endif
