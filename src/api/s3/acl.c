/* Access control lists: there is one owner, who may do all, and nobody else by a list. GET tells
 * that; PUT takes what says the same, and refuses what would give anything to others. */
#include "api/s3/s3_priv.h"

#define ACL_XML_MAX (64 * KIB)

static void answer_acl(S3Call *call)
{
    AUTO_BUF(body, ACL_XML_MAX);
    XmlWriter xml;
    xml_writer_init(&xml, &body);
    xml_begin(&xml, "AccessControlPolicy" S3_XMLNS);
    s3_write_owner(&xml, "Owner");
    xml_begin(&xml, "AccessControlList");
    xml_begin(&xml, "Grant");
    xml_begin(&xml, "Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
                    "xsi:type=\"CanonicalUser\"");
    xml_element_cstr(&xml, "ID", S3_OWNER_ID);
    xml_element_cstr(&xml, "DisplayName", "root");
    xml_end(&xml, "Grantee");
    xml_element_cstr(&xml, "Permission", "FULL_CONTROL");
    xml_end(&xml, "Grant");
    xml_end(&xml, "AccessControlList");
    xml_end(&xml, "AccessControlPolicy");
    s3_answer_xml(call, &xml, &body);
}

/* Is there what the list is about: the object, or the bucket? */
static ErrCode find_subject(S3Call *call, Err *err)
{
    StoreFound found;
    BucketRecord record;
    if (call->key.len > 0) return s3_find_object(call, &found, err);
    if (buckets_find(service_buckets(call->service), call->bucket, &record)) return OK;
    return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
}

void s3_acl(S3Call *call)
{
    Err err = {0};
    ErrCode code = find_subject(call, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        answer_acl(call);
}

/* --- PUT --- */

typedef struct {
    S3Call *call;
    size_t grants;
    bool is_owner; /* the grant that is read is for the owner … */
    bool is_full;  /* … and for all */
} Reading;

static ErrCode malformed(Reading *r, Err *err)
{
    return s3_refuse(r->call, S3_ERR_MALFORMED_XML, NULL, err);
}

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    Reading *r = ctx;
    bool known = depth == 1   ? str_eq(name, STR("AccessControlPolicy"))
                 : depth == 2 ? str_eq(name, STR("Owner")) || str_eq(name, STR("AccessControlList"))
                              : depth <= 5;
    if (!known) return malformed(r, err);
    if (depth != 3 || !str_eq(name, STR("Grant"))) return OK;
    r->is_owner = false;
    r->is_full = false;
    return OK;
}

static ErrCode on_end(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    Reading *r = ctx;
    bool is_own_id = str_eq(str_trim(text), STR(S3_OWNER_ID));
    if (depth == 5 && str_eq(name, STR("ID"))) r->is_owner = is_own_id;
    if (depth == 4 && str_eq(name, STR("Permission")))
        r->is_full = str_eq(str_trim(text), STR("FULL_CONTROL"));
    if (depth == 3 && str_eq(name, STR("ID")) && !is_own_id)
        return s3_refuse(r->call, S3_ERR_NO_ACL, NULL, err);
    if (depth != 3 || !str_eq(name, STR("Grant"))) return OK;
    r->grants++;
    return r->is_owner && r->is_full ? OK : s3_refuse(r->call, S3_ERR_NO_ACL, NULL, err);
}

static ErrCode on_acl(S3Call *call, Str xml, Err *err)
{
    Reading r = {.call = call};
    XmlHandler handler = {.ctx = &r, .begin = on_begin, .end = on_end};
    bool canned = s3_header(call, "x-amz-acl").ptr != NULL; /* one of those that are so anyway */
    if (canned && xml.len > 0) {
        call->refusal = S3_ERR_INVALID_REQUEST;
        return err_set(err, ERR_INVALID, "a list comes in the body or in x-amz-acl, not in both");
    }
    if (!canned && xml.len == 0) return s3_refuse(call, S3_ERR_NO_ACL_HEADER, NULL, err);
    if (!canned) {
        ErrCode code = xml_read(xml, &handler, err);
        if (code == ERR_INVALID && call->refusal == S3_ERR_NONE) return malformed(&r, err);
        TRY(code);
        if (r.grants == 0) return s3_refuse(call, S3_ERR_NO_ACL, NULL, err);
    }
    s3_answer_empty(call, 200);
    return OK;
}

void s3_set_acl(S3Call *call)
{
    Err err = {0};
    ErrCode code = find_subject(call, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_collect_xml(call, ACL_XML_MAX, on_acl);
}
