/* A root that is made anew from another one: whole, with all that the other has, the old one put
 * aside as it was; cut off at each call that changes a disk, and with each call failing once, it is
 * so after another run. */
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "disk/sim.h"
#include "fsck/copy_root.h"
#include "node_kit.h"

#define FILES 12
#define OLD "what stood here"

static const NodeKitOptions small = {.seed = 4, .shards = 1};

typedef struct {
    Disk *source;
    RootInfo from;
    ManualClock clock;
} Fixture;

static void put(NodeKit *kit, int number, size_t len)
{
    char key[16];
    Err err = {0};
    AUTO(void, mem_free) body = mem_new(len);
    memset(body, 'a' + number, len);
    snprintf(key, sizeof key, "k%02d", number);
    assert_ok(node_kit_put(kit, STR("files"), str_from_cstr(key), str_of(body, len), &err), &err);
}

/* Small and large files, some deleted, and some changes that only the log has. */
static int setup(void **state)
{
    Fixture *f = mem_new(sizeof *f);
    NodeKit kit;
    Err err = {0};
    clock_manual_init(&f->clock, 1700000000000);
    assert_ok(disk_sim_new(1, &f->source, &err), &err);
    assert_ok(node_kit_open(&kit, f->source, &small, &err), &err);
    assert_ok(node_kit_ready(&kit, &err), &err);
    for (int i = 0; i < FILES; i++)
        put(&kit, i, i % 6 == 0 ? INLINE_MAX + 1 : 100);
    assert_ok(node_kit_delete(&kit, STR("files"), STR("k03"), &err), &err);
    assert_ok(node_kit_apply(&kit, &err), &err);
    put(&kit, FILES, 100);
    f->from = kit.root;
    node_kit_drop(&kit);
    disk_sim_kill(f->source);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    fault_reset();
    disk_free(f->source);
    mem_free(f);
    return 0;
}

