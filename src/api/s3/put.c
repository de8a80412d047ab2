/* PutObject. What the headers alone decide is refused before the body is read; what depends on the
 * file's state is decided where the engine gives the lsn. */
#include <inttypes.h>

#include "api/s3/s3_priv.h"
#include "text/dates.h"

static void answer_put(S3Call *call)
{
    s3_etag_header(call, &call->mutation.row);
    s3_version_header(call, &call->mutation.row);
    s3_checksum_header(call, call->mutation.row.attrs);
    s3_answer_empty(call, 200);
}

static void answer_part(S3Call *call)
{
    s3_etag_header(call, &call->mutation.row);
    s3_part_checksum_header(call, call->mutation.row.attrs);
    s3_answer_empty(call, 200);
}

static void answer_copy(S3Call *call)
{
    const FileRow *row = &call->mutation.row;
    char etag[ETAG_MAX + 2];
    char date[DATE_RFC3339_SIZE];
    AUTO_BUF(body, 4096);
    XmlWriter xml;
    etag[0] = '"';
    file_row_etag(row, etag + 1);
    Str quoted = arena_printf(http_request_arena(call->req), "%s\"", etag);
    date_format_rfc3339(row->updated_ms, date);
    if (call->part == 0) s3_version_header(call, row);
    xml_writer_init(&xml, &body);
    xml_begin(&xml, call->part != 0 ? "CopyPartResult" S3_XMLNS : "CopyObjectResult" S3_XMLNS);
    xml_element_cstr(&xml, "LastModified", date);
    xml_element(&xml, "ETag", quoted);
    s3_checksum_xml(&xml, row->attrs);
    xml_end(&xml, call->part != 0 ? "CopyPartResult" : "CopyObjectResult");
    s3_answer_xml(call, &xml, &body);
}

static void put_done(S3Call *call)
{
    Mutation *m = &call->mutation;
    if (m->code != OK) {
        /* S3 tells apart what If-Match can't find. */
        if (m->code == ERR_GONE) call->refusal = S3_ERR_NO_UPLOAD;
        bool absent = m->code == ERR_PRECONDITION && m->absent && m->if_match.ptr != NULL;
        s3_upload_remove(call, absent ? ERR_NOT_FOUND : m->code, absent ? NULL : &m->err);
    } else if (call->is_copy) {
        answer_copy(call);
    } else if (call->part != 0) {
        answer_part(call);
    } else if (call->form != NULL) {
        s3_form_done(call);
    } else {
        answer_put(call);
    }
}

void s3_put_stored(S3Call *call)
{
    call->mutation.attrs = buf_str(&call->attrs);
    s3_submit(call, put_done);
}

void s3_put_inline(S3Call *call, Str body)
{
    Mutation *m = &call->mutation;
    S3Error error = S3_ERR_NONE;
    Err err = {0};
    call->bytes_in = call->is_copy ? 0 : body.len;
    m->inline_body = body;
    m->size = body.len;
    m->digest = sha256_of(body.ptr, body.len);
    s3_checks_update(&call->checks, body.ptr, body.len);
    ErrCode code = s3_checks_end(call, &m->digest, &error, &err);
    if (code != OK) {
        call->refusal = error;
        s3_answer_error(call, code, &err);
        return;
    }
    s3_put_stored(call);
}

static void on_collected(HttpRequest *req, void *ctx, ErrCode code, Str body)
{
    UNUSED(req);
    if (code != OK)
        s3_answer_error(ctx, code, NULL);
    else
        s3_put_inline(ctx, body);
}

ErrCode s3_check_name(S3Call *call, Err *err)
{
    Mutation *m = &call->mutation;
    BucketRecord record;
    m->bucket = call->bucket;
    m->key = call->key;
    if (!buckets_find(service_buckets(call->service), m->bucket, &record))
        return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
    if (!key_valid(m->key)) {
        if (m->key.len > KEY_MAX) return err_set(err, ERR_KEY_TOO_LONG, "Your key is too long");
        return err_set(err, ERR_BAD_NAME, "a key has 1 to %d bytes of UTF-8 without NUL", KEY_MAX);
    }
    call->bucket_uid = record.uid;
    call->shard = service_shard(call->service, &record, m->key);
    return OK;
}

static ErrCode admit(S3Call *call, uint64_t *length, Err *err)
{
    TRY(s3_check_name(call, err));
    TRY(s3_refuse_version(call, err));
    TRY(s3_body_length(call, length, err));
    TRY(s3_checks_read(call, err));
    TRY(s3_read_attrs(call, err));
    TRY(s3_read_tags(call, err));
    TRY(s3_target_conditions(call, err));
    TRY(service_admit_bucket(call->service, call->bucket, err));
    return service_admit_upload(call->service, *length, err);
}

void s3_put(S3Call *call)
{
    Err err = {0};
    uint64_t length = 0;
    ErrCode code = admit(call, &length, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    s3_put_body(call, length);
}

void s3_put_body(S3Call *call, uint64_t length)
{
    s3_body_begin(call, length);
    call->mutation.size = length;
    if (call->chunked == NULL && length <= (call->part != 0 ? 0 : INLINE_MAX))
        http_request_collect(call->req, INLINE_MAX, on_collected);
    else
        s3_upload(call);
}
