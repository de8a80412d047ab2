/* CompleteMultipartUpload: the file is made of the extents of the parts that the client names, in
 * one change that carries its conditions; no byte is copied. Then the rows go. Done again, it is
 * answered again, for a day. */
#include <stdio.h>
#include <string.h>

#include "api/s3/s3_priv.h"
#include "base/fault.h"
#include "text/uri.h"

#define BODY_MAX (4 * MIB)        /* bytes of XML */
#define PART_SIZE_MIN (5 * MIB)   /* of all but the last */
#define FILE_MAX (5 * 1024 * GIB) /* bytes */
#define RESULT_MAX (16 * KIB)

/* A part as the client names it. */
typedef struct {
    unsigned number; /* 0: not told yet */
    bool has_etag;
    bool bad_etag; /* it is no part's */
    uint8_t md5[MD5_LEN];
    S3Algorithm algorithm; /* NONE: no checksum */
    uint8_t checksum[S3_CHECKSUM_MAX];
} Wanted;

typedef struct {
    Wanted *wanted;
    size_t count;
    size_t capacity;
    bool bad_order;
    UploadPart *parts; /* the same, as they are stored */
} Completion;

static void completion_deinit(Completion *c)
{
    mem_free(c->wanted);
    mem_free(c->parts);
}

/* --- the body --- */

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    Completion *c = ctx;
    bool known = depth == 1   ? str_eq(name, STR("CompleteMultipartUpload"))
                 : depth == 2 ? str_eq(name, STR("Part"))
                              : depth == 3;
    if (!known) return err_set(err, ERR_INVALID, "an element that is not known");
    if (depth != 2) return OK;
    if (c->count == UPLOAD_PART_MAX) return err_set(err, ERR_INVALID, "too many parts");
    if (c->count == c->capacity) {
        size_t capacity = c->capacity == 0 ? 64 : 2 * c->capacity;
        void *wanted = c->wanted;
        TRY(mem_retake(&wanted, capacity * sizeof *c->wanted, err));
        c->wanted = wanted;
        c->capacity = capacity;
    }
    c->wanted[c->count++] = (Wanted){.number = 0};
    return OK;
}

/* With quotes or without. */
static void read_etag(Wanted *wanted, Str text)
{
    text = str_trim(text);
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"')
        text = str_slice(text, 1, text.len - 2);
    wanted->has_etag = true;
    wanted->bad_etag = text.len != 2 * MD5_LEN || !hex_decode(text, wanted->md5, MD5_LEN);
}

static ErrCode on_element(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    Completion *c = ctx;
    if (depth < 2 || c->count == 0) return OK;
    Wanted *wanted = &c->wanted[c->count - 1];
    if (depth == 2) {
        if (wanted->number == 0 || !wanted->has_etag)
            return err_set(err, ERR_INVALID, "a part has no number or no ETag");
        if (c->count > 1 && c->wanted[c->count - 2].number >= wanted->number) c->bad_order = true;
        return OK;
    }
    if (str_eq(name, STR("ETag"))) {
        read_etag(wanted, text);
    } else if (str_eq(name, STR("PartNumber"))) {
        uint64_t number = 0;
        if (!str_to_u64(str_trim(text), UPLOAD_PART_MAX, &number) || number == 0)
            return err_set(err, ERR_INVALID, "no number of a part");
        wanted->number = (unsigned)number;
    } else {
        S3Algorithm algorithm = S3_CHECKSUM_NONE;
        TRY(s3_checksum_element(name, text, &algorithm, wanted->checksum, err));
        if (algorithm == S3_CHECKSUM_NONE)
            return err_set(err, ERR_INVALID, "an element that is not known");
        wanted->algorithm = algorithm;
    }
    return OK;
}

static ErrCode read_body(S3Call *call, Completion *c, Str xml, Err *err)
{
    XmlHandler handler = {.ctx = c, .begin = on_begin, .end = on_element};
    ErrCode code = xml_read(xml, &handler, err);
    if (code == OK && c->count == 0) code = err_set(err, ERR_INVALID, "there is no part");
    if (code == ERR_INVALID) return s3_refuse(call, S3_ERR_MALFORMED_XML, NULL, err);
    TRY(code);
    return c->bad_order ? s3_refuse(call, S3_ERR_PART_ORDER, NULL, err) : OK;
}

/* What tells this completion from another of the same upload. */
static Sha256 digest_of(const Completion *c)
{
    Sha256 digest;
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_SHA256);
    for (size_t i = 0; i < c->count; i++) {
        uint8_t number[4] = {0, 0, (uint8_t)(c->wanted[i].number >> 8),
                             (uint8_t)c->wanted[i].number};
        hash_update(hash, number, sizeof number);
        hash_update(hash, c->wanted[i].md5, MD5_LEN);
    }
    hash_final(hash, digest.bytes);
    return digest;
}

