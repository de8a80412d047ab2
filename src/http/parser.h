/* The HTTP/1.1 request parser (RFC 9112): strict, without allocation, over the caller's buffer.
 * HttpHead reads a request line and headers; HttpChunked takes a chunked body apart. What two
 * parsers could read in two ways is refused, because that is how requests are smuggled past
 * proxies. Percent-encoding is left to text/uri.h. Pure. */
#ifndef HOLDFAST_HTTP_PARSER_H
#define HOLDFAST_HTTP_PARSER_H

#include "base/str.h"

#define HTTP_HEAD_MAX (16 * 1024)        /* bytes of request line and headers → 431 */
#define HTTP_REQUEST_LINE_MAX (8 * 1024) /* bytes → 414 */
#define HTTP_HEADERS_MAX 100             /* → 431 */
#define HTTP_CHUNK_EXT_MAX 256           /* bytes of extensions in one chunk's line */
#define HTTP_TRAILERS_MAX (4 * 1024)     /* bytes, all together */

typedef enum {
    HTTP_METHOD_OTHER, /* a well-formed token that we do not know */
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_PUT,
    HTTP_METHOD_POST,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_COUNT
} HttpMethod;

typedef struct {
    Str name;  /* as sent; compare with str_eq_nocase() */
    Str value; /* without spaces around it; bytes 0x20..0x7e, 0x80..0xff and tab */
} HttpHeader;

/* A request's head. The Strs are views of the buffer that was parsed. */
typedef struct {
    HttpMethod method;
    Str method_text;
    Str target;              /* as sent */
    Str path;                /* raw, starts with '/'; or "*" of OPTIONS */
    Str query;               /* raw, without '?'; ptr is NULL if there was no '?' */
    Str host;                /* host[:port]; empty if an HTTP/1.0 request has none */
    unsigned minor;          /* 1 for HTTP/1.1, 0 for HTTP/1.0 */
    bool keep_alive;         /* the client takes another answer on this connection */
    bool expect_continue;    /* waits for 100 before it sends the body */
    bool chunked;            /* Transfer-Encoding: chunked */
    bool has_length;         /* Content-Length was there */
    uint64_t content_length; /* bytes; 0 without */
    size_t header_count;
    /* The parser's own. */
    size_t pos;     /* start of the first line not yet parsed */
    size_t scanned; /* bytes searched for the end of that line */
    unsigned lines; /* lines parsed, leading empty ones not counted */
    bool skipped_empty_line;
    uint32_t seen; /* bit per singleton header */
    bool connection_close;
    bool connection_keep_alive;
    Str authority;                        /* of an absolute-form target */
    HttpHeader headers[HTTP_HEADERS_MAX]; /* last: not cleared for each request */
} HttpHead;

typedef enum {
    HTTP_PARSE_MORE, /* all is well so far; call again with more bytes */
    HTTP_PARSE_DONE,
    HTTP_PARSE_FAILED /* refused: answer and close */
} HttpParse;

/* A refusal: the status to answer, the ErrCode for logs and problem+json, and a sentence. */
typedef struct {
    int status;
    ErrCode code;
    char detail[128];
} HttpRefusal;

void http_head_init(HttpHead *head);
/* Parses data, which begins with the request and has grown, but not moved, since the last call.
 * DONE: *used is the length of the head; what follows is body. FAILED: *refusal says why. Given
 * the same bytes the result is the same, however they were cut. */
MUST_USE HttpParse http_head_parse(HttpHead *head, const char *data, size_t len, size_t *used,
                                   HttpRefusal *refusal);
/* The first header of that name; ptr is NULL if there is none. */
Str http_head_find(const HttpHead *head, Str name);
HttpMethod http_method_of(Str text);
const char *http_method_name(HttpMethod method); /* "GET"; OTHER gives "-" */
/* tchar of RFC 9110 section 5.6.2. */
bool http_is_token_char(char c);

/* The decoder of chunked bodies. */
typedef struct {
    unsigned state;
    uint64_t left;   /* bytes of the current chunk still to come */
    unsigned digits; /* of the size being read; of a trailer's name: its length */
    size_t line;     /* bytes of extensions of this line, or of all trailers */
    char name[18];   /* the beginning of a trailer's name */
} HttpChunked;

typedef enum {
    HTTP_CHUNK_MORE, /* everything was used; call again with what comes next */
    HTTP_CHUNK_DATA, /* *piece is a view of body bytes within data; call again with the rest */
    HTTP_CHUNK_END,  /* the body and its trailers are over; what follows is the next request */
    HTTP_CHUNK_FAILED
} HttpChunk;

void http_chunked_init(HttpChunked *chunked);
/* Takes *used bytes off data. Trailers are checked for form and dropped; those that would frame the
 * body are refused, since others take them for headers (RFC 9110 section 6.5.1). */
MUST_USE HttpChunk http_chunked_next(HttpChunked *chunked, const char *data, size_t len,
                                     size_t *used, Str *piece, HttpRefusal *refusal);
/* Gives the last len bytes of the piece back, which was returned by the call before. */
void http_chunked_unread(HttpChunked *chunked, size_t len);

#endif
