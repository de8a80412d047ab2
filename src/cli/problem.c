#include "cli/problem.h"

#include "cli/show.h"
#include "text/json.h"

#define DETAIL_MAX 200 /* bytes, so that there is room for context */

ErrCode problem_code(Str slug)
{
    for (int code = 0; code < ERR_CODE_COUNT; code++) {
        if (code != OK && str_eq(slug, str_from_cstr(err_info((ErrCode)code)->slug))) {
            return (ErrCode)code;
        }
    }
    return OK;
}

/* An answer that is not ours: of a proxy, or of another server. */
static ErrCode code_of_status(int status)
{
    switch (status) {
    case 401: return ERR_UNAUTHENTICATED;
    case 403: return ERR_FORBIDDEN;
    case 404: return ERR_NOT_FOUND;
    case 405: return ERR_METHOD;
    case 408: return ERR_REQUEST_TIMEOUT;
    case 409: return ERR_EXISTS;
    case 410: return ERR_GONE;
    case 412: return ERR_PRECONDITION;
    case 413: return ERR_TOO_LARGE;
    case 414: return ERR_URI_TOO_LONG;
    case 429:
    case 503: return ERR_BUSY;
    case 507: return ERR_NO_SPACE;
    default: return status >= 500 ? ERR_PEER : ERR_INVALID;
    }
}

/* <Code>NoSuchKey</Code> of an S3 server's answer; empty: it is none. Only told, so not parsed. */
static Str s3_code(Str answer)
{
    Str open = STR("<Code>");
    for (size_t at = 0; at + open.len < answer.len; at++) {
        Str rest = str_slice(answer, at, answer.len);
        if (!str_starts_with(rest, open)) continue;
        Str code = str_slice(rest, open.len, rest.len);
        size_t len = str_find_char(code, '<');
        return len < code.len ? str_slice(code, 0, MIN(len, (size_t)60)) : STR("");
    }
    return STR("");
}

bool problem_is_s3(Str answer)
{
    return s3_code(answer).len > 0;
}

ErrCode problem_read(int status, Str answer, Err *err)
{
    AUTO(json_t, json_free) value = NULL;
    Str slug = {NULL, 0};
    Str detail = {NULL, 0};
    /* What is no problem+json has no code and no detail, and that is all there is to know. */
    if (json_parse(answer, &value, NULL) == OK && json_is_object(value) &&
        (json_get_optional_str(value, "code", &slug, NULL) != OK ||
         json_get_optional_str(value, "detail", &detail, NULL) != OK)) {
        slug = detail = (Str){NULL, 0};
    }
    ErrCode code = problem_code(slug);
    bool known = code != OK;
    if (!known) code = code_of_status(status);
    if (detail.len > 0) {
        char shown[SHOW_NAME_SIZE];
        return err_set(err, code, "%s", show_name(str_slice(detail, 0, DETAIL_MAX), shown));
    }
    if (known) return err_set(err, code, "%s", err_info(code)->text);
    Str told = s3_code(answer);
    if (told.len > 0) {
        char shown[SHOW_NAME_SIZE];
        return err_set(err, code, "the server answers %d %s", status, show_name(told, shown));
    }
    return err_set(err, code, "the server answers %d: %s", status, err_info(code)->text);
}
