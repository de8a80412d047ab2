/* The option table from every side: defaults, environment, flags, bounds, texts, help. */
#include "testing.h"

#include "config/config.h"
#include "source_dir.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 8

typedef struct {
    const char *args[ARGS_MAX]; /* flags; NULL ends */
    const char *env[3];
    const char *file; /* YAML; NULL: no file */
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
    ConfigSources sources = {.file = str_from_cstr(c->file),
                             .file_name = c->file == NULL ? NULL : "f.yaml",
                             .env = env,
                             .argc = argc,
                             .argv = argv};
    return config_read(&sources, config, help, err);
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
    assert_string_equal(config.s3, "127.0.0.1:9000");
    assert_string_equal(config.s3_region, "us-east-1");
    assert_string_equal(config.s3_domain, "none");
    assert_int_equal(config.segment_size, MIB);
    assert_int_equal(config.index_cache, 16 * MIB);
    assert_int_equal(config.cache, 32 * MIB);
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

static void test_file(void **state)
{
    UNUSED(state);
    Config config;
    bool help;
    Err err;
    Case c = {.args = {"--threads=3"},
              .env = {"HOLDFAST_THREADS=2", "HOLDFAST_DRAIN_TIMEOUT=1s"},
              .file = "# settings\ndata: [/srv/a]\nthreads: 1\ndrain-timeout: 9s\n"
                      "segment-size: \"2MiB\"\naccess-log: true\n"};
    assert_ok(read_case(&c, &config, &help, &err), &err);
    assert_int_equal(config.data_count, 1);
    assert_string_equal(config.data[0], "/srv/a");
    assert_int_equal(config.threads, 3);
    assert_int_equal(config.drain_timeout_ms, 1000);
    assert_int_equal(config.segment_size, 2 * MIB);
    assert_int_equal(config.access_log, 1);
    config_deinit(&config);
    /* The environment's directory replaces the file's. */
    Case env = {.args = {NULL}, .env = {"HOLDFAST_DATA=b"}, .file = "data: a\n"};
    assert_ok(read_case(&env, &config, &help, &err), &err);
    assert_int_equal(config.data_count, 1);
    assert_string_equal(config.data[0], "b");
    config_deinit(&config);
    Case empty = {.args = {"--data", "d"}, .file = "# nothing\n"};
    assert_ok(read_case(&empty, &config, &help, &err), &err);
    config_deinit(&config);
}

static void test_file_named(void **state)
{
    UNUSED(state);
    static const struct {
        const char *args[3];
        const char *env;
        const char *named;
    } cases[] = {{{NULL}, NULL, ""},
                 {{NULL}, "HOLDFAST_CONFIG=e", "e"},
                 {{"--config", "f"}, "HOLDFAST_CONFIG=e", "f"},
                 {{"--config=g"}, NULL, "g"},
                 {{"--config"}, NULL, ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *argv[4] = {(char *)(uintptr_t) "serve"};
        char *env[2] = {(char *)(uintptr_t)cases[i].env, NULL};
        int argc = 1;
        for (; cases[i].args[argc - 1] != NULL; argc++)
            argv[argc] = (char *)(uintptr_t)cases[i].args[argc - 1];
        assert_str(config_file_named(argc, argv, env), cases[i].named);
    }
}

static void test_check(void **state)
{
    UNUSED(state);
    Err err = {0};
    assert_ok(config_check(STR("threads: 2\n"), "f.yaml", &err), &err);
    assert_code(config_check(STR("http: 1.2.3:9001\n"), "f.yaml", &err), ERR_CONFIG, &err);
    assert_code(config_check(STR("scrub-rate-max: 1KiB\n"), "f.yaml", &err), ERR_CONFIG, &err);
    assert_code(config_check(STR("segment-size: 65537\n"), "f.yaml", &err), ERR_CONFIG, &err);
    assert_non_null(strstr(err_text(&err), "f.yaml"));
    /* The printed example is good, and good with all its lines switched on. */
    AUTO_BUF(text, 64 * KIB);
    assert_ok(config_example(&text, &err), &err);
    assert_ok(config_check(buf_str(&text), "example", &err), &err);
    for (size_t i = 1; i + 1 < text.len; i++) {
        if (text.data[i] == '#' && text.data[i - 1] == '\n' && text.data[i + 1] != ' ')
            text.data[i] = ' ';
    }
    assert_ok(config_check(buf_str(&text), "example", &err), &err);
    assert_code(config_check(STR(" threads: 99\n"), "e", &err), ERR_CONFIG, &err);
}

/* docs/configuration.md is what the table gives; HOLDFAST_UPDATE=1 writes it anew. */
static void test_document(void **state)
{
    UNUSED(state);
    Err err = {0};
    AUTO_BUF(wanted, 64 * KIB);
    assert_ok(config_markdown(&wanted, &err), &err);
    const char *path = SOURCE_DIR "/docs/configuration.md";
    if (getenv("HOLDFAST_UPDATE") != NULL) {
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        assert_int_equal(fwrite(wanted.data, 1, wanted.len, file), wanted.len);
        assert_int_equal(fclose(file), 0);
    }
    static char text[64 * KIB];
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof text, file);
    assert_int_equal(fclose(file), 0);
    if (!str_eq(buf_str(&wanted), str_of(text, len)))
        fail_msg("docs/configuration.md is not what config.def gives: run with HOLDFAST_UPDATE=1");
}

static void test_changes(void **state)
{
    UNUSED(state);
    Config old;
    Config now;
    bool help;
    Err err;
    Case a = {.args = {"--data", "d"}};
    Case b = {.args = {"--data", "e", "--log-level", "debug", "--threads=2", "--http=:1"}};
    assert_ok(read_case(&a, &old, &help, &err), &err);
    assert_ok(read_case(&b, &now, &help, &err), &err);
    static const struct {
        const char *name;
        bool live;
    } wanted[] = {{"data", false}, {"http", false}, {"threads", false}, {"log-level", true}};
    size_t cursor = 0;
    const char *name;
    bool live;
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        assert_true(config_next_change(&old, &now, &cursor, &name, &live));
        assert_string_equal(name, wanted[i].name);
        assert_int_equal(live, wanted[i].live);
    }
    assert_false(config_next_change(&old, &now, &cursor, &name, &live));
    cursor = 0;
    assert_false(config_next_change(&old, &old, &cursor, &name, &live));
    config_deinit(&old);
    config_deinit(&now);
}

