/* ListObjects and ListObjectsV2. */
#include <inttypes.h>
#include <string.h>

#include "api/s3/s3_priv.h"
#include "text/base64.h"
#include "text/dates.h"
#include "text/uri.h"

#define KEYS_MAX 1000
#define LIST_XML_MAX (16 * MIB)
#define PAGE_BYTES (8 * MIB) /* a page that grew beyond ends there */
#define TOKEN_MAX (base64_encoded_len(KEY_MAX))

typedef struct {
    S3Call *call;
    bool is_v2;
    bool url; /* encoding-type=url */
    bool fetch_owner;
    Str prefix;
    Str delimiter;
    Str marker;      /* V1 */
    Str start_after; /* V2 */
    Str token;       /* V2, as sent */
    Str after;       /* names behind this one */
    uint64_t max_keys;
    AuthScope scope;
    /* The page. */
    XmlWriter xml;
    Buf *body;
    Buf prefixes; /* XML */
    XmlWriter prefix_xml;
    Buf next;  /* where it goes on */
    Buf group; /* rolled-up prefix that ended a scan */
    size_t count;
    bool more;
} Page;

void s3_write_name(XmlWriter *xml, bool url, const char *element, Str name)
{
    AUTO_BUF(encoded, 3 * KEY_MAX + 64);
    if (!url) {
        xml_element(xml, element, name);
        return;
    }
    ErrCode code = uri_encode(&encoded, URI_ENCODE_PATH, name, NULL);
    if (code != OK && xml->code == OK) xml->code = code;
    xml_element(xml, element, buf_str(&encoded));
}

static void write_name(const Page *page, XmlWriter *xml, const char *element, Str name)
{
    s3_write_name(xml, page->url, element, name);
}

void s3_write_owner(XmlWriter *xml, const char *element)
{
    xml_begin(xml, element);
    xml_element_cstr(xml, "ID", S3_OWNER_ID);
    xml_element_cstr(xml, "DisplayName", "root");
    xml_end(xml, element);
}

static void write_prefix(Page *page, Str prefix)
{
    xml_begin(&page->prefix_xml, "CommonPrefixes");
    write_name(page, &page->prefix_xml, "Prefix", prefix);
    xml_end(&page->prefix_xml, "CommonPrefixes");
}

static void write_file(Page *page, const FileRow *row, Str key)
{
    XmlWriter *xml = &page->xml;
    char etag[ETAG_MAX];
    char quoted[ETAG_MAX + 2] = "\"";
    char date[DATE_RFC3339_SIZE];
    file_row_etag(row, etag);
    size_t len = strlen(etag);
    memcpy(quoted + 1, etag, len);
    quoted[1 + len] = '"';
    date_format_rfc3339(row->updated_ms, date);
    xml_begin(xml, "Contents");
    write_name(page, xml, "Key", key);
    xml_element_cstr(xml, "LastModified", date);
    xml_element(xml, "ETag", str_of(quoted, len + 2));
    xml_element_u64(xml, "Size", row->size);
    if (!page->is_v2 || page->fetch_owner) s3_write_owner(xml, "Owner");
    xml_element_cstr(xml, "StorageClass", "STANDARD");
    xml_end(xml, "Contents");
}

/* Length of the rolled-up prefix that key falls under, by a delimiter of any length; 0: none. */
static size_t group_len(const Page *page, Str key)
{
    Str d = page->delimiter;
    for (size_t i = page->prefix.len; d.len > 0 && i + d.len <= key.len; i++)
        if (str_eq(str_slice(key, i, d.len), d)) return i + d.len;
    return 0;
}

static ErrCode add_entry(void *ctx, const StoreFound *found, bool is_prefix, Err *err)
{
    Page *page = ctx;
    size_t group = is_prefix ? 0 : group_len(page, found->key);
    page->count++;
    if (group > 0) { /* the store rolls up by one character of ASCII only */
        buf_clear(&page->group);
        TRY(buf_append_str(&page->group, str_slice(found->key, 0, group), err));
        write_prefix(page, buf_str(&page->group));
        return ERR_END; /* no failure: the scan goes on behind the group */
    }
    if (is_prefix)
        write_prefix(page, found->key);
    else
        write_file(page, &found->row, found->key);
    return page->body->len > PAGE_BYTES || page->prefixes.len > PAGE_BYTES ? ERR_END : OK;
}

