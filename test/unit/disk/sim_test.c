/* The simulated driver beside what both drivers promise (disk_test.c) and what a crash leaves
 * (sim_crash_test.c): stops, kills, faults, capacity, flipped bits. */
#include "disk/sim.h"

#include "base/thread.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

#define ALWAYS 1000000

static Disk *new_disk(uint64_t seed)
{
    Disk *disk = NULL;

    assert_ok(disk_sim_new(seed, &disk, NULL), NULL);
    return disk;
}

static File *open_file(Disk *disk, const char *path)
{
    File *file = NULL;

    assert_ok(disk_open(disk, path, DISK_OPEN_ENSURE, &file, NULL), NULL);
    return file;
}

static bool content_is(Disk *disk, const char *path, const char *text)
{
    char *data = NULL;
    size_t len = 0;

    if (disk_read_file(disk, path, 100000, &data, &len, NULL) != OK) return false;
    bool same = str_eq(str_of(data, len), str_from_cstr(text));
    mem_free(data);
    return same;
}

/* Ten operations, each counted once, and nothing else. */
static ErrCode ten_operations(Disk *disk)
{
    AUTO(File, disk_close) file = NULL;
    DiskStat stat;
    char byte = 0;

    TRY(disk_mkdir(disk, "d", NULL));
    TRY(disk_mkdir(disk, "d", NULL)); /* is there */
    TRY(disk_sync_dir(disk, "", NULL));
    TRY(disk_open(disk, "d/f", DISK_OPEN_CREATE, &file, NULL));
    TRY(disk_write(file, 0, "abc", 3, NULL));
    TRY(disk_truncate(file, 2, NULL));
    TRY(disk_truncate(file, 2, NULL)); /* is so */
    TRY(disk_read_all(file, 0, &byte, 1, NULL));
    TRY(disk_sync(file, NULL));
    if (disk_unlink(disk, "none", NULL) == OK) return ERR_EXISTS;
    TRY(disk_rename(disk, "d/f", "d/g", NULL));
    TRY(disk_sync_dir(disk, "d", NULL));
    TRY(disk_stat(disk, "d/g", &stat, NULL));
    TRY(disk_unlink(disk, "d/g", NULL));
    return disk_sync_dir(disk, "d", NULL);
}

static void test_stop_at_each_operation(void **state)
{
    AUTO(Disk, disk_free) whole = new_disk(1);

    UNUSED(state);
    assert_ok(ten_operations(whole), NULL);
    assert_int_equal(disk_sim_op_count(whole), 10);
    for (uint64_t stop = 0; stop <= 10; stop++) {
        AUTO(Disk, disk_free) disk = new_disk(1);
        DiskStat stat;
        disk_sim_stop_at(disk, stop);
        assert_code(ten_operations(disk), stop < 10 ? ERR_IO : OK, NULL);
        assert_int_equal(disk_sim_op_count(disk), stop);
        assert_int_equal(disk_sim_stopped(disk), stop < 10);
        if (stop < 10) {
            DiskSpace space;
            File *file = NULL;
            assert_code(disk_stat(disk, "d", &stat, NULL), ERR_IO, NULL);
            assert_code(disk_space(disk, &space, NULL), ERR_IO, NULL);
            assert_code(disk_open(disk, "x", DISK_OPEN_READ, &file, NULL), ERR_IO, NULL);
            assert_code(disk_list(disk, "", NULL, NULL, NULL), ERR_IO, NULL);
            assert_code(disk_lock(disk, "l", STR("x"), NULL, 0, NULL), ERR_IO, NULL);
        }
        disk_sim_kill(disk);
        assert_false(disk_sim_stopped(disk));
        assert_ok(disk_stat(disk, "d", &stat, NULL), NULL);
        assert_int_equal(stat.exists, stop > 0);
        disk_sim_stop_at(disk, UINT64_MAX);
        assert_int_equal(disk_sim_op_count(disk), 0);
    }
}

