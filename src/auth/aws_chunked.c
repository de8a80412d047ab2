/*        size > 0          all of it           CR LF
 *  SIZE ─────────▶ DATA ───────────────▶ CR ───────▶ SIZE
 *    │ size 0                                     empty line
 *    └────────▶ TRAILER (a line each) ───────────────────▶ END
 */
#include "auth/aws_chunked.h"

#include <stdio.h>
#include <string.h>

#define SIGNATURE_FIELD "chunk-signature="
#define TRAILER_SIGNATURE "x-amz-trailer-signature"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

typedef enum { STATE_SIZE, STATE_DATA, STATE_CR, STATE_TRAILER, STATE_END } State;

struct AwsChunked {
    AwsChunkedOptions options;
    State state;
    AwsChunkedResult failed;
    bool is_signed;
    bool small;     /* a chunk below the minimum was there: it must be the last with data */
    uint64_t left;  /* bytes of the chunk still to come */
    uint64_t taken; /* bytes of the body so far */
    HashCtx *hash;  /* of the chunk; NULL unless signed */
    char signature[SIGV4_SIGNATURE_LEN]; /* the chunk's */
    bool trailer_signed;                 /* its signature was there and is right */
    size_t line_len;
    char line[AWS_CHUNKED_LINE_MAX];
    Buf trailers; /* "name:value\n" */
};

AwsChunked *aws_chunked_new(const AwsChunkedOptions *options)
{
    AwsChunked *c = mem_new(sizeof *c);
    ASSERT(options->body == SIGV4_BODY_CHUNKS || options->body == SIGV4_BODY_CHUNKS_TRAILER ||
           options->body == SIGV4_BODY_TRAILER);
    c->options = *options;
    c->is_signed = options->body != SIGV4_BODY_TRAILER;
    if (c->is_signed) c->hash = hash_new(HASH_SHA256);
    buf_init(&c->trailers, AWS_CHUNKED_TRAILER_MAX);
    return c;
}

void aws_chunked_free(AwsChunked *c)
{
    if (c == NULL) return;
    hash_free(c->hash);
    buf_deinit(&c->trailers);
    explicit_bzero(c, sizeof *c);
    mem_free(c);
}

/* --- signatures --- */

/* The chain goes on with the signature of text, if that is given. */
static bool follows(AwsChunked *c, Str text, Str given)
{
    char expected[SIGV4_SIGNATURE_LEN + 1];
    SigV4Chain *chain = &c->options.chain;
    sigv4_sign(&chain->key, text, expected);
    if (!str_eq_secret(str_of(expected, SIGV4_SIGNATURE_LEN), given)) return false;
    memcpy(chain->previous, expected, sizeof expected);
    return true;
}

static bool chunk_follows(AwsChunked *c)
{
    const SigV4Chain *chain = &c->options.chain;
    Sha256 digest;
    char hex[2 * SHA256_LEN + 1];
    char text[512];
    hash_final(c->hash, digest.bytes);
    hex_encode(digest.bytes, SHA256_LEN, hex);
    int len = snprintf(text, sizeof text, "AWS4-HMAC-SHA256-PAYLOAD\n%s\n%s\n%s\n%s\n%s",
                       chain->date, chain->scope, chain->previous, EMPTY_SHA256, hex);
    ASSERT(len > 0 && (size_t)len < sizeof text);
    return follows(c, str_of(text, (size_t)len), str_of(c->signature, SIGV4_SIGNATURE_LEN));
}

static bool trailer_follows(AwsChunked *c, Str given)
{
    const SigV4Chain *chain = &c->options.chain;
    Sha256 digest = sha256_of(c->trailers.data, c->trailers.len);
    char hex[2 * SHA256_LEN + 1];
    char text[512];
    hex_encode(digest.bytes, SHA256_LEN, hex);
    int len = snprintf(text, sizeof text, "AWS4-HMAC-SHA256-TRAILER\n%s\n%s\n%s\n%s", chain->date,
                       chain->scope, chain->previous, hex);
    ASSERT(len > 0 && (size_t)len < sizeof text);
    return follows(c, str_of(text, (size_t)len), given);
}

