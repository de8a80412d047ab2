/* A store whose log and index do not belong together refuses to start, and says why. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "disk/sim.h"
#include "node_fixture.h"
#include "store/store_priv.h"

static const NodeKitOptions small = {.seed = 3, .shards = 2};

static int setup(void **state)
{
    NodeFixture *f = node_fixture_new(&small);
    Err err = {0};
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

static void expect_refusal(NodeFixture *f, ErrCode code, const char *text)
{
    Err err = {0};
    assert_code(node_kit_open(&f->kit, f->disk, &small, &err), code, NULL);
    if (strstr(err_text(&err), text) == NULL) print_message("%s\n", err_text(&err));
    assert_non_null(strstr(err_text(&err), text));
}

/* Index and packs are thrown away after the log was cut behind them: files would be missing. */
static void test_views_lost(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    node_fixture_apply(f);
    node_fixture_stop(f);
    assert_ok(disk_unlink(f->disk, "index.db", &err), &err);
    assert_ok(disk_unlink(f->disk, "packs/1.pack", &err), &err);
    expect_refusal(f, ERR_CORRUPT, "the index is older than its log");
}

static void expect_all(NodeFixture *f)
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
    NodeFixture *f = *state;
    Err err = {0};
    node_fixture_apply(f);
    node_fixture_stop(f);
    assert_ok(disk_unlink(f->disk, "index.db", &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_true(f->kit.opened.index_rebuilt);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    expect_all(f);
    node_fixture_stop(f);
}

/* A damaged index is made again at start, and the old one kept. */
static void test_index_damaged(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    DiskStat stat;
    node_fixture_apply(f);
    node_fixture_stop(f);
    assert_ok(disk_sim_flip(f->disk, "index.db", 8 * 20, &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_true(f->kit.opened.index_rebuilt);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    expect_all(f);
    assert_ok(disk_stat(f->disk, "quarantine/index.db.1", &stat, &err), &err);
    assert_true(stat.exists);
    node_fixture_stop(f);
}

/* The index is thrown away while the log still has everything: it is made again. */
static void test_index_made_again(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    node_fixture_stop(f);
    assert_ok(disk_unlink(f->disk, "index.db", &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &small, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    AUTO_BUF(body, 8192);
    assert_ok(node_kit_get(&f->kit, STR("files"), STR("k59"), &body, &err), &err);
    assert_int_equal(body.len, 4000);
    node_fixture_stop(f);
}

/* The log is thrown away: what the index has was once in it. */
static void test_log_lost(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    node_fixture_apply(f);
    node_fixture_stop(f);
    assert_ok(disk_unlink(f->disk, "wal.active", &err), &err);
    Err refused = {0};
    ErrCode code = node_kit_open(&f->kit, f->disk, &small, &refused);
    assert_int_equal(code, ERR_CORRUPT);
}

/* A flipped bit in a record that later ones attest: no start, and the place is named. */
static void test_log_damaged(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    node_fixture_stop(f);
    assert_ok(disk_sim_flip(f->disk, "wal.segments/segment_1.wal", 8 * 20000, &err), &err);
    expect_refusal(f, ERR_CORRUPT, "segment_1.wal");
}

/* An older copy of the whole log under a newer index. */
static void test_log_rolled_back(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("late"), STR("x"), &err), &err);
    node_fixture_apply(f);
    assert_ok(node_kit_put(&f->kit, STR("files"), STR("later"), STR("x"), &err), &err);
    node_fixture_stop(f);
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
static Wal *open_log(NodeFixture *f, const RootInfo *root, Rng *rng)
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

static void expect_store_refuses(NodeFixture *f, const RootInfo *root, const char *text)
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
        NodeFixture *f = *state;
        Err err = {0};
        Rng rng;
        rng_init(&rng, 1);
        RootInfo root = f->kit.root;
        node_fixture_stop(f);
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
        if (i + 1 < ARRAY_LEN(rows)) node_fixture_free(*state);
    }
}

/* A log that was cut back below what it once called committed. */
static void test_commit_behind_the_end(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    Rng rng;
    rng_init(&rng, 1);
    RootInfo root = f->kit.root;
    node_fixture_stop(f);
    Wal *wal = open_log(f, &root, &rng);
    ReplicaState state_now;
    assert_true(wal_replica_state(wal, SHARD_SYSTEM, &state_now));
    wal_note(wal, SHARD_SYSTEM, state_now.last_lsn + 1, 0);
    assert_ok(wal_rotate(wal, &err), &err);
    wal_free(wal);
    expect_store_refuses(f, &root, "was committed but ends at");
}

/* --- tails that were cut, and replaced by others --- */

#define CUT_SHARD shard_id(7, 7)

typedef struct {
    Disk *disk;
    Store *store;
    Rng rng;
    ManualClock clock;
    uint64_t opens;
    Lsn last;
    Term term;
    Sha256 hashes[16]; /* of entries, by lsn */
    Record *open[16];  /* not committed */
} Tails;

static ErrCode tails_open(Tails *t, Err *err)
{
    StoreOpened opened;
    StoreOptions options = {.root = {.uuid = {{1}}, .incarnation = ++t->opens},
                            .wal_segment_size = SEGMENT_SIZE_MIN,
                            .pack_size = 64 * KIB,
                            .chunk_size = (uint32_t)CHUNK_SIZE_MIN,
                            .places = true,
                            .clock = &t->clock.clock,
                            .seed = t->opens};
    return store_open(t->disk, &options, &t->store, &opened, err);
}

static void tails_start(Tails *t)
{
    Err err = {0};
    *t = (Tails){.term = 1};
    clock_manual_init(&t->clock, 1700000000000);
    rng_init(&t->rng, 1);
    assert_ok(disk_sim_new(1, &t->disk, &err), &err);
    assert_ok(tails_open(t, &err), &err);
}

static void tails_stop(Tails *t)
{
    store_free(TAKE(t->store));
    disk_sim_kill(t->disk);
}

static void tails_end(Tails *t)
{
    tails_stop(t);
    disk_free(t->disk);
}

static void sync_log(Tails *t)
{
    Err err = {0};
    assert_ok(store_log_sync(t->store, &err), &err);
}

/* Entries into the log, durable; not yet told to the store. */
static void log_entries(Tails *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        Err err = {0};
        Sealed *sealed = NULL;
        Lsn lsn = t->last + 1;
        Entry entry = {.op = OP_NOOP,
                       .shard = CUT_SHARD,
                       .term = t->term,
                       .lsn = lsn,
                       .prev_hash = t->hashes[t->last],
                       .record_id = id128_random(&t->rng)};
        entry_seal(&entry);
        assert_ok(sealed_new(&entry, &sealed, &err), &err);
        t->open[lsn] = store_add(t->store, sealed);
        sealed_drop_body(sealed);
        sealed_unref(sealed);
        assert_ok(store_log_append(t->store, t->open[lsn], &err), &err);
        t->hashes[lsn] = entry.checksum;
        t->last = lsn;
    }
    sync_log(t);
}

/* The newest count of them are told to it. */
static void take_over(Tails *t, unsigned count)
{
    for (Lsn lsn = t->last + 1 - count; lsn <= t->last; lsn++)
        store_logged(t->store, t->open[lsn]);
}

static void add(Tails *t, unsigned count)
{
    log_entries(t, count);
    take_over(t, count);
}

/* From lsn on all of it, into the index. */
static void commit_and_apply(Tails *t, Lsn lsn)
{
    Err err = {0};
    size_t applied = 0;
    for (; lsn <= t->last; lsn++)
        store_committed(t->store, t->open[lsn]);
    assert_ok(store_apply(t->store, STORE_APPLY_BATCH, &applied, &err), &err);
    assert_true(applied > 0);
}

static void cut_from(Tails *t, Lsn from, bool tell)
{
    Err err = {0};
    Truncate truncate = {.shard = CUT_SHARD, .from = from, .term = 1, .hash = t->hashes[from - 1]};
    Record *record = store_replayed(t->store, CUT_SHARD);
    if (record == NULL) {
        for (Lsn lsn = from; lsn <= t->last; lsn++)
            store_cut(t->store, t->open[lsn]);
    }
    while (record != NULL) { /* after a restart the store has them */
        Record *next = record->next;
        if (record->entry.lsn >= from) store_cut(t->store, record);
        record = next;
    }
    if (tell) assert_ok(store_log_truncate(t->store, &truncate, &err), &err);
    sync_log(t);
    t->last = from - 1;
    t->term++;
}

static void expect_end(Tails *t)
{
    ReplicaState state;
    store_replica_state(t->store, CUT_SHARD, &state);
    assert_int_equal(state.last_lsn, t->last);
    assert_int_equal(state.last_term, t->term);
    assert_true(sha256_eq(&state.last_hash, &t->hashes[t->last]));
    assert_true(store_replayed(t->store, CUT_SHARD) == NULL);
}

/* [1..4][5..7 void][TRUNCATE 5][5, 6 …]: the index has what replaced the tail by the time all of
 * that is replayed: up to within the void tail, at its end, and beyond. */
static void test_index_above_a_cut(void **state)
{
    UNUSED(state);
    for (unsigned replacing = 1; replacing <= 4; replacing++) {
        Tails t;
        Err err = {0};
        tails_start(&t);
        add(&t, 4);
        commit_and_apply(&t, 1);
        add(&t, 3);
        cut_from(&t, 5, true);
        add(&t, replacing);
        commit_and_apply(&t, 5);
        for (unsigned i = 0; i < 2; i++) { /* the same from the log that a start left */
            tails_stop(&t);
            assert_ok(tails_open(&t, &err), &err);
            expect_end(&t);
        }
        tails_end(&t);
    }
}

/* A segment begins between the void tail and its TRUNCATE: its CHECKPOINT says that the log had
 * come to 7. Later the log before it is given up. */
static void test_index_below_a_void_checkpoint(void **state)
{
    UNUSED(state);
    for (unsigned cut_log = 0; cut_log < 2; cut_log++) {
        Tails t;
        Err err = {0};
        tails_start(&t);
        add(&t, 4);
        commit_and_apply(&t, 1);
        add(&t, 3);
        tails_stop(&t);
        assert_ok(tails_open(&t, &err), &err);
        cut_from(&t, 5, true);
        add(&t, 1);
        commit_and_apply(&t, 5);
        if (cut_log == 1) assert_ok(store_checkpoint(t.store, &err), &err);
        tails_stop(&t);
        assert_ok(tails_open(&t, &err), &err);
        expect_end(&t);
        tails_end(&t);
    }
}

/* Without a TRUNCATE such a log is damaged. */
static void test_tail_that_nothing_voids(void **state)
{
    UNUSED(state);
    Tails t;
    Err err = {0};
    tails_start(&t);
    add(&t, 4);
    commit_and_apply(&t, 1);
    add(&t, 3);
    cut_from(&t, 5, false);
    add(&t, 2);
    commit_and_apply(&t, 5);
    tails_stop(&t);
    assert_code(tails_open(&t, &err), ERR_CORRUPT, &err);
    assert_non_null(strstr(err_text(&err), "lsn 6 is not the entry that index.db has applied"));
    disk_free(t.disk);
}

/* What voids the tail of shard, of which lsn 4 is the last that counts. */
static void append_void(Tails *t, bool is_reset)
{
    Err err = {0};
    Truncate truncate = {.shard = CUT_SHARD, .from = 5, .term = 1, .hash = t->hashes[4]};
    ReplicaState base = {.shard = CUT_SHARD, .last_lsn = 9, .last_term = 2};
    if (is_reset)
        assert_ok(store_log_reset(t->store, &base, &err), &err);
    else
        assert_ok(store_log_truncate(t->store, &truncate, &err), &err);
    sync_log(t);
    store_voided(t->store, CUT_SHARD);
}

static uint64_t first_segment(Tails *t)
{
    WalStats stats;
    wal_stats(store_wal(t->store), &stats);
    return stats.first_segment;
}

/* As after a batch of another shard. */
static void checkpoint(Tails *t)
{
    Err err = {0};
    t->store->dirty = true;
    assert_ok(store_checkpoint(t->store, &err), &err);
}

/* [1..4][5..7] CHECKPOINT: 5 to 7 were cut, or are to be by a snapshot, and a kill comes before
 * that is in the log. The next start needs them, since the CHECKPOINT says that the log had come
 * to 7. in_flight: the log writer had them yet when they were cut. */
static void kill_before_void(Tails *t, bool is_reset, bool in_flight)
{
    Err err = {0};
    tails_start(t);
    add(t, 4);
    commit_and_apply(t, 1);
    log_entries(t, 3);
    if (!in_flight) take_over(t, 3);
    assert_ok(wal_rotate(store_wal(t->store), &err), &err);
    for (Lsn lsn = 5; lsn <= 7; lsn++)
        store_cut(t->store, t->open[lsn]);
    if (is_reset) store_reset(t->store, CUT_SHARD, 9);
    checkpoint(t);
    if (in_flight) take_over(t, 3);
    checkpoint(t);
    tails_stop(t);
}

/* Found by sim_roots, seed 503. */
static void test_log_waits_for_void(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 4; i++) {
        Tails t;
        Err err = {0};
        kill_before_void(&t, (i & 1) != 0, (i & 2) != 0);
        assert_ok(tails_open(&t, &err), &err);
        const Record *record = store_replayed(t.store, CUT_SHARD);
        for (Lsn lsn = 5; lsn <= 7; lsn++, record = record->next) {
            assert_non_null(record);
            assert_int_equal(record->entry.lsn, lsn);
        }
        assert_null(record);
        tails_end(&t);
    }
}