static void test_kill_keeps_the_cache(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);
    AUTO(File, disk_close) file = open_file(disk, "f");
    size_t got = 0;
    uint64_t size = 0;
    char byte = 0;

    UNUSED(state);
    assert_ok(disk_write(file, 0, "abc", 3, NULL), NULL);
    assert_ok(disk_lock(disk, "lock", STR("me"), NULL, 0, NULL), NULL);
    size_t pending = disk_sim_pending(disk);
    assert_int_equal(pending, 3); /* the name, the size, the sector; the lock is none */
    disk_sim_kill(disk);
    assert_int_equal(disk_sim_pending(disk), pending);
    assert_true(content_is(disk, "f", "abc"));
    assert_code(disk_read(file, 0, &byte, 1, &got, NULL), ERR_IO, NULL);
    assert_code(disk_write(file, 0, "x", 1, NULL), ERR_IO, NULL);
    assert_code(disk_sync(file, NULL), ERR_IO, NULL);
    assert_code(disk_size(file, &size, NULL), ERR_IO, NULL);
    assert_code(disk_truncate(file, 0, NULL), ERR_IO, NULL);
    assert_int_equal(disk_fd(file), -1);
    assert_ok(disk_lock(disk, "lock", STR("me again"), NULL, 0, NULL), NULL);
    disk_sim_crash(disk);
    assert_ok(disk_lock(disk, "lock", STR("and again"), NULL, 0, NULL), NULL);
    assert_true(content_is(disk, "lock", "and again"));
}

static void test_durable_helpers_leave_nothing_pending(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);
    Err err;

    UNUSED(state);
    assert_ok(disk_mkdir_durable(disk, "a/b", &err), &err);
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_ok(disk_create_durable(disk, "a/f", STR("x"), &err), &err);
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_ok(disk_replace_durable(disk, "a/f", STR("y"), &err), &err);
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_ok(disk_rename_durable(disk, "a/f", "a/b/f", &err), &err);
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_ok(disk_rename_durable(disk, "a/b/f", "a/b/g", &err), &err);
    assert_int_equal(disk_sim_pending(disk), 0);
    /* A directory that an earlier process made and did not sync is synced by the next. */
    assert_ok(disk_mkdir(disk, "c", &err), &err);
    assert_int_equal(disk_sim_pending(disk), 1);
    assert_ok(disk_mkdir_durable(disk, "c", &err), &err);
    assert_int_equal(disk_sim_pending(disk), 0);
}

static void test_errors_by_chance(void **state)
{
    static const struct {
        SimDiskFaults faults;
        ErrCode read, write, sync;
    } rows[] = {
        {{.read_error = ALWAYS}, ERR_IO, OK, OK}, {{.write_error = ALWAYS}, OK, ERR_IO, OK},
        {{.sync_error = ALWAYS}, OK, OK, ERR_IO}, {{.no_space = ALWAYS}, OK, ERR_NO_SPACE, OK},
        {{.lost_write = ALWAYS}, OK, OK, OK},     {{.misdirected = ALWAYS}, OK, OK, OK},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(Disk, disk_free) disk = new_disk(i);
        AUTO(File, disk_close) file = open_file(disk, "f");
        const SimDiskFaults none = {0};
        size_t got = 0;
        char data[4];
        assert_ok(disk_write(file, 0, "old", 3, NULL), NULL);
        disk_sim_set_faults(disk, &rows[i].faults);
        assert_code(disk_read(file, 0, data, 3, &got, NULL), rows[i].read, NULL);
        assert_code(disk_write(file, 0, "new", 3, NULL), rows[i].write, NULL);
        assert_code(disk_sync(file, NULL), rows[i].sync, NULL);
        assert_code(disk_sync_dir(disk, "", NULL), rows[i].sync, NULL);
        disk_sim_set_faults(disk, &none);
        assert_ok(disk_sync(file, NULL), NULL);
    }
}

/* Rates are rates, and the same seed is the same run. */
static void test_chance_and_seed(void **state)
{
    unsigned failed[3] = {0, 0, 0};
    const uint64_t seeds[] = {1, 1, 2};
    uint64_t prints[3];

    UNUSED(state);
    for (size_t i = 0; i < 3; i++) {
        AUTO(Disk, disk_free) disk = new_disk(seeds[i]);
        AUTO(File, disk_close) file = open_file(disk, "f");
        const SimDiskFaults faults = {.write_error = ALWAYS / 10};
        assert_ok(disk_sync_dir(disk, "", NULL), NULL);
        disk_sim_set_faults(disk, &faults);
        for (uint64_t k = 0; k < 1000; k++) {
            failed[i] += disk_write(file, k * 600, "0123456789", 10, NULL) == OK ? 0 : 1;
        }
        disk_sim_crash(disk);
        prints[i] = disk_sim_fingerprint(disk);
    }
    assert_in_range(failed[0], 50, 200);
    assert_int_equal(failed[0], failed[1]);
    assert_true(prints[0] == prints[1]);
    assert_true(prints[0] != prints[2]);
}

/* What the page cache shows is not on the disk, and no later sync puts it there: fsyncgate, lost
 * and misdirected writes. Writing the sectors again does. */
