#include "cli/upload.h"
#include "testing.h"

static void times(void **state)
{
    UNUSED(state);
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {
        {0, "0.000000000"},
        {1, "0.000000001"},
        {INT64_C(1764323123000000042), "1764323123.000000042"},
        {-1, "-1.999999999"}, /* a nanosecond before 1970, as struct timespec has it */
        {INT64_C(-1000000000), "-1.000000000"},
        {INT64_MAX, "9223372036.854775807"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[UPLOAD_MTIME_SIZE];
        assert_string_equal(upload_mtime_text(rows[i].ns, out), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(times)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
