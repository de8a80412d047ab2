#include "testing.h"

#include "base/log.h"
#include "base/thread.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int ends[2]; /* a pipe: the log writes into ends[1] */

static int setup(void **state)
{
    UNUSED(state);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    log_init(STDERR_FILENO, LOG_TEXT, LOG_INFO);
    log_set_common("");
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* What the log has written since, at most 64 KiB; its length. */
static const char *written(size_t *len)
{
    static char text[65536 + 1];
    ssize_t got = read(ends[0], text, sizeof text - 1);
    if (got < 0) got = 0;
    text[got] = '\0';
    if (len != NULL) *len = (size_t)got;
    return text;
}

/* The one line that was written, as JSON without its time, which is checked; keys sorted. */
static void assert_json(const char *wanted)
{
    size_t len;
    const char *line = written(&len);
    assert_true(len > 0 && len <= LOG_LINE_MAX);
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) fail_msg("%s in %s", error.text, line);
    const char *ts = json_string_value(json_object_get(object, "ts"));
    struct tm tm;
    assert_int_equal(strlen(ts), 24);
    const char *rest = strptime(ts, "%Y-%m-%dT%H:%M:%S", &tm);
    assert_non_null(rest);
    assert_true(rest[0] == '.' && isdigit(rest[1]) && isdigit(rest[2]) && isdigit(rest[3]));
    assert_string_equal(rest + 4, "Z");
    assert_in_range(timegm(&tm), time(NULL) - 10, time(NULL) + 1);
    json_object_del(object, "ts");
    char *got = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(got, wanted);
    free(got);
    json_decref(object);
}

#define HEAD "{\"event\":\"log.test\",\"level\":\"info\","
#define TAIL "\"stream\":\"system\"}"

static void test_json(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        const char *fields; /* in alphabetical order, all between "level" and "stream" */
    } rows[] = {
        {"", ""},
        {"   ", ""},
        {"lsn=7", "\"lsn\":7,"},
        {"a=0 b=-1 c=18446744073709551615", NULL},
        {"n=-0.5", "\"n\":-0.5,"},
        {"n=1e+06", "\"n\":1000000.0,"},
        {"n=0 m=00", "\"m\":\"00\",\"n\":0,"},
        {"n=1e6", "\"n\":\"1e6\","}, /* a digest, perhaps */
        {"n=5e-01", "\"n\":0.5,"},
        {"n=1e+5x", "\"n\":\"1e+5x\","},
        {"n=1e65", "\"n\":\"1e65\","},
        {"n=-", "\"n\":\"-\","},
        {"n=1.", "\"n\":\"1.\","},
        {"n=.5", "\"n\":\".5\","},
        {"n=1e+", "\"n\":\"1e+\","},
        {"n=1.5x", "\"n\":\"1.5x\","},
        {"n=0x10", "\"n\":\"0x10\","},
        {"n=inf", "\"n\":\"inf\","},
        {"n=\"12\"", "\"n\":\"12\","}, /* quoted: a string */
        {"ok=true no=false p=truer", "\"no\":false,\"ok\":true,\"p\":\"truer\","},
        {"o=", "\"o\":\"\","},
        {"o=\"\"", "\"o\":\"\","},
        {"o=\"a b\" p=c", "\"o\":\"a b\",\"p\":\"c\","},
        {"o=\"a=b p=c\"", "\"o\":\"a=b p=c\","},
        {"o=\"a\\\"b\\\\\" p=1", "\"o\":\"a\\\"b\\\\\",\"p\":1,"},
        {"o=\"a\\u00e4\\n\\/\"", "\"o\":\"a\xc3\xa4\\n/\","},
        {"o=\"a\\x\\u12g4\"", "\"o\":\"a\\\\x\\\\u12g4\","}, /* no escapes: taken as they stand */
        {"o=\"a\\u12", "\"o\":\"a\\\\u12\","},
        {"o=\"open", "\"o\":\"open\","},
        {"o=\"open\\", "\"o\":\"open\\\\\","},
        {"o=\"open\\\"", "\"o\":\"open\\\"\","},
        {"o=\"a\"b", "\"message\":\"b\",\"o\":\"a\","},
        {"o=a\"b", "\"o\":\"a\\\"b\","},
        {"o=a\\nb", "\"o\":\"a\\\\nb\","}, /* not quoted, so no escape */
        {"o=a\nb\t\x01\x7f", "\"o\":\"a\\nb\\t\\u0001\x7f\","},
        {"o=\"a\nb\"", "\"o\":\"a\\nb\","},
        {"o=\xff\xc3\xa4", "\"o\":\"\xef\xbf\xbd\xc3\xa4\","},
        {"hello world", "\"message\":\"hello world\","},
        {"hello a=1 world", NULL},
        {"=x", "\"message\":\"=x\","},
        {"a/b=c", "\"message\":\"a/b=c\","},
        {"level=9 nts=1", "\"level_\":9,\"nts\":1,"},
        {"event=\"x\" stream=y ts=z", NULL},
        {"gr\xc3\xbc\xc3\x9f", "\"message\":\"gr\xc3\xbc\xc3\x9f\","},
    };
    log_init(ends[1], LOG_JSON, LOG_INFO);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].fields == NULL) continue; /* their keys sort around the others: below */
        LOG(INFO, "log.test", "%s", rows[i].text);
        char wanted[512];
        snprintf(wanted, sizeof wanted, HEAD "%s" TAIL, rows[i].fields);
        assert_json(wanted);
    }
    LOG(INFO, "log.test", "a=0 b=-1 c=%" PRIi64, INT64_MAX);
    assert_json("{\"a\":0,\"b\":-1,\"c\":9223372036854775807,\"event\":\"log.test\","
                "\"level\":\"info\",\"stream\":\"system\"}");
    LOG(INFO, "log.test", "hello a=1 world");
    assert_json("{\"a\":1,\"event\":\"log.test\",\"level\":\"info\",\"message\":\"hello world\","
                "\"stream\":\"system\"}");
    LOG(INFO, "log.test", "event=\"x\" stream=y ts=z");
    assert_json("{\"event\":\"log.test\",\"event_\":\"x\",\"level\":\"info\",\"stream\":\"system\","
                "\"stream_\":\"y\",\"ts_\":\"z\"}");
}

