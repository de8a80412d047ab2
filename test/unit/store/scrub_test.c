/* Scrub: everything is read, damage is found and named, and nothing else is taken for it. */
#include "testing.h"

#include <stdio.h>

#include "disk/sim.h"
#include "look.h"
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
        if (scrub_doubts(f->scrub)) scrub_settle(f->scrub);
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
    *found = look_file(f->kit.reader, f->kit.buckets, STR("files"), str_from_cstr(key));
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
    /* What it was to be is what it was, within a tenth: the rate follows from it. */
    assert_in_range(status.bytes_total, status.bytes_done / 10 * 9, status.bytes_done / 10 * 11);
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

static size_t places(Fixture *f)
{
    return risk_places(f->kit.store->risk);
}

/* A pack that went away under the server: its files are listed, not only those that are asked for.
 */
static void test_missing_pack(void **state)
{
    Fixture *f = *state;
    StoreFound found;
    char path[PACK_PATH_MAX];
    Err err = {0};
    find(f, "f013", &found);
    pack_path(found.row.place.pack, path);
    assert_ok(disk_unlink(f->disk, path, &err), &err);
    run_pass(f);
    assert_at_risk(f, "f013");
    assert_int_equal(places(f), 1);
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    while (risk_next(f->kit.store->risk, &cursor, &entry)) {
        assert_int_equal(entry.cause, RISK_MISSING);
        assert_string_equal(entry.place, path);
    }
    assert_true(status_of(f).damaged >= 2);
}

/* A page of the index: told, and off the list when a later pass finds it whole. */
static void test_index_page(void **state)
{
    Fixture *f = *state;
    IndexStats stats;
    index_stats(f->kit.store->index, &stats);
    uint64_t pages = stats.file_bytes / INDEX_PAGE_BYTES;
    assert_true(pages > 4);
    for (uint64_t page = 2; page <= pages; page += 2) {
        uint64_t at = (page - 1) * INDEX_PAGE_BYTES + 3000;
        flip(f, "index.db", at);
        run_pass(f);
        assert_int_equal(places(f), 1);
        assert_int_equal(risk_index_places(f->kit.store->risk), 1);
        RiskCursor cursor = {.len = 0};
        RiskEntry entry;
        assert_true(risk_next(f->kit.store->risk, &cursor, &entry));
        assert_string_equal(entry.place, "index.db");
        assert_int_equal(entry.offset, (page - 1) * INDEX_PAGE_BYTES);
        assert_int_equal(status_of(f).page, pages); /* it went on behind it */
        flip(f, "index.db", at);
        run_pass(f);
        assert_int_equal(places(f), 0);
        assert_int_equal(status_of(f).damaged, 0);
    }
}

/* While the index is written a page that looks bad is nobody's damage. */
static void test_index_written(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    uint64_t read = 0;
    uint64_t rest_ms = 0;
    flip(f, "index.db", 3 * INDEX_PAGE_BYTES + 3000);
    scrub_start(f->scrub);
    for (int i = 0; i < 200 && !scrub_doubts(f->scrub); i++)
        assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    assert_true(scrub_doubts(f->scrub));
    assert_int_equal(places(f), 0);
    flip(f, "index.db", 3 * INDEX_PAGE_BYTES + 3000); /* the other half was written */
    scrub_settle(f->scrub);
    assert_false(scrub_doubts(f->scrub));
    assert_int_equal(places(f), 0);
}

/* Nobody settles it: it does not keep the pass from its end. */
static void test_never_settled(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    uint64_t read = 0;
    uint64_t rest_ms = 0;
    flip(f, "index.db", 3 * INDEX_PAGE_BYTES + 3000);
    scrub_start(f->scrub);
    for (int i = 0; i < 10000 && (status_of(f).pass == 0 || status_of(f).area != SCRUB_WAITING);
         i++)
        assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    assert_int_equal(status_of(f).area, SCRUB_WAITING);
    assert_int_equal(status_of(f).pass, 1);
}

