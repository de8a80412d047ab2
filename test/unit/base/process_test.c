#include "testing.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/process.h"

static void test_use(void **state)
{
    UNUSED(state);
    ProcessUse before;
    ProcessUse after;
    process_use(&before);
    assert_true(before.cpu_seconds > 0);
    assert_true(before.resident_bytes >= 4096 && before.resident_bytes < before.virtual_bytes);
    assert_true(before.threads >= 1);
    assert_true(before.descriptors >= 3 && before.descriptors <= before.descriptors_max);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    process_use(&after);
    assert_int_equal(after.descriptors, before.descriptors + 1);
    close(fd);
    process_use(&after);
    assert_int_equal(after.descriptors, before.descriptors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_use)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
