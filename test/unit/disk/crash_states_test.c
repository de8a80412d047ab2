/* The driver of crash-state tests, on workloads small enough to know what it must find: files that
 * are made durably one after the other, rightly and with the bugs that it is there to see. */
#include "base/fault.h"
#include "crash_states.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#define FILES 3

typedef struct {
    unsigned begun; /* files that may be there */
    unsigned acked; /* files that must be there */
} Oracle;

static void *oracle_new(uint64_t seed)
{
    UNUSED(seed);
    return mem_new(sizeof(Oracle));
}

static void name_of(unsigned file, char name[16])
{
    (void)snprintf(name, 16, "dir/f%u", file); /* of few files: fits */
}

static ErrCode setup(Disk *disk, void *oracle, Err *err)
{
    UNUSED(oracle);
    return disk_mkdir_durable(disk, "dir", err);
}

static ErrCode run_durable(Disk *disk, void *ctx, Err *err)
{
    Oracle *oracle = ctx;

    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        name_of(i, name);
        oracle->begun = i + 1;
        TRY(disk_create_durable(disk, name, str_of(name, 6), err));
        oracle->acked = i + 1;
    }
    return OK;
}

/* Creates, writes and syncs, but acknowledges without the directory. */
static ErrCode run_no_dir_sync(Disk *disk, void *ctx, Err *err)
{
    Oracle *oracle = ctx;

    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        AUTO(File, disk_close) file = NULL;
        name_of(i, name);
        oracle->begun = i + 1;
        TRY(disk_open(disk, name, DISK_OPEN_CREATE, &file, err));
        TRY(disk_write(file, 0, name, 6, err));
        TRY(disk_sync(file, err));
        oracle->acked = i + 1;
    }
    return OK;
}

/* Counts on each file that it finds whole, and first makes its name durable unless it is to show
 * what happens without. */
static ErrCode verify_files(Disk *disk, const void *ctx, bool settle, uint64_t *outcome, Err *err)
{
    const Oracle *oracle = ctx;
    uint64_t found = 0;

    if (settle) TRY(disk_sync_dir(disk, "dir", err));
    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        DiskStat stat;
        char *data = NULL;
        size_t len = 0;
        name_of(i, name);
        TRY(disk_stat(disk, name, &stat, err));
        if (!stat.exists) {
            if (i < oracle->acked) return err_set(err, ERR_CORRUPT, "%s is lost", name);
            continue;
        }
        if (i >= oracle->begun) return err_set(err, ERR_CORRUPT, "%s is from nowhere", name);
        TRY(disk_read_file(disk, name, 64, &data, &len, err));
        bool whole = str_eq(str_of(data, len), str_of(name, 6));
        mem_free(data);
        if (!whole) return err_set(err, ERR_CORRUPT, "%s has %zu other bytes", name, len);
        found |= UINT64_C(1) << i;
    }
    *outcome = found;
    return OK;
}

static ErrCode verify(Disk *disk, const void *oracle, uint64_t *outcome, Err *err)
{
    return verify_files(disk, oracle, true, outcome, err);
}

static ErrCode verify_unsettled(Disk *disk, const void *oracle, uint64_t *outcome, Err *err)
{
    return verify_files(disk, oracle, false, outcome, err);
}

static ErrCode run_refused(Disk *disk, void *oracle, Err *err)
{
    UNUSED(disk);
    UNUSED(oracle);
    return err_set(err, ERR_INVALID, "the workload itself is wrong");
}

static const CrashWorkload durable = {.name = "durable",
                                      .oracle_new = oracle_new,
                                      .oracle_free = mem_free,
                                      .setup = setup,
                                      .run = run_durable,
                                      .verify = verify};

static CrashCounts counts_of(const CrashWorkload *workload, CrashOptions options)
{
    options.quiet = true;
    AUTO(CrashStates, crash_states_free) states = crash_states_new(&options);
    crash_states_run(states, workload);
    return crash_states_counts(states);
}

static void test_durable_create_survives(void **state)
{
    CrashCounts counts = counts_of(&durable, (CrashOptions){.recovery_per_million = 1000000});

    UNUSED(state);
    assert_int_equal(counts.failed, 0);
    /* Each create is open, write, sync, rename, sync of the directory; a stop before each of them
     * and one behind the last. */
    assert_int_equal(counts.stops, FILES * 5 + 1);
    /* Nothing; temporary: absent, empty, whole; both; renamed: 3 files of 5 images each at most. */
    assert_in_range(counts.distinct, FILES * 4, FILES * 6);
    assert_true(counts.states > counts.stops * 2);
    assert_true(counts.recoveries > 0);
}

