#include "index/pending.h"

#include "testing.h"
#include <stdio.h>

static void add(Pending *pending, const char *key, const char *value)
{
    Err err = {0};
    bool is_delete = value == NULL;
    Str bytes = is_delete ? str_of(NULL, 0) : str_from_cstr(value);
    assert_ok(pending_add(pending, str_from_cstr(key), bytes, is_delete, &err), &err);
}

static void expect(const Pending *pending, size_t at, const char *key, const char *value)
{
    assert_in_range(at, 0, pending->count - 1);
    const PendingChange *change = &pending->changes[at];
    assert_str(change->key, key);
    assert_int_equal(change->is_delete, value == NULL);
    if (value != NULL) assert_str(pending_value(pending, change), value);
}

/* By key, a prefix first, and of one key what came last. */
static void test_order(void **state)
{
    UNUSED(state);
    Pending pending;
    pending_init(&pending);
    pending_sort(&pending);
    assert_int_equal(pending.count, 0);
    add(&pending, "b", "1");
    add(&pending, "ab", "2");
    add(&pending, "c", NULL);
    add(&pending, "a", "3");
    add(&pending, "b", NULL);
    add(&pending, "c", "");
    add(&pending, "ab", "4");
    pending_sort(&pending);
    assert_int_equal(pending.count, 4);
    expect(&pending, 0, "a", "3");
    expect(&pending, 1, "ab", "4");
    expect(&pending, 2, "b", NULL);
    expect(&pending, 3, "c", "");
    pending_clear(&pending);
    add(&pending, "z", "5");
    pending_sort(&pending);
    assert_int_equal(pending.count, 1);
    expect(&pending, 0, "z", "5");
    pending_deinit(&pending);
}

/* Many changes: all of them, each key with its last value; then the memory is given back. */
static void test_many(void **state)
{
    UNUSED(state);
    Pending pending;
    pending_init(&pending);
    enum { KEYS = 5000 };
    for (unsigned i = 0; i < 3 * KEYS; i++) {
        char key[16];
        char value[16];
        snprintf(key, sizeof key, "%05u", i * 7 % KEYS); /* fits, and so does value */
        snprintf(value, sizeof value, "%u", i);
        add(&pending, key, value);
    }
    pending_sort(&pending);
    assert_int_equal(pending.count, KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned last = 2 * KEYS;
        while (last * 7 % KEYS != i)
            last++;
        char key[16];
        char value[16];
        snprintf(key, sizeof key, "%05u", i);
        snprintf(value, sizeof value, "%u", last);
        if (i % 97 == 0) expect(&pending, i, key, value);
    }
    assert_true(pending.capacity >= 3 * KEYS);
    pending_clear(&pending);
    assert_int_equal(pending.capacity, 0);
    pending_deinit(&pending);
}

static void test_room(void **state)
{
    UNUSED(state);
    Err err = {0};
    Pending pending;
    pending_init(&pending);
    AUTO_BUF(value, MIB);
    assert_ok(buf_append_zeros(&value, MIB, &err), &err);
    unsigned count = 0;
    while (pending_has_room(&pending, 1, value.len)) {
        assert_ok(pending_add(&pending, STR("k"), buf_str(&value), false, &err), &err);
        count++;
    }
    assert_int_equal(count, PENDING_BYTES_MAX / (MIB + 1));
    pending_clear(&pending);
    assert_true(pending_has_room(&pending, 1, value.len));
    assert_int_equal(pending.bytes.capacity, 0);
    for (count = 0; pending_has_room(&pending, 1, 0); count++)
        add(&pending, "k", NULL);
    assert_int_equal(count, PENDING_BYTES_MAX / 64);
    pending_deinit(&pending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
