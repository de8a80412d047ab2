/* What only the posix driver has: the host's directories, links, descriptors and partial calls. */
#include "disk/posix.h"

#include "base/fault.h"
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_makes_its_directory(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) deep = tmp_path(dir, "a//b/c/");
    AUTO(Disk, disk_free) first = NULL;
    AUTO(Disk, disk_free) second = NULL;
    struct stat st;
    Err err;

    UNUSED(state);
    assert_ok(disk_posix_open(deep, &first, &err), &err);
    assert_ok(disk_posix_open(deep, &second, &err), &err);
    assert_ok(disk_create_durable(first, "f", STR("x"), &err), &err);
    AUTO(char, mem_free) file = tmp_path(dir, "a/b/c/f");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    AUTO(char, mem_free) made = tmp_path(dir, "a/b/c");
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    AUTO(Disk, disk_free) refused = NULL;
    assert_code(disk_posix_open(file, &refused, &err), ERR_CONFIG, &err);
    assert_code(disk_posix_open("", &refused, &err), ERR_CONFIG, &err);
    AUTO(char, mem_free) below_file = tmp_path(file, "d");
    assert_code(disk_posix_open(below_file, &refused, &err), ERR_IO, &err);
    assert_null(refused);
    disk_free(NULL);
}

static void test_relative_directory(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    char before[4096];
    struct stat st;
    Err err;

    UNUSED(state);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(dir), 0);
    ErrCode code = disk_posix_open("new", &disk, &err);
    assert_int_equal(chdir(before), 0);
    assert_ok(code, &err);
    AUTO(char, mem_free) made = tmp_path(dir, "new");
    assert_int_equal(stat(made, &st), 0);
}

/* A link may not lead out of the root. */
static void test_follows_no_links(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) link = tmp_path(dir, "link");
    AUTO(Disk, disk_free) disk = NULL;
    File *file = NULL;
    DiskStat stat;
    Err err;

    UNUSED(state);
    assert_int_equal(symlink("/etc/hostname", link), 0);
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_code(disk_open(disk, "link", DISK_OPEN_READ, &file, &err), ERR_IO, &err);
    assert_code(disk_open(disk, "link", DISK_OPEN_ENSURE, &file, &err), ERR_IO, &err);
    assert_code(disk_lock(disk, "link", STR("x"), NULL, 0, &err), ERR_IO, &err);
    assert_code(disk_mkdir(disk, "link", &err), ERR_EXISTS, &err);
    assert_ok(disk_stat(disk, "link", &stat, &err), &err);
    assert_true(stat.exists && !stat.is_dir);
}

/* Who only looks makes no directory and no file, and writes nothing into the lock. */
static void test_only_looking(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) absent = tmp_path(dir, "absent");
    AUTO(Disk, disk_free) owner = NULL;
    AUTO(Disk, disk_free) reader = NULL;
    char holder[32];
    char *text = NULL;
    size_t len = 0;
    DiskStat stat;
    Err err;

    UNUSED(state);
    assert_code(disk_posix_open_existing(absent, &reader, &err), ERR_NOT_FOUND, &err);
    assert_ok(disk_posix_open_existing(dir, &reader, &err), &err);
    assert_code(disk_lock(reader, "lock", STR(""), NULL, 0, &err), ERR_NOT_FOUND, &err);
    assert_ok(disk_stat(reader, "lock", &stat, &err), &err);
    assert_false(stat.exists);
    assert_ok(disk_posix_open(dir, &owner, &err), &err);
    assert_ok(disk_lock(owner, "lock", STR("owner"), NULL, 0, &err), &err);
    assert_code(disk_lock(reader, "lock", STR(""), holder, sizeof holder, &err), ERR_IN_USE, &err);
    assert_string_equal(holder, "owner");
    disk_free(TAKE(owner));
    assert_ok(disk_lock(reader, "lock", STR(""), NULL, 0, &err), &err);
    assert_ok(disk_read_file(reader, "lock", 100, &text, &len, &err), &err);
    assert_string_equal(text, "owner");
    mem_free(text);
    assert_ok(disk_posix_open(dir, &owner, &err), &err);
    assert_code(disk_lock(owner, "lock", STR("new"), NULL, 0, &err), ERR_IN_USE, &err);
}

/* Each system call moves half of what is asked: still all of it arrives. */
static void test_short_calls(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(File, disk_close) file = NULL;
    uint8_t out[10000];
    uint8_t in[10000];
    FaultStat stats[FAULT_POINTS_MAX];
    uint64_t fired = 0;
    Err err;

    UNUSED(state);
    random_bytes(1, out, sizeof out);
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_ok(disk_open(disk, "f", DISK_OPEN_CREATE, &file, &err), &err);
    fault_arm("disk.write.short", EINTR, 1, true);
    fault_arm("disk.read.short", EINTR, 1, true);
    assert_ok(disk_write(file, 3, out, sizeof out, &err), &err);
    assert_ok(disk_read_all(file, 3, in, sizeof in, &err), &err);
    size_t count = fault_stats(stats, ARRAY_LEN(stats));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(stats[i].name + strlen(stats[i].name) - 5, "short") == 0) {
            fired += stats[i].fired;
        }
    }
    fault_reset();
    assert_true(fired > 20);
    assert_memory_equal(in, out, sizeof in);
}

