/* ListParts and ListMultipartUploads. */
#include <string.h>

#include "api/s3/s3_priv.h"
#include "text/dates.h"

#define PARTS_MAX 1000   /* of a page */
#define UPLOADS_MAX 1000 /* likewise */
#define PARTS_XML_MAX (1 * MIB)
#define UPLOADS_XML_MAX (16 * MIB)

static void write_etag(XmlWriter *xml, const uint8_t *md5)
{
    char etag[2 * MD5_LEN + 3] = "\"";
    hex_encode(md5, MD5_LEN, etag + 1);
    etag[2 * MD5_LEN + 1] = '"';
    xml_element(xml, "ETag", str_of(etag, 2 * MD5_LEN + 2));
}

static void write_time(XmlWriter *xml, const char *element, uint64_t ms)
{
    char date[DATE_RFC3339_SIZE];
    date_format_rfc3339(ms, date);
    xml_element_cstr(xml, element, date);
}

/* What its parts get, if that was asked for when it began. */
static void write_checksum(XmlWriter *xml, S3Algorithm algorithm, bool full_object)
{
    if (algorithm == S3_CHECKSUM_NONE) return;
    xml_element_cstr(xml, "ChecksumAlgorithm", s3_checksums[algorithm].name);
    xml_element_cstr(xml, "ChecksumType", s3_checksum_type(full_object));
}

/* --- ListParts --- */

static void write_part(XmlWriter *xml, const UploadPart *part)
{
    xml_begin(xml, "Part");
    xml_element_u64(xml, "PartNumber", part->number);
    write_time(xml, "LastModified", part->updated_ms);
    write_etag(xml, part->md5);
    xml_element_u64(xml, "Size", part->size);
    s3_part_checksum_xml(xml, part);
    xml_end(xml, "Part");
}

static void write_parts(S3Call *call, XmlWriter *xml, const UploadPart *parts, size_t count,
                        bool more)
{
    const UploadFound *upload = &call->multipart->upload;
    char id[ID128_TEXT_LEN + 1];
    id128_text(upload->id, id);
    xml_element(xml, "Bucket", call->bucket);
    xml_element(xml, "Key", call->key);
    xml_element_cstr(xml, "UploadId", id);
    s3_write_owner(xml, "Initiator");
    s3_write_owner(xml, "Owner");
    xml_element_cstr(xml, "StorageClass", "STANDARD");
    write_checksum(xml, (S3Algorithm)upload->record.checksum, upload->record.full_object);
    if (more && count > 0) xml_element_u64(xml, "NextPartNumberMarker", parts[count - 1].number);
    xml_element_cstr(xml, "IsTruncated", more ? "true" : "false");
    for (size_t i = 0; i < count; i++)
        write_part(xml, &parts[i]);
}

static ErrCode list_parts(S3Call *call, XmlWriter *xml, UploadPart *parts, Err *err)
{
    ServiceReader *reader = NULL;
    uint64_t max = 0;
    uint64_t after = INT32_MAX;
    size_t count = 0;
    Str marker = {NULL, 0};
    TRY(s3_find_open_upload(call, err));
    TRY(s3_query_number(call, "max-parts", PARTS_MAX, &max, err));
    TRY(s3_query(call, "part-number-marker", &marker, err));
    TRY(s3_query_number(call, "part-number-marker", after, &after, err));
    if (marker.len == 0) after = 0;
    TRY(s3_reader(call, &reader, err));
    TRY(service_list_parts(reader, call->multipart->upload.id,
                           (unsigned)MIN(after, (uint64_t)UPLOAD_PART_MAX), parts, (size_t)max + 1,
                           &count, err));
    bool more = count > max;
    xml_begin(xml, "ListPartsResult" S3_XMLNS);
    xml_element_u64(xml, "PartNumberMarker", after);
    xml_element_u64(xml, "MaxParts", max);
    write_parts(call, xml, parts, MIN(count, (size_t)max), more && max > 0);
    xml_end(xml, "ListPartsResult");
    return OK;
}

