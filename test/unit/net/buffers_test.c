#include "base/fault.h"
#include "net/buffers.h"
#include "testing.h"

#include <errno.h>
#include <string.h>

static void count_wake(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void takes_and_gives(void **state)
{
    UNUSED(state);
    Err err;
    Buffers *pool;
    Buffer *b[3], *none = NULL;
    unsigned wakes = 0;
    assert_ok(buffers_open(6, 4096, &pool, &err), &err);
    unsigned watcher = buffers_watch(pool, count_wake, &wakes);
    assert_int_equal(buffers_size(pool), 4096);
    for (size_t i = 0; i < 3; i++) {
        assert_ok(buffers_take(pool, BUFFERS_IN, &b[i], &err), &err);
        assert_int_equal(b[i]->len, 0);
        assert_int_equal(b[i]->capacity, 4096);
        memset(b[i]->data, (int)i + 1, 4096);
        b[i]->len = 4096;
    }
    for (size_t i = 0; i < 3; i++)
        for (size_t at = 0; at < 4096; at++)
            assert_int_equal(b[i]->data[at], i + 1);
    buffer_release(b[2]); /* nobody had to wait: no wake-up */
    assert_int_equal(wakes, 0);
    assert_ok(buffers_take(pool, BUFFERS_IN, &b[2], &err), &err);
    assert_code(buffers_take(pool, BUFFERS_IN, &none, &err), ERR_BUSY, &err);
    assert_null(none);
    buffer_release(b[1]);
    buffer_release(b[0]);
    assert_int_equal(wakes, 1); /* once for the one that failed */
    Buffer *again;
    assert_ok(buffers_take(pool, BUFFERS_IN, &again, &err), &err);
    assert_ptr_equal(again, b[0]); /* the last one given back */
    assert_int_equal(again->len, 0);
    buffers_unwatch(pool, watcher);
    assert_ok(buffers_take(pool, BUFFERS_IN, &b[1], &err), &err);
    assert_code(buffers_take(pool, BUFFERS_IN, &none, &err), ERR_BUSY, &err);
    buffer_release(again);
    assert_int_equal(wakes, 1);
    buffer_release(b[1]);
    buffer_release(b[2]);
    buffer_release(NULL);
    assert_int_equal(buffers_free_count(pool), 6);
    buffers_close(pool);
    buffers_close(NULL);
}

/* Each use has its half, and what it has left does not depend on the other. */
static void shares_between_uses(void **state)
{
    UNUSED(state);
    Err err;
    Buffers *pool;
    Buffer *in[4], *out[4], *none = NULL;
    assert_ok(buffers_open(8, 4096, &pool, &err), &err);
    for (size_t i = 0; i < 4; i++)
        assert_ok(buffers_take(pool, BUFFERS_OUT, &out[i], &err), &err);
    assert_code(buffers_take(pool, BUFFERS_OUT, &none, &err), ERR_BUSY, &err);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(buffers_plenty(pool, BUFFERS_IN), i < 2);
        assert_false(buffers_exhausted(pool, BUFFERS_IN));
        assert_ok(buffers_take(pool, BUFFERS_IN, &in[i], &err), &err);
    }
    assert_true(buffers_exhausted(pool, BUFFERS_IN));
    assert_code(buffers_take(pool, BUFFERS_IN, &none, &err), ERR_BUSY, &err);
    buffer_release(out[0]);
    assert_code(buffers_take(pool, BUFFERS_IN, &none, &err), ERR_BUSY, &err);
    assert_false(buffers_exhausted(pool, BUFFERS_OUT));
    buffer_release(in[0]);
    assert_ok(buffers_take(pool, BUFFERS_IN, &in[0], &err), &err);
    for (size_t i = 0; i < 4; i++)
        buffer_release(in[i]);
    for (size_t i = 1; i < 4; i++)
        buffer_release(out[i]);
    buffers_close(pool);
}

/* Of one buffer each use may have all. */
static void shares_one(void **state)
{
    UNUSED(state);
    Buffers *pool;
    Buffer *buffer, *none = NULL;
    assert_ok(buffers_open(1, 4096, &pool, NULL), NULL);
    for (int use = 0; use < BUFFERS_USE_COUNT; use++) {
        assert_true(buffers_plenty(pool, (BuffersUse)use));
        assert_ok(buffers_take(pool, (BuffersUse)use, &buffer, NULL), NULL);
        assert_true(buffers_exhausted(pool, BUFFERS_IN) && buffers_exhausted(pool, BUFFERS_OUT));
        assert_code(buffers_take(pool, BUFFERS_IN, &none, NULL), ERR_BUSY, NULL);
        buffer_release(buffer);
    }
    buffers_close(pool);
}

static void fails_on_demand(void **state)
{
    UNUSED(state);
    Err err;
    Buffers *pool;
    Buffer *buffer;
    fault_arm("mem.take", ENOMEM, 1, false);
    assert_code(buffers_open(1, 4096, &pool, &err), ERR_NO_MEMORY, &err);
    fault_reset();
    assert_ok(buffers_open(1, 4096, &pool, &err), &err);
    fault_arm("pool.take", ENOMEM, 1, false);
    assert_code(buffers_take(pool, BUFFERS_IN, &buffer, &err), ERR_BUSY, &err);
    fault_reset();
    assert_ok(buffers_take(pool, BUFFERS_IN, &buffer, &err), &err);
    buffer_release(buffer);
    buffers_close(pool);
}

static void give_twice(void *arg)
{
    buffer_release(arg);
    buffer_release(arg);
}

static void asserts_balance(void **state)
{
    UNUSED(state);
    Buffers *pool;
    Buffer *buffer;
    assert_ok(buffers_open(1, 4096, &pool, NULL), NULL);
    assert_ok(buffers_take(pool, BUFFERS_IN, &buffer, NULL), NULL);
    assert_aborts(give_twice, buffer, "free_count");
    buffer_release(buffer);
    buffers_close(pool);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_and_gives), cmocka_unit_test(shares_between_uses),
        cmocka_unit_test(shares_one),      cmocka_unit_test(fails_on_demand),
        cmocka_unit_test(asserts_balance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