static void test_lies_show_after_a_crash(void **state)
{
    static const SimDiskFaults rows[] = {
        {.sync_error = ALWAYS}, {.lost_write = ALWAYS}, {.misdirected = ALWAYS}};
    static char old[4 * 4096];
    static char new[4096];

    UNUSED(state);
    memset(old, 'o', sizeof old);
    memset(new, 'n', sizeof new);
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        AUTO(Disk, disk_free) disk = new_disk(i);
        AUTO(File, disk_close) file = open_file(disk, "f");
        const SimDiskFaults none = {0};
        bool again = i >= ARRAY_LEN(rows);
        char data[sizeof old];
        assert_ok(disk_write(file, 0, old, sizeof old, NULL), NULL);
        assert_ok(disk_sync(file, NULL), NULL);
        assert_ok(disk_sync_dir(disk, "", NULL), NULL);
        disk_sim_set_faults(disk, &rows[i % ARRAY_LEN(rows)]);
        assert_ok(disk_write(file, 4096, new, sizeof new, NULL), NULL);
        if (rows[i % ARRAY_LEN(rows)].sync_error > 0) {
            assert_code(disk_sync(file, NULL), ERR_IO, NULL);
        }
        disk_sim_set_faults(disk, &none);
        assert_ok(disk_read_all(file, 0, data, sizeof data, NULL), NULL);
        assert_memory_equal(data + 4096, new, sizeof new);
        if (again) assert_ok(disk_write(file, 4096, new, sizeof new, NULL), NULL);
        assert_ok(disk_sync(file, NULL), NULL);
        assert_int_equal(disk_sim_pending(disk), 0);
        disk_sim_crash(disk);
        disk_close(TAKE(file));
        file = open_file(disk, "f");
        assert_ok(disk_read_all(file, 0, data, sizeof data, NULL), NULL);
        bool there = memcmp(data + 4096, new, sizeof new) == 0;
        bool others = memcmp(data, old, 4096) == 0 && memcmp(data + 8192, old, 8192) == 0;
        assert_int_equal(there, again);
        assert_int_equal(others, rows[i % ARRAY_LEN(rows)].misdirected == 0);
    }
}

static void test_capacity(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);
    AUTO(File, disk_close) file = open_file(disk, "f");
    AUTO(File, disk_close) other = open_file(disk, "g");
    const SimDiskFaults faults = {.capacity = 16384};
    static char data[8192];
    DiskSpace space;
    uint64_t size = 0;

    UNUSED(state);
    disk_sim_set_faults(disk, &faults);
    assert_ok(disk_write(file, 0, data, 5000, NULL), NULL);
    assert_ok(disk_space(disk, &space, NULL), NULL);
    assert_int_equal(space.total, 16384);
    assert_int_equal(space.free, 8192);
    assert_ok(disk_write(file, 0, data, 8192, NULL), NULL); /* takes nothing new */
    assert_ok(disk_write(other, 0, data, 4096, NULL), NULL);
    assert_code(disk_write(other, 4096, data, 8192, NULL), ERR_NO_SPACE, NULL);
    assert_ok(disk_size(other, &size, NULL), NULL);
    assert_int_equal(size, 8192); /* as far as it went */
    assert_code(disk_write(other, 8192, data, 1, NULL), ERR_NO_SPACE, NULL);
    assert_ok(disk_space(disk, &space, NULL), NULL);
    assert_int_equal(space.free, 0);
    assert_ok(disk_truncate(other, 4096, NULL), NULL);
    assert_ok(disk_space(disk, &space, NULL), NULL);
    assert_int_equal(space.free, 4096);
    assert_ok(disk_truncate(other, 8192, NULL), NULL);
    /* An unlinked file takes its space until its name is durably gone and nobody has it open. */
    disk_close(TAKE(file));
    assert_ok(disk_unlink(disk, "f", NULL), NULL);
    assert_ok(disk_sync_dir(disk, "", NULL), NULL);
    assert_ok(disk_space(disk, &space, NULL), NULL);
    assert_int_equal(space.free, 8192);
    assert_ok(disk_write(other, 8192, data, 8192, NULL), NULL);
    assert_ok(disk_sync(other, NULL), NULL);
    disk_sim_crash(disk);
    assert_ok(disk_space(disk, &space, NULL), NULL);
    assert_int_equal(space.free, 0);
    assert_ok(disk_unlink(disk, "g", NULL), NULL);
    assert_ok(disk_sync_dir(disk, "", NULL), NULL);
    disk_close(TAKE(other)); /* died in the crash: counts no more */
    assert_ok(disk_space(disk, &space, NULL), NULL);
    assert_int_equal(space.free, 16384);
}

