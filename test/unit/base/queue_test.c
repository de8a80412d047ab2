#include "testing.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/queue.h"
#include "base/thread.h"

#include <stdatomic.h>

static void *item(uintptr_t number)
{
    return (void *)number;
}

static void test_order(void **state)
{
    UNUSED(state);
    static const size_t capacities[] = {1, 2, 3, 7, 64};
    for (size_t i = 0; i < ARRAY_LEN(capacities); i++) {
        AUTO(Queue, queue_free) queue = queue_new(capacities[i]);
        void *items[100];
        assert_int_equal(queue_pop(queue, items, 100), 0);
        uintptr_t pushed = 0;
        uintptr_t popped = 0;
        for (size_t round = 0; round < 50; round++) { /* the ring goes round, with each fill */
            size_t count = round % (capacities[i] + 1);
            for (size_t j = 0; j < count; j++) {
                assert_int_equal(queue_push(queue, item(++pushed)), OK);
            }
            assert_int_equal(queue_len(queue), count);
            size_t got = queue_pop(queue, items, 2);
            assert_int_equal(got, MIN(count, (size_t)2));
            got += queue_pop(queue, items + got, 100 - got);
            assert_int_equal(got, count);
            for (size_t j = 0; j < got; j++)
                assert_ptr_equal(items[j], item(++popped));
        }
    }
    queue_free(NULL);
}

static void test_full(void **state)
{
    UNUSED(state);
    AUTO(Queue, queue_free) queue = queue_new(2);
    assert_int_equal(queue_push(queue, item(1)), OK);
    assert_int_equal(queue_push(queue, NULL), OK); /* an item like others */
    assert_int_equal(queue_push(queue, item(3)), ERR_BUSY);
    assert_int_equal(queue_len(queue), 2);
    void *items[2] = {item(9), item(9)};
    assert_int_equal(queue_pop(queue, items, 1), 1);
    assert_ptr_equal(items[0], item(1));
    assert_ptr_equal(items[1], item(9));
    assert_int_equal(queue_push(queue, item(4)), OK);
    assert_int_equal(queue_pop(queue, items, 2), 2);
    assert_null(items[0]);
    assert_ptr_equal(items[1], item(4));
}

static void test_close(void **state)
{
    UNUSED(state);
    AUTO(Queue, queue_free) queue = queue_new(2);
    void *items[2];
    assert_int_equal(queue_push(queue, item(1)), OK);
    assert_false(queue_is_closed(queue));
    queue_close(queue);
    queue_close(queue);
    assert_true(queue_is_closed(queue));
    assert_int_equal(queue_push(queue, item(2)), ERR_SHUTTING_DOWN);
    assert_int_equal(queue_push_wait(queue, item(2)), ERR_SHUTTING_DOWN);
    assert_int_equal(queue_pop_wait(queue, items, 2, -1), 1); /* what is inside comes out */
    assert_ptr_equal(items[0], item(1));
    assert_int_equal(queue_pop_wait(queue, items, 2, -1), 0); /* then no waiting */
}

typedef struct {
    Queue *queue;
    int calls;
} Wakes;

static void count_wake(void *ctx)
{
    Wakes *wakes = ctx;
    wakes->calls++;
    queue_len(wakes->queue); /* the lock is free: else its rank would abort */
}

static void test_wake(void **state)
{
    UNUSED(state);
    AUTO(Queue, queue_free) queue = queue_new(2);
    Wakes wakes = {.queue = queue};
    queue_on_wake(queue, count_wake, &wakes);
    void *items[2];
    static const struct {
        bool push;
        ErrCode code;
        int calls_after;
    } rows[] = {
        {true, OK, 1},       {true, OK, 1}, /* only into an empty queue */
        {true, ERR_BUSY, 1},                /* nothing was pushed */
        {false, OK, 1},      {true, OK, 1}, /* not empty yet */
        {false, OK, 1},      {false, OK, 1}, {true, OK, 2}, {false, OK, 2}, {true, OK, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].push) assert_int_equal(queue_push(queue, item(i)), rows[i].code);
        if (!rows[i].push) assert_int_equal(queue_pop(queue, items, 1), 1);
        assert_int_equal(wakes.calls, rows[i].calls_after);
    }
    queue_close(queue);
    assert_int_equal(queue_push(queue, item(1)), ERR_SHUTTING_DOWN);
    assert_int_equal(wakes.calls, 3);
}

