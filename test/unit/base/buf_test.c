#include "testing.h"

#include "base/fault.h"

#include <errno.h>
#include <string.h>

static void test_append(void **state)
{
    UNUSED(state);
    Err err;
    AUTO_BUF(buf, 10);
    assert_null(buf.data);
    assert_ok(buf_append(&buf, NULL, 0, &err), &err);
    assert_null(buf.data); /* nothing for nothing */
    assert_ok(buf_append(&buf, "abc", 3, &err), &err);
    assert_ok(buf_append_str(&buf, STR("de"), &err), &err);
    assert_ok(buf_append_zeros(&buf, 0, &err), &err);
    assert_ok(buf_append_zeros(&buf, 5, &err), &err);
    assert_int_equal(buf.len, 10);
    assert_memory_equal(buf.data, "abcde\0\0\0\0\0", 10);
    /* Full: nothing more, and nothing changed. */
    volatile size_t huge = SIZE_MAX; /* nothing that the compiler should think about */
    assert_code(buf_append(&buf, "x", 1, &err), ERR_TOO_BIG, &err);
    assert_code(buf_append_zeros(&buf, 1, &err), ERR_TOO_BIG, &err);
    assert_code(buf_append(&buf, "x", huge, &err), ERR_TOO_BIG, &err);
    assert_code(buf_printf(&buf, &err, "%c", 'x'), ERR_TOO_BIG, &err);
    assert_int_equal(buf.len, 10);
    assert_memory_equal(buf.data, "abcde\0\0\0\0\0", 10);
    assert_ok(buf_append(&buf, NULL, 0, &err), &err);
    const uint8_t *data = buf.data;
    buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_ok(buf_append(&buf, "0123456789", 10, &err), &err);
    assert_ptr_equal(buf.data, data); /* the memory was kept */
    assert_str(buf_str(&buf), "0123456789");
}

static void test_printf(void **state)
{
    UNUSED(state);
    Err err;
    /* Each length from nothing to more than max, from an empty and from a started Buf. */
    for (size_t before = 0; before <= 3; before += 3) {
        for (int len = 0; len <= 202; len++) {
            AUTO_BUF(buf, 200);
            assert_ok(buf_append(&buf, "abc", before, &err), &err);
            bool fits = before + (size_t)len <= 200;
            assert_code(buf_printf(&buf, &err, "%0*d", len, 0), fits ? OK : ERR_TOO_BIG, &err);
            /* "%00d" prints "0" */
            assert_int_equal(buf.len, fits ? before + (size_t)MAX(len, 1) : before);
            if (before > 0) assert_memory_equal(buf.data, "abc", before);
            if (fits) assert_int_equal(buf.data[buf.len - 1], '0');
        }
    }
    AUTO_BUF(empty, 5);
    assert_ok(buf_printf(&empty, &err, "%s", ""), &err);
    assert_int_equal(empty.len, 0);
}

/* A big Buf grows by doubling: few allocations, never beyond max. */
static void test_growth(void **state)
{
    UNUSED(state);
    Err err;
    fault_reset();
    AUTO_BUF(buf, 100000);
    for (size_t i = 0; i < 100000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        assert_ok(buf_append(&buf, &byte, 1, &err), &err);
        assert_true(buf.capacity <= buf.max);
    }
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(buf.data[i], (uint8_t)(i * 7));
    FaultStat stats[FAULT_POINTS_MAX];
    size_t count = fault_stats(stats, ARRAY_LEN(stats));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(stats[i].name, "mem.take") == 0) assert_in_range(stats[i].hits, 1, 12);
    }
}

static void test_no_memory(void **state)
{
    UNUSED(state);
    Err err;
    AUTO_BUF(buf, 1000);
    assert_ok(buf_append(&buf, "abc", 3, &err), &err);
    fault_arm("mem.take", ENOMEM, 1, true);
    assert_code(buf_reserve(&buf, 900, &err), ERR_NO_MEMORY, &err);
    assert_code(buf_append_zeros(&buf, 900, &err), ERR_NO_MEMORY, &err);
    assert_code(buf_printf(&buf, &err, "%900d", 1), ERR_NO_MEMORY, &err);
    assert_str(buf_str(&buf), "abc");
    fault_reset();
    assert_ok(buf_reserve(&buf, 997, &err), &err);
    assert_code(buf_reserve(&buf, 998, &err), ERR_TOO_BIG, &err);
    assert_str(buf_str(&buf), "abc");
}

static void test_deinit(void **state)
{
    UNUSED(state);
    Err err;
    Buf buf;
    memset(&buf, 0, sizeof buf);
    buf_deinit(&buf);
    buf_init(&buf, 8);
    assert_ok(buf_append(&buf, "abc", 3, &err), &err);
    buf_deinit(&buf);
    buf_deinit(&buf);
    assert_int_equal(buf.len, 0);
    assert_null(buf.data);
    /* Born again with the same maximum. */
    assert_ok(buf_append(&buf, "abc", 3, &err), &err);
    assert_code(buf_append_zeros(&buf, 6, &err), ERR_TOO_BIG, &err);
    buf_deinit(&buf);
}

static void append_self(void *arg)
{
    Buf *buf = arg;
    assert_int_equal(buf_append(buf, buf->data + 1, 1, NULL), OK); /* aborts */
}

static void test_bugs(void **state)
{
    UNUSED(state);
    Err err;
    AUTO_BUF(buf, 100);
    assert_ok(buf_append(&buf, "abc", 3, &err), &err);
    while (buf.len < buf.capacity) /* the next one moves it */
        assert_ok(buf_append(&buf, "d", 1, &err), &err);
    assert_aborts(append_self, &buf, "buf->data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append), cmocka_unit_test(test_printf),
        cmocka_unit_test(test_growth), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_deinit), cmocka_unit_test(test_bugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
