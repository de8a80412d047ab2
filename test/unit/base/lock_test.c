#include "testing.h"

#include "base/lock.h"
#include "base/thread.h"

typedef struct {
    Lock a, b, same;
    RwLock rw;
    uint64_t count;    /* under a */
    uint64_t rw_count; /* under rw */
} Locks;

static Locks locks;

static int setup(void **state)
{
    UNUSED(state);
    locks.count = 0;
    locks.rw_count = 0;
    lock_init(&locks.a, LOCK_RANK_STORE);
    lock_init(&locks.b, LOCK_RANK_QUEUE);
    lock_init(&locks.same, LOCK_RANK_QUEUE);
    rwlock_init(&locks.rw, LOCK_RANK_TABLE);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    lock_deinit(&locks.a);
    lock_deinit(&locks.b);
    lock_deinit(&locks.same);
    rwlock_deinit(&locks.rw);
    return 0;
}

static void test_rising(void **state)
{
    UNUSED(state);
    static Lock fixed = LOCK_INIT(LOCK_RANK_LOG);
    for (int i = 0; i < 100; i++) { /* more often than a thread may hold locks */
        lock_take(&locks.a);
        rwlock_read(&locks.rw);
        lock_take(&locks.b);
        lock_take(&fixed);
        lock_give(&fixed);
        lock_give(&locks.a); /* in any order */
        lock_give(&locks.b);
        rwlock_give(&locks.rw);
        rwlock_write(&locks.rw);
        rwlock_give(&locks.rw);
        lock_take(&locks.a);
        lock_give(&locks.a);
    }
}

static void falling(void *arg)
{
    UNUSED(arg);
    lock_take(&locks.b);
    lock_take(&locks.a);
}

static void same_rank(void *arg)
{
    UNUSED(arg);
    lock_take(&locks.b);
    lock_take(&locks.same);
}

static void twice(void *arg)
{
    UNUSED(arg);
    lock_take(&locks.a);
    lock_take(&locks.a);
}

static void read_twice(void *arg)
{
    UNUSED(arg);
    rwlock_read(&locks.rw);
    rwlock_read(&locks.rw);
}

static void write_falling(void *arg)
{
    UNUSED(arg);
    lock_take(&locks.b);
    rwlock_write(&locks.rw);
}

/* The highest counts, not the last: after b goes, a is what is held; after a goes, b is. */
static void falling_after_give(void *arg)
{
    UNUSED(arg);
    lock_take(&locks.a);
    lock_take(&locks.b);
    lock_give(&locks.a);
    rwlock_read(&locks.rw);
}

static void give_free(void *arg)
{
    UNUSED(arg);
    lock_take(&locks.b);
    lock_give(&locks.a);
}

static void test_bugs(void **state)
{
    UNUSED(state);
    assert_aborts(falling, NULL, "rank < rank");
    assert_aborts(same_rank, NULL, "rank < rank");
    assert_aborts(twice, NULL, "rank < rank");
    assert_aborts(read_twice, NULL, "rank < rank");
    assert_aborts(write_falling, NULL, "rank < rank");
    assert_aborts(falling_after_give, NULL, "rank < rank");
    assert_aborts(give_free, NULL, "holds the lock");
}

static void count_up(void *arg)
{
    UNUSED(arg);
    for (int i = 0; i < 5000; i++) {
        lock_take(&locks.a);
        locks.count++;
        lock_give(&locks.a);
        rwlock_write(&locks.rw);
        locks.rw_count++;
        rwlock_give(&locks.rw);
    }
}

/* Each thread has its own record of what it holds; a lock shuts out the others. */
static void test_exclusion(void **state)
{
    UNUSED(state);
    Thread threads[3];
    for (size_t i = 0; i < 3; i++) {
        assert_ok(thread_start(&threads[i], "count", count_up, NULL, NULL), NULL);
    }
    for (size_t i = 0; i < 3; i++)
        thread_join(&threads[i]);
    assert_int_equal(locks.count, 15000);
    assert_int_equal(locks.rw_count, 15000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rising, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bugs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exclusion, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
