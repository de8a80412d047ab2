/* GetObject and HeadObject. */
#include <inttypes.h>

#include "api/s3/s3_priv.h"
#include "http/conditions.h"
#include "http/range.h"
#include "text/dates.h"

ErrCode s3_file_copy(S3Call *call, const StoreFound *found, Str bucket, S3File *out, Err *err)
{
    Arena *arena = http_request_arena(call->req);
    out->row = found->row;
    out->row.extents = (Str){NULL, 0};
    out->row.attrs = arena_dup(arena, found->row.attrs);
    out->key = arena_dup(arena, found->key);
    out->bucket = bucket;
    if (out->row.attrs.ptr == NULL || out->key.ptr == NULL)
        return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
    return OK;
}

ErrCode s3_find_object(S3Call *call, StoreFound *found, Err *err)
{
    ServiceReader *reader = NULL;
    TRY(s3_check_version(call, err));
    TRY(s3_reader(call, &reader, err));
    const VersionId *version = call->has_version ? &call->version : NULL;
    ErrCode code = service_find(reader, call->bucket, call->key, version, found, err);
    return code == ERR_NOT_FOUND ? s3_not_found(call, found, call->has_version, err) : code;
}

ErrCode s3_extents_copy(const StoreFound *found, Extent **out, Err *err)
{
    void *copy = NULL;
    TRY(mem_take(found->row.extent_count * sizeof **out, &copy, err));
    *out = copy;
    for (uint32_t i = 0; i < found->row.extent_count; i++)
        (*out)[i] = extent_at(found->row.extents, i);
    return OK;
}

/* RFC 9110 section 13.2.2. *status: 0 to send it, 304 or 412. */
static ErrCode check_conditions(S3Call *call, const S3File *file, int *status, Err *err)
{
    char etag[ETAG_MAX];
    bool matches = false;
    uint64_t since_ms = 0;
    uint64_t changed_s = file->row.updated_ms / 1000;
    file_row_etag(&file->row, etag);
    Str current = str_from_cstr(etag);
    Str if_match = {NULL, 0};
    Str if_none_match = {NULL, 0};
    TRY(s3_condition(call, "if-match", &if_match, err));
    TRY(s3_condition(call, "if-none-match", &if_none_match, err));
    *status = 0;
    if (if_match.ptr != NULL) {
        TRY(http_etag_match(if_match, HTTP_COMPARE_STRONG, true, current, &matches, err));
        if (!matches) *status = 412;
    } else if (date_parse_http(s3_header(call, "if-unmodified-since"), &since_ms)) {
        if (changed_s > since_ms / 1000) *status = 412;
    }
    if (*status != 0) return OK;
    if (if_none_match.ptr != NULL) {
        TRY(http_etag_match(if_none_match, HTTP_COMPARE_WEAK, true, current, &matches, err));
        if (matches) *status = 304;
    } else if (date_parse_http(s3_header(call, "if-modified-since"), &since_ms)) {
        if (changed_s <= since_ms / 1000) *status = 304;
    }
    return OK;
}

/* As its etag tells. */
unsigned s3_parts_of(const FileRow *row)
{
    Str etag = {NULL, 0};
    uint64_t count = 0;
    bool good = attr_get(row->attrs, ATTR_ETAG, &etag) && etag.len > 2 * MD5_LEN + 1 &&
                etag.ptr[2 * MD5_LEN] == '-' &&
                str_to_u64(str_slice(etag, 2 * MD5_LEN + 1, etag.len), UPLOAD_PART_MAX, &count);
    return good ? (unsigned)count : 0;
}

/* Where the part that is asked for stands; parts are the file's extents, but for an empty last one.
 */
