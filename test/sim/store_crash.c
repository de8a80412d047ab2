/* Crash states of a whole node of one root: engine, replicas, log, packs, blobs, index and control
 * store over the simulated disk, stopped at each of the disk's operations. Every acknowledged
 * change must be there, every refused one not, one under way wholly or not at all; listings agree
 * with look-ups, before and after everything is applied and the log is cut; and what a recovery has
 * shown once, every later one shows. */
#include "crash_states.h"
#include "node_kit.h"

#include <inttypes.h>
#include <string.h>

#define REQUIRED 30000
#define SAMPLED 700
#define BUCKETS 2
#define KEYS 6
#define MAYBE_MAX 4
#define FLIGHT_MAX 4
#define ABSENT 0 /* a value: no file */

/* --- the oracle --- */

typedef struct {
    unsigned acked;            /* value, or ABSENT */
    unsigned maybe[MAYBE_MAX]; /* asked for since, of unknown outcome */
    size_t maybe_count;
} Slot;

typedef struct {
    Slot bucket[BUCKETS]; /* 1: it exists */
    Slot file[BUCKETS][KEYS];
    unsigned next_value;
    uint64_t next_seed;
    uint64_t seed;
} Oracle;

static void *oracle_new(uint64_t seed)
{
    Oracle *oracle = mem_new(sizeof *oracle);
    oracle->seed = seed;
    return oracle;
}

static void asked(Slot *slot, unsigned value)
{
    ASSERT(slot->maybe_count < MAYBE_MAX);
    slot->maybe[slot->maybe_count++] = value;
}

/* The last change asked of slot has ended with code. */
static void answered(Slot *slot, ErrCode code)
{
    if (code == ERR_OUTCOME_UNKNOWN) return;
    ASSERT(slot->maybe_count > 0);
    unsigned value = slot->maybe[--slot->maybe_count];
    if (code != OK) return; /* refused: it changed nothing */
    slot->acked = value;    /* and those before it are under it */
    slot->maybe_count = 0;
}

static bool allowed(const Slot *slot, unsigned value)
{
    if (value == slot->acked) return true;
    for (size_t i = 0; i < slot->maybe_count; i++) {
        if (slot->maybe[i] == value) return true;
    }
    return false;
}

static Str bucket_name(unsigned bucket)
{
    return bucket == 0 ? STR("files") : STR("second");
}

static Str key_name(unsigned key)
{
    static const char *const names[KEYS] = {"a", "a/b", "b", "b\x01", "c", "\xc3\xbc"};
    return str_from_cstr(names[key]);
}

/* Values tell their size: 1000 × class + number. */
static const size_t sizes[] = {40, 0, 3000, 30000, 66000};
enum { TINY, EMPTY, SMALL, MEDIUM, LARGE };

static Str body_of(unsigned value, uint8_t *out)
{
    Rng rng;
    size_t len = sizes[value / 1000 % ARRAY_LEN(sizes)];
    rng_init(&rng, value);
    rng_bytes(&rng, out, len);
    return str_of(out, len);
}

/* The value whose body this is among those that slot allows; *known false: none of them. */
static unsigned value_of(const Slot *slot, Str body, bool *known)
{
    AUTO(uint8_t, mem_free) bytes = mem_new(sizes[LARGE]);
    *known = true;
    if (slot->acked != ABSENT && str_eq(body_of(slot->acked, bytes), body)) return slot->acked;
    for (size_t i = 0; i < slot->maybe_count; i++) {
        unsigned value = slot->maybe[i];
        if (value != ABSENT && str_eq(body_of(value, bytes), body)) return value;
    }
    *known = false;
    return ABSENT;
}

/* --- a node's life --- */

static NodeKitOptions options_of(uint64_t seed)
{
    return (NodeKitOptions){
        .seed = seed, .shards = 2, .segment_size = SEGMENT_SIZE_MIN, .pack_size = 64 * KIB};
}

typedef ErrCode (*Steps)(NodeKit *kit, Oracle *oracle, Err *err);

