#include "cli/local_file.h"
#include "testing.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_content(const char *path, const char *text)
{
    AUTO_BUF(data, 4096);
    bool found = false;
    assert_ok(local_read_all(path, &data, &found, NULL), NULL);
    assert_true(found);
    assert_str(buf_str(&data), text);
}

/* Entries of a directory but for . and .. */
static size_t count_entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2;
}

static void inside(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) data = tmp_path(dir, "data");
    AUTO(char, mem_free) link = tmp_path(dir, "link");
    assert_int_equal(mkdir(data, 0700), 0);
    assert_int_equal(symlink("data", link), 0);
    static const struct {
        const char *path;
        bool inside;
    } rows[] = {{"data", true},           {"data/", true},    {"data/a/b", true},
                {"data/../data/a", true}, {"link/a", true},   {"dat", false},
                {"data2", false},         {"other/a", false}, {"data/..", false},
                {"data/../data2", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(char, mem_free) path = tmp_path(dir, rows[i].path);
        bool found = !rows[i].inside;
        Err err = {0};
        assert_ok(local_is_inside(path, data, &found, &err), &err);
        if (found != rows[i].inside) fail_msg("%s", rows[i].path);
    }
    bool found = true;
    assert_ok(local_is_inside("absent-here", data, &found, NULL), NULL);
    assert_false(found);
    assert_code(local_is_inside("", data, &found, NULL), ERR_BAD_NAME, NULL);
    assert_code(local_is_inside(dir, "absent-here", &found, NULL), ERR_NOT_FOUND, NULL);
}

static void reading(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) path = tmp_path(dir, "file");
    AUTO(char, mem_free) link = tmp_path(dir, "link");
    AUTO(char, mem_free) pipe = tmp_path(dir, "pipe");
    LocalFile file = LOCAL_FILE_NONE;
    char data[16];
    size_t len = 0;
    write_file(path, "hello");
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_code(local_open(dir, true, &file, NULL), ERR_INVALID, NULL);
    assert_code(local_open(pipe, true, &file, NULL), ERR_INVALID, NULL); /* and does not hang */
    assert_code(local_open("/nowhere", true, &file, NULL), ERR_NOT_FOUND, NULL);
    assert_code(local_open(link, false, &file, NULL), ERR_EXISTS, NULL);
    assert_int_equal(file.fd, -1);
    assert_ok(local_open(link, true, &file, NULL), NULL);
    local_close(&file);
    assert_ok(local_open(path, false, &file, NULL), NULL);
    assert_int_equal(file.size, 5);
    assert_ok(local_read(&file, data, 3, &len, NULL), NULL);
    assert_int_equal(len, 3);
    assert_ok(local_read(&file, data, sizeof data, &len, NULL), NULL);
    assert_int_equal(len, 2);
    assert_ok(local_read(&file, data, sizeof data, &len, NULL), NULL);
    assert_int_equal(len, 0);
    assert_ok(local_seek(&file, 0, NULL), NULL);
    assert_ok(local_read(&file, data, sizeof data, &len, NULL), NULL);
    assert_memory_equal(data, "hello", 5);
    assert_ok(local_check_unchanged(&file, NULL), NULL);
    /* The same size and another time; then another size. */
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_code(local_check_unchanged(&file, NULL), ERR_ABORTED, NULL);
    write_file(path, "hello, world");
    Err err = {0};
    assert_code(local_check_unchanged(&file, &err), ERR_ABORTED, &err);
    assert_non_null(strstr(err_text(&err), "from 5 to 12 bytes"));
    local_close(&file);
    local_close(&file);
}

static void small_files(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) path = tmp_path(dir, "file");
    AUTO_BUF(data, 5);
    bool found = true;
    assert_ok(local_read_all(path, &data, &found, NULL), NULL);
    assert_false(found);
    write_file(path, "");
    assert_ok(local_read_all(path, &data, &found, NULL), NULL);
    assert_true(found && data.len == 0);
    write_file(path, "123456");
    assert_code(local_read_all(path, &data, &found, NULL), ERR_CONFIG, NULL);
    assert_code(local_read_all(dir, &data, &found, NULL), ERR_CONFIG, NULL);
    write_file(path, "12345");
    assert_ok(local_read_all(path, &data, &found, NULL), NULL);
    assert_str(buf_str(&data), "12345");
}

