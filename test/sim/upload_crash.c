/* Crash states of resumable uploads, over a whole node on the simulated disk: what was acknowledged
 * of an upload is kept, to the byte, however the power fails; of one that was ended nothing stays;
 * and a file that came of one is whole, while the upload is there and when it is not. */
#include "crash_states.h"
#include "node_kit.h"

#include "base/hash_run.h"
#include "service/uploads.h"

#include <inttypes.h>

#define REQUIRED 900
#define SAMPLED 250
#define SMALL 100
#define FIRST 66000 /* bytes: an extent of its own */
#define ALL (FIRST + SMALL)

/* What there may be, one step after the other. */
typedef enum {
    NOTHING,
    CREATED,
    KEPT_SMALL, /* SMALL bytes, in the row */
    KEPT_FIRST, /* FIRST bytes, an extent */
    KEPT_ALL,   /* the same extent and one more */
    FILE_MADE,  /* and the row is still there */
    ROW_GONE,
    ENDED /* of the other workload, behind KEPT_FIRST */
} State;

static const struct {
    bool row;
    bool file;
    bool decided;
    uint64_t offset;
    size_t extents;
} states_of[] = {
    [NOTHING] = {.row = false},
    [CREATED] = {.row = true},
    [KEPT_SMALL] = {.row = true, .offset = SMALL},
    [KEPT_FIRST] = {.row = true, .offset = FIRST, .extents = 1},
    [KEPT_ALL] = {.row = true, .offset = ALL, .extents = 2},
    [FILE_MADE] = {.row = true, .file = true, .decided = true, .offset = ALL, .extents = 2},
    [ROW_GONE] = {.file = true, .decided = true, .extents = 2},
    [ENDED] = {.decided = true},
};

typedef struct {
    FileId id;
    State acked;
    State asked;       /* the acked one, or the step behind it */
    VersionId version; /* of the row */
    uint64_t seed;
    Extent extents[2];
    uint8_t body[ALL];
} Oracle;

static void *oracle_new(uint64_t seed)
{
    Oracle *oracle = mem_new(sizeof *oracle);
    Rng rng;
    rng_init(&rng, seed);
    rng_bytes(&rng, oracle->body, sizeof oracle->body);
    oracle->seed = seed;
    return oracle;
}

static void oracle_free(void *oracle)
{
    mem_free(oracle);
}

/* --- the workloads --- */

/* Submits m, after which there is what state says. */
static ErrCode step(NodeKit *kit, Oracle *oracle, Mutation *m, State state, Err *err)
{
    oracle->asked = state;
    ErrCode code = node_kit_do(kit, m);
    if (code == OK) oracle->acked = state;
    if (code == OK && m->upload) oracle->version = m->row.version;
    if (code != OK) (void)err_set(err, code, "%s", err_text(&m->err)); /* for its text */
    mutation_deinit(m);
    return code;
}

/* The body of m: the first len bytes, of count extents. */
static void body(Oracle *oracle, Mutation *m, size_t len, uint32_t count)
{
    m->size = len;
    m->digest = sha256_of(oracle->body, len);
    if (count == 0) {
        m->inline_body = str_of(oracle->body, len);
        return;
    }
    m->extents = oracle->extents;
    m->extent_count = count;
    m->body = oracle->extents[0].body;
}

static ErrCode write_row(NodeKit *kit, Oracle *oracle, State state, Err *err)
{
    BucketRecord bucket;
    Mutation m;
    uint8_t saved[HASH_RUN_STATE_MAX];
    size_t len = (size_t)states_of[state].offset;
    AUTO(HashRun, hash_run_free) run = hash_run_new();
    AUTO_BUF(attrs, ATTRS_MAX);
    hash_run_update(run, oracle->body, len);
    if (!buckets_find(kit->buckets, STR("files"), &bucket))
        return err_set(err, ERR_ABORTED, "no bucket");
    UploadRecord record = {.bucket = bucket.uid,
                           .key = STR("u"),
                           .expires_ms = 5000000000000,
                           .hash = str_of(saved, hash_run_save(run, saved))};
    TRY(upload_attrs(&record, &attrs, err));
    mutation_init(&m, state == CREATED ? MUTATION_CREATE : MUTATION_UPDATE);
    m.upload = true;
    m.file = oracle->id;
    m.attrs = buf_str(&attrs);
    body(oracle, &m, len, (uint32_t)states_of[state].extents);
    return step(kit, oracle, &m, state, err);
}