static void test_is_deterministic(void **state)
{
    CrashOptions options = {
        .seed = 7, .exhaustive_max = 1, .sampled = 16, .recovery_per_million = 300000};
    CrashCounts a = counts_of(&durable, options);
    CrashCounts b = counts_of(&durable, options);

    UNUSED(state);
    assert_memory_equal(&a, &b, sizeof a);
}

/* Each of the bugs is found. */
static void test_finds_bugs(void **state)
{
    CrashWorkload no_dir_sync = durable;
    CrashWorkload unsettled = durable;
    CrashWorkload refused = durable;
    const struct {
        const char *planted;
        const CrashWorkload *workload;
    } rows[] = {
        {"skip-dir-sync", &durable},
        {"skip-sync", &durable},
        {NULL, &no_dir_sync},
        {NULL, &unsettled}, /* seen by kill, recovery, power failure only */
        {NULL, &refused},
    };

    UNUSED(state);
    no_dir_sync.run = run_no_dir_sync;
    unsettled.verify = verify_unsettled;
    refused.run = run_refused;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].planted != NULL) fault_plant(rows[i].planted, true);
        CrashCounts counts = counts_of(rows[i].workload, (CrashOptions){.seed = i});
        fault_reset();
        if (counts.failed == 0) fail_msg("row %zu: not found", i);
    }
}

/* A bug that no state of the workload can show is counted. */
static void test_counts_unseen_bugs(void **state)
{
    static const char *const planted[] = {"skip-attest", "skip-sync", "skip-attest"};
    CrashOptions options = {.seed = 1};

    UNUSED(state);
    assert_int_equal(crash_states_blind(&options, &durable, 1, planted, 1), 1);
    assert_int_equal(crash_states_blind(&options, &durable, 1, planted + 1, 1), 0);
    assert_int_equal(crash_states_blind(&options, &durable, 1, planted, ARRAY_LEN(planted)), 2);
}

static void test_ends_after_failures_max(void **state)
{
    CrashWorkload broken = durable;
    CrashOptions options = {.failures_max = 2};

    UNUSED(state);
    broken.run = run_no_dir_sync;
    assert_int_equal(counts_of(&broken, options).failed, 2);
}

static void test_finish_needs_what_is_required(void **state)
{
    CrashOptions options = {.quiet = true, .required = 10};
    CrashStates *states = crash_states_new(&options);

    UNUSED(state);
    crash_states_run(states, &durable);
    assert_int_equal(crash_states_finish(states), 0);
    options.required = 1000000;
    states = crash_states_new(&options);
    crash_states_run(states, &durable);
    assert_int_equal(crash_states_finish(states), 1);
}

/* HOLDFAST_CRASH runs one state: the one in which a file's name, the only pending unit behind its
 * sync, is lost. */
static void test_replays_one_state(void **state)
{
    CrashWorkload broken = durable;
    const struct {
        const char *replay;
        uint64_t states;
        uint64_t failed;
    } rows[] = {
        {"durable:3:0", 1, 1},    /* the first file is acknowledged, its name is dropped */
        {"durable:3:1", 1, 0},    /* kept */
        {"durable:3:kill", 2, 0}, /* and the recovery settles it */
        {"durable:3:1:end:-", 2, 0}, {"durable:3:1:0:-", 2, 0}, {"other:3:0", 0, 0},
    };

    UNUSED(state);
    broken.run = run_no_dir_sync;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(setenv("HOLDFAST_CRASH", rows[i].replay, 1), 0);
        CrashCounts counts = counts_of(&broken, (CrashOptions){.seed = 1});
        assert_int_equal(unsetenv("HOLDFAST_CRASH"), 0);
        if (counts.states != rows[i].states || counts.failed != rows[i].failed) {
            fail_msg("%s: %zu states, %zu failed", rows[i].replay, (size_t)counts.states,
                     (size_t)counts.failed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durable_create_survives),
        cmocka_unit_test(test_is_deterministic),
        cmocka_unit_test(test_finds_bugs),
        cmocka_unit_test(test_counts_unseen_bugs),
        cmocka_unit_test(test_ends_after_failures_max),
        cmocka_unit_test(test_finish_needs_what_is_required),
        cmocka_unit_test(test_replays_one_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