/* Closed segments, which stay as long as nothing is applied. */
static void test_log(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    WalStats stats;
    char path[DISK_PATH_MAX];
    size_t applied = 0;
    char body[SMALL_LEN] = {0};
    for (unsigned i = 0; i < 60; i++) {
        assert_ok(
            node_kit_put(&f->kit, STR("files"), STR("again"), str_of(body, sizeof body), &err),
            &err);
    }
    wal_stats(f->kit.store->wal, &stats);
    assert_true(stats.active_segment - stats.first_segment >= 2);
    wal_path(f->kit.store->wal, stats.first_segment, path);
    run_pass(f);
    assert_int_equal(places(f), 0);
    assert_true(status_of(f).segment >= stats.active_segment - 1);
    flip(f, path, 20000);
    run_pass(f);
    RiskCursor cursor = {.len = 0};
    RiskEntry entry;
    assert_true(risk_next(f->kit.store->risk, &cursor, &entry));
    assert_string_equal(entry.place, path);
    assert_true(entry.offset <= 20000 && entry.offset > 20000 - 2 * SMALL_LEN);
    assert_int_equal(places(f), 1);
    flip(f, path, 20000);
    do {
        assert_ok(store_apply(f->kit.store, 1000, &applied, &err), &err);
    } while (applied > 0);
    f->kit.store->dirty = true;
    assert_ok(store_checkpoint(f->kit.store, &err), &err); /* and the log is cut */
    run_pass(f);
    assert_int_equal(places(f), 0);
}

/* A row that can't be read as one is told, and does not end the pass, nor keep it from its end. */
static void test_malformed_row(void **state)
{
    Fixture *f = *state;
    StoreFound found;
    Err err = {0};
    uint8_t key[ROW_KEY_MAX];
    find(f, "f013", &found);
    Str row_key = str_of(key, row_key_name(key, found.bucket, STR("f013"), found.row.version));
    assert_ok(index_begin(f->kit.store->index, &err), &err);
    assert_ok(index_put(f->kit.store->index, row_key, STR("\xff\xff"), &err), &err);
    assert_ok(index_commit(f->kit.store->index, &err), &err);
    find(f, "f020", &found);
    Extent extent = extent_at(found.row.extents, 0);
    assert_ok(blob_remove(f->kit.store->blobs, extent.body, extent.number, &err), &err);
    run_pass(f);
    assert_at_risk(f, "f020"); /* behind it */
    assert_int_equal(risk_index_places(f->kit.store->risk), 1);
    assert_true(status_of(f).damaged >= 2);
}

/* However busy clients are, everything is read in its time: a piece is put off only as long as that
 * allows. */
static void test_put_off(void **state)
{
    UNUSED(state);
    const uint64_t piece = 256 * KIB;
    assert_int_equal(scrub_put_off_ms(piece, 0, 1000), 1000);
    assert_int_equal(scrub_put_off_ms(piece, 100 * KIB, 1000), 1000);
    assert_int_equal(scrub_put_off_ms(piece, MIB, 1000), 250);
    assert_int_equal(scrub_put_off_ms(piece, 64 * MIB, 1000), 3);
    assert_int_equal(scrub_put_off_ms(0, MIB, 1000), 0);
}

/* The rate without which it would be late, whatever the least is. */
static void test_needed(void **state)
{
    Fixture *f = *state;
    const ScrubOptions slow = {.period_ms = 1000ULL * 1000, .rate_min = 1, .rate_max = GIB};
    Err err = {0};
    uint64_t read = 0;
    uint64_t rest_ms = 0;
    scrub_free(TAKE(f->scrub));
    assert_ok(scrub_open(f->kit.store, &slow, &f->scrub, &err), &err);
    assert_ok(scrub_work(f->scrub, 50000, &read, &rest_ms, &err), &err);
    ScrubStatus status = status_of(f);
    assert_in_range(status.needed, status.bytes_total / 901, status.bytes_total / 899);
    f->kit.clock.wall_ms += 450 * 1000; /* half of the time is gone, and nothing read */
    assert_ok(scrub_work(f->scrub, 1, &read, &rest_ms, &err), &err);
    status = status_of(f);
    assert_in_range(status.needed, status.bytes_total / 451, status.bytes_total / 448);
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
    for (int turn = 0; turn < 1000 && status_of(f).pack < 2; turn++)
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
        cmocka_unit_test_setup_teardown(test_missing_pack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_row, setup, teardown),
        cmocka_unit_test(test_put_off),
        cmocka_unit_test_setup_teardown(test_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_and_resume, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
