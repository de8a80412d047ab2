#include "testing.h"
#include "wal_fixture.h"

#include "base/fault.h"
#include "disk/sim.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int setup(void **state)
{
    *state = wal_fixture_new(2);
    return 0;
}

static void fill_segments(WalFixture *fixture, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_ok(kit_append(&fixture->kit, 0, 100, &fixture->err), &fixture->err);
        assert_ok(kit_rotate(&fixture->kit, &fixture->err), &fixture->err);
    }
}

static bool exists(WalFixture *fixture, const char *path)
{
    DiskStat stat;
    assert_ok(disk_stat(fixture->disk, path, &stat, &fixture->err), &fixture->err);
    return stat.exists;
}

static ErrCode count_spare(void *ctx, const char *name, bool is_dir, Err *err)
{
    unsigned *count = ctx;
    UNUSED(is_dir);
    UNUSED(err);
    if (strncmp(name, "wal.spare.", 10) == 0) (*count)++;
    return OK;
}

static unsigned spare_files(WalFixture *fixture)
{
    unsigned count = 0;
    assert_ok(disk_list(fixture->disk, "", count_spare, &count, &fixture->err), &fixture->err);
    return count;
}

static void assert_reopens(WalFixture *fixture)
{
    assert_ok(kit_open(&fixture->kit, &fixture->err), &fixture->err);
    const char *wrong = kit_verify(&fixture->kit, &fixture->kit.model);
    if (wrong != NULL) fail_msg("%s", wrong);
}

static void test_rotation_names(void **state)
{
    WalFixture *fixture = *state;
    fill_segments(fixture, 2);
    assert_true(exists(fixture, "wal.active"));
    assert_true(exists(fixture, "wal.segments/segment_1.wal"));
    assert_true(exists(fixture, "wal.segments/segment_2.wal"));
    assert_false(exists(fixture, "wal.segments/segment_3.wal"));
    WalStats stats = wal_fixture_stats(fixture);
    assert_int_equal(stats.first_segment, 1);
    assert_int_equal(stats.active_segment, 3);
    assert_int_equal(stats.segment_bytes, 3 * SEGMENT_SIZE_MIN);
    assert_int_equal(stats.attested.segment, 2); /* the last batch before is attested */
    assert_false(wal_needs_attest(fixture->kit.wal));
    assert_reopens(fixture);
    assert_int_equal(fixture->kit.opened.segments, 3);
}

static void test_cut_recycles(void **state)
{
    WalFixture *fixture = *state;
    fill_segments(fixture, 4);
    assert_true(wal_needs_spare(fixture->kit.wal));
    assert_ok(kit_cut(&fixture->kit, 4, &fixture->err), &fixture->err);
    assert_false(exists(fixture, "wal.segments/segment_3.wal"));
    assert_true(exists(fixture, "wal.segments/segment_4.wal"));
    assert_int_equal(spare_files(fixture), 2); /* the third was unlinked */
    assert_int_equal(wal_fixture_stats(fixture).spares, 2);
    assert_false(wal_needs_spare(fixture->kit.wal));
    /* No header is left in them. */
    AUTO(char, mem_free) data = NULL;
    size_t len;
    assert_ok(disk_read_file(fixture->disk, "wal.spare.7", MIB, &data, &len, &fixture->err),
              &fixture->err);
    assert_int_equal(len, SEGMENT_SIZE_MIN);
    for (size_t i = 0; i < SEGMENT_HEADER_LEN; i++)
        assert_int_equal(data[i], 0);
    assert_int_equal(get_u32(data + SEGMENT_HEADER_LEN), FRAME_MAGIC);
    /* Rotation uses them, and nothing is left behind. */
    fill_segments(fixture, 3);
    assert_int_equal(spare_files(fixture), 0);
    assert_reopens(fixture);
    /* The active segment is never cut. */
    assert_ok(kit_cut(&fixture->kit, UINT64_MAX, &fixture->err), &fixture->err);
    WalStats stats = wal_fixture_stats(fixture);
    assert_int_equal(stats.first_segment, stats.active_segment);
    assert_reopens(fixture);
}