/* --- the query --- */

ErrCode s3_query_number(S3Call *call, const char *name, uint64_t max, uint64_t *out, Err *err)
{
    Str text = {NULL, 0};
    *out = max;
    TRY(s3_query(call, name, &text, err));
    if (text.len == 0) return OK;
    if (!str_to_u64(text, INT32_MAX, out))
        return err_set(err, ERR_INVALID, "Provided %s not an integer or within integer range",
                       name);
    *out = MIN(*out, max);
    return OK;
}

static ErrCode read_token(Page *page, Err *err)
{
    Arena *arena = http_request_arena(page->call->req);
    size_t len = 0;
    TRY(s3_query(page->call, "continuation-token", &page->token, err));
    TRY(s3_query_name(page->call, "start-after", &page->start_after, err));
    page->after = page->start_after;
    if (page->token.ptr == NULL) return OK;
    uint8_t *key = arena_alloc(arena, KEY_MAX + 1);
    if (key == NULL) return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
    if (page->token.len == 0 || !base64_decode(page->token, key, KEY_MAX, &len) || len == 0)
        return err_set(err, ERR_INVALID, "The continuation token provided is incorrect");
    page->after = str_of(key, len);
    return OK;
}

static ErrCode read_query(Page *page, Err *err)
{
    S3Call *call = page->call;
    Str text = {NULL, 0};
    TRY(s3_query(call, "list-type", &text, err));
    if (text.len > 0 && !str_eq(text, STR("2")) && !str_eq(text, STR("1")))
        return err_set(err, ERR_INVALID, "Invalid List Type specified in Request");
    page->is_v2 = str_eq(text, STR("2"));
    TRY(s3_query_name(call, "prefix", &page->prefix, err));
    TRY(s3_query_name(call, "delimiter", &page->delimiter, err));
    TRY(s3_query(call, "encoding-type", &text, err));
    page->url = str_eq(text, STR("url"));
    if (text.len > 0 && !page->url)
        return err_set(err, ERR_INVALID, "Invalid Encoding Method specified in Request");
    TRY(s3_query_number(call, "max-keys", KEYS_MAX, &page->max_keys, err));
    if (page->is_v2) {
        TRY(s3_query(call, "fetch-owner", &text, err));
        page->fetch_owner = str_eq_nocase(text, STR("true"));
        return read_token(page, err);
    }
    TRY(s3_query_name(call, "marker", &page->marker, err));
    page->after = page->marker;
    return OK;
}

/* --- the page --- */

/* Where the list goes on behind all names under a group: no name holds the byte 0xff. */
static ErrCode set_after_group(Page *page, Err *err)
{
    Str group = buf_str(&page->group);
    Arena *arena = http_request_arena(page->call->req);
    char *after = arena_alloc(arena, KEY_MAX + 1);
    if (after == NULL) return err_set(err, ERR_NO_MEMORY, "the memory of this request is used up");
    size_t len = MIN(group.len, (size_t)KEY_MAX - 1);
    memcpy(after, group.ptr, len);
    after[len] = '\xff';
    page->after = str_of(after, len + (group.len < KEY_MAX));
    if (group.len == KEY_MAX) page->after = arena_dup(arena, group);
    return OK;
}

static ErrCode see_one(void *ctx, const StoreFound *found, bool is_prefix, Err *err)
{
    UNUSED(ctx);
    UNUSED(found);
    UNUSED(is_prefix);
    UNUSED(err);
    return ERR_END; /* no failure: there is one */
}

/* The page is full, and its last entry is a group: is there anything behind it? */
static ErrCode look_behind(Page *page, ServiceReader *reader, ListQuery query, Err *err)
{
    AUTO_BUF(next, KEY_MAX);
    VersionId version;
    query.after = page->after;
    query.limit = 1;
    ErrCode code = service_list(reader, &query, see_one, NULL, &next, &version, &page->more, err);
    page->more = code == ERR_END;
    return code == ERR_END ? OK : code;
}

