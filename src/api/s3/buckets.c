/* Buckets, and what is asked of one as a whole. */
#include <string.h>

#include "api/s3/s3_priv.h"
#include "text/dates.h"

#define BUCKETS_MAX 10000 /* of one answer */
#define BUCKETS_XML_MAX (4 * MIB)
#define SMALL_XML_MAX (8 * KIB)
#define CONFIGURATION_MAX (8 * KIB) /* bytes of XML */

static ErrCode find_bucket(S3Call *call, BucketRecord *record, Err *err)
{
    if (buckets_find(service_buckets(call->service), call->bucket, record)) return OK;
    return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
}

/* What of the buckets is asked for. */
typedef struct {
    Str prefix;
    Str after; /* the token is the last name of the page before */
    uint64_t max;
} BucketsQuery;

static ErrCode read_buckets_query(S3Call *call, BucketsQuery *query, Err *err)
{
    TRY(s3_query(call, "prefix", &query->prefix, err));
    TRY(s3_query(call, "continuation-token", &query->after, err));
    TRY(s3_query_number(call, "max-buckets", BUCKETS_MAX, &query->max, err));
    if (query->max > 0) return OK;
    return err_set(err, ERR_INVALID, "max-buckets is from 1 to %d", BUCKETS_MAX);
}

/* The next bucket behind name, into name, whose name begins with prefix and which the sender may
 * know of. */
static bool next_bucket(S3Call *call, Str prefix, char name[BUCKET_NAME_MAX + 1],
                        BucketRecord *record)
{
    Buckets *buckets = service_buckets(call->service);
    const Identity *who = &call->auth.identity;
    char last[BUCKET_NAME_MAX + 1];
    do {
        memcpy(last, name, sizeof last);
        if (!buckets_next_seen(buckets, who, str_from_cstr(last), name, record)) return false;
    } while (!str_starts_with(str_from_cstr(name), prefix));
    return true;
}

static void write_buckets(S3Call *call, XmlWriter *xml, const BucketsQuery *query)
{
    char name[BUCKET_NAME_MAX + 1] = "";
    char last[BUCKET_NAME_MAX + 1] = "";
    char date[DATE_RFC3339_SIZE];
    BucketRecord record;
    memcpy(name, query->after.ptr, MIN(query->after.len, (size_t)BUCKET_NAME_MAX));
    bool more = next_bucket(call, query->prefix, name, &record);
    xml_begin(xml, "Buckets");
    for (uint64_t count = 0; more && count < query->max; count++) {
        date_format_rfc3339(record.created_ms, date);
        xml_begin(xml, "Bucket");
        xml_element_cstr(xml, "Name", name);
        xml_element_cstr(xml, "CreationDate", date);
        xml_end(xml, "Bucket");
        memcpy(last, name, sizeof last);
        more = next_bucket(call, query->prefix, name, &record);
    }
    xml_end(xml, "Buckets");
    if (query->prefix.len > 0) xml_element(xml, "Prefix", query->prefix);
    if (more) xml_element_cstr(xml, "ContinuationToken", last);
}

void s3_bucket_list(S3Call *call)
{
    BucketsQuery query = {.max = BUCKETS_MAX};
    Err err = {0};
    ErrCode code = read_buckets_query(call, &query, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    AUTO_BUF(body, BUCKETS_XML_MAX);
    XmlWriter xml;
    xml_writer_init(&xml, &body);
    xml_begin(&xml, "ListAllMyBucketsResult" S3_XMLNS);
    s3_write_owner(&xml, "Owner");
    write_buckets(call, &xml, &query);
    xml_end(&xml, "ListAllMyBucketsResult");
    s3_answer_xml(call, &xml, &body);
}

/* --- CreateBucket --- */

static bool is_default_region(const S3Call *call)
{
    return strcmp(call->auth.region, "us-east-1") == 0;
}

/* A bucket that is there is the client's own: S3 takes that in its first region, not in others. */
static void bucket_put_done(S3Call *call)
{
    Mutation *m = &call->mutation;
    bool again = m->code == ERR_BUCKET_EXISTS && is_default_region(call);
    if (m->code != OK && !again) {
        s3_answer_error(call, m->code, &m->err);
        return;
    }
    Str place = arena_printf(http_request_arena(call->req), "/%.*s", STR_ARG(call->bucket));
    http_header_add(call->req, "Location", place);
    s3_answer_empty(call, 200);
}

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    UNUSED(ctx);
    if (depth == 1 && !str_eq(name, STR("CreateBucketConfiguration")))
        return err_set(err, ERR_INVALID, "an element that is not known");
    bool known = depth == 1 || (depth == 2 && str_eq(name, STR("LocationConstraint")));
    return known ? OK
                 : err_set(err, ERR_NOT_IMPLEMENTED, "%.*s is not implemented",
                           (int)MIN(name.len, (size_t)64), name.ptr);
}