static bool is_direct(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    assert_true(flags >= 0);
    return (flags & O_DIRECT) != 0;
}

/* Whole blocks go past the cache, all else through it, in any order, also when a write is short:
 * the bytes are the same. */
static void test_body(void **state)
{
    enum { BLOCK = DISK_BODY_ALIGN, BLOCKS = 64 };
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    Err err;
    void *room = NULL;
    static uint8_t in[BLOCKS * BLOCK + 100];

    UNUSED(state);
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_ok(mem_take(sizeof in + BLOCK, &room, &err), &err);
    uint8_t *out = (uint8_t *)ALIGN_UP((uintptr_t)room, (uintptr_t)BLOCK);
    random_bytes(1, out, sizeof in);
    for (unsigned shorts = 0; shorts < 2; shorts++) {
        AUTO(File, disk_close) file = NULL;
        assert_ok(disk_open(disk, shorts ? "g" : "f", DISK_OPEN_BODY, &file, &err), &err);
        int fd = disk_fd(file);
        if (shorts) fault_arm("disk.write.short", EINTR, 1, true);
        for (size_t block = 0; block < BLOCKS; block += 8) {
            assert_ok(disk_write(file, block * BLOCK, out + block * BLOCK, 8 * BLOCK, &err), &err);
            if (!shorts) assert_true(is_direct(fd));
        }
        assert_ok(disk_write(file, BLOCKS * BLOCK, out + BLOCKS * BLOCK, 100, &err), &err);
        assert_false(is_direct(fd));
        /* Memory or offset between blocks. */
        assert_ok(disk_write(file, BLOCK, out + BLOCK + 8, BLOCK, &err), &err);
        assert_false(is_direct(fd));
        assert_ok(disk_write(file, BLOCK + 8, out + BLOCK + 8, BLOCK, &err), &err);
        assert_ok(disk_write(file, BLOCK, out + BLOCK, 2 * BLOCK, &err), &err);
        fault_reset();
        assert_ok(disk_read_all(file, 0, in, sizeof in, &err), &err); /* with O_DIRECT on or off */
        assert_memory_equal(in, out, sizeof in);
        assert_ok(disk_sync(file, &err), &err);
        AUTO(File, disk_close) other = NULL;
        assert_ok(disk_open(disk, shorts ? "g" : "f", DISK_OPEN_READ, &other, &err), &err);
        memset(in, 0, sizeof in);
        assert_ok(disk_read_all(other, 0, in, sizeof in, &err), &err);
        assert_memory_equal(in, out, sizeof in);
    }
    mem_free(room);
}

static void test_out_of_descriptors(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(Disk, disk_free) other = NULL;
    struct rlimit before;
    File *file = NULL;
    Err err;

    UNUSED(state);
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    ErrCode opened = disk_open(disk, "f", DISK_OPEN_ENSURE, &file, NULL);
    ErrCode listed = disk_list(disk, "", NULL, NULL, NULL);
    ErrCode synced = disk_sync_dir(disk, "", NULL);
    ErrCode locked = disk_lock(disk, "l", STR("x"), NULL, 0, NULL);
    ErrCode rooted = disk_posix_open(dir, &other, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(opened, ERR_SYSTEM);
    assert_int_equal(listed, ERR_SYSTEM);
    assert_int_equal(synced, ERR_SYSTEM);
    assert_int_equal(locked, ERR_SYSTEM);
    assert_int_equal(rooted, ERR_SYSTEM);
}

/* /dev/full is the one file of a host that has no space without being root. */
static void test_no_space(void **state)
{
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(File, disk_close) file = NULL;
    Err err;

    UNUSED(state);
    assert_ok(disk_posix_open("/dev", &disk, &err), &err);
    assert_ok(disk_open(disk, "full", DISK_OPEN_WRITE, &file, &err), &err);
    assert_code(disk_write(file, 0, "x", 1, &err), ERR_NO_SPACE, &err);
    assert_string_equal(err.message, "write full: No space left on device");
}

static void test_descriptor_for_sendfile(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(File, disk_close) file = NULL;
    char data[3];

    UNUSED(state);
    assert_ok(disk_posix_open(dir, &disk, NULL), NULL);
    assert_ok(disk_create_durable(disk, "f", STR("abc"), NULL), NULL);
    assert_ok(disk_open(disk, "f", DISK_OPEN_READ, &file, NULL), NULL);
    assert_int_equal(pread(disk_fd(file), data, 3, 0), 3);
    assert_memory_equal(data, "abc", 3);
    assert_true((fcntl(disk_fd(file), F_GETFD) & FD_CLOEXEC) != 0);
}

/* A lock belongs to its Disk: another one is refused until that one is freed, or its process ends
 * in any way. */
static void test_lock_of_another_process(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    int ready[2];
    char byte = 0;
    char holder[32];
    Err err;

    UNUSED(state);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        Disk *theirs = NULL;
        bool good = disk_posix_open(dir, &theirs, NULL) == OK &&
                    disk_lock(theirs, "lock", STR("the child"), NULL, 0, NULL) == OK;
        if (good && write(ready[1], "x", 1) == 1) (void)pause(); /* until it is killed */
        _exit(1);
    }
    assert_true(child > 0);
    assert_int_equal(close(ready[1]), 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(close(ready[0]), 0);
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_code(disk_lock(disk, "lock", STR("me"), holder, sizeof holder, &err), ERR_IN_USE, &err);
    assert_string_equal(holder, "the child");
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_ok(disk_lock(disk, "lock", STR("me"), holder, sizeof holder, &err), &err);
    disk_free(TAKE(disk));
    assert_ok(disk_posix_open(dir, &disk, &err), &err);
    assert_ok(disk_lock(disk, "lock", STR("I"), holder, sizeof holder, &err), &err);
    AUTO(Disk, disk_free) other = NULL;
    assert_ok(disk_posix_open(dir, &other, &err), &err);
    assert_code(disk_lock(other, "lock", STR("x"), holder, sizeof holder, &err), ERR_IN_USE, &err);
    assert_string_equal(holder, "I"); /* and nothing of the longer text before */
}

/* The number that the next descriptor would have. */
static int next_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    return fd;
}

