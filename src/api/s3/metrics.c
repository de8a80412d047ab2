/* Metrics of the S3 door: the same as REST's, with its own label. */
#include "api/door_metrics.h"
#include "api/s3/s3_priv.h"

static const char *const op_names[S3_OP_COUNT] = {
    [S3_OP_NONE] = "none",
    [S3_OP_PUT] = "put",
    [S3_OP_COPY] = "copy",
    [S3_OP_GET] = "get",
    [S3_OP_HEAD] = "head",
    [S3_OP_ATTRIBUTES] = "attributes",
    [S3_OP_ACL] = "acl",
    [S3_OP_PREFLIGHT] = "preflight",
    [S3_OP_TAGS_GET] = "tags_get",
    [S3_OP_TAGS_PUT] = "tags_put",
    [S3_OP_TAGS_DELETE] = "tags_delete",
    [S3_OP_DELETE] = "delete",
    [S3_OP_DELETE_MANY] = "delete_many",
    [S3_OP_LIST] = "list",
    [S3_OP_UPLOAD_CREATE] = "upload_create",
    [S3_OP_UPLOAD_PART] = "upload_part",
    [S3_OP_UPLOAD_PART_COPY] = "upload_part_copy",
    [S3_OP_UPLOAD_COMPLETE] = "upload_complete",
    [S3_OP_UPLOAD_ABORT] = "upload_abort",
    [S3_OP_UPLOAD_LIST] = "upload_list",
    [S3_OP_BUCKET_PUT] = "bucket_put",
    [S3_OP_BUCKET_GET] = "bucket_get",
    [S3_OP_BUCKET_DELETE] = "bucket_delete",
    [S3_OP_BUCKET_LIST] = "bucket_list",
};

const char *s3_op_name(S3Op op)
{
    return op_names[op];
}

static DoorMetrics *door; /* set once, before requests come */

void s3_metrics_register(void)
{
    static atomic_flag registered = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&registered)) return;
    download_metrics_register();
    door = door_metrics_new("s3", op_names, S3_OP_COUNT);
}

int64_t s3_in_flight(void)
{
    return door == NULL ? 0 : door_metrics_in_flight(door);
}

void s3_metrics_begin(void)
{
    door_metrics_begin(door);
}

void s3_metrics_end(const S3Call *call, uint64_t ns)
{
    DoorRequest request = {.op = call->route == NULL ? S3_OP_NONE : call->route->op,
                           .status = call->status,
                           .code = call->code,
                           .bytes_in = call->bytes_in,
                           .bytes_out = call->bytes_out,
                           .ns = ns};
    door_metrics_end(door, &request);
}