/* --- the parts --- */

static bool is_wanted(const Wanted *wanted, const UploadPart *part)
{
    if (wanted->number != part->number || wanted->bad_etag) return false;
    if (memcmp(wanted->md5, part->md5, MD5_LEN) != 0) return false;
    if (wanted->algorithm == S3_CHECKSUM_NONE) return true;
    size_t len = s3_checksums[wanted->algorithm].len;
    return part->checksum_len == 2 + len && part->checksum[0] == wanted->algorithm &&
           memcmp(part->checksum + 2, wanted->checksum, len) == 0;
}

#define PAGE 500

static ErrCode find_parts(S3Call *call, Completion *c, Err *err)
{
    ServiceReader *reader = NULL;
    void *memory = NULL;
    FileId id = call->multipart->upload.id;
    size_t have = 0;
    size_t count = PAGE;
    unsigned after = c->wanted[0].number - 1;
    TRY(s3_reader(call, &reader, err));
    TRY(mem_take(c->count * sizeof *c->parts, &memory, err));
    c->parts = memory;
    AUTO(void, mem_free) page_memory = mem_new_array(PAGE, sizeof(UploadPart));
    UploadPart *page = page_memory;
    while (have < c->count && count == PAGE) {
        TRY(service_list_parts(reader, id, after, page, PAGE, &count, err));
        for (size_t i = 0; i < count && have < c->count; i++) {
            if (page[i].number < c->wanted[have].number) continue;
            if (!is_wanted(&c->wanted[have], &page[i]))
                return s3_refuse(call, S3_ERR_PART, NULL, err);
            c->parts[have++] = page[i];
        }
        if (count > 0) after = page[count - 1].number;
    }
    return have == c->count ? OK : s3_refuse(call, S3_ERR_PART, NULL, err);
}

static ErrCode add_sizes(S3Call *call, const Completion *c, uint64_t *size, Err *err)
{
    Str announced = s3_header(call, "x-amz-mp-object-size");
    uint64_t wanted = 0;
    *size = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (i + 1 < c->count && c->parts[i].size < PART_SIZE_MIN)
            return s3_refuse(call, S3_ERR_TOO_SMALL, NULL, err);
        *size += c->parts[i].size; /* of 10,000 × 5 GiB at most */
    }
    if (*size > FILE_MAX) return s3_refuse(call, S3_ERR_TOO_LARGE, NULL, err);
    if (announced.ptr == NULL) return OK;
    if (!str_to_u64(announced, INT64_MAX, &wanted) || wanted != *size)
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "The provided 'x-amz-mp-object-size' header does not match what was "
                         "computed.",
                         err);
    return OK;
}

/* MD5 of the parts' MD5s, and how many they are. */
static ErrCode set_etag(S3Call *call, const Completion *c, Err *err)
{
    uint8_t md5[MD5_LEN];
    char etag[2 * MD5_LEN + 16];
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_MD5);
    for (size_t i = 0; i < c->count; i++)
        hash_update(hash, c->parts[i].md5, MD5_LEN);
    hash_final(hash, md5);
    hex_encode(md5, MD5_LEN, etag);
    snprintf(etag + 2 * MD5_LEN, sizeof etag - 2 * MD5_LEN, "-%zu", c->count);
    return attr_set(&call->attrs, ATTR_ETAG, str_from_cstr(etag), err);
}

/* Attributes of the file: those that the upload was begun with, etag and checksum. */
static ErrCode make_attrs(S3Call *call, const Completion *c, Err *err)
{
    const UploadRecord *record = &call->multipart->upload.record;
    uint8_t checksum[PART_CHECKSUM_MAX + 2];
    size_t len = s3_checksum_of_parts(c->parts, c->count, (S3Algorithm)record->checksum,
                                      record->full_object, checksum);
    TRY(s3_checksum_compare(call, str_of(checksum, len), err));
    buf_clear(&call->attrs);
    TRY(buf_append_str(&call->attrs, record->attrs, err));
    TRY(set_etag(call, c, err));
    return len == 0 ? OK : attr_set(&call->attrs, ATTR_CHECKSUM, str_of(checksum, len), err);
}

static ErrCode take_extents(S3Call *call, const Completion *c, Err *err)
{
    Mutation *m = &call->mutation;
    void *extents = NULL;
    TRY(mem_take(c->count * sizeof *m->extents, &extents, err));
    call->multipart->extents = extents;
    m->extents = extents;
    for (size_t i = 0; i < c->count; i++)
        if (c->parts[i].has_extent)
            call->multipart->extents[m->extent_count++] = c->parts[i].extent;
    if (m->extent_count > 0) m->body = id128_random(&call->loop->rng);
    return OK;
}

