/* The promise of index.h under crashes: what index_checkpoint() has said is durable is there, whole
 * batches are there or not, in order, and nothing is damaged. First all crash states of small
 * workloads, then long random histories of batches, checkpoints, kills and power failures. */
#include "index/index.h"

#include "base/fault.h"
#include "crash_states.h"
#include "disk/sim.h"
#include "index_kit.h"
#include "testing.h"
#include <stdio.h>
#include <string.h>

#define CACHE_BYTES (64 * KIB) /* small: pages are written out in the middle of batches */
#define OLD_SEED 999
#define HISTORIES 60
#define HISTORY_STEPS 60

/* What the test knows: so many batches were committed, so many of them made durable; one more may
 * have been on its way. */
typedef struct {
    Kit kit;
    uint32_t durable;
} Oracle;

static ErrCode open_index(Disk *disk, Index **out, Err *err)
{
    bool created = false;
    IndexOptions options = {.cache_bytes = CACHE_BYTES, .writer_cache_bytes = CACHE_BYTES};
    return index_open(disk, &options, out, &created, err);
}

static ErrCode checkpoint(Oracle *oracle, Index *index, Err *err)
{
    TRY(index_checkpoint(index, err));
    oracle->durable = oracle->kit.versions[0];
    return OK;
}

static void *oracle_new(uint64_t seed)
{
    Oracle *oracle = mem_new(sizeof *oracle);
    kit_init(&oracle->kit, seed);
    oracle->kit.ops_max = 6;
    oracle->kit.big_chance = 300000;
    return oracle;
}

static ErrCode run_simple(Index *index, Oracle *oracle, Err *err)
{
    TRY(kit_batch(&oracle->kit, index, err));
    TRY(checkpoint(oracle, index, err));
    TRY(kit_batch(&oracle->kit, index, err));
    TRY(kit_batch(&oracle->kit, index, err));
    TRY(checkpoint(oracle, index, err));
    return kit_batch(&oracle->kit, index, err);
}

static ErrCode create_and_write(Disk *disk, void *arg, Err *err)
{
    AUTO(Index, index_free) index = NULL;
    TRY(open_index(disk, &index, err));
    return run_simple(index, arg, err);
}

/* A cursor keeps the first checkpoint from moving all of the log. */
static ErrCode run_pinned(Index *index, Oracle *oracle, IndexReader *reader, Err *err)
{
    IndexCursor *cursor = NULL;
    TRY(kit_batch(&oracle->kit, index, err));
    TRY(index_scan(reader, str_of(NULL, 0), &cursor, err));
    ErrCode code = kit_batch(&oracle->kit, index, err);
    if (code == OK) code = checkpoint(oracle, index, err);
    if (code == OK) code = kit_batch(&oracle->kit, index, err);
    index_cursor_close(cursor);
    if (code != OK) return code;
    TRY(checkpoint(oracle, index, err));
    return kit_batch(&oracle->kit, index, err);
}

static ErrCode write_pinned(Disk *disk, void *arg, Err *err)
{
    AUTO(Index, index_free) index = NULL;
    TRY(open_index(disk, &index, err));
    AUTO(IndexReader, index_reader_free) reader = NULL;
    TRY(index_reader_open(index, &reader, err));
    return run_pinned(index, arg, reader, err);
}

/* An index that is removed and made anew: nothing of the old may come back. The old one has three
 * batches that are durable, the last of them in its log only. */
static ErrCode fill_old(Index *index, IndexReader *reader, Err *err)
{
    Oracle old = {0};
    kit_init(&old.kit, OLD_SEED);
    IndexCursor *cursor = NULL;
    TRY(kit_batch(&old.kit, index, err));
    TRY(kit_batch(&old.kit, index, err));
    TRY(index_scan(reader, str_of(NULL, 0), &cursor, err));
    ErrCode code = kit_batch(&old.kit, index, err);
    if (code == OK) code = checkpoint(&old, index, err);
    index_cursor_close(cursor);
    return code;
}

static ErrCode setup_old(Disk *disk, void *arg, Err *err)
{
    UNUSED(arg);
    AUTO(Index, index_free) index = NULL;
    TRY(open_index(disk, &index, err));
    AUTO(IndexReader, index_reader_free) reader = NULL;
    TRY(index_reader_open(index, &reader, err));
    TRY(fill_old(index, reader, err));
    disk_sim_kill(disk);
    return OK;
}

