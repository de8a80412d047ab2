/* DELETE of a file, by name or id: 204, or 404. */
#include "api/rest/rest_priv.h"

static void delete_done(RestCall *call)
{
    Mutation *m = &call->mutation;
    if (m->code != OK) {
        rest_answer_error(call, m->code, &m->err);
        return;
    }
    if (m->repeated) http_header_add(call->req, "Idempotent-Replayed", STR("true"));
    if (m->marked) rest_marker_header(call, m->row.version);
    rest_durability_header(call, m->durability);
    rest_answer_empty(call, 204);
}

/* ?version= means that one; without versions, only if it is the current one. */
static void delete_submit(RestCall *call)
{
    Mutation *m = &call->mutation;
    bool found = false;
    Str version;
    if (!rest_query(call, STR("version"), &found, &version)) return;
    if (found && (!version_id_parse(version, &m->version) || m->version.lsn == 0)) {
        Err err = {0}; /* lsn 0 is "any" to the engine, and no version has it */
        (void)err_set(&err, ERR_NOT_FOUND, "there is no such version"); /* for its text */
        rest_answer_error(call, ERR_NOT_FOUND, &err);
        return;
    }
    Err err = {0};
    rest_read_conditions(call);
    ErrCode code = rest_read_request_key(call, &err);
    if (code == OK && m->type == MUTATION_DELETE_FILE) code = rest_allows_id(call, m->file, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    rest_hash_request(call);
    rest_submit(call, delete_done);
}

void rest_delete_name(RestCall *call)
{
    call->mutation.type = MUTATION_DELETE;
    call->mutation.bucket = call->match.params[0];
    call->mutation.key = call->match.params[1];
    delete_submit(call);
}

void rest_delete_id(RestCall *call)
{
    call->mutation.type = MUTATION_DELETE_FILE;
    if (!id128_parse(call->match.params[0], &call->mutation.file)) {
        rest_answer_error(call, ERR_NOT_FOUND, NULL);
        return;
    }
    delete_submit(call);
}
