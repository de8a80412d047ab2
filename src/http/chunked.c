/* The chunked body decoder (RFC 9112 section 7.1), a state per place in the grammar:
 *
 *   SIZE_START ─hex─▶ SIZE ─';'─▶ EXT ─CR─┐
 *       ▲              └──────CR──────────┴▶ SIZE_LF ─LF, size 0─▶ TRAILER_START ─CR─▶ END_LF ─▶
 * DONE │                                     │ LF               ▲    │ name, value DATA_LF ◀─CR─
 * DATA_CR ◀─all bytes─ DATA ◀┘                  └────┘
 *
 * EXT stands for ;name, ;name=token and ;name="text", any number of them.
 *
 * Stricter than the grammar where leniency was used for smuggling: no space around the size nor in
 * an extension but inside quotes, no backslash there, bounds on extensions, digits and trailers. */
#include "http/parser.h"

#include <stdio.h>

enum {
    SIZE_START,
    SIZE,
    EXT, /* behind a ';': an extension's name begins */
    EXT_NAME,
    EXT_VALUE, /* behind a '=' */
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE
};

#define CHUNK_SIZE_DIGITS_MAX 16
#define CHUNK_SIZE_MAX ((uint64_t)INT64_MAX)

void http_chunked_init(HttpChunked *chunked)
{
    *chunked = (HttpChunked){.state = SIZE_START};
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool is_value_char(char c)
{
    return c == '\t' || ((uint8_t)c >= 0x20 && c != 0x7f);
}

/* NULL, or what is wrong with a digit of a chunk's size. */
static const char *step_digit(HttpChunked *chunked, char c)
{
    int digit = hex_value(c);
    if (digit < 0) return "a chunk's size is not a hexadecimal number";
    if (++chunked->digits > CHUNK_SIZE_DIGITS_MAX || chunked->left > CHUNK_SIZE_MAX >> 4)
        return "a chunk's size is too large";
    chunked->left = chunked->left << 4 | (uint64_t)digit;
    chunked->state = SIZE;
    return NULL;
}

/* Moves to next if c is the character that must stand here. */
static const char *step_expect(HttpChunked *chunked, char c, char wanted, unsigned next,
                               const char *otherwise)
{
    if (c != wanted) return otherwise;
    chunked->state = next;
    return NULL;
}

/* One byte of the extensions. */
static const char *step_extension(HttpChunked *chunked, char c)
{
    static const char wrong[] = "a chunk's extension is not ;name, ;name=token or ;name=\"text\"";
    bool whole = chunked->state != EXT && chunked->state != EXT_VALUE &&
                 chunked->state != EXT_QUOTED;
    if (++chunked->line > HTTP_CHUNK_EXT_MAX + 1) return "a chunk's extensions are too long";
    if (whole && (c == '\r' || c == ';')) {
        chunked->state = c == '\r' ? SIZE_LF : EXT;
        return NULL;
    }
    switch (chunked->state) {
    case EXT: chunked->state = EXT_NAME; break;
    case EXT_NAME:
        if (c != '=') break;
        chunked->state = EXT_VALUE;
        return NULL;
    case EXT_VALUE:
        chunked->state = c == '"' ? EXT_QUOTED : EXT_TOKEN;
        if (c == '"') return NULL;
        break;
    case EXT_QUOTED:
        if (c == '"') chunked->state = EXT_QUOTED_END;
        return c >= 0x20 && c < 0x7f && c != '\\' ? NULL : wrong;
    case EXT_QUOTED_END: return wrong;
    default: break;
    }
    return http_is_token_char(c) ? NULL : wrong;
}

/* One byte of the size line. */
static const char *step_size(HttpChunked *chunked, char c)
{
    if (chunked->state == SIZE && (c == '\r' || c == ';')) {
        chunked->state = c == '\r' ? SIZE_LF : EXT;
        chunked->line = 0;
        return NULL;
    }
    return step_digit(chunked, c);
}

static void keep_name(HttpChunked *chunked, char c)
{
    if (chunked->digits < sizeof chunked->name) chunked->name[chunked->digits] = c;
    chunked->digits++;
}

static bool frames_body(const HttpChunked *chunked)
{
    if (chunked->digits > sizeof chunked->name) return false;
    Str name = str_of(chunked->name, chunked->digits);
    return str_eq_nocase(name, STR("content-length")) ||
           str_eq_nocase(name, STR("transfer-encoding"));
}

/* One byte of the trailers. */
static const char *step_trailer(HttpChunked *chunked, char c)
{
    if (++chunked->line > HTTP_TRAILERS_MAX) return "the trailers are too long";
    switch (chunked->state) {
    case TRAILER_START:
        if (c == '\r') {
            chunked->state = END_LF;
            return NULL;
        }
        chunked->state = TRAILER_NAME;
        chunked->digits = 0;
        keep_name(chunked, c);
        return http_is_token_char(c) ? NULL : "a trailer's name is not a token";
    case TRAILER_NAME:
        if (c == ':') {
            chunked->state = TRAILER_VALUE;
            return frames_body(chunked) ? "a trailer says how long the body is" : NULL;
        }
        keep_name(chunked, c);
        return http_is_token_char(c) ? NULL : "a trailer's name is not a token";
    case TRAILER_VALUE:
        if (c == '\r') {
            chunked->state = TRAILER_LF;
            return NULL;
        }
        return is_value_char(c) ? NULL : "a trailer's value holds a control character";
    default:
        ASSERT(chunked->state == TRAILER_LF);
        return step_expect(chunked, c, '\n', TRAILER_START, "a trailer ends in CR without LF");
    }
}

/* One byte of anything but DATA. NULL, or what is wrong. */
static const char *step(HttpChunked *chunked, char c)
{
    switch (chunked->state) {
    case SIZE_START:
    case SIZE: return step_size(chunked, c);
    case EXT:
    case EXT_NAME:
    case EXT_VALUE:
    case EXT_TOKEN:
    case EXT_QUOTED:
    case EXT_QUOTED_END: return step_extension(chunked, c);
    case SIZE_LF:
        chunked->digits = 0;
        chunked->line = 0;
        return step_expect(chunked, c, '\n', chunked->left > 0 ? DATA : TRAILER_START,
                           "a chunk's size line ends in CR without LF");
    case DATA_CR:
        return step_expect(chunked, c, '\r', DATA_LF, "a chunk's data is longer than its size");
    case DATA_LF:
        return step_expect(chunked, c, '\n', SIZE_START, "a chunk's data is longer than its size");
    case END_LF: return step_expect(chunked, c, '\n', DONE, "the trailers end in CR without LF");
    default: return step_trailer(chunked, c);
    }
}

HttpChunk http_chunked_next(HttpChunked *chunked, const char *data, size_t len, size_t *used,
                            Str *piece, HttpRefusal *refusal)
{
    size_t at = 0;
    while (chunked->state != DONE && at < len) {
        if (chunked->state == DATA) {
            size_t take = (size_t)MIN((uint64_t)(len - at), chunked->left);
            chunked->left -= take;
            if (chunked->left == 0) chunked->state = DATA_CR;
            *piece = str_of(data + at, take);
            *used = at + take;
            return HTTP_CHUNK_DATA;
        }
        const char *wrong = step(chunked, data[at]);
        if (wrong != NULL) {
            refusal->status = 400;
            refusal->code = ERR_BAD_HTTP;
            snprintf(refusal->detail, sizeof refusal->detail, "%s", wrong);
            return HTTP_CHUNK_FAILED;
        }
        at++;
    }
    *used = at;
    return chunked->state == DONE ? HTTP_CHUNK_END : HTTP_CHUNK_MORE;
}

void http_chunked_unread(HttpChunked *chunked, size_t len)
{
    if (len == 0) return;
    ASSERT(chunked->state == DATA || chunked->state == DATA_CR);
    chunked->left += len;
    chunked->state = DATA;
}
