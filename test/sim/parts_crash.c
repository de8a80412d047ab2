/* Crash states of an upload in parts, over a whole node on the simulated disk: a part that was
 * acknowledged is there, the one or the other of a part that came twice, and the file that was made
 * of them is whole, with its rows and when they are gone. */
#include "crash_states.h"
#include "node_kit.h"

#include "service/uploads.h"

#define REQUIRED 700
#define SAMPLED 200
#define PART 66000 /* bytes */
#define PARTS 3    /* bodies: part 1, part 1 again, part 2 */

typedef enum { NOTHING, CREATED, ONE, ONE_AGAIN, BOTH, FILE_MADE, ROW_GONE, ONE_GONE, GONE } State;

static const struct {
    bool row;
    bool file;
    bool decided;
    int one; /* number of its body, from 1; 0: it is not there */
    int two;
    size_t extents;
} states_of[] = {
    [NOTHING] = {.row = false},
    [CREATED] = {.row = true},
    [ONE] = {.row = true, .one = 1, .extents = 1},
    [ONE_AGAIN] = {.row = true, .one = 2, .extents = 2},
    [BOTH] = {.row = true, .one = 2, .two = 3, .extents = 3},
    [FILE_MADE] = {.row = true, .file = true, .decided = true, .one = 2, .two = 3, .extents = 3},
    [ROW_GONE] = {.file = true, .decided = true, .one = 2, .two = 3, .extents = 3},
    [ONE_GONE] = {.file = true, .decided = true, .two = 3, .extents = 2},
    [GONE] = {.file = true, .decided = true, .extents = 2},
};

typedef struct {
    FileId id;
    VersionId version; /* of the row */
    State acked;
    State asked; /* the acked one, or the step behind it */
    uint64_t seed;
    Extent extents[PARTS];
    uint8_t body[PARTS * PART];
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

/* --- the workload --- */

/* Submits m, after which there is what state says. */
static ErrCode step(NodeKit *kit, Oracle *oracle, Mutation *m, State state, Err *err)
{
    oracle->asked = state;
    ErrCode code = node_kit_do(kit, m);
    if (code == OK) oracle->acked = state;
    if (code == OK && state == CREATED) oracle->version = m->row.version;
    if (code != OK) (void)err_set(err, code, "%s", err_text(&m->err)); /* for its text */
    mutation_deinit(m);
    return code;
}

static ErrCode create(NodeKit *kit, Oracle *oracle, Err *err)
{
    BucketRecord bucket;
    Mutation m;
    AUTO_BUF(attrs, ATTRS_MAX);
    if (!buckets_find(kit->buckets, STR("files"), &bucket))
        return err_set(err, ERR_ABORTED, "no bucket");
    UploadRecord record = {
        .bucket = bucket.uid, .key = STR("u"), .parts = true, .expires_ms = 5000000000000};
    TRY(upload_attrs(&record, &attrs, err));
    mutation_init(&m, MUTATION_CREATE);
    m.upload = true;
    m.file = oracle->id;
    m.attrs = buf_str(&attrs);
    m.digest = sha256_of("", 0);
    return step(kit, oracle, &m, CREATED, err);
}

/* Body `number` as that part. */
static ErrCode put_part(NodeKit *kit, Oracle *oracle, int number, unsigned part, State state,
                        Err *err)
{
    AUTO(BlobWriter, blob_writer_free) writer = NULL;
    BlobInfo info = {.shard = file_id_shard(oracle->id), .bucket = 2};
    const uint8_t *bytes = oracle->body + (number - 1) * PART;
    Extent *extent = &oracle->extents[number - 1];
    Mutation m;
    TRY(blob_writer_open(store_blobs(kit->store), id128_random(&kit->rng), 0, &writer, err));
    TRY(blob_writer_write(writer, bytes, PART, err));
    TRY(blob_writer_finish(writer, &info, extent, err));
    mutation_init(&m, MUTATION_PUT);
    m.upload = true;
    m.file = oracle->id;
    m.part = part;
    m.extents = extent;
    m.extent_count = 1;
    m.body = extent->body;
    m.size = PART;
    m.digest = sha256_of(bytes, PART);
    return step(kit, oracle, &m, state, err);
}

static ErrCode make_file(NodeKit *kit, Oracle *oracle, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = STR("u");
    m.extents = oracle->extents + 1;
    m.extent_count = 2;
    m.body = id128_random(&kit->rng);
    m.size = 2 * PART;
    m.digest_unknown = true;
    m.digest = sha256_of("parts", 5);
    upload_decide(&m, oracle->id, true, oracle->version);
    return step(kit, oracle, &m, FILE_MADE, err);
}

static ErrCode end(NodeKit *kit, Oracle *oracle, unsigned part, State state, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_DELETE_FILE);
    m.upload = true;
    m.file = oracle->id;
    m.part = part;
    return step(kit, oracle, &m, state, err);
}

