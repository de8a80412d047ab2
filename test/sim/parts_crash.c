/* Crash states of an upload in parts, over a whole node on the simulated disk: a part that was
 * acknowledged is there, the one or the other of a part that came twice, and the file that was made
 * of them is whole, with its rows and when they are gone. */
#include "crash_states.h"
#include "upload_kit.h"

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

_Static_assert(PARTS *PART == UPLOAD_KIT_BODY && PARTS == UPLOAD_KIT_EXTENTS, "all is its body");

/* --- the workload --- */

static ErrCode create(NodeKit *kit, UploadKit *oracle, Err *err)
{
    BucketUid bucket = 0;
    Mutation m;
    AUTO_BUF(attrs, ATTRS_MAX);
    TRY(upload_kit_bucket(kit, &bucket, err));
    UploadRecord record = {
        .bucket = bucket, .key = STR("u"), .parts = true, .expires_ms = 5000000000000};
    TRY(upload_attrs(&record, &attrs, err));
    mutation_init(&m, MUTATION_CREATE);
    m.upload = true;
    m.file = oracle->id;
    m.attrs = buf_str(&attrs);
    m.digest = sha256_of("", 0);
    return upload_kit_step(kit, oracle, &m, CREATED, err);
}

/* Body `number` as that part. */
static ErrCode put_part(NodeKit *kit, UploadKit *oracle, int number, unsigned part, State state,
                        Err *err)
{
    size_t from = (size_t)(number - 1) * PART;
    Extent *extent = &oracle->extents[number - 1];
    Mutation m;
    TRY(upload_kit_extent(kit, oracle, (size_t)(number - 1), from, from + PART, err));
    mutation_init(&m, MUTATION_PUT);
    m.upload = true;
    m.file = oracle->id;
    m.part = part;
    m.extents = extent;
    m.extent_count = 1;
    m.body = extent->body;
    m.size = PART;
    m.digest = sha256_of(oracle->body + from, PART);
    return upload_kit_step(kit, oracle, &m, state, err);
}

static ErrCode make_file(NodeKit *kit, UploadKit *oracle, Err *err)
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
    return upload_kit_step(kit, oracle, &m, FILE_MADE, err);
}

static ErrCode end(NodeKit *kit, UploadKit *oracle, unsigned part, State state, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_DELETE_FILE);
    m.upload = true;
    m.file = oracle->id;
    m.part = part;
    return upload_kit_step(kit, oracle, &m, state, err);
}

static ErrCode complete(NodeKit *kit, UploadKit *oracle, Err *err)
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

static ErrCode run(Disk *disk, void *oracle, Err *err)
{
    return upload_kit_run(disk, oracle, complete, err);
}

/* --- what is found --- */

/* Which body part `number` has; 0: it is not there. */
static ErrCode look_part(NodeKit *kit, const UploadKit *oracle, unsigned number, int *out, Err *err)
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
    return upload_kit_check(kit, &found, str_of(oracle->body + (*out - 1) * PART, PART), err);
}

static ErrCode look(NodeKit *kit, const UploadKit *oracle, UploadKitFound *out, Err *err)
{
    StoreFound found;
    StoreRequest fate;
    bool row = false;
    bool file = false;
    bool decided = false;
    int one = 0;
    int two = 0;
    TRY(store_find_id(kit->reader, oracle->id, NULL, STORE_COMMITTED, &found, &row, err));
    TRY(look_part(kit, oracle, 1, &one, err));
    TRY(look_part(kit, oracle, 2, &two, err));
    TRY(upload_kit_find(kit, STR("u"), &found, &file, err));
    if (file) TRY(upload_kit_check(kit, &found, str_of(oracle->body + PART, 2 * PART), err));
    TRY(store_find_request(kit->reader, upload_request(oracle->id, true), 0, &fate, &decided, err));
    for (size_t i = 0; i < ARRAY_LEN(states_of); i++) {
        if (row != states_of[i].row || file != states_of[i].file) continue;
        if (decided != states_of[i].decided) continue;
        if (one != states_of[i].one || two != states_of[i].two) continue;
        *out = (UploadKitFound){.state = (unsigned)i, .extents = states_of[i].extents};
        return OK;
    }
    return err_set(err, ERR_ABORTED, "row %d, parts %d and %d, file %d, decided %d", row, one, two,
                   file, decided);
}

static ErrCode verify(Disk *disk, const void *oracle, uint64_t *outcome, Err *err)
{
    return upload_kit_verify(disk, oracle, look, outcome, err);
}

static const CrashWorkload workload = {.name = "parts",
                                       .oracle_new = upload_kit_new,
                                       .oracle_free = upload_kit_free,
                                       .setup = upload_kit_setup,
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
