/* DeleteObject: 204 whether or not there was anything, unless If-Match asks for something. */
#include "api/s3/s3_priv.h"

/* Is the version that is to go a delete marker? S3 tells. */
static ErrCode look_at_marker(S3Call *call, Err *err)
{
    ServiceReader *reader = NULL;
    StoreFound found;
    if (!call->has_version) return OK;
    TRY(s3_reader(call, &reader, err));
    ErrCode code = service_find(reader, call->bucket, call->key, &call->version, &found, err);
    if (code != OK && code != ERR_NOT_FOUND) return code;
    if (code == ERR_NOT_FOUND) err_clear(err);
    call->was_marker = (found.row.flags & ROW_FLAG_DELETE_MARKER) != 0;
    return OK;
}

static void delete_done(S3Call *call)
{
    Mutation *m = &call->mutation;
    Str asked = {NULL, 0};
    if (m->code == ERR_NOT_FOUND && str_eq(m->if_match, STR("*")))
        m->code = s3_no_precondition(&m->err);
    if (m->code != OK && (m->code != ERR_NOT_FOUND || m->if_match.ptr != NULL)) {
        s3_answer_error(call, m->code, &m->err);
        return;
    }
    bool marked = m->code == OK && m->marked;
    if (marked || call->was_marker) http_header_add(call->req, "x-amz-delete-marker", STR("true"));
    if (marked) s3_version_header(call, &m->row);
    ErrCode code = s3_query(call, "versionId", &asked, NULL); /* read before: it is well-formed */
    if (code == OK && call->has_version) http_header_add(call->req, "x-amz-version-id", asked);
    s3_answer_empty(call, 204);
}

/* What is not there is as good as deleted. */
static bool is_gone(S3Call *call, ErrCode code)
{
    return code != OK && call->refusal == S3_ERR_NO_VERSION;
}

void s3_delete(S3Call *call)
{
    Mutation *m = &call->mutation;
    Err err = {0};
    ErrCode code = s3_check_name(call, &err);
    if (code == OK) code = s3_check_version(call, &err);
    if (is_gone(call, code) && s3_header(call, "if-match").ptr == NULL) {
        call->refusal = S3_ERR_NONE;
        s3_answer_empty(call, 204);
        return;
    }
    if (code == OK && s3_header(call, "if-none-match").ptr != NULL)
        code = err_set(&err, ERR_NOT_IMPLEMENTED, "If-None-Match of a deletion is not implemented");
    if (code == OK) code = look_at_marker(call, &err);
    if (code == OK) code = s3_condition(call, "if-match", &m->if_match, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    m->type = MUTATION_DELETE;
    m->version = call->version;
    s3_submit(call, delete_done);
}
