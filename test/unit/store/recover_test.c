/* A store whose log and index do not belong together refuses to start, and says why. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "disk/sim.h"
#include "node_kit.h"

static const NodeKitOptions small = {.seed = 3, .shards = 2};

typedef struct {
    Disk *disk;
    NodeKit kit;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Err err = {0};
    assert_ok(disk_sim_new(1, &f->disk, &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    for (int i = 0; i < 60; i++) { /* several segments of 64 KiB */
        char key[16];
        char body[4000];
        snprintf(key, sizeof key, "k%d", i);
        random_bytes((uint64_t)i, body, sizeof body);
        assert_ok(node_kit_put(&f->kit, STR("files"), str_from_cstr(key), str_of(body, sizeof body),
                               &err),
                  &err);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    disk_free(f->disk);
    mem_free(f);
    return 0;
}

static void apply_all(Fixture *f)
{
    Err err = {0};
    assert_ok(node_kit_apply(&f->kit, &err), &err);
}

static void stop(Fixture *f)
{
    node_kit_drop(&f->kit);
    disk_sim_kill(f->disk);
}

static void expect_refusal(Fixture *f, ErrCode code, const char *text)
{
    Err err = {0};
    assert_code(node_kit_open(&f->kit, f->disk, &small, &err), code, NULL);
    if (strstr(err_text(&err), text) == NULL) print_message("%s\n", err_text(&err));
    assert_non_null(strstr(err_text(&err), text));
}

/* Index and packs are thrown away after the log was cut behind them: files would be missing. */
static void test_views_lost(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    apply_all(f);
    stop(f);
    assert_ok(disk_unlink(f->disk, "index.db", &err), &err);
    assert_ok(disk_unlink(f->disk, "packs/1.pack", &err), &err);
    expect_refusal(f, ERR_CORRUPT, "the index is older than its log");
}

static void expect_all(Fixture *f)
{
    Err err = {0};
    for (int i = 0; i < 60; i++) {
        char key[16];
        char body[4000];
        AUTO_BUF(got, 8192);
        snprintf(key, sizeof key, "k%d", i);
        random_bytes((uint64_t)i, body, sizeof body);
        assert_ok(node_kit_get(&f->kit, STR("files"), str_from_cstr(key), &got, &err), &err);
        assert_int_equal(got.len, sizeof body);
        assert_memory_equal(got.data, body, sizeof body);
    }
}

