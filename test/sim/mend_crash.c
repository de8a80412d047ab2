/* Crash states of mending: the record of a small file and another file's extent are damaged, and so
 * is their pack; another root, which made the same changes, has them whole. Wherever the power
 * goes, each file is whole or as damaged as before, what was mended behind a checkpoint is whole
 * for good, and what is deleted stays so, also for who looks at packs alone. */
#include "crash_states.h"
#include "node_kit.h"
#include "pack_truth.h"

#include "base/fault.h"
#include "store/mend_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define REQUIRED 500
#define SAMPLED 200
#define FILES 5
#define SMALL_LEN 2000
#define GONE 2    /* deleted */
#define TWICE 3   /* overwritten */
#define DAMAGED 1 /* small */
#define LARGE 4   /* damaged, too */

typedef struct {
    uint64_t seed;
    Disk *disk; /* of the source */
    NodeKit source;
    bool open;
    bool healed; /* and a checkpoint was made behind it */
} Oracle;

static void *oracle_new(uint64_t seed)
{
    Oracle *oracle = mem_new(sizeof *oracle);
    oracle->seed = seed;
    return oracle;
}

static void oracle_free(void *arg)
{
    Oracle *oracle = arg;
    if (oracle->open) node_kit_drop(&oracle->source);
    disk_free(oracle->disk);
    mem_free(oracle);
}

static Str key_of(unsigned i)
{
    static const char *const names[FILES] = {"a", "b", "c", "d", "e"};
    return str_from_cstr(names[i]);
}

static Str body_of(unsigned i, bool again, uint8_t *out)
{
    Rng rng;
    size_t len = i == LARGE ? INLINE_MAX + 1000 : SMALL_LEN;
    rng_init(&rng, 100 + i + (again ? 50 : 0));
    rng_bytes(&rng, out, len);
    return str_of(out, len);
}

/* --- the workload --- */

static ErrCode fill(NodeKit *kit, Err *err)
{
    AUTO(uint8_t, mem_free) bytes = mem_new(INLINE_MAX + 1000);
    for (unsigned i = 0; i < FILES; i++)
        TRY(node_kit_put(kit, STR("files"), key_of(i), body_of(i, false, bytes), err));
    TRY(node_kit_put(kit, STR("files"), key_of(TWICE), body_of(TWICE, true, bytes), err));
    TRY(node_kit_delete(kit, STR("files"), key_of(GONE), err));
    return node_kit_apply(kit, err);
}

static ErrCode find(NodeKit *kit, unsigned i, StoreFound *out, Err *err)
{
    BucketRecord bucket;
    bool found = false;
    if (!buckets_find(kit->buckets, STR("files"), &bucket))
        return err_set(err, ERR_ABORTED, "no bucket");
    TRY(store_find(kit->reader, bucket.uid, key_of(i), NULL, STORE_COMMITTED, out, &found, err));
    return found ? OK : err_set(err, ERR_ABORTED, "file %u is gone", i);
}

/* What is to be damaged of the node, which is closed then. */
static ErrCode damage(Disk *disk, NodeKit *kit, Err *err)
{
    StoreFound small;
    StoreFound large;
    char pack[PACK_PATH_MAX];
    char blob[BLOB_PATH_MAX];
    TRY(find(kit, DAMAGED, &small, err));
    uint64_t byte = small.row.place.offset + small.row.place.length - 500;
    pack_path(small.row.place.pack, pack);
    TRY(find(kit, LARGE, &large, err));
    Extent extent = extent_at(large.row.extents, 0);
    blob_path(extent.body, extent.number, blob);
    TRY(node_kit_close(kit, err));
    disk_sim_kill(disk); /* its lock goes */
    TRY(disk_sim_flip(disk, pack, 8 * byte, err));
    return disk_sim_flip(disk, blob, 8 * 5000, err);
}

static ErrCode setup(Disk *disk, void *arg, Err *err)
{
    Oracle *oracle = arg;
    NodeKit kit;
    TRY(disk_sim_new(oracle->seed + 1, &oracle->disk, err));
    TRY(node_kit_open_small(&oracle->source, oracle->disk, oracle->seed, err));
    oracle->open = true;
    TRY(fill(&oracle->source, err));
    TRY(node_kit_open_small(&kit, disk, oracle->seed, err));
    ErrCode code = fill(&kit, err);
    if (code == OK) return damage(disk, &kit, err);
    node_kit_drop(&kit);
    return code;
}

static bool on_applier(void *ctx, void (*fn)(void *arg), void *arg)
{
    UNUSED(ctx);
    fn(arg);
    return true;
}

static bool pace(void *ctx, uint64_t bytes)
{
    UNUSED(ctx);
    UNUSED(bytes);
    return true;
}

