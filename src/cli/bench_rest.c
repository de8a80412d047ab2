/* The REST door, as `holdfast bench` asks it. */
#include "cli/bench.h"

#include "text/uri.h"

static ErrCode request(BenchOp op, const BenchTarget *target, ClientCall *call, Buf *text,
                       Buf *headers, Err *err)
{
    static const char *const methods[BENCH_OPS] = {"PUT", "GET", "GET", "DELETE", ""};
    UNUSED(headers);
    ASSERT(op != BENCH_MULTIPART);
    buf_clear(text);
    if (op == BENCH_LIST) {
        TRY(buf_append_str(text, STR("/v1/files?bucket="), err));
        TRY(uri_encode(text, URI_ENCODE_ALL, target->bucket, err));
        TRY(buf_append_str(text, STR("&prefix="), err));
        TRY(uri_encode(text, URI_ENCODE_ALL, target->prefix, err));
        TRY(buf_printf(text, err, "&limit=%d", BENCH_LIST_LIMIT));
        TRY(buf_append_zeros(text, 1, err));
    } else {
        TRY(remote_file_target(text, target->bucket, target->key, err));
    }
    call->method = methods[op];
    call->target = (const char *)text->data;
    return OK;
}

const BenchDoor bench_door_rest = {.name = "rest", .request = request};
