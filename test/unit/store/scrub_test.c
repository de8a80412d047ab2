/* Scrub: everything is read, damage is found and named, and nothing else is taken for it. */
#include "testing.h"

#include <stdio.h>

#include "disk/sim.h"
#include "node_kit.h"
#include "store/scrub.h"
#include "store/store_priv.h"

#define SMALL_LEN 4000
#define LARGE_LEN 300000

static const ScrubOptions options = {.period_ms = 1000000, .rate_min = MIB, .rate_max = GIB};

typedef struct {
    Disk *disk;
    NodeKit kit;
    Scrub *scrub;
} Fixture;

static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    Err err = {0};
    NodeKitOptions kit = {.seed = 5, .shards = 2, .pack_size = 128 * KIB};
    assert_ok(disk_sim_new(2, &f->disk, &err), &err);
    assert_ok(node_kit_open(&f->kit, f->disk, &kit, &err), &err);
    assert_ok(node_kit_ready(&f->kit, &err), &err);
    AUTO(void, mem_free) body = mem_new(LARGE_LEN);
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        assert_true(snprintf(key, sizeof key, "f%03u", i) == 4);
        size_t len = i % 10 == 0 ? LARGE_LEN : SMALL_LEN;
        for (size_t at = 0; at < len; at++)
            ((uint8_t *)body)[at] = (uint8_t)(at * 31 + i);
        assert_ok(node_kit_put(&f->kit, STR("files"), str_from_cstr(key), str_of(body, len), &err),
                  &err);
    }
    size_t applied = 0;
    assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
    assert_ok(store_checkpoint(f->kit.store, &err), &err);
    assert_ok(scrub_open(f->kit.store, &options, &f->scrub, &err), &err);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    scrub_free(f->scrub);
    node_kit_drop(&f->kit);
    disk_free(f->disk);
    mem_free(f);
    return 0;
}

static ScrubStatus status_of(Fixture *f)
{
    ScrubStatus status;
    scrub_status(f->scrub, &status);
    return status;
}

/* One pass from its beginning. */
static void run_pass(Fixture *f)
{
    uint64_t pass = status_of(f).pass;
    scrub_start(f->scrub); /* now, whatever the time */
    for (int i = 0; i < 10000; i++) {
        uint64_t read = 0;
        uint64_t rest_ms = 0;
        Err err = {0};
        assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
        ScrubStatus now = status_of(f);
        if (now.pass > pass && now.area == SCRUB_WAITING) return;
    }
    fail_msg("the pass does not end");
}

static void flip(Fixture *f, const char *path, uint64_t offset)
{
    AUTO(File, disk_close) file = NULL;
    uint8_t byte = 0;
    Err err = {0};
    assert_ok(disk_open(f->disk, path, DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_read_all(file, offset, &byte, 1, &err), &err);
    byte ^= 4;
    assert_ok(disk_write(file, offset, &byte, 1, &err), &err);
}

static void find(Fixture *f, const char *key, StoreFound *found)
{
    BucketRecord bucket;
    bool there = false;
    Err err = {0};
    assert_true(buckets_find(f->kit.buckets, STR("files"), &bucket));
    assert_ok(store_find(f->kit.reader, bucket.uid, str_from_cstr(key), NULL, STORE_COMMITTED,
                         found, &there, &err),
              &err);
    assert_true(there);
}

static void assert_at_risk(Fixture *f, const char *key)
{
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    while (risk_next(f->kit.store->risk, &cursor, &entry)) {
        if (!id128_is_zero(entry.file) &&
            str_eq(str_of(entry.key, entry.key_len), str_from_cstr(key)))
            return;
    }
    fail_msg("%s is not in the list", key);
}

static void test_all_is_read(void **state)
{
    Fixture *f = *state;
    run_pass(f);
    ScrubStatus status = status_of(f);
    assert_in_range(status.bytes_done, 90 * SMALL_LEN + 10 * LARGE_LEN, 8 * MIB);
    assert_int_equal(status.damaged, 0);
    assert_true(status.last_full_ms > 0);
    assert_int_equal(risk_files(f->kit.store->risk) + risk_places(f->kit.store->risk), 0);
    uint64_t read = 1;
    uint64_t rest_ms = 0;
    Err err = {0};
    assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err); /* it is not time */
    assert_int_equal(read, 0);
    assert_int_equal(status_of(f).pass, 1);
}