/* Starts a process, runs steps, and stops it cleanly or as a kill would. */
static ErrCode with_node(Disk *disk, Oracle *oracle, Steps steps, bool clean, Err *err)
{
    NodeKit kit;
    NodeKitOptions options = options_of(oracle->seed + 7919 * ++oracle->next_seed);
    if (oracle->bucket[0].acked == 0 && oracle->bucket[0].maybe_count == 0) {
        asked(&oracle->bucket[0], 1); /* the first bucket, made at the first start */
    }
    TRY(node_kit_open(&kit, disk, &options, err));
    ErrCode code = node_kit_ready(&kit, err);
    if (code == OK && oracle->bucket[0].maybe_count > 0) answered(&oracle->bucket[0], OK);
    if (code == OK && steps != NULL) code = steps(&kit, oracle, err);
    if (code == OK && clean) {
        code = node_kit_close(&kit, err);
    } else {
        node_kit_drop(&kit);
    }
    if (!disk_sim_stopped(disk)) disk_sim_kill(disk); /* a stop would be lifted */
    return code;
}

static ErrCode put(NodeKit *kit, Oracle *oracle, unsigned bucket, unsigned key, unsigned size,
                   Err *err)
{
    AUTO(uint8_t, mem_free) bytes = mem_new(sizes[LARGE]);
    Slot *slot = &oracle->file[bucket][key];
    unsigned value = 1000 * size + ++oracle->next_value;
    asked(slot, value);
    ErrCode code = node_kit_put(kit, bucket_name(bucket), key_name(key), body_of(value, bytes),
                                err);
    answered(slot, code);
    return code;
}

static ErrCode remove_file(NodeKit *kit, Oracle *oracle, unsigned bucket, unsigned key, Err *err)
{
    Slot *slot = &oracle->file[bucket][key];
    asked(slot, ABSENT);
    ErrCode code = node_kit_delete(kit, bucket_name(bucket), key_name(key), err);
    answered(slot, code);
    return code;
}

static ErrCode change_bucket(NodeKit *kit, Oracle *oracle, unsigned bucket, bool create)
{
    Mutation m;
    mutation_init(&m, create ? MUTATION_BUCKET_CREATE : MUTATION_BUCKET_DELETE);
    m.bucket = bucket_name(bucket);
    asked(&oracle->bucket[bucket], create);
    ErrCode code = node_kit_do(kit, &m);
    answered(&oracle->bucket[bucket], code);
    mutation_deinit(&m);
    return code;
}

static ErrCode apply(NodeKit *kit, Err *err)
{
    size_t applied = 0;
    do {
        TRY(store_apply(kit->store, 100, &applied, err));
    } while (applied > 0);
    return OK;
}

static ErrCode apply_and_cut(NodeKit *kit, Err *err)
{
    TRY(apply(kit, err));
    return store_checkpoint(kit->store, err);
}

/* --- verification --- */

static ErrCode see_file(NodeKit *kit, const Oracle *oracle, unsigned bucket, unsigned key,
                        unsigned *seen, Err *err)
{
    const Slot *slot = &oracle->file[bucket][key];
    AUTO_BUF(body, 2 * sizes[LARGE]);
    bool known = true;
    ErrCode code = node_kit_get(kit, bucket_name(bucket), key_name(key), &body, err);
    *seen = ABSENT;
    if (code == OK) *seen = value_of(slot, buf_str(&body), &known);
    if (code != OK && code != ERR_NOT_FOUND && code != ERR_NO_BUCKET) return code;
    if (!known) return err_set(err, ERR_ABORTED, "file %u.%u has another body", bucket, key);
    if (!allowed(slot, *seen)) {
        return err_set(err, ERR_ABORTED, "file %u.%u is %u, acknowledged was %u", bucket, key,
                       *seen, slot->acked);
    }
    return OK;
}

/* The names of a bucket, in order, are those that were seen, and so are its counts if all is
 * applied. */
