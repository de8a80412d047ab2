/* Random operations against the model, on the simulated disk, with kills and power failures. */
#include "wal/wal.h"

#include "testing.h"
#include "wal_kit.h"

#include "base/fault.h"
#include "disk/sim.h"

#define SEEDS 24
#define STEPS 100

typedef struct {
    Kit kit;
    Disk *disk;
    Rng rng;
    unsigned opens;
    unsigned rotations;
    unsigned cuts;
    unsigned failed_syncs;
} Run;

static ErrCode run_open(Run *run, Err *err)
{
    Kit *kit = &run->kit;
    run->opens++;
    TRY(kit_open(kit, err));
    const char *wrong = kit_verify(kit, &kit->model);
    if (wrong != NULL) return err_set(err, ERR_CORRUPT, "%s", wrong);
    kit_settle(kit);
    return OK;
}

static void run_end(Run *run, bool power)
{
    wal_free(TAKE(run->kit.wal));
    if (power) {
        disk_sim_crash(run->disk);
    } else {
        disk_sim_kill(run->disk);
    }
}

static ErrCode run_reopen(Run *run, Err *err)
{
    uint64_t how = rng_below(&run->rng, 3);
    if (how == 0) TRY(kit_attest(&run->kit, err));
    run_end(run, how == 1);
    return run_open(run, err);
}

static ErrCode run_step(Run *run, Err *err);

/* The end comes before one of the disk's next operations, in whatever is being done then; half of
 * the times once more while the log opens. */
static ErrCode run_stopped(Run *run, Err *err)
{
    disk_sim_stop_at(run->disk, rng_below(&run->rng, 12));
    for (unsigned i = 0; i < 20 && run_step(run, err) == OK; i++) {}
    run_end(run, rng_below(&run->rng, 2) == 0);
    if (rng_below(&run->rng, 2) == 0) {
        disk_sim_stop_at(run->disk, rng_below(&run->rng, 12));
        ErrCode ignored = kit_open(&run->kit, err);
        (void)ignored; /* it was stopped, or not; what counts is what the next one finds */
        run_end(run, rng_below(&run->rng, 2) == 0);
    }
    return run_open(run, err);
}

/* A sync fails, and the kernel takes the pages for clean, whether they reached the disk or not. The
 * process ends by a kill: the page cache still shows all of them. */
static ErrCode run_failed_sync(Run *run, Err *err)
{
    Kit *kit = &run->kit;
    TRY(kit_append(kit, (ShardId)rng_below(&run->rng, KIT_SHARDS), rng_below(&run->rng, 6000),
                   err));
    disk_sim_set_faults(run->disk, &(SimDiskFaults){.sync_error = 1000000});
    ErrCode code = rng_below(&run->rng, 4) == 0 ? kit_rotate(kit, err) : kit_sync(kit, err);
    disk_sim_set_faults(run->disk, &(SimDiskFaults){0});
    if (code == OK) return err_set(err, ERR_CORRUPT, "the sync did not fail");
    run->failed_syncs++;
    run_end(run, false);
    return run_open(run, err);
}

static ErrCode run_step(Run *run, Err *err)
{
    Kit *kit = &run->kit;
    ShardId shard = (ShardId)rng_below(&run->rng, KIT_SHARDS);
    WalStats stats;
    wal_stats(kit->wal, &stats);
    switch (rng_below(&run->rng, 18)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: return kit_append(kit, shard, rng_below(&run->rng, 6000), err);
    case 5: return kit_append(kit, shard, rng_below(&run->rng, 200000), err);
    case 6: return kit_vote(kit, shard, err);
    case 7: return kit_attest(kit, err);
    case 8: return run_reopen(run, err);
    case 9: run->cuts++; return kit_cut(kit, stats.first_segment + rng_below(&run->rng, 3), err);
    case 10: run->rotations++; return kit_rotate(kit, err);
    case 11: return wal_prepare_spare(kit->wal, err);
    case 12: return run_stopped(run, err);
    case 13: wal_note(kit->wal, shard, run->opens, run->opens / 2); return OK;
    case 14: return run_failed_sync(run, err);
    default: return kit_sync(kit, err);
    }
}

static void test_model(void **state)
{
    UNUSED(state);
    unsigned opens = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed += TSAN_STRIDE) {
        Err err = {0};
        Run run = {0};
        rng_init(&run.rng, seed);
        assert_ok(disk_sim_new(seed, &run.disk, &err), &err);
        kit_init(&run.kit, run.disk, seed);
        run.kit.options.spares = (unsigned)(seed % 4);
        assert_ok(kit_open(&run.kit, &err), &err);
        for (unsigned i = 0; i < STEPS; i++) {
            ErrCode code = run_step(&run, &err);
            if (code != OK) fail_msg("seed %ju step %u: %s", (uintmax_t)seed, i, err_text(&err));
        }
        opens += run.opens;
        kit_deinit(&run.kit);
        disk_free(run.disk);
    }
    assert_true(opens > SEEDS * STEPS / 32 / TSAN_STRIDE);
}

/* The model sees a rule that is broken: within these seeds at least once. */
static bool model_finds(const char *planted)
{
    bool found = false;
    for (uint64_t seed = 1; seed <= SEEDS && !found; seed++) {
        Err err = {0};
        Run run = {0};
        rng_init(&run.rng, seed);
        assert_ok(disk_sim_new(seed, &run.disk, &err), &err);
        kit_init(&run.kit, run.disk, seed);
        run.kit.options.spares = 3;
        fault_plant(planted, true);
        ErrCode code = kit_open(&run.kit, &err);
        for (unsigned i = 0; i < STEPS && code == OK; i++)
            code = run_step(&run, &err);
        found = code != OK;
        fault_reset();
        kit_deinit(&run.kit);
        disk_free(run.disk);
    }
    return found;
}

static void test_planted(void **state)
{
    static const char *const planted[] = {"ack-before-sync",  "reuse-stale-spare",
                                          "count-page-cache", "skip-dir-sync",
                                          "skip-sync",        "trust-page-cache"};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(planted); i++) {
        if (!model_finds(planted[i])) fail_msg("%s was not found", planted[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_planted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
