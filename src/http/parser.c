/* A head is parsed line by line: nothing is judged before its line is complete, so the result does
 * not depend on how the bytes were cut; a limit is an early verdict that the complete line would
 * get as well. Only CR LF ends a line. */
#include "http/parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- characters ---- */

#define T 1u /* of tokens: tchar, RFC 9110 section 5.6.2 */
#define V 2u /* of header values: field-vchar, obs-text, SP, HTAB */
#define A 4u /* of request targets; see below */
#define H 8u /* of Host: reg-name, addresses, port */

/* Of the characters that RFC 3986 has no place for, browsers send [ ] ^ { | } as they are; these
 * cannot be misread and are taken. '#', '\' and what is not ASCII are not. */
static const uint8_t char_sets[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = T | V | A | H,
    ['"'] = V,
    ['#'] = T | V,
    ['$' ... '\''] = T | V | A | H,
    ['(' ... ')'] = V | A | H,
    ['*' ... '+'] = T | V | A | H,
    [','] = V | A | H,
    ['-' ... '.'] = T | V | A | H,
    ['/'] = V | A,
    ['0' ... '9'] = T | V | A | H,
    [':' ... ';'] = V | A | H,
    ['<'] = V,
    ['='] = V | A | H,
    ['>'] = V,
    ['?' ... '@'] = V | A,
    ['A' ... 'Z'] = T | V | A | H,
    ['['] = V | A | H,
    ['\\'] = V,
    [']'] = V | A | H,
    ['^'] = T | V | A,
    ['_'] = T | V | A | H,
    ['`'] = T | V,
    ['a' ... 'z'] = T | V | A | H,
    ['{'] = V | A,
    ['|'] = T | V | A,
    ['}'] = V | A,
    ['~'] = T | V | A | H,
    [0x80 ... 0xff] = V,
};

static bool char_in(char c, unsigned set)
{
    return (char_sets[(uint8_t)c] & set) != 0;
}

bool http_is_token_char(char c)
{
    return char_in(c, T);
}

static bool all_in(Str s, unsigned set)
{
    for (size_t i = 0; i < s.len; i++)
        if (!char_in(s.ptr[i], set)) return false;
    return true;
}

static HttpParse refuse(HttpRefusal *refusal, int status, ErrCode code, const char *format, ...)
    PRINTF_LIKE(4, 5);
static HttpParse refuse(HttpRefusal *refusal, int status, ErrCode code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    refusal->status = status;
    refusal->code = code;
    vsnprintf(refusal->detail, sizeof refusal->detail, format, args);
    va_end(args);
    return HTTP_PARSE_FAILED;
}

static HttpParse refuse_bad(HttpRefusal *refusal, const char *detail)
{
    return refuse(refusal, 400, ERR_BAD_HTTP, "%s", detail);
}

/* ---- methods ---- */

static const Str methods[HTTP_METHOD_COUNT] = {
    STR_INIT("-"),    STR_INIT("GET"),    STR_INIT("HEAD"),    STR_INIT("PUT"),
    STR_INIT("POST"), STR_INIT("DELETE"), STR_INIT("OPTIONS"), STR_INIT("PATCH"),
};

HttpMethod http_method_of(Str text)
{
    for (unsigned i = 1; i < HTTP_METHOD_COUNT; i++)
        if (str_eq(methods[i], text)) return (HttpMethod)i;
    return HTTP_METHOD_OTHER;
}

const char *http_method_name(HttpMethod method)
{
    ASSERT(method < HTTP_METHOD_COUNT);
    return methods[method].ptr;
}

/* ---- the request line ---- */

/* host[:port]: characters only, and one bracketed address at most. What it names is not our
 * business, but nobody may read another host in it. */
static bool is_host(Str host)
{
    if (host.len == 0 || host.len > 255 || !all_in(host, H)) return false;
    size_t end = 0; /* of the host */
    if (host.ptr[0] == '[') {
        end = str_find_char(host, ']') + 1;
        if (end > host.len || end == 2) return false;
    } else {
        end = str_find_char(host, ':');
        if (end == 0) return false;
    }
    Str inside = str_slice(host, 1, end - 1), port = str_slice(host, end, host.len);
    if (str_find_char(inside, '[') < inside.len || host.ptr[0] == ']') return false;
    if (host.ptr[0] != '[' && str_find_char(inside, ']') < inside.len) return false;
    if (port.len == 0) return true;
    if (port.ptr[0] != ':' || port.len > 6) return false;
    for (size_t i = 1; i < port.len; i++)
        if (port.ptr[i] < '0' || port.ptr[i] > '9') return false;
    return true;
}