static void make_dirs(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) deep = tmp_path(dir, "a/b//c/");
    AUTO(char, mem_free) file = tmp_path(dir, "file");
    AUTO(char, mem_free) below = tmp_path(dir, "file/x");
    LocalType type = LOCAL_OTHER;
    assert_ok(local_make_dirs(deep, NULL), NULL);
    assert_ok(local_make_dirs(deep, NULL), NULL);
    assert_ok(local_stat(deep, true, &type, NULL, NULL), NULL);
    assert_int_equal(type, LOCAL_DIR);
    write_file(file, "");
    assert_code(local_make_dirs(file, NULL), ERR_EXISTS, NULL);
    assert_code(local_make_dirs(below, NULL), ERR_EXISTS, NULL);
    assert_code(local_make_dirs("", NULL), ERR_BAD_NAME, NULL);
}

static void writing(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) path = tmp_path(dir, "a/b/c");
    AUTO(char, mem_free) folder = tmp_path(dir, "a/b");
    AUTO(LocalDir, local_dir_close) root = NULL;
    LocalNew file = LOCAL_NEW_NONE;
    LocalNew other = LOCAL_NEW_NONE;
    Rng rng;
    rng_init(&rng, 1);
    assert_ok(local_dir_open(NULL, dir, &root, NULL), NULL);
    assert_ok(local_new_open(root, STR("a/b/c"), &rng, &file, NULL), NULL);
    assert_ok(local_new_write(&file, STR("wrong"), NULL), NULL);
    assert_ok(local_new_cut(&file, 0, NULL), NULL);
    assert_ok(local_new_write(&file, STR("ri"), NULL), NULL);
    assert_int_not_equal(access(path, F_OK), 0); /* not there before it is whole */
    assert_ok(local_new_write(&file, STR("ght"), NULL), NULL);
    assert_ok(local_new_commit(&file, NULL), NULL);
    local_new_discard(&file); /* does nothing now */
    assert_content(path, "right");

    /* Thrown away: nothing is left, the old one stays. */
    assert_ok(local_new_open(root, STR("a/b/c"), &rng, &file, NULL), NULL);
    assert_ok(local_new_open(root, STR("a/b/c"), &rng, &other, NULL), NULL);
    assert_int_equal(count_entries(folder), 3);
    assert_ok(local_new_write(&file, STR("x"), NULL), NULL);
    local_new_discard(&file);
    local_new_discard(&file);
    assert_ok(local_new_commit(&other, NULL), NULL);
    assert_int_equal(count_entries(folder), 1);
    assert_content(path, "");
}

/* A part is found again by its tag, by one process at a time, and gets its name when it is whole.
 */
