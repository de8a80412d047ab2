/* Resumable uploads: what of them needs no body. */
#include "api/rest/tus_priv.h"

#include <inttypes.h>
#include <string.h>

#include "text/dates.h"
#include "text/uri.h"

#define TUS_VERSION "1.0.0"

bool tus_begin(RestCall *call)
{
    Str version = http_request_header(call->req, STR("tus-resumable"));
    http_header_add(call->req, "Cache-Control", STR("no-store"));
    if (str_eq(version, STR(TUS_VERSION))) return true;
    Err err = {0};
    http_header_add(call->req, "Tus-Version", STR(TUS_VERSION));
    ErrCode code = err_set(&err, ERR_TUS_VERSION, "Tus-Resumable has to be " TUS_VERSION);
    rest_answer_error(call, code, &err);
    return false;
}

ErrCode tus_number(RestCall *call, Str name, bool *found, uint64_t *out, Err *err)
{
    Str value = http_request_header(call->req, name);
    *found = value.ptr != NULL;
    if (*found && !str_to_u64(value, INT64_MAX, out))
        return err_set(err, ERR_INVALID, "%.*s is no number of bytes", STR_ARG(name));
    return OK;
}

void tus_expires_header(RestCall *call, uint64_t expires_ms)
{
    char date[DATE_HTTP_SIZE];
    date_format_http(expires_ms, date);
    http_header_add(call->req, "Upload-Expires", str_from_cstr(date));
}

void tus_file_headers(RestCall *call, const RestFile *file)
{
    AUTO_BUF(location, 8 * 1024);
    rest_file_headers(call, file, true);
    rest_digest_header(call, &file->row);
    ErrCode code = buf_printf(&location, NULL, "/v1/buckets/%.*s/files/", STR_ARG(file->bucket));
    if (code == OK) code = uri_encode(&location, URI_ENCODE_PATH, file->key, NULL);
    if (code == OK) http_header_add(call->req, "Content-Location", buf_str(&location));
}

/* May the sender go on with it? To who may not, it is not there. */
static ErrCode check_rights(RestCall *call, const UploadFound *upload, Err *err)
{
    char bucket[BUCKET_NAME_MAX + 1] = "";
    ErrCode code = OK;
    if (auth_allows(&call->identity, RIGHT_WRITE, NULL) == OK) return OK;
    if (upload->done)
        code = rest_allows_id(call, upload->file, NULL);
    else if (!buckets_name(service_buckets(call->service), upload->record.bucket, bucket))
        code = ERR_NOT_FOUND;
    else
        code = auth_allows_file(&call->identity, RIGHT_WRITE, str_from_cstr(bucket),
                                upload->record.key, NULL);
    if (code != ERR_FORBIDDEN && code != ERR_NOT_FOUND) return code;
    return err_set(err, ERR_NOT_FOUND, "there is no such upload");
}

ErrCode tus_find(RestCall *call, UploadFound *out, Err *err)
{
    FileId id;
    if (call->loop->reader == NULL)
        TRY(service_reader_open(call->service, &call->loop->reader, err));
    if (!id128_parse(call->match.params[0], &id))
        return err_set(err, ERR_NOT_FOUND, "there is no such upload");
    TRY(service_find_upload(call->loop->reader, id, false, clock_wall_ms(call->rest->options.clock),
                            out, err));
    return check_rights(call, out, err);
}

void rest_tus_options(RestCall *call)
{
    http_header_add(call->req, "Tus-Version", STR(TUS_VERSION));
    http_header_addf(call->req, "Tus-Max-Size", "%" PRIu64, (uint64_t)BODY_SIZE_MAX);
    http_header_add(call->req, "Tus-Extension",
                    STR("creation,creation-with-upload,creation-defer-length,expiration,"
                        "termination,checksum"));
    http_header_add(call->req, "Tus-Checksum-Algorithm", STR("sha1,sha256,md5"));
    rest_answer_empty(call, 204);
}

ErrCode tus_done_headers(RestCall *call, const UploadFound *upload, uint64_t *size, Err *err)
{
    StoreFound found;
    RestFile file = {.durability = {0}};
    ErrCode code = service_find_id(call->loop->reader, upload->file, &upload->file_version, &found,
                                   err);
    if (code == OK) code = rest_file_copy(call, &found, &file, err);
    if (code == ERR_NOT_FOUND) return err_set(err, ERR_GONE, "the file is gone");
    if (code != OK) return code;
    *size = file.row.size;
    http_header_addf(call->req, "Upload-Offset", "%" PRIu64, file.row.size);
    http_header_addf(call->req, "Upload-Length", "%" PRIu64, file.row.size);
    tus_file_headers(call, &file);
    return OK;
}

static void open_headers(RestCall *call, const UploadFound *upload)
{
    const UploadRecord *record = &upload->record;
    http_header_addf(call->req, "Upload-Offset", "%" PRIu64, upload->offset);
    if (record->has_length)
        http_header_addf(call->req, "Upload-Length", "%" PRIu64, record->length);
    else
        http_header_add(call->req, "Upload-Defer-Length", STR("1"));
    if (record->metadata.len > 0) http_header_add(call->req, "Upload-Metadata", record->metadata);
    tus_expires_header(call, record->expires_ms);
}

void rest_tus_head(RestCall *call)
{
    __attribute__((cleanup(upload_found_deinit))) UploadFound upload;
    Err err = {0};
    uint64_t size = 0;
    upload_found_init(&upload);
    if (!tus_begin(call)) return;
    ErrCode code = tus_find(call, &upload, &err);
    if (code == OK && upload.done)
        code = tus_done_headers(call, &upload, &size, &err);
    else if (code == OK)
        open_headers(call, &upload);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        rest_answer_empty(call, 200);
}

static void delete_done(RestCall *call)
{
    Mutation *m = &call->mutation;
    Err err = m->err;
    ErrCode code = m->code;
    if (code == ERR_IDEMPOTENCY || code == ERR_NOT_FOUND) /* its last byte came first */
        code = err_set(&err, ERR_GONE, "the upload is over");
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        rest_answer_empty(call, 204);
}

void rest_tus_delete(RestCall *call)
{
    __attribute__((cleanup(upload_found_deinit))) UploadFound upload;
    Err err = {0};
    upload_found_init(&upload);
    if (!tus_begin(call)) return;
    ErrCode code = tus_find(call, &upload, &err);
    if (code == OK && upload.done)
        code = err_set(&err, ERR_GONE, "the upload is over: its file is there");
    if (code == OK) code = rest_require(call, shard_class(file_id_shard(upload.id)), &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    Mutation *m = &call->mutation;
    m->type = MUTATION_DELETE_FILE;
    m->upload = true;
    m->file = upload.id;
    upload_decide(m, upload.id, false, upload.version);
    rest_submit(call, delete_done);
}