static ErrCode refuse(void *ctx, const char *name, bool is_dir, Err *err)
{
    UNUSED(ctx);
    UNUSED(name);
    UNUSED(is_dir);
    UNUSED(err);
    return ERR_ABORTED;
}

static void test_leaks_no_descriptors(void **state)
{
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(Disk, disk_free) second = NULL;
    File *file = NULL;

    UNUSED(state);
    assert_ok(disk_posix_open(dir, &disk, NULL), NULL);
    assert_ok(disk_posix_open(dir, &second, NULL), NULL);
    assert_ok(disk_lock(disk, "l", STR("x"), NULL, 0, NULL), NULL);
    int before = next_descriptor();
    assert_code(disk_lock(second, "l", STR("x"), NULL, 0, NULL), ERR_IN_USE, NULL);
    assert_code(disk_list(disk, "", refuse, NULL, NULL), ERR_ABORTED, NULL);
    assert_ok(disk_sync_dir(disk, "", NULL), NULL);
    assert_ok(disk_replace_durable(disk, "f", STR("x"), NULL), NULL);
    assert_ok(disk_open(disk, "f", DISK_OPEN_READ, &file, NULL), NULL);
    disk_close(file);
    assert_code(disk_sync_dir(disk, "f", NULL), ERR_IO, NULL);
    assert_int_equal(next_descriptor(), before);
    int held = next_descriptor();
    disk_free(TAKE(second));
    assert_true(next_descriptor() < held);
}

/* Past the cache, at any offset and length, as through it. */
static void test_direct_reads(void **state)
{
    static const size_t offsets[] = {0, 1, 4095, 4096, 5000, 262143, 299999, 300000, 400000};
    static const size_t lens[] = {1, 8, 4096, 70000, 300000};
    const size_t size = 300000;
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(File, disk_close) file = NULL;
    AUTO(void, mem_free) want = mem_new(size);
    AUTO(void, mem_free) got = mem_new(size);

    UNUSED(state);
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)want)[i] = (uint8_t)(i * 7 + i / 4096);
    assert_ok(disk_posix_open(dir, &disk, NULL), NULL);
    assert_ok(disk_create_durable(disk, "f", str_of(want, size), NULL), NULL);
    assert_code(disk_open(disk, "g", DISK_OPEN_DIRECT, &file, NULL), ERR_NOT_FOUND, NULL);
    assert_ok(disk_open(disk, "f", DISK_OPEN_DIRECT, &file, NULL), NULL);
    for (size_t i = 0; i < ARRAY_LEN(offsets) * ARRAY_LEN(lens); i++) {
        size_t at = offsets[i % ARRAY_LEN(offsets)];
        size_t len = lens[i / ARRAY_LEN(offsets)];
        size_t n = 0;
        assert_ok(disk_read(file, at, got, len, &n, NULL), NULL);
        assert_int_equal(n, at >= size ? 0 : MIN(len, size - at));
        if (n > 0) assert_memory_equal(got, (uint8_t *)want + at, n);
    }
    assert_code(disk_write(file, 0, "x", 1, NULL), ERR_IO, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_makes_its_directory),
        cmocka_unit_test(test_relative_directory),
        cmocka_unit_test(test_follows_no_links),
        cmocka_unit_test(test_only_looking),
        cmocka_unit_test(test_short_calls),
        cmocka_unit_test(test_direct_reads),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_descriptor_for_sendfile),
        cmocka_unit_test(test_lock_of_another_process),
        cmocka_unit_test(test_leaks_no_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
