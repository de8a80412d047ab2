#include "wal/wal.h"

#include "testing.h"
#include "wal_kit.h"

#include "disk/posix.h"

/* On real files: rotation, an entry larger than a segment, spares, and three opens. */
static void test_round_trip(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    Kit kit;
    kit_init(&kit, disk, 1);
    kit.options.spares = 2;
    assert_ok(kit_open(&kit, &err), &err);
    assert_int_equal(kit.opened.segments, 0);
    assert_int_equal(kit.opened.records, 0);
    for (unsigned i = 0; i < 200; i++) {
        assert_ok(kit_append(&kit, (ShardId)(i % 3), i * 37 % 5000, &err), &err);
        if (i % 5 == 0) assert_ok(kit_sync(&kit, &err), &err);
        if (i == 70) assert_ok(kit_append(&kit, 3, 300000, &err), &err);
        if (i == 90) assert_ok(wal_prepare_spare(kit.wal, &err), &err);
    }
    assert_ok(wal_close(kit.wal, &err), &err);
    for (unsigned i = 0; i < 3; i++) {
        assert_ok(kit_open(&kit, &err), &err);
        const char *wrong = kit_verify(&kit, &kit.model);
        if (wrong != NULL) fail_msg("%s", wrong);
        assert_int_equal(kit.replayed.count, kit.model.records.count);
        assert_int_equal(kit.opened.records, kit.replayed.count); /* no CHECKPOINT among them */
        assert_false(kit.opened.torn);
        assert_true(kit.opened.segments > 8 + i);
    }
    kit_deinit(&kit);
}

static void test_options(void **state)
{
    static const struct {
        uint64_t segment_size;
        unsigned spares;
        ErrCode code;
    } rows[] = {
        {0, 0, OK},
        {64 * KIB, 64, OK},
        {64 * KIB - 4096, 0, ERR_CONFIG},
        {64 * KIB + 512, 0, ERR_CONFIG},
        {GIB + 4096, 0, ERR_CONFIG},
        {64 * KIB, 65, ERR_CONFIG},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
        AUTO(Disk, disk_free) disk = NULL;
        assert_ok(disk_posix_open(dir, &disk, &err), &err);
        Kit kit;
        kit_init(&kit, disk, 1);
        kit.options.segment_size = rows[i].segment_size;
        kit.options.spares = rows[i].spares;
        assert_code(kit_open(&kit, &err), rows[i].code, &err);
        assert_int_equal(kit.wal != NULL, rows[i].code == OK);
        if (kit.wal != NULL) {
            WalStats stats;
            wal_stats(kit.wal, &stats);
            assert_int_equal(stats.segment_bytes,
                             rows[i].segment_size == 0 ? MIB : rows[i].segment_size);
        }
        kit_deinit(&kit);
    }
}

static ErrCode refuse(void *ctx, const Frame *frame, Str payload, Err *err)
{
    unsigned *calls = ctx;
    UNUSED(frame);
    UNUSED(payload);
    if (++*calls < 3) return OK;
    return err_set(err, ERR_ABORTED, "enough");
}

/* What the callback says ends the opening, and changes nothing. */
static void test_replay_refuses(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    Kit kit;
    kit_init(&kit, disk, 1);
    assert_ok(kit_open(&kit, &err), &err);
    for (unsigned i = 0; i < 5; i++)
        assert_ok(kit_append(&kit, 0, 10, &err), &err);
    assert_ok(kit_sync(&kit, &err), &err);
    wal_free(TAKE(kit.wal));
    Wal *wal = NULL;
    WalOpened opened = {.records = 77};
    unsigned calls = 0;
    kit.options.incarnation++;
    assert_code(wal_open(disk, &kit.options, refuse, &calls, &wal, &opened, &err), ERR_ABORTED,
                &err);
    assert_null(wal);
    assert_int_equal(opened.records, 77);
    assert_int_equal(calls, 3);
    DiskStat stat;
    assert_ok(disk_stat(disk, "wal.segments/segment_1.wal", &stat, &err), &err);
    assert_false(stat.exists);
    kit_deinit(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_replay_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
