/* Every call below the log fails, one after the other, once or from then on: nothing may crash,
 * nothing acknowledged may be lost, and the next open without failures must work. */
#include "testing.h"
#include "wal_kit.h"

#include "base/fault.h"
#include "disk/sim.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REQUIRED 20000
#define SEEDS 9
#define FAILURES_MAX 10

typedef struct {
    uint64_t seed;
    uint64_t nth; /* the call that fails; 0: none */
    int errno_value;
    bool sticky;
    bool power; /* ends with a power failure, else with a kill */
} Case;

/* Where failures come from: each must have failed something in the end. */
static FaultStat points[] = {
    {.name = "disk.open"},  {.name = "disk.read"},   {.name = "disk.write"},
    {.name = "disk.sync"},  {.name = "disk.rename"}, {.name = "disk.unlink"},
    {.name = "disk.mkdir"}, {.name = "disk.list"},   {.name = "disk.sync_dir"},
    {.name = "disk.stat"},  {.name = "disk.size"},   {.name = "wal.batch"},
    {.name = "wal.rotate"}, {.name = "wal.cut"},     {.name = "mem.take"},
};

/* One operation by chance. */
static ErrCode step(Kit *kit, Rng *rng, Err *err)
{
    ShardId shard = (ShardId)rng_below(rng, KIT_SHARDS);
    WalStats stats;
    wal_stats(kit->wal, &stats);
    switch (rng_below(rng, 10)) {
    case 0: return kit_vote(kit, shard, err);
    case 1: return kit_attest(kit, err);
    case 2: return kit_rotate(kit, err);
    case 3: return kit_cut(kit, stats.first_segment + 1, err);
    case 4: return wal_prepare_spare(kit->wal, err);
    case 5: return kit_append(kit, shard, 90000, err);
    case 6: return kit_append(kit, shard, rng_below(rng, 30000), err);
    default: return kit_sync(kit, err);
    }
}

/* Two processes' work. Errors are expected; what was acknowledged is in the model. */
static const char *work(Kit *kit, const Case *what)
{
    Rng rng;
    Err err;
    rng_init(&rng, what->seed);
    for (unsigned process = 0; process < 2; process++) {
        if (kit_open(kit, &err) != OK) continue;
        const char *wrong = kit_verify(kit, &kit->model);
        if (wrong != NULL) return wrong;
        kit_settle(kit);
        unsigned refused = 0;
        for (unsigned i = 0; i < 24; i++)
            refused += step(kit, &rng, &err) != OK;
        if (what->nth == 0 && refused > 0) return "an operation fails by itself";
    }
    return NULL;
}

/* Everything acknowledged and not cut is readable, even when the Wal has failed. */
static const char *readable(Kit *kit)
{
    AUTO_BUF(buf, 2 * MIB);
    WalStats stats;
    if (kit->wal == NULL) return NULL;
    wal_stats(kit->wal, &stats);
    uint64_t first = MAX(stats.first_segment, kit->model.cut_asked);
    for (size_t i = 0; i < kit->model.acked; i++) {
        const KitRecord *record = &kit->model.records.items[i];
        Str payload;
        if (record->pos.segment < first) continue;
        if (wal_read(kit->wal, record->pos, record->len, &buf, &payload, NULL) != OK) {
            return "an acknowledged record can't be read";
        }
    }
    return NULL;
}

/* Adds up what the points have seen; returns the passes. */
static uint64_t count_points(void)
{
    FaultStat stats[FAULT_POINTS_MAX];
    size_t count = fault_stats(stats, ARRAY_LEN(stats));
    uint64_t passes = 0;
    for (size_t i = 0; i < count; i++) {
        if (strchr(stats[i].name, '.') == NULL) continue; /* a planted bug */
        passes += stats[i].hits;
        for (size_t j = 0; j < ARRAY_LEN(points); j++) {
            if (strcmp(stats[i].name, points[j].name) != 0) continue;
            points[j].hits += stats[i].hits;
            points[j].fired += stats[i].fired;
        }
    }
    return passes;
}

/* NULL, or what is wrong. *passes: fault points passed. */
static const char *run(const Case *what, uint64_t *passes, Err *err)
{
    AUTO(Disk, disk_free) disk = NULL;
    Kit kit;
    fault_reset();
    if (disk_sim_new(what->seed, &disk, err) != OK) return "no simulated disk";
    kit_init(&kit, disk, what->seed);
    kit.options.spares = 2;
    if (what->nth > 0) fault_arm_any("", what->errno_value, what->nth, what->sticky);
    const char *wrong = work(&kit, what);
    *passes = count_points();
    fault_reset();
    if (wrong == NULL) wrong = readable(&kit);
    wal_free(TAKE(kit.wal));
    if (what->power) {
        disk_sim_crash(disk);
    } else {
        disk_sim_kill(disk);
    }
    err_clear(err);
    if (wrong == NULL && kit_open(&kit, err) != OK) wrong = err_text(err);
    if (wrong == NULL) wrong = kit_verify(&kit, &kit.model);
    kit_deinit(&kit);
    return wrong;
}

/* All calls of one workload, with one kind of failure. Returns how many cases went wrong. */
static unsigned run_all(Case what, unsigned *executed)
{
    uint64_t calls;
    uint64_t passes;
    unsigned failed = 0;
    Err err = {0};
    what.nth = 0;
    const char *wrong = run(&what, &calls, &err);
    if (wrong != NULL)
        printf("FAILED without failures, seed %ju: %s\n", (uintmax_t)what.seed, wrong);
    failed += wrong != NULL;
    for (uint64_t nth = 1; nth <= calls && failed < FAILURES_MAX; nth++) {
        what.nth = nth;
        what.power = nth % 2 == 0;
        wrong = run(&what, &passes, &err);
        ++*executed;
        if (wrong == NULL) continue;
        failed++;
        printf("FAILED seed %ju, call %ju%s, errno %d, %s: %s\n", (uintmax_t)what.seed,
               (uintmax_t)nth, what.sticky ? " and later" : "", what.errno_value,
               what.power ? "power failure" : "kill", wrong);
    }
    return failed;
}

int main(void)
{
    static const int errnos[] = {EIO, ENOSPC, EMFILE};
    unsigned executed = 0;
    unsigned failed = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (size_t i = 0; i < ARRAY_LEN(errnos) * 2; i++) {
            Case what = {.seed = seed, .errno_value = errnos[i / 2], .sticky = i % 2 == 1};
            failed += run_all(what, &executed);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        printf("%-14s %8ju passes %6ju failures\n", points[i].name, (uintmax_t)points[i].hits,
               (uintmax_t)points[i].fired);
        failed += points[i].fired == 0;
    }
    printf("LAYER torture required=%d executed=%u failed=%u\n", REQUIRED, executed, failed);
    return failed > 0 || executed < REQUIRED;
}
