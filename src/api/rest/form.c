/* POST of multipart/form-data: the one part `file` is the content, with its own type and name. The
 * form is taken apart as it arrives; its other bytes are never kept. */
#include "api/rest/rest_priv.h"

#include <string.h>

#define PART_NAME "file"

bool rest_is_form(const RestCall *call)
{
    return call->mutation.type == MUTATION_CREATE &&
           http_form_is(http_request_header(call->req, STR("content-type")));
}

ErrCode rest_form_begin(RestCall *call, Err *err)
{
    RestForm *form = arena_alloc(http_request_arena(call->req), sizeof *form);
    if (form == NULL) return err_set(err, ERR_NO_MEMORY, "a form");
    form->part_seen = false;
    form->carry_len = 0;
    TRY(http_form_init(&form->form, http_request_header(call->req, STR("content-type")), err));
    if (call->has_wanted || call->has_wanted_md5) {
        return err_set(err, ERR_INVALID, "the digest of a form is not that of the file within it");
    }
    call->form = form;
    return OK;
}

/* Headers of a part. */
static ErrCode take_part(RestCall *call, HttpFormPart *part, Err *err)
{
    RestForm *form = call->form;
    TRY(http_form_part(&form->form, part, err));
    if (!str_eq(buf_str(&part->name), STR(PART_NAME)) || form->part_seen) {
        return err_set(err, ERR_INVALID,
                       "a form has one part, \"" PART_NAME "\"; there is %s\"%.*s\"",
                       form->part_seen ? "another, " : "", STR_ARG(buf_str(&part->name)));
    }
    form->part_seen = true;
    TRY(rest_set_type(call, buf_str(&part->content_type), err));
    return rest_set_file_name(call, buf_str(&part->file_name), err);
}

static ErrCode begin_part(RestCall *call, Err *err)
{
    HttpFormPart part;
    http_form_part_init(&part);
    ErrCode code = take_part(call, &part, err);
    http_form_part_deinit(&part);
    return code;
}

ErrCode rest_form_filter(RestCall *call, Buffer *buffer, Err *err)
{
    RestForm *form = call->form;
    size_t in = 0;
    size_t out = 0;
    form->carry_len = 0;
    while (in < buffer->len) {
        size_t used = 0;
        Str piece = {NULL, 0};
        HttpFormNext next = http_form_next(&form->form, (const char *)buffer->data + in,
                                           buffer->len - in, &used, &piece, err);
        in += used;
        if (next == HTTP_FORM_FAILED) return ERR_INVALID;
        if (next == HTTP_FORM_PART) TRY(begin_part(call, err));
        if (next != HTTP_FORM_DATA) continue;
        if (out + piece.len <= in) {
            memmove(buffer->data + out, piece.ptr, piece.len);
            out += piece.len;
        } else { /* begins with what the buffer before ended with */
            ASSERT(out == 0 && form->carry_len == 0 && piece.len <= sizeof form->carry);
            memcpy(form->carry, piece.ptr, piece.len);
            form->carry_len = piece.len;
        }
    }
    buffer->len = out;
    return OK;
}

ErrCode rest_form_end(RestCall *call, Err *err)
{
    if (!http_form_ended(&call->form->form)) {
        return err_set(err, ERR_INCOMPLETE_BODY, "the form: its last boundary is missing");
    }
    if (!call->form->part_seen) {
        return err_set(err, ERR_INVALID, "the form: there is no part \"" PART_NAME "\"");
    }
    return OK;
}
