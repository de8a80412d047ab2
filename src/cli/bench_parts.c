#include "cli/bench_parts.h"

#include <inttypes.h>

#include "text/uri.h"

#define UPLOAD_MAX 4096 /* bytes of an upload's id, encoded */
#define XML_MAX (4 * MIB)
#define XML_BEGIN "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
#define XML_END "</CompleteMultipartUpload>"

void bench_parts_init(BenchParts *parts, uint64_t size, uint64_t part_size)
{
    ASSERT(part_size > 0);
    *parts = (BenchParts){.size = size, .part_size = part_size, .number = 1};
    buf_init(&parts->upload, UPLOAD_MAX);
    buf_init(&parts->xml, XML_MAX);
}

void bench_parts_deinit(BenchParts *parts)
{
    buf_deinit(&parts->upload);
    buf_deinit(&parts->xml);
}

static uint64_t part_begin(const BenchParts *parts)
{
    return (parts->number - 1) * parts->part_size;
}

uint64_t bench_parts_length(const BenchParts *parts)
{
    return MIN(parts->part_size, parts->size - part_begin(parts));
}

ErrCode bench_parts_query(const BenchParts *parts, Buf *out, Err *err)
{
    if (parts->step == BENCH_PARTS_BEGIN) return buf_append_str(out, STR("uploads="), err);
    if (parts->step == BENCH_PARTS_SEND) TRY(buf_printf(out, err, "partNumber=%u&", parts->number));
    return buf_printf(out, err, "uploadId=%.*s", STR_ARG(buf_str(&parts->upload)));
}

ErrCode bench_parts_close(BenchParts *parts, Err *err)
{
    return buf_append_str(&parts->xml, STR(XML_END), err);
}

void bench_parts_header(BenchParts *parts, Str name, Str value)
{
    if (parts->step != BENCH_PARTS_SEND || !str_eq_nocase(name, STR("etag"))) return;
    ErrCode code = parts->xml.len > 0 ? OK : buf_append_str(&parts->xml, STR(XML_BEGIN), NULL);
    if (code == OK)
        code = buf_printf(&parts->xml, NULL,
                          "<Part><PartNumber>%u</PartNumber><ETag>%.*s</ETag></Part>",
                          parts->number, STR_ARG(value));
    parts->has_etag = code == OK;
}

/* The text of the first element of that name; empty: there is none. */
static Str text_of(Str xml, Str begin)
{
    for (size_t i = 0; i + begin.len <= xml.len; i++) {
        if (!str_eq(str_slice(xml, i, begin.len), begin)) continue;
        Str rest = str_slice(xml, i + begin.len, xml.len);
        return str_slice(rest, 0, str_find_char(rest, '<'));
    }
    return (Str){NULL, 0};
}

ErrCode bench_parts_answer(BenchParts *parts, Str body, Err *err)
{
    bool good = true;
    if (parts->step == BENCH_PARTS_BEGIN) {
        Str id = text_of(body, STR("<UploadId>"));
        good = id.len > 0 && uri_encode(&parts->upload, URI_ENCODE_ALL, id, NULL) == OK;
    } else if (parts->step == BENCH_PARTS_SEND) {
        good = parts->has_etag;
        parts->has_etag = false;
    } else if (parts->step == BENCH_PARTS_COMPLETE) {
        good = text_of(body, STR("<ETag>")).len > 0; /* it may fail with the status 200 */
    }
    return good ? OK : err_set(err, ERR_PEER, "an answer about an upload in parts is none of S3's");
}

bool bench_parts_further(BenchParts *parts, const Err *failure)
{
    if (failure != NULL) {
        if (parts->step == BENCH_PARTS_ABORT || parts->upload.len == 0) return false;
        parts->failure = *failure;
        parts->step = BENCH_PARTS_ABORT;
        return true;
    }
    switch (parts->step) {
    case BENCH_PARTS_BEGIN: parts->step = BENCH_PARTS_SEND; return true;
    case BENCH_PARTS_SEND:
        if (part_begin(parts) + bench_parts_length(parts) < parts->size)
            parts->number++;
        else
            parts->step = BENCH_PARTS_COMPLETE;
        return true;
    case BENCH_PARTS_COMPLETE:
    case BENCH_PARTS_ABORT: break;
    }
    return false;
}
