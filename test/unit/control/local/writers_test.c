/* The local driver with a thread for each disk: one that stands still keeps nobody waiting, two
 * make an outcome unknown until they go on. */
#include "control/local/local.h"
#include "local_fixture.h"
#include "testing.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <unistd.h>

/* --- disks that stand still --- */

/* Another disk, of which opening a file waits at a gate. */
typedef struct {
    Disk disk;
    Disk *inner; /* not owned */
    _Atomic bool closed;
} Gate;

static Disk *inner(Disk *disk)
{
    return ((Gate *)disk)->inner;
}

static ErrCode gate_open(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err)
{
    while (atomic_load(&((Gate *)disk)->closed))
        usleep(1000);
    return disk_open(inner(disk), path, mode, out, err);
}

static ErrCode gate_rename(Disk *disk, const char *from, const char *to, Err *err)
{
    return disk_rename(inner(disk), from, to, err);
}

static ErrCode gate_unlink(Disk *disk, const char *path, Err *err)
{
    return disk_unlink(inner(disk), path, err);
}

static ErrCode gate_sync_dir(Disk *disk, const char *path, Err *err)
{
    return disk_sync_dir(inner(disk), path, err);
}

static ErrCode gate_stat(Disk *disk, const char *path, DiskStat *out, Err *err)
{
    return disk_stat(inner(disk), path, out, err);
}

static const DiskOps gate_ops = {.name = "gate",
                                 .open = gate_open,
                                 .rename = gate_rename,
                                 .unlink = gate_unlink,
                                 .sync_dir = gate_sync_dir,
                                 .stat = gate_stat};

typedef struct {
    Gate gates[ROOTS];
    Disk *disks[ROOTS];
} Gates;

static void open_behind_gates(Fixture *f, Gates *gates)
{
    Err err = {0};
    for (unsigned i = 0; i < ROOTS; i++) {
        gates->gates[i] = (Gate){.disk = {.ops = &gate_ops}, .inner = f->disks[i]};
        gates->disks[i] = &gates->gates[i].disk;
    }
    assert_ok(control_local_open(gates->disks, ROOTS, &f->control, &err), &err);
    assert_ok(control_local_start_writers(f->control, &err), &err);
}

static uint64_t now_ms(void)
{
    return clock_boot_ns(clock_real()) / 1000000;
}

/* One keeps nobody waiting; when it goes on it gets what is newest with the next change. */
static void test_one_stands_still(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Gates gates;
    open_behind_gates(f, &gates);
    atomic_store(&gates.gates[2].closed, true);
    uint64_t least = UINT64_MAX;
    for (uint8_t i = 0; i < 5; i++) {
        uint64_t begun = now_ms();
        assert_ok(put_row(f, i, (uint8_t)(i + 1), &err), &err);
        least = MIN(least, now_ms() - begun);
    }
    assert_true(least < CONTROL_LOCAL_WAIT_MS); /* who waits for it does so each time */
    assert_false(control_local_stop_writers(f->control, 50));
    atomic_store(&gates.gates[2].closed, false);
    assert_true(control_local_stop_writers(f->control, 60000));
    control_free(f->control);
    f->control = NULL;
    open_behind_gates(f, &gates);
    assert_int_equal(row_version(f), 5);
    assert_ok(put_row(f, 5, 6, &err), &err);
    assert_true(control_local_stop_writers(f->control, 60000));
    AUTO(char, mem_free) first = read_file(f->disks[0]);
    AUTO(char, mem_free) third = read_file(f->disks[2]);
    assert_string_equal(first, third);
}

/* Two make an outcome unknown, in time; what was asked for comes into force before anything else
 * does. */
static void test_two_stand_still(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Gates gates;
    open_behind_gates(f, &gates);
    assert_ok(put_row(f, 0, 1, &err), &err);
    atomic_store(&gates.gates[1].closed, true);
    atomic_store(&gates.gates[2].closed, true);
    uint64_t begun = now_ms();
    assert_code(put_row(f, 1, 2, &err), ERR_OUTCOME_UNKNOWN, &err);
    assert_code(put_row(f, 1, 3, &err), ERR_OUTCOME_UNKNOWN, &err);
    assert_true(now_ms() - begun >= 2 * CONTROL_LOCAL_WAIT_MS);
    assert_true(now_ms() - begun < 80 * CONTROL_LOCAL_WAIT_MS);
    assert_int_equal(row_version(f), 1);
    atomic_store(&gates.gates[1].closed, false);
    assert_code(put_row(f, 1, 3, &err), ERR_PRECONDITION, &err);
    assert_int_equal(row_version(f), 2);
    assert_ok(put_row(f, 2, 3, &err), &err);
    atomic_store(&gates.gates[2].closed, false);
    assert_true(control_local_stop_writers(f->control, 60000));
    open_all(f);
    assert_int_equal(row_version(f), 3);
}

/* The same where two fail. */
static void test_two_fail_for_a_while(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_all(f);
    assert_ok(control_local_start_writers(f->control, &err), &err);
    assert_ok(put_row(f, 0, 1, &err), &err);
    fail_writes_of(f, (bool[ROOTS]){false, true, true});
    assert_code(put_row(f, 1, 2, &err), ERR_OUTCOME_UNKNOWN, &err);
    assert_code(put_row(f, 1, 3, &err), ERR_OUTCOME_UNKNOWN, &err);
    fail_writes_of(f, (bool[ROOTS]){false, false, true});
    assert_code(put_row(f, 1, 3, &err), ERR_PRECONDITION, &err);
    assert_ok(put_row(f, 2, 3, &err), &err);
    assert_int_equal(row_version(f), 3);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_stands_still),
        TEST(test_two_stand_still),
        TEST(test_two_fail_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