/* What a burst left is given back, but for what is made beforehand anyway. */
static void test_trim(void **state)
{
    WalFixture *fixture = *state;
    fixture->kit.options.recycled = 6;
    assert_reopens(fixture);
    fill_segments(fixture, 9);
    uint64_t active = wal_fixture_stats(fixture).active_segment;
    assert_ok(kit_cut(&fixture->kit, active - 1, &fixture->err), &fixture->err);
    assert_int_equal(spare_files(fixture), 6);
    assert_ok(wal_trim_spares(fixture->kit.wal, &fixture->err), &fixture->err);
    assert_int_equal(spare_files(fixture), 2);
    assert_int_equal(wal_fixture_stats(fixture).spares, 2);
    assert_ok(wal_trim_spares(fixture->kit.wal, &fixture->err), &fixture->err);
    assert_int_equal(spare_files(fixture), 2);
    fill_segments(fixture, 3);
    assert_reopens(fixture);
}

/* Cutting keeps up to `recycled`, though only `spares` are made beforehand. */
static void test_cut_recycles_more(void **state)
{
    WalFixture *fixture = *state;
    fixture->kit.options.recycled = 3;
    assert_reopens(fixture);
    fill_segments(fixture, 6);
    uint64_t active = wal_fixture_stats(fixture).active_segment;
    assert_ok(kit_cut(&fixture->kit, active - 1, &fixture->err), &fixture->err);
    assert_int_equal(spare_files(fixture), 3);
    assert_false(wal_needs_spare(fixture->kit.wal));
    assert_reopens(fixture); /* one becomes wal.active */
    assert_int_equal(spare_files(fixture), 2);
    fill_segments(fixture, 2);
    assert_int_equal(spare_files(fixture), 0);
    fixture->kit.options.recycled = 65;
    wal_free(TAKE(fixture->kit.wal));
    assert_code(kit_open(&fixture->kit, &fixture->err), ERR_CONFIG, &fixture->err);
    fixture->kit.options.recycled = 0;
    assert_ok(kit_open(&fixture->kit, &fixture->err), &fixture->err);
}

static void test_giant(void **state)
{
    WalFixture *fixture = *state;
    assert_ok(kit_append(&fixture->kit, 0, 100, &fixture->err), &fixture->err);
    assert_ok(kit_append(&fixture->kit, 1, 500000, &fixture->err), &fixture->err);
    assert_int_equal(wal_fixture_stats(fixture).active_segment, 2);
    assert_true(wal_fixture_stats(fixture).segment_bytes > SEGMENT_SIZE_MIN + 500000);
    assert_ok(kit_append(&fixture->kit, 0, 5000, &fixture->err), &fixture->err);
    assert_int_equal(wal_fixture_stats(fixture).active_segment, 3); /* it has one of its own */
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    assert_reopens(fixture);
    assert_int_equal(fixture->kit.replayed.count, 3);
    /* A file of that size is no spare. */
    assert_ok(kit_cut(&fixture->kit, 3, &fixture->err), &fixture->err);
    assert_int_equal(spare_files(fixture), 1);
    assert_reopens(fixture);
}

static void test_prepare(void **state)
{
    WalFixture *fixture = *state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(wal_needs_spare(fixture->kit.wal), i < 2);
        assert_ok(wal_prepare_spare(fixture->kit.wal, &fixture->err), &fixture->err);
    }
    assert_int_equal(spare_files(fixture), 2);
    /* Rotation then writes no zeros: the head, and nothing else. */
    disk_sim_stop_at(fixture->disk, UINT64_MAX);
    assert_ok(kit_rotate(&fixture->kit, &fixture->err), &fixture->err);
    assert_int_equal(disk_sim_op_count(fixture->disk), 2 + 3 + 2); /* write, sync; renames */
}

static void test_adopt(void **state)
{
    static const struct {
        const char *path;
        size_t len;
        bool kept;
    } rows[] = {
        {"wal.spare.7", SEGMENT_SIZE_MIN, true},
        {"wal.spare.8", SEGMENT_SIZE_MIN / 2, false}, /* a crash inside its making */
        {"wal.spare.9", 2 * SEGMENT_SIZE_MIN, false}, /* of another size */
    };
    WalFixture *fixture = *state;
    wal_free(TAKE(fixture->kit.wal));
    AUTO_BUF(bytes, MIB);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&bytes);
        assert_ok(buf_append_zeros(&bytes, rows[i].len, &fixture->err), &fixture->err);
        memset(bytes.data, 0x5a, bytes.len);
        assert_ok(disk_create_durable(fixture->disk, rows[i].path, buf_str(&bytes), NULL), NULL);
    }
    fixture->kit.options.spares = 2;
    assert_ok(kit_open(&fixture->kit, &fixture->err), &fixture->err);
    assert_int_equal(spare_files(fixture), 0); /* the sound one is wal.active now */
    assert_ok(wal_prepare_spare(fixture->kit.wal, &fixture->err), &fixture->err);
    assert_true(exists(fixture, "wal.spare.10")); /* no number comes twice */
    fill_segments(fixture, 2);
    assert_reopens(fixture);
    /* Fewer are wanted: the others go. */
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(wal_prepare_spare(fixture->kit.wal, &fixture->err), &fixture->err);
    }
    fixture->kit.options.spares = 1;
    assert_reopens(fixture);
    assert_int_equal(spare_files(fixture), 0);
}

