/* The table of events against the document printed from it and against the code. Run with
 * HOLDFAST_UPDATE=1 to write docs/events.md anew. */
#include "testing.h"

#include "base/log.h"
#include "source_dir.h"

#include <ctype.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1 << 20)
#define EVENTS_MAX 1000

static const struct {
    const char *name;
    const char *text;
} events[] = {
#define EVENT_ROW(name, text) {name, text},
#include "base/events.def"
#undef EVENT_ROW
};
static bool used[EVENTS_MAX];
static int unknown;

/* The file's text, terminated; false if it can't be read. */
static bool read_text(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    size_t len = fread(out, 1, size, file);
    fclose(file);
    assert_true(len < size);
    out[len] = '\0';
    return true;
}

static void test_table(void **state)
{
    UNUSED(state);
    assert_true(ARRAY_LEN(events) <= EVENTS_MAX);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        const char *name = events[i].name;
        size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.");
        bool good = name[len] == '\0' && strchr(name, '.') != NULL;
        size_t text_len = strlen(events[i].text);
        good = good && text_len > 0 && events[i].text[text_len - 1] == '.';
        good = good && (i == 0 || strcmp(events[i - 1].name, name) < 0);
        if (!good) fail_msg("%s: name, its order, or sentence", name);
    }
}

static void test_document(void **state)
{
    UNUSED(state);
    Err err;
    AUTO_BUF(wanted, FILE_MAX);
    assert_ok(log_print_events(&wanted, &err), &err);
    const char *path = SOURCE_DIR "/docs/events.md";
    if (getenv("HOLDFAST_UPDATE") != NULL) {
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        assert_int_equal(fwrite(wanted.data, 1, wanted.len, file), wanted.len);
        assert_int_equal(fclose(file), 0);
    }
    static char text[FILE_MAX];
    assert_true(read_text(path, text, sizeof text));
    if (!str_eq(buf_str(&wanted), str_from_cstr(text))) {
        fail_msg("docs/events.md is not what events.def gives: run this with HOLDFAST_UPDATE=1");
    }
    AUTO_BUF(small, 60);
    assert_ok(buf_append(&small, "abc", 3, &err), &err);
    assert_code(log_print_events(&small, &err), ERR_TOO_BIG, &err);
    assert_str(buf_str(&small), "abc");
}

/* Marks the event named by a call whose arguments begin at `at`; `skip` of them stand before it. */
static void note_event(const char *path, const char *at, int skip)
{
    while (skip > 0 && *at != '\0' && *at != '"' && *at != ')') {
        if (*at++ == ',') skip--;
    }
    while (isspace((unsigned char)*at))
        at++;
    if (*at != '"') return; /* a definition, or a name that is computed: log.c alone */
    size_t len = strcspn(at + 1, "\"");
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (strlen(events[i].name) != len || strncmp(events[i].name, at + 1, len) != 0) continue;
        used[i] = true;
        return;
    }
    print_error("%s: event %.*s has no row in src/base/events.def\n", path, (int)len, at + 1);
    unknown++;
}

static void scan(const char *path, const char *text)
{
    static const struct {
        const char *call;
        int skip; /* arguments before the event's name */
    } calls[] = {{"LOG(", 1}, {"LOG_TO(", 2}, {"log_write(", 1}, {"log_write_to(", 2}};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        size_t len = strlen(calls[i].call);
        for (const char *at = strstr(text, calls[i].call); at != NULL;
             at = strstr(at + len, calls[i].call)) {
            bool word = at > text && (isalnum((unsigned char)at[-1]) || at[-1] == '_');
            if (!word) note_event(path, at + len, calls[i].skip);
        }
    }
}

static int scan_file(const char *path, const struct stat *stat, int kind)
{
    UNUSED(stat);
    static char text[FILE_MAX];
    size_t len = strlen(path);
    if (kind != FTW_F || len < 2 || strcmp(path + len - 2, ".c") != 0) return 0;
    assert_true(read_text(path, text, sizeof text));
    scan(path + strlen(SOURCE_DIR) + 1, text);
    return 0;
}

static void test_code(void **state)
{
    UNUSED(state);
    scan("x.c", "LOG(INFO, \"log.test\", \"\"); MY_LOG(INFO, \"no.event\", LOG(WARN, event)");
    scan("x.c", "LOG_TO(AUDIT, INFO,\n    \"log.test\"); log_write(LogLevel level, const char *e)");
    assert_int_equal(unknown, 0);
    assert_int_equal(ftw(SOURCE_DIR "/src", scan_file, 16), 0);
    assert_int_equal(unknown, 0);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (!used[i]) fail_msg("no code writes the event %s", events[i].name);
    }
    print_message("(what follows is meant)\n");
    scan("x.c", "if (x) LOG(ERROR,\n\t\"no.such_event\", \"x=1\");");
    assert_int_equal(unknown, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