static ErrCode choose_part(S3Call *call, const FileRow *row, Err *err)
{
    unsigned count = s3_parts_of(row);
    if (!s3_has_param(call, "partNumber")) return OK;
    TRY(s3_part_number(call, &call->part, err));
    if (s3_header(call, "range").ptr != NULL)
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "Cannot specify both Range header and partNumber query parameter", err);
    if (call->part > MAX(count, 1U)) return s3_refuse(call, S3_ERR_PART_NUMBER, NULL, err);
    call->part_from = 0;
    call->part_end = row->size;
    call->parts_count = count;
    for (uint32_t i = 0; count > 0 && i < row->extent_count; i++) {
        uint64_t size = extent_at(row->extents, i).size;
        if (i + 1 < call->part) call->part_from += size;
        if (i + 1 == call->part) call->part_end = call->part_from + size;
    }
    return OK;
}

/* If-Range: is the version that the client has a part of still this one? */
static ErrCode range_holds(S3Call *call, const S3File *file, bool *holds, Err *err)
{
    Str validator = s3_header(call, "if-range");
    char etag[ETAG_MAX];
    uint64_t date_ms = 0;
    file_row_etag(&file->row, etag);
    if (!date_parse_http(validator, &date_ms)) TRY(s3_condition(call, "if-range", &validator, err));
    *holds = http_range_holds(validator, str_from_cstr(etag), file->row.updated_ms);
    return OK;
}

static ErrCode choose_range(S3Call *call, const S3File *file, Err *err)
{
    Str header = s3_header(call, "range");
    uint64_t size = file->row.size;
    /* The only part of a file that came as one body is a range, too. */
    call->partial = call->part != 0 && call->part_end > call->part_from;
    call->range_from = call->part != 0 ? call->part_from : 0;
    call->range_end = call->part != 0 ? call->part_end : size;
    if (header.ptr == NULL) return OK;
    bool holds = false;
    TRY(range_holds(call, file, &holds, err));
    if (!holds) return OK;
    HttpSpan spans[HTTP_RANGES_MAX];
    size_t count = 0;
    HttpRange kind = http_range_parse(header, size, spans, &count);
    call->partial = count == 1; /* of several S3 sends the whole */
    if (call->partial) {
        call->range_from = spans[0].from;
        call->range_end = spans[0].end;
    }
    if (kind != HTTP_RANGE_BEYOND) return OK;
    http_header_addf(call->req, "Content-Range", "bytes */%" PRIu64, size);
    return err_set(err, ERR_RANGE, "The requested range is not satisfiable");
}

/* --- a large body, by download.c --- */

static void find_and_answer(S3Call *call);

static S3Call *call_of(DownloadSlot *slot)
{
    return (S3Call *)slot; /* its first member */
}

static void send_headers(DownloadSlot *slot)
{
    s3_file_headers(call_of(slot), call_of(slot)->file);
}

static void look_again(DownloadSlot *slot)
{
    download_free(TAKE(slot->download));
    find_and_answer(call_of(slot));
}

static void send_refusal(DownloadSlot *slot, ErrCode code, const Err *err)
{
    s3_answer_error(call_of(slot), code, err);
}

static void send_ended(DownloadSlot *slot, ErrCode code, uint64_t bytes)
{
    S3Call *call = call_of(slot);
    call->status = call->partial ? 206 : 200;
    call->code = code;
    call->bytes_out = bytes;
}

static void send_extents(S3Call *call, Extent *extents)
{
    const S3File *file = call->file;
    DownloadOptions options = {.req = call->req,
                               .service = call->service,
                               .reader = call->loop->reader,
                               .buffers = call->s3->options.buffers,
                               .door = {.headers = send_headers,
                                        .again = call->tries < S3_FIND_TRIES ? look_again : NULL,
                                        .refuse = send_refusal,
                                        .ended = send_ended},
                               .ctx = &call->out,
                               .row = file->row,
                               .bucket = file->bucket,
                               .key = file->key,
                               .extents = extents,
                               .from = call->range_from,
                               .end = call->range_end,
                               .length = call->range_end - call->range_from,
                               .status = call->partial ? 206 : 200};
    download_start(&options);
}

/* --- answering --- */

/* Looks it up, copies what is needed, and of a small file the body. *moved: it went from log to
 * pack meanwhile: again. */
