#include "testing.h"

#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

static bool all_zero(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != 0) return false;
    }
    return true;
}

static void test_new(void **state)
{
    UNUSED(state);
    static const size_t sizes[] = {1, 15, 4096, 1 << 20};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t *bytes = mem_new(sizes[i]);
        assert_true(all_zero(bytes, sizes[i]));
        memset(bytes, 0xff, sizes[i]); /* so that memory reused by the next row is not zero */
        mem_free(bytes);
    }
    uint64_t *numbers = mem_new_array(100, sizeof *numbers);
    assert_true(all_zero((uint8_t *)numbers, 100 * sizeof *numbers));
    numbers[99] = 7;
    numbers = mem_resize(numbers, 1000 * sizeof *numbers);
    assert_int_equal(numbers[99], 7);
    mem_free(numbers);
    mem_free(mem_resize(NULL, 1));
    mem_free(NULL);
    char *copy = mem_dup_cstr("");
    assert_string_equal(copy, "");
    mem_free(copy);
}

static void test_take(void **state)
{
    UNUSED(state);
    Err err;
    void *taken = NULL;
    assert_ok(mem_take(10, &taken, &err), &err);
    memcpy(taken, "123456789", 10);
    assert_ok(mem_retake(&taken, 100000, &err), &err);
    assert_string_equal(taken, "123456789");

    /* Failure leaves what was there. */
    void *before = taken;
    assert_code(mem_retake(&taken, SIZE_MAX, &err), ERR_NO_MEMORY, &err);
    assert_ptr_equal(taken, before);
    assert_code(mem_take(SIZE_MAX, &taken, &err), ERR_NO_MEMORY, &err);
    assert_ptr_equal(taken, before);
    assert_string_equal(taken, "123456789");
    mem_free(taken);
}

static void test_fault(void **state)
{
    UNUSED(state);
    Err err;
    void *taken = NULL;
    fault_reset();
    fault_arm("mem.take", ENOMEM, 2, false);
    assert_ok(mem_take(1, &taken, &err), &err);
    void *before = taken;
    assert_code(mem_retake(&taken, 2, &err), ERR_NO_MEMORY, &err);
    assert_ptr_equal(taken, before);
    assert_ok(mem_retake(&taken, 2, &err), &err);
    mem_free(taken);
    fault_reset();
}

static void new_zero(void *arg)
{
    UNUSED(arg);
    mem_free(mem_new(*(size_t *)arg));
}

static void new_overflow(void *arg)
{
    mem_free(mem_new_array(*(size_t *)arg, 3));
}

static void test_bugs(void **state)
{
    UNUSED(state);
    size_t size = 0;
    assert_aborts(new_zero, &size, "size >= 1");
    size = SIZE_MAX / 2;
    assert_aborts(new_overflow, &size, "mul_overflow");
}

typedef struct {
    int *released;
} Thing;

static void thing_free(Thing *thing)
{
    if (thing == NULL) return;
    (*thing->released)++;
    mem_free(thing);
}
AUTO_DEFINE(Thing, thing_free);

static Thing *make_thing(int *released, bool fail)
{
    AUTO(Thing, thing_free) thing = mem_new(sizeof *thing);
    thing->released = released;
    if (fail) return NULL;
    return TAKE(thing);
}

static void test_auto(void **state)
{
    UNUSED(state);
    int released = 0;
    assert_null(make_thing(&released, true));
    assert_int_equal(released, 1);
    Thing *thing = make_thing(&released, false);
    assert_non_null(thing);
    assert_int_equal(released, 1);
    thing_free(thing);
    /* Leaks here are for the address sanitizer. */
    AUTO(char, mem_free) text = mem_dup_cstr("text");
    AUTO(void, mem_free) nothing = NULL;
    assert_string_equal(text, "text");
    assert_null(nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),  cmocka_unit_test(test_take), cmocka_unit_test(test_fault),
        cmocka_unit_test(test_bugs), cmocka_unit_test(test_auto),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
