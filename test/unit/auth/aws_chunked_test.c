/* Against the examples that AWS publishes (64 KiB and 1 KiB of `a` in signed chunks, without and
 * with a trailer) and one that a client was seen to send, cut in every way, and with each byte of
 * what is signed wrong. */
#include "testing.h"

#include "auth/aws_chunked.h"
#include <string.h>

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SCOPE "20130524/us-east-1/s3/aws4_request"
#define BIG 65536
#define SMALL 1024
#define BODY_LEN (BIG + SMALL)
#define WIRE_MAX (BODY_LEN + 1024)
#define UNSIGNED "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"

typedef struct {
    SigV4Body body;
    const char *seed, *first, *second, *last, *trailer;
    const char *announced;
} Example;

static const Example plain = {SIGV4_BODY_CHUNKS,
                              "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
                              "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                              "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                              "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
                              "",
                              ""};
static const Example with_trailer = {
    SIGV4_BODY_CHUNKS_TRAILER,
    "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:"
    "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n",
    "x-amz-checksum-crc32c"};

static AwsChunkedOptions options_of(const Example *e)
{
    AwsChunkedOptions o = {.body = e->body,
                           .length = BODY_LEN,
                           .announced = str_from_cstr(e->announced),
                           .chain = {.date = "20130524T000000Z", .scope = SCOPE}};
    o.chain.key = sigv4_signing_key(STR(SECRET), STR(SCOPE));
    memcpy(o.chain.previous, e->seed, SIGV4_SIGNATURE_LEN);
    return o;
}

static size_t wire_of(const Example *e, uint8_t *wire)
{
    AUTO_BUF(out, WIRE_MAX);
    char data[BIG];
    memset(data, 'a', sizeof data);
    assert_ok(buf_printf(&out, NULL, "10000;chunk-signature=%s\r\n", e->first), NULL);
    assert_ok(buf_append(&out, data, BIG, NULL), NULL);
    assert_ok(buf_printf(&out, NULL, "\r\n400;chunk-signature=%s\r\n", e->second), NULL);
    assert_ok(buf_append(&out, data, SMALL, NULL), NULL);
    assert_ok(buf_printf(&out, NULL, "\r\n0;chunk-signature=%s\r\n%s\r\n", e->last, e->trailer),
              NULL);
    memcpy(wire, out.data, out.len);
    return out.len;
}

/* Feeds len bytes in pieces; the body's bytes into body, if that is not NULL. */
static AwsChunkedResult run(const AwsChunkedOptions *options, const uint8_t *wire, size_t len,
                            size_t piece, Buf *body)
{
    AUTO(AwsChunked, aws_chunked_free) c = aws_chunked_new(options);
    AwsChunkedResult result = AWS_CHUNKED_OK;
    for (size_t at = 0; at < len && result == AWS_CHUNKED_OK; at += piece) {
        size_t part = MIN(piece, len - at);
        size_t out = 0;
        AUTO(char, mem_free) copy = mem_new(part);
        memcpy(copy, wire + at, part);
        result = aws_chunked_feed(c, (uint8_t *)copy, part, &out);
        if (body != NULL) assert_ok(buf_append(body, copy, out, NULL), NULL);
    }
    if (result == AWS_CHUNKED_OK) result = aws_chunked_end(c);
    if (result == AWS_CHUNKED_OK && options->announced.len > 0)
        assert_true(aws_chunked_trailer(c, options->announced).len > 0);
    return result;
}

static void examples(const Example *e)
{
    static const size_t pieces[] = {WIRE_MAX, 1, 7, 4096, 65536, 65620};
    static uint8_t wire[WIRE_MAX];
    AwsChunkedOptions options = options_of(e);
    size_t len = wire_of(e, wire);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        AUTO_BUF(body, WIRE_MAX);
        assert_int_equal(run(&options, wire, len, pieces[i], &body), AWS_CHUNKED_OK);
        assert_int_equal(body.len, BODY_LEN);
        for (size_t at = 0; at < body.len; at++)
            assert_int_equal(body.data[at], 'a');
    }
}

static void test_signed(void **state)
{
    UNUSED(state);
    examples(&plain);
}

static void test_signed_trailer(void **state)
{
    UNUSED(state);
    examples(&with_trailer);
}

/* No byte can be another one: of lines all are tried, of data some. */
static void test_one_byte_off(void **state)
{
    UNUSED(state);
    static uint8_t wire[WIRE_MAX];
    AwsChunkedOptions options = options_of(&with_trailer);
    size_t len = wire_of(&with_trailer, wire);
    for (size_t at = 0; at < len; at++) {
        bool in_data = at > 100 && at < BIG;
        if (in_data && at % 9973 != 0) continue;
        uint8_t right = wire[at];
        wire[at] = right == 'q' ? 'r' : 'q';
        if (run(&options, wire, len, len, NULL) == AWS_CHUNKED_OK) fail_msg("byte %zu", at);
        wire[at] = right;
    }
    assert_int_equal(run(&options, wire, len, len, NULL), AWS_CHUNKED_OK);
}

static void test_truncated(void **state)
{
    UNUSED(state);
    static uint8_t wire[WIRE_MAX];
    AwsChunkedOptions options = options_of(&plain);
    size_t len = wire_of(&plain, wire);
    for (size_t cut = 0; cut < len; cut += cut < 100 || cut > BIG ? 1 : 4999)
        assert_int_equal(run(&options, wire, cut, WIRE_MAX, NULL), AWS_CHUNKED_INCOMPLETE);
    options.length = BODY_LEN + 1;
    assert_int_equal(run(&options, wire, len, len, NULL), AWS_CHUNKED_INCOMPLETE);
    options.length = BODY_LEN - 1;
    assert_int_equal(run(&options, wire, len, len, NULL), AWS_CHUNKED_TOO_LONG);
}

