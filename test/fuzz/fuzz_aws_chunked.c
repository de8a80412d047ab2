/* Bodies in aws-chunked: however they are cut, the same comes out, never more than was announced,
 * and nothing of a signed one that nobody signed. First byte: the kind; second: the length. */
#include "auth/aws_chunked.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static AwsChunkedResult run(const AwsChunkedOptions *options, const uint8_t *data, size_t size,
                            size_t piece, Buf *body)
{
    AUTO(AwsChunked, aws_chunked_free) c = aws_chunked_new(options);
    AwsChunkedResult result = AWS_CHUNKED_OK;
    for (size_t at = 0; at < size && result == AWS_CHUNKED_OK; at += piece) {
        size_t part = MIN(piece, size - at);
        size_t out = 0;
        AUTO(char, mem_free) copy = mem_new(part);
        memcpy(copy, data + at, part);
        result = aws_chunked_feed(c, (uint8_t *)copy, part, &out);
        ASSERT(out <= part);
        ASSERT(buf_append(body, copy, out, NULL) == OK);
    }
    return result == AWS_CHUNKED_OK ? aws_chunked_end(c) : result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const SigV4Body kinds[] = {SIGV4_BODY_CHUNKS, SIGV4_BODY_CHUNKS_TRAILER,
                                      SIGV4_BODY_TRAILER};
    if (size < 2) return 0;
    AwsChunkedOptions options = {
        .body = kinds[data[0] % ARRAY_LEN(kinds)],
        .length = data[1],
        .announced = STR("x-amz-checksum-crc32"),
        .chain = {.date = "20130524T000000Z", .scope = "20130524/us-east-1/s3/aws4_request"}};
    AUTO_BUF(whole, 1 + size);
    AUTO_BUF(cut, 1 + size);
    AwsChunkedResult first = run(&options, data + 2, size - 2, size, &whole);
    AwsChunkedResult second = run(&options, data + 2, size - 2, 1, &cut);
    ASSERT(first == second);
    ASSERT(whole.len <= options.length && cut.len <= options.length);
    if (first != AWS_CHUNKED_OK) return 0;
    ASSERT(options.body == SIGV4_BODY_TRAILER);
    ASSERT(whole.len == options.length && str_eq(buf_str(&whole), buf_str(&cut)));
    return 0;
}
