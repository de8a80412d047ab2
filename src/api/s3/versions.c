/* Versions: how a client names one, PutBucketVersioning, ListObjectVersions. What a version is, and
 * which of a name is its null version: format/entry.h. */
#include <string.h>

#include "api/s3/s3_priv.h"
#include "text/dates.h"

#define CONFIGURATION_MAX (8 * KIB) /* bytes of XML */
#define KEYS_MAX 1000
#define LIST_XML_MAX (16 * MIB)

void s3_version_text(const FileRow *row, char out[VERSION_ID_TEXT_LEN + 1])
{
    if ((row->flags & ROW_FLAG_NULL_VERSION) != 0)
        memcpy(out, "null", sizeof "null");
    else
        version_id_text(row->version, out);
}

static bool keeps_versions(S3Call *call, Str bucket)
{
    BucketRecord record;
    return buckets_find(service_buckets(call->service), bucket, &record) &&
           record.versioning != VERSIONING_OFF;
}

void s3_version_header(S3Call *call, const FileRow *row)
{
    char text[VERSION_ID_TEXT_LEN + 1];
    if (!keeps_versions(call, call->bucket)) return;
    s3_version_text(row, text);
    http_header_add(call->req, "x-amz-version-id", str_from_cstr(text));
}

ErrCode s3_version_named(S3Call *call, Str bucket, Str key, Str text, VersionId *out, Err *err)
{
    ServiceReader *reader = NULL;
    VersionId named = {0};
    *out = named;
    bool null = str_eq(text, STR("null"));
    if (!null && !version_id_parse(text, &named))
        return err_set(err, ERR_INVALID, "Invalid version id specified");
    if (!keeps_versions(call, bucket)) /* the only one that there is is null */
        return null ? OK : s3_refuse(call, S3_ERR_NO_VERSION, NULL, err);
    *out = named;
    if (!null) return OK;
    TRY(s3_reader(call, &reader, err));
    ErrCode code = service_find_null(reader, bucket, key, out, err);
    return code == ERR_NOT_FOUND ? s3_refuse(call, S3_ERR_NO_VERSION, NULL, err) : code;
}

ErrCode s3_check_version(S3Call *call, Err *err)
{
    Str text = {NULL, 0};
    TRY(s3_query(call, "versionId", &text, err));
    if (text.ptr == NULL) return OK;
    TRY(s3_version_named(call, call->bucket, call->key, text, &call->version, err));
    call->has_version = call->version.lsn != 0;
    return OK;
}

ErrCode s3_refuse_version(S3Call *call, Err *err)
{
    if (!s3_has_param(call, "versionId")) return OK;
    return err_set(err, ERR_INVALID, "This operation does not accept a version-id.");
}

ErrCode s3_not_found(S3Call *call, const StoreFound *found, bool named, Err *err)
{
    bool marker = (found->row.flags & ROW_FLAG_DELETE_MARKER) != 0;
    char date[DATE_HTTP_SIZE];
    err_clear(err);
    if (marker) {
        http_header_add(call->req, "x-amz-delete-marker", STR("true"));
        s3_version_header(call, &found->row);
    }
    if (!named) return err_set(err, ERR_NOT_FOUND, "The specified key does not exist.");
    if (!marker) return s3_refuse(call, S3_ERR_NO_VERSION, NULL, err);
    date_format_http(found->row.updated_ms, date);
    http_header_add(call->req, "Last-Modified", str_from_cstr(date));
    http_header_add(call->req, "Allow", STR("DELETE"));
    return err_set(err, ERR_METHOD, "The specified method is not allowed against this resource.");
}

/* --- PutBucketVersioning --- */

typedef struct {
    bool set;
    Versioning versioning;
} Configuration;

static ErrCode on_begin(void *ctx, unsigned depth, Str name, Err *err)
{
    UNUSED(ctx);
    bool known = depth == 1   ? str_eq(name, STR("VersioningConfiguration"))
                 : depth == 2 ? str_eq(name, STR("Status")) || str_eq(name, STR("MfaDelete"))
                              : false;
    return known ? OK : err_set(err, ERR_INVALID, "an element that is not known");
}