static ErrCode see_list(NodeKit *kit, unsigned bucket, const unsigned seen[KEYS], bool applied,
                        Err *err)
{
    BucketRecord record;
    if (!buckets_find(kit->buckets, bucket_name(bucket), &record)) return OK;
    AUTO(StoreList, store_list_close) list = NULL;
    StoreListOptions options = {.bucket = record.uid};
    uint64_t files = 0;
    uint64_t bytes = 0;
    bool found = true;
    TRY(store_list_open(kit->reader, &options, &list, err));
    for (unsigned key = 0; found; key++) {
        StoreFound file;
        bool is_prefix = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        while (key < KEYS && seen[key] == ABSENT)
            key++;
        if (found != (key < KEYS) || (found && !str_eq(file.key, key_name(key)))) {
            return err_set(err, ERR_ABORTED, "the list of bucket %u differs at %u", bucket, key);
        }
        if (!found) break;
        files++;
        bytes += file.row.size;
    }
    if (!applied) return OK;
    BucketStatRow stat;
    TRY(store_bucket_stat(kit->reader, record.uid, &stat, err));
    if (stat.files != files || stat.bytes != bytes) {
        return err_set(err, ERR_ABORTED, "bucket %u counts %" PRIu64 " of %" PRIu64 " files",
                       bucket, stat.files, files);
    }
    return OK;
}

static ErrCode see_all(NodeKit *kit, const Oracle *oracle, bool applied, uint64_t *outcome,
                       Err *err)
{
    uint64_t sum = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        BucketRecord record;
        bool there = buckets_find(kit->buckets, bucket_name(bucket), &record);
        unsigned seen[KEYS];
        sum = sum * 31 + there;
        /* A start makes the first bucket if there is none. */
        if (!allowed(&oracle->bucket[bucket], there) && !(bucket == 0 && there)) {
            return err_set(err, ERR_ABORTED, "bucket %u is %s", bucket, there ? "there" : "gone");
        }
        for (unsigned key = 0; key < KEYS; key++) {
            TRY(see_file(kit, oracle, bucket, key, &seen[key], err));
            sum = sum * 1000003 + seen[key];
        }
        TRY(see_list(kit, bucket, seen, applied, err));
    }
    *outcome = sum;
    return OK;
}

/* Starts the node on what is left, looks, applies and cuts, looks again. */
static ErrCode verify(Disk *disk, const void *ctx, uint64_t *outcome, Err *err)
{
    const Oracle *oracle = ctx;
    NodeKit kit;
    /* Another one for each image: an id that was used on this disk is not made again. */
    NodeKitOptions options = options_of(disk_sim_fingerprint(disk));
    uint64_t later = 0;
    TRY(node_kit_open(&kit, disk, &options, err));
    ErrCode code = node_kit_ready(&kit, err);
    if (code == OK) code = see_all(&kit, oracle, false, outcome, err);
    if (code == OK) code = apply_and_cut(&kit, err);
    if (code == OK) code = see_all(&kit, oracle, true, &later, err);
    if (code == OK && later != *outcome) {
        code = err_set(err, ERR_ABORTED, "applying changed what is there");
    }
    node_kit_drop(&kit);
    return code;
}

/* --- workloads --- */

static ErrCode first_start(Disk *disk, void *oracle, Err *err)
{
    return with_node(disk, oracle, NULL, false, err);
}

static ErrCode puts_steps(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(put(kit, oracle, 0, 0, TINY, err));
    TRY(put(kit, oracle, 0, 1, SMALL, err));
    TRY(put(kit, oracle, 0, 5, EMPTY, err));
    TRY(apply(kit, err));
    TRY(put(kit, oracle, 0, 2, TINY, err));
    TRY(apply_and_cut(kit, err));
    return put(kit, oracle, 0, 3, TINY, err);
}
static ErrCode few(Disk *disk, void *oracle, Err *err)
{
    return with_node(disk, oracle, puts_steps, false, err);
}

/* Some applied and cut, some not. */
static ErrCode filled_steps(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(put(kit, oracle, 0, 0, TINY, err));
    TRY(put(kit, oracle, 0, 1, SMALL, err));
    TRY(put(kit, oracle, 0, 2, LARGE, err));
    TRY(apply_and_cut(kit, err));
    TRY(put(kit, oracle, 0, 3, SMALL, err));
    return put(kit, oracle, 0, 4, TINY, err);
}
static ErrCode filled(Disk *disk, void *oracle, Err *err)
{
    return with_node(disk, oracle, filled_steps, false, err);
}

