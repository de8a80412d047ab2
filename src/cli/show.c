#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *show_size(uint64_t bytes, char out[SHOW_SIZE_SIZE])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < KIB) {
        snprintf(out, SHOW_SIZE_SIZE, "%" PRIu64 " B", bytes);
        return out;
    }
    size_t unit = 0;
    uint64_t whole = bytes;
    uint64_t rest = 0;
    /* Tenths are cut, never rounded up to a 1024.0. */
    for (;; unit++) {
        rest = whole % KIB;
        whole /= KIB;
        if (whole < KIB || unit + 1 == ARRAY_LEN(units)) break;
    }
    snprintf(out, SHOW_SIZE_SIZE, "%" PRIu64 ".%" PRIu64 " %s", whole, rest * 10 / KIB,
             units[unit]);
    return out;
}

const char *show_count(uint64_t count, const char *noun, char out[SHOW_COUNT_SIZE])
{
    int len = snprintf(out, SHOW_COUNT_SIZE, "%" PRIu64 " %s%s", count, noun,
                       count == 1 ? "" : "s");
    ASSERT(len > 0 && len < SHOW_COUNT_SIZE);
    return out;
}

const char *show_duration(uint64_t ms, char out[SHOW_DURATION_SIZE])
{
    const uint64_t s = ms / 1000;
    if (s < 10) {
        snprintf(out, SHOW_DURATION_SIZE, "%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
    } else if (s < 60) {
        snprintf(out, SHOW_DURATION_SIZE, "%" PRIu64 " s", s);
    } else if (s < 3600) {
        snprintf(out, SHOW_DURATION_SIZE, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    } else {
        snprintf(out, SHOW_DURATION_SIZE, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    }
    return out;
}

/* C0, DEL, and the C1 controls, which some terminals obey as well (U+0080..U+009F). */
static bool is_control(Str piece)
{
    uint8_t c = (uint8_t)piece.ptr[0];
    if (piece.len == 1) return c < 0x20 || c == 0x7f;
    return c == 0xc2 && (uint8_t)piece.ptr[1] < 0xa0;
}

/* The next character of *name as it is shown; takes it off. piece is at least 9 bytes. */
static Str next_shown(Str *name, char piece[9])
{
    size_t len = str_utf8_len(*name);
    Str raw = str_slice(*name, 0, MAX(len, (size_t)1));
    *name = str_slice(*name, raw.len, name->len - raw.len);
    if (len > 0 && !is_control(raw)) return raw;
    size_t used = 0;
    for (size_t i = 0; i < raw.len; i++) {
        piece[used++] = '\\';
        piece[used++] = 'x';
        hex_encode((const uint8_t *)raw.ptr + i, 1, piece + used);
        used += 2;
    }
    return str_of(piece, used);
}

const char *show_name(Str name, char out[SHOW_NAME_SIZE])
{
    static const char cut[] = "...";
    size_t used = 0;
    while (name.len > 0) {
        char buffer[9];
        Str piece = next_shown(&name, buffer);
        if (used + piece.len + sizeof cut > SHOW_NAME_SIZE) {
            memcpy(out + used, cut, sizeof cut - 1);
            used += sizeof cut - 1;
            break;
        }
        memcpy(out + used, piece.ptr, piece.len);
        used += piece.len;
    }
    out[used] = '\0';
    return out;
}

ErrCode show_name_append(Buf *out, Str name, Err *err)
{
    while (name.len > 0) {
        char buffer[9];
        TRY(buf_append_str(out, next_shown(&name, buffer), err));
    }
    return OK;
}