static void split_query(HttpHead *head, Str rest)
{
    size_t mark = str_find_char(rest, '?');
    head->path = str_slice(rest, 0, mark);
    if (mark < rest.len) head->query = str_of(rest.ptr + mark + 1, rest.len - mark - 1);
    if (head->path.len == 0) head->path = STR("/");
}

static HttpParse parse_target(HttpHead *head, Str target, HttpRefusal *refusal)
{
    if (target.len == 0 || !all_in(target, A))
        return refuse_bad(refusal, "the request target holds a character that must be "
                                   "percent-encoded, or nothing");
    head->target = target;
    if (target.ptr[0] == '/') {
        split_query(head, target);
        return HTTP_PARSE_MORE;
    }
    if (str_eq(target, STR("*"))) {
        if (head->method != HTTP_METHOD_OPTIONS)
            return refuse_bad(refusal, "the request target * is for OPTIONS only");
        head->path = target;
        return HTTP_PARSE_MORE;
    }
    size_t scheme = str_eq_nocase(str_slice(target, 0, 7), STR("http://"))    ? 7
                    : str_eq_nocase(str_slice(target, 0, 8), STR("https://")) ? 8
                                                                              : 0;
    if (scheme == 0) return refuse_bad(refusal, "the request target does not begin with '/'");
    Str rest = str_slice(target, scheme, target.len);
    size_t end = MIN(str_find_char(rest, '/'), str_find_char(rest, '?'));
    head->authority = str_slice(rest, 0, end);
    if (!is_host(head->authority))
        return refuse_bad(refusal, "the request target names no valid host");
    split_query(head, str_slice(rest, end, rest.len));
    return HTTP_PARSE_MORE;
}

static HttpParse parse_version(HttpHead *head, Str version, HttpRefusal *refusal)
{
    if (str_eq(version, STR("HTTP/1.1"))) {
        head->minor = 1;
        return HTTP_PARSE_MORE;
    }
    if (str_eq(version, STR("HTTP/1.0"))) return HTTP_PARSE_MORE;
    bool well_formed = version.len == 8 && str_starts_with(version, STR("HTTP/")) &&
                       version.ptr[5] >= '0' && version.ptr[5] <= '9' && version.ptr[6] == '.' &&
                       version.ptr[7] >= '0' && version.ptr[7] <= '9';
    if (!well_formed) return refuse_bad(refusal, "the request line does not end in HTTP/1.1");
    return refuse(refusal, 505, ERR_BAD_HTTP, "only HTTP/1.1 and HTTP/1.0 are spoken here");
}

static HttpParse parse_request_line(HttpHead *head, Str line, HttpRefusal *refusal)
{
    Str method, rest, target, version;
    if (!str_split(line, ' ', &method, &rest) || !str_split(rest, ' ', &target, &version))
        return refuse_bad(refusal, "the request line is not method, target and version with one "
                                   "space between them");
    if (method.len == 0 || method.len > 32 || !all_in(method, T))
        return refuse_bad(refusal, "the method is not a token");
    head->method_text = method;
    head->method = http_method_of(method);
    HttpParse result = parse_version(head, version, refusal);
    if (result != HTTP_PARSE_MORE) return result;
    return parse_target(head, target, refusal);
}

/* ---- headers ---- */

/* Headers that may stand there once: a second one would be read differently by others. */
typedef enum {
    SINGLE_CONTENT_LENGTH,
    SINGLE_TRANSFER_ENCODING,
    SINGLE_HOST,
    SINGLE_EXPECT,
    SINGLE_AUTHORIZATION,
    SINGLE_CONTENT_TYPE,
    SINGLE_CONTENT_MD5,
    SINGLE_RANGE,
    SINGLE_IF_MATCH,
    SINGLE_IF_NONE_MATCH,
    SINGLE_IF_MODIFIED_SINCE,
    SINGLE_IF_UNMODIFIED_SINCE,
    SINGLE_IF_RANGE,
    SINGLE_IDEMPOTENCY_KEY,
    SINGLE_COUNT
} Single;