/* The same with a log that does not wait. */
static void test_log_cut_before_void(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 4; i++) {
        Tails t;
        Err err = {0};
        fault_plant("log-cut-before-void", true);
        kill_before_void(&t, (i & 1) != 0, (i & 2) != 0);
        fault_plant("log-cut-before-void", false);
        assert_code(tails_open(&t, &err), ERR_CORRUPT, &err);
        assert_non_null(strstr(err_text(&err), "the log begins behind lsn 7"));
        disk_free(t.disk);
    }
}

/* As soon as it is there, they are given up. */
static void test_log_is_cut_behind_void(void **state)
{
    UNUSED(state);
    for (unsigned is_reset = 0; is_reset < 2; is_reset++) {
        Tails t;
        Err err = {0};
        tails_start(&t);
        add(&t, 4);
        commit_and_apply(&t, 1);
        add(&t, 3);
        assert_ok(wal_rotate(store_wal(t.store), &err), &err);
        for (Lsn lsn = 5; lsn <= 7; lsn++)
            store_cut(t.store, t.open[lsn]);
        if (is_reset == 1) store_reset(t.store, CUT_SHARD, 9);
        append_void(&t, is_reset == 1);
        checkpoint(&t);
        assert_int_equal(first_segment(&t), 2);
        tails_stop(&t);
        assert_ok(tails_open(&t, &err), &err);
        ReplicaState found;
        store_replica_state(t.store, CUT_SHARD, &found);
        assert_int_equal(found.last_lsn, is_reset == 1 ? 9 : 4);
        assert_int_equal(found.incomplete, is_reset == 1);
        tails_end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_index_lost, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_views_lost, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_index_damaged, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_index_made_again, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_log_lost, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_log_damaged, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_log_rolled_back, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_keys_that_are_none, setup, node_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_commit_behind_the_end, setup, node_fixture_teardown),
        cmocka_unit_test(test_index_above_a_cut),
        cmocka_unit_test(test_index_below_a_void_checkpoint),
        cmocka_unit_test(test_tail_that_nothing_voids),
        cmocka_unit_test(test_log_waits_for_void),
        cmocka_unit_test(test_log_cut_before_void),
        cmocka_unit_test(test_log_is_cut_behind_void),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
