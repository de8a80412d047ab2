/* A line is made in a buffer on the stack and written by one write(2), without a lock:
 *
 *   text  2026-01-02T03:04:05.678Z INFO  wal.opened root="/data" last_lsn=7
 *   JSON  {"ts":"2026-01-02T03:04:05.678Z","level":"info","stream":"system","event":"wal.opened",
 *          "root":"/data","last_lsn":7}
 */
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CUT_RESERVE 24 /* bytes kept for the end of a line: cut=true, brace, newline */
#define COMMON_SIZE 256
#define ARG_BUFFERS 8
#define ARG_SIZE 512

static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_format = LOG_TEXT;
static atomic_int log_level = LOG_INFO;
static char log_common[COMMON_SIZE];

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_texts[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static const char *const stream_names[] = {"system", "operations", "security", "audit"};

void log_init(int fd, LogFormat format, LogLevel level)
{
    ASSERT(level >= LOG_DEBUG && level <= LOG_ERROR);
    atomic_store(&log_fd, fd);
    atomic_store(&log_format, (int)format);
    atomic_store(&log_level, (int)level);
}

void log_set_level(LogLevel level)
{
    ASSERT(level >= LOG_DEBUG && level <= LOG_ERROR);
    atomic_store(&log_level, (int)level);
}

bool log_enabled(LogLevel level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_set_common(const char *pairs)
{
    ASSERT(strlen(pairs) < COMMON_SIZE);
    memcpy(log_common, pairs, strlen(pairs) + 1);
}

/* A line as it grows. A piece that does not fit sets `full` and leaves the line as it was. */
typedef struct {
    char text[LOG_LINE_MAX];
    size_t len;
    size_t max; /* bytes that pieces may fill */
    bool full;
    bool cut; /* something was left out */
} Line;

static void line_add(Line *line, Str piece)
{
    if (piece.len > line->max - line->len) line->full = true;
    if (line->full || piece.len == 0) return;
    memcpy(line->text + line->len, piece.ptr, piece.len);
    line->len += piece.len;
}

/* Where a field did not fit, takes back what of it did; shorter ones behind it may fit again. */
static void line_end_field(Line *line, size_t len_before)
{
    if (!line->full) return;
    line->len = len_before;
    line->full = false;
    line->cut = true;
}

static void line_add_cstr(Line *line, const char *piece)
{
    line_add(line, str_from_cstr(piece));
}

/* One character of s (1..4 bytes of well-formed UTF-8, or one byte that is none) as it stands
 * inside a JSON string; *used bytes of s are done. escape has room for 7. */
static Str escape_one(Str s, char *escape, size_t *used)
{
    static const char plain[] = "\"\"\\\\\nn\rr\tt"; /* byte and its short escape, in pairs */
    *used = str_utf8_len(s);
    if (*used == 0) {
        *used = 1;
        return STR("\\ufffd");
    }
    if (*used > 1) return str_slice(s, 0, *used);
    for (size_t i = 0; i + 1 < sizeof plain; i += 2) {
        if (s.ptr[0] != plain[i]) continue;
        escape[0] = '\\';
        escape[1] = plain[i + 1];
        return str_of(escape, 2);
    }
    uint8_t byte = (uint8_t)s.ptr[0];
    if (byte >= 0x20 && byte != 0x7f) return str_slice(s, 0, 1);
    snprintf(escape, 7, "\\u%04x", byte);
    return str_of(escape, 6);
}

/* s, escaped to stand inside a JSON string. Where escapes is set, s holds such escapes already: the
 * valid ones stay. */
static void line_add_escaped(Line *line, Str s, bool escapes)
{
    char escape[8];
    while (s.len > 0 && !line->full) {
        size_t used = 0;
        uint8_t hex[2];
        if (escapes && s.len >= 2 && s.ptr[0] == '\\') {
            if (strchr("\"\\/bfnrt", s.ptr[1]) != NULL && s.ptr[1] != '\0') used = 2;
            if (s.ptr[1] == 'u' && s.len >= 6 && hex_decode(str_slice(s, 2, 4), hex, 2)) used = 6;
        }
        if (used > 0)
            line_add(line, str_slice(s, 0, used));
        else
            line_add(line, escape_one(s, escape, &used));
        s = str_slice(s, used, s.len);
    }
}

static size_t count_digits(Str s)
{
    size_t count = 0;
    while (count < s.len && s.ptr[count] >= '0' && s.ptr[count] <= '9')
        count++;
    return count;
}

/* A JSON number as printf writes them: -1, 0.5, 1e+06. "1e6" is not one: it may be a digest. */
static bool is_number(Str s)
{
    if (str_starts_with(s, STR("-"))) s = str_slice(s, 1, s.len);
    size_t digits = count_digits(s);
    if (digits == 0 || (digits > 1 && s.ptr[0] == '0')) return false;
    s = str_slice(s, digits, s.len);
    if (str_starts_with(s, STR("."))) {
        digits = count_digits(str_slice(s, 1, s.len));
        if (digits == 0) return false;
        s = str_slice(s, 1 + digits, s.len);
    }
    if (str_starts_with(s, STR("e+")) || str_starts_with(s, STR("e-"))) {
        digits = count_digits(str_slice(s, 2, s.len));
        return digits > 0 && digits + 2 == s.len;
    }
    return s.len == 0;
}

typedef struct {
    Str key;   /* empty: a word that is no pair */
    Str value; /* without its quotes */
    bool quoted;
} Pair;

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

/* Takes the next pair or word off *text; false at its end. */
static bool next_pair(Str *text, Pair *out)
{
    *text = str_trim(*text);
    if (text->len == 0) return false;
    Str s = *text;
    Pair pair = {.key = str_slice(s, 0, 0)};
    size_t key_len = 0;
    while (key_len < s.len && is_key_char(s.ptr[key_len]))
        key_len++;
    if (key_len > 0 && key_len < s.len && s.ptr[key_len] == '=') {
        pair.key = str_slice(s, 0, key_len);
        s = str_slice(s, key_len + 1, s.len);
    }
    size_t len = str_find_char(s, ' ');
    if (pair.key.len > 0 && s.len > 0 && s.ptr[0] == '"') {
        pair.quoted = true;
        s = str_slice(s, 1, s.len);
        for (len = 0; len < s.len && s.ptr[len] != '"'; len++) {
            if (s.ptr[len] == '\\' && len + 1 < s.len) len++;
        }
    }
    pair.value = str_slice(s, 0, len);
    *text = str_slice(s, pair.quoted ? len + 1 : len, s.len);
    *out = pair;
    return true;
}

static bool is_reserved(Str key)
{
    static const Str reserved[] = {STR_INIT("ts"),    STR_INIT("level"),   STR_INIT("stream"),
                                   STR_INIT("event"), STR_INIT("message"), STR_INIT("cut")};
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (str_eq(key, reserved[i])) return true;
    }
    return false;
}

static void add_json_pair(Line *line, const Pair *pair)
{
    size_t len_before = line->len;
    bool bare = !pair->quoted && (is_number(pair->value) || str_eq(pair->value, STR("true")) ||
                                  str_eq(pair->value, STR("false")));
    line_add_cstr(line, ",\"");
    line_add(line, pair->key);
    if (is_reserved(pair->key)) line_add_cstr(line, "_");
    line_add_cstr(line, bare ? "\":" : "\":\"");
    line_add_escaped(line, pair->value, pair->quoted);
    if (!bare) line_add_cstr(line, "\"");
    line_end_field(line, len_before);
}

static void add_json_fields(Line *line, Str text)
{
    Pair pair;
    bool words = false;
    for (Str rest = text; next_pair(&rest, &pair);) {
        if (pair.key.len > 0)
            add_json_pair(line, &pair);
        else
            words = true;
    }
    if (!words) return;
    size_t len_before = line->len;
    line_add_cstr(line, ",\"message\":\"");
    bool first = true;
    for (Str rest = text; next_pair(&rest, &pair);) {
        if (pair.key.len > 0) continue;
        if (!first) line_add_cstr(line, " ");
        first = false;
        line_add_escaped(line, pair.value, false);
    }
    line_add_cstr(line, "\"");
    line_end_field(line, len_before);
}

/* The text as it is, but on one line and without control bytes. */
static void add_text_fields(Line *line, Str text)
{
    char escape[8];
    while (text.len > 0 && !line->full) {
        size_t used = 1;
        uint8_t byte = (uint8_t)text.ptr[0];
        bool print = byte >= 0x20 && byte < 0x7f;
        line_add(line, print ? str_slice(text, 0, 1) : escape_one(text, escape, &used));
        text = str_slice(text, used, text.len);
    }
}

/* "2026-01-02T03:04:05.678Z" */
static void format_now(char *out, size_t size)
{
    uint64_t now_ms = clock_wall_ms(clock_real());
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    ASSERT(gmtime_r(&seconds, &utc) != NULL);
    char whole[24];
    ASSERT(strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &utc) > 0);
    snprintf(out, size, "%s.%03uZ", whole, (unsigned)(now_ms % 1000));
}

