#include "cli/walk.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_file(const char *dir, const char *name, const char *text)
{
    AUTO(char, mem_free) path = tmp_path(dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void make_dir(const char *dir, const char *name)
{
    AUTO(char, mem_free) path = tmp_path(dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void all_below(void **state)
{
    UNUSED(state);
    static const struct {
        const char *name;
        WalkKind kind;
        uint64_t size;
    } rows[] = {
        {"a", WALK_FILE, 1},         {"b b", WALK_FILE, 0},     {"d/e/f", WALK_FILE, 3},
        {"d/g", WALK_FILE, 2},       {"link", WALK_SKIPPED, 0}, {"linked dir", WALK_SKIPPED, 0},
        {"d/pipe", WALK_SKIPPED, 0},
    };
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) link = tmp_path(dir, "link");
    AUTO(char, mem_free) linked = tmp_path(dir, "linked dir");
    AUTO(char, mem_free) pipe = tmp_path(dir, "d/pipe");
    make_dir(dir, "d");
    make_dir(dir, "d/e");
    make_dir(dir, "empty");
    write_file(dir, "a", "1");
    write_file(dir, "b b", "");
    write_file(dir, "d/e/f", "123");
    write_file(dir, "d/g", "12");
    assert_int_equal(symlink("a", link), 0);
    assert_int_equal(symlink("d", linked), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);

    AUTO(Walk, walk_close) walk = NULL;
    bool seen[ARRAY_LEN(rows)] = {false};
    size_t count = 0;
    assert_ok(walk_open(dir, WALK_ANY_ORDER, &walk, NULL), NULL);
    for (;;) {
        Err err = {0};
        WalkEntry entry = walk_next(walk, &err);
        if (entry.kind == WALK_END) break;
        count++;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            if (!str_eq(entry.relative, str_from_cstr(rows[i].name))) continue;
            assert_false(seen[i]);
            seen[i] = true;
            assert_int_equal(entry.kind, rows[i].kind);
            assert_int_equal(entry.size, rows[i].size);
            assert_int_equal(err.code != OK, entry.kind == WALK_SKIPPED);
        }
    }
    assert_int_equal(count, ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(seen[i]);
    assert_int_equal(walk_next(walk, NULL).kind, WALK_END);
}

/* The order of keys: bytes, and a directory's name counts with its '/'. */
static void in_order(void **state)
{
    UNUSED(state);
    static const char *const wanted[] = {"a-b", "a/b", "a/b0",     "a/c/d",
                                         "a0",  "b",   "\xc3\xa4", "\xff"};
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    make_dir(dir, "a");
    make_dir(dir, "a/c");
    for (size_t i = ARRAY_LEN(wanted); i-- > 0;)
        write_file(dir, wanted[i], "x");
    AUTO(Walk, walk_close) walk = NULL;
    assert_ok(walk_open(dir, WALK_SORTED, &walk, NULL), NULL);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        WalkEntry entry = walk_next(walk, NULL);
        assert_int_equal(entry.kind, WALK_FILE);
        assert_true(str_eq(entry.relative, str_from_cstr(wanted[i])));
        assert_int_equal(entry.size, 1);
    }
    assert_int_equal(walk_next(walk, NULL).kind, WALK_END);
}

static void too_deep(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO_BUF(path, WALK_PATH_MAX);
    for (int depth = 0; depth < WALK_DEPTH_MAX + 2; depth++) {
        if (depth > 0) path.len--;
        assert_ok(buf_append(&path, depth == 0 ? "d" : "/d", depth == 0 ? 2 : 3, NULL), NULL);
        make_dir(dir, (const char *)path.data);
    }
    write_file(dir, "here", "x");
    AUTO(Walk, walk_close) walk = NULL;
    size_t files = 0;
    size_t failed = 0;
    assert_ok(walk_open(dir, WALK_ANY_ORDER, &walk, NULL), NULL);
    for (;;) {
        Err err = {0};
        WalkEntry entry = walk_next(walk, &err);
        if (entry.kind == WALK_END) break;
        if (entry.kind == WALK_FILE) files++;
        if (entry.kind != WALK_FAILED) continue;
        failed++;
        assert_int_equal(err.code, ERR_TOO_BIG);
    }
    assert_int_equal(files, 1); /* the rest is still walked */
    assert_int_equal(failed, 1);
}

static void roots(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) file = tmp_path(dir, "file");
    Walk *walk = NULL;
    write_file(dir, "file", "");
    assert_code(walk_open("/nowhere", WALK_SORTED, &walk, NULL), ERR_NOT_FOUND, NULL);
    assert_code(walk_open(file, WALK_SORTED, &walk, NULL), ERR_EXISTS, NULL);
    assert_null(walk);
    walk_close(walk);
    /* Closed in the middle: nothing leaks (ASan). */
    make_dir(dir, "d");
    write_file(dir, "d/x", "");
    assert_ok(walk_open(dir, WALK_ANY_ORDER, &walk, NULL), NULL);
    assert_int_equal(walk_next(walk, NULL).kind, WALK_FILE);
    walk_close(walk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_below),
        cmocka_unit_test(in_order),
        cmocka_unit_test(too_deep),
        cmocka_unit_test(roots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
