#include "cli/options.h"
#include "testing.h"

#include <string.h>

#define ARGS_MAX 8

static const CommandSpec spec = {
    .name = "try",
    .arguments = "A",
    .summary = "tries",
    .usage = "try A [B]\ntry -r A",
    .text = "Tries.",
    .example = "  holdfast try a",
    .options = OPTION_RECURSIVE | OPTION_CONNECTIONS | OPTION_JSON | OPTION_QUIET,
    .args_min = 1,
    .args_max = 2,
};

/* Words separated by single spaces, as argv. */
static ErrCode read_words(const char *words, ClientOptions *out, bool *help, Err *err)
{
    static char text[256];
    char *argv[ARGS_MAX];
    int argc = 0;
    bool more = true;
    assert_true(str_to_cstr(str_from_cstr(words), text, sizeof text));
    for (char *at = text; more; at++) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = at;
        at += strcspn(at, " ");
        more = *at != '\0';
        *at = '\0';
    }
    return options_read(&spec, argc, argv, out, help, err);
}

static void reads(void **state)
{
    UNUSED(state);
    ClientOptions o;
    bool help = true;
    assert_ok(read_words("try a", &o, &help, NULL), NULL);
    assert_false(help);
    assert_int_equal(o.arg_count, 1);
    assert_string_equal(o.args[0], "a");
    assert_int_equal(o.connections, 8);
    assert_int_equal(o.retry_for_ms, 60000);
    assert_false(o.retry_given || o.json || o.quiet || o.recursive || o.long_form);
    assert_null(o.url);
    assert_null(o.key);

    assert_ok(read_words("try --url=http://x a -rq --key i.s b", &o, &help, NULL), NULL);
    assert_string_equal(o.url, "http://x");
    assert_string_equal(o.key, "i.s");
    assert_string_equal(o.args[0], "a");
    assert_string_equal(o.args[1], "b");
    assert_true(o.recursive && o.quiet && !o.json);

    assert_ok(read_words("try --retry-for 5min --connections=64 --json -- -r", &o, &help, NULL),
              NULL);
    assert_int_equal(o.retry_for_ms, 300000);
    assert_true(o.retry_given && o.json && !o.recursive);
    assert_int_equal(o.connections, 64);
    assert_string_equal(o.args[0], "-r");

    assert_ok(read_words("try -", &o, &help, NULL), NULL);
    assert_string_equal(o.args[0], "-");
    assert_ok(read_words("try --url= a", &o, &help, NULL), NULL);
    assert_string_equal(o.url, "");
    assert_ok(read_words("try --nonsense --help", &o, &help, NULL), NULL);
    assert_true(help);
    assert_ok(read_words("try -h", &o, &help, NULL), NULL);
    assert_true(help);
}

/* -r means another thing to ls than to all others. */
static void letters_by_command(void **state)
{
    UNUSED(state);
    static const CommandSpec ls = {.name = "ls",
                                   .usage = "ls",
                                   .text = "",
                                   .example = "",
                                   .options = OPTION_LISTING | OPTION_LONG | OPTION_HUMAN};
    static const CommandSpec sync = {
        .name = "sync", .usage = "sync", .text = "", .example = "", .options = OPTION_SYNC};
    char words[][16] = {"x", "-hlRtr", "--key-file=f"};
    char more[][16] = {"x", "-cn", "--delete"};
    char *argv[] = {words[0], words[1], words[2]};
    char *argv_sync[] = {more[0], more[1], more[2]};
    ClientOptions o;
    bool help = true;
    assert_ok(options_read(&ls, 3, argv, &o, &help, NULL), NULL);
    assert_true(o.human && o.long_form && o.recursive && o.by_time && o.reverse && !o.by_size);
    assert_string_equal(o.key_file, "f");
    assert_code(options_read(&ls, 3, argv_sync, &o, &help, NULL), ERR_USAGE, NULL);
    assert_ok(options_read(&sync, 3, argv_sync, &o, &help, NULL), NULL);
    assert_true(o.checksum && o.dry_run && o.remove_extra && !o.recursive);
    assert_code(options_read(&sync, 2, argv, &o, &help, NULL), ERR_USAGE, NULL);
}

static void refuses(void **state)
{
    UNUSED(state);
    static const struct {
        const char *words, *says;
    } rows[] = {
        {"try", "missing"},
        {"try a b c", "\"c\" is one argument too many"},
        {"try a --long", "no option --long"},
        {"try a --recursve", "no option --recursve; do you mean --recursive?"},
        {"try a -l", "no option -l"},
        {"try a -rx", "no option -x"},
        {"try a --json=1", "--json takes no value"},
        {"try a --url", "--url needs a value"},
        {"try a --connections 0", "1..64"},
        {"try a --connections 65", "1..64"},
        {"try a --connections -1", "1..64"},
        {"try a --retry-for soon", "is not a time"},
        {"try -- --help", "no such row"},
    };
    for (size_t i = 0; i + 1 < ARRAY_LEN(rows); i++) {
        ClientOptions o = {.arg_count = 77};
        bool help = true;
        Err err = {0};
        assert_code(read_words(rows[i].words, &o, &help, &err), ERR_USAGE, &err);
        assert_non_null(strstr(err_text(&err), rows[i].says));
        assert_int_equal(o.arg_count, 77); /* untouched */
        assert_true(help);
    }
    /* Behind -- even --help is an argument. */
    ClientOptions o;
    bool help = true;
    assert_ok(read_words(rows[ARRAY_LEN(rows) - 1].words, &o, &help, NULL), NULL);
    assert_false(help);
    assert_string_equal(o.args[0], "--help");
}

static void times(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        bool good;
        uint64_t ms;
    } rows[] = {
        {"0", true, 0},         {"60", true, 60000},    {"60s", true, 60000},
        {"1500ms", true, 1500}, {"5min", true, 300000}, {"24h", true, 86400000},
        {"25h", false, 0},      {"", false, 0},         {"s", false, 0},
        {"1 s", false, 0},      {"-1s", false, 0},      {"1.5s", false, 0},
        {"86401s", false, 0},   {"1d", false, 0},       {"99999999999999999999ms", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t ms = 42;
        assert_int_equal(options_parse_time(str_from_cstr(rows[i].text), &ms), rows[i].good);
        assert_int_equal(ms, rows[i].good ? rows[i].ms : 42);
    }
}

static void helps(void **state)
{
    UNUSED(state);
    AUTO_BUF(text, 8192);
    assert_ok(options_help(&spec, &text, NULL), NULL);
    assert_ok(buf_append_zeros(&text, 1, NULL), NULL);
    const char *help = (const char *)text.data;
    assert_non_null(strstr(help, "usage: holdfast try A [B]\n       holdfast try -r A\n"));
    assert_non_null(strstr(help, "  -r, --recursive "));
    assert_non_null(strstr(help, "      --connections N "));
    assert_non_null(strstr(help, "example:\n  holdfast try a\n"));
    assert_null(strstr(help, "--long"));
    AUTO_BUF(small, 16);
    assert_code(options_help(&spec, &small, NULL), ERR_TOO_BIG, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),   cmocka_unit_test(letters_by_command),
        cmocka_unit_test(refuses), cmocka_unit_test(times),
        cmocka_unit_test(helps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