static void write_line(const Line *line)
{
    ssize_t written;
    do {
        written = write(atomic_load(&log_fd), line->text, line->len);
    } while (written < 0 && errno == EINTR);
    /* A log that can't be written has nobody to tell; the store goes on. */
}

static void log_text(LogStream stream, LogLevel level, const char *event, Str text, bool cut)
{
    int errno_before = errno;
    char ts[32];
    format_now(ts, sizeof ts);
    bool json = atomic_load(&log_format) == LOG_JSON;
    Line line;
    line.len = 0;
    line.max = sizeof line.text - CUT_RESERVE;
    line.full = false;
    line.cut = cut;
    if (json) {
        line_add_cstr(&line, "{\"ts\":\"");
        line_add_cstr(&line, ts);
        line_add_cstr(&line, "\",\"level\":\"");
        line_add_cstr(&line, level_names[level]);
        line_add_cstr(&line, "\",\"stream\":\"");
        line_add_cstr(&line, stream_names[stream]);
        line_add_cstr(&line, "\",\"event\":\"");
        line_add_escaped(&line, str_from_cstr(event), false);
        line_add_cstr(&line, "\"");
        add_json_fields(&line, text);
        add_json_fields(&line, str_from_cstr(log_common));
    } else {
        line_add_cstr(&line, ts);
        line_add_cstr(&line, " ");
        line_add_cstr(&line, level_texts[level]);
        line_add_cstr(&line, " ");
        line_add_cstr(&line, event);
        line_add_cstr(&line, text.len > 0 ? " " : "");
        add_text_fields(&line, text);
        line_add_cstr(&line, log_common[0] != '\0' ? " " : "");
        add_text_fields(&line, str_from_cstr(log_common));
    }
    line_end_field(&line, line.len);
    line.max = sizeof line.text;
    if (line.cut) line_add_cstr(&line, json ? ",\"cut\":true" : " cut=true");
    line_add_cstr(&line, json ? "}\n" : "\n");
    write_line(&line);
    errno = errno_before;
}

