/* CopyObject. The bytes are read, checked and written again, so a copy is a file of its own. */
#include <inttypes.h>

#include "api/s3/s3_priv.h"
#include "http/conditions.h"
#include "text/dates.h"
#include "text/uri.h"

typedef struct {
    Str bucket;
    Str key;
    bool has_version; /* that is meant: */
    VersionId version;
    S3File file;
    Extent *extents;
    Store *store;  /* of these */
    uint64_t from; /* bytes from … up to end are wanted */
    uint64_t end;
} Source;

/* BUCKET/KEY, percent-encoded, with or without a slash before; ?versionId= behind. */
static ErrCode read_source(S3Call *call, Source *source, Err *err)
{
    Arena *arena = http_request_arena(call->req);
    Str path;
    Str query;
    Str version;
    str_split(s3_header(call, "x-amz-copy-source"), '?', &path, &query);
    bool versioned = str_starts_with(query, STR("versionId="));
    if (query.len > 0 && !versioned)
        return err_set(err, ERR_INVALID, "x-amz-copy-source is not BUCKET/KEY");
    TRY(uri_decode(arena, URI_PATH, path, &path, err)); /* its slashes may be escaped too */
    if (path.len > 0 && path.ptr[0] == '/') path = str_slice(path, 1, path.len);
    bool split = str_split(path, '/', &source->bucket, &source->key);
    if (!split || source->bucket.len == 0 || source->key.len == 0)
        return err_set(err, ERR_INVALID, "x-amz-copy-source is not BUCKET/KEY");
    TRY(auth_allows_file(&call->auth.identity, RIGHT_READ, source->bucket, source->key, err));
    if (!versioned) return OK;
    TRY(uri_decode(arena, URI_PATH, str_slice(query, 10, query.len), &version, err));
    TRY(s3_version_named(call, source->bucket, source->key, version, &source->version, err));
    source->has_version = source->version.lsn != 0;
    return OK;
}

static ErrCode check_source(S3Call *call, const FileRow *row, Err *err)
{
    char etag[ETAG_MAX];
    bool matches = true;
    uint64_t since_ms = 0;
    uint64_t changed_s = row->updated_ms / 1000;
    file_row_etag(row, etag);
    Str current = str_from_cstr(etag);
    Str if_match = {NULL, 0};
    Str if_none_match = {NULL, 0};
    TRY(s3_condition(call, "x-amz-copy-source-if-match", &if_match, err));
    TRY(s3_condition(call, "x-amz-copy-source-if-none-match", &if_none_match, err));
    if (if_match.ptr != NULL) {
        TRY(http_etag_match(if_match, HTTP_COMPARE_STRONG, true, current, &matches, err));
        if (!matches) return s3_no_precondition(err);
    } else if (date_parse_http(s3_header(call, "x-amz-copy-source-if-unmodified-since"),
                               &since_ms) &&
               changed_s > since_ms / 1000) {
        return s3_no_precondition(err);
    }
    if (if_none_match.ptr != NULL) {
        TRY(http_etag_match(if_none_match, HTTP_COMPARE_WEAK, true, current, &matches, err));
        if (matches) return s3_no_precondition(err);
    } else if (date_parse_http(s3_header(call, "x-amz-copy-source-if-modified-since"), &since_ms) &&
               changed_s <= since_ms / 1000) {
        return s3_no_precondition(err);
    }
    return OK;
}

/* Attributes that go with the content: of the source, or of the request. */
static ErrCode choose_attrs(S3Call *call, const FileRow *row, bool replace, Err *err)
{
    static const AttrType copied[] = {ATTR_CONTENT_TYPE, ATTR_FILE_NAME, ATTR_USER_META,
                                      ATTR_HTTP_HEADERS};
    if (replace) return s3_read_attrs(call, err);
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        Str value;
        if (attr_get(row->attrs, copied[i], &value))
            TRY(attr_set(&call->attrs, copied[i], value, err));
    }
    return OK;
}

