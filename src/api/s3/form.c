/* POST of a form to a bucket: a browser's upload, which a policy allows that somebody with a key
 * has signed. Its fields come first, and with the part `file` it is known who asks for what: from
 * there on the form is like a PUT whose headers are the fields. The file's bytes are never kept
 * beside those that are written. */
#include <inttypes.h>
#include <string.h>

#include "api/s3/post_policy.h"
#include "api/s3/s3_priv.h"
#include "http/form.h"
#include "text/base64.h"
#include "text/uri.h"

#define FIELDS_MAX 64
#define FIELDS_BYTES (20 * KIB) /* of all names and values before the file, as S3 has it */
#define NO_FIELD FIELDS_MAX

struct S3Form {
    HttpForm form;
    Buf texts; /* names and values; its memory is taken at once, so views stay */
    PostField fields[FIELDS_MAX + 1];
    size_t count;
    size_t open;     /* field whose value comes; NO_FIELD: none */
    bool file;       /* the part `file` has begun … */
    bool file_ended; /* … and ended */
    PostLimits limits;
    uint64_t size; /* bytes of the file so far */
    HttpHeader headers[FIELDS_MAX + 1];
    size_t carry_len;
    char carry[4 + HTTP_FORM_BOUNDARY_MAX];
};

void s3_form_free(S3Form *form)
{
    if (form == NULL) return;
    buf_deinit(&form->texts);
    mem_free(form);
}

bool s3_is_form(const S3Call *call)
{
    return http_request_method(call->req) == HTTP_METHOD_POST && call->bucket.len > 0 &&
           call->key.len == 0 && http_request_query(call->req).len == 0 &&
           http_form_is(http_request_header(call->req, STR("content-type")));
}

static ErrCode bad_form(S3Call *call, const char *text, Err *err)
{
    err_clear(err);
    return s3_refuse(call, S3_ERR_MALFORMED_POST, text, err);
}

static Str field(const S3Form *form, const char *name)
{
    for (size_t i = 0; i < form->count; i++)
        if (str_eq_nocase(form->fields[i].name, str_from_cstr(name))) return form->fields[i].value;
    return (Str){NULL, 0};
}

/* --- what the fields say --- */

/* The file's own name, without the folders that some browsers send. */
static Str base_name(Str name)
{
    for (size_t i = name.len; i > 0; i--)
        if (name.ptr[i - 1] == '/' || name.ptr[i - 1] == '\\') return str_slice(name, i, name.len);
    return name;
}

/* ${filename} in the key is the name of the file. */
static ErrCode read_key(S3Call *call, S3Form *form, Str file_name, Err *err)
{
    Str mark = STR("${filename}");
    AUTO_BUF(key, 4 * KEY_MAX);
    for (size_t i = 0; i < form->count; i++) {
        PostField *f = &form->fields[i];
        if (!str_eq_nocase(f->name, STR("key"))) continue;
        for (size_t at = 0; at < f->value.len;) {
            bool here = str_starts_with(str_slice(f->value, at, mark.len), mark);
            Str piece = here ? base_name(file_name) : str_slice(f->value, at, 1);
            TRY(buf_append_str(&key, piece, err));
            at += here ? mark.len : 1;
        }
        f->value = arena_dup(http_request_arena(call->req), buf_str(&key));
        if (f->value.ptr == NULL)
            return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
        call->key = f->value;
        return OK;
    }
    return err_set(err, ERR_INVALID, "Bucket POST must contain a field named 'key'.");
}

static ErrCode check_signature(S3Call *call, const S3Form *form, Err *err)
{
    SigV4Policy shown = {.algorithm = field(form, "x-amz-algorithm"),
                         .credential = field(form, "x-amz-credential"),
                         .date = field(form, "x-amz-date"),
                         .signature = field(form, "x-amz-signature"),
                         .policy = field(form, "policy")};
    if (field(form, "x-amz-security-token").ptr != NULL)
        return s3_refuse(call, S3_ERR_TOKEN, NULL, err);
    if (shown.policy.ptr == NULL) return s3_refuse(call, S3_ERR_ACCESS_DENIED, NULL, err);
    Str old = field(form, "AWSAccessKeyId");
    if (old.ptr != NULL && !call->s3->options.sigv2)
        return s3_refuse(call, S3_ERR_INVALID_REQUEST, sigv4_text(SIGV4_OLD), err);
    if (old.ptr != NULL && shown.algorithm.ptr == NULL)
        return s3_authenticate_policy_v2(call, old, field(form, "signature"), shown.policy, err);
    return s3_authenticate_policy(call, &shown, err);
}

