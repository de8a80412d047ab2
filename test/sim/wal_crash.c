/* Crash states of the log: what a power failure or a kill at each of the disk's operations leaves,
 * for opening, group commits, rotation, recycling, entries larger than a segment, and promises.
 * Everything acknowledged must be replayed with its bytes and order, nothing that was not appended,
 * and a second recovery must find what the first one promised. */
#include "crash_states.h"
#include "testing.h"
#include "wal_kit.h"

#define REQUIRED 100000
#define SAMPLED 11000
#define SPARES 2

typedef struct {
    KitModel model;
    uint64_t seed;
} Oracle;

static void *oracle_new(uint64_t seed)
{
    Oracle *oracle = mem_new(sizeof *oracle);
    oracle->seed = seed;
    return oracle;
}

static void oracle_free(void *ctx)
{
    Oracle *oracle = ctx;
    mem_free(oracle->model.records.items);
    mem_free(oracle);
}

/* Runs steps on a Kit that has the oracle's model, which goes back to it in any case. */
static ErrCode with_kit(Disk *disk, Oracle *oracle, uint64_t incarnation,
                        ErrCode (*steps)(Kit *kit, Err *err), Err *err)
{
    Kit kit;
    kit_init(&kit, disk, oracle->seed + incarnation);
    kit.options.incarnation = incarnation;
    kit.options.spares = SPARES;
    kit.model = oracle->model;
    ErrCode code = kit_open(&kit, err);
    if (code == OK) code = steps(&kit, err);
    oracle->model = kit.model;
    kit.model = (KitModel){0};
    kit_deinit(&kit);
    return code;
}

/* The first incarnation that the log on disk takes: a recovery that was crashed left a
 * higher one. */
static ErrCode open_next(Kit *kit, Err *err)
{
    ErrCode code = ERR_FOREIGN;
    for (unsigned i = 0; i < 8 && code == ERR_FOREIGN; i++) {
        kit->options.incarnation += 1000;
        rng_init(&kit->rng, kit->options.incarnation);
        code = kit_open(kit, err);
    }
    return code;
}

static ErrCode read_all(Kit *kit, Err *err)
{
    AUTO_BUF(buf, 2 * MIB);
    for (size_t i = 0; i < kit->replayed.count; i++) {
        const KitRecord *record = &kit->replayed.items[i];
        Str payload;
        TRY(wal_read(kit->wal, record->pos, record->len, &buf, &payload, err));
    }
    return OK;
}

static ErrCode verify(Disk *disk, const void *ctx, uint64_t *outcome, Err *err)
{
    const Oracle *oracle = ctx;
    Kit kit;
    kit_init(&kit, disk, oracle->seed);
    kit.options.spares = SPARES;
    ErrCode code = open_next(&kit, err);
    const char *wrong = code == OK ? kit_verify(&kit, &oracle->model) : NULL;
    if (wrong != NULL) code = err_set(err, ERR_CORRUPT, "%s", wrong);
    if (code == OK) code = read_all(&kit, err);
    if (code == OK) {
        ReplicaState state;
        size_t cursor = 0;
        uint64_t sum = kit.replayed.count;
        while (wal_replica_next(kit.wal, &cursor, &state)) {
            sum = sum * 1000003 + state.shard * 100000u + state.last_lsn * 1000 + state.max_term;
        }
        *outcome = sum;
    }
    kit_deinit(&kit);
    return code;
}

static ErrCode first_open_steps(Kit *kit, Err *err)
{
    TRY(kit_append(kit, 0, 100, err));
    TRY(kit_append(kit, 1, 3000, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 0, 700, err));
    return kit_attest(kit, err);
}
static ErrCode first_open(Disk *disk, void *oracle, Err *err)
{
    return with_kit(disk, oracle, 1, first_open_steps, err);
}