void s3_part_list(S3Call *call)
{
    Err err = {0};
    AUTO_BUF(body, PARTS_XML_MAX);
    AUTO(void, mem_free) parts = mem_new_array(PARTS_MAX + 1, sizeof(UploadPart));
    XmlWriter xml;
    xml_writer_init(&xml, &body);
    ErrCode code = list_parts(call, &xml, parts, &err);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_answer_xml(call, &xml, &body);
}

/* --- ListMultipartUploads --- */

typedef struct {
    Str key; /* of an upload, or a common prefix; heap memory */
    bool is_prefix;
    FileId id;
    S3Algorithm checksum;
    bool full_object; /* else the checksum is composite */
} Row;

typedef struct {
    S3Call *call;
    BucketUid bucket;
    bool url;
    Str prefix;
    Str delimiter;
    Str key_marker;
    Str id_marker;
    uint64_t max;
    Row *rows; /* the first max + 1 behind the marker, of those seen */
    size_t count;
} Page;

static void page_deinit(Page *page)
{
    for (size_t i = 0; i < page->count; i++)
        mem_free((void *)(uintptr_t)page->rows[i].key.ptr);
    mem_free(page->rows);
}

static int compare(const Row *a, const Row *b)
{
    int order = str_cmp(a->key, b->key);
    if (order != 0) return order;
    if (a->is_prefix || b->is_prefix) return (int)b->is_prefix - (int)a->is_prefix;
    return id128_cmp(a->id, b->id);
}

/* Rolls a row up under the delimiter. */
static void roll_up(const Page *page, Row *row)
{
    Str d = page->delimiter;
    for (size_t i = page->prefix.len; d.len > 0 && i + d.len <= row->key.len; i++) {
        if (!str_eq(str_slice(row->key, i, d.len), d)) continue;
        row->key = str_slice(row->key, 0, i + d.len);
        row->is_prefix = true;
        return;
    }
}

/* Does the page begin behind it? */
static bool is_before(const Page *page, const Row *row)
{
    if (page->key_marker.len == 0) return false;
    int order = str_cmp(row->key, page->key_marker);
    if (order != 0 || row->is_prefix) return order <= 0;
    FileId marker;
    return !id128_parse(page->id_marker, &marker) || id128_cmp(row->id, marker) <= 0;
}

static ErrCode insert(Page *page, Row row, Err *err)
{
    size_t low = 0;
    size_t high = page->count;
    void *key = NULL;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(&page->rows[middle], &row);
        if (order == 0) return OK; /* the prefix is there */
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > page->max) return OK;
    TRY(mem_take(row.key.len + 1, &key, err));
    memcpy(key, row.key.ptr, row.key.len);
    row.key.ptr = key;
    if (page->count > page->max) { /* the last one is of another page */
        page->count--;
        mem_free((void *)(uintptr_t)page->rows[page->count].key.ptr);
    }
    memmove(&page->rows[low + 1], &page->rows[low], (page->count - low) * sizeof row);
    page->rows[low] = row;
    page->count++;
    return OK;
}

static ErrCode see_upload(void *ctx, FileId id, const UploadRecord *record, bool *wanted, Err *err)
{
    Page *page = ctx;
    Row row = {.key = record->key,
               .id = id,
               .checksum = (S3Algorithm)record->checksum,
               .full_object = record->full_object};
    bool asked = !*wanted;
    if (!record->parts || record->bucket != page->bucket) return OK;
    if (!str_starts_with(record->key, page->prefix)) return OK;
    const Identity *who = &page->call->auth.identity;
    if (auth_allows_file(who, RIGHT_WRITE, page->call->bucket, record->key, NULL) != OK) return OK;
    roll_up(page, &row);
    if (is_before(page, &row)) return OK;
    *wanted = true; /* if it goes on */
    return asked ? OK : insert(page, row, err);
}