/* The index alone is thrown away: the packs prove that there was one, and it is made of them. */
static void test_index_lost(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    apply_all(f);
    stop(f);
    assert_ok(disk_unlink(f->disk, "index.db", &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_true(f->kit.opened.index_rebuilt);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    expect_all(f);
    stop(f);
}

/* A damaged index is made again at start, and the old one kept. */
static void test_index_damaged(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    DiskStat stat;
    apply_all(f);
    stop(f);
    assert_ok(disk_sim_flip(f->disk, "index.db", 8 * 20, &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_true(f->kit.opened.index_rebuilt);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    expect_all(f);
    assert_ok(disk_stat(f->disk, "quarantine/index.db.1", &stat, &err), &err);
    assert_true(stat.exists);
    stop(f);
}

/* The index is thrown away while the log still has everything: it is made again. */
static void test_index_made_again(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    stop(f);
    assert_ok(disk_unlink(f->disk, "index.db", &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    AUTO_BUF(body, 8192);
    assert_ok(node_kit_get(&f->kit, STR("files"), STR("k59"), &body, &err), &err);
    assert_int_equal(body.len, 4000);
    stop(f);
}

/* The log is thrown away: what the index has was once in it. */
static void test_log_lost(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    apply_all(f);
    stop(f);
    assert_ok(disk_unlink(f->disk, "wal.active", &err), &err);
    Err refused = {0};
    ErrCode code = node_kit_open(&f->kit, f->disk, &small, &refused);
    assert_int_equal(code, ERR_CORRUPT);
}

/* A flipped bit in a record that later ones attest: no start, and the place is named. */
static void test_log_damaged(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    stop(f);
    assert_ok(disk_sim_flip(f->disk, "wal.segments/segment_1.wal", 8 * 20000, &err), &err);
    expect_refusal(f, ERR_CORRUPT, "segment_1.wal");
}

/* An older copy of the whole log under a newer index. */
static void test_log_rolled_back(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("late"), STR("x"), &err), &err);
    apply_all(f);
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("later"), STR("x"), &err), &err);
    stop(f);
    /* The segments that are left are damaged at their very head. */
    assert_ok(disk_sim_flip(f->disk, "wal.active", 8 * 100, &err), &err);
    expect_refusal(f, ERR_CORRUPT, "wal.active");
}

/* --- logs that no release of ours wrote, though every checksum in them is right --- */

static ErrCode ignore_record(void *ctx, const Frame *frame, Str payload, Err *err)
{
    UNUSED(ctx);
    UNUSED(frame);
    UNUSED(payload);
    UNUSED(err);
    return OK;
}

/* Opens the log of a stopped node, as incarnation after the node's. */
static Wal *open_log(Fixture *f, const RootInfo *root, Rng *rng)
{
    Err err = {0};
    Wal *wal = NULL;
    WalOpened opened;
    WalOptions options = {.root = root->uuid,
                          .incarnation = root->incarnation + 1,
                          .segment_size = SEGMENT_SIZE_MIN,
                          .clock = clock_real(),
                          .rng = rng};
    assert_ok(wal_open(f->disk, &options, ignore_record, NULL, &wal, &opened, &err), &err);
    return wal;
}

static void expect_store_refuses(Fixture *f, const RootInfo *root, const char *text)
{
    Err err = {0};
    Store *store = NULL;
    StoreOpened opened;
    StoreOptions options = {
        .root = *root, .wal_segment_size = SEGMENT_SIZE_MIN, .clock = clock_real(), .seed = 1};
    options.root.incarnation += 2;
    assert_code(store_open(f->disk, &options, &store, &opened, &err), ERR_CORRUPT, NULL);
    if (strstr(err_text(&err), text) == NULL) print_message("%s\n", err_text(&err));
    assert_non_null(strstr(err_text(&err), text));
}

static void append(Wal *wal, Entry *entry)
{
    Err err = {0};
    WalPos pos;
    AUTO_BUF(head, ENTRY_MAX);
    entry_seal(entry);
    assert_ok(buf_reserve(&head, entry_len(entry), &err), &err);
    Enc enc = enc_of(head.data, head.capacity);
    entry_encode(entry, &enc);
    head.len = enc.len;
    assert_ok(wal_append(wal, entry, buf_str(&head), (Str){NULL, 0}, &pos, &err), &err);
    assert_ok(wal_sync(wal, &err), &err);
}

static void test_keys_that_are_none(void **state)
{
    static const char longest[KEY_MAX + 1] = {'k'};
    static const struct {
        const char *key;
        size_t len;
    } rows[] = {{NULL, 0}, {"", 0}, {"a\0b", 3}, {longest, sizeof longest}, {"\xff", 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i > 0) assert_int_equal(setup(state), 0);
        Fixture *f = *state;
        Err err = {0};
        Rng rng;
        rng_init(&rng, 1);
        RootInfo root = f->kit.root;
        stop(f);
        Wal *wal = open_log(f, &root, &rng);
        AUTO_BUF(attrs, ATTRS_MAX);
        if (rows[i].key != NULL) {
            assert_ok(attr_set(&attrs, ATTR_KEY, str_of(rows[i].key, rows[i].len), &err), &err);
        }
        Entry entry = {.op = OP_CREATE,
                       .shard = shard_id(7, 7),
                       .term = 1,
                       .lsn = 1,
                       .bucket = 5,
                       .file = file_id_make(shard_id(7, 7), 1, &rng),
                       .attrs = buf_str(&attrs)};
        append(wal, &entry);
        wal_free(wal);
        expect_store_refuses(f, &root, "no key that could be one");
        /* Its result is always 0. */
        if (i + 1 < ARRAY_LEN(rows)) (void)teardown(state);
    }
}

/* A log that was cut back below what it once called committed. */
static void test_commit_behind_the_end(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Rng rng;
    rng_init(&rng, 1);
    RootInfo root = f->kit.root;
    stop(f);
    Wal *wal = open_log(f, &root, &rng);
    ReplicaState state_now;
    assert_true(wal_replica_state(wal, SHARD_SYSTEM, &state_now));
    wal_note(wal, SHARD_SYSTEM, state_now.last_lsn + 1, 0);
    assert_ok(wal_rotate(wal, &err), &err);
    wal_free(wal);
    expect_store_refuses(f, &root, "was committed but ends at");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_index_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_views_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_rolled_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commit_behind_the_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