/* A log with two segments, a spare and a clean stop. */
static ErrCode small_log_steps(Kit *kit, Err *err)
{
    TRY(kit_append(kit, 0, 500, err));
    TRY(kit_rotate(kit, err));
    TRY(kit_append(kit, 1, 500, err));
    TRY(kit_vote(kit, 0, err));
    TRY(wal_prepare_spare(kit->wal, err));
    TRY(wal_prepare_spare(kit->wal, err));
    return kit_attest(kit, err);
}
static ErrCode small_log(Disk *disk, void *oracle, Err *err)
{
    return with_kit(disk, oracle, 1, small_log_steps, err);
}

static ErrCode batches_steps(Kit *kit, Err *err)
{
    TRY(kit_append(kit, 0, 100, err));
    TRY(kit_append(kit, 1, 2500, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 2, 3300, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 0, 900, err));
    TRY(kit_append(kit, 1, 900, err));
    TRY(kit_append(kit, 0, 900, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 3, 9000, err));
    return kit_sync(kit, err);
}
static ErrCode batches(Disk *disk, void *oracle, Err *err)
{
    return with_kit(disk, oracle, 2, batches_steps, err);
}

static ErrCode rotation_steps(Kit *kit, Err *err)
{
    TRY(kit_append(kit, 0, 40000, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 1, 2000, err));
    TRY(kit_append(kit, 1, 30000, err)); /* into a spare */
    TRY(kit_append(kit, 0, 100, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 0, 40000, err)); /* into one that is made now */
    TRY(kit_append(kit, 2, 100, err));
    return kit_sync(kit, err);
}
static ErrCode rotation(Disk *disk, void *oracle, Err *err)
{
    return with_kit(disk, oracle, 2, rotation_steps, err);
}

/* Several segments full of frames, some cut already: their spares are stale. */
static ErrCode stale_log_steps(Kit *kit, Err *err)
{
    for (unsigned i = 0; i < 18; i++) {
        TRY(kit_append(kit, (ShardId)(i % 2), 3000, err));
        TRY(kit_sync(kit, err));
    }
    TRY(kit_rotate(kit, err));
    return kit_cut(kit, 2, err);
}
static ErrCode stale_log(Disk *disk, void *oracle, Err *err)
{
    return with_kit(disk, oracle, 1, stale_log_steps, err);
}

static ErrCode recycling_steps(Kit *kit, Err *err)
{
    TRY(kit_append(kit, 0, 3000, err));
    TRY(kit_sync(kit, err));
    TRY(kit_cut(kit, 4, err));
    TRY(kit_append(kit, 1, 3000, err));
    TRY(kit_rotate(kit, err));
    TRY(kit_append(kit, 1, 3000, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 0, 3000, err));
    TRY(kit_rotate(kit, err));
    TRY(kit_append(kit, 0, 7000, err));
    return kit_attest(kit, err);
}
static ErrCode recycling(Disk *disk, void *oracle, Err *err)
{
    return with_kit(disk, oracle, 2, recycling_steps, err);
}

static ErrCode giant_steps(Kit *kit, Err *err)
{
    TRY(kit_append(kit, 0, 100, err));
    TRY(kit_append(kit, 1, 90000, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 0, 5000, err));
    TRY(kit_sync(kit, err));
    return kit_cut(kit, 3, err);
}
static ErrCode giant(Disk *disk, void *oracle, Err *err)
{
    return with_kit(disk, oracle, 2, giant_steps, err);
}

/* Votes outlive the segments that they were logged in. */
static ErrCode promises_steps(Kit *kit, Err *err)
{
    TRY(kit_vote(kit, 0, err));
    TRY(kit_vote(kit, 1, err));
    TRY(kit_sync(kit, err));
    TRY(kit_append(kit, 0, 10, err));
    TRY(kit_rotate(kit, err));
    TRY(kit_cut(kit, UINT64_MAX, err));
    TRY(kit_vote(kit, 0, err));
    TRY(kit_append(kit, 0, 10, err));
    TRY(kit_sync(kit, err));
    TRY(kit_rotate(kit, err));
    return kit_cut(kit, UINT64_MAX, err);
}
static ErrCode promises(Disk *disk, void *oracle, Err *err)
{
    return with_kit(disk, oracle, 2, promises_steps, err);
}

