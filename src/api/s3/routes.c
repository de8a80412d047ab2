/* The table of what the door takes. A parameter that names something of its own (`?acl`) and has no
 * row for its method is NotImplemented: never taken for the request without it. */
#include "api/s3/s3_priv.h"

/* Never set: what S3 says of that, a document or nothing to delete. */
#define UNSET(param)                                                                               \
    {                                                                                              \
        HTTP_METHOD_GET, S3_BUCKET, param, S3_OP_BUCKET_GET, RIGHT_LIST, s3_bucket_unset, 0        \
    }
#define DROP_UNSET(param)                                                                          \
    {                                                                                              \
        HTTP_METHOD_DELETE, S3_BUCKET, param, S3_OP_BUCKET_PUT, RIGHT_BUCKETS,                     \
            s3_bucket_drop_unset, 0                                                                \
    }
#define GET_ONLY_ERROR(param, error)                                                               \
    {                                                                                              \
        HTTP_METHOD_GET, S3_BUCKET, param, S3_OP_BUCKET_GET, RIGHT_LIST, NULL, error               \
    }

static const S3Route routes[] = {
    {HTTP_METHOD_GET, S3_SERVICE, NULL, S3_OP_BUCKET_LIST, RIGHT_LIST, s3_bucket_list, 0},
    {HTTP_METHOD_PUT, S3_BUCKET, NULL, S3_OP_BUCKET_PUT, RIGHT_BUCKETS, s3_bucket_put, 0},
    {HTTP_METHOD_HEAD, S3_BUCKET, NULL, S3_OP_BUCKET_GET, RIGHT_LIST, s3_bucket_head, 0},
    {HTTP_METHOD_DELETE, S3_BUCKET, NULL, S3_OP_BUCKET_DELETE, RIGHT_BUCKETS, s3_bucket_delete, 0},
    {HTTP_METHOD_GET, S3_BUCKET, NULL, S3_OP_LIST, RIGHT_LIST, s3_list, 0},
    {HTTP_METHOD_GET, S3_BUCKET, "location", S3_OP_BUCKET_GET, RIGHT_LIST, s3_bucket_location, 0},
    {HTTP_METHOD_GET, S3_BUCKET, "versioning", S3_OP_BUCKET_GET, RIGHT_LIST, s3_bucket_versioning,
     0},
    {HTTP_METHOD_PUT, S3_BUCKET, "versioning", S3_OP_BUCKET_PUT, RIGHT_BUCKETS,
     s3_bucket_set_versioning, 0},
    {HTTP_METHOD_GET, S3_BUCKET, "versions", S3_OP_LIST, RIGHT_LIST, s3_list_versions, 0},
    {HTTP_METHOD_GET, S3_BUCKET, "acl", S3_OP_BUCKET_GET, RIGHT_LIST, s3_acl, 0},
    {HTTP_METHOD_PUT, S3_BUCKET, "acl", S3_OP_ACL, RIGHT_BUCKETS, s3_set_acl, 0},
    {HTTP_METHOD_GET, S3_BUCKET, "cors", S3_OP_BUCKET_GET, RIGHT_LIST, s3_bucket_cors, 0},
    {HTTP_METHOD_PUT, S3_BUCKET, "cors", S3_OP_BUCKET_PUT, RIGHT_BUCKETS, s3_bucket_set_cors, 0},
    {HTTP_METHOD_DELETE, S3_BUCKET, "cors", S3_OP_BUCKET_PUT, RIGHT_BUCKETS, s3_bucket_drop_cors,
     0},
    {HTTP_METHOD_GET, S3_BUCKET, "uploads", S3_OP_UPLOAD_LIST, RIGHT_WRITE, s3_bucket_uploads, 0},
    GET_ONLY_ERROR("policy", S3_ERR_NO_POLICY),
    GET_ONLY_ERROR("lifecycle", S3_ERR_NO_LIFECYCLE),
    GET_ONLY_ERROR("encryption", S3_ERR_NO_ENCRYPTION),
    GET_ONLY_ERROR("website", S3_ERR_NO_WEBSITE),
    GET_ONLY_ERROR("replication", S3_ERR_NO_REPLICATION),
    GET_ONLY_ERROR("object-lock", S3_ERR_NO_LOCK),
    GET_ONLY_ERROR("publicAccessBlock", S3_ERR_NO_ACCESS_BLOCK),
    GET_ONLY_ERROR("ownershipControls", S3_ERR_NO_OWNERSHIP),
    GET_ONLY_ERROR("policyStatus", S3_ERR_NO_POLICY),
    UNSET("notification"),
    UNSET("logging"),
    UNSET("accelerate"),
    UNSET("requestPayment"),
    UNSET("inventory"),
    UNSET("analytics"),
    UNSET("metrics"),
    UNSET("intelligent-tiering"),
    DROP_UNSET("policy"),
    DROP_UNSET("lifecycle"),
    DROP_UNSET("encryption"),
    DROP_UNSET("website"),
    DROP_UNSET("replication"),
    DROP_UNSET("publicAccessBlock"),
    DROP_UNSET("ownershipControls"),
    {HTTP_METHOD_GET, S3_BUCKET, "tagging", S3_OP_BUCKET_GET, RIGHT_LIST, s3_bucket_tags, 0},
    {HTTP_METHOD_PUT, S3_BUCKET, "tagging", S3_OP_BUCKET_PUT, RIGHT_BUCKETS, s3_bucket_set_tags, 0},
    {HTTP_METHOD_DELETE, S3_BUCKET, "tagging", S3_OP_BUCKET_PUT, RIGHT_BUCKETS, s3_bucket_drop_tags,
     0},
    {HTTP_METHOD_GET, S3_OBJECT, "tagging", S3_OP_TAGS_GET, RIGHT_READ, s3_object_tags, 0},
    {HTTP_METHOD_PUT, S3_OBJECT, "tagging", S3_OP_TAGS_PUT, RIGHT_WRITE, s3_object_set_tags, 0},
    {HTTP_METHOD_DELETE, S3_OBJECT, "tagging", S3_OP_TAGS_DELETE, RIGHT_WRITE, s3_object_drop_tags,
     0},
    {HTTP_METHOD_POST, S3_BUCKET, "delete", S3_OP_DELETE_MANY, RIGHT_DELETE, s3_delete_many, 0},
    {HTTP_METHOD_PUT, S3_OBJECT, NULL, S3_OP_PUT, RIGHT_WRITE, s3_put, 0},
    {HTTP_METHOD_GET, S3_OBJECT, NULL, S3_OP_GET, RIGHT_READ, s3_get, 0},
    {HTTP_METHOD_HEAD, S3_OBJECT, NULL, S3_OP_HEAD, RIGHT_READ, s3_get, 0},
    {HTTP_METHOD_DELETE, S3_OBJECT, NULL, S3_OP_DELETE, RIGHT_DELETE, s3_delete, 0},
    {HTTP_METHOD_GET, S3_OBJECT, "acl", S3_OP_ACL, RIGHT_READ, s3_acl, 0},
    {HTTP_METHOD_PUT, S3_OBJECT, "acl", S3_OP_ACL, RIGHT_WRITE, s3_set_acl, 0},
    {HTTP_METHOD_GET, S3_OBJECT, "attributes", S3_OP_ATTRIBUTES, RIGHT_READ, s3_attributes, 0},
    {HTTP_METHOD_GET, S3_OBJECT, "retention", S3_OP_GET, RIGHT_READ, s3_object_unset, 0},
    {HTTP_METHOD_GET, S3_OBJECT, "legal-hold", S3_OP_GET, RIGHT_READ, s3_object_unset, 0},
    {HTTP_METHOD_GET, S3_OBJECT, "partNumber", S3_OP_GET, RIGHT_READ, s3_get, 0},
    {HTTP_METHOD_HEAD, S3_OBJECT, "partNumber", S3_OP_HEAD, RIGHT_READ, s3_get, 0},
    {HTTP_METHOD_POST, S3_OBJECT, "uploads", S3_OP_UPLOAD_CREATE, RIGHT_WRITE, s3_multipart_create,
     0},
    {HTTP_METHOD_POST, S3_OBJECT, "uploadId", S3_OP_UPLOAD_COMPLETE, RIGHT_WRITE,
     s3_multipart_complete, 0},
    {HTTP_METHOD_DELETE, S3_OBJECT, "uploadId", S3_OP_UPLOAD_ABORT, RIGHT_WRITE, s3_multipart_abort,
     0},
    {HTTP_METHOD_GET, S3_OBJECT, "uploadId", S3_OP_UPLOAD_LIST, RIGHT_WRITE, s3_part_list, 0},
};
static const S3Route part = {HTTP_METHOD_PUT, S3_OBJECT,   "uploadId", S3_OP_UPLOAD_PART,
                             RIGHT_WRITE,     s3_part_put, 0};
