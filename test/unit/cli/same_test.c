#include "cli/same.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

/* A file of count bytes; the digest of the first `of` of them. */
static char *make_file(const char *dir, size_t count, size_t of, Sha256 *digest)
{
    char *path = tmp_path(dir, "file");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    AUTO(uint8_t, mem_free) bytes = mem_new(MAX(count, (size_t)1));
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    *digest = sha256_of(bytes, of);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void compares(void **state)
{
    UNUSED(state);
    static const struct {
        size_t size, of, steps;
        SameVerdict verdict;
    } rows[] = {
        {0, 0, 1, SAME_EQUAL},
        {1, 1, 1, SAME_EQUAL},
        {1, 0, 1, SAME_OTHER},
        {64 * KIB, 64 * KIB, 1, SAME_EQUAL},
        {64 * KIB + 1, 64 * KIB, 1, SAME_OTHER},
        /* 4 MiB a step; the end is seen by a read that brings less. */
        {4 * MIB, 4 * MIB, 2, SAME_EQUAL},
        {9 * MIB + 5, 9 * MIB + 5, 3, SAME_EQUAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
        Sha256 digest;
        AUTO(char, mem_free) path = make_file(dir, rows[i].size, rows[i].of, &digest);
        Same same = SAME_NONE;
        SameVerdict verdict = SAME_MORE;
        size_t steps = 0;
        assert_ok(local_open(path, false, &same.file, NULL), NULL);
        while (verdict == SAME_MORE) {
            assert_ok(same_step(&same, &digest, &verdict, NULL), NULL);
            steps++;
        }
        assert_int_equal(verdict, rows[i].verdict);
        assert_int_equal(steps, rows[i].steps);
        assert_int_equal(same.file.fd, -1);
        assert_null(same.hash);
    }
}

/* Content that is right but was changed while it was read is not trusted. */
static void changes_meanwhile(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    Sha256 digest;
    AUTO(char, mem_free) path = make_file(dir, 5 * MIB, 5 * MIB, &digest);
    Same same = SAME_NONE;
    SameVerdict verdict = SAME_EQUAL;
    assert_ok(local_open(path, false, &same.file, NULL), NULL);
    assert_ok(same_step(&same, &digest, &verdict, NULL), NULL);
    assert_int_equal(verdict, SAME_MORE);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_int_not_equal(putc('x', file), EOF);
    assert_int_equal(fclose(file), 0);
    assert_ok(same_step(&same, &digest, &verdict, NULL), NULL);
    assert_int_equal(verdict, SAME_OTHER);
    /* Ended in the middle: nothing leaks (ASan). */
    assert_ok(local_open(path, false, &same.file, NULL), NULL);
    assert_ok(same_step(&same, &digest, &verdict, NULL), NULL);
    same_deinit(&same);
    same_deinit(&same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(changes_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