/* Three processes, none of which stops cleanly, the first with a batch that was never synced. */
static ErrCode reopen_steps(Kit *kit, Err *err)
{
    TRY(kit_append(kit, 0, 3000, err));
    TRY(kit_append(kit, 1, 5000, err));
    return kit_sync(kit, err);
}
static ErrCode reopen(Disk *disk, void *oracle, Err *err)
{
    TRY(with_kit(disk, oracle, 2, reopen_steps, err));
    TRY(with_kit(disk, oracle, 3, reopen_steps, err));
    return with_kit(disk, oracle, 4, reopen_steps, err);
}

/* Twelve operations by chance. */
static ErrCode mixed_steps(Kit *kit, uint64_t seed, Err *err)
{
    Rng rng;
    WalStats stats;
    rng_init(&rng, seed);
    for (unsigned i = 0; i < 12; i++) {
        ShardId shard = (ShardId)rng_below(&rng, KIT_SHARDS);
        wal_stats(kit->wal, &stats);
        switch (rng_below(&rng, 10)) {
        case 0: TRY(kit_vote(kit, shard, err)); break;
        case 1: TRY(kit_attest(kit, err)); break;
        case 2: TRY(kit_rotate(kit, err)); break;
        case 3: TRY(kit_cut(kit, stats.first_segment + rng_below(&rng, 3), err)); break;
        case 4: TRY(wal_prepare_spare(kit->wal, err)); break;
        case 5:
        case 6: TRY(kit_append(kit, shard, rng_below(&rng, 20000), err)); break;
        default:
            TRY(kit_append(kit, shard, rng_below(&rng, 8000), err));
            TRY(kit_sync(kit, err));
            break;
        }
    }
    return kit_sync(kit, err);
}
#define MIXED(n)                                                                                   \
    static ErrCode mixed_##n##_steps(Kit *kit, Err *err)                                           \
    {                                                                                              \
        return mixed_steps(kit, (n), err);                                                         \
    }                                                                                              \
    static ErrCode mixed_##n(Disk *disk, void *oracle, Err *err)                                   \
    {                                                                                              \
        return with_kit(disk, oracle, 2, mixed_##n##_steps, err);                                  \
    }
MIXED(1)
MIXED(2)
MIXED(3)

#define WORKLOAD(text, before, during)                                                             \
    {                                                                                              \
        .name = (text), .oracle_new = oracle_new, .oracle_free = oracle_free, .setup = (before),   \
        .run = (during), .verify = verify,                                                         \
    }
static const CrashWorkload workloads[] = {
    WORKLOAD("first-open", NULL, first_open),  WORKLOAD("batches", small_log, batches),
    WORKLOAD("rotation", small_log, rotation), WORKLOAD("recycling", stale_log, recycling),
    WORKLOAD("giant", small_log, giant),       WORKLOAD("promises", small_log, promises),
    WORKLOAD("reopen", small_log, reopen),     WORKLOAD("mixed-1", stale_log, mixed_1),
    WORKLOAD("mixed-2", stale_log, mixed_2),   WORKLOAD("mixed-3", stale_log, mixed_3),
};

int main(void)
{
    static const char *const planted[] = {"ack-before-sync", "count-page-cache",
                                          "reuse-stale-spare", "skip-sync", "skip-dir-sync"};
    unsigned blind = crash_states_blind(
        &(CrashOptions){
            .seed = 1, .sampled = 64, .exhaustive_max = 6, .recovery_per_million = 10000},
        workloads, ARRAY_LEN(workloads), planted, ARRAY_LEN(planted));
    CrashStates *states = crash_states_new(&(CrashOptions){.seed = 1,
                                                           .required = REQUIRED,
                                                           .sampled = SAMPLED,
                                                           .exhaustive_max = 13,
                                                           .recovery_per_million = 3000});
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++)
        crash_states_run(states, &workloads[i]);
    return crash_states_finish(states) != 0 || blind > 0;
}