/* A full disk refuses the append; when there is space again, it goes on. */
static void test_no_space(void **state)
{
    WalFixture *fixture = *state;
    assert_ok(kit_append(&fixture->kit, 0, 30000, &fixture->err), &fixture->err);
    disk_sim_set_faults(fixture->disk, &(SimDiskFaults){.capacity = 128 * KIB});
    ErrCode code = OK;
    for (unsigned i = 0; i < 10 && code == OK; i++) {
        code = kit_append(&fixture->kit, 0, 30000, &fixture->err);
    }
    assert_int_equal(code, ERR_NO_SPACE);
    assert_false(wal_failed(fixture->kit.wal));
    assert_int_equal(spare_files(fixture), 0); /* the half-made one is gone */
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    disk_sim_set_faults(fixture->disk, &(SimDiskFaults){0});
    assert_ok(kit_append(&fixture->kit, 0, 30000, &fixture->err), &fixture->err);
    assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    assert_reopens(fixture);
    assert_int_equal(fixture->kit.replayed.count, fixture->kit.model.records.count);
}

/* Each step of rotation, cutting and preparing fails once: the Wal is done, the log is not. */
static void test_failures(void **state)
{
    static const struct {
        const char *point;
        uint64_t nth;
        unsigned what; /* 0: rotate, 1: cut, 2: prepare */
        bool fails;    /* the Wal */
    } rows[] = {
        {"disk.open", 1, 0, false},    {"disk.write", 1, 0, true},    {"disk.sync", 1, 0, true},
        {"disk.sync_dir", 1, 0, true}, {"disk.rename", 1, 0, true},   {"disk.rename", 2, 0, true},
        {"disk.sync_dir", 3, 0, true}, {"wal.rotate", 1, 0, true},    {"wal.rotate", 4, 0, true},
        {"disk.rename", 1, 1, true},   {"disk.sync_dir", 1, 1, true}, {"disk.write", 1, 1, true},
        {"disk.sync", 1, 1, true},     {"wal.cut", 1, 1, true},       {"wal.cut", 2, 1, true},
        {"disk.open", 1, 2, false},    {"disk.write", 1, 2, true},    {"disk.sync", 1, 2, true},
        {"disk.sync_dir", 1, 2, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i > 0) assert_int_equal(setup(state), 0);
        WalFixture *fixture = *state;
        Kit *kit = &fixture->kit;
        fill_segments(fixture, 2);
        assert_ok(wal_prepare_spare(kit->wal, &fixture->err), &fixture->err);
        /* What the system lacks for a while is no failure of the disk. */
        fault_arm(rows[i].point, rows[i].fails ? EIO : EMFILE, rows[i].nth, false);
        ErrCode code = rows[i].what == 0   ? kit_rotate(kit, &fixture->err)
                       : rows[i].what == 1 ? kit_cut(kit, 2, &fixture->err)
                                           : wal_prepare_spare(kit->wal, &fixture->err);
        fault_reset();
        if (code != (rows[i].fails ? ERR_IO : ERR_SYSTEM) ||
            wal_failed(kit->wal) != rows[i].fails) {
            fail_msg("row %zu: %s", i, err_info(code)->name);
        }
        assert_code(kit_append(kit, 0, 10, &fixture->err), rows[i].fails ? ERR_ROOT_FAILED : OK,
                    &fixture->err);
        assert_code(wal_cut(kit->wal, 1, &fixture->err), rows[i].fails ? ERR_ROOT_FAILED : OK,
                    &fixture->err);
        disk_sim_crash(fixture->disk);
        assert_reopens(fixture);
        if (i + 1 < ARRAY_LEN(rows)) assert_int_equal(wal_fixture_teardown(state), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rotation_names, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_cut_recycles, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_trim, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_cut_recycles_more, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_giant, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_prepare, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_adopt, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_no_space, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, wal_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
