/* GET and HEAD of a file, by name or id. */
#include "api/rest/rest_priv.h"

#include <inttypes.h>

#include "http/conditions.h"
#include "text/dates.h"
#include "text/uri.h"

/* RFC 9110 section 13.2.2. *status: 0 to send it, 304 or 412. */
static ErrCode check_conditions(RestCall *call, const RestFile *file, int *status, Err *err)
{
    HttpRequest *req = call->req;
    char etag[ETAG_MAX];
    bool matches = false;
    uint64_t since_ms = 0;
    file_row_etag(&file->row, etag);
    Str if_match = http_request_header(req, STR("if-match"));
    Str if_none_match = http_request_header(req, STR("if-none-match"));
    Str modified = http_request_header(req, STR("if-modified-since"));
    Str unmodified = http_request_header(req, STR("if-unmodified-since"));
    *status = 0;
    if (if_match.ptr != NULL) {
        TRY(http_etag_match(if_match, HTTP_COMPARE_STRONG, true, str_from_cstr(etag), &matches,
                            err));
        if (!matches) *status = 412;
    } else if (date_parse_http(unmodified, &since_ms)) {
        if (file->row.updated_ms / 1000 > since_ms / 1000) *status = 412;
    }
    if (*status != 0) return OK;
    if (if_none_match.ptr != NULL) {
        TRY(http_etag_match(if_none_match, HTTP_COMPARE_WEAK, true, str_from_cstr(etag), &matches,
                            err));
        if (matches) *status = 304;
    } else if (date_parse_http(modified, &since_ms)) {
        if (file->row.updated_ms / 1000 <= since_ms / 1000) *status = 304;
    }
    return OK;
}

static ErrCode no_version(Err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no such version");
}

/* ?version=; *found: it is there. */
static ErrCode read_version(RestCall *call, VersionId *version, bool *found, Err *err)
{
    Str text = {NULL, 0};
    TRY(uri_query_get(http_request_arena(call->req), http_request_query(call->req), STR("version"),
                      found, &text, err));
    return *found && !version_id_parse(text, version) ? no_version(err) : OK;
}

static ErrCode find_by_id(RestCall *call, ServiceReader *reader, StoreFound *out, Err *err)
{
    FileId file;
    VersionId version;
    bool found = false;
    if (!id128_parse(call->match.params[0], &file)) {
        return err_set(err, ERR_NOT_FOUND, "there is no such file");
    }
    TRY(rest_allows_id(call, file, err));
    TRY(read_version(call, &version, &found, err));
    return service_find_id(reader, file, found ? &version : NULL, out, err);
}

/* Why there is nothing, if it is for a delete marker. */
static void marker_header(RestCall *call, const StoreFound *found)
{
    if ((found->row.flags & ROW_FLAG_DELETE_MARKER) == 0) return;
    rest_marker_header(call, found->row.version);
}

static ErrCode find_by_name(RestCall *call, ServiceReader *reader, StoreFound *out, Err *err)
{
    VersionId version;
    bool wanted = false;
    TRY(read_version(call, &version, &wanted, err));
    return service_find(reader, call->match.params[0], call->match.params[1],
                        wanted ? &version : NULL, out, err);
}

/* Looks it up, copies what is needed, and of a small file the body. ERR_NOT_FOUND from the body
 * means that it moved from log to pack meanwhile: the caller looks again. */
static ErrCode find(RestCall *call, ServiceReader *reader, RestFile *file, Extent **extents,
                    bool *moved, Err *err)
{
    StoreFound found = {.pending = false};
    bool wants_body = http_request_method(call->req) != HTTP_METHOD_HEAD;
    *moved = false;
    ErrCode code = call->match.param_count == 2 ? find_by_name(call, reader, &found, err)
                                                : find_by_id(call, reader, &found, err);
    if (code == ERR_NOT_FOUND) marker_header(call, &found);
    if (code != OK) return code;
    TRY(rest_file_copy(call, &found, file, err));
    if (!wants_body) return OK;
    if (found.row.extent_count > 0) {
        void *copy = NULL;
        TRY(mem_take(found.row.extent_count * sizeof **extents, &copy, err));
        *extents = copy;
        for (uint32_t i = 0; i < found.row.extent_count; i++) {
            (*extents)[i] = extent_at(found.row.extents, i);
        }
        return OK;
    }
    Str body = {NULL, 0};
    code = service_body(reader, &found, &body, err);
    *moved = code == ERR_NOT_FOUND;
    if (code != OK) return code;
    buf_clear(&call->body);
    return buf_append_str(&call->body, body, err);
}

/* The bytes of file could not be read back from place: lists it as damaged. err says why. */
static void damaged(RestCall *call, const RestFile *file, const char *place, uint64_t offset,
                    const Err *err)
{
    RiskFound found = {.file = file->row.file,
                       .version = file->row.version,
                       .key = file->key,
                       .size = file->row.size,
                       .cause = risk_cause_of(err->code),
                       .place = place,
                       .offset = offset,
                       .detail = err_text(err)};
    service_damaged(call->service, file->bucket, found);
}

/* If-Range: is the version that the client has a part of still this one? */
static bool range_holds(RestCall *call, const RestFile *file)
{
    Str validator = http_request_header(call->req, STR("if-range"));
    char etag[ETAG_MAX];
    file_row_etag(&file->row, etag);
    return http_range_holds(validator, str_from_cstr(etag), file->row.updated_ms);
}