static void test_flip(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);
    Err err;

    UNUSED(state);
    assert_ok(disk_create_durable(disk, "f", STR("abc"), &err), &err);
    uint64_t before = disk_sim_fingerprint(disk);
    assert_ok(disk_sim_flip(disk, "f", 8, &err), &err);
    assert_true(content_is(disk, "f", "acc"));
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_true(disk_sim_fingerprint(disk) != before);
    disk_sim_crash(disk);
    assert_true(content_is(disk, "f", "acc"));
    assert_ok(disk_sim_flip(disk, "f", 8, &err), &err);
    assert_true(disk_sim_fingerprint(disk) == before);
    assert_code(disk_sim_flip(disk, "f", 24, &err), ERR_INVALID, &err);
    assert_code(disk_sim_flip(disk, "", 0, &err), ERR_INVALID, &err);
    assert_code(disk_sim_flip(disk, "g", 0, &err), ERR_NOT_FOUND, &err);
}

/* The flipped bit is on the disk even where newer bytes wait in the cache. */
static void test_flip_below_pending(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);
    AUTO(File, disk_close) file = NULL;
    AUTO(Disk, disk_free) image = NULL;
    uint64_t none = 0;

    UNUSED(state);
    assert_ok(disk_create_durable(disk, "f", STR("abc"), NULL), NULL);
    file = open_file(disk, "f");
    assert_ok(disk_write(file, 2, "d", 1, NULL), NULL);
    assert_ok(disk_sim_flip(disk, "f", 0, NULL), NULL);
    assert_true(content_is(disk, "f", "`bd"));
    assert_ok(disk_sim_crash_image(disk, &none, 1, &image, NULL), NULL);
    assert_true(content_is(image, "f", "`bc"));
}

/* Bytes put over what is stored need no sync, and a copy of the disk does not see them. */
static void test_damage(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);
    AUTO(Disk, disk_free) copy = NULL;
    AUTO(Disk, disk_free) image = NULL;
    AUTO(File, disk_close) file = NULL;
    uint64_t none = 0;
    Err err;

    UNUSED(state);
    assert_ok(disk_create_durable(disk, "f", STR("abcdef"), &err), &err);
    copy = disk_sim_copy(disk, 1);
    assert_true(disk_sim_fingerprint(copy) == disk_sim_fingerprint(disk));
    assert_ok(disk_sim_damage(disk, "f", 2, STR("XY"), &err), &err);
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_true(content_is(disk, "f", "abXYef"));
    assert_true(content_is(copy, "f", "abcdef"));
    assert_code(disk_sim_damage(disk, "f", 5, STR("XY"), &err), ERR_INVALID, &err);
    assert_code(disk_sim_damage(disk, "f", UINT64_MAX, STR("XY"), &err), ERR_INVALID, &err);
    assert_code(disk_sim_damage(disk, "g", 0, STR("X"), &err), ERR_NOT_FOUND, &err);
    /* Below bytes that are not synced; and what is not on the disk yet can't be damaged there. */
    file = open_file(disk, "f");
    assert_ok(disk_write(file, 5, "zzz", 3, NULL), NULL);
    assert_ok(disk_sim_damage(disk, "f", 4, STR("PQRS"), &err), &err);
    assert_true(content_is(disk, "f", "abXYPQRS"));
    assert_ok(disk_sim_crash_image(disk, &none, 1, &image, NULL), NULL);
    assert_true(content_is(image, "f", "abXYPQ"));
}

/* Reads, writes and syncs stall, and only with a clock. */
static void test_stall(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);
    AUTO(File, disk_close) file = open_file(disk, "f");
    SimDiskFaults faults = {.stall = ALWAYS};
    ManualClock clock;
    char byte;

    UNUSED(state);
    clock_manual_init(&clock, 5000);
    uint64_t before_ns = clock.boot_ns;
    disk_sim_set_faults(disk, &faults);
    assert_ok(disk_write(file, 0, "a", 1, NULL), NULL);
    disk_sim_set_clock(disk, &clock);
    assert_ok(disk_write(file, 0, "b", 1, NULL), NULL);
    assert_int_equal(clock.wall_ms, 5000 + SIM_STALL_MS);
    assert_ok(disk_sync(file, NULL), NULL);
    assert_ok(disk_read_all(file, 0, &byte, 1, NULL), NULL);
    assert_int_equal(clock.wall_ms, 5000 + 3 * SIM_STALL_MS);
    assert_int_equal(clock.boot_ns - before_ns, 3000000000ULL);
    assert_int_equal(byte, 'b');
    disk_sim_set_clock(disk, NULL);
    assert_ok(disk_sync(file, NULL), NULL);
    assert_int_equal(clock.wall_ms, 5000 + 3 * SIM_STALL_MS);
}

