#include "testing.h"

#include "base/arena.h"
#include "base/fault.h"

#include <errno.h>
#include <string.h>

static void test_alloc(void **state)
{
    UNUSED(state);
    Arena arena;
    arena_init(&arena, 1 << 20);
    assert_int_equal(arena.used, 0);
    uint8_t *pieces[200];
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        pieces[i] = arena_alloc(&arena, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        for (size_t j = 0; j < i; j++)
            assert_int_equal(pieces[i][j], 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) { /* none overlaps another */
        for (size_t j = 0; j < i; j++)
            assert_int_equal(pieces[i][j], (uint8_t)i);
    }
    assert_true(arena.used <= arena.limit);
    arena_deinit(&arena);
    assert_int_equal(arena.used, 0);
}

/* The limit is hard, whatever the sizes; what failed changes nothing. */
static void test_limit(void **state)
{
    UNUSED(state);
    static const size_t limits[] = {1, 47, 48, 100, 4096, 5000, 100000};
    static const size_t sizes[] = {1, 16, 100, 4096, 9000, 99999, SIZE_MAX, SIZE_MAX - 8};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
            Arena arena;
            arena_init(&arena, limits[i]);
            size_t given = 0;
            while (given <= limits[i] && arena_alloc(&arena, sizes[j]) != NULL)
                given += sizes[j];
            assert_true(given < limits[i]);
            assert_true(arena.used <= limits[i]);
            assert_null(arena_alloc(&arena, sizes[j]));
            arena_deinit(&arena);
        }
    }
    /* A limit is of use: most of it can be had. */
    Arena arena;
    arena_init(&arena, 100000);
    size_t given = 0;
    while (arena_alloc(&arena, 64) != NULL)
        given += 64;
    assert_true(given > 99000);
    arena_deinit(&arena);
}

static void test_reset(void **state)
{
    UNUSED(state);
    Arena arena;
    arena_init(&arena, 1 << 20);
    arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    memset(arena_alloc(&arena, 100), 0xff, 100);
    memset(arena_alloc(&arena, 500000), 0xff, 500000); /* too big to be kept */
    arena_reset(&arena);
    assert_in_range(arena.used, 1, 64 * 1024);
    fault_reset();
    fault_arm("mem.take", ENOMEM, 1, true);
    const uint8_t *piece = arena_alloc(&arena, 100); /* from the kept block, zeroed again */
    assert_non_null(piece);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(piece[i], 0);
    fault_reset();
    arena_deinit(&arena);

    arena_init(&arena, 1 << 20); /* nothing small enough to keep */
    assert_non_null(arena_alloc(&arena, 500000));
    arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    arena_deinit(&arena);
}

static void test_text(void **state)
{
    UNUSED(state);
    Arena arena;
    arena_init(&arena, 4096);
    Str copy = arena_dup(&arena, STR("a\0b"));
    assert_int_equal(copy.len, 3);
    assert_memory_equal(copy.ptr, "a\0b\0", 4); /* with a NUL behind it */
    copy = arena_dup(&arena, (Str){NULL, 0});
    assert_non_null(copy.ptr);
    assert_string_equal(copy.ptr, "");
    assert_str(arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    assert_non_null(arena_printf(&arena, "%s", "").ptr);

    assert_null(arena_dup(&arena, str_of(copy.ptr, SIZE_MAX)).ptr);
    assert_null(arena_printf(&arena, "%5000d", 1).ptr);
    assert_int_equal(arena_printf(&arena, "%5000d", 1).len, 0);
    arena_deinit(&arena);
}

static void test_no_memory(void **state)
{
    UNUSED(state);
    Arena arena;
    arena_init(&arena, 1 << 20);
    fault_arm("mem.take", ENOMEM, 1, true);
    assert_null(arena_alloc(&arena, 1));
    assert_null(arena_dup(&arena, STR("a")).ptr);
    assert_null(arena_printf(&arena, "a").ptr);
    assert_int_equal(arena.used, 0);
    fault_reset();
    assert_non_null(arena_alloc(&arena, 1));
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),     cmocka_unit_test(test_limit),
        cmocka_unit_test(test_reset),     cmocka_unit_test(test_text),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
