/* What Disk promises, on both drivers: each test runs once with posix and once with sim. */
#include "base/fault.h"
#include "disk/posix.h"
#include "disk/sim.h"
#include "testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    Disk *disk;
    char *dir; /* of the posix driver */
} Fixture;

static int setup_posix(void **state)
{
    Fixture *fixture = mem_new(sizeof *fixture);

    fixture->dir = tmp_dir_new();
    assert_ok(disk_posix_open(fixture->dir, &fixture->disk, NULL), NULL);
    *state = fixture;
    return 0;
}

static int setup_sim(void **state)
{
    Fixture *fixture = mem_new(sizeof *fixture);

    assert_ok(disk_sim_new(1, &fixture->disk, NULL), NULL);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    Fixture *fixture = *state;

    fault_reset();
    disk_free(fixture->disk);
    tmp_dir_remove(fixture->dir);
    mem_free(fixture);
    return 0;
}

static Disk *disk_of(void **state)
{
    return ((Fixture *)*state)->disk;
}

static bool exists(Disk *disk, const char *path)
{
    DiskStat stat;

    assert_ok(disk_stat(disk, path, &stat, NULL), NULL);
    return stat.exists;
}

static void assert_content(Disk *disk, const char *path, const char *text)
{
    Err err;
    size_t len = 0;
    char *data = NULL;

    assert_ok(disk_read_file(disk, path, 1000, &data, &len, &err), &err);
    assert_str(str_of(data, len), text);
    assert_int_equal(data[len], '\0');
    mem_free(data);
}

static void test_paths(void **state)
{
    Disk *disk = disk_of(state);
    char long_path[DISK_PATH_MAX + 2];
    const char *bad[] = {"",       "/a",  "a/",    "a//b", ".",  "..",      "a/..",
                         "a/../b", "./a", "a/./b", "/",    "//", long_path, "../a"};

    memset(long_path, 'a', sizeof long_path);
    long_path[DISK_PATH_MAX + 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        File *file = NULL;
        DiskStat stat;
        bool is_root = bad[i][0] == '\0'; /* fine where a directory is meant */
        assert_code(disk_open(disk, bad[i], DISK_OPEN_ENSURE, &file, NULL), ERR_INVALID, NULL);
        assert_null(file);
        assert_code(disk_rename(disk, bad[i], "x", NULL), ERR_INVALID, NULL);
        assert_code(disk_rename(disk, "x", bad[i], NULL), ERR_INVALID, NULL);
        assert_code(disk_unlink(disk, bad[i], NULL), ERR_INVALID, NULL);
        assert_code(disk_mkdir(disk, bad[i], NULL), ERR_INVALID, NULL);
        assert_code(disk_mkdir_durable(disk, bad[i], NULL), ERR_INVALID, NULL);
        assert_code(disk_create_durable(disk, bad[i], STR("x"), NULL), ERR_INVALID, NULL);
        assert_code(disk_replace_durable(disk, bad[i], STR("x"), NULL), ERR_INVALID, NULL);
        assert_code(disk_lock(disk, bad[i], STR("x"), NULL, 0, NULL), ERR_INVALID, NULL);
        assert_code(disk_stat(disk, bad[i], &stat, NULL), is_root ? OK : ERR_INVALID, NULL);
        assert_code(disk_sync_dir(disk, bad[i], NULL), is_root ? OK : ERR_INVALID, NULL);
    }
    long_path[DISK_PATH_MAX] = '\0';
    assert_ok(disk_replace_durable(disk, "..a", STR("x"), NULL), NULL);
    assert_ok(disk_mkdir(disk, long_path, NULL), NULL);
}

static void test_open_modes(void **state)
{
    static const struct {
        DiskOpenMode mode;
        ErrCode absent;
        ErrCode present;
    } rows[] = {
        {DISK_OPEN_READ, ERR_NOT_FOUND, OK}, {DISK_OPEN_WRITE, ERR_NOT_FOUND, OK},
        {DISK_OPEN_CREATE, OK, ERR_EXISTS},  {DISK_OPEN_BODY, OK, ERR_EXISTS},
        {DISK_OPEN_ENSURE, OK, OK},
    };
    Disk *disk = disk_of(state);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err;
        char name[16];
        File *file = NULL;
        (void)snprintf(name, sizeof name, "f%zu", i); /* fits */
        assert_code(disk_open(disk, name, rows[i].mode, &file, &err), rows[i].absent, &err);
        disk_close(file);
        assert_int_equal(exists(disk, name), rows[i].absent == OK);
        assert_ok(disk_replace_durable(disk, name, STR("old"), &err), &err);
        file = NULL;
        assert_code(disk_open(disk, name, rows[i].mode, &file, &err), rows[i].present, &err);
        disk_close(file);
        assert_content(disk, name, "old");
        assert_code(disk_open(disk, "no/f", rows[i].mode, &file, &err), ERR_NOT_FOUND, &err);
    }
    disk_close(NULL);
}