static void test_timeout(void **state)
{
    UNUSED(state);
    AUTO(Queue, queue_free) queue = queue_new(1);
    void *items[1];
    static const int timeouts_ms[] = {0, 1, 20};
    for (size_t i = 0; i < ARRAY_LEN(timeouts_ms); i++) {
        uint64_t begin_ns = clock_boot_ns(clock_real());
        assert_int_equal(queue_pop_wait(queue, items, 1, timeouts_ms[i]), 0);
        uint64_t waited_ns = clock_boot_ns(clock_real()) - begin_ns;
        assert_true(waited_ns >= (uint64_t)timeouts_ms[i] * 1000000);
    }
    /* No waiting where there is something, however the deadline falls. */
    for (int timeout_ms = 0; timeout_ms < 2000; timeout_ms += 100) {
        assert_int_equal(queue_push(queue, item(1)), OK);
        assert_int_equal(queue_pop_wait(queue, items, 1, timeout_ms), 1);
    }
}

#define PRODUCERS 3
#define CONSUMERS 2
#define EACH 5000

typedef struct {
    Queue *queue;
    _Atomic uintptr_t next; /* next number to push */
    _Atomic uint64_t sum;
    _Atomic uint64_t count;
    _Atomic bool disorder;
} Traffic;

static void produce(void *arg)
{
    Traffic *traffic = arg;
    uintptr_t base = atomic_fetch_add(&traffic->next, EACH);
    for (uintptr_t i = 1; i <= EACH; i++) {
        ErrCode code = i % 2 == 0 ? queue_push_wait(traffic->queue, item(base + i))
                                  : queue_push(traffic->queue, item(base + i));
        if (code == ERR_BUSY) code = queue_push_wait(traffic->queue, item(base + i));
        ASSERT(code == OK);
    }
}

static void consume(void *arg)
{
    Traffic *traffic = arg;
    uintptr_t last[PRODUCERS] = {0};
    void *items[5];
    for (size_t count; (count = queue_pop_wait(traffic->queue, items, 5, -1)) > 0;) {
        for (size_t i = 0; i < count; i++) {
            uintptr_t number = (uintptr_t)items[i];
            uintptr_t producer = (number - 1) / EACH;
            if (number <= last[producer]) atomic_store(&traffic->disorder, true);
            last[producer] = number;
            atomic_fetch_add(&traffic->sum, number);
            atomic_fetch_add(&traffic->count, 1);
        }
    }
}

/* Each item comes out once, those of one producer in order, with a queue that is mostly full and
 * one that is mostly empty. */
static void test_threads(void **state)
{
    UNUSED(state);
    static const size_t capacities[] = {1, 3, 1000};
    for (size_t i = 0; i < ARRAY_LEN(capacities); i++) {
        AUTO(Queue, queue_free) queue = queue_new(capacities[i]);
        Traffic traffic = {.queue = queue};
        Thread threads[PRODUCERS + CONSUMERS];
        for (size_t j = 0; j < PRODUCERS + CONSUMERS; j++) {
            assert_ok(thread_start(&threads[j], "queue", j < PRODUCERS ? produce : consume,
                                   &traffic, NULL),
                      NULL);
        }
        for (size_t j = 0; j < PRODUCERS; j++)
            thread_join(&threads[j]);
        queue_close(queue);
        for (size_t j = PRODUCERS; j < PRODUCERS + CONSUMERS; j++)
            thread_join(&threads[j]);
        uint64_t total = PRODUCERS * EACH;
        assert_int_equal(traffic.count, total);
        assert_int_equal(traffic.sum, total * (total + 1) / 2);
        assert_false(traffic.disorder);
        assert_int_equal(queue_len(queue), 0);
    }
}

