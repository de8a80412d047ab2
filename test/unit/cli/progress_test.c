#include "cli/progress.h"
#include "testing.h"

#include <string.h>

static void lines(void **state)
{
    UNUSED(state);
    const uint64_t most = UINT64_MAX / 4096;
    const struct {
        ProgressState state;
        const char *line;
    } rows[] = {
        {{0}, "0 files  0 B  0 B/s"},
        {{.files = 12, .bytes = 3 * MIB, .elapsed_ms = 2000}, "12 files  3.0 MiB  1.5 MiB/s"},
        {{.files = 1, .bytes = 10, .failed = 2, .elapsed_ms = 1000},
         "1 files  10 B  10 B/s  2 failed"},
        {{.files = 10,
          .bytes = 10 * MIB,
          .elapsed_ms = 10000,
          .total_known = true,
          .files_total = 20,
          .bytes_total = 20 * MIB},
         "10/20 files  10.0 MiB/20.0 MiB  1.0 MiB/s  10 s left"},
        /* Of 20 MiB 10 were there before: they count as done, and to neither rate nor time. */
        {{.files = 0,
          .bytes = 5 * MIB,
          .bytes_kept = 10 * MIB,
          .elapsed_ms = 5000,
          .total_known = true,
          .files_total = 1,
          .bytes_total = 20 * MIB},
         "0/1 files  15.0 MiB/20.0 MiB  1.0 MiB/s  5.0 s left"},
        /* Too early to tell. */
        {{.files = 10,
          .bytes = MIB,
          .elapsed_ms = 1000,
          .total_known = true,
          .files_total = 20,
          .bytes_total = 2 * MIB},
         "10/20 files  1.0 MiB/2.0 MiB  1.0 MiB/s"},
        /* Nothing yet, or more than was counted before: no guess. */
        {{.elapsed_ms = 9000, .total_known = true, .files_total = 2, .bytes_total = 9},
         "0/2 files  0 B/9 B  0 B/s"},
        {{.files = 3, .bytes = 90, .elapsed_ms = 9000, .total_known = true, .files_total = 2},
         "3/2 files  90 B/0 B  10 B/s"},
        /* Empty files take time too. */
        {{.files = 500, .elapsed_ms = 5000, .total_known = true, .files_total = 1000},
         "500/1000 files  0 B/0 B  0 B/s  5.0 s left"},
        {{.files = most, .bytes = UINT64_MAX, .failed = 1, .elapsed_ms = 1}, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char line[PROGRESS_LINE_SIZE];
        progress_format(&rows[i].state, line);
        assert_true(strlen(line) < sizeof line);
        if (rows[i].line != NULL) assert_string_equal(line, rows[i].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