static void test_refusals(void **state)
{
    UNUSED(state);
    static const Case cases[] = {
        {.args = {NULL}, .code = ERR_USAGE, .text = "--data"},
        {.args = {"d"}, .code = ERR_USAGE, .text = "\"d\" is not an option"},
        {.args = {"--data"}, .code = ERR_USAGE, .text = "--data needs a value"},
        {.args = {"--data="}, .code = ERR_CONFIG, .text = "empty"},
        {.args = {"--data=a", "--data=b", "--data=c", "--data=d"},
         .code = ERR_CONFIG,
         .text = "at most 3"},
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
        {.args = {"--http", "9001"}, .code = ERR_CONFIG, .text = "--http: \"9001\" is not ADDRESS"},
        {.args = {"--http", "127.0.0.1:"}, .code = ERR_CONFIG, .text = "is not ADDRESS:PORT"},
        {.args = {"--http", "127.0.0.1:65536"}, .code = ERR_CONFIG, .text = "is not ADDRESS:PORT"},
        {.args = {"--http", "example.org:80"}, .code = ERR_CONFIG, .text = "is not ADDRESS:PORT"},
        {.args = {"--http", "::1:80"}, .code = ERR_CONFIG, .text = "like 127.0.0.1:9001 or [::1]"},
        {.args = {"--http", "[::1:80"}, .code = ERR_CONFIG, .text = "is not ADDRESS:PORT"},
        {.args = {"--http="}, .code = ERR_CONFIG, .text = "is not ADDRESS:PORT"},
        {.args = {"--http", "[fe80::1%0123456789abcdef]:1"},
         .code = ERR_CONFIG,
         .text = "is not ADDRESS:PORT"},
        {.args = {"--http", "[fe80::1%]:1"}, .code = ERR_CONFIG, .text = "is not ADDRESS:PORT"},
        {.args = {NULL}, .env = {"HOLDFAST_HTTP=x"}, .code = ERR_CONFIG, .text = "HOLDFAST_HTTP: "},
        {.args = {NULL},
         .file = "\nhttp: nowhere\n",
         .code = ERR_CONFIG,
         .text = "f.yaml:2: http: \"nowhere\""},
        {.args = {"--data", "d", "--scrub-rate-min", "128MiB"},
         .code = ERR_CONFIG,
         .text = "scrub-rate-min: 128MiB is above scrub-rate-max, 64MiB"},
        {.args = {"--s3", "nowhere"}, .code = ERR_CONFIG, .text = "is not ADDRESS:PORT"},
        {.args = {"--s3-region", ""}, .code = ERR_CONFIG, .text = "is not 1 to 64 of [a-z0-9.-]"},
        {.args = {"--s3-domain", "A.b"}, .code = ERR_CONFIG, .text = "is not 1 to 190 of"},
        {.args = {"--peer"}, .code = ERR_CONFIG, .text = "later release"},
        {.args = {NULL}, .file = "threads: 2\n", .code = ERR_USAGE, .text = "--data"},
        {.args = {NULL}, .file = "a: b: c\n", .code = ERR_CONFIG, .text = "f.yaml:1:"},
        {.args = {NULL}, .file = "- a\n", .code = ERR_CONFIG, .text = "f.yaml:1: lines of"},
        {.args = {NULL}, .file = "[a]: b\n", .code = ERR_CONFIG, .text = "name of a setting"},
        {.args = {NULL},
         .file = "\n\nthread: 2\n",
         .code = ERR_CONFIG,
         .text = "f.yaml:3: there is no setting \"thread\"; do you mean threads?"},
        {.args = {NULL},
         .file = "something-else-entirely: 2\n",
         .code = ERR_CONFIG,
         .text = "there is no setting \"something-else-entirely\""},
        {.args = {NULL},
         .file = "data: d\nthreads: 65\n",
         .code = ERR_CONFIG,
         .text = "f.yaml:2: threads: \"65\" is not 0..64"},
        {.args = {NULL}, .file = "threads: [1]\n", .code = ERR_CONFIG, .text = "is not text"},
        {.args = {NULL},
         .file = "threads: 1\nthreads: 2\n",
         .code = ERR_CONFIG,
         .text = "f.yaml:2: threads is set twice"},
        {.args = {NULL}, .file = "config: g\n", .code = ERR_CONFIG, .text = "names no other"},
        {.args = {NULL}, .file = "peer: :9\n", .code = ERR_CONFIG, .text = "later release"},
        {.args = {NULL}, .file = "data: [a, b, c, d]\n", .code = ERR_CONFIG, .text = "at most 3"},
        {.args = {NULL},
         .file = "threads: 1\n---\nthreads: 2\n",
         .code = ERR_CONFIG,
         .text = "second document"},
        {.args = {NULL}, .file = "http: \"\\0\"\n", .code = ERR_CONFIG, .text = "is not text"},
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

static void test_addresses(void **state)
{
    UNUSED(state);
    static const char *const good[] = {":1",           "0.0.0.0:0",  "127.0.0.1:65535",
                                       "localhost:80", "[::1]:9001", "[fe80::1%lo]:1",
                                       "[::]:0"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        Config config;
        bool help;
        Err err = {0};
        Case c = {.args = {"--data", "d", "--http", good[i]}};
        assert_ok(read_case(&c, &config, &help, &err), &err);
        assert_string_equal(config.http, good[i]);
        config_deinit(&config);
    }
}

/* What comes with a later release is no answer to a name that nobody knows. */
static void test_origins(void **state)
{
    UNUSED(state);
    static const struct {
        const char *value;
        const char *read; /* NULL: refused */
    } rows[] = {
        {"", ""},
        {"*", "*"},
        {" * ", "*"},
        {"https://a.example", "https://a.example"},
        {"https://a.example , http://localhost:3000", "https://a.example,http://localhost:3000"},
        {"http://[::1]:8080", "http://[::1]:8080"},
        {"app+x://a_b", "app+x://a_b"},
        {"https://a.example/", NULL},
        {"https://a.example/path", NULL},
        {"https://A.example", NULL},
        {"a.example", NULL},
        {"https:a.example", NULL},
        {"https://", NULL},
        {"://a", NULL},
        {"null", NULL},
        {"*,https://a.example", NULL},
        {"https://a.example,", NULL},
        {"https://a b", NULL},
        {"https://a.example\r\nX: y", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Config config;
        bool help = false;
        Err err = {0};
        Case c = {.args = {"--data", "d", "--cors-origins", rows[i].value}};
        ErrCode code = read_case(&c, &config, &help, &err);
        if (rows[i].read == NULL) {
            assert_int_equal(code, ERR_CONFIG);
            assert_non_null(strstr(err_text(&err), "is not an origin like https://"));
            continue;
        }
        assert_ok(code, &err);
        assert_string_equal(config.cors_origins, rows[i].read);
        assert_int_equal(config_is_preset(&config, "cors-origins"), rows[i].read[0] == '\0');
        config_deinit(&config);
    }
}

static void test_no_reserved_hint(void **state)
{
    UNUSED(state);
    Config config;
    bool help;
    Err err = {0};
    Case flag = {.args = {"--peers", "x"}};
    assert_code(read_case(&flag, &config, &help, &err), ERR_USAGE, NULL);
    assert_null(strstr(err_text(&err), "do you mean"));
    err_clear(&err);
    Case line = {.args = {NULL}, .file = "peers: x\n"};
    assert_code(read_case(&line, &config, &help, &err), ERR_CONFIG, NULL);
    assert_null(strstr(err_text(&err), "do you mean"));
}

static void test_preset(void **state)
{
    UNUSED(state);
    Config config;
    bool help;
    Err err = {0};
    Case c = {.args = {"--data", "d", "--connections", "20000", "--threads", "0"}};
    assert_ok(read_case(&c, &config, &help, &err), &err);
    assert_false(config_is_preset(&config, "connections"));
    assert_true(config_is_preset(&config, "threads"));
    assert_true(config_is_preset(&config, "http"));
    config_deinit(&config);
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

/* The same sizes for who has no settings to read. */
static void test_parse_size(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } rows[] = {{"500", 500}, {"7B", 7},  {"16MiB", 16 * MIB}, {"2TiB", 2048 * GIB},
                {"", 0},      {"MiB", 0}, {"1.5GiB", 0},       {"1mib", 0},
                {"1 KiB", 0}, {"-1", 0},  {"16777216TiB", 0},  {"18446744073709551616", 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t bytes = 0;
        bool good = config_parse_size(str_from_cstr(rows[i].text), &bytes);
        assert_int_equal(good, rows[i].bytes != 0);
        if (good) assert_int_equal(bytes, rows[i].bytes);
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
    assert_null(strstr(help_text, "--peer"));
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
        cmocka_unit_test(test_defaults),         cmocka_unit_test(test_sources),
        cmocka_unit_test(test_refusals),         cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_parse_size),       cmocka_unit_test(test_help),
        cmocka_unit_test(test_unknown_env),      cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_named),       cmocka_unit_test(test_check),
        cmocka_unit_test(test_origins),          cmocka_unit_test(test_changes),
        cmocka_unit_test(test_document),         cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_no_reserved_hint), cmocka_unit_test(test_preset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