static void test_read_and_write(void **state)
{
    Disk *disk = disk_of(state);
    AUTO(File, disk_close) file = NULL;
    char data[16];
    size_t got = 77;
    uint64_t size = 0;
    Err err;

    assert_ok(disk_open(disk, "f", DISK_OPEN_CREATE, &file, &err), &err);
    assert_string_equal(file->path, "f");
    assert_ok(disk_read(file, 0, data, sizeof data, &got, &err), &err);
    assert_int_equal(got, 0);
    assert_ok(disk_write(file, 5000, "end", 3, &err), &err);
    assert_ok(disk_write(file, 0, "begin", 5, &err), &err);
    assert_ok(disk_write(file, 1, NULL, 0, &err), &err);
    assert_ok(disk_sync(file, &err), &err);
    assert_ok(disk_size(file, &size, &err), &err);
    assert_int_equal(size, 5003);
    assert_ok(disk_read(file, 4998, data, sizeof data, &got, &err), &err);
    assert_int_equal(got, 5);
    assert_memory_equal(data, "\0\0end", 5);
    assert_ok(disk_read_all(file, 0, data, 5, &err), &err);
    assert_memory_equal(data, "begin", 5);
    assert_code(disk_read_all(file, 5000, data, 4, &err), ERR_END, &err);
    assert_non_null(strstr(err.message, "read f: 3 of 4 bytes at 5000"));
    assert_code(disk_write(file, UINT64_MAX - 1, "xx", 2, &err), ERR_INVALID, &err);
    assert_ok(disk_truncate(file, 2, &err), &err);
    assert_ok(disk_truncate(file, 4, &err), &err);
    assert_ok(disk_read(file, 0, data, sizeof data, &got, &err), &err);
    assert_int_equal(got, 4);
    assert_memory_equal(data, "be\0\0", 4);
    assert_code(disk_truncate(file, UINT64_MAX, &err), ERR_INVALID, &err);
}

static void test_read_only_is_not_written(void **state)
{
    Disk *disk = disk_of(state);
    AUTO(File, disk_close) file = NULL;
    Err err;

    assert_ok(disk_replace_durable(disk, "f", STR("old"), &err), &err);
    assert_ok(disk_open(disk, "f", DISK_OPEN_READ, &file, &err), &err);
    assert_code(disk_write(file, 0, "new", 3, &err), ERR_IO, &err);
    assert_content(disk, "f", "old");
}

static void test_rename_and_unlink(void **state)
{
    Disk *disk = disk_of(state);
    AUTO(File, disk_close) file = NULL;
    char data[3];
    Err err;

    assert_ok(disk_mkdir_durable(disk, "a/b", &err), &err);
    assert_ok(disk_create_durable(disk, "x", STR("xxx"), &err), &err);
    assert_ok(disk_create_durable(disk, "a/b/y", STR("yyy"), &err), &err);
    assert_ok(disk_open(disk, "a/b/y", DISK_OPEN_READ, &file, &err), &err);
    assert_ok(disk_rename_durable(disk, "x", "a/b/y", &err), &err);
    assert_false(exists(disk, "x"));
    assert_content(disk, "a/b/y", "xxx");
    assert_ok(disk_rename_durable(disk, "a/b/y", "a/b/z", &err), &err);
    assert_ok(disk_rename(disk, "a/b/z", "a/b/z", &err), &err);
    assert_content(disk, "a/b/z", "xxx");
    assert_code(disk_rename(disk, "x", "y", &err), ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.message, "rename x"));
    assert_code(disk_rename(disk, "a/b/z", "no/z", &err), ERR_NOT_FOUND, &err);
    assert_code(disk_rename(disk, "a/b/z", "a/b", &err), ERR_IO, &err);
    assert_ok(disk_unlink(disk, "a/b/z", &err), &err);
    assert_code(disk_unlink(disk, "a/b/z", &err), ERR_NOT_FOUND, &err);
    assert_code(disk_unlink(disk, "a/b", &err), ERR_IO, &err);
    /* What was replaced can still be read by who has it open. */
    assert_ok(disk_read_all(file, 0, data, 3, &err), &err);
    assert_memory_equal(data, "yyy", 3);
}