static ErrCode choose_tags(S3Call *call, const FileRow *row, Err *err)
{
    Str directive = s3_header(call, "x-amz-tagging-directive");
    Str tags;
    if (str_eq(directive, STR("REPLACE"))) return s3_read_tags(call, err);
    if (directive.ptr != NULL && !str_eq(directive, STR("COPY")))
        return err_set(err, ERR_INVALID, "Unknown tagging directive.");
    if (s3_header(call, "x-amz-tagging").ptr != NULL)
        return err_set(err, ERR_INVALID,
                       "x-amz-tagging is for x-amz-tagging-directive REPLACE only");
    if (!attr_get(row->attrs, ATTR_TAGS, &tags)) return OK;
    return attr_set(&call->attrs, ATTR_TAGS, tags, err);
}

/* The checksum that is asked for, else that of the source. */
static ErrCode choose_checksum(S3Call *call, const FileRow *row, Err *err)
{
    Str wanted = s3_header(call, "x-amz-checksum-algorithm");
    Str stored;
    if (wanted.ptr != NULL) {
        call->checks.algorithm = s3_algorithm(wanted);
        if (call->checks.algorithm == S3_CHECKSUM_NONE)
            return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                             "Checksum algorithm provided is unsupported.", err);
    } else if (attr_get(row->attrs, ATTR_CHECKSUM, &stored) && stored.len > 0 &&
               (unsigned char)stored.ptr[0] <= S3_CHECKSUM_SHA256) {
        call->checks.algorithm = (S3Algorithm)stored.ptr[0];
    }
    return OK;
}

static ErrCode read_directive(S3Call *call, bool to_itself, bool *replace, Err *err)
{
    Str directive = s3_header(call, "x-amz-metadata-directive");
    *replace = str_eq(directive, STR("REPLACE"));
    if (directive.ptr != NULL && !*replace && !str_eq(directive, STR("COPY")))
        return err_set(err, ERR_INVALID, "Unknown metadata directive.");
    if (to_itself && !*replace) {
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "This copy request is illegal because it is trying to copy an object to "
                         "itself without changing the object's metadata, storage class, website "
                         "redirect location or encryption attributes.",
                         err);
    }
    return OK;
}

/* The source is not there, or a delete marker, which has no content. */
static ErrCode source_gone(S3Call *call, const StoreFound *found, bool named, Err *err)
{
    bool marker = (found->row.flags & ROW_FLAG_DELETE_MARKER) != 0;
    err_clear(err);
    if (!named) return err_set(err, ERR_NOT_FOUND, "The specified key does not exist.");
    if (!marker) return s3_refuse(call, S3_ERR_NO_VERSION, NULL, err);
    return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                     "The source of a copy request may not specifically refer to a delete marker "
                     "by version id.",
                     err);
}

/* Finds the source, and of a small one the body. */
static ErrCode find_source(S3Call *call, Source *source, Err *err)
{
    ServiceReader *reader = NULL;
    StoreFound found;
    Str body = {NULL, 0};
    TRY(s3_reader(call, &reader, err));
    ErrCode code = ERR_NOT_FOUND;
    for (bool moved = true; moved && call->tries < S3_FIND_TRIES;) {
        call->tries++;
        const VersionId *version = source->has_version ? &source->version : NULL;
        ErrCode there = service_find(reader, source->bucket, source->key, version, &found, err);
        if (there == ERR_NOT_FOUND) return source_gone(call, &found, source->has_version, err);
        TRY(there);
        TRY(s3_file_copy(call, &found, source->bucket, &source->file, err));
        source->store = service_reader_store(reader);
        if (found.row.extent_count > 0) return s3_extents_copy(&found, &source->extents, err);
        code = service_body(reader, &found, &body, err);
        moved = code == ERR_NOT_FOUND;
    }
    if (code == ERR_NOT_FOUND) return err_set(err, ERR_FILE_DAMAGED, "its bytes were never there");
    if (code != OK) return code;
    buf_clear(&call->body);
    return buf_append_str(&call->body, body, err);
}

/* Only a part is copied from a range: who sends one with CopyObject would get more than was asked
 * for. */
static ErrCode refuse_range(const S3Call *call, Err *err)
{
    if (s3_header(call, "x-amz-copy-source-range").ptr == NULL) return OK;
    return err_set(err, ERR_NOT_IMPLEMENTED,
                   "x-amz-copy-source-range is of UploadPartCopy: CopyObject copies the whole");
}

