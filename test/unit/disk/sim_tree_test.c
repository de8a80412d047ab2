/* The simulated disk's tables of names against a plain list, and its order of pending operations;
 * which images these lead to is tested in sim_crash_test.c. */
#include "disk/sim_priv.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

#define NAMES 40

/* Two tables that begin as one, changed by chance; each always has the names that the list has, in
 * order, and an inode has as many references as there are names for it. */
static void test_tables(void **state)
{
    SimDisk *sim = sim_disk_new(1);
    SimInode *inodes[2] = {sim_inode_new(sim, false), sim_inode_new(sim, false)};
    SimInode *dir = sim_inode_new(sim, true);
    SimTable **tables[2] = {&dir->dir_durable, &dir->dir_cached};
    SimInode *model[2][NAMES] = {{NULL}};
    Rng rng;

    UNUSED(state);
    rng_init(&rng, 1);
    for (int round = 0; round < 2000; round++) {
        char name[8];
        size_t t = (size_t)rng_below(&rng, 2);
        size_t n = (size_t)rng_below(&rng, NAMES);
        SimInode *inode = inodes[rng_below(&rng, 2)];
        (void)snprintf(name, sizeof name, "n%zu", n); /* fits */
        if (rng_below(&rng, 2) == 0) {
            sim_table_set(sim, tables[t], str_from_cstr(name), inode);
            model[t][n] = inode;
        } else {
            sim_table_remove(sim, tables[t], str_from_cstr(name));
            model[t][n] = NULL;
        }
        size_t named[2] = {0, 0};
        for (size_t i = 0; i < 2; i++) {
            const SimTable *table = *tables[i];
            for (size_t k = 0; k < NAMES; k++) {
                (void)snprintf(name, sizeof name, "n%zu", k); /* fits */
                assert_ptr_equal(sim_table_find(table, str_from_cstr(name)), model[i][k]);
                if (model[i][k] != NULL) named[model[i][k] == inodes[0] ? 0 : 1]++;
            }
            for (size_t k = 1; k < table->count; k++) {
                assert_true(strcmp(table->entries[k - 1].name, table->entries[k].name) < 0);
            }
        }
        if (*tables[0] != *tables[1]) {
            for (size_t i = 0; i < 2; i++)
                assert_int_equal(inodes[i]->refs, 1 + named[i]);
        }
    }
    sim_inode_unref(sim, dir);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(inodes[i]->refs, 1);
        sim_inode_unref(sim, inodes[i]);
    }
    disk_free(&sim->disk);
}

static void test_stuck_bits(void **state)
{
    SimDisk *sim = sim_disk_new(1);
    SimInode *inode = sim_inode_new(sim, false);

    UNUSED(state);
    sim_mark_stuck(inode, 1000, false);
    assert_null(inode->stuck);
    sim_mark_stuck(inode, 70, true);
    sim_mark_stuck(inode, 0, true);
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(sim_is_stuck(inode, i), i == 0 || i == 70);
    }
    sim_mark_stuck(inode, 70, false);
    assert_false(sim_is_stuck(inode, 70));
    sim_inode_unref(sim, inode);
    disk_free(&sim->disk);
}

/* A chain of operations on names that touch each other, over two directories: a sync of the second
 * directory commits what ends there and all that it rests on, and leaves what has nothing to do
 * with it. */
static void test_sync_takes_what_it_rests_on(void **state)
{
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(File, disk_close) file = NULL;
    AUTO(File, disk_close) other = NULL;

    UNUSED(state);
    assert_ok(disk_sim_new(1, &disk, NULL), NULL);
    const SimDisk *sim = sim_of(disk);
    assert_ok(disk_mkdir_durable(disk, "a", NULL), NULL);
    assert_ok(disk_mkdir_durable(disk, "b", NULL), NULL);
    assert_int_equal(sim->op_len, 0);
    assert_ok(disk_open(disk, "a/f", DISK_OPEN_CREATE, &file, NULL), NULL);
    assert_ok(disk_open(disk, "a/other", DISK_OPEN_CREATE, &other, NULL), NULL);
    assert_ok(disk_rename(disk, "a/f", "a/g", NULL), NULL);
    assert_ok(disk_rename(disk, "a/g", "b/f", NULL), NULL);
    assert_ok(disk_sync_dir(disk, "b", NULL), NULL);
    assert_int_equal(sim->op_len, 4); /* of a rename both directories are to be synced */
    assert_ok(disk_rename(disk, "b/f", "b/g", NULL), NULL);
    assert_ok(disk_sync_dir(disk, "b", NULL), NULL);
    assert_int_equal(sim->op_len, 1); /* a/other */
    assert_int_equal(disk_sim_pending(disk), 1);
    assert_int_equal(sim->ops[0].kind, SIM_SET);
    assert_string_equal(sim->ops[0].to_name, "other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_stuck_bits),
        cmocka_unit_test(test_sync_takes_what_it_rests_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
