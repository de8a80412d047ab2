/* Multipart uploads: begun, given parts, and ended without a file. How they are kept:
 * service/parts.h; what makes the file of them: complete.c. */
#include <string.h>

#include "api/s3/s3_priv.h"

#define CREATE_XML_MAX (8 * KIB)

void s3_multipart_free(S3Multipart *multipart)
{
    if (multipart == NULL) return;
    parts_removal_deinit(&multipart->removal);
    upload_found_deinit(&multipart->upload);
    mem_free(multipart->extents);
    mem_free(multipart);
}

/* --- which one --- */

static ErrCode no_upload(S3Call *call, Err *err)
{
    return s3_refuse(call, S3_ERR_NO_UPLOAD, NULL, err);
}

/* The file of an upload that is over: is it the one that the address names? */
static ErrCode check_file(S3Call *call, ServiceReader *reader, Err *err)
{
    const UploadFound *upload = &call->multipart->upload;
    StoreFound found;
    ErrCode code = service_find_id(reader, upload->file, &upload->file_version, &found, err);
    if (code == ERR_NOT_FOUND) return no_upload(call, err);
    TRY(code);
    if (found.bucket != call->bucket_uid || !str_eq(found.key, call->key))
        return no_upload(call, err);
    call->file = arena_alloc(http_request_arena(call->req), sizeof *call->file);
    if (call->file == NULL)
        return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
    return s3_file_copy(call, &found, call->bucket, call->file, err);
}

ErrCode s3_find_upload(S3Call *call, Err *err)
{
    ServiceReader *reader = NULL;
    BucketRecord record;
    FileId id;
    Str text = {NULL, 0};
    if (!buckets_find(service_buckets(call->service), call->bucket, &record))
        return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
    call->bucket_uid = record.uid;
    TRY(s3_query(call, "uploadId", &text, err));
    if (!id128_parse(text, &id)) return no_upload(call, err);
    S3Multipart *multipart = mem_new(sizeof *multipart);
    call->multipart = multipart;
    upload_found_init(&multipart->upload);
    TRY(s3_reader(call, &reader, err));
    uint64_t now_ms = clock_wall_ms(call->s3->options.clock);
    ErrCode code = service_find_upload(reader, id, true, now_ms, &multipart->upload, err);
    if (code == ERR_NOT_FOUND || code == ERR_GONE) return no_upload(call, err);
    TRY(code);
    call->shard = file_id_shard(id);
    if (multipart->upload.done) return check_file(call, reader, err);
    const UploadRecord *upload = &multipart->upload.record;
    bool same = upload->bucket == record.uid && str_eq(upload->key, call->key);
    return same ? OK : no_upload(call, err);
}

ErrCode s3_find_open_upload(S3Call *call, Err *err)
{
    TRY(s3_find_upload(call, err));
    return call->multipart->upload.done ? no_upload(call, err) : OK;
}

/* --- CreateMultipartUpload --- */

static ErrCode make_row(S3Call *call, Err *err)
{
    Mutation *m = &call->mutation;
    uint64_t now_ms = clock_wall_ms(call->s3->options.clock);
    S3Algorithm algorithm = S3_CHECKSUM_NONE;
    AUTO_BUF(attrs, ATTRS_MAX);
    UploadRecord record = {.key = call->key,
                           .parts = true,
                           .owner = call->auth.identity.name,
                           .expires_ms = now_ms + call->s3->options.upload_expiry_ms};
    TRY(s3_check_name(call, err));
    TRY(s3_read_attrs(call, err));
    TRY(s3_read_tags(call, err));
    TRY(s3_checksum_kind(call, &algorithm, &record.full_object, err));
    TRY(service_admit_upload(call->service, 0, err));
    record.bucket = call->bucket_uid;
    record.checksum = (uint8_t)algorithm;
    record.attrs = buf_str(&call->attrs);
    TRY(upload_attrs(&record, &attrs, err));
    buf_clear(&call->attrs); /* the record has them; now they are the row's */
    TRY(buf_append_str(&call->attrs, buf_str(&attrs), err));
    m->type = MUTATION_CREATE;
    m->upload = true;
    m->file = file_id_make(call->shard, now_ms, &call->loop->rng);
    m->attrs = buf_str(&call->attrs);
    m->digest = sha256_of("", 0);
    return OK;
}