/* Of copies: over the target; RIGHT_READ over the source, copy.c asks. */
static const S3Route part_copy = {HTTP_METHOD_PUT, S3_OBJECT,    "uploadId", S3_OP_UPLOAD_PART_COPY,
                                  RIGHT_WRITE,     s3_part_copy, 0};
static const S3Route copy = {HTTP_METHOD_PUT, S3_OBJECT, NULL, S3_OP_COPY, RIGHT_WRITE, s3_copy, 0};

static const S3Route preflight = {HTTP_METHOD_OPTIONS, S3_BUCKET, NULL, S3_OP_PREFLIGHT, 0,
                                  s3_preflight,        0};

/* Parameters that name something of its own. */
static const char *const own[] = {
    "accelerate",   "acl",
    "analytics",    "attributes",
    "cors",         "delete",
    "encryption",   "intelligent-tiering",
    "inventory",    "legal-hold",
    "lifecycle",    "location",
    "logging",      "metadataTable",
    "metrics",      "notification",
    "object-lock",  "ownershipControls",
    "partNumber",   "policy",
    "policyStatus", "publicAccessBlock",
    "replication",  "requestPayment",
    "restore",      "retention",
    "select",       "session",
    "tagging",      "torrent",
    "uploadId",     "uploads",
    "versioning",   "versions",
    "website",      "renameObject",
    "append",
};

const S3Route *s3_route(S3Call *call)
{
    HttpMethod method = http_request_method(call->req);
    S3Scope scope = call->bucket.len == 0 ? S3_SERVICE : call->key.len == 0 ? S3_BUCKET : S3_OBJECT;
    Str param = {NULL, 0};
    if (method == HTTP_METHOD_OPTIONS) return &preflight; /* of whatever there is */
    bool copies = s3_header(call, "x-amz-copy-source").ptr != NULL;
    if (method == HTTP_METHOD_PUT && scope == S3_OBJECT && s3_has_param(call, "uploadId") &&
        s3_has_param(call, "partNumber"))
        return copies ? &part_copy : &part;
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (!s3_has_param(call, own[i])) continue;
        if (param.ptr != NULL) return NULL; /* two at once */
        param = str_from_cstr(own[i]);
    }
    if (method == HTTP_METHOD_PUT && scope == S3_OBJECT && param.ptr == NULL && copies)
        return &copy;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const S3Route *route = &routes[i];
        if (route->method != method || route->scope != scope) continue;
        if (str_eq(str_from_cstr(route->param), param)) return route;
    }
    return NULL;
}