/* Which bytes are asked for: all, or call->partial. ERR_RANGE: none of them is there. */
static ErrCode choose_range(RestCall *call, const RestFile *file, Err *err)
{
    Str header = http_request_header(call->req, STR("range"));
    uint64_t size = file->row.size;
    call->partial = false;
    call->parts = NULL;
    call->range_from = 0;
    call->range_end = size;
    if (header.ptr == NULL || http_request_method(call->req) != HTTP_METHOD_GET ||
        !range_holds(call, file)) {
        return OK;
    }
    HttpSpan spans[HTTP_RANGES_MAX];
    size_t count = 0;
    HttpRange kind = http_range_parse(header, size, spans, &count);
    if (count > 1) return rest_parts_begin(call, file, spans, count, err);
    if (count == 1) {
        call->partial = true;
        call->range_from = spans[0].from;
        call->range_end = spans[0].end;
    }
    if (kind != HTTP_RANGE_BEYOND) return OK;
    http_header_addf(call->req, "Content-Range", "bytes */%" PRIu64, size);
    return err_set(err, ERR_RANGE, "the file has %" PRIu64 " bytes", size);
}

static void answer_parts(RestCall *call, const RestFile *file)
{
    AUTO_BUF(body, INLINE_MAX + (HTTP_RANGES_MAX + 1) * REST_PART_TEXT_MAX);
    Err err = {0};
    ErrCode code = rest_parts_of(call->parts, file, buf_str(&call->body), &body, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    call->bytes_out = body.len;
    http_respond_buf(call->req, 206, &body);
}

/* The small body that is in call->body, or of it what was asked for. */
static void answer_body(RestCall *call, const RestFile *file)
{
    HttpRequest *req = call->req;
    if (call->parts != NULL) {
        answer_parts(call, file);
        return;
    }
    call->bytes_out = call->range_end - call->range_from;
    if (!call->partial) {
        http_respond_buf(req, 200, &call->body);
        return;
    }
    http_respond(
        req, 206,
        str_slice(buf_str(&call->body), (size_t)call->range_from, (size_t)call->bytes_out));
}

/* --- a large body, by download.c --- */

static RestCall *call_of(DownloadSlot *slot)
{
    return (RestCall *)slot; /* its first member */
}

static void send_headers(DownloadSlot *slot)
{
    RestCall *call = call_of(slot);
    rest_file_headers(call, call->file, false);
}

static size_t part_text(DownloadSlot *slot, size_t at, char out[DOWNLOAD_PART_TEXT_MAX])
{
    const RestCall *call = call_of(slot);
    return rest_part_text(call->parts, call->file, at, out);
}

static void find_and_answer(RestCall *call);

static void look_again(DownloadSlot *slot)
{
    download_free(TAKE(slot->download));
    find_and_answer(call_of(slot));
}

static void send_refusal(DownloadSlot *slot, ErrCode code, const Err *err)
{
    rest_answer_error(call_of(slot), code, err);
}

static void send_ended(DownloadSlot *slot, ErrCode code, uint64_t bytes)
{
    RestCall *call = call_of(slot);
    call->status = call->partial ? 206 : 200;
    call->code = code;
    call->bytes_out = bytes;
}

static void send_extents(RestCall *call, const RestFile *file, Extent *extents)
{
    call->file = arena_alloc(http_request_arena(call->req), sizeof *file);
    if (call->file == NULL) {
        mem_free(extents);
        rest_answer_error(call, ERR_NO_MEMORY, NULL);
        return;
    }
    *call->file = *file;
    DownloadOptions options = {.req = call->req,
                               .service = call->service,
                               .reader = call->loop->reader,
                               .buffers = call->rest->options.buffers,
                               .door = {.headers = send_headers,
                                        .part_text = part_text,
                                        .again = call->tries < FIND_TRIES ? look_again : NULL,
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
    if (call->parts != NULL) {
        options.spans = call->parts->spans;
        options.span_count = call->parts->count;
        options.length = rest_parts_length(call->parts, file);
    }
    download_start(&options);
}

static void answer_found(RestCall *call, const RestFile *file, Extent *extents)
{
    HttpRequest *req = call->req;
    int status = 0;
    Err err = {0};
    ErrCode code = check_conditions(call, file, &status, &err);
    if (status == 412) code = err_set(&err, ERR_PRECONDITION, "the file is another version");
    if (code == OK && status == 0) code = choose_range(call, file, &err);
    if (code == OK && status == 0 && extents != NULL) {
        send_extents(call, file, extents);
        return;
    }
    mem_free(extents);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    if (status == 304) {
        rest_unchanged_headers(call, file);
        rest_answer_empty(call, 304);
        return;
    }
    rest_file_headers(call, file, false);
    call->status = call->partial ? 206 : 200;
    if (http_request_method(req) == HTTP_METHOD_HEAD)
        http_respond_head(req, 200, file->row.size);
    else
        answer_body(call, file);
}

/* Looks the file up, again if its bytes moved meanwhile, and answers with it. */
static void find_and_answer(RestCall *call)
{
    ServiceReader *reader = NULL;
    if (!rest_reader(call, &reader)) return;
    RestFile file = {.bucket = {NULL, 0}};
    Extent *extents = NULL;
    Err err = {0};
    bool moved = true;
    ErrCode code = ERR_NOT_FOUND;
    while (moved && call->tries < FIND_TRIES) {
        call->tries++;
        err_clear(&err);
        code = find(call, reader, &file, &extents, &moved, &err);
    }
    if (moved) {
        char place[PACK_PATH_MAX] = "wal.segments";
        if (file.row.place.pack != 0) pack_path(file.row.place.pack, place);
        damaged(call, &file, place, file.row.place.offset, &err);
        code = err_set(&err, ERR_FILE_DAMAGED, "looked up %d times, its bytes were never there",
                       FIND_TRIES);
    }
    if (code != OK) {
        mem_free(extents);
        rest_answer_error(call, code, &err);
        return;
    }
    answer_found(call, &file, extents);
}

void rest_get(RestCall *call)
{
    find_and_answer(call);
}
