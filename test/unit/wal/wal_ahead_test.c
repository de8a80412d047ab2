/* The log verified by several threads gives what one thread gives, sound or damaged. */
#include "testing.h"
#include "wal_kit.h"

#include "disk/sim.h"
#include <stdio.h>
#include <string.h>

#define RECORDS 120

/* A log of some twenty segments on a simulated disk, its writer gone. */
static Disk *log_made(Kit *kit)
{
    Err err = {0};
    Disk *disk = NULL;
    assert_ok(disk_sim_new(1, &disk, &err), &err);
    kit_init(kit, disk, 1);
    assert_ok(kit_open(kit, &err), &err);
    for (unsigned i = 0; i < RECORDS; i++) {
        assert_ok(kit_append(kit, (ShardId)(i % 3), i % 5 == 0 ? 30000 : i * 8, &err), &err);
        if (i % 4 == 3) assert_ok(kit_sync(kit, &err), &err);
    }
    assert_ok(kit_sync(kit, &err), &err);
    assert_ok(kit_rotate(kit, &err), &err);
    wal_free(TAKE(kit->wal));
    return disk;
}

/* Opens a copy of the log with so many threads; what it gave is in *kit. */
static ErrCode open_copy(Disk *disk, unsigned threads, Kit *kit, Disk **copy, Err *err)
{
    uint64_t keep = 0;
    assert_int_equal(disk_sim_pending(disk), 0);
    assert_ok(disk_sim_crash_image(disk, &keep, 1, copy, err), err);
    kit_init(kit, *copy, 1);
    kit->options.incarnation = 100;
    kit->options.verify_threads = threads;
    return kit_open(kit, err);
}

static void assert_same(const Kit *a, const Kit *b)
{
    assert_int_equal(a->replayed.count, b->replayed.count);
    for (size_t i = 0; i < a->replayed.count; i++) {
        const KitRecord *left = &a->replayed.items[i];
        const KitRecord *right = &b->replayed.items[i];
        assert_int_equal(wal_pos_cmp(left->pos, right->pos), 0);
        assert_true(sha256_eq(&left->digest, &right->digest));
    }
    assert_int_equal(a->opened.segments, b->opened.segments);
    assert_int_equal(a->opened.records, b->opened.records);
    assert_int_equal(a->opened.bytes, b->opened.bytes);
    assert_int_equal(wal_pos_cmp(a->opened.end, b->opened.end), 0);
    ReplicaState left;
    ReplicaState right;
    size_t at = 0;
    size_t to = 0;
    while (wal_replica_next(a->wal, &at, &left)) {
        assert_true(wal_replica_next(b->wal, &to, &right));
        assert_int_equal(left.last_lsn, right.last_lsn);
        assert_true(sha256_eq(&left.last_hash, &right.last_hash));
    }
    assert_false(wal_replica_next(b->wal, &to, &right));
}

static void test_sound(void **state)
{
    UNUSED(state);
    Err err = {0};
    Kit writer;
    Kit one;
    Disk *disk = log_made(&writer);
    Disk *copy_one = NULL;
    assert_ok(open_copy(disk, 1, &one, &copy_one, &err), &err);
    assert_int_equal(one.replayed.count, RECORDS);
    assert_in_range(one.opened.segments, 15, 40);
    for (unsigned threads = 2; threads <= WAL_THREADS_MAX; threads++) {
        Kit many;
        Disk *copy = NULL;
        assert_ok(open_copy(disk, threads, &many, &copy, &err), &err);
        assert_same(&one, &many);
        kit_deinit(&many);
        disk_free(copy);
    }
    kit_deinit(&one);
    disk_free(copy_one);
    kit_deinit(&writer);
    disk_free(disk);
}

/* One bit anywhere in a closed segment: the same words, from one thread and from three. */
static void test_damage(void **state)
{
    UNUSED(state);
    Err err = {0};
    Kit writer;
    Disk *disk = log_made(&writer);
    unsigned refused = 0;
    for (unsigned i = 0; i < 60; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "wal.segments/segment_%u.wal", 1 + i % 9); /* fits */
        uint64_t bit = 4096 * 8 + i * 7919U % (50000 * 8);
        assert_ok(disk_sim_flip(disk, path, bit, &err), &err);
        Err errs[2] = {{0}, {0}};
        ErrCode codes[2];
        for (unsigned k = 0; k < 2; k++) {
            Kit kit;
            Disk *copy = NULL;
            codes[k] = open_copy(disk, k == 0 ? 1 : 3, &kit, &copy, &errs[k]);
            kit_deinit(&kit);
            disk_free(copy);
        }
        assert_int_equal(codes[0], codes[1]);
        if (codes[0] != OK) assert_string_equal(err_text(&errs[0]), err_text(&errs[1]));
        refused += codes[0] != OK;
        assert_ok(disk_sim_flip(disk, path, bit, &err), &err);
    }
    assert_in_range(refused, 30, 60); /* the rest hit bytes behind a segment's end, or padding */
    kit_deinit(&writer);
    disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