static ErrCode prepare(S3Call *call, Source *source, Err *err)
{
    Mutation *m = &call->mutation;
    bool replace = false;
    TRY(s3_check_name(call, err));
    TRY(s3_refuse_version(call, err));
    TRY(refuse_range(call, err));
    TRY(read_source(call, source, err));
    bool to_itself = !source->has_version && str_eq(source->bucket, m->bucket) &&
                     str_eq(source->key, m->key);
    TRY(read_directive(call, to_itself, &replace, err));
    TRY(find_source(call, source, err));
    const FileRow *row = &source->file.row;
    TRY(check_source(call, row, err));
    if (row->size > S3_BODY_MAX) {
        return s3_refuse(
            call, S3_ERR_INVALID_REQUEST,
            "The specified copy source is larger than the maximum allowable size for a "
            "copy source: 5368709120",
            err);
    }
    TRY(choose_attrs(call, row, replace, err));
    TRY(choose_tags(call, row, err));
    TRY(choose_checksum(call, row, err));
    TRY(s3_target_conditions(call, err));
    m->size = row->size;
    source->end = row->size;
    TRY(service_admit_bucket(call->service, call->bucket, err));
    return service_admit_upload(call->service, row->size, err);
}

/* bytes=FROM-LAST of the source, both of them there. */
static ErrCode read_range(S3Call *call, Source *source, Err *err)
{
    Str header = s3_header(call, "x-amz-copy-source-range");
    uint64_t size = source->file.row.size;
    Str first;
    Str last;
    source->end = size;
    if (header.ptr == NULL) return OK;
    bool good = str_starts_with(header, STR("bytes=")) &&
                str_split(str_slice(header, 6, header.len), '-', &first, &last) &&
                str_to_u64(first, INT64_MAX, &source->from) &&
                str_to_u64(last, INT64_MAX, &source->end);
    if (!good || source->from > source->end)
        return err_set(err, ERR_INVALID,
                       "The x-amz-copy-source-range value must be of the form bytes=first-last "
                       "where first and last are the zero-based offsets of the first and last "
                       "bytes to copy");
    source->end++;
    if (source->end > size)
        return err_set(err, ERR_INVALID,
                       "Range specified is not valid for source object of size: %" PRIu64, size);
    return OK;
}

static ErrCode prepare_part(S3Call *call, Source *source, Err *err)
{
    TRY(s3_check_name(call, err));
    TRY(s3_refuse_version(call, err));
    TRY(s3_find_open_upload(call, err));
    TRY(read_source(call, source, err));
    TRY(find_source(call, source, err));
    TRY(check_source(call, &source->file.row, err));
    TRY(read_range(call, source, err));
    uint64_t size = source->end - source->from;
    if (size > S3_BODY_MAX) return s3_refuse(call, S3_ERR_TOO_LARGE, NULL, err);
    TRY(s3_part_begin(call, err));
    call->mutation.size = size;
    return service_admit_upload(call->service, size, err);
}

static void run(S3Call *call, ErrCode (*prepare_fn)(S3Call *call, Source *source, Err *err))
{
    Source source = {.extents = NULL};
    Err err = {0};
    call->is_copy = true;
    ErrCode code = prepare_fn(call, &source, &err);
    if (code != OK) {
        mem_free(source.extents);
        s3_answer_error(call, code, &err);
        return;
    }
    if (source.has_version) {
        char version[VERSION_ID_TEXT_LEN + 1];
        s3_version_text(&source.file.row, version);
        http_header_add(call->req, "x-amz-copy-source-version-id", str_from_cstr(version));
    }
    s3_checks_begin(call);
    S3CopySource from = {.extents = source.extents,
                         .store = source.store,
                         .count = source.file.row.extent_count,
                         .memory = buf_str(&call->body),
                         .from = source.from,
                         .end = source.end,
                         .file = &source.file};
    bool stored = source.extents != NULL || (call->part != 0 && source.end > source.from);
    if (stored)
        s3_upload_copy(call, &from);
    else
        s3_put_inline(call, call->part != 0 ? STR("") : buf_str(&call->body));
}

void s3_copy(S3Call *call)
{
    run(call, prepare);
}

void s3_part_copy(S3Call *call)
{
    run(call, prepare_part);
}