static void created(S3Call *call)
{
    const Mutation *m = &call->mutation;
    char id[ID128_TEXT_LEN + 1];
    Str value;
    UploadRecord record = {.checksum = S3_CHECKSUM_NONE};
    AUTO_BUF(body, CREATE_XML_MAX);
    XmlWriter xml;
    if (m->code != OK) {
        s3_answer_error(call, m->code, &m->err);
        return;
    }
    bool known = attr_get(m->row.attrs, ATTR_UPLOAD_RECORD, &value) &&
                 upload_record_decode(value, &record, NULL) == OK;
    if (known && record.checksum != S3_CHECKSUM_NONE) {
        http_header_add(call->req, "x-amz-checksum-algorithm",
                        str_from_cstr(s3_checksums[record.checksum].name));
        http_header_add(call->req, "x-amz-checksum-type",
                        str_from_cstr(s3_checksum_type(record.full_object)));
    }
    id128_text(m->row.file, id);
    xml_writer_init(&xml, &body);
    xml_begin(&xml, "InitiateMultipartUploadResult" S3_XMLNS);
    xml_element(&xml, "Bucket", call->bucket);
    xml_element(&xml, "Key", call->key);
    xml_element_cstr(&xml, "UploadId", id);
    xml_end(&xml, "InitiateMultipartUploadResult");
    s3_answer_xml(call, &xml, &body);
}

void s3_multipart_create(S3Call *call)
{
    Err err = {0};
    ErrCode code = make_row(call, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_submit(call, created);
}

/* --- UploadPart --- */

ErrCode s3_part_number(S3Call *call, unsigned *out, Err *err)
{
    Str text = {NULL, 0};
    uint64_t number = 0;
    TRY(s3_query(call, "partNumber", &text, err));
    if (!str_to_u64(text, UPLOAD_PART_MAX, &number) || number == 0)
        return err_set(err, ERR_INVALID,
                       "Part number must be an integer between 1 and 10000, inclusive");
    *out = (unsigned)number;
    return OK;
}

ErrCode s3_part_begin(S3Call *call, Err *err)
{
    Mutation *m = &call->mutation;
    S3Checks *checks = &call->checks;
    const UploadFound *upload = &call->multipart->upload;
    S3Algorithm wanted = (S3Algorithm)upload->record.checksum;
    TRY(s3_part_number(call, &call->part, err));
    if (wanted != S3_CHECKSUM_NONE && checks->algorithm != S3_CHECKSUM_NONE &&
        checks->algorithm != wanted) {
        (void)err_set(err, ERR_INVALID,
                      "Checksum Type mismatch occurred, expected checksum Type: %s, actual "
                      "checksum Type: %s",
                      s3_checksums[wanted].name, s3_checksums[checks->algorithm].name);
        call->refusal = S3_ERR_INVALID_REQUEST;
        return ERR_INVALID;
    }
    if (checks->algorithm == S3_CHECKSUM_NONE) checks->algorithm = wanted;
    TRY(part_attrs(&upload->record, &call->attrs, err));
    m->type = MUTATION_PUT;
    m->upload = true;
    m->file = upload->id;
    m->part = call->part;
    return OK;
}

static ErrCode admit_part(S3Call *call, uint64_t *length, Err *err)
{
    TRY(s3_check_name(call, err));
    TRY(s3_find_open_upload(call, err));
    TRY(s3_body_length(call, length, err));
    TRY(s3_checks_read(call, err));
    TRY(s3_part_begin(call, err));
    return service_admit_upload(call->service, *length, err);
}

void s3_part_put(S3Call *call)
{
    Err err = {0};
    uint64_t length = 0;
    ErrCode code = admit_part(call, &length, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_put_body(call, length);
}

/* --- its end --- */

static void next_step(void *arg)
{
    S3Call *call = arg;
    S3Multipart *multipart = call->multipart;
    ServiceReader *reader = NULL;
    Err err = {0};
    bool over = false;
    ErrCode code = s3_reader(call, &reader, &err);
    if (code == OK) code = parts_removal_step(&multipart->removal, reader, &over, &err);
    if (code != OK || over) multipart->removed(call);
}

static void step_done(PartsRemoval *removal)
{
    S3Call *call = removal->ctx;
    call->task = (LoopTask){.fn = next_step, .arg = call};
    loop_post(http_request_loop(call->req), &call->task);
}

void s3_remove_parts(S3Call *call, bool row, void (*then)(S3Call *call))
{
    S3Multipart *multipart = call->multipart;
    multipart->removed = then;
    multipart->removal = (PartsRemoval){
        .upload = multipart->upload.id, .row = row, .done = step_done, .ctx = call};
    next_step(call);
}

static void answer_aborted(S3Call *call)
{
    s3_answer_empty(call, 204);
}

static void ended(S3Call *call)
{
    Mutation *m = &call->mutation;
    if (m->code == ERR_IDEMPOTENCY || m->code == ERR_NOT_FOUND) {
        err_clear(&m->err);
        m->code = no_upload(call, &m->err);
    }
    if (m->code != OK)
        s3_answer_error(call, m->code, &m->err);
    else
        s3_remove_parts(call, false, answer_aborted);
}

void s3_multipart_abort(S3Call *call)
{
    Mutation *m = &call->mutation;
    Err err = {0};
    ErrCode code = s3_find_open_upload(call, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    m->type = MUTATION_DELETE_FILE;
    m->upload = true;
    m->file = call->multipart->upload.id;
    upload_decide(m, m->file, true, call->multipart->upload.version);
    s3_submit(call, ended);
}