/* A directory with a root in it that is no good. */
static Disk *new_target(uint64_t seed)
{
    static const char *const files[] = {"root.json", "packs/1.pack", "wal.spare.7", "audit.key",
                                        "index.db"};
    Disk *disk = NULL;
    Err err = {0};
    assert_ok(disk_sim_new(seed, &disk, &err), &err);
    assert_ok(disk_mkdir_durable(disk, "packs", &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_ok(disk_create_durable(disk, files[i], STR(OLD), &err), &err);
    disk_sim_stop_at(disk, UINT64_MAX); /* counts from here on */
    return disk;
}

static ErrCode run(Fixture *f, Disk *target, uint64_t seed, CopyRootReport *report, Err *err)
{
    AUTO(Disk, disk_free) scratch = NULL;
    bool ready = false;
    TRY(disk_sim_new(2, &scratch, err));
    CopyRootOptions options = {.source = f->source,
                               .from = f->from,
                               .target = target,
                               .scratch = scratch,
                               .clock = &f->clock.clock,
                               .seed = seed};
    *report = (CopyRootReport){0};
    TRY(copy_root_is_ready(target, &ready, err));
    if (!ready) TRY(copy_root_make(&options, report, err));
    return copy_root_place(target, report, err);
}

static ErrCode no_damage(void *ctx, const FsckFinding *finding, Err *err)
{
    UNUSED(ctx);
    if (finding->level == FSCK_NOTE) return OK;
    return err_set(err, ERR_CORRUPT, "%s %s: %s", finding->kind, finding->path, finding->text);
}

static void expect_file(Disk *disk, const char *path, const char *wanted)
{
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    Err err = {0};
    assert_ok(disk_read_file(disk, path, 1024, &text, &len, &err), &err);
    assert_string_equal(text, wanted);
}

/* By what fsck says of it, by what a store that opens it has, and by what was put aside. */
static void expect_made(Fixture *f, Disk *target)
{
    AUTO(Disk, disk_free) scratch = NULL;
    FsckReport report;
    RootInfo info;
    StoreOpened opened;
    Err err = {0};
    AUTO(void, mem_free) memory = mem_new_array(SHARD_COUNT_MAX, sizeof(FsckShard));
    FsckShard *shards = memory;
    assert_ok(disk_sim_new(3, &scratch, &err), &err);
    FsckOptions fsck = {.disk = target, .scratch = scratch, .finding = no_damage, .shards = shards};
    assert_ok(fsck_run(&fsck, &report, &err), &err);
    assert_int_equal(report.files, FILES - 1 + 1); /* and a bucket; one is in the log only */
    assert_true(shards[0x1000].last > shards[0x1000].applied);
    assert_ok(root_read(target, &info, &err), &err);
    assert_false(id128_eq(info.uuid, f->from.uuid));
    assert_true(id128_eq(info.cluster, f->from.cluster));
    assert_int_equal(info.incarnation, 0);
    expect_file(target, "audit.key", OLD);
    expect_file(target, "quarantine/before_recover_1/packs/1.pack", OLD);
    expect_file(target, "quarantine/before_recover_1/root.json", OLD);
    expect_file(target, "quarantine/before_recover_1/wal.spare.7", OLD);
    info.incarnation = 1;
    AUTO(Store, store_free) store = NULL;
    StoreOptions options = {.root = info, .clock = &f->clock.clock, .seed = 9};
    assert_ok(store_open(target, &options, &store, &opened, &err), &err);
    assert_false(opened.index_rebuilt);
    assert_int_equal(opened.unapplied, 1);
}

static void test_made(void **state)
{
    Fixture *f = *state;
    AUTO(Disk, disk_free) target = new_target(5);
    CopyRootReport report = {0};
    Err err = {0};
    assert_ok(run(f, target, 6, &report, &err), &err);
    assert_string_equal(report.aside, "quarantine/before_recover_1");
    assert_int_equal(report.files_kept, 0);
    disk_sim_crash(target); /* all of it is durable */
    expect_made(f, target);
}

/* The process dies, or power fails, at each change of the disk; then once more in the next run. */
static void test_cut_off(void **state)
{
    Fixture *f = *state;
    CopyRootReport report = {0};
    Err err = {0};
    AUTO(Disk, disk_free) counted = new_target(5);
    assert_ok(run(f, counted, 6, &report, &err), &err);
    uint64_t ops = disk_sim_op_count(counted);
    assert_true(ops > 100);
    for (uint64_t stop = 1; stop <= ops; stop += TSAN_STRIDE) {
        AUTO(Disk, disk_free) target = new_target(stop);
        disk_sim_stop_at(target, stop);
        for (unsigned again = 0; again < 2; again++) {
            err_clear(&err);
            ErrCode code = run(f, target, stop + again, &report, &err);
            if (code == OK) break;
            assert_true(disk_sim_stopped(target));
            if (stop % 2 == 0)
                disk_sim_kill(target);
            else
                disk_sim_crash(target);
            disk_sim_stop_at(target, again == 0 ? 1 + stop * 7 % ops : UINT64_MAX);
        }
        err_clear(&err);
        disk_sim_stop_at(target, UINT64_MAX);
        RootInfo info;
        bool done = root_read(target, &info, &err) == OK;
        bool ready = false;
        err_clear(&err);
        assert_ok(copy_root_is_ready(target, &ready, &err), &err);
        if (!done || ready) assert_ok(run(f, target, stop + 2, &report, &err), &err);
        expect_made(f, target);
    }
}

/* Each call fails once: the run says so or goes on, and the next one does it. */
static void test_failing_calls(void **state)
{
    Fixture *f = *state;
    static const int errnos[] = {EIO, ENOSPC};
    for (size_t e = 0; e < ARRAY_LEN(errnos); e++) {
        bool fired = true;
        for (uint64_t n = 1; fired; n += (n < 40 ? 1U : 7U) * TSAN_STRIDE) {
            AUTO(Disk, disk_free) target = new_target(n);
            CopyRootReport report = {0};
            FaultStat stats[FAULT_POINTS_MAX];
            Err err = {0};
            fault_reset();
            fault_arm_any("", errnos[e], n, false);
            ErrCode code = run(f, target, n, &report, &err);
            size_t count = fault_stats(stats, ARRAY_LEN(stats));
            fired = false;
            for (size_t i = 0; i < count; i++)
                fired = fired || stats[i].fired > 0;
            fault_reset();
            err_clear(&err);
            if (code != OK) {
                RootInfo info;
                bool ready = false;
                bool done = root_read(target, &info, NULL) == OK;
                assert_ok(copy_root_is_ready(target, &ready, &err), &err);
                if (!done || ready) assert_ok(run(f, target, n + 1, &report, &err), &err);
            }
            expect_made(f, target);
        }
    }
}

/* Copies that were compared are not made again, unless the source was started since. */
static void test_resumed(void **state)
{
    Fixture *f = *state;
    for (unsigned started = 0; started < 2; started++) {
        AUTO(Disk, disk_free) target = new_target(7);
        CopyRootReport report = {0};
        Err err = {0};
        fault_arm("recover.step", EIO, 1, false); /* behind the last file */
        assert_code(run(f, target, 6, &report, &err), ERR_IO, &err);
        fault_reset();
        err_clear(&err);
        f->from.incarnation += started;
        assert_ok(run(f, target, 6, &report, &err), &err);
        f->from.incarnation -= started;
        assert_int_equal(report.files_kept > 0, started == 0);
        expect_made(f, target);
    }
}

/* What comes back from the target's disk is compared, not what was written. */
static void test_read_back(void **state)
{
    Fixture *f = *state;
    AUTO(Disk, disk_free) target = new_target(8);
    CopyRootReport report = {0};
    Err err = {0};
    SimDiskFaults faults = {.lost_write = 500000};
    disk_sim_set_faults(target, &faults);
    ErrCode code = run(f, target, 6, &report, &err);
    assert_true(code == ERR_IO || code == ERR_CORRUPT);
    expect_file(target, "packs/1.pack", OLD);
}

/* A source that is damaged where fsck looked before: the copy is not taken for whole. */
static void test_damaged_source(void **state)
{
    Fixture *f = *state;
    AUTO(Disk, disk_free) target = new_target(9);
    AUTO(Disk, disk_free) good = f->source;
    CopyRootReport report = {0};
    Err err = {0};
    f->source = disk_sim_copy(good, 3);
    assert_ok(disk_sim_damage(f->source, "packs/1.pack", PACK_HEADER_LEN + 100, STR("????"), &err),
              &err);
    assert_code(run(f, target, 6, &report, &err), ERR_CORRUPT, &err);
    expect_file(target, "packs/1.pack", OLD);
    expect_file(target, "root.json", OLD);
    disk_free(f->source);
    f->source = TAKE(good);
    err_clear(&err);
    assert_ok(run(f, target, 6, &report, &err), &err); /* nothing of the bad copy is used */
    assert_int_equal(report.files_kept, 0);
    expect_made(f, target);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resumed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_source, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