static void test_mkdir_and_stat(void **state)
{
    Disk *disk = disk_of(state);
    DiskStat root;
    DiskStat stat;
    Err err;

    assert_ok(disk_mkdir(disk, "a", &err), &err);
    assert_ok(disk_mkdir(disk, "a", &err), &err);
    assert_ok(disk_mkdir_durable(disk, "a/b/c", &err), &err);
    assert_ok(disk_mkdir_durable(disk, "a/b/c", &err), &err);
    assert_ok(disk_create_durable(disk, "a/f", STR("four"), &err), &err);
    assert_code(disk_mkdir(disk, "a/f", &err), ERR_EXISTS, &err);
    assert_code(disk_mkdir(disk, "no/b", &err), ERR_NOT_FOUND, &err);
    assert_code(disk_sync_dir(disk, "no", &err), ERR_NOT_FOUND, &err);
    assert_code(disk_sync_dir(disk, "a/f", &err), ERR_IO, &err);
    assert_ok(disk_stat(disk, "", &root, &err), &err);
    assert_true(root.exists && root.is_dir);
    assert_ok(disk_stat(disk, "a/b/c", &stat, &err), &err);
    assert_true(stat.exists && stat.is_dir);
    assert_ok(disk_stat(disk, "a/f", &stat, &err), &err);
    assert_true(stat.exists && !stat.is_dir);
    assert_int_equal(stat.size, 4);
    assert_int_equal(stat.device, root.device);
    assert_ok(disk_stat(disk, "a/g", &stat, &err), &err);
    assert_false(stat.exists);
    assert_code(disk_stat(disk, "a/f/g", &stat, &err), ERR_IO, &err);
}

typedef struct {
    Disk *disk;
    unsigned seen; /* bit 0 "f", bit 1 "d", bit 2 anything else */
    unsigned calls;
    ErrCode answer;
} Listing;

static ErrCode note_name(void *ctx, const char *name, bool is_dir, Err *err)
{
    Listing *listing = ctx;
    DiskStat stat;

    UNUSED(err);
    listing->calls++;
    if (strcmp(name, "f") == 0 && !is_dir) {
        listing->seen |= 1;
    } else if (strcmp(name, "d") == 0 && is_dir) {
        listing->seen |= 2;
    } else {
        listing->seen |= 4;
    }
    assert_ok(disk_stat(listing->disk, "a/f", &stat, NULL), NULL); /* may use the disk */
    return listing->answer;
}

static void test_list(void **state)
{
    Disk *disk = disk_of(state);
    Listing listing = {.disk = disk};
    Err err;

    assert_ok(disk_mkdir_durable(disk, "a/d/e", &err), &err);
    assert_ok(disk_create_durable(disk, "a/f", STR(""), &err), &err);
    assert_ok(disk_list(disk, "a", note_name, &listing, &err), &err);
    assert_int_equal(listing.seen, 3);
    assert_int_equal(listing.calls, 2);
    listing.answer = ERR_ABORTED;
    assert_code(disk_list(disk, "a", note_name, &listing, &err), ERR_ABORTED, NULL);
    assert_int_equal(listing.calls, 3);
    assert_code(disk_list(disk, "no", note_name, &listing, &err), ERR_NOT_FOUND, &err);
    assert_code(disk_list(disk, "a/f", note_name, &listing, &err), ERR_IO, &err);
    listing = (Listing){.disk = disk};
    assert_ok(disk_list(disk, "", note_name, &listing, &err), &err);
    assert_int_equal(listing.calls, 1);
}