static ErrCode find(S3Call *call, ServiceReader *reader, Extent **extents, bool *moved, Err *err)
{
    StoreFound found;
    Str body = {NULL, 0};
    *moved = false;
    const VersionId *version = call->has_version ? &call->version : NULL;
    ErrCode code = service_find(reader, call->bucket, call->key, version, &found, err);
    if (code == ERR_NOT_FOUND) return s3_not_found(call, &found, call->has_version, err);
    TRY(code);
    TRY(choose_part(call, &found.row, err));
    TRY(s3_file_copy(call, &found, call->bucket, call->file, err));
    if (http_request_method(call->req) == HTTP_METHOD_HEAD) return OK;
    if (found.row.extent_count > 0) return s3_extents_copy(&found, extents, err);
    code = service_body(reader, &found, &body, err);
    *moved = code == ERR_NOT_FOUND;
    if (code != OK) return code;
    buf_clear(&call->body);
    return buf_append_str(&call->body, body, err);
}

static void answer_content(S3Call *call)
{
    HttpRequest *req = call->req;
    uint64_t len = call->range_end - call->range_from;
    s3_file_headers(call, call->file);
    call->status = call->partial ? 206 : 200;
    if (http_request_method(req) == HTTP_METHOD_HEAD) {
        http_respond_head(req, call->status, len);
        return;
    }
    call->bytes_out = len;
    http_respond(req, call->status,
                 str_slice(buf_str(&call->body), (size_t)call->range_from, (size_t)len));
}

static void answer_found(S3Call *call, Extent *extents)
{
    Err err = {0};
    int status = 0;
    ErrCode code = check_conditions(call, call->file, &status, &err);
    if (status == 412) code = s3_no_precondition(&err);
    if (code == OK && status == 0) code = choose_range(call, call->file, &err);
    bool empty = call->range_from == call->range_end; /* a last part */
    if (code == OK && status == 0 && extents != NULL && !empty) {
        send_extents(call, extents);
        return;
    }
    mem_free(extents);
    if (code != OK) {
        s3_answer_error(call, code, &err);
    } else if (status == 304) {
        s3_unchanged_headers(call, &call->file->row);
        s3_answer_empty(call, 304);
    } else {
        answer_content(call);
    }
}

static void note_damage(S3Call *call, const Err *err)
{
    char place[PACK_PATH_MAX] = "wal.segments";
    const S3File *file = call->file;
    if (file->row.place.pack != 0) pack_path(file->row.place.pack, place);
    RiskFound found = {.file = file->row.file,
                       .version = file->row.version,
                       .key = file->key,
                       .size = file->row.size,
                       .cause = risk_cause_of(err->code),
                       .place = place,
                       .offset = file->row.place.offset,
                       .detail = err_text(err)};
    service_damaged(call->service, file->bucket, found);
}

static void find_and_answer(S3Call *call)
{
    ServiceReader *reader = NULL;
    Extent *extents = NULL;
    Err err = {0};
    bool moved = false;
    ErrCode code = s3_reader(call, &reader, &err);
    while (code == OK && call->tries < S3_FIND_TRIES) {
        call->tries++;
        err_clear(&err);
        code = find(call, reader, &extents, &moved, &err);
        if (!moved) break;
        code = OK;
    }
    if (moved) {
        note_damage(call, &err);
        code = err_set(&err, ERR_FILE_DAMAGED, "looked up %d times, its bytes were never there",
                       S3_FIND_TRIES);
    }
    if (code == OK) {
        answer_found(call, extents);
        return;
    }
    mem_free(extents);
    s3_answer_error(call, code, &err);
}

void s3_get(S3Call *call)
{
    Err err = {0};
    ErrCode code = s3_check_version(call, &err);
    if (code == OK) {
        call->file = arena_alloc(http_request_arena(call->req), sizeof *call->file);
        if (call->file == NULL) code = ERR_NO_MEMORY;
    }
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        find_and_answer(call);
}