static void test_damage_is_named(void **state)
{
    Fixture *f = *state;
    StoreFound found;
    char path[PACK_PATH_MAX];
    char blob[BLOB_PATH_MAX];
    find(f, "f013", &found);
    pack_path(found.row.place.pack, path);
    flip(f, path, found.row.place.offset + 2000);
    find(f, "f020", &found);
    Extent extent = extent_at(found.row.extents, 0);
    blob_path(extent.body, extent.number, blob);
    flip(f, blob, 200000);
    run_pass(f);
    assert_at_risk(f, "f013");
    assert_at_risk(f, "f020");
    assert_int_equal(risk_files(f->kit.store->risk), 2);
    assert_true(status_of(f).damaged >= 2);
}

static void test_missing_blob(void **state)
{
    Fixture *f = *state;
    StoreFound found;
    Err err = {0};
    find(f, "f030", &found);
    Extent extent = extent_at(found.row.extents, 0);
    assert_ok(blob_remove(f->kit.store->blobs, extent.body, extent.number, &err), &err);
    run_pass(f);
    assert_at_risk(f, "f030");
}

/* Deleted while its pass is under way: no damage. */
static void test_deleted_meanwhile(void **state)
{
    Fixture *f = *state;
    for (int turn = 0; turn < 400; turn++) {
        uint64_t read = 0;
        uint64_t rest_ms = 0;
        char key[16];
        Err err = {0};
        assert_ok(scrub_work(f->scrub, 20000, &read, &rest_ms, &err), &err);
        assert_true(snprintf(key, sizeof key, "f%03d", turn) == 4);
        if (turn >= 100) continue;
        assert_ok(node_kit_delete(&f->kit, STR("files"), str_from_cstr(key), &err), &err);
        size_t applied = 0;
        assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
        assert_ok(store_checkpoint(f->kit.store, &err), &err);
    }
    assert_int_equal(status_of(f).damaged, 0);
    assert_int_equal(risk_files(f->kit.store->risk) + risk_places(f->kit.store->risk), 0);
}

/* A restart goes on where it was; paused, it stays so. */
static void test_goes_on(void **state)
{
    Fixture *f = *state;
    uint64_t read = 0;
    uint64_t rest_ms = 0;
    Err err = {0};
    for (int turn = 0; turn < 6; turn++)
        assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    ScrubStatus before = status_of(f);
    assert_true(before.pack > 1);
    scrub_free(TAKE(f->scrub));
    assert_ok(scrub_open(f->kit.store, &options, &f->scrub, &err), &err);
    ScrubStatus after = status_of(f);
    assert_int_equal(after.pack, before.pack);
    assert_int_equal(after.bytes_done, before.bytes_done);
    assert_int_equal(after.bytes_total, before.bytes_total); /* the rate follows from it */
    assert_int_equal(after.pass, 1);
    scrub_pause(f->scrub);
    assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    assert_int_equal(read, 0);
    scrub_free(TAKE(f->scrub));
    assert_ok(scrub_open(f->kit.store, &options, &f->scrub, &err), &err);
    assert_true(status_of(f).paused);
    scrub_resume(f->scrub);
    assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err); /* one opens a pack */
    assert_false(status_of(f).paused);
    assert_true(read > 0);
}

/* Started while a pass is under way: no second one follows on its heels, and only a start, no
 * resume, begins one before it is time. */
static void test_start_and_resume(void **state)
{
    Fixture *f = *state;
    uint64_t read = 0;
    uint64_t rest_ms = 0;
    Err err = {0};
    assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    scrub_start(f->scrub);
    for (int turn = 0; turn < 2000; turn++)
        assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    assert_int_equal(status_of(f).area, SCRUB_WAITING);
    assert_int_equal(status_of(f).pass, 1);
    scrub_resume(f->scrub);
    assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    assert_int_equal(status_of(f).pass, 1);
    scrub_start(f->scrub);
    assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    assert_int_equal(status_of(f).pass, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_blob, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_and_resume, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
