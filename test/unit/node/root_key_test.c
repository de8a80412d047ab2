/* The root key: made once, durably, kept, refused when it is something else. */
#include "testing.h"

#include <string.h>

#include "base/fault.h"
#include "disk/sim.h"
#include "node/root_key.h"

static Disk *new_disk(uint64_t seed)
{
    Disk *disk = NULL;
    Err err;
    assert_ok(disk_sim_new(seed, &disk, &err), &err);
    return disk;
}

static void test_made_and_kept(void **state)
{
    UNUSED(state);
    AUTO(Disk, disk_free) disk = new_disk(1);
    AccessKey first;
    AccessKey second;
    bool made = false;
    Err err = {0};
    assert_ok(root_key_open(&disk, 1, &first, &made, &err), &err);
    assert_true(made);
    disk_sim_crash(disk);
    assert_ok(root_key_open(&disk, 1, &second, &made, &err), &err);
    assert_false(made);
    assert_string_equal(first.id, second.id);
    assert_string_equal(first.secret, second.secret);
    AUTO(char, mem_free) text = NULL;
    size_t len = 0;
    assert_ok(disk_read_file(disk, ROOT_KEY_FILE, 1024, &text, &len, &err), &err);
    assert_int_equal(len, KEY_TEXT_LEN + 1);
    assert_int_equal(text[KEY_TEXT_LEN], '\n');
}

/* Power fails before each operation of the first start: the next one has a key, and keeps it. */
static void test_crashes(void **state)
{
    UNUSED(state);
    unsigned crashed = 0;
    for (uint64_t stop = 0;; stop++) {
        AUTO(Disk, disk_free) disk = new_disk(stop);
        AccessKey first;
        AccessKey second;
        AccessKey third;
        bool made = false;
        Err err = {0};
        disk_sim_stop_at(disk, stop);
        ErrCode code = root_key_open(&disk, 1, &first, &made, &err);
        disk_sim_crash(disk);
        assert_ok(root_key_open(&disk, 1, &second, &made, &err), &err);
        if (code == OK) assert_string_equal(first.secret, second.secret);
        disk_sim_crash(disk);
        assert_ok(root_key_open(&disk, 1, &third, &made, &err), &err);
        assert_false(made);
        assert_string_equal(second.secret, third.secret);
        if (code == OK) break;
        crashed++;
    }
    assert_true(crashed >= 4); /* create, write, sync, rename, sync of the directory */
}

static void test_other_contents(void **state)
{
    UNUSED(state);
    static const char *const contents[] = {"", "\n", "root", "HFAAAAAAAAAAAAAAAAAA.", "a\nb\n"};
    for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
        AUTO(Disk, disk_free) disk = new_disk(i);
        AccessKey key = {.id = "untouched"};
        bool made = false;
        Err err = {0};
        Str content = str_from_cstr(contents[i]);
        assert_ok(disk_create_durable(disk, ROOT_KEY_FILE, content, &err), &err);
        assert_code(root_key_open(&disk, 1, &key, &made, &err), ERR_CONFIG, &err);
        assert_string_equal(key.id, "untouched");
        assert_non_null(strstr(err_text(&err), ROOT_KEY_FILE));
    }
}

/* A person may have written it, without a newline at its end. */
static void test_by_hand(void **state)
{
    UNUSED(state);
    AUTO(Disk, disk_free) disk = new_disk(5);
    char text[KEY_TEXT_LEN + 1];
    uint8_t random[KEY_RANDOM_LEN] = {1, 2, 3};
    AccessKey key;
    AccessKey found;
    bool made = true;
    Err err = {0};
    key_generate(random, &key);
    key_text(&key, text);
    Str content = str_of(text, KEY_TEXT_LEN);
    assert_ok(disk_create_durable(disk, ROOT_KEY_FILE, content, &err), &err);
    assert_ok(root_key_open(&disk, 1, &found, &made, &err), &err);
    assert_false(made);
    assert_string_equal(found.secret, key.secret);
}

static void test_failures(void **state)
{
    UNUSED(state);
    static const char *const points[] = {"rng.secret", "disk.stat", "disk.open", "disk.write",
                                         "disk.sync"};
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        AUTO(Disk, disk_free) disk = new_disk(i);
        AccessKey key;
        bool made = false;
        Err err = {0};
        fault_arm(points[i], 5, 1, false);
        if (root_key_open(&disk, 1, &key, &made, &err) == OK) fail_msg("%s", points[i]);
        fault_reset();
        assert_ok(root_key_open(&disk, 1, &key, &made, &err), &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_and_kept),  cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_other_contents), cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
