/* Tags of objects and of buckets. Those of an object are an attribute of its version, which other
 * tags leave as it is (MUTATION_TAG); those of a bucket stand in its record. */
#include "api/s3/s3_priv.h"
#include "api/s3/tag_set.h"

#define TAGGING_MAX (512 * KIB) /* bytes of XML */

/* What S3 says of a set that is not as it must be. */
static ErrCode refuse(S3Call *call, TagFault fault, size_t max, Err *err)
{
    err_clear(err);
    switch (fault) {
    case TAG_FAULT_MANY:
        call->refusal = S3_ERR_BAD_REQUEST;
        return err_set(err, s3_error_code(S3_ERR_BAD_REQUEST), "%s tags cannot be greater than %zu",
                       max == TAGS_OF_BUCKET_MAX ? "Bucket" : "Object", max);
    case TAG_FAULT_TWICE:
        return s3_refuse(call, S3_ERR_TAG, "Cannot provide multiple Tags with the same key", err);
    case TAG_FAULT_KEY:
        return s3_refuse(call, S3_ERR_TAG, "The TagKey you have provided is invalid", err);
    case TAG_FAULT_VALUE:
        return s3_refuse(call, S3_ERR_TAG, "The TagValue you have provided is invalid", err);
    case TAG_FAULT_SYSTEM:
        return s3_refuse(call, S3_ERR_TAG, "System tags cannot be added/updated by requester", err);
    case TAG_FAULT_NONE:
    case TAG_FAULT_FORM: break;
    }
    return s3_refuse(call, S3_ERR_MALFORMED_XML, NULL, err);
}

ErrCode s3_read_tags(S3Call *call, Err *err)
{
    Str header = s3_header(call, "x-amz-tagging");
    TagFault fault = TAG_FAULT_NONE;
    if (header.len == 0) return OK;
    AUTO_BUF(pairs, ATTRS_MAX);
    ErrCode code = tag_set_read_query(http_request_arena(call->req), header, TAGS_OF_OBJECT_MAX,
                                      &pairs, &fault, err);
    if (fault == TAG_FAULT_FORM || fault == TAG_FAULT_TWICE) {
        err_clear(err);
        return err_set(err, ERR_INVALID,
                       "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL "
                       "query parameters without tag name duplicates.");
    }
    if (fault != TAG_FAULT_NONE) return refuse(call, fault, TAGS_OF_OBJECT_MAX, err);
    TRY(code);
    if (pairs.len == 0) return OK;
    return attr_set(&call->attrs, ATTR_TAGS, buf_str(&pairs), err);
}

ErrCode s3_read_tags_xml(S3Call *call, Str xml, Err *err)
{
    TagFault fault = TAG_FAULT_NONE;
    AUTO_BUF(pairs, ATTRS_MAX);
    ErrCode code = tag_set_read_xml(xml, TAGS_OF_OBJECT_MAX, &pairs, &fault, err);
    if (code == ERR_INVALID) return refuse(call, fault, TAGS_OF_OBJECT_MAX, err);
    TRY(code);
    return pairs.len == 0 ? OK : attr_set(&call->attrs, ATTR_TAGS, buf_str(&pairs), err);
}

void s3_tags_header(S3Call *call, Str attrs)
{
    Str pairs;
    if (!attr_get(attrs, ATTR_TAGS, &pairs) || pairs.len == 0) return;
    http_header_addf(call->req, "x-amz-tagging-count", "%zu", tag_set_count(pairs));
}

static void answer_tags(S3Call *call, Str pairs)
{
    AUTO_BUF(body, 2 * TAGGING_MAX);
    XmlWriter xml;
    Dec dec = dec_of(pairs.ptr, pairs.len);
    Str key;
    Str value;
    xml_writer_init(&xml, &body);
    xml_begin(&xml, "Tagging" S3_XMLNS);
    xml_begin(&xml, "TagSet");
    while (tag_set_next(&dec, &key, &value)) {
        xml_begin(&xml, "Tag");
        xml_element(&xml, "Key", key);
        xml_element(&xml, "Value", value);
        xml_end(&xml, "Tag");
    }
    xml_end(&xml, "TagSet");
    xml_end(&xml, "Tagging");
    s3_answer_xml(call, &xml, &body);
}