static ErrCode overwrite_steps(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(put(kit, oracle, 0, 0, SMALL, err));
    TRY(remove_file(kit, oracle, 0, 1, err));
    TRY(put(kit, oracle, 0, 3, TINY, err));
    TRY(apply(kit, err));
    TRY(remove_file(kit, oracle, 0, 0, err));
    TRY(put(kit, oracle, 0, 0, TINY, err));
    TRY(remove_file(kit, oracle, 0, 4, err));
    return apply_and_cut(kit, err);
}
static ErrCode overwrite(Disk *disk, void *oracle, Err *err)
{
    return with_node(disk, oracle, overwrite_steps, false, err);
}

static ErrCode large_steps(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(put(kit, oracle, 0, 5, LARGE, err));
    TRY(put(kit, oracle, 0, 2, LARGE, err));
    TRY(apply_and_cut(kit, err)); /* the one before is unlinked */
    TRY(remove_file(kit, oracle, 0, 5, err));
    return apply_and_cut(kit, err);
}
static ErrCode large(Disk *disk, void *oracle, Err *err)
{
    return with_node(disk, oracle, large_steps, false, err);
}

static ErrCode bucket_steps(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(change_bucket(kit, oracle, 1, true));
    TRY(put(kit, oracle, 1, 0, TINY, err));
    TRY(apply(kit, err));
    TRY(remove_file(kit, oracle, 1, 0, err));
    TRY(change_bucket(kit, oracle, 1, false));
    TRY(apply_and_cut(kit, err));
    TRY(change_bucket(kit, oracle, 1, true)); /* nobody inherits its files */
    return put(kit, oracle, 1, 1, TINY, err);
}
static ErrCode bucket(Disk *disk, void *oracle, Err *err)
{
    return with_node(disk, oracle, bucket_steps, false, err);
}

static ErrCode rotation_steps(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(put(kit, oracle, 0, 0, MEDIUM, err));
    TRY(put(kit, oracle, 0, 1, MEDIUM, err));
    TRY(put(kit, oracle, 0, 2, MEDIUM, err));
    TRY(apply_and_cut(kit, err));
    TRY(put(kit, oracle, 0, 3, MEDIUM, err));
    TRY(wal_prepare_spare(store_wal(kit->store), err));
    TRY(put(kit, oracle, 0, 0, MEDIUM, err));
    return apply_and_cut(kit, err);
}
static ErrCode rotation(Disk *disk, void *oracle, Err *err)
{
    return with_node(disk, oracle, rotation_steps, false, err);
}

/* Several changes in one group commit, appended in two runs; conditions see each other. */
typedef struct {
    Mutation m;
    Slot *slot;
    Extent extent;
    uint8_t *bytes;
} Flight;

static void landed(Mutation *m)
{
    answered(((Flight *)m->ctx)->slot, m->code);
}

static void take_off(NodeKit *kit, Oracle *oracle, Flight *flight, unsigned key, unsigned size)
{
    unsigned value = 1000 * size + ++oracle->next_value;
    flight->bytes = mem_new(sizes[LARGE]);
    flight->slot = &oracle->file[0][key];
    mutation_init(&flight->m, MUTATION_PUT);
    flight->m.bucket = bucket_name(0);
    flight->m.key = key_name(key);
    flight->m.done = landed;
    flight->m.ctx = flight;
    asked(flight->slot, value);
    ErrCode code = node_kit_body(kit, &flight->m, body_of(value, flight->bytes), &flight->extent,
                                 NULL);
    if (code == OK)
        engine_submit(kit->engine, &flight->m);
    else
        answered(flight->slot, code);
}

static ErrCode batch_steps(NodeKit *kit, Oracle *oracle, Err *err)
{
    static const unsigned keys[2][FLIGHT_MAX] = {{0, 1, 3, 5}, {1, 2, 4, 0}};
    UNUSED(err);
    for (unsigned round = 0; round < 2; round++) {
        Flight flights[FLIGHT_MAX];
        memset(flights, 0, sizeof flights);
        for (unsigned i = 0; i < FLIGHT_MAX; i++) {
            take_off(kit, oracle, &flights[i], keys[round][i], i == 2 ? SMALL : TINY);
            if (i == 1) node_kit_append(kit, 1);
        }
        node_kit_settle(kit);
        for (unsigned i = 0; i < FLIGHT_MAX; i++) {
            mutation_deinit(&flights[i].m);
            mem_free(flights[i].bytes);
        }
    }
    return OK;
}
static ErrCode batch(Disk *disk, void *oracle, Err *err)
{
    return with_node(disk, oracle, batch_steps, false, err);
}

