#include "http/parser.h"
#include "testing.h"

#include <string.h>

typedef struct {
    Str text;
    const char *body; /* NULL: refused */
    size_t rest;      /* bytes of text behind the end */
} Row;

#define ROW(text, body, rest)                                                                      \
    {                                                                                              \
        STR_INIT(text), (body), (rest)                                                             \
    }
#define EXT_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define EXT_256 EXT_64 EXT_64 EXT_64 EXT_64
#define EXT_4096                                                                                   \
    EXT_256 EXT_256 EXT_256 EXT_256 EXT_256 EXT_256 EXT_256 EXT_256 EXT_256 EXT_256 EXT_256        \
        EXT_256 EXT_256 EXT_256 EXT_256 EXT_256

static const Row rows[] = {
    ROW("0\r\n\r\n", "", 0),
    ROW("3\r\nabc\r\n0\r\n\r\n", "abc", 0),
    ROW("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "abc", 16),
    ROW("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0),
    ROW("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0),
    ROW("0a\r\n0123456789\r\n00\r\n\r\n", "0123456789", 0),
    ROW("0000000000000001\r\na\r\n0\r\n\r\n", "a", 0),
    ROW("1;x\r\na\r\n0;y=\"z\"\r\n\r\n", "a", 0),
    ROW("1;x=y;z\r\na\r\n0\r\n\r\n", "a", 0),
    ROW("1;" EXT_256 "\r\na\r\n0\r\n\r\n", "a", 0),
    ROW("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", 0),
    ROW("0\r\nA: b\r\nC-d:\r\n\r\nx", "", 1),
    /* sizes */
    ROW("\r\n", NULL, 0),
    ROW(";x\r\n\r\n", NULL, 0),
    ROW("g\r\n", NULL, 0),
    ROW("0x1\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("-1\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("+1\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW(" 1\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1 \r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1\t;x\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1_0\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("00000000000000001\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("8000000000000000\r\na", NULL, 0),
    ROW("ffffffffffffffff\r\na", NULL, 0),
    ROW("10000000000000001\r\na", NULL, 0),
    /* line ends */
    ROW("1\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1\r\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1\ra\r\n0\r\n\r\n", NULL, 0),
    ROW("1\r\na\n0\r\n\r\n", NULL, 0),
    ROW("1\r\na0\r\n\r\n", NULL, 0),
    ROW("1\r\na\rx0\r\n\r\n", NULL, 0),
    ROW("1\r\nab\r\n0\r\n\r\n", NULL, 0),
    ROW("2\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("0\n\r\n", NULL, 0),
    ROW("0\r\n\n", NULL, 0),
    ROW("0\r\n\rx", NULL, 0),
    /* extensions */
    ROW("1;x\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x\rb\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x\0\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x\x7f\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;" EXT_256 "x\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;;x\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1; x\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x=\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x==y\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x=y\"z\"\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x=\"y\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x=\"y\"z\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x=\"\\\"\"\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x@\r\na\r\n0\r\n\r\n", NULL, 0),
    ROW("1;x=\xff\r\na\r\n0\r\n\r\n", NULL, 0),
    /* trailers */
    ROW("0\r\nContent-Length: 1\r\n\r\n", NULL, 0),
    ROW("0\r\nA: b\r\ntransfer-encoding: x\r\n\r\n", NULL, 0),
    ROW("0\r\n A: b\r\n\r\n", NULL, 0),
    ROW("0\r\nA : b\r\n\r\n", NULL, 0),
    ROW("0\r\nA\r\n\r\n", NULL, 0),
    ROW("0\r\n: b\r\n\r\n", NULL, 0),
    ROW("0\r\nA: b\n\r\n", NULL, 0),
    ROW("0\r\nA: b\rc\r\n\r\n", NULL, 0),
    ROW("0\r\nA: b\r\n c\r\n\r\n", NULL, 0),
    ROW("0\r\nA: \x01\r\n\r\n", NULL, 0),
    ROW("0\r\nA: " EXT_4096 "\r\n\r\n", NULL, 0),
};

/* Decodes text given in pieces of step bytes; gives back unread bytes of every other piece. */
static void check_row(const Row *row, size_t step, bool unread)
{
    HttpChunked chunked;
    HttpRefusal refusal = {0};
    char body[64];
    size_t len = 0, at = 0, given = 0;
    HttpChunk result = HTTP_CHUNK_MORE;
    http_chunked_init(&chunked);
    while (result != HTTP_CHUNK_END && result != HTTP_CHUNK_FAILED && at < row->text.len) {
        Str piece;
        size_t used;
        if (given == at || result == HTTP_CHUNK_MORE) given = MIN(given + step, row->text.len);
        result = http_chunked_next(&chunked, row->text.ptr + at, given - at, &used, &piece,
                                   &refusal);
        if (result == HTTP_CHUNK_FAILED) break;
        at += used;
        if (result == HTTP_CHUNK_DATA) {
            size_t back = unread && piece.len > 1 ? piece.len / 2 : 0;
            assert_ptr_equal(piece.ptr + piece.len, row->text.ptr + at);
            http_chunked_unread(&chunked, back);
            at -= back;
            assert_true(len + piece.len - back <= sizeof body);
            memcpy(body + len, piece.ptr, piece.len - back);
            len += piece.len - back;
        }
    }
    bool good = row->body == NULL
                    ? result == HTTP_CHUNK_FAILED && refusal.status == 400
                    : result == HTTP_CHUNK_END && len == strlen(row->body) &&
                          memcmp(body, row->body, len) == 0 && row->text.len - at == row->rest;
    if (!good)
        fail_msg("row %td in steps of %zu: %d (%s)", row - rows, step, (int)result, refusal.detail);
}

static void decodes_and_refuses(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t step = 1; step <= MIN(rows[i].text.len, (size_t)40); step++) {
            check_row(&rows[i], step, false);
            check_row(&rows[i], step, true);
        }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i], rows[i].text.len, false);
}

static void stays_at_the_end(void **state)
{
    UNUSED(state);
    HttpChunked chunked;
    HttpRefusal refusal;
    Str piece;
    size_t used;
    http_chunked_init(&chunked);
    assert_int_equal(http_chunked_next(&chunked, "0\r\n\r", 4, &used, &piece, &refusal),
                     HTTP_CHUNK_MORE);
    assert_int_equal(used, 4);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(http_chunked_next(&chunked, i == 0 ? "\nx" : "x", i == 0 ? 2 : 1, &used,
                                           &piece, &refusal),
                         HTTP_CHUNK_END);
        assert_int_equal(used, i == 0 ? 1 : 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_and_refuses),
        cmocka_unit_test(stays_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
