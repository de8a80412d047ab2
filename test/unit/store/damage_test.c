/* Damage found while the store runs: who is told of it, and when a file is off the list again. */
#include "testing.h"

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "disk/sim.h"
#include "look.h"
#include "node_fixture.h"

static const NodeKitOptions small = {.seed = 5, .shards = 2, .body_cache_bytes = 256 * KIB};

#define BODY_LEN 4000

static void put(NodeFixture *f, const char *key, uint64_t seed)
{
    char body[BODY_LEN];
    Err err = {0};
    random_bytes(seed, body, sizeof body);
    assert_ok(
        node_kit_put(&f->kit, STR("files"), str_from_cstr(key), str_of(body, sizeof body), &err),
        &err);
}

static void kill_and_start(NodeFixture *f)
{
    node_fixture_stop(f);
    node_fixture_open(f);
}

static int setup(void **state)
{
    fault_reset();
    NodeFixture *f = node_fixture_new(&small);
    put(f, "a", 1);
    put(f, "b", 2);
    put(f, "c", 3);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fault_reset();
    return node_fixture_teardown(state);
}

static StoreFound find(NodeFixture *f, const char *key)
{
    return look_file(f->kit.reader, f->kit.buckets, STR("files"), str_from_cstr(key));
}

static ErrCode read_body(NodeFixture *f, const char *key)
{
    Str body;
    Err err = {0};
    StoreFound found = find(f, key);
    return store_body(f->kit.reader, &found, &body, &err);
}

/* Flips a bit in the body of key, which stands in a pack. */
static void flip(NodeFixture *f, const char *key)
{
    Err err = {0};
    char path[PACK_PATH_MAX];
    StoreFound found = find(f, key);
    assert_int_not_equal(found.row.place.pack, 0);
    pack_path(found.row.place.pack, path);
    uint64_t byte = found.row.place.offset + found.row.place.length - 100;
    assert_ok(disk_sim_flip(f->disk, path, 8 * byte, &err), &err);
}

static RiskEntry only_entry(NodeFixture *f)
{
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    RiskEntry second;
    assert_true(risk_next(store_risk(f->kit.store), &cursor, &entry));
    assert_false(risk_next(store_risk(f->kit.store), &cursor, &second));
    return entry;
}

static size_t files_at_risk(NodeFixture *f)
{
    return risk_files(store_risk(f->kit.store));
}

static void test_pack(void **state)
{
    NodeFixture *f = *state;
    node_fixture_apply(f);
    flip(f, "b");
    assert_code(read_body(f, "a"), OK, NULL);
    assert_int_equal(files_at_risk(f), 0);
    assert_code(read_body(f, "b"), ERR_FILE_DAMAGED, NULL);
    assert_code(read_body(f, "c"), OK, NULL);
    RiskEntry entry = only_entry(f);
    StoreFound found = find(f, "b");
    assert_str(str_of(entry.key, entry.key_len), "b");
    assert_true(id128_eq(entry.file, found.row.file));
    assert_int_equal(version_id_cmp(entry.version, found.row.version), 0);
    assert_int_equal(entry.bucket, found.bucket);
    assert_int_equal(entry.size, BODY_LEN);
    assert_int_equal(entry.cause, RISK_CHECKSUM);
    assert_string_equal(entry.place, "packs/1.pack");
    assert_int_equal(entry.offset, found.row.place.offset);
    flip(f, "b"); /* the same bit: whole again */
    assert_code(read_body(f, "b"), OK, NULL);
    assert_int_equal(files_at_risk(f), 0);
}

/* A body that comes from memory proves nothing about the disk: the file stays on the list. */
static void test_cached(void **state)
{
    NodeFixture *f = *state;
    node_fixture_apply(f);
    assert_code(read_body(f, "b"), OK, NULL); /* into the cache */
    flip(f, "b");
    AUTO(StoreReader, store_reader_free) other = NULL;
    Str body;
    Err err = {0};
    StoreFound found = find(f, "b");
    assert_ok(store_reader_open(f->kit.store, &other, &err), &err);
    assert_code(store_body(other, &found, &body, &err), ERR_FILE_DAMAGED, &err);
    assert_int_equal(files_at_risk(f), 1);
    assert_code(read_body(f, "b"), OK, NULL); /* from it */
    assert_int_equal(files_at_risk(f), 1);
}