static const Str singles[SINGLE_COUNT] = {
    STR_INIT("content-length"),
    STR_INIT("transfer-encoding"),
    STR_INIT("host"),
    STR_INIT("expect"),
    STR_INIT("authorization"),
    STR_INIT("content-type"),
    STR_INIT("content-md5"),
    STR_INIT("range"),
    STR_INIT("if-match"),
    STR_INIT("if-none-match"),
    STR_INIT("if-modified-since"),
    STR_INIT("if-unmodified-since"),
    STR_INIT("if-range"),
    STR_INIT("idempotency-key"),
};

static void parse_connection(HttpHead *head, Str value)
{
    while (value.len > 0) {
        Str token;
        (void)str_split(value, ',', &token, &value); /* the last one has no comma */
        token = str_trim(token);
        if (str_eq_nocase(token, STR("close"))) head->connection_close = true;
        if (str_eq_nocase(token, STR("keep-alive"))) head->connection_keep_alive = true;
    }
}

static HttpParse parse_single(HttpHead *head, Single which, Str value, HttpRefusal *refusal)
{
    if ((head->seen & 1u << which) != 0)
        return refuse(refusal, 400, ERR_BAD_HTTP, "the header %s stands there twice",
                      singles[which].ptr);
    head->seen |= 1u << which;
    switch (which) {
    case SINGLE_CONTENT_LENGTH:
        if (!str_to_u64(value, INT64_MAX, &head->content_length))
            return refuse_bad(refusal, "Content-Length is not one decimal number");
        head->has_length = true;
        break;
    case SINGLE_TRANSFER_ENCODING:
        if (!str_eq_nocase(value, STR("chunked")))
            return refuse_bad(refusal, "Transfer-Encoding is not exactly chunked");
        head->chunked = true;
        break;
    case SINGLE_HOST:
        if (!is_host(value)) return refuse_bad(refusal, "Host is not a host and port");
        head->host = value;
        break;
    case SINGLE_EXPECT:
        if (!str_eq_nocase(value, STR("100-continue")))
            return refuse(refusal, 417, ERR_BAD_HTTP, "Expect is not 100-continue");
        head->expect_continue = true;
        break;
    case SINGLE_AUTHORIZATION:
    case SINGLE_CONTENT_TYPE:
    case SINGLE_CONTENT_MD5:
    case SINGLE_RANGE:
    case SINGLE_IF_MATCH:
    case SINGLE_IF_NONE_MATCH:
    case SINGLE_IF_MODIFIED_SINCE:
    case SINGLE_IF_UNMODIFIED_SINCE:
    case SINGLE_IF_RANGE:
    case SINGLE_IDEMPOTENCY_KEY:
    case SINGLE_COUNT: break;
    }
    return HTTP_PARSE_MORE;
}

/* Is nothing around value, in the header as sent, but spaces before it? Tabs and what follows are
 * fine with RFC 9110, but others (http_parser) then take "chunked\t" for an unknown coding, and
 * see another body than we do. */
static bool is_plain(Str raw, Str value)
{
    size_t spaces = raw.len - value.len;
    for (size_t i = 0; i < spaces; i++)
        if (raw.ptr[i] != ' ') return false;
    return true;
}

static HttpParse parse_header(HttpHead *head, Str line, HttpRefusal *refusal)
{
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
        return refuse_bad(refusal, "a header line begins with a space (line folding)");
    Str name, value;
    if (!str_split(line, ':', &name, &value))
        return refuse_bad(refusal, "a header line has no colon");
    if (name.len == 0 || !all_in(name, T))
        return refuse_bad(refusal, "a header name is not a token, or a space stands before its "
                                   "colon");
    Str raw = value;
    value = str_trim(value);
    if (!all_in(value, V)) return refuse_bad(refusal, "a header value holds a control character");
    if (head->header_count == HTTP_HEADERS_MAX)
        return refuse(refusal, 431, ERR_HEADERS_TOO_LARGE, "there are more than %d headers",
                      HTTP_HEADERS_MAX);
    head->headers[head->header_count++] = (HttpHeader){name, value};
    if (str_eq_nocase(name, STR("connection"))) {
        parse_connection(head, value);
        return HTTP_PARSE_MORE;
    }
    for (unsigned i = 0; i < SINGLE_COUNT; i++)
        if (singles[i].len == name.len && str_eq_nocase(singles[i], name)) {
            if (i <= SINGLE_TRANSFER_ENCODING && !is_plain(raw, value))
                return refuse_bad(refusal, "a header that frames the body has other white space "
                                           "around its value than spaces before it");
            return parse_single(head, (Single)i, value, refusal);
        }
    return HTTP_PARSE_MORE;
}