static AwsChunkedResult run_unsigned(const char *wire, uint64_t length, const char *announced)
{
    AwsChunkedOptions options = {
        .body = SIGV4_BODY_TRAILER, .length = length, .announced = str_from_cstr(announced)};
    AwsChunkedResult whole = run(&options, (const uint8_t *)wire, strlen(wire), 4096, NULL);
    assert_int_equal(run(&options, (const uint8_t *)wire, strlen(wire), 1, NULL), whole);
    return whole;
}

static void test_unsigned(void **state)
{
    UNUSED(state);
    static const struct {
        const char *wire;
        uint64_t length;
        const char *announced;
        AwsChunkedResult result;
    } cases[] = {
        {UNSIGNED, 11, "x-amz-checksum-crc32", AWS_CHUNKED_OK},
        {UNSIGNED, 11, "X-Amz-Checksum-CRC32", AWS_CHUNKED_OK},
        {UNSIGNED, 11, "", AWS_CHUNKED_BAD_TRAILER},
        {UNSIGNED, 11, "x-amz-checksum-sha1", AWS_CHUNKED_BAD_TRAILER},
        {UNSIGNED, 11, "x-amz-checksum-crc32, x-amz-checksum-sha1", AWS_CHUNKED_BAD_TRAILER},
        {UNSIGNED, 10, "x-amz-checksum-crc32", AWS_CHUNKED_TOO_LONG},
        {UNSIGNED, 12, "x-amz-checksum-crc32", AWS_CHUNKED_INCOMPLETE},
        {UNSIGNED "x", 11, "x-amz-checksum-crc32", AWS_CHUNKED_TOO_LONG},
        {"0\r\n\r\n", 0, "", AWS_CHUNKED_OK},
        {"", 0, "", AWS_CHUNKED_INCOMPLETE},
        {"0\r\n", 0, "", AWS_CHUNKED_INCOMPLETE},
        {"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", 2, "", AWS_CHUNKED_OK},
        {"1;x=y\r\na\r\n0\r\n\r\n", 1, "", AWS_CHUNKED_BAD_SIZE},
        {"1\na\r\n0\r\n\r\n", 1, "", AWS_CHUNKED_BAD_SIZE},
        {"1\r\nab\r\n0\r\n\r\n", 2, "", AWS_CHUNKED_BAD_SIZE},
        {"-1\r\na\r\n0\r\n\r\n", 1, "", AWS_CHUNKED_BAD_SIZE},
        {"\r\n", 1, "", AWS_CHUNKED_BAD_SIZE},
        {"ffffffffffffffff1\r\na", 1, "", AWS_CHUNKED_BAD_SIZE},
        {"fffffffffffffff\r\na", 1, "", AWS_CHUNKED_TOO_LONG},
        {"0\r\na:b\r\na:c\r\n\r\n", 0, "a", AWS_CHUNKED_BAD_TRAILER},
        {"0\r\nno colon\r\n\r\n", 0, "", AWS_CHUNKED_BAD_TRAILER},
        {"0\r\n:empty\r\n\r\n", 0, "", AWS_CHUNKED_BAD_TRAILER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AwsChunkedResult got = run_unsigned(cases[i].wire, cases[i].length, cases[i].announced);
        if (got != cases[i].result) fail_msg("case %zu: %d", i, (int)got);
    }
}

/* Signed chunks below 8 KiB must be the last; a long line and long trailers end it. */
static void test_limits(void **state)
{
    UNUSED(state);
    AwsChunkedOptions options = options_of(&plain);
    AUTO_BUF(wire, 32 * 1024);
    for (size_t i = 0; i < AWS_CHUNKED_LINE_MAX + 1; i++)
        assert_ok(buf_append(&wire, "1", 1, NULL), NULL);
    assert_int_equal(run(&options, wire.data, wire.len, wire.len, NULL), AWS_CHUNKED_BAD_SIZE);
    options.body = SIGV4_BODY_TRAILER;
    options.length = 0;
    buf_clear(&wire);
    assert_ok(buf_printf(&wire, NULL, "0\r\n"), NULL);
    for (int i = 0; i < 64; i++)
        assert_ok(buf_printf(&wire, NULL, "name-%d:%0100d\r\n", i, i), NULL);
    assert_int_equal(run(&options, wire.data, wire.len, wire.len, NULL), AWS_CHUNKED_BAD_TRAILER);
}

/* The second of two small chunks, both rightly signed. */
static void test_small_chunks(void **state)
{
    UNUSED(state);
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    AwsChunkedOptions options = options_of(&plain);
    SigV4Chain chain = options.chain;
    AUTO_BUF(wire, 4096);
    options.length = 2;
    for (int i = 0; i < 3; i++) {
        const char *data = i < 2 ? "a" : "";
        char hex[65];
        AUTO_BUF(text, 1024);
        Sha256 digest = sha256_of(data, strlen(data));
        hex_encode(digest.bytes, SHA256_LEN, hex);
        assert_ok(buf_printf(&text, NULL, "AWS4-HMAC-SHA256-PAYLOAD\n%s\n%s\n%s\n%s\n%s",
                             chain.date, chain.scope, chain.previous, empty, hex),
                  NULL);
        sigv4_sign(&chain.key, buf_str(&text), chain.previous);
        assert_ok(buf_printf(&wire, NULL, "%zx;chunk-signature=%s\r\n%s\r\n", strlen(data),
                             chain.previous, data),
                  NULL);
    }
    assert_int_equal(run(&options, wire.data, wire.len, wire.len, NULL), AWS_CHUNKED_BAD_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed),       cmocka_unit_test(test_signed_trailer),
        cmocka_unit_test(test_one_byte_off), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_unsigned),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_small_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
