/* GetObjectAttributes. */
#include "api/s3/s3_priv.h"
#include "text/base64.h"
#include "text/dates.h"

#define XML_MAX (256 * KIB)
#define PARTS_MAX 1000 /* of one answer */

enum {
    WANT_ETAG = 1 << 0,
    WANT_CHECKSUM = 1 << 1,
    WANT_PARTS = 1 << 2,
    WANT_CLASS = 1 << 3,
    WANT_SIZE = 1 << 4,
};

static const char *const names[] = {"ETag", "Checksum", "ObjectParts", "StorageClass",
                                    "ObjectSize"};

typedef struct {
    unsigned wanted;
    uint64_t max_parts;
    uint64_t marker; /* parts behind this one */
} Query;

static ErrCode read_names(Str list, unsigned *wanted, Err *err)
{
    while (list.len > 0) {
        Str name;
        size_t i = 0;
        str_split(list, ',', &name, &list);
        name = str_trim(name);
        while (i < ARRAY_LEN(names) && !str_eq(name, str_from_cstr(names[i])))
            i++;
        if (i == ARRAY_LEN(names))
            return err_set(err, ERR_INVALID, "Invalid attribute name specified.");
        *wanted |= 1U << i;
    }
    return OK;
}

static ErrCode read_number(S3Call *call, const char *name, uint64_t *out, Err *err)
{
    Str text = s3_header(call, name);
    if (text.ptr == NULL || str_to_u64(text, INT32_MAX, out)) return OK;
    return err_set(err, ERR_INVALID, "%s is a number between 0 and %d", name, INT32_MAX);
}

static ErrCode read_query(S3Call *call, Query *query, Err *err)
{
    for (size_t i = 0; i < call->header_count; i++)
        if (str_eq_nocase(call->headers[i].name, STR("x-amz-object-attributes")))
            TRY(read_names(call->headers[i].value, &query->wanted, err));
    if (query->wanted == 0)
        return s3_refuse(call, S3_ERR_INVALID_REQUEST,
                         "The x-amz-object-attributes header specifying the attributes to be "
                         "retrieved is either missing or empty",
                         err);
    TRY(read_number(call, "x-amz-max-parts", &query->max_parts, err));
    query->max_parts = MIN(query->max_parts, (uint64_t)PARTS_MAX);
    return read_number(call, "x-amz-part-number-marker", &query->marker, err);
}

/* Of the parts of a composite SHA-256 their own is known: it is the extent's. */
static bool has_part_sha256(const FileRow *row)
{
    Str value;
    return attr_get(row->attrs, ATTR_CHECKSUM, &value) && value.len > 2 &&
           value.ptr[0] == S3_CHECKSUM_SHA256 && value.ptr[1] == S3_CHECKSUM_COMPOSITE;
}

static void write_part(XmlWriter *xml, const FileRow *row, uint64_t i, bool sha256)
{
    bool there = i < row->extent_count;
    Extent extent = there ? extent_at(row->extents, (uint32_t)i) : (Extent){0};
    xml_begin(xml, "Part");
    xml_element_u64(xml, "PartNumber", i + 1);
    xml_element_u64(xml, "Size", extent.size);
    if (sha256) {
        char text[(SHA256_LEN + 2) / 3 * 4 + 1];
        Sha256 digest = there ? extent.digest : sha256_of("", 0);
        base64_encode(digest.bytes, SHA256_LEN, text);
        xml_element_cstr(xml, s3_checksums[S3_CHECKSUM_SHA256].xml, text);
    }
    xml_end(xml, "Part");
}

/* Parts are the file's extents, but for an empty last one. */
static void write_parts(XmlWriter *xml, const FileRow *row, const Query *query)
{
    unsigned count = s3_parts_of(row);
    uint64_t from = MIN(query->marker, (uint64_t)count);
    uint64_t end = MIN(from + query->max_parts, (uint64_t)count);
    if (count == 0) return; /* it did not come in parts */
    xml_begin(xml, "ObjectParts");
    xml_element_cstr(xml, "IsTruncated", end < count ? "true" : "false");
    xml_element_u64(xml, "MaxParts", query->max_parts);
    xml_element_u64(xml, "NextPartNumberMarker", end);
    xml_element_u64(xml, "PartNumberMarker", query->marker);
    xml_element_u64(xml, "PartsCount", count);
    bool sha256 = has_part_sha256(row);
    for (uint64_t i = from; i < end; i++)
        write_part(xml, row, i, sha256);
    xml_end(xml, "ObjectParts");
}

static void write_attributes(XmlWriter *xml, const FileRow *row, const Query *query)
{
    char etag[ETAG_MAX];
    Str checksum;
    file_row_etag(row, etag);
    xml_begin(xml, "GetObjectAttributesResponse" S3_XMLNS);
    if ((query->wanted & WANT_ETAG) != 0) xml_element_cstr(xml, "ETag", etag);
    if ((query->wanted & WANT_CHECKSUM) != 0 && attr_get(row->attrs, ATTR_CHECKSUM, &checksum)) {
        xml_begin(xml, "Checksum");
        s3_checksum_xml(xml, row->attrs);
        xml_end(xml, "Checksum");
    }
    if ((query->wanted & WANT_PARTS) != 0) write_parts(xml, row, query);
    if ((query->wanted & WANT_CLASS) != 0) xml_element_cstr(xml, "StorageClass", "STANDARD");
    if ((query->wanted & WANT_SIZE) != 0) xml_element_u64(xml, "ObjectSize", row->size);
    xml_end(xml, "GetObjectAttributesResponse");
}

void s3_attributes(S3Call *call)
{
    Query query = {.max_parts = PARTS_MAX};
    StoreFound found;
    Err err = {0};
    char date[DATE_HTTP_SIZE];
    AUTO_BUF(body, XML_MAX);
    XmlWriter xml;
    ErrCode code = read_query(call, &query, &err);
    if (code == OK) code = s3_find_object(call, &found, &err);
    if (code != OK) {
        s3_answer_error(call, code, &err);
        return;
    }
    date_format_http(found.row.updated_ms, date);
    http_header_add(call->req, "Last-Modified", str_from_cstr(date));
    s3_version_header(call, &found.row);
    xml_writer_init(&xml, &body);
    write_attributes(&xml, &found.row, &query);
    s3_answer_xml(call, &xml, &body);
}