/* Whatever stands in a value comes out of the JSON as it went in. */
static void test_arg(void **state)
{
    UNUSED(state);
    log_init(ends[1], LOG_JSON, LOG_INFO);
    for (int first = 1; first < 256; first++) {
        if (first >= 0x80) continue;
        char value[5] = {'\\', (char)first, '"', (char)first, '\0'};
        LOG(INFO, "log.test", "v=" LOG_STR " w=1", LOG_CSTR(value));
        json_t *object = json_loads(written(NULL), 0, NULL);
        assert_non_null(object);
        assert_string_equal(json_string_value(json_object_get(object, "v")), value);
        assert_int_equal(json_integer_value(json_object_get(object, "w")), 1);
        json_decref(object);
    }
    assert_string_equal(log_arg(STR("a\0b")), "a\\u0000b");
    assert_string_equal(log_arg(STR("\xc3\xa4\xc3")), "\xc3\xa4\\ufffd");
    assert_string_equal(log_arg((Str){NULL, 0}), "");

    /* 512 bytes in all; escapes are not cut in two; eight at once. */
    char text[600];
    memset(text, 'x', sizeof text);
    assert_int_equal(strlen(log_arg(str_of(text, 508))), 508);
    assert_int_equal(strlen(log_arg(str_of(text, 509))), 511);
    text[507] = '\n';
    const char *cut = log_arg(str_of(text, 600));
    assert_int_equal(strlen(cut), 510);
    assert_string_equal(cut + 507, "...");
    const char *args[8];
    for (size_t i = 0; i < 8; i++) {
        char digit = (char)('0' + i);
        args[i] = log_arg(str_of(&digit, 1));
    }
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(args[i][0], '0' + (int)i);
}

static void test_text(void **state)
{
    UNUSED(state);
    log_init(ends[1], LOG_TEXT, LOG_DEBUG);
    LOG(DEBUG, "log.test", "a=1 b=\"x y\"");
    assert_string_equal(written(NULL) + 24, " DEBUG log.test a=1 b=\"x y\"\n");
    LOG(INFO, "log.test", "%s", "");
    assert_string_equal(written(NULL) + 24, " INFO  log.test\n");
    /* One line, whatever is in it; a terminal gets no control bytes. */
    LOG(WARN, "log.test", "a\nb\x1b[31m \xc3\xa4\xff\x7f");
    assert_string_equal(written(NULL) + 24,
                        " WARN  log.test a\\nb\\u001b[31m \xc3\xa4\\ufffd\\u007f\n");
    log_set_common("node=\"n1\"");
    LOG(ERROR, "log.test", "a=%d", 1);
    assert_string_equal(written(NULL) + 24, " ERROR log.test a=1 node=\"n1\"\n");
}

static void test_levels(void **state)
{
    UNUSED(state);
    static const LogLevel levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        log_init(ends[1], LOG_TEXT, levels[i]);
        LOG(DEBUG, "log.test", "a=1");
        LOG(INFO, "log.test", "a=1");
        LOG(WARN, "log.test", "a=1");
        LOG(ERROR, "log.test", "a=1");
        size_t lines = 0;
        for (const char *c = written(NULL); *c != '\0'; c++)
            lines += *c == '\n';
        assert_int_equal(lines, 4 - i);
        /* What must be kept for an audit is not for a level to drop. */
        LOG_TO(AUDIT, DEBUG, "log.test", "a=1");
        LOG_TO(SECURITY, DEBUG, "log.test", "a=1");
        lines = 0;
        for (const char *c = written(NULL); *c != '\0'; c++)
            lines += *c == '\n';
        assert_int_equal(lines, levels[i] == LOG_DEBUG ? 2 : 1);
    }
}

