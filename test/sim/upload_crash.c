/* Crash states of resumable uploads, over a whole node on the simulated disk: what was acknowledged
 * of an upload is kept, to the byte, however the power fails; of one that was ended nothing stays;
 * and a file that came of one is whole, while the upload is there and when it is not. */
#include "crash_states.h"
#include "upload_kit.h"

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

_Static_assert(ALL <= UPLOAD_KIT_BODY, "all is of its body");

/* --- the workloads --- */

/* The body of m: the first len bytes, of count extents. */
static void body(UploadKit *oracle, Mutation *m, size_t len, uint32_t count)
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

static ErrCode write_row(NodeKit *kit, UploadKit *oracle, State state, Err *err)
{
    BucketUid bucket = 0;
    Mutation m;
    uint8_t saved[HASH_RUN_STATE_MAX];
    size_t len = (size_t)states_of[state].offset;
    AUTO(HashRun, hash_run_free) run = hash_run_new();
    AUTO_BUF(attrs, ATTRS_MAX);
    hash_run_update(run, oracle->body, len);
    TRY(upload_kit_bucket(kit, &bucket, err));
    UploadRecord record = {.bucket = bucket,
                           .key = STR("u"),
                           .expires_ms = 5000000000000,
                           .hash = str_of(saved, hash_run_save(run, saved))};
    TRY(upload_attrs(&record, &attrs, err));
    mutation_init(&m, state == CREATED ? MUTATION_CREATE : MUTATION_UPDATE);
    m.upload = true;
    m.file = oracle->id;
    m.attrs = buf_str(&attrs);
    body(oracle, &m, len, (uint32_t)states_of[state].extents);
    return upload_kit_step(kit, oracle, &m, state, err);
}

static ErrCode begin(NodeKit *kit, UploadKit *oracle, Err *err)
{
    TRY(write_row(kit, oracle, CREATED, err));
    TRY(write_row(kit, oracle, KEPT_SMALL, err));
    TRY(upload_kit_extent(kit, oracle, 0, 0, FIRST, err));
    TRY(write_row(kit, oracle, KEPT_FIRST, err));
    return node_kit_apply(kit, err);
}

static ErrCode end_row(NodeKit *kit, UploadKit *oracle, State state, Err *err)
{
    Mutation m;
    mutation_init(&m, MUTATION_DELETE_FILE);
    m.upload = true;
    m.file = oracle->id;
    if (state == ENDED) upload_decide(&m, oracle->id, false, oracle->version);
    TRY(upload_kit_step(kit, oracle, &m, state, err));
    return node_kit_apply(kit, err);
}

static ErrCode complete(NodeKit *kit, UploadKit *oracle, Err *err)
{
    Mutation m;
    TRY(begin(kit, oracle, err));
    TRY(upload_kit_extent(kit, oracle, 1, FIRST, ALL, err));
    TRY(write_row(kit, oracle, KEPT_ALL, err));
    TRY(node_kit_apply(kit, err));
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = STR("u");
    body(oracle, &m, ALL, 2);
    upload_decide(&m, oracle->id, false, oracle->version);
    TRY(upload_kit_step(kit, oracle, &m, FILE_MADE, err));
    return end_row(kit, oracle, ROW_GONE, err);
}

static ErrCode give_up(NodeKit *kit, UploadKit *oracle, Err *err)
{
    TRY(begin(kit, oracle, err));
    return end_row(kit, oracle, ENDED, err);
}

static ErrCode run_complete(Disk *disk, void *oracle, Err *err)
{
    return upload_kit_run(disk, oracle, complete, err);
}

static ErrCode run_give_up(Disk *disk, void *oracle, Err *err)
{
    return upload_kit_run(disk, oracle, give_up, err);
}

/* --- what is found --- */

/* The row's or the file's bytes are the first of the body. */
static ErrCode check_bytes(NodeKit *kit, const UploadKit *oracle, const StoreFound *found, Err *err)
{
    return upload_kit_check(kit, found, str_of(oracle->body, (size_t)found->row.size), err);
}

static ErrCode look(NodeKit *kit, const UploadKit *oracle, UploadKitFound *out, Err *err)
{
    StoreFound found;
    StoreRequest fate;
    Mutation m;
    bool row = false;
    bool file = false;
    bool decided = false;
    uint64_t offset = 0;
    TRY(store_find_id(kit->reader, oracle->id, NULL, STORE_COMMITTED, &found, &row, err));
    if (row) offset = found.row.size;
    if (row) TRY(check_bytes(kit, oracle, &found, err));
    TRY(upload_kit_find(kit, STR("u"), &found, &file, err));
    if (file && found.row.size != ALL) return err_set(err, ERR_ABORTED, "a part of the file");
    if (file) TRY(check_bytes(kit, oracle, &found, err));
    mutation_init(&m, MUTATION_DELETE_FILE);
    upload_decide(&m, oracle->id, false, oracle->version);
    TRY(store_find_request(kit->reader, m.request, 0, &fate, &decided, err));
    for (size_t i = 0; i < ARRAY_LEN(states_of); i++) {
        if (row != states_of[i].row || file != states_of[i].file) continue;
        if (decided != states_of[i].decided || offset != states_of[i].offset) continue;
        *out = (UploadKitFound){.state = (unsigned)i, .extents = states_of[i].extents};
        return OK;
    }
    return err_set(err, ERR_ABORTED, "row %d of %" PRIu64 " bytes, file %d, decided %d", row,
                   offset, file, decided);
}

static ErrCode verify(Disk *disk, const void *oracle, uint64_t *outcome, Err *err)
{
    return upload_kit_verify(disk, oracle, look, outcome, err);
}

static const CrashWorkload workloads[] = {
    {.name = "upload",
     .oracle_new = upload_kit_new,
     .oracle_free = upload_kit_free,
     .setup = upload_kit_setup,
     .run = run_complete,
     .verify = verify},
    {.name = "upload-ended",
     .oracle_new = upload_kit_new,
     .oracle_free = upload_kit_free,
     .setup = upload_kit_setup,
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
