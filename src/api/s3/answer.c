/* Answers: errors as S3 words them, XML, and what every answer carries. */
#include "api/s3/s3_priv.h"

#include <inttypes.h>

#include "base/log.h"

#define ERROR_XML_MAX (32 * KIB)

typedef struct {
    const char *code;
    int status;
    ErrCode err;
    const char *text;
} Row;

static const Row rows[S3_ERR_COUNT] = {
#define S3_ERROR(name, text_code, status, code, text)                                              \
    [S3_ERR_##name] = {text_code, status, code, text},
#include "api/s3/errors.def"
#undef S3_ERROR
};

ErrCode s3_error_code(S3Error error)
{
    return rows[error].err;
}

ErrCode s3_refuse(S3Call *call, S3Error error, const char *text, Err *err)
{
    ASSERT(error > S3_ERR_NONE && error < S3_ERR_COUNT);
    call->refusal = error;
    return err_set(err, rows[error].err, "%s", text != NULL ? text : rows[error].text);
}

ErrCode s3_refuse_as(S3Call *call, S3Error error)
{
    call->refusal = error;
    return rows[error].err;
}

const char *s3_code_text(ErrCode code)
{
    return err_info(code)->s3_code;
}

/* S3's status where it is not REST's. */
static int status_of(ErrCode code)
{
    int status = err_info(code)->http_status;
    switch (status) {
    case 401: return 403;
    case 413:
    case 414:
    case 431:
    case 408: return 400;
    case 507: return 503;
    default: return status;
    }
}

const char *s3_text(ErrCode code, const Err *err)
{
    /* What went wrong within is for the log. */
    if (status_of(code) == 500 || err->message[0] == '\0') return err_info(code)->text;
    return err->message;
}

void s3_durability_header(S3Call *call)
{
    const Durability *d = &call->durability;
    if (d->copies == 0) return;
    http_header_addf(call->req, "Holdfast-Durability", DURABILITY_FORMAT, DURABILITY_ARG(*d));
}

static void common_headers(S3Call *call)
{
    if (call->status < 400) s3_durability_header(call);
    http_header_add(call->req, "x-amz-request-id", http_request_id(call->req));
    http_header_add(call->req, "x-amz-id-2", http_request_id(call->req));
}

/* What was meant, as S3 tells it for this kind of error. */
static void write_place(S3Call *call, XmlWriter *xml, ErrCode code)
{
    if (code == ERR_NO_BUCKET || code == ERR_BUCKET_EXISTS || code == ERR_BUCKET_NOT_EMPTY ||
        code == ERR_BAD_BUCKET_NAME) {
        xml_element(xml, "BucketName", call->bucket);
    } else if (code == ERR_NOT_FOUND && call->key.len > 0) {
        xml_element(xml, "Key", call->key);
    } else {
        xml_element(xml, "Resource", http_request_path(call->req));
    }
}

static bool write_error(S3Call *call, Buf *body, const char *s3_code, ErrCode code, Str text)
{
    XmlWriter xml;
    xml_writer_init(&xml, body);
    xml_begin(&xml, "Error");
    xml_element_cstr(&xml, "Code", s3_code);
    xml_element(&xml, "Message", text);
    write_place(call, &xml, code);
    xml_element(&xml, "RequestId", http_request_id(call->req));
    xml_element(&xml, "HostId", http_request_id(call->req));
    xml_end(&xml, "Error");
    return xml_writer_end(&xml, NULL) == OK;
}

void s3_answer_error(S3Call *call, ErrCode code, const Err *err)
{
    HttpRequest *req = call->req;
    const Row *own = call->refusal != S3_ERR_NONE ? &rows[call->refusal] : NULL;
    const char *s3_code = own != NULL ? own->code : err_info(code)->s3_code;
    Str text = str_from_cstr(own != NULL ? own->text : err_info(code)->text);
    AUTO_BUF(body, ERROR_XML_MAX);
    Err why = {0};
    bool unsaid = err == NULL || err->message[0] == '\0';
    if (code == ERR_ROOT_FAILED && unsaid && call->service != NULL) {
        service_why_failed(call->service, &why);
        err = &why;
    }
    call->code = own != NULL ? own->err : code;
    call->status = own != NULL ? own->status : status_of(code);
    s3_audit(call);
    bool ours = call->status == 500;
    if (err != NULL && err->message[0] != '\0' && !ours) text = str_from_cstr(err->message);
    if (ours) {
        LOG(ERROR, "http.failed", "request_id=" LOG_STR " code=%s error=" LOG_STR,
            LOG_ARG(http_request_id(req)), err_info(code)->slug,
            LOG_CSTR(err != NULL ? err_text(err) : err_info(code)->text));
    }
    common_headers(call);
    if (call->status == 503) http_header_add(req, "Retry-After", STR("1"));
    http_header_add(req, "Content-Type", STR("application/xml"));
    bool head = http_request_method(req) == HTTP_METHOD_HEAD;
    if (head || !write_error(call, &body, s3_code, code, text))
        http_respond(req, call->status, (Str){NULL, 0});
    else
        http_respond_buf(req, call->status, &body);
}

void s3_answer_empty(S3Call *call, int status)
{
    call->status = status;
    s3_audit(call);
    common_headers(call);
    http_respond(call->req, status, (Str){NULL, 0});
}

void s3_answer_xml(S3Call *call, XmlWriter *writer, Buf *xml)
{
    s3_answer_xml_status(call, 200, writer, xml);
}

void s3_answer_xml_status(S3Call *call, int status, XmlWriter *writer, Buf *xml)
{
    Err err = {0};
    bool changed = call->changed || (call->mutation.done != NULL && call->mutation.code == OK);
    ErrCode code = xml_writer_end(writer, &err);
    if (code != OK && changed) {
        s3_answer_empty(call, status); /* it is done: never tell otherwise */
        return;
    }
    /* A large one stays in memory for as long as its reader is slow. */
    bool large = code == OK && xml->len > HTTP_ANSWER_FREE;
    if (large && !changed && !call->has_room && !http_respond_room(call->req, xml->capacity))
        code = err_set(&err, ERR_BUSY, "too many large answers are on their way; try again");
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    call->status = status;
    s3_audit(call);
    call->bytes_out = xml->len;
    common_headers(call);
    http_header_add(call->req, "Content-Type", STR("application/xml"));
    http_respond_buf(call->req, status, xml);
}

void s3_on_refused(HttpRequest *req, int status, ErrCode code, const char *detail)
{
    AUTO_BUF(body, ERROR_XML_MAX);
    XmlWriter xml;
    xml_writer_init(&xml, &body);
    xml_begin(&xml, "Error");
    xml_element_cstr(&xml, "Code", err_info(code)->s3_code);
    xml_element_cstr(&xml, "Message", detail);
    xml_element(&xml, "RequestId", http_request_id(req));
    xml_element(&xml, "HostId", http_request_id(req));
    xml_end(&xml, "Error");
    http_header_add(req, "x-amz-request-id", http_request_id(req));
    http_header_add(req, "x-amz-id-2", http_request_id(req));
    http_header_add(req, "Content-Type", STR("application/xml"));
    if (status == 503) http_header_add(req, "Retry-After", STR("1"));
    if (xml_writer_end(&xml, NULL) == OK)
        http_respond_buf(req, status, &body);
    else
        http_respond(req, status, (Str){NULL, 0});
}
