/* GET and HEAD of a file, by name or id. */
#include "api/rest/rest_priv.h"

#include <inttypes.h>

#include "http/conditions.h"
#include "http/range.h"
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
    TRY(read_version(call, &version, &found, err));
    return service_find_id(reader, file, found ? &version : NULL, out, err);
}

static ErrCode find_by_name(RestCall *call, ServiceReader *reader, StoreFound *out, Err *err)
{
    VersionId version;
    bool wanted = false;
    TRY(read_version(call, &version, &wanted, err));
    TRY(service_find(reader, call->match.params[0], call->match.params[1], out, err));
    bool right = !wanted || version_id_cmp(version, out->row.version) == 0;
    return right ? OK : no_version(err);
}

/* Looks it up, copies what is needed, and of a small file the body. ERR_NOT_FOUND from the body
 * means that it moved from log to pack meanwhile: the caller looks again. */
static ErrCode find(RestCall *call, ServiceReader *reader, RestFile *file, Extent **extents,
                    bool *moved, Err *err)
{
    StoreFound found;
    bool wants_body = http_request_method(call->req) != HTTP_METHOD_HEAD;
    *moved = false;
    if (call->match.param_count == 2) {
        TRY(find_by_name(call, reader, &found, err));
    } else {
        TRY(find_by_id(call, reader, &found, err));
    }
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
    ErrCode code = service_body(reader, &found, &body, err);
    *moved = code == ERR_NOT_FOUND;
    if (code != OK) return code;
    buf_clear(&call->body);
    return buf_append_str(&call->body, body, err);
}

void rest_damaged(RestCall *call, const RestFile *file, const char *place, uint64_t offset,
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
    uint64_t date_ms = 0;
    bool matches = false;
    if (validator.ptr == NULL) return true;
    if (date_parse_http(validator, &date_ms)) return file->row.updated_ms / 1000 == date_ms / 1000;
    if (str_eq(validator, STR("*"))) return false; /* no validator */
    file_row_etag(&file->row, etag);
    return http_etag_match(validator, HTTP_COMPARE_STRONG, true, str_from_cstr(etag), &matches,
                           NULL) == OK &&
           matches;
}

/* Which bytes are asked for: all, or call->partial. ERR_RANGE: none of them is there. */
static ErrCode choose_range(RestCall *call, const RestFile *file, Err *err)
{
    Str header = http_request_header(call->req, STR("range"));
    uint64_t size = file->row.size;
    call->partial = false;
    call->range_from = 0;
    call->range_end = size;
    if (header.ptr == NULL || http_request_method(call->req) != HTTP_METHOD_GET ||
        !range_holds(call, file)) {
        return OK;
    }
    HttpRange kind = http_range_parse(header, size, &call->range_from, &call->range_end);
    call->partial = kind == HTTP_RANGE_PART;
    if (kind != HTTP_RANGE_BEYOND) return OK;
    http_header_addf(call->req, "Content-Range", "bytes */%" PRIu64, size);
    return err_set(err, ERR_RANGE, "the file has %" PRIu64 " bytes", size);
}

/* The small body that is in call->body, or of it what was asked for. */
static void answer_body(RestCall *call)
{
    HttpRequest *req = call->req;
    call->bytes_out = call->range_end - call->range_from;
    if (!call->partial) {
        http_respond_buf(req, 200, &call->body);
        return;
    }
    http_respond(
        req, 206,
        str_slice(buf_str(&call->body), (size_t)call->range_from, (size_t)call->bytes_out));
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
        rest_download(call, file, extents, call->range_from, call->range_end);
        return;
    }
    mem_free(extents);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    if (status == 304) {
        rest_file_headers(call, file, true);
        rest_answer_empty(call, 304);
        return;
    }
    rest_file_headers(call, file, false);
    call->status = call->partial ? 206 : 200;
    if (http_request_method(req) == HTTP_METHOD_HEAD)
        http_respond_head(req, 200, file->row.size);
    else
        answer_body(call);
}

void rest_get_find(RestCall *call)
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
        rest_damaged(call, &file, place, file.row.place.offset, &err);
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
    rest_get_find(call);
}