static ErrCode on_element(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    S3Call *call = ctx;
    UNUSED(name);
    if (depth != 2 || text.len == 0) return OK;
    if (str_eq(text, str_from_cstr(call->auth.region))) return OK;
    if (str_eq(text, str_from_cstr(call->s3->options.region))) return OK;
    return s3_refuse(call, S3_ERR_LOCATION, NULL, err);
}

static ErrCode read_configuration(S3Call *call, Str body, Err *err)
{
    if (body.len == 0) return OK;
    XmlHandler handler = {.ctx = call, .begin = on_begin, .end = on_element};
    ErrCode code = xml_read(body, &handler, err);
    if (code == ERR_INVALID && call->refusal == S3_ERR_NONE)
        return s3_refuse(call, S3_ERR_MALFORMED_XML, NULL, err);
    return code;
}

static ErrCode on_configuration(S3Call *call, Str body, Err *err)
{
    TRY(read_configuration(call, body, err));
    s3_submit(call, bucket_put_done);
    return OK;
}

void s3_bucket_put(S3Call *call)
{
    call->mutation.type = MUTATION_BUCKET_CREATE;
    call->mutation.bucket = call->bucket;
    s3_collect_xml(call, CONFIGURATION_MAX, on_configuration);
}

void s3_bucket_head(S3Call *call)
{
    BucketRecord record;
    Err err = {0};
    ErrCode code = find_bucket(call, &record, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    http_header_add(call->req, "x-amz-bucket-region", str_from_cstr(call->s3->options.region));
    s3_answer_empty(call, 200);
}

static void bucket_delete_done(S3Call *call)
{
    Mutation *m = &call->mutation;
    if (m->code != OK)
        s3_answer_error(call, m->code, &m->err);
    else
        s3_answer_empty(call, 204);
}

void s3_bucket_delete(S3Call *call)
{
    call->mutation.type = MUTATION_BUCKET_DELETE;
    call->mutation.bucket = call->bucket;
    s3_submit(call, bucket_delete_done);
}

/* --- what is the same for all --- */

static void answer_bucket(S3Call *call, void (*fill)(S3Call *call, XmlWriter *xml))
{
    BucketRecord record;
    Err err = {0};
    AUTO_BUF(body, SMALL_XML_MAX);
    XmlWriter xml;
    ErrCode code = find_bucket(call, &record, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    xml_writer_init(&xml, &body);
    fill(call, &xml);
    s3_answer_xml(call, &xml, &body);
}

static void write_location(S3Call *call, XmlWriter *xml)
{
    const char *region = call->s3->options.region;
    xml_begin(xml, "LocationConstraint" S3_XMLNS);
    /* S3's first region has no name here. */
    if (strcmp(region, "us-east-1") != 0 && xml->code == OK)
        xml->code = buf_append_str(xml->out, str_from_cstr(region), NULL);
    xml_end(xml, "LocationConstraint");
}

void s3_bucket_location(S3Call *call)
{
    answer_bucket(call, write_location);
}

static void write_versioning(S3Call *call, XmlWriter *xml)
{
    BucketRecord record;
    xml_begin(xml, "VersioningConfiguration" S3_XMLNS);
    if (buckets_find(service_buckets(call->service), call->bucket, &record) &&
        record.versioning != VERSIONING_OFF) {
        bool on = record.versioning == VERSIONING_ON;
        xml_element_cstr(xml, "Status", on ? "Enabled" : "Suspended");
    }
    xml_end(xml, "VersioningConfiguration");
}

void s3_bucket_versioning(S3Call *call)
{
    answer_bucket(call, write_versioning);
}