static ErrCode read_query(Page *page, Err *err)
{
    S3Call *call = page->call;
    Str text = {NULL, 0};
    BucketRecord record;
    if (!buckets_find(service_buckets(call->service), call->bucket, &record))
        return err_set(err, ERR_NO_BUCKET, "The specified bucket does not exist");
    page->bucket = record.uid;
    TRY(s3_query_name(call, "prefix", &page->prefix, err));
    TRY(s3_query_name(call, "delimiter", &page->delimiter, err));
    TRY(s3_query_name(call, "key-marker", &page->key_marker, err));
    TRY(s3_query(call, "upload-id-marker", &page->id_marker, err));
    TRY(s3_query_number(call, "max-uploads", UPLOADS_MAX, &page->max, err));
    TRY(s3_query(call, "encoding-type", &text, err));
    page->url = str_eq(text, STR("url"));
    if (text.len > 0 && !page->url)
        return err_set(err, ERR_INVALID, "Invalid Encoding Method specified in Request");
    return OK;
}

static void write_upload(const Page *page, XmlWriter *xml, const Row *row)
{
    char id[ID128_TEXT_LEN + 1];
    id128_text(row->id, id);
    xml_begin(xml, "Upload");
    s3_write_name(xml, page->url, "Key", row->key);
    xml_element_cstr(xml, "UploadId", id);
    s3_write_owner(xml, "Initiator");
    s3_write_owner(xml, "Owner");
    xml_element_cstr(xml, "StorageClass", "STANDARD");
    write_time(xml, "Initiated", file_id_created_ms(row->id));
    write_checksum(xml, row->checksum, row->full_object);
    xml_end(xml, "Upload");
}

static void write_uploads(const Page *page, XmlWriter *xml)
{
    bool more = page->count > page->max && page->max > 0;
    size_t count = MIN(page->count, (size_t)page->max);
    xml_begin(xml, "ListMultipartUploadsResult" S3_XMLNS);
    xml_element(xml, "Bucket", page->call->bucket);
    s3_write_name(xml, page->url, "KeyMarker", page->key_marker);
    xml_element(xml, "UploadIdMarker", page->id_marker);
    s3_write_name(xml, page->url, "Prefix", page->prefix);
    if (page->delimiter.len > 0) s3_write_name(xml, page->url, "Delimiter", page->delimiter);
    if (page->url) xml_element_cstr(xml, "EncodingType", "url");
    xml_element_u64(xml, "MaxUploads", page->max);
    xml_element_cstr(xml, "IsTruncated", more ? "true" : "false");
    if (more) {
        const Row *last = &page->rows[count - 1];
        char id[ID128_TEXT_LEN + 1] = "";
        if (!last->is_prefix) id128_text(last->id, id);
        s3_write_name(xml, page->url, "NextKeyMarker", last->key);
        xml_element_cstr(xml, "NextUploadIdMarker", id);
    }
    for (size_t i = 0; i < count; i++)
        if (!page->rows[i].is_prefix) write_upload(page, xml, &page->rows[i]);
    for (size_t i = 0; i < count; i++) {
        if (!page->rows[i].is_prefix) continue;
        xml_begin(xml, "CommonPrefixes");
        s3_write_name(xml, page->url, "Prefix", page->rows[i].key);
        xml_end(xml, "CommonPrefixes");
    }
    xml_end(xml, "ListMultipartUploadsResult");
}

static ErrCode list_uploads(Page *page, Err *err)
{
    ServiceReader *reader = NULL;
    uint64_t now_ms = clock_wall_ms(page->call->s3->options.clock);
    TRY(read_query(page, err));
    TRY(s3_reader(page->call, &reader, err));
    page->rows = mem_new_array((size_t)page->max + 2, sizeof *page->rows);
    unsigned class = service_class(page->call->service, page->call->bucket);
    return service_each_upload(reader, class, now_ms, see_upload, page, err);
}

void s3_bucket_uploads(S3Call *call)
{
    Err err = {0};
    Page page = {.call = call};
    AUTO_BUF(body, UPLOADS_XML_MAX);
    XmlWriter xml;
    xml_writer_init(&xml, &body);
    ErrCode code = list_uploads(&page, &err);
    if (code == OK) write_uploads(&page, &xml);
    page_deinit(&page);
    if (code != OK)
        s3_answer_error(call, code, &err);
    else
        s3_answer_xml(call, &xml, &body);
}