static ErrCode write_extent(NodeKit *kit, Oracle *oracle, size_t number, size_t from, size_t to,
                            Err *err)
{
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    BlobInfo info = {.shard = file_id_shard(oracle->id), .bucket = 2};
    Blobs *blobs = store_blobs(kit->store);
    TRY(blob_writer_open(blobs, id128_random(&kit->rng), 0, &writer, err));
    TRY(blob_writer_write(writer, oracle->body + from, to - from, err));
    return blob_writer_finish(writer, &info, &oracle->extents[number], err);
}

static ErrCode begin(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(write_row(kit, oracle, CREATED, err));
    TRY(write_row(kit, oracle, KEPT_SMALL, err));
    TRY(write_extent(kit, oracle, 0, 0, FIRST, err));
    TRY(write_row(kit, oracle, KEPT_FIRST, err));
    return node_kit_apply(kit, err);
}

static ErrCode end_row(NodeKit *kit, Oracle *oracle, State state, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_DELETE_FILE);
    m.upload = true;
    m.file = oracle->id;
    if (state == ENDED) upload_decide(&m, oracle->id, false, oracle->version);
    TRY(step(kit, oracle, &m, state, err));
    return node_kit_apply(kit, err);
}

static ErrCode complete(NodeKit *kit, Oracle *oracle, Err *err)
{
    Mutation m;
    TRY(begin(kit, oracle, err));
    TRY(write_extent(kit, oracle, 1, FIRST, ALL, err));
    TRY(write_row(kit, oracle, KEPT_ALL, err));
    TRY(node_kit_apply(kit, err));
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = STR("u");
    body(oracle, &m, ALL, 2);
    upload_decide(&m, oracle->id, false, oracle->version);
    TRY(step(kit, oracle, &m, FILE_MADE, err));
    return end_row(kit, oracle, ROW_GONE, err);
}

static ErrCode give_up(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(begin(kit, oracle, err));
    return end_row(kit, oracle, ENDED, err);
}

static ErrCode setup(Disk *disk, void *ctx, Err *err)
{
    Oracle *oracle = ctx;
    NodeKit kit;
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, 1);
    TRY(node_kit_open_small(&kit, disk, oracle->seed, err));
    oracle->id = file_id_make(shard_id(standard.number, 0), 1, &kit.rng);
    ErrCode code = node_kit_close(&kit, err);
    disk_sim_kill(disk);
    return code;
}

static ErrCode run_steps(Disk *disk, Oracle *oracle,
                         ErrCode (*steps)(NodeKit *kit, Oracle *oracle, Err *err), Err *err)
{
    NodeKit kit;
    TRY(node_kit_open_small(&kit, disk, oracle->seed + 1, err));
    ErrCode code = steps(&kit, oracle, err);
    node_kit_crash(&kit, disk);
    return code;
}

static ErrCode run_complete(Disk *disk, void *oracle, Err *err)
{
    return run_steps(disk, oracle, complete, err);
}

static ErrCode run_give_up(Disk *disk, void *oracle, Err *err)
{
    return run_steps(disk, oracle, give_up, err);
}

/* --- what is found --- */

/* The row's or the file's bytes are the first len. */
static ErrCode check_bytes(NodeKit *kit, const Oracle *oracle, const StoreFound *found, Err *err)
{
    AUTO_BUF(bytes, ALL);
    TRY(node_kit_read(kit, kit->reader, found, &bytes, err));
    if (str_eq(buf_str(&bytes), str_of(oracle->body, (size_t)found->row.size))) return OK;
    return err_set(err, ERR_ABORTED, "other bytes");
}

