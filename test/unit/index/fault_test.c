/* Every call of the disk fails, one run for each: the Index says why, never takes a failed disk for
 * a damaged one, keeps what it has promised, and takes no more batches where that would not be
 * safe. */
#include "base/fault.h"
#include "disk/sim.h"
#include "index/index.h"
#include "index_kit.h"
#include "testing.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RUNS_MAX 2000

typedef struct {
    Disk *disk;
    Index *index;
    Kit kit;
    uint32_t durable;
} Run;

static ErrCode open_index(Run *run, Err *err)
{
    bool created = false;
    IndexOptions options = {.cache_bytes = 64 * KIB, .writer_cache_bytes = 64 * KIB};
    return index_open(run->disk, &options, &run->index, &created, err);
}

static ErrCode read_all(Run *run, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    TRY(index_reader_open(run->index, &reader, err));
    return kit_compare(&run->kit, reader, err);
}

static ErrCode write_some(Run *run, Err *err)
{
    for (int i = 0; i < 4; i++) {
        TRY(kit_batch(&run->kit, run->index, err));
        if (i % 2 == 0) continue;
        TRY(index_checkpoint(run->index, err));
        run->durable = run->kit.versions[0];
    }
    TRY(read_all(run, err));
    return index_check(run->index, err);
}

static uint64_t fired(const char *name)
{
    FaultStat stats[FAULT_POINTS_MAX];
    size_t count = fault_stats(stats, ARRAY_LEN(stats));
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (name == NULL || strcmp(stats[i].name, name) == 0) sum += stats[i].fired;
    }
    return sum;
}

/* What must hold once the fault has hit an Index that was open, and is over. */
static void check_alive(Run *run, bool final)
{
    Err err = {0};
    assert_ok(read_all(run, &err), &err);
    if (final) {
        assert_code(index_begin(run->index, &err), ERR_ROOT_FAILED, &err);
        assert_code(index_checkpoint(run->index, &err), ERR_ROOT_FAILED, &err);
        return;
    }
    assert_ok(kit_batch(&run->kit, run->index, &err), &err);
    assert_ok(index_checkpoint(run->index, &err), &err);
    run->durable = run->kit.versions[0];
}

/* Nothing that was committed is lost without a crash, nothing durable with one. */
static void check_reopened(Run *run)
{
    Err err = {0};
    for (int crash = 0; crash < 2; crash++) {
        if (crash == 1) disk_sim_crash(run->disk);
        uint32_t most = run->kit.versions[0] + 1;
        uint32_t least = crash == 1 ? run->durable : run->kit.versions[0];
        assert_ok(open_index(run, &err), &err);
        assert_ok(kit_compare_range(&run->kit, run->index, least, most, NULL, &err), &err);
        if (crash == 0) disk_sim_kill(run->disk);
        index_free(run->index);
        run->index = NULL;
    }
}

/* Fails call number nth of point (a prefix). Returns whether there was such a call. */
static bool run_one(const char *point, int errno_value, bool sticky, uint64_t nth)
{
    Err err = {0};
    Run run = {0};
    kit_init(&run.kit, nth);
    run.kit.ops_max = 60;
    assert_ok(disk_sim_new(nth, &run.disk, &err), &err);
    fault_reset();
    fault_arm_any(point, errno_value, nth, sticky);
    ErrCode code = open_index(&run, &err);
    if (code == OK) code = write_some(&run, &err);
    bool hit = fired(NULL) > 0;
    bool final = fired("disk.sync") > 0 ||
                 (errno_value != ENOSPC && fired("disk.write") + fired("disk.truncate") > 0);
    fault_reset();
    if (code != OK) {
        /* Not ERR_CORRUPT: the caller would throw the index away. */
        ErrCode wanted = errno_value == ENOSPC ? ERR_NO_SPACE : ERR_IO;
        if (code != wanted) fail_msg("%s %u: %s", point, (unsigned)nth, err_text(&err));
        if (err.errno_value != errno_value) {
            fail_msg("%s %u: no reason in: %s", point, (unsigned)nth, err_text(&err));
        }
    } else {
        assert_false(hit);
    }
    if (run.index != NULL) check_alive(&run, final);
    index_free(run.index);
    run.index = NULL;
    check_reopened(&run);
    disk_free(run.disk);
    return hit;
}

static void fail_each(const char *point, int errno_value, bool sticky)
{
    unsigned runs = 0;
    while (run_one(point, errno_value, sticky, runs + 1)) {
        runs++;
        assert_true(runs < RUNS_MAX);
    }
    print_message("%s %d: %u calls\n", point, errno_value, runs);
    assert_true(runs > 3);
}

static void test_io_error(void **state)
{
    UNUSED(state);
    fail_each("disk.", EIO, false);
    fail_each("disk.", EIO, true);
}

static void test_no_space(void **state)
{
    UNUSED(state);
    fail_each("disk.write", ENOSPC, false);
    fail_each("disk.write", ENOSPC, true);
    fail_each("disk.sync", ENOSPC, false); /* no less final than any other failed sync */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io_error),
        cmocka_unit_test(test_no_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