static void parts(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) path = tmp_path(dir, "f");
    AUTO(LocalDir, local_dir_close) root = NULL;
    LocalNew file = LOCAL_NEW_NONE;
    LocalNew other = LOCAL_NEW_NONE;
    Str tag = STR("0123456789abcdef");
    Str place = STR("f");
    char etag[LOCAL_ETAG_MAX + 1];
    char long_etag[LOCAL_ETAG_MAX + 1];
    uint8_t data[8];
    uint64_t size = 1;
    size_t len = 0;
    Rng rng;
    rng_init(&rng, 1);
    memset(long_etag, 'e', sizeof long_etag);
    assert_ok(local_dir_open(NULL, dir, &root, NULL), NULL);
    assert_ok(local_new_resume(root, place, tag, &rng, &file, &size, etag, NULL), NULL);
    assert_int_equal(size, 0);
    assert_string_equal(etag, "");
    /* What no file's name can have is left alone. */
    Str bad[] = {STR(""), STR("a/b"), STR("a b"), str_of(long_etag, sizeof long_etag)};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_ok(local_new_name_part(&file, tag, bad[i], NULL), NULL);
        assert_false(file.part);
    }
    assert_ok(local_new_name_part(&file, tag, STR("abc-1"), NULL), NULL);
    assert_true(file.part);
    assert_ok(local_new_write(&file, STR("12345"), NULL), NULL);
    /* Another process while this one has it: begins its own. */
    assert_ok(local_new_resume(root, place, tag, &rng, &other, &size, etag, NULL), NULL);
    assert_int_equal(size, 0);
    assert_ok(local_new_name_part(&other, tag, STR("abc-1"), NULL), NULL);
    assert_false(other.part);
    local_new_discard(&other);
    local_new_leave(&file);
    assert_int_equal(count_entries(dir), 1);
    /* Another tag, another place: not this part. */
    assert_ok(
        local_new_resume(root, place, STR("fedcba9876543210"), &rng, &other, &size, etag, NULL),
        NULL);
    assert_int_equal(size, 0);
    local_new_discard(&other);
    assert_ok(local_new_resume(root, place, tag, &rng, &file, &size, etag, NULL), NULL);
    assert_int_equal(size, 5);
    assert_string_equal(etag, "abc-1");
    assert_ok(local_new_read(&file, 1, data, sizeof data, &len, NULL), NULL);
    assert_str(str_of(data, len), "2345");
    assert_ok(local_new_cut(&file, 4, NULL), NULL);
    assert_ok(local_new_write(&file, STR("!"), NULL), NULL);
    assert_ok(local_new_name_part(&file, tag, STR("other"), NULL), NULL);
    assert_ok(local_new_commit(&file, NULL), NULL);
    assert_int_equal(count_entries(dir), 1);
    assert_content(path, "1234!");
    /* Thrown away. */
    assert_ok(local_new_open(root, place, &rng, &file, NULL), NULL);
    assert_ok(local_new_name_part(&file, tag, STR("x"), NULL), NULL);
    local_new_discard(&file);
    assert_int_equal(count_entries(dir), 1);
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* What replaces a file may be read by those who could read that, and by nobody else meanwhile. */
static void rights(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) path = tmp_path(dir, "f");
    AUTO(LocalDir, local_dir_close) root = NULL;
    LocalNew file = LOCAL_NEW_NONE;
    Rng rng;
    static const unsigned modes[] = {0600, 0640, 0444, 0777};
    rng_init(&rng, 3);
    mode_t before = umask(022);
    assert_ok(local_dir_open(NULL, dir, &root, NULL), NULL);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        write_file(path, "old");
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_ok(local_new_open(root, STR("f"), &rng, &file, NULL), NULL);
        AUTO(char, mem_free) temp = tmp_path(dir, file.temp);
        assert_int_equal(mode_of(temp), 0600);
        assert_ok(local_new_write(&file, STR("new"), NULL), NULL);
        assert_ok(local_new_commit(&file, NULL), NULL);
        assert_int_equal(mode_of(path), modes[i]);
        assert_content(path, "new");
        assert_int_equal(unlink(path), 0);
    }
    /* One that came meanwhile counts too; where there was none, the umask does. */
    assert_ok(local_new_open(root, STR("f"), &rng, &file, NULL), NULL);
    write_file(path, "old");
    assert_int_equal(chmod(path, 0600), 0);
    assert_ok(local_new_commit(&file, NULL), NULL);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(unlink(path), 0);
    assert_ok(local_new_open(root, STR("f"), &rng, &file, NULL), NULL);
    assert_ok(local_new_commit(&file, NULL), NULL);
    assert_int_equal(mode_of(path), 0644);
    assert_int_equal(umask(before), 022);
}

