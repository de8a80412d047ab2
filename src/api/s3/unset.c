/* Settings of S3 that are never set here, as S3 answers for a bucket or an object that has none.
 * What would set one is NotImplemented: there is no row for it in routes.c. */
#include <string.h>

#include "api/s3/s3_priv.h"

#define SMALL_XML_MAX (8 * KIB)

static ErrCode find_bucket(S3Call *call, Err *err)
{
    BucketRecord record;
    if (buckets_find(service_buckets(call->service), call->bucket, &record)) return OK;
    return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
}

/* Documents that say: nothing. `many`: of a list, which `id` asks one of. */
static const struct {
    const char *param;
    const char *root;
    bool many;
} documents[] = {
    {"notification", "NotificationConfiguration", false},
    {"logging", "BucketLoggingStatus", false},
    {"accelerate", "AccelerateConfiguration", false},
    {"requestPayment", "RequestPaymentConfiguration", false},
    {"inventory", "ListInventoryConfigurationsResult", true},
    {"analytics", "ListBucketAnalyticsConfigurationsResult", true},
    {"metrics", "ListMetricsConfigurationsResult", true},
    {"intelligent-tiering", "ListBucketIntelligentTieringConfigurationsResult", true},
};

static void answer_document(S3Call *call, const char *root, bool many)
{
    AUTO_BUF(body, SMALL_XML_MAX);
    XmlWriter xml;
    Str begin = arena_printf(http_request_arena(call->req), "%s" S3_XMLNS, root);
    if (begin.ptr == NULL) {
        s3_answer_error(call, ERR_NO_MEMORY, NULL);
        return;
    }
    xml_writer_init(&xml, &body);
    xml_begin(&xml, begin.ptr);
    if (many) xml_element_cstr(&xml, "IsTruncated", "false");
    if (strcmp(call->route->param, "requestPayment") == 0)
        xml_element_cstr(&xml, "Payer", "BucketOwner");
    xml_end(&xml, root);
    s3_answer_xml(call, &xml, &body);
}

void s3_bucket_unset(S3Call *call)
{
    Err err = {0};
    ErrCode code = find_bucket(call, &err);
    size_t i = 0;
    while (strcmp(documents[i].param, call->route->param) != 0) {
        i++;
        ASSERT(i < ARRAY_LEN(documents)); /* routes.c names those alone */
    }
    if (code == OK && documents[i].many && s3_has_param(call, "id"))
        code = s3_refuse(call, S3_ERR_NO_CONFIGURATION, NULL, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        answer_document(call, documents[i].root, documents[i].many);
}

void s3_bucket_drop_unset(S3Call *call)
{
    Err err = {0};
    ErrCode code = find_bucket(call, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_answer_empty(call, 204);
}

void s3_object_unset(S3Call *call)
{
    StoreFound found;
    Err err = {0};
    ErrCode code = s3_find_object(call, &found, &err);
    if (code == OK) code = s3_refuse(call, S3_ERR_NO_OBJECT_LOCK, NULL, &err);
    s3_answer_error(call, code, &err);
}