static ErrCode check_policy(S3Call *call, S3Form *form, Err *err)
{
    Str encoded = field(form, "policy");
    AUTO_BUF(json, FIELDS_BYTES);
    size_t len = 0;
    TRY(buf_reserve(&json, encoded.len + 1, err));
    form->limits = (PostLimits){.size_max = S3_BODY_MAX};
    form->fields[form->count] = (PostField){STR("bucket"), call->bucket};
    bool said = field(form, "bucket").ptr != NULL;
    bool decoded = base64_decode(encoded, json.data, encoded.len, &len);
    if (!decoded) return s3_refuse(call, S3_ERR_POLICY, "Invalid Policy: it is no Base64.", err);
    switch (post_policy_check(str_of(json.data, len), form->fields, form->count + !said,
                              clock_wall_ms(call->s3->options.clock), &form->limits, err)) {
    case POST_POLICY_OK: break;
    case POST_POLICY_MALFORMED: return s3_refuse_as(call, S3_ERR_POLICY);
    case POST_POLICY_EXPIRED:
    case POST_POLICY_REFUSED:
    case POST_POLICY_EXTRA_FIELD: return s3_refuse_as(call, S3_ERR_ACCESS_DENIED);
    }
    if (said && !str_eq(field(form, "bucket"), call->bucket))
        return s3_refuse(call, S3_ERR_ACCESS_DENIED, NULL, err);
    return OK;
}

/* Fields that count as the headers of a PUT would; of `acl` the header has another name. */
static bool is_header_field(Str name)
{
    static const char *const names[] = {
        "content-type",     "cache-control", "content-encoding", "content-disposition",
        "content-language", "expires",       "content-md5"};
    static const char *const own[] = {"x-amz-algorithm", "x-amz-credential", "x-amz-date",
                                      "x-amz-signature"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (str_eq_nocase(name, str_from_cstr(own[i]))) return false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq_nocase(name, str_from_cstr(names[i]))) return true;
    return str_eq_nocase(str_slice(name, 0, 6), STR("x-amz-"));
}

static ErrCode take_headers(S3Call *call, S3Form *form, Err *err)
{
    call->header_count = 0;
    call->headers = form->headers;
    for (size_t i = 0; i < form->count; i++) {
        HttpHeader h = {.name = form->fields[i].name, .value = str_trim(form->fields[i].value)};
        if (str_eq_nocase(h.name, STR("acl"))) h.name = STR("x-amz-acl");
        if (!is_header_field(h.name)) continue;
        for (size_t at = 0; at < h.value.len; at++) {
            unsigned char c = (unsigned char)h.value.ptr[at];
            if ((c < 0x20 && c != '\t') || c == 0x7f)
                return err_set(err, ERR_INVALID, "the field %.*s could be no header",
                               (int)MIN(h.name.len, (size_t)64), h.name.ptr);
        }
        form->headers[call->header_count++] = h;
    }
    return OK;
}

static ErrCode read_success(const S3Form *form, Err *err)
{
    Str where = field(form, "success_action_redirect");
    if (where.ptr == NULL) where = field(form, "redirect");
    for (size_t i = 0; i < where.len; i++) {
        unsigned char c = (unsigned char)where.ptr[i];
        if (c <= 0x20 || c >= 0x7f)
            return err_set(err, ERR_INVALID, "success_action_redirect is no address");
    }
    return OK;
}