static void test_no_directories_are_renamed(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);

    UNUSED(state);
    assert_ok(disk_mkdir(disk, "d", NULL), NULL);
    assert_code(disk_rename(disk, "d", "e", NULL), ERR_IO, NULL);
    assert_ok(disk_create_durable(disk, "f", STR(""), NULL), NULL);
    assert_code(disk_rename(disk, "f/x", "e", NULL), ERR_IO, NULL);
}

typedef struct {
    Disk *disk;
    const char *path;
    ErrCode code;
} Worker;

static ErrCode work(const Worker *worker)
{
    for (int i = 0; i < 200; i++) {
        uint64_t none = 0;
        char byte = 0;
        AUTO(Disk, disk_free) image = NULL;
        AUTO(File, disk_close) file = NULL;
        TRY(disk_replace_durable(worker->disk, worker->path, STR("x"), NULL));
        TRY(disk_open(worker->disk, worker->path, DISK_OPEN_READ, &file, NULL));
        TRY(disk_read_all(file, 0, &byte, 1, NULL));
        if (i % 20 != 0) continue;
        /* An image while the others go on, with few units: at most what three have pending. */
        TRY(disk_sim_crash_image(worker->disk, &none, 1, &image, NULL));
        TRY(disk_replace_durable(image, worker->path, STR("y"), NULL));
    }
    return OK;
}

static void run_worker(void *arg)
{
    Worker *worker = arg;

    worker->code = work(worker);
}

static void test_threads(void **state)
{
    AUTO(Disk, disk_free) disk = new_disk(1);
    Worker workers[3] = {{disk, "a", OK}, {disk, "b", OK}, {disk, "c", OK}};
    Thread threads[3];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        assert_ok(thread_start(&threads[i], "worker", run_worker, &workers[i], NULL), NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(workers); i++)
        thread_join(&threads[i]);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++)
        assert_int_equal(workers[i].code, OK);
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_int_equal(disk_sim_op_count(disk), 3 * 200 * 5);
}

/* After a sync that failed the cache may say what the device does not hold: reading past the cache
 * tells, for each sector that was not written again. */
static void test_direct_reads(void **state)
{
    UNUSED(state);
    const SimDiskFaults faults = {.sync_error = ALWAYS};
    const SimDiskFaults none = {0};
    bool differed = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        AUTO(Disk, disk_free) disk = new_disk(seed);
        AUTO(File, disk_close) file = open_file(disk, "f");
        AUTO(File, disk_close) direct = NULL;
        char cached[3] = "";
        char device[3] = "";
        assert_ok(disk_write(file, 510, "aaa", 3, NULL), NULL);
        assert_ok(disk_sync(file, NULL), NULL);
        assert_ok(disk_sync_dir(disk, "", NULL), NULL);
        assert_ok(disk_write(file, 510, "bbb", 3, NULL), NULL);
        disk_sim_set_faults(disk, &faults);
        assert_code(disk_sync(file, NULL), ERR_IO, NULL);
        disk_sim_set_faults(disk, &none);
        assert_ok(disk_open(disk, "f", DISK_OPEN_DIRECT, &direct, NULL), NULL);
        assert_ok(disk_read_all(file, 510, cached, sizeof cached, NULL), NULL);
        assert_ok(disk_read_all(direct, 510, device, sizeof device, NULL), NULL);
        assert_memory_equal(cached, "bbb", 3);
        differed = differed || memcmp(device, cached, 3) != 0;
        disk_close(TAKE(file));
        disk_close(TAKE(direct));
        disk_sim_crash(disk); /* what was read from the device is there */
        file = open_file(disk, "f");
        assert_ok(disk_read_all(file, 510, cached, sizeof cached, NULL), NULL);
        assert_memory_equal(cached, device, 3);
    }
    assert_true(differed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_direct_reads),
        cmocka_unit_test(test_stop_at_each_operation),
        cmocka_unit_test(test_kill_keeps_the_cache),
        cmocka_unit_test(test_durable_helpers_leave_nothing_pending),
        cmocka_unit_test(test_errors_by_chance),
        cmocka_unit_test(test_chance_and_seed),
        cmocka_unit_test(test_lies_show_after_a_crash),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_flip),
        cmocka_unit_test(test_flip_below_pending),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_no_directories_are_renamed),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