/* --- lines --- */

static bool parse_hex(Str text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 15) return false;
    for (size_t i = 0; i < text.len; i++) {
        char ch = text.ptr[i];
        unsigned digit = ch >= '0' && ch <= '9'   ? (unsigned)(ch - '0')
                         : ch >= 'a' && ch <= 'f' ? (unsigned)(ch - 'a' + 10)
                         : ch >= 'A' && ch <= 'F' ? (unsigned)(ch - 'A' + 10)
                                                  : 16;
        if (digit == 16) return false;
        value = value * 16 + digit;
    }
    *out = value;
    return true;
}

static AwsChunkedResult chunk_ended(AwsChunked *c)
{
    if (c->is_signed && !chunk_follows(c)) return AWS_CHUNKED_WRONG;
    return AWS_CHUNKED_OK;
}

static AwsChunkedResult take_size(AwsChunked *c, Str line)
{
    Str size;
    Str rest;
    bool extended = str_split(line, ';', &size, &rest);
    if (!parse_hex(size, &c->left) || extended != c->is_signed) return AWS_CHUNKED_BAD_SIZE;
    if (c->is_signed) {
        Str field = STR(SIGNATURE_FIELD);
        if (!str_starts_with(rest, field) || rest.len != field.len + SIGV4_SIGNATURE_LEN)
            return AWS_CHUNKED_BAD_SIZE;
        memcpy(c->signature, rest.ptr + field.len, SIGV4_SIGNATURE_LEN);
    }
    if (c->left > c->options.length - c->taken) return AWS_CHUNKED_TOO_LONG;
    if (c->left > 0) {
        if (c->small) return AWS_CHUNKED_BAD_SIZE;
        c->small = c->is_signed && c->left < AWS_CHUNKED_SIZE_MIN;
        c->state = STATE_DATA;
        return AWS_CHUNKED_OK;
    }
    c->state = STATE_TRAILER;
    return chunk_ended(c);
}

Str aws_chunked_trailer(const AwsChunked *c, Str name)
{
    Str rest = buf_str(&c->trailers);
    while (rest.len > 0) {
        Str line;
        Str found;
        Str value;
        str_split(rest, '\n', &line, &rest); /* each line has its end */
        if (str_split(line, ':', &found, &value) && str_eq_nocase(found, name)) return value;
    }
    return (Str){NULL, 0};
}

/* What was announced is there, and nothing else. */
static AwsChunkedResult check_trailers(const AwsChunked *c)
{
    Str announced = c->options.announced;
    size_t wanted = 0;
    while (announced.len > 0) {
        Str name;
        str_split(announced, ',', &name, &announced); /* without a comma: the last one */
        if (aws_chunked_trailer(c, str_trim(name)).ptr == NULL) return AWS_CHUNKED_BAD_TRAILER;
        wanted++;
    }
    size_t lines = 0;
    for (size_t i = 0; i < c->trailers.len; i++)
        lines += c->trailers.data[i] == '\n';
    if (lines != wanted) return AWS_CHUNKED_BAD_TRAILER;
    bool due = c->options.body == SIGV4_BODY_CHUNKS_TRAILER;
    return due && !c->trailer_signed ? AWS_CHUNKED_WRONG : AWS_CHUNKED_OK;
}