static ErrCode complete(NodeKit *kit, Oracle *oracle, Err *err)
{
    TRY(create(kit, oracle, err));
    TRY(put_part(kit, oracle, 1, 1, ONE, err));
    TRY(node_kit_apply(kit, err));
    TRY(put_part(kit, oracle, 2, 1, ONE_AGAIN, err));
    TRY(put_part(kit, oracle, 3, 2, BOTH, err));
    TRY(node_kit_apply(kit, err));
    TRY(make_file(kit, oracle, err));
    TRY(end(kit, oracle, 0, ROW_GONE, err));
    TRY(end(kit, oracle, 1, ONE_GONE, err));
    TRY(node_kit_apply(kit, err));
    TRY(end(kit, oracle, 2, GONE, err));
    return node_kit_apply(kit, err);
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

static ErrCode run(Disk *disk, void *ctx, Err *err)
{
    Oracle *oracle = ctx;
    NodeKit kit;
    TRY(node_kit_open_small(&kit, disk, oracle->seed + 1, err));
    ErrCode code = complete(&kit, oracle, err);
    node_kit_crash(&kit, disk);
    return code;
}

/* --- what is found --- */

static ErrCode check_bytes(NodeKit *kit, const StoreFound *found, const uint8_t *bytes, size_t len,
                           Err *err)
{
    AUTO_BUF(body, PARTS * PART);
    TRY(node_kit_read(kit, kit->reader, found, &body, err));
    if (str_eq(buf_str(&body), str_of(bytes, len))) return OK;
    return err_set(err, ERR_ABORTED, "other bytes");
}

/* Which body part `number` has; 0: it is not there. */
static ErrCode look_part(NodeKit *kit, const Oracle *oracle, unsigned number, int *out, Err *err)
{
    char key[UPLOAD_PART_KEY_LEN + 1];
    StoreFound found;
    bool there = false;
    upload_part_key(oracle->id, number, key);
    TRY(store_find(kit->reader, BUCKET_UID_UPLOADS, str_from_cstr(key), NULL, STORE_COMMITTED,
                   &found, &there, err));
    *out = 0;
    for (int i = 1; there && i <= PARTS; i++) {
        Sha256 digest = sha256_of(oracle->body + (i - 1) * PART, PART);
        if (sha256_eq(&digest, &found.row.digest)) *out = i;
    }
    if (!there) return OK;
    if (*out == 0) return err_set(err, ERR_ABORTED, "part %u is nobody's", number);
    return check_bytes(kit, &found, oracle->body + (*out - 1) * PART, PART, err);
}

static ErrCode look(NodeKit *kit, const Oracle *oracle, State *out, Err *err)
{
    StoreFound found;
    StoreRequest fate;
    BucketRecord bucket;
    bool row = false;
    bool file = false;
    bool decided = false;
    int one = 0;
    int two = 0;
    TRY(store_find_id(kit->reader, oracle->id, NULL, STORE_COMMITTED, &found, &row, err));
    TRY(look_part(kit, oracle, 1, &one, err));
    TRY(look_part(kit, oracle, 2, &two, err));
    if (!buckets_find(kit->buckets, STR("files"), &bucket))
        return err_set(err, ERR_ABORTED, "no bucket");
    TRY(store_find(kit->reader, bucket.uid, STR("u"), NULL, STORE_COMMITTED, &found, &file, err));
    if (file) TRY(check_bytes(kit, &found, oracle->body + PART, 2 * PART, err));
    TRY(store_find_request(kit->reader, upload_request(oracle->id, true), 0, &fate, &decided, err));
    for (size_t i = 0; i < ARRAY_LEN(states_of); i++) {
        if (row != states_of[i].row || file != states_of[i].file) continue;
        if (decided != states_of[i].decided) continue;
        if (one != states_of[i].one || two != states_of[i].two) continue;
        *out = (State)i;
        return OK;
    }
    return err_set(err, ERR_ABORTED, "row %d, parts %d and %d, file %d, decided %d", row, one, two,
                   file, decided);
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

static const CrashWorkload workload = {.name = "parts",
                                       .oracle_new = oracle_new,
                                       .oracle_free = oracle_free,
                                       .setup = setup,
                                       .run = run,
                                       .verify = verify};

int main(void)
{
    static const char *const planted[] = {"ack-before-sync", "skip-blob-sync",
                                          "skip-blob-dir-sync"};
    unsigned blind = crash_states_blind(&(CrashOptions){.seed = 1, .sampled = 30}, &workload, 1,
                                        planted, ARRAY_LEN(planted));
    CrashStates *states = crash_states_new(&(CrashOptions){
        .seed = 1, .required = REQUIRED, .sampled = SAMPLED, .recovery_per_million = 200});
    crash_states_run(states, &workload);
    return crash_states_finish(states) != 0 || blind > 0;
}