static void never_elsewhere(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) outside = tmp_dir_new();
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) to_dir = tmp_path(dir, "to_dir");
    AUTO(char, mem_free) to_file = tmp_path(dir, "to_file");
    AUTO(char, mem_free) folder = tmp_path(dir, "folder");
    AUTO(char, mem_free) file_path = tmp_path(dir, "file");
    AUTO(char, mem_free) victim = tmp_path(outside, "victim");
    AUTO(LocalDir, local_dir_close) root = NULL;
    LocalNew file = LOCAL_NEW_NONE;
    Rng rng;
    char long_name[300];
    memset(long_name, 'n', sizeof long_name);
    rng_init(&rng, 2);
    write_file(victim, "kept");
    write_file(file_path, "kept");
    assert_int_equal(symlink(outside, to_dir), 0);
    assert_int_equal(symlink(victim, to_file), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_ok(local_dir_open(NULL, dir, &root, NULL), NULL);
    static const char *const refused[] = {"to_dir/x", "to_dir/victim", "to_file",
                                          "folder",   "file/x",        "to_file/x"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_code(local_new_open(root, str_from_cstr(refused[i]), &rng, &file, NULL), ERR_EXISTS,
                    NULL);
    }
    assert_code(local_new_open(root, str_of(long_name, 256), &rng, &file, NULL), ERR_BAD_NAME,
                NULL);
    assert_code(local_new_open(root, STR(""), &rng, &file, NULL), ERR_BAD_NAME, NULL);
    assert_int_equal(file.fd, -1);
    assert_int_equal(count_entries(outside), 1);
    assert_content(victim, "kept");

    /* Something that came into its place meanwhile is not replaced either. */
    assert_ok(local_new_open(root, STR("late"), &rng, &file, NULL), NULL);
    AUTO(char, mem_free) late = tmp_path(dir, "late");
    assert_int_equal(symlink(victim, late), 0);
    assert_code(local_new_commit(&file, NULL), ERR_EXISTS, NULL);
    local_new_discard(&file);
    assert_content(victim, "kept");
    assert_int_equal(count_entries(dir), 5);
}

static void below(void **state)
{
    UNUSED(state);
    static const struct {
        const char *relative;
        LocalPresence presence;
    } rows[] = {
        {"file", LOCAL_THERE},
        {"sub/file", LOCAL_THERE},
        {"sub", LOCAL_ABSENT},
        {"none", LOCAL_ABSENT},
        {"file/x", LOCAL_ABSENT},
        {"sub/none/x", LOCAL_ABSENT},
        {"../file", LOCAL_ABSENT},
        {"sub//file", LOCAL_ABSENT},
        {"", LOCAL_ABSENT},
        {"/file", LOCAL_ABSENT},
        {"link", LOCAL_OTHERWISE},
        {"linked/file", LOCAL_OTHERWISE},
        {"linked/none", LOCAL_OTHERWISE},
    };
    AUTO(char, tmp_dir_remove) path = tmp_dir_new();
    AUTO(char, mem_free) sub = tmp_path(path, "sub");
    AUTO(char, mem_free) link = tmp_path(path, "link");
    AUTO(char, mem_free) linked = tmp_path(path, "linked");
    AUTO(LocalDir, local_dir_close) dir = NULL;
    assert_int_equal(mkdir(sub, 0700), 0);
    for (size_t i = 0; i < 2; i++) {
        AUTO(char, mem_free) name = tmp_path(path, rows[i].relative);
        FILE *file = fopen(name, "w");
        assert_non_null(file);
        assert_int_equal(fclose(file), 0);
    }
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(symlink("sub", linked), 0);
    assert_ok(local_dir_open(NULL, path, &dir, NULL), NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Str relative = str_from_cstr(rows[i].relative);
        LocalPresence presence = LOCAL_OTHERWISE;
        LocalFile file = LOCAL_FILE_NONE;
        assert_ok(local_look_below(dir, relative, &presence, NULL), NULL);
        assert_int_equal(presence, rows[i].presence);
        assert_ok(local_open_below(dir, relative, &file, NULL), NULL);
        assert_int_equal(file.fd >= 0, rows[i].presence == LOCAL_THERE);
        local_close(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(below),       cmocka_unit_test(reading),         cmocka_unit_test(inside),
        cmocka_unit_test(small_files), cmocka_unit_test(make_dirs),       cmocka_unit_test(writing),
        cmocka_unit_test(parts),       cmocka_unit_test(never_elsewhere), cmocka_unit_test(rights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
