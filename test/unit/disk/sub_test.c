/* A directory of a Disk as a Disk. */
#include "testing.h"

#include "disk/sim.h"
#include "disk/sub.h"

static void test_paths(void **state)
{
    UNUSED(state);
    Disk *disk = NULL;
    Disk *sub = NULL;
    Err err = {0};
    DiskStat stat;
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    assert_ok(disk_sim_new(1, &disk, &err), &err);
    assert_ok(disk_mkdir_durable(disk, "in", &err), &err);
    assert_ok(disk_sub_open(disk, "in", &sub, &err), &err);
    assert_ok(disk_create_durable(sub, "file", STR("text"), &err), &err);
    assert_ok(disk_stat(disk, "in/file", &stat, &err), &err);
    assert_true(stat.exists);
    disk_sim_crash(disk);
    assert_ok(disk_rename_durable(sub, "file", "other", &err), &err);
    assert_ok(disk_read_file(disk, "in/other", 100, &text, &len, &err), &err);
    assert_string_equal(text, "text");
    assert_ok(disk_unlink(sub, "other", &err), &err);
    assert_ok(disk_stat(sub, "other", &stat, &err), &err);
    assert_false(stat.exists);
    assert_ok(disk_mkdir_durable(sub, "a/b", &err), &err);
    assert_ok(disk_stat(disk, "in/a/b", &stat, &err), &err);
    assert_true(stat.exists && stat.is_dir);
    assert_code(disk_stat(sub, "../in", &stat, &err), ERR_INVALID, NULL);
    disk_free(sub);
    disk_free(disk);
}

static void test_dirs_that_are_none(void **state)
{
    UNUSED(state);
    Disk *disk = NULL;
    Disk *sub = NULL;
    char longer[SUB_DIR_MAX + 2];
    Err err = {0};
    for (size_t i = 0; i < sizeof longer; i++)
        longer[i] = i + 1 < sizeof longer ? 'x' : '\0';
    assert_ok(disk_sim_new(1, &disk, &err), &err);
    assert_code(disk_sub_open(disk, "", &sub, &err), ERR_INVALID, NULL);
    assert_code(disk_sub_open(disk, longer, &sub, &err), ERR_INVALID, NULL);
    disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_dirs_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
