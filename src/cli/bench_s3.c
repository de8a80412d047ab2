/* The door of any S3 server, as `holdfast bench` asks it: addresses by path, Signature Version 4.
 * Source: Amazon S3 API Reference, PutObject, GetObject, DeleteObject, ListObjectsV2; those of
 * uploads in parts: bench_parts.h. */
#include "cli/bench.h"

#include <string.h>

#include "base/clock.h"
#include "text/uri.h"

/* All requests of a run are signed by one. Main thread. */
static SigV4Signer signer;
static BenchBodies bodies;

void bench_s3_init(const SigV4Signer *with, const BenchBodies *of)
{
    signer = *with;
    bodies = *of;
}

/* Names and values in the order in which they are signed. */
static ErrCode list_query(const BenchTarget *target, Buf *out, Err *err)
{
    TRY(buf_printf(out, err, "list-type=2&max-keys=%d&prefix=", BENCH_LIST_LIMIT));
    return uri_encode(out, URI_ENCODE_ALL, target->prefix, err);
}

/* A step of an upload in parts. */
static ErrCode parts_step(BenchParts *parts, const char **method, Sha256 *body, Err *err)
{
    static const char *const methods[] = {[BENCH_PARTS_BEGIN] = "POST",
                                          [BENCH_PARTS_SEND] = "PUT",
                                          [BENCH_PARTS_COMPLETE] = "POST",
                                          [BENCH_PARTS_ABORT] = "DELETE"};
    *method = methods[parts->step];
    if (parts->step == BENCH_PARTS_SEND)
        *body = bench_parts_length(parts) == parts->part_size ? bodies.part : bodies.last;
    if (parts->step != BENCH_PARTS_COMPLETE) return OK;
    TRY(bench_parts_close(parts, err));
    *body = sha256_of(parts->xml.data, parts->xml.len);
    return OK;
}

static ErrCode request(BenchOp op, const BenchTarget *target, ClientCall *call, Buf *text,
                       Buf *headers, Err *err)
{
    static const char *const methods[BENCH_OPS] = {"PUT", "GET", "GET", "DELETE", ""};
    AUTO_BUF(query, REMOTE_TARGET_MAX);
    const char *method = methods[op];
    Sha256 body = op == BENCH_PUT ? bodies.file : sha256_of("", 0);
    buf_clear(text);
    buf_clear(headers);
    TRY(buf_append_str(text, STR("/"), err));
    TRY(uri_encode(text, URI_ENCODE_ALL, target->bucket, err));
    if (op == BENCH_LIST) {
        TRY(list_query(target, &query, err));
    } else {
        TRY(buf_append_str(text, STR("/"), err));
        TRY(uri_encode(text, URI_ENCODE_PATH, target->key, err));
    }
    if (op == BENCH_MULTIPART) {
        TRY(bench_parts_query(target->parts, &query, err));
        TRY(parts_step(target->parts, &method, &body, err));
    }
    SigV4Sent sent = {.method = str_from_cstr(method),
                      .path = buf_str(text),
                      .query = buf_str(&query),
                      .body = body};
    TRY(sigv4_headers(&signer, &sent, clock_wall_ms(clock_real()), headers, err));
    TRY(buf_append_zeros(headers, 1, err));
    if (query.len > 0) TRY(buf_printf(text, err, "?%.*s", STR_ARG(buf_str(&query))));
    TRY(buf_append_zeros(text, 1, err));
    call->method = method;
    call->target = (const char *)text->data;
    call->header = (const char *)headers->data;
    return OK;
}

const BenchDoor bench_door_s3 = {
    .name = "s3", .request = request, .deletes_by_number = true, .has_parts = true};