/* The file begins: all fields are there. */
static ErrCode begin_file(S3Call *call, S3Form *form, Str file_name, Err *err)
{
    TRY(read_key(call, form, file_name, err));
    TRY(check_signature(call, form, err));
    TRY(check_policy(call, form, err));
    TRY(auth_allows_file(&call->auth.identity, RIGHT_WRITE, call->bucket, call->key, err));
    TRY(take_headers(call, form, err));
    TRY(read_success(form, err));
    TRY(s3_audit_allows(call, err));
    TRY(s3_check_headers(call, err));
    TRY(s3_check_name(call, err));
    TRY(s3_checks_read(call, err));
    TRY(s3_read_attrs(call, err));
    Str tags = field(form, "tagging");
    if (tags.ptr != NULL) TRY(s3_read_tags_xml(call, tags, err));
    TRY(service_admit_bucket(call->service, call->bucket, err));
    TRY(service_admit_upload(call->service, 0, err));
    s3_checks_begin(call);
    return OK;
}

/* --- the form as it comes --- */

static ErrCode add_text(S3Form *form, Str text, Err *err)
{
    if (form->texts.len + text.len > FIELDS_BYTES)
        return err_set(err, ERR_TOO_BIG, "the fields are too long");
    return buf_append_str(&form->texts, text, err);
}

static ErrCode begin_field(S3Call *call, S3Form *form, Str name, Err *err)
{
    size_t at = form->texts.len;
    if (form->count == FIELDS_MAX) return bad_form(call, "The form has too many fields.", err);
    if (add_text(form, name, err) != OK)
        return bad_form(call, "The fields of the form are longer than 20480 bytes.", err);
    Str own = str_of(form->texts.data + at, name.len);
    for (size_t i = 0; i < form->count; i++)
        if (str_eq_nocase(form->fields[i].name, own))
            return bad_form(call, "The form has a field twice.", err);
    form->open = form->count++;
    form->fields[form->open] = (PostField){own, str_of(form->texts.data + form->texts.len, 0)};
    return OK;
}

static ErrCode begin_part(S3Call *call, Err *err)
{
    S3Form *form = call->form;
    HttpFormPart part;
    ErrCode code = OK;
    http_form_part_init(&part);
    form->open = NO_FIELD;
    if (form->file) {
        form->file_ended = true; /* what comes behind the file is passed over */
    } else if (http_form_part(&form->form, &part, err) != OK) {
        code = bad_form(call, NULL, err);
    } else if (str_eq_nocase(buf_str(&part.name), STR("file"))) {
        form->file = true;
        code = begin_file(call, form, buf_str(&part.file_name), err);
    } else {
        code = begin_field(call, form, buf_str(&part.name), err);
    }
    http_form_part_deinit(&part);
    return code;
}

static ErrCode add_value(S3Call *call, S3Form *form, Str piece, Err *err)
{
    if (form->open == NO_FIELD) return OK;
    if (add_text(form, piece, err) != OK)
        return bad_form(call, "The fields of the form are longer than 20480 bytes.", err);
    form->fields[form->open].value.len += piece.len;
    return OK;
}

static ErrCode count_file(S3Call *call, S3Form *form, size_t len, Err *err)
{
    form->size += len;
    return form->size > form->limits.size_max ? s3_refuse(call, S3_ERR_TOO_LARGE, NULL, err) : OK;
}

ErrCode s3_form_filter(S3Call *call, Buffer *buffer, Str *carry, Err *err)
{
    S3Form *form = call->form;
    size_t in = 0;
    size_t out = 0;
    *carry = (Str){NULL, 0};
    while (in < buffer->len) {
        size_t used = 0;
        Str piece = {NULL, 0};
        HttpFormNext next = http_form_next(&form->form, (const char *)buffer->data + in,
                                           buffer->len - in, &used, &piece, err);
        in += used;
        if (next == HTTP_FORM_FAILED) return bad_form(call, NULL, err);
        if (next == HTTP_FORM_PART) TRY(begin_part(call, err));
        if (next != HTTP_FORM_DATA || form->file_ended) continue;
        if (!form->file) {
            TRY(add_value(call, form, piece, err));
            continue;
        }
        TRY(count_file(call, form, piece.len, err));
        if (out + piece.len <= in) {
            memmove(buffer->data + out, piece.ptr, piece.len);
            out += piece.len;
        } else { /* begins with what the buffer before ended with */
            ASSERT(out == 0 && carry->len == 0 && piece.len <= sizeof form->carry);
            memcpy(form->carry, piece.ptr, piece.len);
            *carry = str_of(form->carry, piece.len);
        }
    }
    buffer->len = out;
    return OK;
}

