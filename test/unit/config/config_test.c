/* The option table from every side: defaults, environment, flags, bounds, texts, help. */
#include "testing.h"

#include "config/config.h"
#include <string.h>

#define ARGS_MAX 8

typedef struct {
    const char *args[ARGS_MAX]; /* flags; NULL ends */
    const char *env[3];
    ErrCode code;
    const char *text; /* part of the error's */
} Case;

static ErrCode read_case(const Case *c, Config *config, bool *help, Err *err)
{
    char *argv[ARGS_MAX + 1] = {(char *)(uintptr_t) "serve"};
    char *env[4] = {NULL};
    int argc = 1;
    for (; c->args[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)c->args[argc - 1];
    for (size_t i = 0; i < ARRAY_LEN(c->env) && c->env[i] != NULL; i++)
        env[i] = (char *)(uintptr_t)c->env[i];
    return config_read(argc, argv, env, config, help, err);
}

static void test_defaults(void **state)
{
    UNUSED(state);
    Config config;
    bool help = true;
    Err err;
    Case c = {.args = {"--data", "d"}};
    assert_ok(read_case(&c, &config, &help, &err), &err);
    assert_false(help);
    assert_int_equal(config.data_count, 1);
    assert_string_equal(config.data[0], "d");
    assert_string_equal(config.http, "127.0.0.1:9001");
    assert_int_equal(config.segment_size, MIB);
    assert_int_equal(config.index_cache, 16 * MIB);
    assert_int_equal(config.drain_timeout_ms, 30000);
    assert_int_equal(config.threads, 0);
    assert_int_equal(config.log_format, CONFIG_LOG_AUTO);
    assert_int_equal(config.log_level, 1);
    assert_int_equal(config.access_log, 0);
    config_deinit(&config);
}

static void test_sources(void **state)
{
    UNUSED(state);
    Config config;
    bool help;
    Err err;
    Case c = {.args = {"--segment-size=128KiB", "--access-log", "--log-level", "error"},
              .env = {"HOLDFAST_SEGMENT_SIZE=2MiB", "HOLDFAST_DATA=/a b", "HOLDFAST_HTTP=:1"}};
    assert_ok(read_case(&c, &config, &help, &err), &err);
    assert_int_equal(config.segment_size, 128 * KIB);
    assert_int_equal(config.access_log, 1);
    assert_int_equal(config.log_level, 3);
    assert_string_equal(config.data[0], "/a b");
    assert_string_equal(config.http, ":1");
    config_deinit(&config);
    /* A flag replaces the environment's directory. */
    Case both = {.args = {"--data=b"}, .env = {"HOLDFAST_DATA=a"}};
    assert_ok(read_case(&both, &config, &help, &err), &err);
    assert_int_equal(config.data_count, 1);
    assert_string_equal(config.data[0], "b");
    config_deinit(&config);
}

static void test_refusals(void **state)
{
    UNUSED(state);
    static const Case cases[] = {
        {.args = {NULL}, .code = ERR_USAGE, .text = "--data"},
        {.args = {"d"}, .code = ERR_USAGE, .text = "\"d\" is not an option"},
        {.args = {"--data"}, .code = ERR_USAGE, .text = "--data needs a value"},
        {.args = {"--data="}, .code = ERR_CONFIG, .text = "empty"},
        {.args = {"--data", "a", "--data", "b"}, .code = ERR_CONFIG, .text = "copies"},
        {.args = {"--dat", "a"}, .code = ERR_USAGE, .text = "do you mean --data?"},
        {.args = {"--segmentsize=1"}, .code = ERR_USAGE, .text = "--segment-size"},
        {.args = {"--utterly-different"}, .code = ERR_USAGE, .text = "--utterly-different"},
        {.args = {"--threads", "65"}, .code = ERR_CONFIG, .text = "\"65\" is not 0..64"},
        {.args = {"--threads", "1s"}, .code = ERR_CONFIG, .text = "\"1s\""},
        {.args = {"--threads", ""}, .code = ERR_CONFIG, .text = "\"\""},
        {.args = {"--threads", "-1"}, .code = ERR_CONFIG, .text = "\"-1\""},
        {.args = {"--segment-size", "63KiB"}, .code = ERR_CONFIG, .text = "64KiB..1GiB"},
        {.args = {"--segment-size", "1kb"}, .code = ERR_CONFIG, .text = "1kb"},
        {.args = {"--segment-size", "18014398509481985KiB"}, .code = ERR_CONFIG, .text = "KiB"},
        {.args = {"--data", "d", "--segment-size", "65537"}, .code = ERR_CONFIG, .text = "4 KiB"},
        {.args = {"--drain-timeout", "2d"}, .code = ERR_CONFIG, .text = "1d"},
        {.args = {"--drain-timeout", "5"}, .code = ERR_CONFIG, .text = "\"5\""},
        {.args = {"--access-log=yes"}, .code = ERR_CONFIG, .text = "true or false"},
        {.args = {"--log-level", "loud"}, .code = ERR_CONFIG, .text = "debug, info"},
        {.args = {"--s3", ":9000"}, .code = ERR_CONFIG, .text = "later release"},
        {.args = {"--peer"}, .code = ERR_CONFIG, .text = "later release"},
        {.args = {"--data", "d"},
         .env = {"HOLDFAST_THREADS=x"},
         .code = ERR_CONFIG,
         .text = "HOLDFAST_THREADS"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Config config = {.threads = 77};
        bool help = false;
        Err err = {0};
        assert_code(read_case(&cases[i], &config, &help, &err), cases[i].code, &err);
        if (strstr(err_text(&err), cases[i].text) == NULL)
            fail_msg("\"%s\" without \"%s\"", err_text(&err), cases[i].text);
        assert_int_equal(config.threads, 77); /* untouched */
    }
}

static void test_sizes(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {{"65536", 65536},
                 {"65536B", 65536},
                 {"64KiB", 65536},
                 {"1024MiB", 1 * GIB},
                 {"1GiB", 1 * GIB}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Config config;
        bool help;
        Err err = {0};
        Case c = {.args = {"--data", "d", "--segment-size", cases[i].text}};
        assert_ok(read_case(&c, &config, &help, &err), &err);
        assert_int_equal(config.segment_size, cases[i].value);
        config_deinit(&config);
    }
}

static void test_help(void **state)
{
    UNUSED(state);
    Config config;
    bool help = false;
    Err err = {0};
    Case c = {.args = {"--help", "--nonsense"}};
    assert_ok(read_case(&c, &config, &help, &err), &err);
    assert_true(help);
    config_deinit(&config);
    AUTO_BUF(text, 64 * KIB);
    assert_ok(config_help(&text, &err), &err);
    assert_ok(buf_append(&text, "", 1, &err), &err);
    const char *help_text = (const char *)text.data;
    assert_non_null(strstr(help_text, "--segment-size SIZE"));
    assert_non_null(strstr(help_text, "[1MiB]"));
    assert_non_null(strstr(help_text, "HOLDFAST_"));
    assert_null(strstr(help_text, "--s3"));
    AUTO_BUF(small, 10);
    assert_code(config_help(&small, &err), ERR_TOO_BIG, &err);
}

static void test_unknown_env(void **state)
{
    UNUSED(state);
    char *known[] = {(char *)(uintptr_t) "HOLDFAST_URL=x", (char *)(uintptr_t) "HOLDFAST_DATA=x",
                     (char *)(uintptr_t) "PATH=/bin", (char *)(uintptr_t) "nonsense", NULL};
    char *typo[] = {(char *)(uintptr_t) "HOLDFAST_SEGMENT_SISE=1", NULL};
    char *strange[] = {(char *)(uintptr_t) "HOLDFAST_ENTIRELY_SOMETHING_ELSE_AND_LONG=1", NULL};
    Str name;
    const char *nearest = NULL;
    assert_false(config_unknown_env(known, &name, &nearest));
    assert_true(config_unknown_env(typo, &name, &nearest));
    assert_str(name, "HOLDFAST_SEGMENT_SISE");
    assert_string_equal(nearest, "segment-size");
    assert_true(config_unknown_env(strange, &name, &nearest));
    assert_null(nearest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_sources),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_help),     cmocka_unit_test(test_unknown_env),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
