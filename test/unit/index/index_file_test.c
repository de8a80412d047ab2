/* Making and recognizing index.db. */
#include "index/index_file.h"

#include "base/fault.h"
#include "disk/sim.h"
#include "index/index.h"
#include "index/page_sum.h"
#include "testing.h"
#include <errno.h>
#include <string.h>

static int setup(void **state)
{
    Err err = {0};
    Disk *disk = NULL;
    assert_ok(disk_sim_new(1, &disk, &err), &err);
    *state = disk;
    return 0;
}

static int teardown(void **state)
{
    disk_free(*state);
    return 0;
}

static ErrCode open_close(Disk *disk, bool *created, Err *err)
{
    Index *index = NULL;
    TRY(index_open(disk, NULL, &index, created, err));
    index_free(index);
    return OK;
}

/* Changes bytes of page 1; its checksum is made right if so wished. */
static void patch(Disk *disk, size_t at, Str bytes, bool sum)
{
    Err err = {0};
    uint8_t page[PAGE_SIZE_BYTES];
    File *file = NULL;
    assert_ok(disk_open(disk, VFS_MAIN_NAME, DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_read_all(file, 0, page, sizeof page, &err), &err);
    memcpy(page + at, bytes.ptr, bytes.len);
    if (sum) page_sum_set(page, 1);
    assert_ok(disk_write(file, 0, page, sizeof page, &err), &err);
    disk_close(file);
}

static void test_headers(void **state)
{
    UNUSED(state);
    static const struct {
        size_t at;
        Str bytes;
        bool sum;
        ErrCode code;
    } rows[] = {
        {60, STR_INIT("\0\0\0\1"), true, OK},                 /* as it is */
        {60, STR_INIT("\0\0\0\2"), true, ERR_FORMAT_VERSION}, /* the next release's */
        {60, STR_INIT("\0\0\0\2"), false, ERR_CORRUPT},       /* only damaged */
        {60, STR_INIT("\0\0\0\0"), true, ERR_CORRUPT},
        {68, STR_INIT("abcd"), true, ERR_CORRUPT},
        {0, STR_INIT("SQLite format 4"), true, ERR_CORRUPT},
        {16, STR_INIT("\x20\x00"), true, ERR_CORRUPT}, /* page size 8192 */
        {18, STR_INIT("\1\1"), true, ERR_CORRUPT},     /* not in WAL mode */
        {20, STR_INIT("\0"), true, ERR_CORRUPT},       /* nothing reserved */
        {4000, STR_INIT("nonsense"), false, ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        bool created = false;
        Disk *disk = NULL;
        assert_ok(disk_sim_new(1, &disk, &err), &err);
        assert_ok(open_close(disk, &created, &err), &err);
        patch(disk, rows[i].at, rows[i].bytes, rows[i].sum);
        ErrCode code = open_close(disk, &created, &err);
        if (code != rows[i].code) fail_msg("row %zu: %s", i, err_text(&err));
        disk_free(disk);
    }
}

/* An SQLite file with another table. */
static void test_foreign_schema(void **state)
{
    Disk *disk = *state;
    Err err = {0};
    bool created = false;
    assert_ok(open_close(disk, &created, &err), &err);
    uint8_t page[PAGE_SIZE_BYTES];
    File *file = NULL;
    assert_ok(disk_open(disk, VFS_MAIN_NAME, DISK_OPEN_WRITE, &file, &err), &err);
    assert_ok(disk_read_all(file, 0, page, sizeof page, &err), &err);
    uint8_t *sql = memmem(page, sizeof page, "TABLE kv(k", 10);
    assert_non_null(sql);
    memcpy(sql, "TABLE kv(x", 10);
    page_sum_set(page, 1);
    assert_ok(disk_write(file, 0, page, sizeof page, &err), &err);
    disk_close(file);
    assert_code(open_close(disk, &created, &err), ERR_CORRUPT, &err);
}

static void test_empty_file(void **state)
{
    Disk *disk = *state;
    Err err = {0};
    bool created = false;
    assert_ok(disk_create_durable(disk, VFS_MAIN_NAME, str_of(NULL, 0), &err), &err);
    assert_code(open_close(disk, &created, &err), ERR_CORRUPT, &err);
}

/* On a full disk the log of a killed process stays as it is, also where there is no room for the
 * name of a copy. */
static void test_full_disk(void **state)
{
    Disk *disk = *state;
    Err err = {0};
    Index *index = NULL;
    bool created = false;
    assert_ok(index_open(disk, NULL, &index, &created, &err), &err);
    assert_ok(index_begin(index, &err), &err);
    assert_ok(index_put(index, STR("a"), STR("1"), &err), &err);
    assert_ok(index_commit(index, &err), &err);
    disk_sim_kill(disk);
    index_free(index);
    fault_arm("disk.open", ENOSPC, 3, false); /* index.db, its log, the copy */
    assert_ok(index_open(disk, NULL, &index, &created, &err), &err);
    fault_reset();
    index_free(index);
}

/* A log without its index.db is not replayed into a new one. */
static void test_stale_log(void **state)
{
    Disk *disk = *state;
    Err err = {0};
    Index *index = NULL;
    bool created = false;
    bool found = true;
    Str value;
    assert_ok(index_open(disk, NULL, &index, &created, &err), &err);
    assert_ok(index_begin(index, &err), &err);
    assert_ok(index_put(index, STR("a"), STR("1"), &err), &err);
    assert_ok(index_commit(index, &err), &err);
    disk_sim_kill(disk);
    index_free(index);
    assert_ok(disk_unlink(disk, VFS_MAIN_NAME, &err), &err);
    assert_ok(index_open(disk, NULL, &index, &created, &err), &err);
    assert_true(created);
    assert_ok(index_begin(index, &err), &err);
    assert_ok(index_batch_get(index, STR("a"), &value, &found, &err), &err);
    assert_false(found);
    index_free(index);
}

/* The same seed gives the same bytes, so a simulated run can be repeated. */
static void test_deterministic(void **state)
{
    UNUSED(state);
    uint64_t prints[2] = {0};
    for (int i = 0; i < 2; i++) {
        Err err = {0};
        Disk *disk = NULL;
        Index *index = NULL;
        bool created = false;
        index_seed_randomness(7);
        assert_ok(disk_sim_new(1, &disk, &err), &err);
        assert_ok(index_open(disk, NULL, &index, &created, &err), &err);
        assert_ok(index_begin(index, &err), &err);
        assert_ok(index_put(index, STR("a"), STR("1"), &err), &err);
        assert_ok(index_commit(index, &err), &err);
        disk_sim_kill(disk); /* with its log */
        index_free(index);
        assert_ok(disk_sync_dir(disk, "", &err), &err);
        File *file = NULL;
        assert_ok(disk_open(disk, VFS_WAL_NAME, DISK_OPEN_WRITE, &file, &err), &err);
        assert_ok(disk_sync(file, &err), &err);
        disk_close(file);
        prints[i] = disk_sim_fingerprint(disk);
        disk_free(disk);
    }
    assert_true(prints[0] == prints[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test_setup_teardown(test_foreign_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_log, setup, teardown),
        cmocka_unit_test(test_deterministic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
