/* Pages of a live index.db read again: what is damaged is named, and what the log will put right,
 * or what is only being written, is not called damage. */
#include "index/vfs.h"

#include "disk/sim.h"
#include "index/index.h"
#include "index/page_sum.h"
#include "index_kit.h"
#include "testing.h"
#include <string.h>

typedef struct {
    Disk *disk;
    Kit kit;
    Index *index;
    uint64_t told; /* pages that the index told of; the last of them */
    uint64_t told_page;
} Box;

static void on_damage(void *ctx, const char *path, uint64_t offset, const Err *err)
{
    Box *box = ctx;
    assert_string_equal(path, VFS_MAIN_NAME);
    assert_int_not_equal(err->code, OK);
    box->told++;
    box->told_page = offset / PAGE_SIZE_BYTES + 1;
}

static int setup(void **state)
{
    Err err = {0};
    Box *box = mem_new(sizeof *box);
    bool created = false;
    kit_init(&box->kit, 5);
    assert_ok(disk_sim_new(1, &box->disk, &err), &err);
    IndexOptions options = {.damaged = on_damage, .damaged_ctx = box};
    assert_ok(index_open(box->disk, &options, &box->index, &created, &err), &err);
    for (int i = 0; i < 40; i++)
        assert_ok(kit_batch(&box->kit, box->index, &err), &err);
    assert_ok(index_checkpoint(box->index, &err), &err);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    Box *box = *state;
    index_free(box->index);
    disk_free(box->disk);
    mem_free(box);
    return 0;
}

static uint64_t page_count(Box *box)
{
    IndexStats stats;
    index_stats(box->index, &stats);
    return stats.file_bytes / PAGE_SIZE_BYTES;
}

/* Reads all in pieces of `count`; the first page that looks bad, 0: none. */
static uint64_t look(Box *box, size_t count)
{
    uint64_t from = 1;
    for (;;) {
        IndexLooked looked;
        Err err = {0};
        assert_ok(index_look_pages(box->index, from, count, &looked, &err), &err);
        assert_true(looked.next > from || looked.ended);
        if (looked.bad != 0) {
            assert_int_equal(looked.next, looked.bad + 1);
            return looked.bad;
        }
        if (looked.ended) {
            assert_int_equal(looked.next, page_count(box) + 1);
            return 0;
        }
        from = looked.next;
    }
}

static void test_whole(void **state)
{
    Box *box = *state;
    Err err = {0};
    assert_true(page_count(box) > 20);
    for (size_t count = 1; count < 200; count += 33)
        assert_int_equal(look(box, count), 0);
    for (uint64_t page = 1; page <= page_count(box) + 2; page++)
        assert_ok(index_judge_page(box->index, page, &err), &err);
    assert_int_equal(box->told, 0);
}

static void test_flipped(void **state)
{
    Box *box = *state;
    Rng rng;
    rng_init(&rng, 9);
    for (unsigned n = 0; n < 300; n++) {
        Err err = {0};
        uint64_t bit = rng_below(&rng, page_count(box) * PAGE_SIZE_BYTES * 8);
        uint64_t page = bit / 8 / PAGE_SIZE_BYTES + 1;
        assert_ok(disk_sim_flip(box->disk, VFS_MAIN_NAME, bit, &err), &err);
        assert_int_equal(look(box, 1 + n % 70), page);
        assert_code(index_judge_page(box->index, page, &err), ERR_CORRUPT, NULL);
        assert_int_equal(box->told, n + 1);
        assert_int_equal(box->told_page, page);
        assert_ok(disk_sim_flip(box->disk, VFS_MAIN_NAME, bit, &err), &err);
    }
    assert_int_equal(look(box, 64), 0);
}

/* The log holds newer pages for all that is bad: the checkpoint of the judgement puts them right.
 */
static void test_newer_in_the_log(void **state)
{
    Box *box = *state;
    Err err = {0};
    AUTO(IndexReader, index_reader_free) pin = NULL;
    IndexCursor *cursor = NULL;
    unsigned mended = 0;
    assert_ok(index_reader_open(box->index, &pin, &err), &err);
    assert_ok(index_scan(pin, STR(""), &cursor, &err), &err);
    for (int i = 0; i < 20; i++)
        assert_ok(kit_batch(&box->kit, box->index, &err), &err);
    for (uint64_t page = 2; page <= page_count(box); page++)
        assert_ok(disk_sim_flip(box->disk, VFS_MAIN_NAME, page * PAGE_SIZE_BYTES * 8 - 700, &err),
                  &err);
    uint64_t page = look(box, 1);
    assert_int_not_equal(page, 0);
    assert_code(index_judge_page(box->index, page, &err), ERR_BUSY, NULL); /* the cursor's doing */
    assert_int_equal(box->told, 0);
    index_cursor_close(cursor);
    for (page = 2; page <= page_count(box); page++) {
        err_clear(&err);
        ErrCode code = index_judge_page(box->index, page, &err);
        assert_true(code == OK || code == ERR_CORRUPT);
        mended += code == OK;
    }
    assert_true(mended > 0 && box->told > 0); /* rows that changed, and rows that did not */
    assert_int_equal(mended + box->told, page_count(box) - 1);
}

/* A page that the disk does not give looks as bad as one that is wrong. */
static void test_unreadable(void **state)
{
    Box *box = *state;
    Err err = {0};
    SimDiskFaults faults = {.read_error = 1000000};
    IndexLooked looked;
    disk_sim_set_faults(box->disk, &faults);
    assert_ok(index_look_pages(box->index, 3, 10, &looked, &err), &err);
    assert_int_equal(looked.bad, 3);
    assert_code(index_judge_page(box->index, 3, &err), ERR_CORRUPT, NULL);
    assert_int_equal(box->told_page, 3);
    faults = (SimDiskFaults){0};
    disk_sim_set_faults(box->disk, &faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer_in_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
