#include "cli/settings.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void parses(void **state)
{
    UNUSED(state);
    static const struct {
        const char *yaml;
        ErrCode code;
        const char *url, *key; /* NULL: not set */
    } rows[] = {
        {"", OK, NULL, NULL},
        {"# nothing\n", OK, NULL, NULL},
        {"url: http://a:1\nkey: i.s\n", OK, "http://a:1", "i.s"},
        {"key: \"i.s\"\n", OK, NULL, "i.s"},
        {"{url: 'http://a'}", OK, "http://a", NULL},
        {"other: [1, 2]\nkey: i.s\n", OK, NULL, "i.s"},
        {"url: http://a\nurl: http://b\n", OK, "http://b", NULL},
        {"- url\n", ERR_CONFIG, NULL, NULL},
        {"text", ERR_CONFIG, NULL, NULL},
        {"url: [http://a]\n", ERR_CONFIG, NULL, NULL},
        {"key: \"a\\0b\"\n", ERR_CONFIG, NULL, NULL},
        {"url: [1, 2\n", ERR_CONFIG, NULL, NULL},
        {"\t: x", ERR_CONFIG, NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Settings settings = {0};
        Err err = {0};
        ErrCode code = settings_parse(str_from_cstr(rows[i].yaml), &settings, &err);
        assert_code(code, rows[i].code, &err);
        if (rows[i].url == NULL) assert_null(settings.url);
        if (rows[i].url != NULL) assert_string_equal(settings.url, rows[i].url);
        if (rows[i].key == NULL) assert_null(settings.key);
        if (rows[i].key != NULL) assert_string_equal(settings.key, rows[i].key);
        settings_deinit(&settings);
    }
}

static void no_environment(void)
{
    unsetenv("HOLDFAST_URL");
    unsetenv("HOLDFAST_KEY");
    unsetenv("HOLDFAST_KEY_FILE");
    unsetenv("HOLDFAST_CA");
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("HOME");
}

static void addresses(void **state)
{
    UNUSED(state);
    static const struct {
        const char *url;
        const char *is; /* NULL: refused */
    } rows[] = {
        {NULL, SETTINGS_URL_DEFAULT},
        {"http://h", "http://h"},
        {"https://h:9/", "https://h:9"},
        {"http://h/base//", "http://h/base"},
        {"", NULL},
        {"h:9001", NULL},
        {"ftp://h", NULL},
        {"http://", NULL},
        {"http:///x", NULL},
        {"http://h x", NULL},
        {"http://h\n", NULL},
        {"http://h?x", NULL},
        {"http://h#x", NULL},
    };
    no_environment();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ClientOptions options = {.url = rows[i].url};
        Settings settings = {0};
        ErrCode code = settings_read(&options, &settings, NULL);
        assert_int_equal(code, rows[i].is != NULL ? OK : ERR_USAGE);
        if (code == OK) assert_string_equal(settings.url, rows[i].is);
        assert_null(settings.key);
        settings_deinit(&settings);
    }
    static const char *const keys[] = {"a b", "a\nb", "", "\xc3\xbc"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        ClientOptions options = {.key = keys[i]};
        Settings settings = {0};
        assert_code(settings_read(&options, &settings, NULL), ERR_USAGE, NULL);
        settings_deinit(&settings);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void order(void **state)
{
    UNUSED(state);
    AUTO(char, tmp_dir_remove) dir = tmp_dir_new();
    AUTO(char, mem_free) folder = tmp_path(dir, "holdfast");
    AUTO(char, mem_free) file = tmp_path(folder, "config.yaml");
    AUTO(char, mem_free) key_file = tmp_path(dir, "key");
    ClientOptions none = {0};
    ClientOptions flags = {.url = "http://flag", .key = "flag.key", .ca = "flag.pem"};
    Settings s = {0};
    Err err = {0};
    no_environment();
    assert_int_equal(setenv("XDG_CONFIG_HOME", dir, 1), 0);
    assert_ok(settings_read(&none, &s, &err), &err); /* no file is no error */
    settings_deinit(&s);

    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(file, "url: http://file\nkey: file.key\nca: file.pem\n");
    write_file(key_file, "key.file\n# more\n");
    assert_ok(settings_read(&none, &s, &err), &err);
    assert_string_equal(s.url, "http://file");
    assert_string_equal(s.key, "file.key");
    assert_string_equal(s.ca, "file.pem");
    settings_deinit(&s);

    assert_int_equal(setenv("HOLDFAST_KEY_FILE", key_file, 1), 0);
    assert_int_equal(setenv("HOLDFAST_URL", "http://env", 1), 0);
    assert_int_equal(setenv("HOLDFAST_CA", "env.pem", 1), 0);
    assert_ok(settings_read(&none, &s, &err), &err);
    assert_string_equal(s.url, "http://env");
    assert_string_equal(s.key, "key.file");
    assert_string_equal(s.ca, "env.pem");
    settings_deinit(&s);

    assert_int_equal(setenv("HOLDFAST_KEY", "env.key", 1), 0);
    assert_ok(settings_read(&none, &s, &err), &err);
    assert_string_equal(s.key, "env.key");
    settings_deinit(&s);
    assert_ok(settings_read(&flags, &s, &err), &err);
    assert_string_equal(s.url, "http://flag");
    assert_string_equal(s.key, "flag.key");
    assert_string_equal(s.ca, "flag.pem");
    settings_deinit(&s);

    assert_int_equal(unsetenv("HOLDFAST_KEY"), 0);
    assert_int_equal(setenv("HOLDFAST_KEY_FILE", "/nowhere", 1), 0);
    assert_code(settings_read(&none, &s, &err), ERR_CONFIG, &err);
    write_file(file, "url: {\n");
    assert_code(settings_read(&none, &s, &err), ERR_CONFIG, &err);
    assert_non_null(strstr(err_text(&err), "config.yaml"));
    assert_null(s.url);
    no_environment();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses),
        cmocka_unit_test(addresses),
        cmocka_unit_test(order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
