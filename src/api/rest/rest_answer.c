#include "api/rest/rest_priv.h"

#include "base/log.h"

/* Failures of ours go to the log with their texts, which may name places on our disks. */
static bool is_ours(ErrCode code)
{
    return err_info(code)->http_status == 500;
}

void rest_answer_error(RestCall *call, ErrCode code, const Err *err)
{
    HttpRequest *req = call->req;
    Err why = {0};
    bool unsaid = err == NULL || err->message[0] == '\0';
    if (code == ERR_ROOT_FAILED && unsaid && call->service != NULL) {
        service_why_failed(call->service, &why);
        err = &why;
    }
    bool has_text = err != NULL && err->message[0] != '\0';
    call->code = code;
    call->status = err_info(code)->http_status;
    rest_audit(call);
    if (is_ours(code)) {
        LOG(ERROR, "http.failed", "request_id=" LOG_STR " code=%s error=" LOG_STR,
            LOG_ARG(http_request_id(req)), err_info(code)->slug,
            LOG_CSTR(has_text ? err->message : err_info(code)->text));
        has_text = false;
    }
    if (code == ERR_UNAUTHENTICATED) {
        http_header_add(req, "WWW-Authenticate",
                        STR("Bearer realm=\"holdfast\", Basic realm=\"holdfast\""));
    }
    http_respond_error(req, code, has_text ? err->message : NULL);
}

void rest_answer_empty(RestCall *call, int status)
{
    call->status = status;
    rest_audit(call);
    http_respond(call->req, status, (Str){NULL, 0});
}

bool rest_answer_room(RestCall *call, Buf *body)
{
    if (http_respond_room(call->req, body->capacity)) return true;
    Err err = {0};
    ErrCode code = err_set(&err, ERR_BUSY, "too many large answers are on their way; try again");
    buf_deinit(body);
    rest_answer_error(call, code, &err);
    return false;
}

void rest_answer_json(RestCall *call, int status, JsonWriter *writer, Buf *json)
{
    Err err = {0};
    bool changed = call->changed || (call->mutation.done != NULL && call->mutation.code == OK);
    ErrCode code = json_writer_end(writer, &err);
    if (code == OK) code = buf_append(json, "\n", 1, &err);
    if (code != OK && changed) {
        rest_answer_empty(call, status); /* it is done: never tell otherwise */
        return;
    }
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    if (http_request_method(call->req) == HTTP_METHOD_GET && !rest_answer_room(call, json)) return;
    call->status = status;
    rest_audit(call);
    call->bytes_out = json->len;
    http_header_add(call->req, "Content-Type", STR("application/json"));
    http_respond_buf(call->req, status, json);
}