/* --- the answer --- */

static void write_location(S3Call *call, XmlWriter *xml)
{
    AUTO_BUF(location, 4 * KEY_MAX + 1024);
    const char *scheme = http_request_is_secure(call->req) ? "https" : "http";
    ErrCode code = buf_printf(&location, NULL, "%s://%.*s/%.*s/", scheme,
                              STR_ARG(http_request_head(call->req)->host), STR_ARG(call->bucket));
    if (code == OK) code = uri_encode(&location, URI_ENCODE_PATH, call->key, NULL);
    if (code == OK) xml_element(xml, "Location", buf_str(&location));
}

static void answer(S3Call *call, const FileRow *row)
{
    char etag[ETAG_MAX];
    AUTO_BUF(body, RESULT_MAX);
    XmlWriter xml;
    file_row_etag(row, etag);
    s3_version_header(call, row);
    xml_writer_init(&xml, &body);
    xml_begin(&xml, "CompleteMultipartUploadResult" S3_XMLNS);
    write_location(call, &xml);
    xml_element(&xml, "Bucket", call->bucket);
    xml_element(&xml, "Key", call->key);
    xml_element(&xml, "ETag", arena_printf(http_request_arena(call->req), "\"%s\"", etag));
    s3_checksum_xml(&xml, row->attrs);
    xml_end(&xml, "CompleteMultipartUploadResult");
    s3_answer_xml(call, &xml, &body);
}

static void rows_gone(S3Call *call)
{
    answer(call, &call->mutation.row);
}

static void file_made(S3Call *call)
{
    Mutation *m = &call->mutation;
    if (m->code == ERR_IDEMPOTENCY || m->code == ERR_NOT_FOUND || m->code == ERR_GONE) {
        err_clear(&m->err);
        m->code = s3_refuse(call, S3_ERR_NO_UPLOAD, NULL, &m->err);
    }
    if (m->code == ERR_PRECONDITION && m->absent && m->if_match.ptr != NULL) {
        err_clear(&m->err);
        m->code = ERR_NOT_FOUND; /* S3 tells apart what If-Match can't find */
    }
    if (m->code != OK) {
        s3_answer_error(call, m->code, &m->err);
        return;
    }
    int killed = fault_point("upload.file_made"); /* only a place to be killed at */
    UNUSED(killed);
    s3_remove_parts(call, true, rows_gone);
}

static ErrCode make_file(S3Call *call, Completion *c, Err *err)
{
    Mutation *m = &call->mutation;
    const UploadFound *upload = &call->multipart->upload;
    TRY(find_parts(call, c, err));
    TRY(add_sizes(call, c, &m->size, err));
    TRY(make_attrs(call, c, err));
    TRY(take_extents(call, c, err));
    m->type = MUTATION_PUT;
    m->bucket = call->bucket;
    m->key = call->key;
    m->attrs = buf_str(&call->attrs);
    TRY(s3_target_conditions(call, err));
    m->digest_unknown = true;
    m->digest = digest_of(c);
    upload_decide(m, upload->id, true, upload->version);
    s3_submit(call, file_made);
    return OK;
}

/* A part was not found: was the upload ended by another request since it was looked up, so that its
 * parts are gone? OK: by a completion. */
static ErrCode ended_meanwhile(S3Call *call, Err *err)
{
    call->refusal = S3_ERR_NONE;
    err_clear(err);
    s3_multipart_free(TAKE(call->multipart));
    TRY(s3_find_upload(call, err));
    return call->multipart->upload.done ? OK : s3_refuse(call, S3_ERR_PART, NULL, err);
}

static ErrCode complete(S3Call *call, Completion *c, Str xml, Err *err)
{
    TRY(read_body(call, c, xml, err));
    if (!call->multipart->upload.done) {
        ErrCode code = make_file(call, c, err);
        if (code == OK || call->refusal != S3_ERR_PART) return code;
        TRY(ended_meanwhile(call, err));
    }
    const UploadFound *upload = &call->multipart->upload;
    Sha256 digest = digest_of(c);
    Sha256 fate = upload_fate(&digest, upload->id);
    if (!sha256_eq(&fate, &upload->fate_hash)) return s3_refuse(call, S3_ERR_NO_UPLOAD, NULL, err);
    answer(call, &call->file->row);
    return OK;
}

static ErrCode on_body(S3Call *call, Str xml, Err *err)
{
    Completion c = {.count = 0};
    ErrCode code = complete(call, &c, xml, err);
    completion_deinit(&c);
    return code;
}

void s3_multipart_complete(S3Call *call)
{
    Err err = {0};
    ErrCode code = s3_find_upload(call, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    call->checks.of_object = true;
    s3_collect_xml(call, BODY_MAX, on_body);
}