static ErrCode look(NodeKit *kit, const Oracle *oracle, State *out, Err *err)
{
    StoreFound found;
    StoreRequest fate;
    BucketRecord bucket;
    Mutation m;
    bool row = false;
    bool file = false;
    bool decided = false;
    uint64_t offset = 0;
    TRY(store_find_id(kit->reader, oracle->id, NULL, STORE_COMMITTED, &found, &row, err));
    if (row) offset = found.row.size;
    if (row) TRY(check_bytes(kit, oracle, &found, err));
    if (!buckets_find(kit->buckets, STR("files"), &bucket))
        return err_set(err, ERR_ABORTED, "no bucket");
    TRY(store_find(kit->reader, bucket.uid, STR("u"), NULL, STORE_COMMITTED, &found, &file, err));
    if (file && found.row.size != ALL) return err_set(err, ERR_ABORTED, "a part of the file");
    if (file) TRY(check_bytes(kit, oracle, &found, err));
    mutation_init(&m, MUTATION_DELETE_FILE);
    upload_decide(&m, oracle->id, false, oracle->version);
    TRY(store_find_request(kit->reader, m.request, 0, &fate, &decided, err));
    for (size_t i = 0; i < ARRAY_LEN(states_of); i++) {
        if (row != states_of[i].row || file != states_of[i].file) continue;
        if (decided != states_of[i].decided || offset != states_of[i].offset) continue;
        *out = (State)i;
        return OK;
    }
    return err_set(err, ERR_ABORTED, "row %d of %" PRIu64 " bytes, file %d, decided %d", row,
                   offset, file, decided);
}

static ErrCode count_extent(void *ctx, BodyId body_id, uint32_t number, Err *err)
{
    size_t *count = ctx;
    UNUSED(body_id);
    UNUSED(number);
    UNUSED(err);
    (*count)++;
    return OK;
}

static ErrCode check_node(NodeKit *kit, const Oracle *oracle, uint64_t *outcome, Err *err)
{
    State state = NOTHING;
    State again = NOTHING;
    size_t extents = 0;
    uint64_t removed = 0;
    TRY(look(kit, oracle, &state, err));
    if (state != oracle->acked && state != oracle->asked)
        return err_set(err, ERR_ABORTED, "state %d, acknowledged was %d, asked for %d", (int)state,
                       (int)oracle->acked, (int)oracle->asked);
    TRY(store_sweep_orphans(kit->store, &removed, err));
    TRY(node_kit_apply(kit, err));
    TRY(node_kit_apply(kit, err)); /* garbage is unlinked behind a checkpoint */
    TRY(look(kit, oracle, &again, err));
    if (again != state) return err_set(err, ERR_ABORTED, "another state when applied");
    TRY(blobs_list(store_blobs(kit->store), count_extent, &extents, err));
    if (extents != states_of[state].extents)
        return err_set(err, ERR_ABORTED, "%zu extents stay in state %d", extents, (int)state);
    *outcome = state;
    return OK;
}

static ErrCode verify(Disk *disk, const void *ctx, uint64_t *outcome, Err *err)
{
    const Oracle *oracle = ctx;
    NodeKit kit;
    TRY(node_kit_open_small(&kit, disk, oracle->seed + 2, err));
    ErrCode code = check_node(&kit, oracle, outcome, err);
    node_kit_crash(&kit, disk);
    return code;
}

static const CrashWorkload workloads[] = {
    {.name = "upload",
     .oracle_new = oracle_new,
     .oracle_free = oracle_free,
     .setup = setup,
     .run = run_complete,
     .verify = verify},
    {.name = "upload-ended",
     .oracle_new = oracle_new,
     .oracle_free = oracle_free,
     .setup = setup,
     .run = run_give_up,
     .verify = verify},
};

int main(void)
{
    static const char *const planted[] = {"ack-before-sync", "skip-blob-sync",
                                          "skip-blob-dir-sync"};
    unsigned blind = crash_states_blind(&(CrashOptions){.seed = 1, .sampled = 30}, workloads, 1,
                                        planted, ARRAY_LEN(planted));
    CrashStates *states = crash_states_new(&(CrashOptions){
        .seed = 1, .required = REQUIRED, .sampled = SAMPLED, .recovery_per_million = 200});
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++)
        crash_states_run(states, &workloads[i]);
    return crash_states_finish(states) != 0 || blind > 0;
}
