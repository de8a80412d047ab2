#include "http/parser.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

#define R "GET / HTTP/1.1\r\n"
#define H "Host: a\r\n"
#define E "\r\n"
#define LEN_10 "aaaaaaaaaa"
#define LEN_50 LEN_10 LEN_10 LEN_10 LEN_10 LEN_10
#define LEN_250 LEN_50 LEN_50 LEN_50 LEN_50 LEN_50

typedef struct {
    Str text;
    int status; /* of the refusal; 0: accepted, all of text is the head */
} Row;

#define ROW(status, text)                                                                          \
    {                                                                                              \
        STR_INIT(text), (status)                                                                   \
    }

static const Row rows[] = {
    /* request lines */
    ROW(0, R H E),
    ROW(0, "HEAD /x HTTP/1.1\r\n" H E),
    ROW(0, "BREW /x HTTP/1.1\r\n" H E),
    ROW(0, "get / HTTP/1.1\r\n" H E), /* another method: methods are case-sensitive */
    ROW(0, "M!#$%&'*+-.^_`|~9 / HTTP/1.1\r\n" H E),
    ROW(0, "\r\n" R H E),
    ROW(400, "\r\n\r\n" R H E),
    ROW(400, "\n" R H E),
    ROW(400, " GET / HTTP/1.1\r\n" H E),
    ROW(400, "\tGET / HTTP/1.1\r\n" H E),
    ROW(400, "GET  / HTTP/1.1\r\n" H E),
    ROW(400, "GET /  HTTP/1.1\r\n" H E),
    ROW(400, "GET / HTTP/1.1 \r\n" H E),
    ROW(400, "GET\t/ HTTP/1.1\r\n" H E),
    ROW(400, "GET /\tHTTP/1.1\r\n" H E),
    ROW(400, "GET / a HTTP/1.1\r\n" H E),
    ROW(400, "GET /\r\n" H E),
    ROW(400, "GET\r\n" H E),
    ROW(400, "GET / \r\n" H E),
    ROW(400, "G(T / HTTP/1.1\r\n" H E),
    ROW(400, "G\xc3\x84T / HTTP/1.1\r\n" H E),
    ROW(400, "GET@ / HTTP/1.1\r\n" H E),
    ROW(400, "\x16\x03\x01\x02\n" R H E), /* TLS */
    ROW(400, LEN_10 LEN_10 LEN_10 "aaa / HTTP/1.1\r\n" H E),
    ROW(400, "GET / HTTP/1.1\n" H E),
    ROW(400, "GET / HTTP/1.1\r\r\n" H E),
    ROW(400, "GET / HTTP/1.1\r" H E),
    /* versions */
    ROW(0, "GET / HTTP/1.0\r\n" E),
    ROW(0, "GET / HTTP/1.0\r\n" H E),
    ROW(505, "GET / HTTP/1.2\r\n" H E),
    ROW(505, "GET / HTTP/0.9\r\n" H E),
    ROW(505, "GET / HTTP/2.0\r\n" H E),
    ROW(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ROW(400, "GET / HTTP/1.10\r\n" H E),
    ROW(400, "GET / HTTP/1\r\n" H E),
    ROW(400, "GET / HTTP/11\r\n" H E),
    ROW(400, "GET / http/1.1\r\n" H E),
    ROW(400, "GET / HTTP/1,1\r\n" H E),
    ROW(400, "GET / HTTP/+1.1\r\n" H E),
    ROW(400, "GET / ICY/1.1\r\n" H E),
    /* targets */
    ROW(0, "GET /a/b%20c?d=e&f=%00 HTTP/1.1\r\n" H E),
    ROW(0, "GET /%zz HTTP/1.1\r\n" H E), /* left to uri_decode() */
    ROW(0, "GET /../..//.?? HTTP/1.1\r\n" H E),
    ROW(0, "GET /[x]{y}|^ HTTP/1.1\r\n" H E),
    ROW(0, "GET /-._~!$&'()*+,;=:@ HTTP/1.1\r\n" H E),
    ROW(400, "GET a HTTP/1.1\r\n" H E),
    ROW(400, "GET ?a HTTP/1.1\r\n" H E),
    ROW(400, "GET /a#b HTTP/1.1\r\n" H E),
    ROW(400, "GET /a\\b HTTP/1.1\r\n" H E),
    ROW(400, "GET /a\"b HTTP/1.1\r\n" H E),
    ROW(400, "GET /<a> HTTP/1.1\r\n" H E),
    ROW(400, "GET /a`b HTTP/1.1\r\n" H E),
    ROW(400, "GET /\xc3\xa4 HTTP/1.1\r\n" H E),
    ROW(400, "GET /a\x7f HTTP/1.1\r\n" H E),
    ROW(400, "GET /a\x01 HTTP/1.1\r\n" H E),
    ROW(400, "GET /a\0b HTTP/1.1\r\n" H E),
    ROW(400, "GET /a\rb HTTP/1.1\r\n" H E),
    ROW(0, "OPTIONS * HTTP/1.1\r\n" H E),
    ROW(400, "GET * HTTP/1.1\r\n" H E),
    ROW(400, "OPTIONS ** HTTP/1.1\r\n" H E),
    ROW(0, "GET http://a HTTP/1.1\r\n" H E),
    ROW(0, "GET http://a/b?c HTTP/1.1\r\n" H E),
    ROW(0, "GET HTTPS://A/b HTTP/1.1\r\n" H E),
    ROW(0, "GET http://a?c HTTP/1.1\r\n" H E),
    ROW(0, "GET http://a/ HTTP/1.0\r\n" E),
    ROW(400, "GET http://b/ HTTP/1.1\r\n" H E),
    ROW(400, "GET http://a/ HTTP/1.1\r\n" E),
    ROW(400, "GET http:///b HTTP/1.1\r\n" H E),
    ROW(400, "GET http://u@a/b HTTP/1.1\r\n" H E),
    ROW(400, "GET http:/a/b HTTP/1.1\r\n" H E),
    ROW(400, "GET ftp://a/b HTTP/1.1\r\n" H E),
    ROW(400, "CONNECT a:80 HTTP/1.1\r\n" H E),
    /* hosts */
    ROW(0, R "Host: a.b-c.example:8080\r\n" E),
    ROW(0, R "host:a\r\n" E),
    ROW(0, R "HOST: \t a \t\r\n" E),
    ROW(0, R "Host: 127.0.0.1:1\r\n" E),
    ROW(0, R "Host: [::1]\r\n" E),
    ROW(0, R "Host: [::1]:9001\r\n" E),
    ROW(0, R "Host: a:\r\n" E),
    ROW(400, R E),
    ROW(400, R "Host:\r\n" E),
    ROW(400, R "Host: a\r\nHost: a\r\n" E),
    ROW(400, R "Host: a\r\nhOST: b\r\n" E),
    ROW(400, R "Host: a, b\r\n" E),
    ROW(400, R "Host: a b\r\n" E),
    ROW(400, R "Host: a/b\r\n" E),
    ROW(400, R "Host: u@a\r\n" E),
    ROW(400, R "Host: a?b\r\n" E),
    ROW(400, R "Host: :80\r\n" E),
    ROW(400, R "Host: a:b\r\n" E),
    ROW(400, R "Host: a:1:2\r\n" E),
    ROW(400, R "Host: a:123456\r\n" E),
    ROW(400, R "Host: ::1\r\n" E),
    ROW(400, R "Host: [::1\r\n" E),
    ROW(400, R "Host: []\r\n" E),
    ROW(400, R "Host: [::1]a\r\n" E),
    ROW(400, R "Host: a[::1]\r\n" E),
    ROW(400, R "Host: ]\r\n" E),
    ROW(400, R "Host: \xc3\xa4\r\n" E),
    ROW(400, R "Host: " LEN_250 LEN_10 "\r\n" E),
    ROW(400, "GET / HTTP/1.0\r\nHost:\r\n" E),
    /* header lines */
    ROW(0, R H "A:\r\n" E),
    ROW(0, R H "A: b\r\nA: c\r\n" E),
    ROW(0, R H "A: \t b c\t\xff \r\n" E),
    ROW(0, R H "!#$%&'*+-.^_`|~: x\r\n" E),
    ROW(400, R H "A : b\r\n" E),
    ROW(400, R H "A\t: b\r\n" E),
    ROW(400, R H " A: b\r\n" E),
    ROW(400, R " " H E),
    ROW(400, R H "A: b\r\n c\r\n" E),
    ROW(400, R H "A: b\r\n\tc\r\n" E),
    ROW(400, R H "A: b\r\n \r\n" E),
    ROW(400, R H ": b\r\n" E),
    ROW(400, R H "A\r\n" E),
    ROW(400, R H "A b: c\r\n" E),
    ROW(400, R H "A(b: c\r\n" E),
    ROW(400, R H "A\xc3\xa4: c\r\n" E),
    ROW(400, R H "A\0: c\r\n" E),
    ROW(400, R H "A: b\0c\r\n" E),
    ROW(400, R H "A: b\x01\r\n" E),
    ROW(400, R H "A: b\x7f\r\n" E),
    ROW(400, R H "A: b\rc\r\n" E),
    ROW(400, R H "A: b\r\r\n" E),
    ROW(400, R H "A: b\n" E),
    ROW(400, R H "A: b\nC: d\r\n" E),
    ROW(400, R H "A: b\r\n\n"),
    ROW(400, R H "\n"),
    ROW(400, R H "\r\r\n"),
    /* what frames a body */
    ROW(0, R H "Content-Length: 0\r\n" E),
    ROW(0, R H "content-length:5\r\n" E),
    ROW(0, R H "Content-Length: 9223372036854775807\r\n" E),
    ROW(400, R H "Content-Length: 9223372036854775808\r\n" E),
    ROW(400, R H "Content-Length: 99999999999999999999999\r\n" E),
    ROW(400, R H "Content-Length:\r\n" E),
    ROW(0, R H "Content-Length:   5\r\n" E),
    ROW(400, R H "Content-Length:\t5\r\n" E),
    ROW(400, R H "Content-Length: 5 \r\n" E),
    ROW(400, R H "Content-Length: 5\t\r\n" E),
    ROW(400, R H "Content-Length: -1\r\n" E),
    ROW(400, R H "Content-Length: +1\r\n" E),
    ROW(400, R H "Content-Length: 1 2\r\n" E),
    ROW(400, R H "Content-Length: 5, 5\r\n" E),
    ROW(400, R H "Content-Length: 5,\r\n" E),
    ROW(400, R H "Content-Length: 0x5\r\n" E),
    ROW(400, R H "Content-Length: 5.0\r\n" E),
    ROW(400, R H "Content-Length: 5\r\nContent-Length: 5\r\n" E),
    ROW(400, R H "Content-Length: 5\r\nContent-Length: 6\r\n" E),
    ROW(400, R H "Content-Length: 5\r\ncontent-length : 6\r\n" E),
    ROW(0, R H "Transfer-Encoding: chunked\r\n" E),
    ROW(0, R H "Transfer-Encoding: Chunked\r\n" E),
    ROW(400, R H "Transfer-Encoding: chunked\t\r\n" E),
    ROW(400, R H "Transfer-Encoding:\tchunked\r\n" E),
    ROW(400, R H "Transfer-Encoding:\r\n" E),
    ROW(400, R H "Transfer-Encoding: identity\r\n" E),
    ROW(400, R H "Transfer-Encoding: gzip, chunked\r\n" E),
    ROW(400, R H "Transfer-Encoding: chunked, chunked\r\n" E),
    ROW(400, R H "Transfer-Encoding: chunked,\r\n" E),
    ROW(400, R H "Transfer-Encoding: chunked;q=1\r\n" E),
    ROW(400, R H "Transfer-Encoding: \"chunked\"\r\n" E),
    ROW(400, R H "Transfer-Encoding: xchunked\r\n" E),
    ROW(400, R H "Transfer-Encoding: \vchunked\r\n" E),
    ROW(400, R H "Transfer-Encoding : chunked\r\n" E),
    ROW(400, R H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" E),
    ROW(400, R H "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" E),
    ROW(400, R H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" E),
    ROW(400, R H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" E),
    ROW(400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" E),
    /* others that may stand there once */
    ROW(0, R H "Expect: 100-Continue\r\n" E),
    ROW(417, R H "Expect: 100-continue, x\r\n" E),
    ROW(417, R H "Expect:\r\n" E),
    ROW(400, R H "Expect: 100-continue\r\nExpect: 100-continue\r\n" E),
    ROW(400, R H "Authorization: a\r\nAuthorization: b\r\n" E),
    ROW(400, R H "Content-Type: a\r\nContent-Type: b\r\n" E),
    ROW(400, R H "Content-MD5: a\r\nContent-MD5: b\r\n" E),
    ROW(400, R H "Range: a\r\nrange: b\r\n" E),
    ROW(400, R H "If-Match: a\r\nIf-Match: b\r\n" E),
    ROW(400, R H "If-None-Match: a\r\nIf-None-Match: b\r\n" E),
    ROW(400, R H "If-Modified-Since: a\r\nIf-Modified-Since: b\r\n" E),
    ROW(400, R H "If-Unmodified-Since: a\r\nIf-Unmodified-Since: b\r\n" E),
    ROW(400, R H "If-Range: a\r\nIf-Range: b\r\n" E),
    ROW(400, R H "Idempotency-Key: a\r\nIdempotency-Key: b\r\n" E),
    ROW(0, R H "If-Match: a\r\nIf-None-Match: b\r\nRange: c\r\nIf-Range: d\r\n" E),
};

/* Parses the first cut bytes, then all. The buffer may not move between the calls, so the second
 * part is only revealed by the length. */
static HttpParse parse_cut(Str text, size_t cut, HttpHead *head, size_t *used, HttpRefusal *refusal)
{
    http_head_init(head);
    HttpParse result = http_head_parse(head, text.ptr, cut, used, refusal);
    return result == HTTP_PARSE_MORE ? http_head_parse(head, text.ptr, text.len, used, refusal)
                                     : result;
}

static void check_row(const Row *row, size_t cut)
{
    static HttpHead head;
    HttpRefusal refusal = {0};
    size_t used = 0;
    char *copy = mem_new(row->text.len); /* as long as needed: ASan sees a read beyond */
    memcpy(copy, row->text.ptr, row->text.len);
    HttpParse result = parse_cut(str_of(copy, row->text.len), cut, &head, &used, &refusal);
    int status = result == HTTP_PARSE_DONE ? 0 : result == HTTP_PARSE_FAILED ? refusal.status : -1;
    if (status != row->status || (status == 0 && used != row->text.len))
        fail_msg("row %td cut at %zu: %d instead of %d (%s)\n%.*s", row - rows, cut, status,
                 row->status, refusal.detail, STR_ARG(row->text));
    if (status > 0) {
        assert_true(strlen(refusal.detail) > 10);
        assert_int_not_equal(refusal.code, OK);
    }
    mem_free(copy);
}

static void accepts_and_refuses(void **state)
{
    UNUSED(state);
    assert_true(ARRAY_LEN(rows) >= 120);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i], rows[i].text.len);
}

static void does_not_depend_on_cuts(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t cut = 0; cut < rows[i].text.len; cut++)
            check_row(&rows[i], cut);
}

/* Every proper beginning of a good head asks for more, byte by byte. */
static void asks_for_more(void **state)
{
    UNUSED(state);
    static const char text[] = "PUT /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nbody";
    static HttpHead head;
    HttpRefusal refusal;
    size_t used = 0;
    http_head_init(&head);
    for (size_t len = 0; len < sizeof text - 5; len++)
        assert_int_equal(http_head_parse(&head, text, len, &used, &refusal), HTTP_PARSE_MORE);
    assert_int_equal(http_head_parse(&head, text, sizeof text - 1, &used, &refusal),
                     HTTP_PARSE_DONE);
    assert_string_equal(text + used, "body");
}

static HttpHead *parsed(const char *text)
{
    static HttpHead head;
    HttpRefusal refusal;
    size_t used;
    http_head_init(&head);
    assert_int_equal(http_head_parse(&head, text, strlen(text), &used, &refusal), HTTP_PARSE_DONE);
    return &head;
}

static void gives_the_parts(void **state)
{
    UNUSED(state);
    HttpHead *head = parsed("PUT /a/b%2f?c=d? HTTP/1.1\r\nhOST: h:1\r\nX-a:  b c \r\n"
                            "Content-Length: 007\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(head->method, HTTP_METHOD_PUT);
    assert_str(head->method_text, "PUT");
    assert_str(head->target, "/a/b%2f?c=d?");
    assert_str(head->path, "/a/b%2f");
    assert_str(head->query, "c=d?");
    assert_str(head->host, "h:1");
    assert_int_equal(head->minor, 1);
    assert_true(head->keep_alive && head->expect_continue && head->has_length && !head->chunked);
    assert_int_equal(head->content_length, 7);
    assert_int_equal(head->header_count, 4);
    assert_str(http_head_find(head, STR("x-A")), "b c");
    assert_null(http_head_find(head, STR("x")).ptr);
    head = parsed("GET http://b:2?q HTTP/1.1\r\nHost: B:2\r\nConnection: x , Close\r\n\r\n");
    assert_str(head->path, "/");
    assert_str(head->query, "q");
    assert_str(head->host, "b:2");
    assert_false(head->keep_alive);
    head = parsed("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nExpect: 100-continue\r\n\r\n");
    assert_true(head->keep_alive && !head->expect_continue);
    assert_null(head->query.ptr);
    assert_int_equal(head->host.len, 0);
    head = parsed("GET /? HTTP/1.0\r\n\r\n");
    assert_false(head->keep_alive);
    assert_non_null(head->query.ptr);
    assert_int_equal(head->query.len, 0);
    assert_int_equal(http_method_of(STR("DELETE")), HTTP_METHOD_DELETE);
    assert_int_equal(http_method_of(STR("-")), HTTP_METHOD_OTHER);
    assert_string_equal(http_method_name(HTTP_METHOD_PATCH), "PATCH");
}

/* The status for a head with a line, or all lines, of some length; complete or cut short. */
static int status_of_size(size_t target, size_t value, bool complete)
{
    static HttpHead head;
    static char text[40000];
    HttpRefusal refusal = {0};
    size_t used, len = 0;
    len += (size_t)snprintf(text, sizeof text, "GET /");
    memset(text + len, 't', target);
    len += target;
    len += (size_t)snprintf(text + len, sizeof text - len, " HTTP/1.1\r\nHost: a\r\nX: ");
    memset(text + len, 'v', value);
    len += value;
    len += (size_t)snprintf(text + len, sizeof text - len, "\r\n\r\n");
    int statuses[2]; /* at once, and in pieces of 1,000 bytes */
    for (size_t way = 0; way < 2; way++) {
        HttpParse result = HTTP_PARSE_MORE;
        size_t limit = complete ? len : len - 10;
        http_head_init(&head);
        for (size_t at = way == 0 ? limit : 1000; result == HTTP_PARSE_MORE; at += 1000) {
            result = http_head_parse(&head, text, MIN(at, limit), &used, &refusal);
            if (at >= limit) break;
        }
        statuses[way] = result == HTTP_PARSE_FAILED ? refusal.status : (int)result;
    }
    assert_int_equal(statuses[0], statuses[1]);
    return statuses[0];
}

static void limits_sizes(void **state)
{
    UNUSED(state);
    size_t line = HTTP_REQUEST_LINE_MAX - 16; /* GET, /, HTTP/1.1 and CR LF */
    assert_int_equal(status_of_size(line, 0, true), HTTP_PARSE_DONE);
    assert_int_equal(status_of_size(line + 1, 0, true), 414);
    assert_int_equal(status_of_size(line + 5000, 0, false), 414);
    size_t rest = HTTP_HEAD_MAX - 16 - 9 - 3 - 4;
    assert_int_equal(status_of_size(0, rest, true), HTTP_PARSE_DONE);
    assert_int_equal(status_of_size(0, rest + 1, true), 431);
    assert_int_equal(status_of_size(0, rest + 20, false), 431);
    assert_int_equal(status_of_size(0, rest - 20, false), HTTP_PARSE_MORE);
    static char many[4000] = R H;
    static HttpHead head;
    for (int extra = 0; extra < 2; extra++) {
        HttpRefusal refusal;
        size_t used, len = strlen(R H);
        for (int i = 0; i < HTTP_HEADERS_MAX - 1 + extra; i++)
            len += (size_t)snprintf(many + len, sizeof many - len, "A: b\r\n");
        len += (size_t)snprintf(many + len, sizeof many - len, "\r\n");
        http_head_init(&head);
        HttpParse result = http_head_parse(&head, many, len, &used, &refusal);
        assert_int_equal(result, extra == 0 ? HTTP_PARSE_DONE : HTTP_PARSE_FAILED);
        if (extra == 1) assert_int_equal(refusal.status, 431);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_refuses), cmocka_unit_test(does_not_depend_on_cuts),
        cmocka_unit_test(asks_for_more),       cmocka_unit_test(gives_the_parts),
        cmocka_unit_test(limits_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
