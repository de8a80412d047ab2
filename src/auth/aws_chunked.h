/* aws-chunked: a body cut into chunks by S3's clients, inside whatever framing HTTP has, each chunk
 * signed or not, and a trailer with the body's checksum behind them:
 *
 *   10000;chunk-signature=HEX\r\n DATA \r\n … 0;chunk-signature=HEX\r\n [trailer] \r\n
 *   b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n
 *
 * Each signature covers the one before, the first of them the request's, so that no chunk can be
 * left out, added or moved. What is decoded is not proven before the chunk's end: nothing of it may
 * become visible before aws_chunked_end() said OK. Pure; one thread at a time. */
#ifndef HOLDFAST_AUTH_AWS_CHUNKED_H
#define HOLDFAST_AUTH_AWS_CHUNKED_H

#include "auth/sigv4.h"
#include "base/buf.h"

#define AWS_CHUNKED_LINE_MAX 1024    /* bytes of one line */
#define AWS_CHUNKED_TRAILER_MAX 4096 /* bytes of all trailers */
#define AWS_CHUNKED_SIZE_MIN 8192    /* bytes of a signed chunk that is not the last */

typedef enum {
    AWS_CHUNKED_OK,
    AWS_CHUNKED_BAD_SIZE,    /* a line that is no chunk's, or a chunk that is too small */
    AWS_CHUNKED_TOO_LONG,    /* more bytes than x-amz-decoded-content-length said */
    AWS_CHUNKED_INCOMPLETE,  /* fewer, or no end */
    AWS_CHUNKED_WRONG,       /* a signature */
    AWS_CHUNKED_BAD_TRAILER, /* can't be read, or is not what x-amz-trailer announced */
} AwsChunkedResult;

typedef struct AwsChunked AwsChunked;

typedef struct {
    SigV4Body body;   /* CHUNKS, CHUNKS_TRAILER or TRAILER */
    SigV4Chain chain; /* copied */
    uint64_t length;  /* x-amz-decoded-content-length */
    Str announced;    /* the value of x-amz-trailer, which must stay; empty: none */
} AwsChunkedOptions;

AwsChunked *aws_chunked_new(const AwsChunkedOptions *options);
void aws_chunked_free(AwsChunked *c); /* NULL is fine */
/* Decodes in place: data[0..*out_len) are then bytes of the body. After a failure no more. */
AwsChunkedResult aws_chunked_feed(AwsChunked *c, uint8_t *data, size_t len, size_t *out_len);
/* There is nothing more: was it all? */
AwsChunkedResult aws_chunked_end(const AwsChunked *c);
/* The value of a trailer, after the end; ptr NULL: it is not there. */
Str aws_chunked_trailer(const AwsChunked *c, Str name);

AUTO_DEFINE(AwsChunked, aws_chunked_free);

#endif
