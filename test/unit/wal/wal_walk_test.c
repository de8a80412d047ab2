/* Walking a log over its damage: against wal_open(), which must refuse exactly where the walk finds
 * damage, and against what was appended: every record but the damaged ones is given. */
#include "testing.h"
#include "wal_fixture.h"

#include "disk/sim.h"
#include "wal/wal_walk.h"
#include <stdio.h>
#include <string.h>

static int setup(void **state)
{
    WalFixture *fixture = wal_fixture_new(0);
    for (unsigned i = 0; i < 60; i++) {
        assert_ok(kit_append(&fixture->kit, (ShardId)(i % 3), 2500, &fixture->err), &fixture->err);
        if (i % 3 == 2) assert_ok(kit_sync(&fixture->kit, &fixture->err), &fixture->err);
    }
    assert_ok(kit_attest(&fixture->kit, &fixture->err), &fixture->err);
    wal_free(TAKE(fixture->kit.wal));
    *state = fixture;
    return 0;
}

/* What a walk gave. */
typedef struct {
    uint64_t entries;
    uint64_t damages;
    uint64_t torn;
    char path[DISK_PATH_MAX]; /* of the damage that reaches nearest to `at` */
    bool covers;              /* one of them holds the byte `at` of path `in` */
    const char *in;
    uint64_t at;
    WalWalked walked;
} Seen;

static ErrCode on_record(void *ctx, const char *path, const Frame *frame, Str payload, Err *err)
{
    Seen *seen = ctx;
    UNUSED(path);
    UNUSED(payload);
    UNUSED(err);
    if (frame->kind == FRAME_ENTRY) seen->entries++;
    return OK;
}

static ErrCode on_bad(void *ctx, const WalBad *bad, Err *err)
{
    Seen *seen = ctx;
    UNUSED(err);
    if (bad->kind == WAL_TORN) {
        seen->torn++;
        return OK;
    }
    seen->damages++;
    if (seen->in != NULL && strcmp(bad->path, seen->in) == 0 && seen->at >= bad->offset &&
        seen->at < bad->offset + bad->length)
        seen->covers = true;
    return OK;
}

static Seen walk(WalFixture *fixture, Disk *disk, const char *in, uint64_t at)
{
    Seen seen = {.in = in, .at = at};
    WalWalkOptions options = {
        .root = fixture->kit.options.root, .record = on_record, .bad = on_bad, .ctx = &seen};
    uint64_t before = disk_sim_fingerprint(disk);
    assert_ok(wal_walk(disk, &options, &seen.walked, &fixture->err), &fixture->err);
    assert_int_equal(disk_sim_fingerprint(disk), before);
    assert_int_equal(seen.walked.damages, seen.damages);
    return seen;
}

static Disk *copy_of(Disk *disk)
{
    Err err = {0};
    Disk *copy = NULL;
    uint64_t keep = 0;
    assert_ok(disk_sim_crash_image(disk, &keep, 1, &copy, &err), &err);
    return copy;
}

static ErrCode opens(WalFixture *fixture, Disk *disk)
{
    Kit kit;
    AUTO(Disk, disk_free) copy = copy_of(disk);
    kit_init(&kit, copy, 1);
    kit.options.incarnation = 100;
    ErrCode code = kit_open(&kit, &fixture->err);
    kit_deinit(&kit);
    return code;
}

static void test_clean(void **state)
{
    WalFixture *fixture = *state;
    Seen seen = walk(fixture, fixture->disk, NULL, 0);
    assert_int_equal(seen.damages, 0);
    assert_int_equal(seen.torn, 0);
    assert_int_equal(seen.entries, 60);
    assert_int_equal(seen.walked.first_id, 1);
    assert_true(seen.walked.segments >= 3);
    AUTO(Disk, disk_free) empty = NULL;
    assert_ok(disk_sim_new(2, &empty, &fixture->err), &fixture->err);
    seen = walk(fixture, empty, NULL, 0);
    assert_int_equal(seen.walked.segments + seen.damages + seen.entries, 0);
}

/* A bit anywhere: the walk finds damage there exactly if opening refuses, and what is lost to it is
 * one record at most. */
static void test_flips(void **state)
{
    WalFixture *fixture = *state;
    uint64_t refused = 0;
    uint64_t segments = walk(fixture, fixture->disk, NULL, 0).walked.segments;
    for (uint64_t id = 1; id <= segments; id++) {
        char path[DISK_PATH_MAX];
        snprintf(path, sizeof path, id == segments ? "wal.active" : "wal.segments/segment_%ju.wal",
                 (uintmax_t)id);
        for (uint64_t byte = 0; byte < 65536; byte += byte % 4096 < 128 ? 13 : 997) {
            AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
            assert_ok(disk_sim_flip(disk, path, byte * 8 + byte % 8, &fixture->err), &fixture->err);
            bool bad = opens(fixture, disk) != OK;
            Seen seen = walk(fixture, disk, path, byte);
            if (bad != (seen.damages > 0) || (bad && !seen.covers)) {
                fail_msg("%s byte %ju: %s, %ju damages, covered %d", path, (uintmax_t)byte,
                         bad ? fixture->err.message : "opens", (uintmax_t)seen.damages,
                         seen.covers);
            }
            assert_in_range(seen.entries, 59, 60);
            refused += bad;
        }
    }
    assert_true(refused > 100);
}

/* A cut file, and one that is gone. */
static void test_cuts(void **state)
{
    WalFixture *fixture = *state;
    static const char *const paths[] = {"wal.active", "wal.segments/segment_2.wal"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        for (uint64_t size = 0; size < 65536; size += 7177) {
            AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
            AUTO(File, disk_close) file = NULL;
            assert_ok(disk_open(disk, paths[i], DISK_OPEN_WRITE, &file, &fixture->err),
                      &fixture->err);
            assert_ok(disk_truncate(file, size, &fixture->err), &fixture->err);
            assert_ok(disk_sync(file, &fixture->err), &fixture->err);
            assert_true(opens(fixture, disk) != OK);
            assert_true(walk(fixture, disk, NULL, 0).damages > 0);
        }
    }
    AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
    assert_ok(disk_unlink(disk, paths[1], &fixture->err), &fixture->err);
    assert_ok(disk_sync_dir(disk, "wal.segments", &fixture->err), &fixture->err);
    assert_true(opens(fixture, disk) != OK);
    Seen seen = walk(fixture, disk, NULL, 0);
    assert_true(seen.damages > 0);
    assert_in_range(seen.entries, 20, 59);
}

/* Zeros over the last, un-attested batch, or over what was attested. */
static void test_zeros(void **state)
{
    static const uint8_t zeros[65536];
    WalFixture *fixture = *state;
    Seen sound = walk(fixture, fixture->disk, NULL, 0);
    for (uint64_t from = 8192; from < sound.walked.end.offset; from += 4096) {
        AUTO(Disk, disk_free) disk = copy_of(fixture->disk);
        AUTO(File, disk_close) file = NULL;
        assert_ok(disk_open(disk, "wal.active", DISK_OPEN_WRITE, &file, &fixture->err),
                  &fixture->err);
        assert_ok(
            disk_write(file, from, zeros, (size_t)(sound.walked.end.offset - from), &fixture->err),
            &fixture->err);
        assert_ok(disk_sync(file, &fixture->err), &fixture->err);
        bool bad = opens(fixture, disk) != OK;
        Seen seen = walk(fixture, disk, "wal.active", from);
        assert_int_equal(bad, seen.damages > 0);
        assert_int_equal(bad, seen.covers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_clean, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_flips, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_cuts, setup, wal_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_zeros, setup, wal_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
