/* GET /v1/files?bucket=&prefix=&delimiter=&after=&limit=, and with versions=true all versions. */
#include "api/rest/rest_priv.h"

#include "text/uri.h"

#define LIMIT_MAX 1000
#define PAGE_BYTES (4 * MIB) /* a page that grew beyond ends there, whatever its limit */
#define LIST_JSON_MAX (PAGE_BYTES + 2 * FILE_JSON_MAX + 16 * MIB)

typedef struct {
    RestCall *call;
    ListQuery query;
    AuthScope scope;
    JsonWriter json;
    Buf *body;
    Buf prefixes; /* each with a NUL behind it */
    Durability durability;
} Page;

static ErrCode add_entry(void *ctx, const StoreFound *found, bool is_prefix, Err *err)
{
    Page *page = ctx;
    if (is_prefix) {
        TRY(buf_append_str(&page->prefixes, found->key, err));
        TRY(buf_append_zeros(&page->prefixes, 1, err));
    } else {
        RestFile file = {.row = found->row,
                         .bucket = page->query.bucket,
                         .key = found->key,
                         .in_versions = page->query.versions,
                         .latest = found->latest,
                         .durability = page->durability};
        rest_file_json(&page->json, &file);
    }
    bool full = page->body->len > PAGE_BYTES || page->prefixes.len > PAGE_BYTES;
    return full ? ERR_END : OK; /* no failure: the page ends behind this entry */
}

static void write_prefixes(Page *page)
{
    Str rest = buf_str(&page->prefixes);
    json_write_key(&page->json, "prefixes");
    json_write_array_begin(&page->json);
    while (rest.len > 0) {
        Str prefix;
        (void)str_split(rest, '\0', &prefix, &rest); /* there is one behind each */
        json_write_str(&page->json, prefix);
    }
    json_write_array_end(&page->json);
}

static ErrCode optional(RestCall *call, Str name, Str *out, Err *err)
{
    bool found = false;
    return uri_query_get(http_request_arena(call->req), http_request_query(call->req), name, &found,
                         out, err);
}

/* versions=true, and what the last page gave as next_version, which counts with it alone. */
static ErrCode read_versions(RestCall *call, ListQuery *query, Err *err)
{
    Str versions = {NULL, 0};
    Str version = {NULL, 0};
    TRY(optional(call, STR("versions"), &versions, err));
    TRY(optional(call, STR("after_version"), &version, err));
    query->versions = str_eq(versions, STR("true"));
    if (!query->versions && versions.ptr != NULL && !str_eq(versions, STR("false")))
        return err_set(err, ERR_INVALID, "versions is neither true nor false");
    if (version.ptr == NULL || version_id_parse(version, &query->after_version)) return OK;
    return err_set(err, ERR_INVALID, "after_version is no version");
}

static ErrCode read_query(RestCall *call, ListQuery *query, Err *err)
{
    Str delimiter = {NULL, 0};
    Str limit = {NULL, 0};
    uint64_t number = LIMIT_MAX;
    TRY(optional(call, STR("bucket"), &query->bucket, err));
    TRY(optional(call, STR("prefix"), &query->prefix, err));
    TRY(optional(call, STR("after"), &query->after, err));
    TRY(optional(call, STR("delimiter"), &delimiter, err));
    TRY(optional(call, STR("limit"), &limit, err));
    if (query->bucket.len == 0) return err_set(err, ERR_INVALID, "?bucket= is missing");
    if (delimiter.len > 1 || (delimiter.len == 1 && (delimiter.ptr[0] & 0x80) != 0) ||
        (delimiter.len == 1 && delimiter.ptr[0] == '\0')) {
        return err_set(err, ERR_INVALID, "delimiter is not one character of ASCII");
    }
    if (delimiter.len == 1) query->delimiter = delimiter.ptr[0];
    if (limit.ptr != NULL && (!str_to_u64(limit, LIMIT_MAX, &number) || number == 0)) {
        return err_set(err, ERR_INVALID, "limit is not a number from 1 to %d", LIMIT_MAX);
    }
    query->limit = (size_t)number;
    return read_versions(call, query, err);
}

static void write_next_version(Page *page, VersionId version)
{
    char text[VERSION_ID_TEXT_LEN + 1];
    version_id_text(version, text);
    json_write_key(&page->json, "next_version");
    if (version.lsn != 0)
        json_write_cstr(&page->json, text);
    else
        json_write_null(&page->json);
}

static ErrCode make_page(Page *page, ServiceReader *reader, Err *err)
{
    AUTO_BUF(next, KEY_MAX);
    bool more = false;
    VersionId version = {0};
    const Service *service = page->call->service;
    page->durability = service_durability(service, service_class(service, page->query.bucket));
    json_write_object_begin(&page->json);
    json_write_key(&page->json, "files");
    json_write_array_begin(&page->json);
    ErrCode code = service_list(reader, &page->query, add_entry, page, &next, &version, &more, err);
    if (code == ERR_END)
        more = true;
    else if (code != OK)
        return code;
    json_write_array_end(&page->json);
    write_prefixes(page);
    json_write_key(&page->json, "next");
    if (more)
        json_write_str(&page->json, buf_str(&next));
    else
        json_write_null(&page->json);
    if (page->query.versions) write_next_version(page, more ? version : (VersionId){0});
    json_write_object_end(&page->json);
    return OK;
}

void rest_list(RestCall *call)
{
    ServiceReader *reader = NULL;
    Err err = {0};
    AUTO_BUF(body, LIST_JSON_MAX);
    Page page = {.call = call, .body = &body};
    if (!rest_reader(call, &reader)) return;
    buf_init(&page.prefixes, PAGE_BYTES + 2 * KEY_MAX);
    json_writer_init(&page.json, &body);
    ErrCode code = read_query(call, &page.query, &err);
    if (code == OK)
        code = auth_scope(&call->identity, RIGHT_LIST, page.query.bucket, page.query.prefix,
                          &page.scope, &err);
    page.query.scope = &page.scope;
    if (code == OK) code = make_page(&page, reader, &err);
    buf_deinit(&page.prefixes);
    if (code != OK)
        rest_answer_error(call, code, &err);
    else
        rest_answer_json(call, 200, &page.json, &body);
}