static ErrCode list_file(NodeKit *kit, unsigned i, Err *err)
{
    StoreFound found;
    char place[BLOB_PATH_MAX];
    TRY(find(kit, i, &found, err));
    pack_path(found.row.place.pack, place);
    if (i == LARGE) {
        Extent extent = extent_at(found.row.extents, 0);
        blob_path(extent.body, extent.number, place);
    }
    RiskFound risk = {.file = found.row.file,
                      .version = found.row.version,
                      .bucket = found.bucket,
                      .key = key_of(i),
                      .size = found.row.size,
                      .cause = RISK_CHECKSUM,
                      .place = place};
    risk_add(store_risk(kit->store), &risk);
    if (i == LARGE) return OK;
    RiskFound pack = {.cause = RISK_CHECKSUM, .place = place, .offset = found.row.place.offset};
    risk_add(store_risk(kit->store), &pack);
    return OK;
}

static ErrCode mend(NodeKit *kit, Oracle *oracle, Err *err)
{
    MenderOptions options = {.sources = {oracle->source.store},
                             .source_count = 1,
                             .on_applier = on_applier,
                             .pace = pace};
    AUTO(Mender, mender_free) mender = mender_new(kit->store, &options);
    size_t mended = 0;
    TRY(list_file(kit, DAMAGED, err));
    TRY(list_file(kit, LARGE, err));
    TRY(mender_look(mender, &mended, err));
    if (mended != 3) return err_set(err, ERR_ABORTED, "%zu of 3 entries were mended", mended);
    TRY(store_checkpoint(kit->store, err));
    oracle->healed = true;
    return OK;
}

static ErrCode run(Disk *disk, void *arg, Err *err)
{
    Oracle *oracle = arg;
    NodeKit kit;
    TRY(node_kit_open_small(&kit, disk, oracle->seed + 2, err));
    ErrCode code = mend(&kit, oracle, err);
    if (code == OK)
        code = node_kit_close(&kit, err);
    else
        node_kit_drop(&kit);
    if (!disk_sim_stopped(disk)) disk_sim_kill(disk); /* a stop would be lifted */
    return code;
}

/* --- verification --- */

static ErrCode see(NodeKit *kit, const Oracle *oracle, unsigned i, bool *whole, Err *err)
{
    AUTO(uint8_t, mem_free) bytes = mem_new(INLINE_MAX + 1000);
    AUTO_BUF(body, 2 * INLINE_MAX);
    Err own = {0};
    ErrCode code = node_kit_get(kit, STR("files"), key_of(i), &body, &own);
    *whole = code == OK;
    if (i == GONE) {
        if (code == ERR_NOT_FOUND) return OK;
        return err_set(err, ERR_ABORTED, "what was deleted is back: %s", err_text(&own));
    }
    if (*whole && !str_eq(buf_str(&body), body_of(i, i == TWICE, bytes)))
        return err_set(err, ERR_ABORTED, "file %u has another body", i);
    bool may_be_damaged = (i == DAMAGED || i == LARGE) && !oracle->healed;
    bool is_damaged = code == ERR_FILE_DAMAGED || code == ERR_CORRUPT || code == ERR_NOT_FOUND;
    if (*whole || (may_be_damaged && is_damaged)) return OK;
    return err_set(err, disk_sim_stopped(kit->disk) ? code : ERR_ABORTED, "file %u: %s", i,
                   err_text(&own));
}

static ErrCode see_all(NodeKit *kit, const Oracle *oracle, uint64_t *outcome, Err *err)
{
    *outcome = 0;
    for (unsigned i = 0; i < FILES; i++) {
        bool whole = false;
        TRY(see(kit, oracle, i, &whole, err));
        /* A copied body's name may go with the power until its directory is synced. */
        if (i != LARGE) *outcome |= (uint64_t)whole << i;
    }
    return OK;
}

static ErrCode verify(Disk *disk, const void *arg, uint64_t *outcome, Err *err)
{
    const Oracle *oracle = arg;
    NodeKit kit;
    uint64_t again = 0;
    TRY(node_kit_open_small(&kit, disk, oracle->seed + 3, err));
    ErrCode code = see_all(&kit, oracle, outcome, err);
    if (code == OK) code = node_kit_apply(&kit, err);
    if (code == OK) code = see_all(&kit, oracle, &again, err);
    if (code == OK && again != *outcome) code = err_set(err, ERR_ABORTED, "it changed by itself");
    if (code == OK && oracle->healed) code = pack_truth_check(kit.store, err);
    node_kit_crash(&kit, disk);
    return code;
}

static const CrashWorkload workload = {
    .name = "mend",
    .oracle_new = oracle_new,
    .oracle_free = oracle_free,
    .setup = setup,
    .run = run,
    .verify = verify,
};

/* A record whose row moved before it was synced is found by the same states. */
static bool finds_planted(void)
{
    CrashOptions options = {.seed = 1, .sampled = SAMPLED, .failures_max = 1, .quiet = true};
    fault_plant("mend-not-synced", true);
    CrashStates *states = crash_states_new(&options);
    crash_states_run(states, &workload);
    bool found = crash_states_counts(states).failed > 0;
    crash_states_free(states);
    fault_reset();
    if (!found) printf("mend-not-synced is found by no state\n");
    return found;
}

int main(void)
{
    log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_ERROR);
    CrashStates *states = crash_states_new(
        &(CrashOptions){.seed = 1, .required = REQUIRED, .sampled = SAMPLED});
    crash_states_run(states, &workload);
    int status = crash_states_finish(states);
    return finds_planted() ? status : 1;
}