static ErrCode remove_and_write(Disk *disk, void *arg, Err *err)
{
    TRY(index_remove(disk, err));
    AUTO(Index, index_free) index = NULL;
    TRY(open_index(disk, &index, err));
    return run_simple(index, arg, err);
}

/* The same when the caller has removed it in its own way, without a sync. */
static ErrCode unlink_and_write(Disk *disk, void *arg, Err *err)
{
    TRY(disk_unlink(disk, "index.db", err));
    AUTO(Index, index_free) index = NULL;
    TRY(open_index(disk, &index, err));
    return run_simple(index, arg, err);
}

static ErrCode verify(Disk *disk, const void *arg, uint64_t *outcome, Err *err)
{
    const Oracle *oracle = arg;
    Kit kit = oracle->kit;
    uint32_t found = 0;
    AUTO(Index, index_free) index = NULL;
    TRY(open_index(disk, &index, err));
    TRY(index_check(index, err)); /* checkpoints: what is found is promised from here on */
    TRY(kit_compare_range(&kit, index, oracle->durable, kit.versions[0] + 1, &found, err));
    *outcome = found;
    return OK;
}

/* The same where the old index may also still be there. */
static ErrCode verify_removed(Disk *disk, const void *arg, uint64_t *outcome, Err *err)
{
    const Oracle *oracle = arg;
    if (oracle->durable > 0 || oracle->kit.versions[0] > 0) return verify(disk, arg, outcome, err);
    Kit kit;
    kit_init(&kit, OLD_SEED);
    uint32_t found = 0;
    {
        AUTO(Index, index_free) index = NULL;
        TRY(open_index(disk, &index, err));
        TRY(index_check(index, err));
        if (kit_compare_range(&kit, index, 3, 3, &found, NULL) == OK) {
            *outcome = 1000 + found;
            return OK;
        }
    }
    return verify(disk, arg, outcome, err);
}

static void oracle_free(void *oracle)
{
    mem_free(oracle);
}

static const CrashWorkload workloads[] = {
    {"create", oracle_new, oracle_free, NULL, create_and_write, verify},
    {"pinned", oracle_new, oracle_free, NULL, write_pinned, verify},
    {"remove", oracle_new, oracle_free, setup_old, remove_and_write, verify_removed},
    {"unlink", oracle_new, oracle_free, setup_old, unlink_and_write, verify_removed},
};

static void run_states(uint64_t required, bool quiet, CrashCounts *counts)
{
    CrashOptions options = {
        .seed = 3,
        .required = required,
        .exhaustive_max = 4,
        .sampled = 12,
        .recovery_per_million = 2000,
        .recovery_subsets = 2,
        .quiet = quiet,
    };
    AUTO(CrashStates, crash_states_free) states = crash_states_new(&options);
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++)
        crash_states_run(states, &workloads[i]);
    *counts = crash_states_counts(states);
}

static void test_crash_states(void **state)
{
    UNUSED(state);
    CrashCounts counts;
    run_states(1000, false, &counts);
    print_message("%u states, %u distinct, %u recoveries\n", (unsigned)counts.states,
                  (unsigned)counts.distinct, (unsigned)counts.recoveries);
    assert_int_equal(counts.failed, 0);
    assert_true(counts.distinct >= 1000);
}

/* One step of a history; any code once the disk has stopped. */
static ErrCode history_step(Oracle *oracle, Rng *rng, Index *index, IndexReader *reader,
                            IndexCursor **cursor, Err *err)
{
    switch (rng_below(rng, 8)) {
    case 0:
    case 1: return checkpoint(oracle, index, err);
    case 2:
        index_cursor_close(*cursor);
        *cursor = NULL;
        return index_scan(reader, str_of(NULL, 0), cursor, err);
    case 3:
        index_cursor_close(*cursor);
        *cursor = NULL;
        return OK;
    default: return kit_batch(&oracle->kit, index, err);
    }
}

/* Works until the disk stops, then kills or cuts the power; *kept is how many batches must be there
 * now. */