/* What can be said only when all headers are known. */
static HttpParse finish_head(HttpHead *head, HttpRefusal *refusal)
{
    if (head->minor == 1 && head->host.len == 0)
        return refuse_bad(refusal, "there is no Host header");
    if (head->authority.len > 0) {
        if (head->host.len > 0 && !str_eq_nocase(head->host, head->authority))
            return refuse_bad(refusal, "Host and the request target name different hosts");
        head->host = head->authority;
    }
    if (head->chunked && head->has_length)
        return refuse_bad(refusal, "there are both Content-Length and Transfer-Encoding");
    if (head->chunked && head->minor == 0)
        return refuse_bad(refusal, "Transfer-Encoding is not part of HTTP/1.0");
    if (head->minor == 0) head->expect_continue = false;
    head->keep_alive = !head->connection_close && (head->minor == 1 || head->connection_keep_alive);
    return HTTP_PARSE_DONE;
}

void http_head_init(HttpHead *head)
{
    memset(head, 0, offsetof(HttpHead, headers));
}

/* Refuses if a line that is len bytes long so far, and begins at head->pos, is too long already. */
static HttpParse check_limits(const HttpHead *head, size_t len, HttpRefusal *refusal)
{
    if (head->lines == 0 && len > HTTP_REQUEST_LINE_MAX)
        return refuse(refusal, 414, ERR_URI_TOO_LONG, "the request line is longer than %d bytes",
                      HTTP_REQUEST_LINE_MAX);
    if (head->pos + len > HTTP_HEAD_MAX)
        return refuse(refusal, 431, ERR_HEADERS_TOO_LARGE, "the headers are longer than %d bytes",
                      HTTP_HEAD_MAX);
    return HTTP_PARSE_MORE;
}

static HttpParse parse_line(HttpHead *head, Str line, HttpRefusal *refusal)
{
    if (head->lines == 0) {
        if (line.len == 0 && !head->skipped_empty_line) { /* RFC 9112 section 2.2 */
            head->skipped_empty_line = true;
            return HTTP_PARSE_MORE;
        }
        head->lines++;
        return parse_request_line(head, line, refusal);
    }
    head->lines++;
    return line.len == 0 ? finish_head(head, refusal) : parse_header(head, line, refusal);
}

HttpParse http_head_parse(HttpHead *head, const char *data, size_t len, size_t *used,
                          HttpRefusal *refusal)
{
    ASSERT(head->pos + head->scanned <= len);
    for (;;) {
        size_t from = head->pos + head->scanned;
        const char *end = from < len ? memchr(data + from, '\n', len - from) : NULL;
        size_t line_len = end != NULL ? (size_t)(end - data) + 1 - head->pos : len - head->pos;
        HttpParse result = check_limits(head, line_len, refusal);
        if (result != HTTP_PARSE_MORE) return result;
        if (end == NULL) {
            head->scanned = line_len;
            return HTTP_PARSE_MORE;
        }
        if (line_len < 2 || end[-1] != '\r')
            return refuse_bad(refusal, "a line ends in LF without CR");
        result = parse_line(head, str_of(data + head->pos, line_len - 2), refusal);
        head->pos += line_len;
        head->scanned = 0;
        if (result == HTTP_PARSE_DONE) *used = head->pos;
        if (result != HTTP_PARSE_MORE) return result;
    }
}

Str http_head_find(const HttpHead *head, Str name)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (str_eq_nocase(head->headers[i].name, name)) return head->headers[i].value;
    return (Str){NULL, 0};
}
