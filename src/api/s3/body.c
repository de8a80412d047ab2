/* What all bodies share: how long they are, what they are cut into, and small ones as a whole. */
#include "api/s3/s3_priv.h"

static bool is_cut(const S3Call *call)
{
    SigV4Body body = call->auth.body;
    return body == SIGV4_BODY_CHUNKS || body == SIGV4_BODY_CHUNKS_TRAILER ||
           body == SIGV4_BODY_TRAILER;
}

ErrCode s3_body_length(S3Call *call, uint64_t *length, Err *err)
{
    const HttpHead *head = http_request_head(call->req);
    Str decoded = s3_header(call, "x-amz-decoded-content-length");
    if (is_cut(call)) {
        if (!str_to_u64(decoded, UINT64_MAX, length))
            return s3_refuse(call, S3_ERR_LENGTH_REQUIRED, NULL, err);
    } else {
        if (!head->has_length) return s3_refuse(call, S3_ERR_LENGTH_REQUIRED, NULL, err);
        *length = head->content_length;
    }
    return *length > S3_BODY_MAX ? s3_refuse(call, S3_ERR_TOO_LARGE, NULL, err) : OK;
}

void s3_body_begin(S3Call *call, uint64_t length)
{
    s3_checks_begin(call);
    if (!is_cut(call)) return;
    AwsChunkedOptions options = {.body = call->auth.body,
                                 .chain = call->auth.chain,
                                 .length = length,
                                 .announced = s3_header(call, "x-amz-trailer")};
    call->chunked = aws_chunked_new(&options);
}

ErrCode s3_chunked_error(AwsChunkedResult result, S3Error *error, Err *err)
{
    switch (result) {
    case AWS_CHUNKED_OK: return OK;
    case AWS_CHUNKED_BAD_SIZE: *error = S3_ERR_CHUNK_SIZE; break;
    case AWS_CHUNKED_WRONG: *error = S3_ERR_SIGNATURE; break;
    case AWS_CHUNKED_BAD_TRAILER: *error = S3_ERR_TRAILER; break;
    case AWS_CHUNKED_TOO_LONG:
    case AWS_CHUNKED_INCOMPLETE:
        return err_set(err, ERR_INCOMPLETE_BODY,
                       "The request body is not as long as x-amz-decoded-content-length says");
    }
    return s3_error_code(*error);
}

ErrCode s3_body_decode(S3Call *call, uint8_t *data, size_t len, size_t *out_len, Err *err)
{
    AwsChunkedResult result = AWS_CHUNKED_OK;
    *out_len = len;
    if (call->chunked == NULL) return OK;
    if (len > 0) result = aws_chunked_feed(call->chunked, data, len, out_len);
    if (result == AWS_CHUNKED_OK) result = aws_chunked_end(call->chunked);
    return s3_chunked_error(result, &call->refusal, err);
}

static ErrCode check_small(S3Call *call, Str *body, Err *err)
{
    S3Error error = S3_ERR_NONE;
    if (call->chunked != NULL) {
        size_t len = 0;
        TRY(buf_append_str(&call->body, *body, err));
        TRY(s3_body_decode(call, call->body.data, call->body.len, &len, err));
        *body = str_of(call->body.data, len);
    }
    Sha256 digest = sha256_of(body->ptr, body->len);
    s3_checks_update(&call->checks, body->ptr, body->len);
    ErrCode code = s3_checks_end(call, &digest, &error, err);
    if (code != OK) call->refusal = error;
    return code;
}

static void on_collected(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    S3Call *call = ctx;
    Err err = {0};
    UNUSED(req);
    call->bytes_in = body.len;
    if (code == ERR_TOO_LARGE) code = s3_refuse(call, S3_ERR_MALFORMED_XML, NULL, &err);
    if (code == OK) code = check_small(call, &body, &err);
    if (code == OK) code = call->on_xml(call, body, &err);
    if (code != OK) s3_answer_error(call, code, &err);
}

void s3_collect_xml(S3Call *call, size_t max, ErrCode (*fn)(S3Call *call, Str xml, Err *err))
{
    Err err = {0};
    uint64_t length = 0;
    ErrCode code = s3_checks_read(call, &err);
    if (code == OK && is_cut(call)) code = s3_body_length(call, &length, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    s3_body_begin(call, length);
    buf_deinit(&call->body);
    buf_init(&call->body, max);
    call->on_xml = fn;
    http_request_collect(call->req, max, on_collected);
}