static void history_life(Disk *disk, Oracle *oracle, Rng *rng, uint32_t *kept)
{
    disk_sim_stop_at(disk, rng_below(rng, 400));
    Index *index = NULL;
    IndexReader *reader = NULL;
    IndexCursor *cursor = NULL;
    ErrCode code = open_index(disk, &index, NULL);
    if (code == OK) code = index_reader_open(index, &reader, NULL);
    for (int i = 0; code == OK && i < HISTORY_STEPS; i++) {
        code = history_step(oracle, rng, index, reader, &cursor, NULL);
    }
    bool kill = rng_chance(rng, 400000);
    *kept = kill ? oracle->kit.versions[0] : oracle->durable;
    if (kill) {
        disk_sim_kill(disk);
    } else {
        disk_sim_crash(disk);
    }
    index_cursor_close(cursor);
    index_reader_free(reader);
    index_free(index); /* its files are dead: nothing reaches the disk */
}

static ErrCode history(uint64_t seed, Err *err)
{
    Rng rng;
    rng_init(&rng, seed);
    AUTO(Disk, disk_free) disk = NULL;
    TRY(disk_sim_new(seed, &disk, err));
    Oracle oracle = {0};
    kit_init(&oracle.kit, seed);
    for (int life = 0; life < 4; life++) {
        uint32_t kept = 0;
        history_life(disk, &oracle, &rng, &kept);
        AUTO(Index, index_free) index = NULL;
        TRY(open_index(disk, &index, err));
        uint32_t most = oracle.kit.versions[0] + 1;
        TRY(kit_compare_range(&oracle.kit, index, kept, most, NULL, err));
        TRY(index_check(index, err));
        oracle.durable = oracle.kit.versions[0];
        disk_sim_crash(disk);
    }
    return OK;
}

static void test_histories(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= HISTORIES; seed += TSAN_STRIDE) {
        Err err = {0};
        ErrCode code = history(seed, &err);
        if (code != OK) fail_msg("seed %u: %s", (unsigned)seed, err_text(&err));
    }
}

/* The tests above would see a missing sync. */
static void test_planted(void **state)
{
    UNUSED(state);
    fault_plant("skip-index-sync", true);
    CrashCounts counts;
    run_states(0, true, &counts);
    unsigned failed = 0;
    for (uint64_t seed = 1; seed <= HISTORIES / 2; seed++)
        failed += history(seed, NULL) != OK;
    fault_reset();
    assert_true(counts.failed > 0);
    assert_true(failed > 0);
}

/* The sync of the log fails, and the kernel takes its pages for clean. The process is killed, the
 * next one sees all batches and moves them into index.db; power fails before it is done with that.
 * OK, or what is wrong then. */
static ErrCode after_failed_sync(uint64_t seed, uint64_t stop_at, Err *err)
{
    static const SimDiskFaults none;
    AUTO(Disk, disk_free) disk = NULL;
    TRY(disk_sim_new(seed, &disk, err));
    Oracle oracle = {0};
    kit_init(&oracle.kit, seed);
    Index *index = NULL;
    TRY(open_index(disk, &index, err));
    for (unsigned i = 0; i < 3; i++)
        TRY(kit_batch(&oracle.kit, index, err));
    TRY(checkpoint(&oracle, index, err));
    for (unsigned i = 0; i < 3; i++)
        TRY(kit_batch(&oracle.kit, index, err));
    disk_sim_set_faults(disk, &(SimDiskFaults){.sync_error = 1000000});
    ASSERT(index_checkpoint(index, NULL) != OK);
    disk_sim_kill(disk); /* the Index finds its files dead, as if it were killed */
    index_free(index);
    disk_sim_set_faults(disk, &none);
    TRY(open_index(disk, &index, err));
    disk_sim_stop_at(disk, stop_at);
    ErrCode ignored = index_checkpoint(index, NULL);
    UNUSED(ignored); /* it was stopped, or not */
    disk_sim_crash(disk);
    index_free(index);
    TRY(open_index(disk, &index, err));
    ErrCode code = kit_compare_range(&oracle.kit, index, oracle.durable, 6, NULL, err);
    index_free(index);
    return code;
}

static unsigned failed_syncs_lost(void)
{
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        Err err = {0};
        ErrCode code = after_failed_sync(seed, seed % 10, &err);
        if (code != OK) print_message("seed %ju: %s\n", (uintmax_t)seed, err_text(&err));
        lost += code != OK;
    }
    return lost;
}

static void test_failed_sync(void **state)
{
    UNUSED(state);
    assert_int_equal(failed_syncs_lost(), 0);
    fault_plant("trust-page-cache", true);
    unsigned lost = failed_syncs_lost();
    fault_reset();
    assert_true(lost > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_states),
        cmocka_unit_test(test_histories),
        cmocka_unit_test(test_planted),
        cmocka_unit_test(test_failed_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