static void test_durable_files(void **state)
{
    Disk *disk = disk_of(state);
    size_t len = 0;
    char *data = NULL;
    Err err;

    assert_ok(disk_create_durable(disk, "f", STR("one"), &err), &err);
    assert_code(disk_create_durable(disk, "f", STR("two"), &err), ERR_EXISTS, &err);
    assert_string_equal(err.message, "create f: File exists");
    assert_content(disk, "f", "one");
    /* A temporary of an earlier crash, longer than what is written now. */
    assert_ok(disk_create_durable(disk, "f.tmp", STR("left behind"), &err), &err);
    assert_ok(disk_replace_durable(disk, "f", STR("three"), &err), &err);
    assert_content(disk, "f", "three");
    assert_false(exists(disk, "f.tmp"));
    assert_code(disk_create_durable(disk, "no/f", STR("x"), &err), ERR_NOT_FOUND, &err);
    assert_code(disk_read_file(disk, "f", 4, &data, &len, &err), ERR_TOO_BIG, &err);
    assert_code(disk_read_file(disk, "no", 4, &data, &len, &err), ERR_NOT_FOUND, &err);
    assert_null(data);
    assert_ok(disk_create_durable(disk, "empty", STR(""), &err), &err);
    assert_content(disk, "empty", "");
    fault_arm("mem.take", ENOMEM, 1, false);
    assert_code(disk_read_file(disk, "f", 5, &data, &len, &err), ERR_NO_MEMORY, &err);
    assert_null(data);
}

static void test_space(void **state)
{
    DiskSpace space;

    assert_ok(disk_space(disk_of(state), &space, NULL), NULL);
    assert_true(space.total > 0);
    assert_true(space.free <= space.total);
}

static void test_lock(void **state)
{
    Disk *disk = disk_of(state);
    char holder[8] = "?";
    char wide[64];
    Err err;

    assert_ok(disk_lock(disk, "lock", STR("pid 123 of here"), holder, sizeof holder, &err), &err);
    assert_string_equal(holder, "?");
    assert_code(disk_lock(disk, "lock", STR("me"), holder, sizeof holder, &err), ERR_IN_USE, &err);
    assert_string_equal(holder, "pid 123");
    assert_string_equal(err.message, "lock lock: held by pid 123 of here");
    assert_code(disk_lock(disk, "lock", STR("me"), wide, sizeof wide, &err), ERR_IN_USE, &err);
    assert_string_equal(wide, "pid 123 of here");
    assert_code(disk_lock(disk, "lock", STR("me"), NULL, 0, &err), ERR_IN_USE, &err);
    assert_ok(disk_lock(disk, "lock2", STR("me"), NULL, 0, &err), &err);
    assert_code(disk_lock(disk, "no/lock", STR("me"), NULL, 0, &err), ERR_NOT_FOUND, &err);
}

/* Each call of Disk, as point number i of the table in test_faults(). */
static ErrCode call_at(Disk *disk, File *file, size_t i, Err *err)
{
    char data[4];
    size_t got = 0;
    uint64_t size = 0;
    File *opened = NULL;
    DiskStat stat;
    DiskSpace space;
    Listing listing = {.disk = disk};
    ErrCode code = OK;

    switch (i) {
    case 0:
        code = disk_open(disk, "f", DISK_OPEN_READ, &opened, err);
        disk_close(opened);
        return code;
    case 1: return disk_read(file, 0, data, sizeof data, &got, err);
    case 2: return disk_write(file, 0, "new", 3, err);
    case 3: return disk_sync(file, err);
    case 4: return disk_size(file, &size, err);
    case 5: return disk_truncate(file, 2, err);
    case 6: return disk_rename(disk, "f", "g", err);
    case 7: return disk_unlink(disk, "f", err);
    case 8: return disk_mkdir(disk, "d", err);
    case 9: return disk_sync_dir(disk, "", err);
    case 10: return disk_list(disk, "", note_name, &listing, err);
    case 11: return disk_stat(disk, "f", &stat, err);
    case 12: return disk_space(disk, &space, err);
    default: return disk_lock(disk, "l", STR("x"), NULL, 0, err);
    }
}

