#include "testing.h"
#include "wal_kit.h"

#include "disk/posix.h"
#include <stdio.h>

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
    assert_int_equal(kit.opened.records, 0);
    for (unsigned i = 0; i < 200; i++) {
        assert_ok(kit_append(&kit, (ShardId)(i % 3), i * 37 % 5000, &err), &err);
        if (i % 5 == 0) assert_ok(wal_sync(kit.wal, &err), &err);
        if (i == 70) assert_ok(kit_append(&kit, 4, 300000, &err), &err);
    }
    assert_ok(wal_close(kit.wal, &err), &err);
    KitRecords appended = kit.appended;
    kit.appended = (KitRecords){0};
    assert_ok(kit_open(&kit, &err), &err);
    assert_int_equal(kit.replayed.count, appended.count);
    assert_true(kit_records_prefix(&appended, &kit.replayed));
    assert_false(kit.opened.torn);
    printf("segments %ju\n", (uintmax_t)kit.opened.segments);
    kit_records_deinit(&appended);
    kit_deinit(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