static void test_log(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    StoreFound found = find(f, "b");
    assert_true(found.in_log);
    uint64_t byte = found.pos.offset + found.log_len - 100;
    assert_ok(disk_sim_flip(f->disk, "wal.active", 8 * byte, &err), &err);
    assert_code(read_body(f, "b"), ERR_FILE_DAMAGED, NULL);
    RiskEntry entry = only_entry(f);
    assert_string_equal(entry.place, "wal.active");
    assert_int_equal(entry.offset, found.pos.offset);
}

static void test_unreadable(void **state)
{
    NodeFixture *f = *state;
    node_fixture_apply(f);
    StoreFound found = find(f, "a");
    Str body;
    Err err = {0};
    fault_arm("disk.read", EIO, 1, false);
    assert_code(store_body(f->kit.reader, &found, &body, &err), ERR_FILE_DAMAGED, NULL);
    assert_int_equal(only_entry(f).cause, RISK_UNREADABLE);
    assert_code(read_body(f, "a"), OK, NULL); /* once only */
    assert_int_equal(files_at_risk(f), 0);
}

/* No descriptor is no damage. */
static void test_descriptors(void **state)
{
    NodeFixture *f = *state;
    node_fixture_apply(f);
    kill_and_start(f);
    StoreFound found = find(f, "a");
    Str body;
    Err err = {0};
    fault_arm("disk.open", EMFILE, 1, false);
    assert_code(store_body(f->kit.reader, &found, &body, &err), ERR_SYSTEM, NULL);
    assert_int_equal(files_at_risk(f), 0);
}

static void test_deleted_and_overwritten(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    node_fixture_apply(f);
    flip(f, "a");
    flip(f, "b");
    assert_code(read_body(f, "a"), ERR_FILE_DAMAGED, NULL);
    assert_code(read_body(f, "b"), ERR_FILE_DAMAGED, NULL);
    assert_int_equal(files_at_risk(f), 2);
    assert_ok(node_kit_delete(&f->kit, STR("files"), STR("a"), &err), &err);
    node_fixture_apply(f);
    assert_str(str_of(only_entry(f).key, 1), "b");
    put(f, "b", 7);
    node_fixture_apply(f);
    assert_int_equal(files_at_risk(f), 0);
    assert_code(read_body(f, "b"), OK, NULL);
}

/* A restart keeps the list, but for what was deleted meanwhile. */
static void test_restart(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    node_fixture_apply(f);
    flip(f, "a");
    flip(f, "b");
    assert_code(read_body(f, "a"), ERR_FILE_DAMAGED, NULL);
    assert_code(read_body(f, "b"), ERR_FILE_DAMAGED, NULL);
    assert_ok(store_save_risk(f->kit.store, &err), &err);
    kill_and_start(f);
    assert_int_equal(files_at_risk(f), 2);
    assert_ok(node_kit_delete(&f->kit, STR("files"), STR("a"), &err), &err);
    kill_and_start(f); /* deleted in the log, not in the index: who looks says not found */
    node_fixture_apply(f);
    assert_int_equal(files_at_risk(f), 1);
    assert_ok(node_kit_delete(&f->kit, STR("files"), STR("b"), &err), &err);
    node_fixture_apply(f);
    kill_and_start(f); /* gone from the list in memory only */
    assert_int_equal(files_at_risk(f), 0);
}

static void test_index(void **state)
{
    NodeFixture *f = *state;
    Err err = {0};
    node_fixture_apply(f);
    kill_and_start(f); /* an empty cache */
    BucketUid bucket = look_bucket(f->kit.buckets, STR("files"));
    StoreFound found;
    bool there = false;
    fault_arm("disk.read", EIO, 1, true);
    assert_code(
        store_find(f->kit.reader, bucket, STR("zz"), NULL, STORE_COMMITTED, &found, &there, &err),
        ERR_IO, NULL);
    fault_reset();
    assert_int_equal(files_at_risk(f), 0);
    RiskEntry entry = only_entry(f);
    assert_int_equal(entry.cause, RISK_UNREADABLE);
    assert_string_equal(entry.place, "index.db");
    assert_int_equal(entry.offset % 4096, 0);
    assert_ok(store_save_risk(f->kit.store, &err), &err);
    kill_and_start(f); /* the page reads well again */
    assert_int_equal(risk_places(store_risk(f->kit.store)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted_and_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index, setup, teardown),
    };
    return cmocka_run_group_tests(tests, testing_silent, NULL);
}
