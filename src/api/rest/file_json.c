/* A file as clients see it: the FILE object, and the headers of its content. */
#include "api/rest/rest_priv.h"

#include <inttypes.h>
#include <string.h>

#include "text/base64.h"
#include "text/dates.h"
#include "text/uri.h"

static void durability_json(JsonWriter *json, Durability d)
{
    json_write_key(json, "durability");
    json_write_object_begin(json);
    json_member_u64(json, "synced", d.synced);
    json_member_u64(json, "copies", d.copies);
    json_member_u64(json, "disks", d.disks);
    json_member_u64(json, "zones", d.zones);
    json_write_object_end(json);
}

static void meta_json(JsonWriter *json, Str attrs)
{
    Str pairs = {NULL, 0};
    json_write_key(json, "meta");
    json_write_object_begin(json);
    if (attr_get(attrs, ATTR_USER_META, &pairs)) {
        Dec dec = dec_of(pairs.ptr, pairs.len);
        Str name;
        Str value;
        while (rest_pairs_next(&dec, &name, &value)) {
            json_write_key_str(json, name);
            json_write_str(json, value);
        }
    }
    json_write_object_end(json);
}

Str rest_content_type(const FileRow *row)
{
    Str type;
    return attr_get(row->attrs, ATTR_CONTENT_TYPE, &type) ? type : STR(REST_TYPE_DEFAULT);
}