void log_write_to(LogStream stream, LogLevel level, const char *event, const char *format, ...)
{
    char text[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ASSERT(len >= 0);
    bool cut = (size_t)len >= sizeof text;
    if (cut) {
        /* Half a number would be another number: no half words. */
        len = (int)sizeof text - 1;
        while (len > 0 && text[len - 1] != ' ')
            len--;
    }
    log_text(stream, level, event, str_of(text, (size_t)len), cut);
}

const char *log_arg(Str s)
{
    static _Thread_local char buffers[ARG_BUFFERS][ARG_SIZE];
    static _Thread_local unsigned next;
    char *out = buffers[next++ % ARG_BUFFERS];
    size_t len = 0;
    char escape[8];
    while (s.len > 0) {
        size_t used;
        Str piece = escape_one(s, escape, &used);
        /* Room stays for "..." and a NUL. */
        if (piece.len > ARG_SIZE - 4 - len) {
            memcpy(out + len, "...", 3);
            len += 3;
            break;
        }
        memcpy(out + len, piece.ptr, piece.len);
        len += piece.len;
        s = str_slice(s, used, s.len);
    }
    out[len] = '\0';
    return out;
}

ErrCode log_print_events(Buf *out, Err *err)
{
    static const struct {
        const char *name;
        const char *text;
    } events[] = {
#define EVENT_ROW(name, text) {name, text},
#include "base/events.def"
#undef EVENT_ROW
    };
    size_t len_before = out->len;
    ErrCode code = buf_printf(out, err,
                              "# Events of the log\n\n"
                              "Printed from src/base/events.def. Names are stable.\n\n"
                              "| event | what it tells |\n"
                              "|---|---|\n");
    for (size_t i = 0; code == OK && i < ARRAY_LEN(events); i++) {
        code = buf_printf(out, err, "| `%s` | %s |\n", events[i].name, events[i].text);
    }
    if (code != OK) out->len = len_before;
    return code;
}