static ErrCode one_put_steps(NodeKit *kit, Oracle *oracle, Err *err)
{
    return put(kit, oracle, 0, 0, TINY, err);
}
static ErrCode clean_stop(Disk *disk, void *oracle, Err *err)
{
    TRY(with_node(disk, oracle, one_put_steps, true, err));
    return with_node(disk, oracle, one_put_steps, true, err);
}

/* Three processes, each killed. */
static ErrCode restarts(Disk *disk, void *oracle, Err *err)
{
    for (int i = 0; i < 3; i++)
        TRY(with_node(disk, oracle, one_put_steps, false, err));
    return OK;
}

/* Twelve operations by chance. */
static ErrCode mixed_step(NodeKit *kit, Oracle *oracle, Rng *rng, Err *err)
{
    static const unsigned likely[] = {TINY, TINY, TINY, SMALL, EMPTY, MEDIUM, LARGE};
    unsigned key = (unsigned)rng_below(rng, KEYS);
    bool there = oracle->file[0][key].acked != ABSENT;
    switch (rng_below(rng, 8)) {
    case 0: return apply(kit, err);
    case 1: return apply_and_cut(kit, err);
    case 2: return store_log_idle(kit->store, err);
    case 3:
        if (there) return remove_file(kit, oracle, 0, key, err);
        break;
    default: break;
    }
    return put(kit, oracle, 0, key, likely[rng_below(rng, ARRAY_LEN(likely))], err);
}

static ErrCode mixed_steps(NodeKit *kit, Oracle *oracle, uint64_t seed, Err *err)
{
    Rng rng;
    rng_init(&rng, seed);
    for (int i = 0; i < 12; i++)
        TRY(mixed_step(kit, oracle, &rng, err));
    return OK;
}
#define MIXED(n)                                                                                   \
    static ErrCode mixed_##n##_steps(NodeKit *kit, Oracle *oracle, Err *err)                       \
    {                                                                                              \
        return mixed_steps(kit, oracle, (n), err);                                                 \
    }                                                                                              \
    static ErrCode mixed_##n(Disk *disk, void *oracle, Err *err)                                   \
    {                                                                                              \
        return with_node(disk, oracle, mixed_##n##_steps, false, err);                             \
    }
MIXED(1)
MIXED(2)

#define WORKLOAD(text, before, during)                                                             \
    {                                                                                              \
        .name = (text), .oracle_new = oracle_new, .oracle_free = mem_free, .setup = (before),      \
        .run = (during), .verify = verify,                                                         \
    }
static const CrashWorkload workloads[] = {
    WORKLOAD("first-start", NULL, first_start), WORKLOAD("puts", first_start, few),
    WORKLOAD("overwrite", filled, overwrite),   WORKLOAD("large", filled, large),
    WORKLOAD("bucket", first_start, bucket),    WORKLOAD("rotation", filled, rotation),
    WORKLOAD("batch", filled, batch),           WORKLOAD("clean-stop", filled, clean_stop),
    WORKLOAD("restarts", filled, restarts),     WORKLOAD("mixed-1", filled, mixed_1),
    WORKLOAD("mixed-2", filled, mixed_2),
};

int main(void)
{
    static const char *const planted[] = {"ack-before-sync",
                                          "skip-pack-sync",
                                          "skip-blob-sync",
                                          "skip-blob-dir-sync",
                                          "skip-sync",
                                          "skip-dir-sync",
                                          "skip-index-sync",
                                          "index-ahead-of-packs",
                                          "cut-before-checkpoint"};
    unsigned blind = crash_states_blind(
        &(CrashOptions){.seed = 1, .sampled = 24, .exhaustive_max = 4}, workloads,
        ARRAY_LEN(workloads), planted, ARRAY_LEN(planted));
    CrashStates *states = crash_states_new(&(CrashOptions){
        .seed = 1, .required = REQUIRED, .sampled = SAMPLED, .recovery_per_million = 200});
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++)
        crash_states_run(states, &workloads[i]);
    return crash_states_finish(states) != 0 || blind > 0;
}