static void test_streams(void **state)
{
    UNUSED(state);
    log_init(ends[1], LOG_JSON, LOG_DEBUG);
    log_set_common("node=\"7\" zone=a");
    LOG_TO(SYSTEM, INFO, "log.test", "a=1");
    assert_json("{\"a\":1,\"event\":\"log.test\",\"level\":\"info\",\"node\":\"7\","
                "\"stream\":\"system\",\"zone\":\"a\"}");
    LOG_TO(OPERATIONS, DEBUG, "log.test", "a=1");
    assert_json("{\"a\":1,\"event\":\"log.test\",\"level\":\"debug\",\"node\":\"7\","
                "\"stream\":\"operations\",\"zone\":\"a\"}");
    LOG_TO(SECURITY, WARN, "log.test", "a=1");
    assert_json("{\"a\":1,\"event\":\"log.test\",\"level\":\"warn\",\"node\":\"7\","
                "\"stream\":\"security\",\"zone\":\"a\"}");
    LOG_TO(AUDIT, ERROR, "log.test", "a=1");
    assert_json("{\"a\":1,\"event\":\"log.test\",\"level\":\"error\",\"node\":\"7\","
                "\"stream\":\"audit\",\"zone\":\"a\"}");
}

/* Lines of every length about the limit: valid JSON, never longer, whole fields only. */
static void test_long(void **state)
{
    UNUSED(state);
    char text[5000];
    memset(text, 'x', sizeof text);
    for (int len = 3900; len < 4100; len++) {
        log_init(ends[1], LOG_JSON, LOG_INFO);
        LOG(INFO, "log.test", "a=1 b=\"%.*s\" c=2", len, text);
        size_t written_len;
        const char *line = written(&written_len);
        assert_true(written_len <= LOG_LINE_MAX);
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        assert_int_equal(json_integer_value(json_object_get(object, "a")), 1);
        const char *b = json_string_value(json_object_get(object, "b"));
        bool cut = json_is_true(json_object_get(object, "cut"));
        if (b != NULL) assert_int_equal(strlen(b), len);
        assert_int_equal(cut, b == NULL || json_object_get(object, "c") == NULL);
        assert_int_equal(len <= 3969, !cut); /* no shorter line loses anything */
        json_decref(object);

        log_init(ends[1], LOG_TEXT, LOG_INFO);
        LOG(INFO, "log.test", "a=1 b=\"%.*s\" c=2", len, text);
        line = written(&written_len);
        assert_true(written_len <= LOG_LINE_MAX);
        assert_int_equal(line[written_len - 1], '\n');
    }
    /* What does not fit is left out, what stands behind it is not. */
    log_init(ends[1], LOG_JSON, LOG_INFO);
    log_set_common("node=\"n\"");
    static const char wanted[] = "{\"a\":1,\"cut\":true,\"event\":\"log.test\",\"level\":\"info\","
                                 "\"node\":\"n\",\"stream\":\"system\"}";
    LOG(INFO, "log.test", "%.*s a=1", 4080, text);
    assert_json(wanted);
    LOG(INFO, "log.test", "b=\"%.*s\" a=1", 4080, text);
    assert_json(wanted);
    /* A formatted text beyond the buffer: half a number (12) is not taken for one. */
    LOG(INFO, "log.test", "a=1 b=\"%.*s\" c=123456", 4080, text);
    assert_json(wanted);
}

/* A log that takes nothing more (full disk, closed pipe) stops nobody, and errno stays. */
static void test_unwritable(void **state)
{
    UNUSED(state);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    log_init(full, LOG_JSON, LOG_INFO);
    errno = EXDEV;
    LOG(INFO, "log.test", "a=1");
    assert_int_equal(errno, EXDEV);
    close(full);
}

static void log_many(void *arg)
{
    char fill[200];
    memset(fill, 'x', sizeof fill);
    for (int i = 0; i < 40; i++) {
        LOG(INFO, "log.test", "thread=%d fill=" LOG_STR, *(int *)arg, LOG_ARG(str_of(fill, 200)));
    }
}

/* Lines of several threads stand one after another, whole. */
static void test_threads(void **state)
{
    UNUSED(state);
    log_init(ends[1], LOG_JSON, LOG_INFO);
    Thread threads[3];
    int numbers[3] = {0, 1, 2};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(thread_start(&threads[i], "log", log_many, &numbers[i], NULL), NULL);
    }
    for (size_t i = 0; i < 3; i++)
        thread_join(&threads[i]);
    int counts[3] = {0};
    Str rest = str_from_cstr(written(NULL));
    for (Str line; str_split(rest, '\n', &line, &rest);) {
        json_t *object = json_loadb(line.ptr, line.len, 0, NULL);
        assert_non_null(object);
        counts[json_integer_value(json_object_get(object, "thread"))]++;
        json_decref(object);
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(counts[i], 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arg, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unwritable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