static ErrCode on_element(void *ctx, unsigned depth, Str name, Str text, Err *err)
{
    Configuration *c = ctx;
    text = str_trim(text);
    if (depth != 2) return OK;
    if (str_eq(name, STR("MfaDelete")))
        return str_eq(text, STR("Disabled"))
                   ? OK
                   : err_set(err, ERR_NOT_IMPLEMENTED, "MfaDelete is not implemented");
    c->set = true;
    c->versioning = str_eq(text, STR("Enabled")) ? VERSIONING_ON : VERSIONING_SUSPENDED;
    bool good = c->versioning == VERSIONING_ON || str_eq(text, STR("Suspended"));
    return good ? OK : err_set(err, ERR_INVALID, "neither Enabled nor Suspended");
}

static void versioning_done(S3Call *call)
{
    const Mutation *m = &call->mutation;
    if (m->code != OK)
        s3_answer_error(call, m->code, &m->err);
    else
        s3_answer_empty(call, 200);
}

static ErrCode on_configuration(S3Call *call, Str xml, Err *err)
{
    Configuration c = {.set = false};
    XmlHandler handler = {.ctx = &c, .begin = on_begin, .end = on_element};
    Mutation *m = &call->mutation;
    ErrCode code = xml_read(xml, &handler, err);
    if (code == OK && !c.set) code = err_set(err, ERR_INVALID, "there is no Status");
    if (code == ERR_INVALID) return s3_refuse(call, S3_ERR_MALFORMED_XML, NULL, err);
    TRY(code);
    m->type = MUTATION_BUCKET_CREATE;
    m->bucket = call->bucket;
    m->settings.only_there = true;
    m->settings.has_versioning = true;
    m->settings.versioning = c.versioning;
    s3_submit(call, versioning_done);
    return OK;
}

void s3_bucket_set_versioning(S3Call *call)
{
    BucketRecord record;
    Err err = {0};
    if (buckets_find(service_buckets(call->service), call->bucket, &record)) {
        s3_collect_xml(call, CONFIGURATION_MAX, on_configuration);
        return;
    }
    ErrCode code = err_set(&err, ERR_NO_BUCKET, "The specified bucket does not exist");
    s3_answer_error(call, code, &err);
}

/* --- ListObjectVersions --- */

typedef struct {
    S3Call *call;
    bool url;
    Str prefix;
    Str delimiter;
    Str key_marker;
    Str version_marker;
    uint64_t max;
    AuthScope scope;
    XmlWriter xml;
    XmlWriter prefix_xml;
    Buf *body;
    Buf prefixes; /* XML */
    Buf next;
    VersionId next_version;
    bool next_null;
    bool more;
} Page;

static void write_version(Page *page, const StoreFound *found)
{
    XmlWriter *xml = &page->xml;
    const FileRow *row = &found->row;
    bool marker = (row->flags & ROW_FLAG_DELETE_MARKER) != 0;
    const char *element = marker ? "DeleteMarker" : "Version";
    char version[VERSION_ID_TEXT_LEN + 1];
    char date[DATE_RFC3339_SIZE];
    char etag[ETAG_MAX];
    s3_version_text(row, version);
    date_format_rfc3339(row->updated_ms, date);
    xml_begin(xml, element);
    s3_write_name(xml, page->url, "Key", found->key);
    xml_element_cstr(xml, "VersionId", version);
    xml_element_cstr(xml, "IsLatest", found->latest ? "true" : "false");
    xml_element_cstr(xml, "LastModified", date);
    if (!marker) {
        file_row_etag(row, etag);
        xml_element(xml, "ETag", arena_printf(http_request_arena(page->call->req), "\"%s\"", etag));
        xml_element_u64(xml, "Size", row->size);
        xml_element_cstr(xml, "StorageClass", "STANDARD");
    }
    s3_write_owner(xml, "Owner");
    xml_end(xml, element);
}

static ErrCode add_entry(void *ctx, const StoreFound *found, bool is_prefix, Err *err)
{
    Page *page = ctx;
    UNUSED(err);
    page->next_null = !is_prefix && (found->row.flags & ROW_FLAG_NULL_VERSION) != 0;
    if (is_prefix) {
        xml_begin(&page->prefix_xml, "CommonPrefixes");
        s3_write_name(&page->prefix_xml, page->url, "Prefix", found->key);
        xml_end(&page->prefix_xml, "CommonPrefixes");
    } else {
        write_version(page, found);
    }
    return OK;
}

