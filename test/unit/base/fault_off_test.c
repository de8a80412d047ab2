/* fault.c as a release compiles it, under other names, since the program links the one with faults
 * too. */
#undef HOLDFAST_FAULTS
#define HOLDFAST_FAULTS 0
#define fault_configure off_fault_configure
#define fault_arm off_fault_arm
#define fault_arm_any off_fault_arm_any
#define fault_plant off_fault_plant
#define fault_reset off_fault_reset
#define fault_stats off_fault_stats
#include "../../../src/base/fault.c"

#include "testing.h"

#include <errno.h>

static void test_off(void **state)
{
    UNUSED(state);
    Err err;
    assert_ok(fault_configure(NULL, &err), &err);
    assert_ok(fault_configure("", &err), &err);
    /* Somebody expects a fault that can't come: said aloud. */
    assert_code(fault_configure("a=kill", &err), ERR_CONFIG, &err);
    fault_arm("a", EIO, 1, true);
    fault_arm_any("", EIO, 1, true);
    fault_plant("bug", true);
    assert_int_equal(fault_point("a"), 0);
    assert_false(fault_planted("bug"));
    FaultStat stat;
    assert_int_equal(fault_stats(&stat, 1), 0);
    fault_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
