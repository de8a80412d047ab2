/* The locks of the Vfs, between three handles as SQLite would have them. */
#include "index/vfs_priv.h"

#include "disk/sim.h"
#include "testing.h"

#define HANDLES 3

typedef struct {
    Disk *disk;
    Vfs *vfs;
    VfsFile files[HANDLES];
} Box;

static int setup(void **state)
{
    Err err = {0};
    Box *box = mem_new(sizeof *box);
    assert_ok(disk_sim_new(1, &box->disk, &err), &err);
    assert_ok(vfs_new(box->disk, &box->vfs, &err), &err);
    for (int i = 0; i < HANDLES; i++) {
        box->files[i] = (VfsFile){.vfs = box->vfs, .node = &box->vfs->main};
        box->files[i].owner = &box->files[i];
    }
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    Box *box = *state;
    vfs_free(box->vfs);
    disk_free(box->disk);
    mem_free(box);
    return 0;
}

typedef enum { LOCK, UNLOCK, RESERVED_BY_ANY } Op;

static void test_file_locks(void **state)
{
    Box *box = *state;
    static const struct {
        Op op;
        int handle;
        int level;
        int result;
    } rows[] = {
        {LOCK, 0, SQLITE_LOCK_SHARED, SQLITE_OK},
        {LOCK, 1, SQLITE_LOCK_SHARED, SQLITE_OK},
        {RESERVED_BY_ANY, 0, 0, 0},
        {LOCK, 0, SQLITE_LOCK_RESERVED, SQLITE_OK},
        {RESERVED_BY_ANY, 1, 0, 1},
        {LOCK, 1, SQLITE_LOCK_RESERVED, SQLITE_BUSY},
        {LOCK, 0, SQLITE_LOCK_EXCLUSIVE, SQLITE_BUSY}, /* 1 reads; now pending */
        {LOCK, 2, SQLITE_LOCK_SHARED, SQLITE_BUSY},
        {UNLOCK, 1, SQLITE_LOCK_NONE, SQLITE_OK},
        {LOCK, 0, SQLITE_LOCK_EXCLUSIVE, SQLITE_OK},
        {LOCK, 2, SQLITE_LOCK_SHARED, SQLITE_BUSY},
        {UNLOCK, 0, SQLITE_LOCK_SHARED, SQLITE_OK},
        {LOCK, 2, SQLITE_LOCK_SHARED, SQLITE_OK},
        {LOCK, 2, SQLITE_LOCK_EXCLUSIVE, SQLITE_BUSY}, /* as a connection that closes would */
        {UNLOCK, 2, SQLITE_LOCK_NONE, SQLITE_OK},
        {LOCK, 0, SQLITE_LOCK_EXCLUSIVE, SQLITE_OK}, /* the last one */
        {UNLOCK, 0, SQLITE_LOCK_NONE, SQLITE_OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sqlite3_file *file = &box->files[rows[i].handle].base;
        int got = -1;
        if (rows[i].op == LOCK) got = vfs_lock(file, rows[i].level);
        if (rows[i].op == UNLOCK) got = vfs_unlock(file, rows[i].level);
        if (rows[i].op == RESERVED_BY_ANY) assert_int_equal(vfs_check_reserved(file, &got), 0);
        if (got != rows[i].result) fail_msg("row %zu: %d", i, got);
    }
}

static void test_shm_locks(void **state)
{
    Box *box = *state;
    enum {
        SHARE = SQLITE_SHM_LOCK | SQLITE_SHM_SHARED,
        EXCLUDE = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE,
        UNSHARE = SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED,
        UNEXCLUDE = SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE,
    };
    static const struct {
        int handle, offset, n, flags, result;
    } rows[] = {
        {0, 3, 1, SHARE, SQLITE_OK},     {1, 3, 1, SHARE, SQLITE_OK},
        {2, 3, 1, EXCLUDE, SQLITE_BUSY}, {2, 2, 3, EXCLUDE, SQLITE_BUSY},
        {1, 4, 1, SHARE, SQLITE_OK}, /* the BUSY above took nothing */
        {0, 3, 1, UNSHARE, SQLITE_OK},   {2, 3, 1, EXCLUDE, SQLITE_BUSY},
        {1, 3, 1, UNSHARE, SQLITE_OK},   {2, 3, 1, EXCLUDE, SQLITE_OK},
        {0, 3, 1, SHARE, SQLITE_BUSY},   {0, 0, 3, EXCLUDE, SQLITE_OK},
        {2, 3, 1, UNEXCLUDE, SQLITE_OK}, {0, 3, 1, SHARE, SQLITE_OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int got = vfs_shm_lock(&box->files[rows[i].handle].base, rows[i].offset, rows[i].n,
                               rows[i].flags);
        if (got != rows[i].result) fail_msg("row %zu: %d", i, got);
    }
    /* Unmapping gives everything back. */
    for (int i = 0; i < HANDLES; i++)
        vfs_shm_unmap(&box->files[i].base, 0);
    assert_int_equal(vfs_shm_lock(&box->files[1].base, 0, SQLITE_SHM_NLOCK, EXCLUDE), SQLITE_OK);
    vfs_shm_unmap(&box->files[1].base, 1);
}

static void test_shm_map(void **state)
{
    Box *box = *state;
    sqlite3_file *file = &box->files[0].base;
    void volatile *first = NULL;
    void volatile *again = NULL;
    assert_int_equal(vfs_shm_map(file, 1, 32768, 0, &first), SQLITE_OK);
    assert_null(first); /* not there, and not asked to be made */
    assert_int_equal(vfs_shm_map(file, 1, 32768, 1, &first), SQLITE_OK);
    assert_non_null(first);
    assert_int_equal(vfs_shm_map(&box->files[1].base, 1, 32768, 0, &again), SQLITE_OK);
    assert_ptr_equal(first, again);
    assert_int_equal(vfs_shm_map(file, VFS_SHM_REGIONS_MAX, 32768, 1, &again),
                     SQLITE_IOERR_SHMSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_locks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shm_locks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shm_map, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