static ErrCode read_query(Page *page, ListQuery *query, Err *err)
{
    S3Call *call = page->call;
    Str text = {NULL, 0};
    TRY(s3_query_name(call, "prefix", &page->prefix, err));
    TRY(s3_query_name(call, "delimiter", &page->delimiter, err));
    TRY(s3_query_name(call, "key-marker", &page->key_marker, err));
    TRY(s3_query(call, "version-id-marker", &page->version_marker, err));
    TRY(s3_query_number(call, "max-keys", KEYS_MAX, &page->max, err));
    TRY(s3_query(call, "encoding-type", &text, err));
    page->url = str_eq(text, STR("url"));
    if (text.len > 0 && !page->url)
        return err_set(err, ERR_INVALID, "Invalid Encoding Method specified in Request");
    Str d = page->delimiter;
    if (d.len > 1 || (d.len == 1 && (unsigned char)d.ptr[0] > 0x7f))
        return err_set(err, ERR_NOT_IMPLEMENTED,
                       "versions are listed with a delimiter of one ASCII character only");
    *query = (ListQuery){.bucket = call->bucket,
                         .prefix = page->prefix,
                         .delimiter = d.len == 1 ? d.ptr[0] : '\0',
                         .after = page->key_marker,
                         .limit = MAX((size_t)page->max, (size_t)1),
                         .versions = true,
                         .scope = &page->scope};
    TRY(auth_scope(&call->auth.identity, RIGHT_LIST, call->bucket, page->prefix, &page->scope,
                   err));
    if (page->version_marker.len == 0) return OK;
    if (page->key_marker.len == 0)
        return err_set(err, ERR_INVALID,
                       "A version-id marker cannot be specified without a key marker.");
    /* A null version that is gone meanwhile leaves nobody to go on behind. */
    return s3_version_named(call, call->bucket, page->key_marker, page->version_marker,
                            &query->after_version, err);
}

static void write_head(Page *page)
{
    XmlWriter *xml = &page->xml;
    char version[VERSION_ID_TEXT_LEN + 1];
    xml_element(xml, "Name", page->call->bucket);
    s3_write_name(xml, page->url, "Prefix", page->prefix);
    if (page->delimiter.len > 0) s3_write_name(xml, page->url, "Delimiter", page->delimiter);
    s3_write_name(xml, page->url, "KeyMarker", page->key_marker);
    xml_element(xml, "VersionIdMarker", page->version_marker);
    xml_element_u64(xml, "MaxKeys", page->max);
    if (page->url) xml_element_cstr(xml, "EncodingType", "url");
    xml_element_cstr(xml, "IsTruncated", page->more ? "true" : "false");
    if (!page->more) return;
    s3_write_name(xml, page->url, "NextKeyMarker", buf_str(&page->next));
    if (page->next_version.lsn == 0) return;
    FileRow row = {.version = page->next_version,
                   .flags = page->next_null ? ROW_FLAG_NULL_VERSION : 0};
    s3_version_text(&row, version);
    xml_element_cstr(xml, "NextVersionIdMarker", version);
}

static ErrCode make_page(Page *page, Err *err)
{
    ServiceReader *reader = NULL;
    ListQuery query;
    TRY(s3_reader(page->call, &reader, err));
    TRY(read_query(page, &query, err));
    xml_writer_init(&page->xml, page->body);
    page->prefix_xml = (XmlWriter){.out = &page->prefixes};
    xml_begin(&page->xml, "ListVersionsResult" S3_XMLNS);
    if (page->max > 0) {
        TRY(service_list(reader, &query, add_entry, page, &page->next, &page->next_version,
                         &page->more, err));
    } else if (!keeps_versions(page->call, page->call->bucket)) {
        BucketRecord record;
        if (!buckets_find(service_buckets(page->call->service), page->call->bucket, &record))
            return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
    }
    write_head(page);
    TRY(xml_writer_end(&page->prefix_xml, err));
    TRY(buf_append_str(page->body, buf_str(&page->prefixes), err));
    xml_end(&page->xml, "ListVersionsResult");
    return OK;
}

void s3_list_versions(S3Call *call)
{
    Err err = {0};
    AUTO_BUF(body, LIST_XML_MAX);
    Page page = {.call = call, .body = &body};
    buf_init(&page.prefixes, LIST_XML_MAX / 2);
    buf_init(&page.next, KEY_MAX);
    ErrCode code = make_page(&page, &err);
    buf_deinit(&page.prefixes);
    buf_deinit(&page.next);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_answer_xml(call, &page.xml, &body);
}