static AwsChunkedResult take_trailer(AwsChunked *c, Str line)
{
    Str name;
    Str value;
    if (line.len == 0) {
        c->state = STATE_END;
        return check_trailers(c);
    }
    bool good = str_split(line, ':', &name, &value);
    name = str_trim(name);
    value = str_trim(value);
    if (!good || name.len == 0 || c->trailer_signed) return AWS_CHUNKED_BAD_TRAILER;
    if (c->options.body == SIGV4_BODY_CHUNKS) return AWS_CHUNKED_BAD_TRAILER;
    if (str_eq_nocase(name, STR(TRAILER_SIGNATURE)) && c->is_signed) {
        c->trailer_signed = trailer_follows(c, value);
        return c->trailer_signed ? AWS_CHUNKED_OK : AWS_CHUNKED_WRONG;
    }
    if (aws_chunked_trailer(c, name).ptr != NULL) return AWS_CHUNKED_BAD_TRAILER;
    size_t at = c->trailers.len;
    ErrCode code = buf_append_str(&c->trailers, name, NULL);
    for (; code == OK && at < c->trailers.len; at++) {
        uint8_t *ch = &c->trailers.data[at];
        if (*ch >= 'A' && *ch <= 'Z') *ch = (uint8_t)(*ch + 32);
    }
    if (code == OK) code = buf_printf(&c->trailers, NULL, ":%.*s\n", STR_ARG(value));
    return code == OK ? AWS_CHUNKED_OK : AWS_CHUNKED_BAD_TRAILER;
}

/* One byte of a line; a line ends with CR LF. */
static AwsChunkedResult take_line_byte(AwsChunked *c, uint8_t byte)
{
    bool in_size = c->state == STATE_SIZE;
    if (c->line_len == sizeof c->line)
        return in_size ? AWS_CHUNKED_BAD_SIZE : AWS_CHUNKED_BAD_TRAILER;
    c->line[c->line_len++] = (char)byte;
    if (byte != '\n') return AWS_CHUNKED_OK;
    /* A trailer's line may end with LF alone: some clients send it so. */
    size_t len = c->line_len - 1;
    bool has_cr = len > 0 && c->line[len - 1] == '\r';
    if (in_size && !has_cr) return AWS_CHUNKED_BAD_SIZE;
    Str line = str_of(c->line, has_cr ? len - 1 : len);
    c->line_len = 0;
    return in_size ? take_size(c, line) : take_trailer(c, line);
}

/* CR LF behind a chunk's data. */
static AwsChunkedResult take_gap_byte(AwsChunked *c, uint8_t byte)
{
    if (byte != (uint8_t) "\r\n"[c->line_len]) return AWS_CHUNKED_BAD_SIZE;
    if (++c->line_len < 2) return AWS_CHUNKED_OK;
    c->line_len = 0;
    c->state = STATE_SIZE;
    return chunk_ended(c);
}

AwsChunkedResult aws_chunked_feed(AwsChunked *c, uint8_t *data, size_t len, size_t *out_len)
{
    size_t out = 0;
    *out_len = 0;
    for (size_t i = 0; i < len && c->failed == AWS_CHUNKED_OK;) {
        if (c->state == STATE_DATA) {
            size_t part = (size_t)MIN(c->left, (uint64_t)(len - i));
            if (c->is_signed) hash_update(c->hash, data + i, part);
            memmove(data + out, data + i, part);
            out += part;
            i += part;
            c->left -= part;
            c->taken += part;
            if (c->left == 0) c->state = STATE_CR;
        } else if (c->state == STATE_CR) {
            c->failed = take_gap_byte(c, data[i++]);
        } else if (c->state == STATE_END) {
            c->failed = AWS_CHUNKED_TOO_LONG;
        } else {
            c->failed = take_line_byte(c, data[i++]);
        }
    }
    if (c->failed == AWS_CHUNKED_OK) *out_len = out;
    return c->failed;
}

AwsChunkedResult aws_chunked_end(const AwsChunked *c)
{
    if (c->failed != AWS_CHUNKED_OK) return c->failed;
    bool whole = c->state == STATE_END && c->taken == c->options.length;
    return whole ? AWS_CHUNKED_OK : AWS_CHUNKED_INCOMPLETE;
}