ErrCode s3_form_end(S3Call *call, Err *err)
{
    const S3Form *form = call->form;
    if (!form->file && http_form_ended(&form->form))
        return err_set(err, ERR_INVALID, "POST requires exactly one file upload per request.");
    if (!http_form_ended(&form->form)) return bad_form(call, NULL, err);
    if (form->size < form->limits.size_min) return s3_refuse(call, S3_ERR_TOO_SMALL, NULL, err);
    call->mutation.size = form->size;
    return OK;
}

void s3_form(S3Call *call)
{
    Err err = {0};
    S3Form *form = mem_new(sizeof *form);
    call->form = form;
    call->mutation.size = INLINE_MAX; /* for what comes in one piece; its size is not known yet */
    buf_init(&form->texts, FIELDS_BYTES);
    form->open = NO_FIELD;
    ErrCode code = buf_reserve(&form->texts, FIELDS_BYTES, &err);
    if (code == OK && s3_header(call, "content-md5").ptr != NULL)
        code = err_set(&err, ERR_INVALID, "the digest of a form is not that of the file within it");
    if (code == OK &&
        http_form_init(&form->form, http_request_header(call->req, STR("content-type")), &err) !=
            OK)
        code = bad_form(call, NULL, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_upload(call);
}

/* --- the answer --- */

static Str location(S3Call *call)
{
    AUTO_BUF(text, 4 * KEY_MAX + 512);
    const char *scheme = call->s3->options.tls ? "https" : "http";
    ErrCode code = buf_printf(&text, NULL, "%s://%.*s/%.*s/", scheme,
                              STR_ARG(http_request_head(call->req)->host), STR_ARG(call->bucket));
    if (code == OK) code = uri_encode(&text, URI_ENCODE_PATH, call->key, NULL);
    return code == OK ? arena_dup(http_request_arena(call->req), buf_str(&text)) : (Str){NULL, 0};
}

/* 201: what is there now, for programs. */
static void answer_created(S3Call *call, Str where)
{
    char etag[ETAG_MAX + 2] = "\"";
    AUTO_BUF(body, 16 * KIB);
    XmlWriter xml;
    file_row_etag(&call->mutation.row, etag + 1);
    size_t len = strlen(etag);
    etag[len++] = '"';
    xml_writer_init(&xml, &body);
    xml_begin(&xml, "PostResponse");
    xml_element(&xml, "Location", where);
    xml_element(&xml, "Bucket", call->bucket);
    xml_element(&xml, "Key", call->key);
    xml_element(&xml, "ETag", str_of(etag, len));
    xml_end(&xml, "PostResponse");
    s3_answer_xml_status(call, 201, &xml, &body);
}

static bool answer_redirect(S3Call *call, Str where)
{
    char etag[ETAG_MAX];
    AUTO_BUF(text, 32 * KIB);
    file_row_etag(&call->mutation.row, etag);
    bool has_query = str_find_char(where, '?') < where.len;
    ErrCode code = buf_printf(&text, NULL, "%.*s%cbucket=%.*s&key=", STR_ARG(where),
                              has_query ? '&' : '?', STR_ARG(call->bucket));
    if (code == OK) code = uri_encode(&text, URI_ENCODE_ALL, call->key, NULL);
    if (code == OK) code = buf_printf(&text, NULL, "&etag=%%22%s%%22", etag);
    if (code != OK) return false;
    http_header_add(call->req, "Location", buf_str(&text));
    s3_answer_empty(call, 303);
    return true;
}

void s3_form_done(S3Call *call)
{
    const S3Form *form = call->form;
    Str redirect = field(form, "success_action_redirect");
    Str status = field(form, "success_action_status");
    if (redirect.ptr == NULL) redirect = field(form, "redirect");
    s3_etag_header(call, &call->mutation.row);
    s3_version_header(call, &call->mutation.row);
    s3_checksum_header(call, call->mutation.row.attrs);
    if (redirect.len > 0 && answer_redirect(call, redirect)) return;
    Str where = location(call);
    if (where.len > 0) http_header_add(call->req, "Location", where);
    if (str_eq(status, STR("201")))
        answer_created(call, where);
    else
        s3_answer_empty(call, str_eq(status, STR("200")) ? 200 : 204);
}