/* Each call fails as its point says, names itself and the path, and changes nothing. */
static void test_faults(void **state)
{
    static const char *const points[] = {
        "disk.open",     "disk.read",   "disk.write",  "disk.sync",  "disk.size",
        "disk.truncate", "disk.rename", "disk.unlink", "disk.mkdir", "disk.sync_dir",
        "disk.list",     "disk.stat",   "disk.space",  "disk.lock",
    };
    static const struct {
        int saved;
        ErrCode code;
    } errors[] = {
        {EIO, ERR_IO},           {ENOSPC, ERR_NO_SPACE}, {EDQUOT, ERR_NO_SPACE},
        {EMFILE, ERR_SYSTEM},    {ENFILE, ERR_SYSTEM},   {ENOMEM, ERR_SYSTEM},
        {ENOENT, ERR_NOT_FOUND}, {EEXIST, ERR_EXISTS},   {EROFS, ERR_IO},
    };
    Disk *disk = disk_of(state);
    AUTO(File, disk_close) file = NULL;
    Err err;

    assert_ok(disk_create_durable(disk, "f", STR("old"), &err), &err);
    assert_ok(disk_open(disk, "f", DISK_OPEN_WRITE, &file, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
            fault_arm(points[i], errors[k].saved, 1, false);
            assert_code(call_at(disk, file, i, &err), errors[k].code, &err);
            fault_reset();
            assert_int_equal(err.errno_value, errors[k].saved);
            assert_non_null(strstr(err.message, strerrordesc_np(errors[k].saved)));
            assert_content(disk, "f", "old");
            assert_false(exists(disk, "d") || exists(disk, "g"));
        }
    }
    fault_arm("disk.write", ENOSPC, 1, false);
    assert_code(disk_write(file, 0, "x", 1, &err), ERR_NO_SPACE, &err);
    assert_string_equal(err.message, "write f: No space left on device");
}

/* The durable helpers with the Nth disk call failing, for every N, once and from then on: OK means
 * the new content; an error leaves the old one, unless only the last sync failed. */
static void test_durable_helpers_with_faults(void **state)
{
    Disk *disk = disk_of(state);
    bool failed = true;

    for (uint64_t nth = 1; failed; nth++) {
        assert_true(nth < 100);
        failed = false;
        for (int sticky = 0; sticky <= 1; sticky++) {
            Err err;
            char *data = NULL;
            size_t len = 0;
            fault_reset();
            assert_ok(disk_replace_durable(disk, "f", STR("old"), &err), &err);
            fault_arm_any("disk.", EIO, nth, sticky != 0);
            ErrCode code = disk_replace_durable(disk, "f", STR("new"), &err);
            fault_reset();
            assert_ok(disk_read_file(disk, "f", 3, &data, &len, &err), &err);
            bool is_new = strcmp(data, "new") == 0;
            assert_true(is_new || strcmp(data, "old") == 0);
            if (code == OK) assert_true(is_new);
            mem_free(data);
            failed = failed || code != OK;
            fault_arm_any("disk.", EIO, nth, sticky != 0);
            ErrCode renamed = disk_rename_durable(disk, "f", "g", &err);
            fault_reset();
            assert_true(exists(disk, "f") != exists(disk, "g"));
            if (renamed == OK) assert_true(exists(disk, "g"));
            if (exists(disk, "g")) assert_ok(disk_rename(disk, "g", "f", &err), &err);
            failed = failed || renamed != OK;
        }
    }
}

static void test_planted_bugs_skip(void **state)
{
    Disk *disk = disk_of(state);
    AUTO(File, disk_close) file = NULL;
    Err err;

    assert_ok(disk_open(disk, "f", DISK_OPEN_CREATE, &file, &err), &err);
    fault_plant("skip-dir-sync", true);
    assert_ok(disk_sync_dir(disk, "not even there", &err), &err);
    fault_plant("skip-dir-sync", false);
    assert_code(disk_sync_dir(disk, "not even there", &err), ERR_NOT_FOUND, &err);
    fault_plant("skip-sync", true);
    assert_ok(disk_sync(file, &err), &err);
}

#define BOTH(test)                                                                                 \
    {"posix " #test, test, setup_posix, teardown, NULL},                                           \
    {                                                                                              \
        "sim " #test, test, setup_sim, teardown, NULL                                              \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_paths),
        BOTH(test_open_modes),
        BOTH(test_read_and_write),
        BOTH(test_read_only_is_not_written),
        BOTH(test_rename_and_unlink),
        BOTH(test_mkdir_and_stat),
        BOTH(test_list),
        BOTH(test_durable_files),
        BOTH(test_space),
        BOTH(test_lock),
        BOTH(test_faults),
        BOTH(test_durable_helpers_with_faults),
        BOTH(test_planted_bugs_skip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
