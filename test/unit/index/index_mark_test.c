/* A log of SQLite's that is damaged, after a checkpoint that the power cut off in the middle of its
 * pages' move: it is known to be, or what is in the index is right. Without the mark an index.db of
 * old and new pages would be taken for a good one. */
#include "index/index_mark.h"

#include "base/fault.h"
#include "disk/sim.h"
#include "index_kit.h"
#include "testing.h"
#include <string.h>

#define LOG "index.db-wal"
#define BATCHES 6
#define FRAME_BYTES (24 + 4096)

static ErrCode open_index(Disk *disk, Index **out, Err *err)
{
    bool created = false;
    return index_open(disk, NULL, out, &created, err);
}

static void write_batches(Kit *kit, Index *index, unsigned count)
{
    Err err = {0};
    for (unsigned i = 0; i < count; i++)
        assert_ok(kit_batch(kit, index, &err), &err);
}

/* An index whose log has BATCHES since a checkpoint, and the power that goes `after` operations
 * into the next. False: that one was through. */
static bool cut_off(Disk *disk, Kit *kit, uint64_t after)
{
    Err err = {0};
    AUTO(Index, index_free) index = NULL;
    assert_ok(open_index(disk, &index, &err), &err);
    write_batches(kit, index, BATCHES);
    assert_ok(index_checkpoint(index, &err), &err);
    write_batches(kit, index, BATCHES);
    disk_sim_stop_at(disk, after);
    return index_checkpoint(index, &err) != OK;
}

static size_t log_bytes(Disk *disk)
{
    Err err = {0};
    DiskStat stat;
    assert_ok(disk_stat(disk, LOG, &stat, &err), &err);
    return stat.exists ? (size_t)stat.size : 0;
}

typedef struct {
    unsigned told;  /* damage that was known for what it is */
    unsigned right; /* what the last checkpoint made durable is there, and whole batches beyond */
    unsigned wrong; /* not: an error of SQLite's, or rows of no one moment */
} Outcomes;

/* Opens the disk and looks at what it holds. */
static void look(Disk *disk, const Kit *kit, Outcomes *outcomes)
{
    Err err = {0};
    Kit seen = *kit;
    AUTO(Index, index_free) index = NULL;
    ErrCode code = open_index(disk, &index, &err);
    if (code == ERR_CORRUPT && strstr(err_text(&err), LOG) != NULL) {
        outcomes->told++;
        return;
    }
    uint32_t most = kit->versions[0];
    if (code == OK) code = kit_compare_range(&seen, index, most - BATCHES, most, NULL, &err);
    *(code == OK ? &outcomes->right : &outcomes->wrong) += 1;
}

/* One bit of each frame, and of the header, after a power cut that kept all that was written. */
static void damage_each(Disk *disk, const Kit *kit, Outcomes *outcomes)
{
    static const uint64_t keep_all[64] = {[0 ... 63] = UINT64_MAX};
    size_t size = log_bytes(disk);
    for (size_t at = 0; at < size; at += at == 0 ? 32 : FRAME_BYTES) {
        Err err = {0};
        AUTO(Disk, disk_free) image = NULL;
        assert_true(disk_sim_pending(disk) <= sizeof keep_all * 8);
        assert_ok(disk_sim_crash_image(disk, keep_all, 1, &image, &err), &err);
        assert_ok(disk_sim_flip(image, LOG, at * 8 + 70, &err), &err);
        look(image, kit, outcomes);
    }
}

/* All places where the power can go in one checkpoint. */
static Outcomes run_all(void)
{
    Outcomes sum = {0};
    for (uint64_t after = 0;; after++) {
        Err err = {0};
        Kit kit;
        AUTO(Disk, disk_free) disk = NULL;
        assert_ok(disk_sim_new(1, &disk, &err), &err);
        kit_init(&kit, 7);
        kit.ops_max = 8;
        if (!cut_off(disk, &kit, after)) return sum;
        disk_sim_kill(disk);
        damage_each(disk, &kit, &sum);
    }
}

static void test_damaged_log(void **state)
{
    UNUSED(state);
    Outcomes sum = run_all();
    assert_true(sum.told > 50);
    assert_true(sum.right > 0); /* before the mark was set */
    assert_int_equal(sum.wrong, 0);
}

static void test_damaged_log_trusted(void **state)
{
    UNUSED(state);
    fault_reset();
    fault_plant("trust-index-log", true);
    Outcomes sum = run_all();
    fault_reset();
    assert_int_equal(sum.told, 0);
    if (sum.wrong < 10) fail_msg("%u wrong, %u right", sum.wrong, sum.right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_log),
        cmocka_unit_test(test_damaged_log_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
