/* Our parser against Debian's http_parser (the one of old Node.js, lenient by design): whatever we
 * accept it must read in the same way: the same method, target, number of headers, body framing and
 * end of head. Otherwise one of us could be made to see a request that the other does not.
 * Known differences, all of which are ours being stricter or neutral:
 *   - it knows a fixed list of methods; others are compared by nothing but our own rules
 *   - it refuses some paths that we take (']' and others in hosts of absolute targets)
 *   - `Upgrade` and CONNECT change its idea of the body; we know neither
 *   - it overlooks "keep-alive" behind an empty member of Connection, which frames nothing: not
 *     compared */
#include "http/parser.h"
#include "testing.h"

#include "base/rng.h"
#include <http_parser.h>
#include <stdio.h>
#include <string.h>

#define MUTATIONS 200000

typedef struct {
    bool head_done;
    unsigned headers;
    size_t target_len;
    bool in_value;
    uint64_t length;
    bool chunked;
    unsigned method, minor;
} Seen;

static int on_target(http_parser *p, const char *at, size_t len)
{
    UNUSED(at);
    ((Seen *)p->data)->target_len += len;
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t len)
{
    UNUSED(at);
    UNUSED(len);
    Seen *seen = p->data;
    if (!seen->in_value && seen->headers > 0) return 0; /* more of the same name */
    seen->headers++;
    seen->in_value = false;
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    UNUSED(at);
    UNUSED(len);
    ((Seen *)p->data)->in_value = true;
    return 0;
}

static int on_head(http_parser *p)
{
    Seen *seen = p->data;
    seen->head_done = true;
    seen->length = p->content_length == UINT64_MAX ? 0 : p->content_length;
    seen->chunked = (p->flags & F_CHUNKED) != 0;
    seen->method = p->method;
    seen->minor = p->http_minor;
    return 2; /* no body, no upgrade: the head only */
}

/* The head alone, as they see it; false if they refuse it. */
static bool their_view(const char *text, size_t used, Seen *seen)
{
    http_parser parser;
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_url = on_target;
    settings.on_header_field = on_field;
    settings.on_header_value = on_value;
    settings.on_headers_complete = on_head;
    http_parser_init(&parser, HTTP_REQUEST);
    *seen = (Seen){0};
    parser.data = seen;
    http_parser_execute(&parser, &settings, text, used);
    return seen->head_done;
}

typedef struct {
    unsigned accepted, theirs_only, ours_only;
} Counts;

static void compare(const char *text, size_t len, Counts *counts)
{
    static HttpHead head;
    HttpRefusal refusal;
    Seen seen;
    size_t used = 0;
    http_head_init(&head);
    HttpParse result = http_head_parse(&head, text, len, &used, &refusal);
    bool theirs = their_view(text, result == HTTP_PARSE_DONE ? used : len, &seen);
    if (result != HTTP_PARSE_DONE) {
        counts->theirs_only += theirs;
        return;
    }
    counts->accepted++;
    if (!theirs) {
        /* Refusing together what we take smuggles nothing; it is counted so that it stays rare. */
        counts->ours_only += head.method != HTTP_METHOD_OTHER;
        return;
    }
    bool same = seen.chunked == head.chunked && seen.minor == head.minor &&
                seen.headers == head.header_count && seen.target_len == head.target.len &&
                str_eq(str_from_cstr(http_method_str((enum http_method)seen.method)),
                       head.method_text) &&
                (head.chunked || seen.length == head.content_length);
    if (!same) fail_msg("read differently:\n%.*s", (int)len, text);
}

static const char *const seeds[] = {
    "GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nA: b, c\r\n\r\n",
    "DELETE /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    "GET http://a/b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
};

/* What is inserted or put over: what parsers have been fooled with. */
static const char *const bits[] = {
    "\r",
    "\n",
    "\r\n",
    "\t",
    " ",
    ":",
    ",",
    ";",
    "\v",
    "\f",
    "0",
    "+",
    "-",
    "/",
    "?",
    "#",
    "%",
    "\\",
    "\x7f",
    "\xff",
    "\xa0",
    "\"",
    "chunked",
    "Content-Length: 6\r\n",
    "\r\n ",
    "identity",
    "Transfer-Encoding:",
    "Connection: close\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "*",
    "@",
    "[",
    "]",
    "1",
};

static void agrees_on_what_it_accepts(void **state)
{
    UNUSED(state);
    Counts counts = {0};
    Rng rng;
    rng_init(&rng, 20261123);
    for (size_t i = 0; i < ARRAY_LEN(seeds); i++)
        compare(seeds[i], strlen(seeds[i]), &counts);
    assert_int_equal(counts.accepted, ARRAY_LEN(seeds) - 1);
    for (unsigned i = 0; i < MUTATIONS; i++) {
        char text[512];
        const char *seed = seeds[rng_below(&rng, ARRAY_LEN(seeds))];
        size_t len = strlen(seed);
        memcpy(text, seed, len);
        for (uint64_t times = 1 + rng_below(&rng, 2); times > 0; times--) {
            const char *bit = bits[rng_below(&rng, ARRAY_LEN(bits))];
            size_t at = (size_t)rng_below(&rng, len), bit_len = strlen(bit);
            size_t over = rng_below(&rng, 2) == 0 ? 0 : bit_len;
            if (rng_below(&rng, 8) == 0) over = (size_t)rng_below(&rng, 20);
            over = MIN(over, len - at);
            memmove(text + at + bit_len, text + at + over, len - at - over);
            memcpy(text + at, bit, bit_len);
            len += bit_len - over;
        }
        compare(text, len, &counts);
    }
    printf("accepted %u, only they %u, only we %u\n", counts.accepted, counts.theirs_only,
           counts.ours_only);
    assert_true(counts.accepted > MUTATIONS / 20);
    assert_true(counts.theirs_only > counts.ours_only);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_on_what_it_accepts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