static ErrCode scan(Page *page, ServiceReader *reader, Err *err)
{
    Str d = page->delimiter;
    bool by_store = d.len == 1 && (d.ptr[0] & 0x80) == 0 && d.ptr[0] != '\0';
    ListQuery query = {.bucket = page->call->bucket, .prefix = page->prefix, .scope = &page->scope};
    if (by_store) query.delimiter = d.ptr[0];
    page->more = page->max_keys > 0;
    /* A marker within a group is behind its prefix: S3 does not tell that again. */
    size_t group = by_store ? 0 : group_len(page, page->after);
    if (group > 0 && str_starts_with(page->after, page->prefix)) {
        TRY(buf_append_str(&page->group, str_slice(page->after, 0, group), err));
        TRY(set_after_group(page, err));
    }
    while (page->more && page->count < page->max_keys) {
        query.after = page->after;
        query.limit = (size_t)page->max_keys - page->count;
        buf_clear(&page->group);
        VersionId version;
        ErrCode code = service_list(reader, &query, add_entry, page, &page->next, &version,
                                    &page->more, err);
        if (code == OK) return OK;
        if (code != ERR_END) return code;
        page->more = true;
        if (page->group.len == 0) return OK; /* the page is full of bytes */
        TRY(set_after_group(page, err));
        buf_clear(&page->next);
        TRY(buf_append_str(&page->next, buf_str(&page->group), err));
        if (page->count == page->max_keys) return look_behind(page, reader, query, err);
    }
    return OK;
}

static void write_token(Page *page)
{
    AUTO_BUF(text, TOKEN_MAX + 1);
    char token[2048];
    ASSERT(base64_encoded_len(page->next.len) < sizeof token);
    base64_encode(page->next.data, page->next.len, token);
    xml_element_cstr(&page->xml, "NextContinuationToken", token);
}

static void write_head(Page *page)
{
    XmlWriter *xml = &page->xml;
    xml_element(xml, "Name", page->call->bucket);
    write_name(page, xml, "Prefix", page->prefix);
    if (page->delimiter.len > 0) write_name(page, xml, "Delimiter", page->delimiter);
    xml_element_u64(xml, "MaxKeys", page->max_keys);
    if (page->url) xml_element_cstr(xml, "EncodingType", "url");
    if (!page->is_v2) {
        write_name(page, xml, "Marker", page->marker);
        return;
    }
    if (page->token.len > 0) xml_element(xml, "ContinuationToken", page->token);
    if (page->start_after.len > 0) write_name(page, xml, "StartAfter", page->start_after);
}

static ErrCode make_page(Page *page, Err *err)
{
    ServiceReader *reader = NULL;
    XmlWriter *xml = &page->xml;
    TRY(read_query(page, err));
    TRY(auth_scope(&page->call->auth.identity, RIGHT_LIST, page->call->bucket, page->prefix,
                   &page->scope, err));
    TRY(s3_reader(page->call, &reader, err));
    xml_writer_init(xml, page->body);
    page->prefix_xml = (XmlWriter){.out = &page->prefixes};
    xml_begin(xml, "ListBucketResult" S3_XMLNS);
    write_head(page);
    BucketRecord record;
    if (!buckets_find(service_buckets(page->call->service), page->call->bucket, &record))
        return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
    TRY(scan(page, reader, err));
    TRY(xml_writer_end(&page->prefix_xml, err));
    TRY(buf_append_str(page->body, buf_str(&page->prefixes), err));
    if (page->is_v2) xml_element_u64(xml, "KeyCount", page->count);
    xml_element_cstr(xml, "IsTruncated", page->more ? "true" : "false");
    if (page->more && page->is_v2) write_token(page);
    if (page->more && !page->is_v2 && page->delimiter.len > 0)
        write_name(page, xml, "NextMarker", buf_str(&page->next));
    xml_end(xml, "ListBucketResult");
    return OK;
}

void s3_list(S3Call *call)
{
    Err err = {0};
    AUTO_BUF(body, LIST_XML_MAX);
    Page page = {.call = call, .body = &body};
    buf_init(&page.prefixes, LIST_XML_MAX / 2);
    buf_init(&page.next, KEY_MAX);
    buf_init(&page.group, KEY_MAX);
    ErrCode code = make_page(&page, &err);
    buf_deinit(&page.prefixes);
    buf_deinit(&page.next);
    buf_deinit(&page.group);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_answer_xml(call, &page.xml, &body);
}
