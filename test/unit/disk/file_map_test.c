#include "disk/file_map.h"

#include "base/crc.h"
#include "base/fault.h"
#include "base/guard.h"
#include "disk/posix.h"
#include "disk/sim.h"
#include "testing.h"

#include <errno.h>

#define LEN ((size_t)300000) /* no multiple of a page */

typedef struct {
    char *dir;
    Disk *disk;
    File *file;
    uint8_t *bytes;
} Kit;

static int open_kit(void **state)
{
    Err err;
    Kit *kit = mem_new(sizeof *kit);
    kit->dir = tmp_dir_new();
    kit->bytes = mem_new(LEN);
    random_bytes(1, kit->bytes, LEN);
    assert_ok(disk_posix_open(kit->dir, &kit->disk, &err), &err);
    assert_ok(disk_open(kit->disk, "f", DISK_OPEN_CREATE, &kit->file, &err), &err);
    assert_ok(disk_write(kit->file, 0, kit->bytes, LEN, &err), &err);
    *state = kit;
    return 0;
}

static int close_kit(void **state)
{
    Kit *kit = *state;
    disk_close(kit->file);
    disk_free(kit->disk);
    tmp_dir_remove(kit->dir);
    mem_free(kit->bytes);
    mem_free(kit);
    return 0;
}

static void shows_the_file(void **state)
{
    Kit *kit = *state;
    FileMap map = {0};
    uint32_t crc = 0;
    Err err;
    file_map_close(&map);
    assert_ok(file_map_open(kit->file, 65536, LEN - 65536, &map, &err), &err);
    assert_true(file_map_resident(&map)); /* just written */
    assert_true(guard_crc32c(map.data, map.len, &crc));
    assert_int_equal(crc, crc32c(kit->bytes + 65536, LEN - 65536));
    file_map_close(&map);
    assert_null(map.data);
    file_map_close(&map);
}

static void a_file_cut_short_is_no_crash(void **state)
{
    Kit *kit = *state;
    FileMap map = {0};
    uint32_t crc = 0;
    Err err;
    guard_install(); /* cmocka has taken the signal for this test */
    assert_ok(file_map_open(kit->file, 0, LEN, &map, &err), &err);
    assert_true(guard_crc32c(map.data, map.len, &crc));
    assert_ok(disk_truncate(kit->file, 65536, &err), &err);
    assert_false(guard_crc32c(map.data, map.len, &crc));
    assert_false(file_map_resident(&map));
    assert_true(guard_crc32c(map.data, 65536, &crc));
    file_map_close(&map);
}

static void stays_within_its_budget(void **state)
{
    Kit *kit = *state;
    enum { MAPS = FILE_MAP_BUDGET_MAX / (4 * MIB) };
    FileMap maps[MAPS + 1] = {{0}};
    size_t count = 0;
    Err err;
    size_t budget = file_map_budget();
    assert_true(budget <= FILE_MAP_BUDGET_MAX);
    if (budget < 8 * MIB) skip(); /* the machine lets this user lock nothing */
    assert_false(file_map_scarce());
    ErrCode code = OK;
    while (count <= MAPS && code == OK) {
        code = file_map_open(kit->file, 0, 4 * MIB, &maps[count], &err);
        if (code == OK) count++;
        assert_int_equal(file_map_scarce(), count * 4 * MIB > budget / 2);
    }
    assert_int_equal(code, ERR_BUSY);
    assert_int_equal(count, budget / (4 * MIB));
    file_map_close(&maps[0]);
    assert_ok(file_map_open(kit->file, 0, 4 * MIB, &maps[0], &err), &err);
    for (size_t i = 0; i < count; i++)
        file_map_close(&maps[i]);
    assert_false(file_map_scarce());
}

static void refuses_what_can_not_be_mapped(void **state)
{
    Kit *kit = *state;
    FileMap map = {0};
    Err err;
    fault_arm("disk.map", ENOMEM, 1, false);
    assert_code(file_map_open(kit->file, 0, LEN, &map, &err), ERR_BUSY, &err);
    fault_reset();
    assert_code(file_map_open(kit->file, 1, LEN, &map, &err), ERR_BUSY, &err);
    assert_false(file_map_scarce());
    AUTO(Disk, disk_free) sim = NULL;
    assert_ok(disk_sim_new(1, &sim, &err), &err);
    AUTO(File, disk_close) file = NULL;
    assert_ok(disk_open(sim, "f", DISK_OPEN_CREATE, &file, &err), &err);
    assert_code(file_map_open(file, 0, LEN, &map, &err), ERR_BUSY, &err);
    assert_null(map.data);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shows_the_file, open_kit, close_kit),
        cmocka_unit_test_setup_teardown(a_file_cut_short_is_no_crash, open_kit, close_kit),
        cmocka_unit_test_setup_teardown(stays_within_its_budget, open_kit, close_kit),
        cmocka_unit_test_setup_teardown(refuses_what_can_not_be_mapped, open_kit, close_kit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