/* Reads a document of tags into call->attrs. */
static ErrCode read_body(S3Call *call, Str xml, size_t max, Err *err)
{
    TagFault fault = TAG_FAULT_NONE;
    buf_clear(&call->attrs);
    ErrCode code = tag_set_read_xml(xml, max, &call->attrs, &fault, err);
    if (code == ERR_INVALID) return refuse(call, fault, max, err);
    if (code == ERR_TOO_BIG) return err_wrap(err, ERR_TOO_LARGE, "so many bytes of tags");
    return code;
}

/* --- objects --- */

void s3_object_tags(S3Call *call)
{
    StoreFound found;
    Str pairs = {NULL, 0};
    Err err = {0};
    ErrCode code = s3_find_object(call, &found, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    s3_version_header(call, &found.row);
    if (!attr_get(found.row.attrs, ATTR_TAGS, &pairs)) pairs = (Str){NULL, 0};
    answer_tags(call, pairs);
}

static void object_done(S3Call *call)
{
    Mutation *m = &call->mutation;
    ErrCode code = m->code;
    if (code == ERR_NOT_FOUND) {
        err_clear(&m->err);
        if (call->has_version)
            code = s3_refuse(call, m->marked ? S3_ERR_METHOD : S3_ERR_NO_VERSION, NULL, &m->err);
    }
    if (code != OK) {
        s3_answer_error(call, code, &m->err);
        return;
    }
    s3_version_header(call, &m->row);
    s3_answer_empty(call, http_request_method(call->req) == HTTP_METHOD_PUT ? 200 : 204);
}

/* The mutation but for the tags. */
static ErrCode begin_object(S3Call *call, Err *err)
{
    TRY(s3_check_name(call, err));
    TRY(s3_check_version(call, err));
    call->mutation.type = MUTATION_TAG;
    call->mutation.version = call->version;
    return OK;
}

static ErrCode on_object_tags(S3Call *call, Str xml, Err *err)
{
    TRY(read_body(call, xml, TAGS_OF_OBJECT_MAX, err));
    call->mutation.tags = buf_str(&call->attrs);
    s3_submit(call, object_done);
    return OK;
}

void s3_object_set_tags(S3Call *call)
{
    Err err = {0};
    ErrCode code = begin_object(call, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_collect_xml(call, TAGGING_MAX, on_object_tags);
}

void s3_object_drop_tags(S3Call *call)
{
    Err err = {0};
    ErrCode code = begin_object(call, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_submit(call, object_done);
}

/* --- buckets --- */

void s3_bucket_tags(S3Call *call)
{
    ServiceReader *reader = NULL;
    Str pairs = {NULL, 0};
    Err err = {0};
    ErrCode code = s3_reader(call, &reader, &err);
    if (code == OK) code = service_bucket_attr(reader, call->bucket, ATTR_TAGS, &pairs, &err);
    if (code == OK && pairs.len == 0) code = s3_refuse(call, S3_ERR_NO_TAGS, NULL, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        answer_tags(call, pairs);
}

static void bucket_done(S3Call *call)
{
    const Mutation *m = &call->mutation;
    if (m->code != OK)
        s3_answer_error(call, m->code, &m->err);
    else
        s3_answer_empty(call, 204);
}

void s3_bucket_set_attr(S3Call *call, AttrType type, Str value, void (*then)(S3Call *call))
{
    Mutation *m = &call->mutation;
    m->type = MUTATION_BUCKET_CREATE;
    m->bucket = call->bucket;
    m->settings.only_there = true;
    m->settings.attr = type;
    m->settings.attr_value = value;
    s3_submit(call, then);
}

static ErrCode on_bucket_tags(S3Call *call, Str xml, Err *err)
{
    TRY(read_body(call, xml, TAGS_OF_BUCKET_MAX, err));
    Str pairs = call->attrs.len > 0 ? buf_str(&call->attrs) : (Str){NULL, 0};
    s3_bucket_set_attr(call, ATTR_TAGS, pairs, bucket_done);
    return OK;
}

void s3_bucket_set_tags(S3Call *call)
{
    s3_collect_xml(call, TAGGING_MAX, on_bucket_tags);
}

void s3_bucket_drop_tags(S3Call *call)
{
    s3_bucket_set_attr(call, ATTR_TAGS, (Str){NULL, 0}, bucket_done);
}
