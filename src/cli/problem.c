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
    case 412: return ERR_PRECONDITION;
    case 413: return ERR_TOO_LARGE;
    case 414: return ERR_URI_TOO_LONG;
    case 429:
    case 503: return ERR_BUSY;
    case 507: return ERR_NO_SPACE;
    default: return status >= 500 ? ERR_PEER : ERR_INVALID;
    }
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
    return err_set(err, code, "the server answers %d: %s", status, err_info(code)->text);
}