void rest_file_json(JsonWriter *json, const RestFile *file)
{
    const FileRow *row = &file->row;
    char id[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
    char etag[ETAG_MAX];
    char sha256[2 * SHA256_LEN + 1];
    Str name;
    id128_text(row->file, id);
    version_id_text(row->version, version);
    file_row_etag(row, etag);
    hex_encode(row->digest.bytes, SHA256_LEN, sha256);
    json_write_object_begin(json);
    json_member_cstr(json, "id", id);
    json_member_str(json, "bucket", file->bucket);
    json_member_str(json, "key", file->key);
    json_member_cstr(json, "version", version);
    json_member_u64(json, "size", row->size);
    json_write_key(json, "sha256");
    if ((row->flags & ROW_FLAG_DIGEST_KNOWN) != 0)
        json_write_cstr(json, sha256);
    else
        json_write_null(json);
    json_member_cstr(json, "etag", etag);
    json_member_str(json, "content_type", rest_content_type(row));
    json_write_key(json, "name");
    if (attr_get(row->attrs, ATTR_FILE_NAME, &name))
        json_write_str(json, name);
    else
        json_write_null(json);
    meta_json(json, row->attrs);
    json_member_time_ms(json, "created_at", row->created_ms);
    json_member_time_ms(json, "updated_at", row->updated_ms);
    json_write_key(json, "expires_at");
    if (file_row_expires(row) != 0)
        json_write_time_ms(json, file_row_expires(row));
    else
        json_write_null(json);
    if (file->in_versions) {
        json_write_key(json, "latest");
        json_write_bool(json, file->latest);
        json_write_key(json, "delete_marker");
        json_write_bool(json, (row->flags & ROW_FLAG_DELETE_MARKER) != 0);
    }
    durability_json(json, file->durability);
    json_write_object_end(json);
}

void rest_durability_header(RestCall *call, Durability d)
{
    http_header_addf(call->req, "Holdfast-Durability", DURABILITY_FORMAT, DURABILITY_ARG(d));
}

void rest_marker_header(RestCall *call, VersionId version)
{
    char text[VERSION_ID_TEXT_LEN + 1];
    version_id_text(version, text);
    http_header_add(call->req, "Holdfast-Delete-Marker", str_from_cstr(text));
}

/* attachment; filename="a_b.txt"; filename*=UTF-8''a%C3%BCb.txt (RFC 6266) */
static void disposition_header(RestCall *call, Str name)
{
    AUTO_BUF(value, 8 * 1024);
    ErrCode code = buf_append_str(&value, STR("attachment; filename=\""), NULL);
    for (size_t i = 0; i < name.len && code == OK; i++) {
        char c = name.ptr[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '%';
        code = buf_append(&value, plain ? &c : "_", 1, NULL);
    }
    if (code == OK) code = buf_append_str(&value, STR("\"; filename*=UTF-8''"), NULL);
    if (code == OK) code = uri_encode(&value, URI_ENCODE_ALL, name, NULL);
    /* A name too long for the header is told by HEAD's JSON sibling only. */
    if (code == OK) http_header_add(call->req, "Content-Disposition", buf_str(&value));
}

static void pair_headers(RestCall *call, Str attrs, AttrType type, const char *prefix)
{
    Str pairs;
    if (!attr_get(attrs, type, &pairs)) return;
    Dec dec = dec_of(pairs.ptr, pairs.len);
    Str name;
    Str value;
    while (rest_pairs_next(&dec, &name, &value)) {
        Str header = arena_printf(http_request_arena(call->req), "%s%.*s", prefix, STR_ARG(name));
        if (header.ptr != NULL) http_header_add(call->req, header.ptr, value);
    }
}

void rest_digest_header(RestCall *call, const FileRow *row)
{
    char text[64];
    if ((row->flags & ROW_FLAG_DIGEST_KNOWN) == 0) return;
    ASSERT(base64_encoded_len(SHA256_LEN) < sizeof text);
    base64_encode(row->digest.bytes, SHA256_LEN, text);
    http_header_addf(call->req, "Repr-Digest", "sha-256=:%s:", text);
}

/* The MD5 that came with the content. */
static void md5_header(RestCall *call, const FileRow *row)
{
    Str md5;
    char text[32];
    if (!attr_get(row->attrs, ATTR_MD5, &md5) || md5.len != MD5_LEN) return;
    ASSERT(base64_encoded_len(MD5_LEN) < sizeof text);
    base64_encode(md5.ptr, MD5_LEN, text);
    http_header_addf(call->req, "Content-MD5", "%s", text);
}

void rest_file_headers(RestCall *call, const RestFile *file, bool for_write)
{
    HttpRequest *req = call->req;
    const FileRow *row = &file->row;
    char id[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
    char etag[ETAG_MAX];
    char date[DATE_HTTP_SIZE];
    id128_text(row->file, id);
    version_id_text(row->version, version);
    file_row_etag(row, etag);
    http_header_addf(req, "ETag", "\"%s\"", etag);
    http_header_add(req, "Holdfast-File-Id", str_from_cstr(id));
    http_header_add(req, "Holdfast-Version", str_from_cstr(version));
    rest_durability_header(call, file->durability);
    if (for_write) return;
    date_format_http(row->updated_ms, date);
    http_header_add(req, "Last-Modified", str_from_cstr(date));
    if (call->parts != NULL)
        http_header_addf(req, "Content-Type", "multipart/byteranges; boundary=%s",
                         call->parts->boundary);
    else
        http_header_add(req, "Content-Type", rest_content_type(row));
    http_header_add(req, "Accept-Ranges", STR("bytes"));
    if (call->partial && call->parts == NULL) {
        http_header_addf(req, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                         call->range_from, call->range_end - 1, row->size);
    }
    if (file_row_expires(row) != 0) {
        char time[DATE_RFC3339_SIZE];
        date_format_rfc3339(file_row_expires(row), time);
        http_header_add(req, "Holdfast-Expires", str_from_cstr(time));
    }
    rest_digest_header(call, row);
    if (!call->partial) md5_header(call, row);
    /* What strangers stored shall not run as a page of this server. */
    http_header_add(req, "X-Content-Type-Options", STR("nosniff"));
    http_header_add(req, "Content-Security-Policy", STR("sandbox"));
    Str name;
    if (attr_get(row->attrs, ATTR_FILE_NAME, &name)) disposition_header(call, name);
    pair_headers(call, row->attrs, ATTR_USER_META, "Holdfast-Meta-");
    pair_headers(call, row->attrs, ATTR_HTTP_HEADERS, "");
}

/* RFC 9110, section 15.4.5: what tells a cache how long it may keep what it has. */
void rest_unchanged_headers(RestCall *call, const RestFile *file)
{
    static const char *const names[] = {"cache-control", "expires"};
    static const char *const told[] = {"Cache-Control", "Expires"};
    char date[DATE_HTTP_SIZE];
    Str pairs;
    Str name;
    Str value;
    rest_file_headers(call, file, true);
    date_format_http(file->row.updated_ms, date);
    http_header_add(call->req, "Last-Modified", str_from_cstr(date));
    if (!attr_get(file->row.attrs, ATTR_HTTP_HEADERS, &pairs)) return;
    Dec dec = dec_of(pairs.ptr, pairs.len);
    while (rest_pairs_next(&dec, &name, &value)) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (str_eq_nocase(name, str_from_cstr(names[i])))
                http_header_add(call->req, told[i], value);
    }
}

ErrCode rest_file_copy(RestCall *call, const StoreFound *found, RestFile *out, Err *err)
{
    Arena *arena = http_request_arena(call->req);
    char bucket[BUCKET_NAME_MAX + 1];
    if (!buckets_name(service_buckets(call->service), found->bucket, bucket)) {
        return err_set(err, ERR_NOT_FOUND, "there is no such file"); /* its bucket went meanwhile */
    }
    out->row = found->row;
    out->row.extents = (Str){NULL, 0};
    out->row.attrs = arena_dup(arena, found->row.attrs);
    out->key = arena_dup(arena, found->key);
    out->bucket = arena_dup(arena, str_from_cstr(bucket));
    out->durability = service_durability(call->service,
                                         shard_class(file_id_shard(found->row.file)));
    if (out->row.attrs.ptr == NULL || out->key.ptr == NULL || out->bucket.ptr == NULL) {
        return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
    }
    return OK;
}
