/* Cross-origin requests of browsers (the Fetch standard, "CORS protocol"), by the rules of the
 * bucket. A preflight has no signature: what it is told are the rules alone, and a bucket that is
 * not there is answered as one without rules. */
#include <inttypes.h>

#include "api/s3/cors_rules.h"
#include "api/s3/s3_priv.h"

/* The rules of the call's bucket; *there false: it has none, or none can be read now. */
static void find_rules(S3Call *call, CorsRules *rules, bool *there)
{
    ServiceReader *reader = NULL;
    const char *fault = NULL;
    Str xml = {NULL, 0};
    *there = false;
    if (call->bucket.len == 0 || s3_reader(call, &reader, NULL) != OK) return;
    ErrCode code = service_bucket_attr(reader, call->bucket, ATTR_BUCKET_CORS, &xml, NULL);
    if (code != OK || xml.len == 0) return;
    *there = cors_rules_read(http_request_arena(call->req), xml, rules, &fault, NULL) == OK;
}

/* What a browser is told of a rule, whether it asks first or not. */
static void add_headers(S3Call *call, const CorsRule *rule, Str origin, bool any)
{
    HttpRequest *req = call->req;
    AUTO_BUF(list, CORS_XML_MAX);
    ErrCode code = OK;
    http_header_add(req, "Access-Control-Allow-Origin", any ? STR("*") : origin);
    if (!any) http_header_add(req, "Access-Control-Allow-Credentials", STR("true"));
    for (size_t i = 0; i < CORS_METHODS && code == OK; i++)
        if ((rule->methods & 1U << i) != 0)
            code = buf_printf(&list, NULL, "%s%s", list.len > 0 ? ", " : "", cors_methods[i]);
    if (code == OK) http_header_add(req, "Access-Control-Allow-Methods", buf_str(&list));
    buf_clear(&list);
    for (const CorsItem *item = rule->exposed; item != NULL && code == OK; item = item->next)
        code = buf_printf(&list, NULL, "%s%.*s", list.len > 0 ? ", " : "", STR_ARG(item->text));
    if (code == OK && list.len > 0)
        http_header_add(req, "Access-Control-Expose-Headers", buf_str(&list));
    if (rule->has_max_age)
        http_header_addf(req, "Access-Control-Max-Age", "%" PRIu64, rule->max_age_s);
}

/* A cache must not give one origin what another was told. */
static void add_vary(S3Call *call)
{
    http_header_add(call->req, "Vary",
                    STR("Origin, Access-Control-Request-Headers, Access-Control-Request-Method"));
}

void s3_cors_headers(S3Call *call)
{
    Str origin = http_request_header(call->req, STR("origin"));
    CorsRules rules;
    bool there = false;
    bool any = false;
    if (origin.len == 0) return;
    find_rules(call, &rules, &there);
    if (!there) return;
    add_vary(call);
    const CorsRule *rule = cors_rules_find(
        &rules, origin, str_from_cstr(http_method_name(http_request_method(call->req))),
        (Str){NULL, 0}, &any);
    if (rule != NULL) add_headers(call, rule, origin, any);
}

static ErrCode preflight(S3Call *call, Err *err)
{
    Str origin = http_request_header(call->req, STR("origin"));
    Str method = http_request_header(call->req, STR("access-control-request-method"));
    Str headers = http_request_header(call->req, STR("access-control-request-headers"));
    CorsRules rules;
    bool there = false;
    bool any = false;
    if (origin.len == 0)
        return s3_refuse(call, S3_ERR_BAD_REQUEST,
                         "Insufficient information. Origin request header needed.", err);
    if (method.len == 0)
        return s3_refuse(call, S3_ERR_BAD_REQUEST, "Invalid Access-Control-Request-Method: null",
                         err);
    find_rules(call, &rules, &there);
    if (!there)
        return s3_refuse(call, S3_ERR_CORS, "CORSResponse: CORS is not enabled for this bucket.",
                         err);
    add_vary(call);
    const CorsRule *rule = cors_rules_find(&rules, origin, method, headers, &any);
    if (rule == NULL) return s3_refuse(call, S3_ERR_CORS, NULL, err);
    add_headers(call, rule, origin, any);
    if (headers.len > 0) http_header_add(call->req, "Access-Control-Allow-Headers", headers);
    return OK;
}

void s3_preflight(S3Call *call)
{
    Err err = {0};
    ErrCode code = preflight(call, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_answer_empty(call, 200);
}

/* --- the rules themselves --- */

void s3_bucket_cors(S3Call *call)
{
    ServiceReader *reader = NULL;
    Str stored = {NULL, 0};
    Err err = {0};
    AUTO_BUF(body, 2 * ATTRS_MAX);
    XmlWriter xml;
    ErrCode code = s3_reader(call, &reader, &err);
    if (code == OK)
        code = service_bucket_attr(reader, call->bucket, ATTR_BUCKET_CORS, &stored, &err);
    if (code == OK && stored.len == 0) code = s3_refuse(call, S3_ERR_NO_CORS, NULL, &err);
    xml_writer_init(&xml, &body);
    if (code == OK) code = buf_append_str(&body, stored, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_answer_xml(call, &xml, &body);
}

static void cors_done(S3Call *call)
{
    const Mutation *m = &call->mutation;
    if (m->code != OK)
        s3_answer_error(call, m->code, &m->err);
    else
        s3_answer_empty(call, http_request_method(call->req) == HTTP_METHOD_PUT ? 200 : 204);
}

static ErrCode on_rules(S3Call *call, Str xml, Err *err)
{
    CorsRules rules;
    const char *fault = NULL;
    ErrCode code = cors_rules_read(http_request_arena(call->req), xml, &rules, &fault, err);
    if (code == ERR_INVALID) {
        err_clear(err);
        return s3_refuse(call, fault != NULL ? S3_ERR_INVALID_REQUEST : S3_ERR_MALFORMED_XML, fault,
                         err);
    }
    TRY(code);
    buf_clear(&call->attrs);
    code = cors_rules_write(&rules, &call->attrs, err);
    if (code == ERR_TOO_BIG) return err_wrap(err, ERR_TOO_LARGE, "so many rules");
    TRY(code);
    s3_bucket_set_attr(call, ATTR_BUCKET_CORS, buf_str(&call->attrs), cors_done);
    return OK;
}

void s3_bucket_set_cors(S3Call *call)
{
    s3_collect_xml(call, CORS_XML_MAX, on_rules);
}

void s3_bucket_drop_cors(S3Call *call)
{
    s3_bucket_set_attr(call, ATTR_BUCKET_CORS, (Str){NULL, 0}, cors_done);
}