static void push_one_more(void *arg)
{
    Traffic *traffic = arg;
    ErrCode code = queue_push_wait(traffic->queue, item(2));
    atomic_store(&traffic->count, code == ERR_SHUTTING_DOWN ? 1 : 2);
}

/* All or none, in order, with one wake-up. */
static void test_push_all(void **state)
{
    UNUSED(state);
    AUTO(Queue, queue_free) queue = queue_new(4);
    Wakes wakes = {.queue = queue};
    queue_on_wake(queue, count_wake, &wakes);
    void *in[4] = {item(1), item(2), item(3), item(4)};
    void *out[4];
    assert_int_equal(queue_push_all(queue, in, 0), OK);
    assert_int_equal(wakes.calls, 0);
    for (uintptr_t round = 0; round < 3; round++) { /* the ring goes round */
        assert_int_equal(queue_push_all(queue, in, 3), OK);
        assert_int_equal(wakes.calls, 2 * round + 1);
        assert_int_equal(queue_push_all(queue, in, 2), ERR_BUSY);
        assert_int_equal(queue_len(queue), 3);
        assert_int_equal(queue_push_all(queue, in + 3, 1), OK);
        assert_int_equal(wakes.calls, 2 * round + 1);
        assert_int_equal(queue_pop(queue, out, 4), 4);
        for (size_t i = 0; i < 4; i++)
            assert_ptr_equal(out[i], in[i]);
        assert_int_equal(queue_push(queue, item(9)), OK);
        assert_int_equal(queue_pop(queue, out, 4), 1);
    }
    queue_close(queue);
    assert_int_equal(queue_push_all(queue, in, 1), ERR_SHUTTING_DOWN);
    assert_int_equal(queue_len(queue), 0);
}

/* Closing wakes whoever waits for room. */
static void test_close_wakes(void **state)
{
    UNUSED(state);
    AUTO(Queue, queue_free) queue = queue_new(1);
    assert_int_equal(queue_push(queue, item(1)), OK);
    Traffic traffic = {.queue = queue};
    Thread thread;
    assert_ok(thread_start(&thread, "push", push_one_more, &traffic, NULL), NULL);
    void *items[1];
    assert_int_equal(queue_len(queue), 1);
    queue_close(queue);
    thread_join(&thread);
    assert_int_equal(traffic.count, 1);
    assert_int_equal(queue_pop(queue, items, 1), 1);
}

static void push_only(void *arg)
{
    ErrCode code = queue_push(arg, item(1));
    ASSERT(code == OK);
}

/* Who pops an item may free the queue at once, while the push still returns: seen by TSan always,
 * and by ASan when the threads meet. */
static void test_popper_frees(void **state)
{
    UNUSED(state);
    for (int i = 0; i < 200; i++) {
        Queue *queue = queue_new(1);
        Thread thread;
        assert_ok(thread_start(&thread, "push", push_only, queue, NULL), NULL);
        void *items[1];
        assert_int_equal(queue_pop_wait(queue, items, 1, -1), 1);
        queue_free(queue);
        thread_join(&thread);
    }
}

static void wait_in_order(void *arg)
{
    void *items[1];
    Lock lock;
    lock_init(&lock, LOCK_RANK_METRIC);
    lock_take(&lock);
    queue_pop(arg, items, 1); /* aborts: a queue's lock comes before */
}

static void new_of_zero(void *arg)
{
    UNUSED(arg);
    queue_free(queue_new(0)); /* aborts */
}

static void test_bugs(void **state)
{
    UNUSED(state);
    AUTO(Queue, queue_free) queue = queue_new(1);
    assert_aborts(wait_in_order, queue, "rank < rank");
    assert_aborts(new_of_zero, NULL, "capacity >= 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),       cmocka_unit_test(test_full),
        cmocka_unit_test(test_close),       cmocka_unit_test(test_wake),
        cmocka_unit_test(test_timeout),     cmocka_unit_test(test_threads),
        cmocka_unit_test(test_close_wakes), cmocka_unit_test(test_popper_frees),
        cmocka_unit_test(test_push_all),    cmocka_unit_test(test_bugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
