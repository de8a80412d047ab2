/* Damage on disk: every flipped bit is found, or lies where nobody reads and then
 * changes nothing. */
#include "index/vfs.h"

#include "disk/sim.h"
#include "index/index.h"
#include "index/page_sum.h"
#include "index_kit.h"
#include "testing.h"
#include <stdio.h>
#include <string.h>

#define FLIPS 1200

typedef struct {
    Disk *disk;
    Kit kit;
    uint64_t main_bytes;
} Box;

static Index *open_index(Disk *disk)
{
    Err err = {0};
    Index *index = NULL;
    bool created = false;
    assert_ok(index_open(disk, NULL, &index, &created, &err), &err);
    return index;
}

/* A closed index with some hundred rows, overflow pages and free pages. */
static int setup(void **state)
{
    Err err = {0};
    Box *box = mem_new(sizeof *box);
    kit_init(&box->kit, 5);
    assert_ok(disk_sim_new(1, &box->disk, &err), &err);
    Index *index = open_index(box->disk);
    for (int i = 0; i < 40; i++)
        assert_ok(kit_batch(&box->kit, index, &err), &err);
    index_free(index);
    DiskStat stat;
    assert_ok(disk_stat(box->disk, VFS_MAIN_NAME, &stat, &err), &err);
    box->main_bytes = stat.size;
    assert_ok(disk_stat(box->disk, VFS_WAL_NAME, &stat, &err), &err);
    assert_int_equal(stat.size, 0);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    Box *box = *state;
    disk_free(box->disk);
    mem_free(box);
    return 0;
}

static ErrCode check_all(Box *box, Index *index, Err *err)
{
    TRY(index_check(index, err));
    AUTO(IndexReader, index_reader_free) reader = NULL;
    TRY(index_reader_open(index, &reader, err));
    return kit_compare(&box->kit, reader, err);
}

static ErrCode read_all(Box *box, Index *index, Err *err)
{
    AUTO(IndexReader, index_reader_free) reader = NULL;
    TRY(index_reader_open(index, &reader, err));
    return kit_compare(&box->kit, reader, err);
}

static void test_flip_closed(void **state)
{
    Box *box = *state;
    Rng rng;
    rng_init(&rng, 9);
    unsigned unused = 0;
    for (unsigned n = 0; n < FLIPS; n++) {
        Err err = {0};
        uint64_t bit = rng_below(&rng, box->main_bytes * 8);
        char page[32];
        snprintf(page, sizeof page, "page %u", (unsigned)(bit / 8 / PAGE_SIZE_BYTES) + 1);
        assert_ok(disk_sim_flip(box->disk, VFS_MAIN_NAME, bit, &err), &err);
        Index *index = NULL;
        bool created = false;
        ErrCode code = index_open(box->disk, NULL, &index, &created, &err);
        if (code == OK) {
            ErrCode read = read_all(box, index, &err);
            if (read != OK && read != ERR_CORRUPT) fail_msg("%s: %s", page, err_text(&err));
            code = index_check(index, &err);
            if (code == OK) unused++;
        }
        /* A page that was never written has no checksum, and nobody reads it. */
        if (code != OK && code != ERR_CORRUPT) fail_msg("%s: %s", page, err_text(&err));
        if (code != OK && strstr(err_text(&err), page) == NULL) fail_msg("%s", err_text(&err));
        index_free(index);
        assert_ok(disk_sim_flip(box->disk, VFS_MAIN_NAME, bit, &err), &err);
    }
    assert_int_equal(unused, 0);
    Err err = {0};
    Index *index = open_index(box->disk);
    assert_ok(check_all(box, index, &err), &err);
    index_free(index);
}

/* A page of the log that goes bad while the process runs. */
static void test_flip_log(void **state)
{
    Box *box = *state;
    Err err = {0};
    Rng rng;
    rng_init(&rng, 10);
    Index *index = open_index(box->disk);
    IndexStats stats;
    IndexReader *pin = NULL;
    IndexCursor *cursor = NULL;
    assert_ok(index_reader_open(index, &pin, &err), &err);
    assert_ok(index_scan(pin, STR(""), &cursor, &err), &err);
    while (index_stats(index, &stats), stats.wal_bytes < 200000) {
        assert_ok(kit_batch(&box->kit, index, &err), &err);
    }
    unsigned found = 0;
    for (unsigned n = 0; n < 200; n++) {
        uint64_t bit = rng_below(&rng, stats.wal_bytes * 8);
        assert_ok(disk_sim_flip(box->disk, VFS_WAL_NAME, bit, &err), &err);
        ErrCode code = read_all(box, index, &err);
        if (code != OK && code != ERR_CORRUPT) fail_msg("%s", err_text(&err));
        if (code == ERR_CORRUPT) found++;
        assert_ok(disk_sim_flip(box->disk, VFS_WAL_NAME, bit, &err), &err);
    }
    assert_true(found > 20); /* the others hit frames that newer ones have replaced */
    assert_ok(check_all(box, index, &err), &err);
    index_cursor_close(cursor);
    index_reader_free(pin);
    index_free(index);
}

static void test_misdirected(void **state)
{
    Box *box = *state;
    Err err = {0};
    uint8_t page[PAGE_SIZE_BYTES];
    File *file = NULL;
    assert_ok(disk_open(box->disk, VFS_MAIN_NAME, DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_read_all(file, 2 * PAGE_SIZE_BYTES, page, sizeof page, &err), &err);
    assert_ok(disk_write(file, 3 * PAGE_SIZE_BYTES, page, sizeof page, &err), &err);
    disk_close(file);
    Index *index = open_index(box->disk);
    assert_code(check_all(box, index, &err), ERR_CORRUPT, &err);
    assert_non_null(strstr(err_text(&err), "page 4 fails its checksum (it says page 3)"));
    index_free(index);
}

static void test_cut_off(void **state)
{
    Box *box = *state;
    Err err = {0};
    for (uint64_t size = box->main_bytes - 1;; size = size / 3 * 2) {
        File *file = NULL;
        assert_ok(disk_open(box->disk, VFS_MAIN_NAME, DISK_OPEN_WRITE, &file, &err), &err);
        assert_ok(disk_truncate(file, size, &err), &err);
        disk_close(file);
        Index *index = NULL;
        bool created = false;
        ErrCode code = index_open(box->disk, NULL, &index, &created, &err);
        if (code == OK) code = check_all(box, index, &err);
        assert_int_equal(code, ERR_CORRUPT);
        index_free(index);
        if (size == 0) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flip_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flip_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_misdirected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
