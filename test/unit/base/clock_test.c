#include "testing.h"

#include "base/clock.h"

#include <time.h>

static void test_real(void **state)
{
    UNUSED(state);
    Clock *clock = clock_real();
    uint64_t seconds = (uint64_t)time(NULL);
    uint64_t wall_ms = clock_wall_ms(clock);
    assert_in_range(wall_ms, (seconds - 1) * 1000, (seconds + 5) * 1000);

    struct timespec boot;
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &boot), 0);
    uint64_t before_ns = (uint64_t)boot.tv_sec * 1000000000 + (uint64_t)boot.tv_nsec;
    uint64_t last_ns = clock_boot_ns(clock);
    assert_in_range(last_ns, before_ns, before_ns + 5000000000);
    for (int i = 0; i < 1000; i++) {
        uint64_t now_ns = clock_boot_ns(clock);
        assert_true(now_ns >= last_ns);
        last_ns = now_ns;
    }
    assert_ptr_equal(clock, clock_real());
}

static void test_manual(void **state)
{
    UNUSED(state);
    ManualClock manual;
    clock_manual_init(&manual, 1000);
    assert_int_equal(clock_wall_ms(&manual.clock), 1000);
    assert_int_equal(clock_boot_ns(&manual.clock), 0);
    manual.wall_ms = 5;
    manual.boot_ns = 7;
    assert_int_equal(clock_wall_ms(&manual.clock), 5);
    assert_int_equal(clock_boot_ns(&manual.clock), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_real), cmocka_unit_test(test_manual)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
