/* BenchParts: one file that `holdfast bench` uploads in parts, one request after the other.
 *
 *   BEGIN ─▶ SEND, once for each part ─▶ COMPLETE
 *              └──── any of these failed ───▶ ABORT
 *
 * Source: Amazon S3 API Reference, CreateMultipartUpload to AbortMultipartUpload. */
#ifndef HOLDFAST_CLI_BENCH_PARTS_H
#define HOLDFAST_CLI_BENCH_PARTS_H

#include "base/buf.h"
#include "cli/client.h"

#define BENCH_PARTS_MAX 10000
#define BENCH_PART_SIZE_MIN (5 * MIB)
#define BENCH_PART_SIZE_PRESET (8 * MIB)

typedef enum {
    BENCH_PARTS_BEGIN,
    BENCH_PARTS_SEND,
    BENCH_PARTS_COMPLETE,
    BENCH_PARTS_ABORT
} BenchPartsStep;

typedef struct {
    BenchPartsStep step;
    uint64_t size;      /* of the file, bytes */
    uint64_t part_size; /* of all parts but the last */
    unsigned number;    /* of the part, from 1 */
    Buf upload;         /* its id, as a query holds it; empty: not begun */
    Buf xml;            /* of COMPLETE: the parts that are there */
    bool has_etag;      /* the part's answer told one */
    Err failure;        /* why it is aborted */
} BenchParts;

void bench_parts_init(BenchParts *parts, uint64_t size, uint64_t part_size);
void bench_parts_deinit(BenchParts *parts);
/* Bytes of the part that is sent; the last is shorter, or as long as the others. */
uint64_t bench_parts_length(const BenchParts *parts);
/* Appends the query of this step, sorted by name. Errors: as buf_append(). */
MUST_USE ErrCode bench_parts_query(const BenchParts *parts, Buf *out, Err *err);
/* Appends the end of COMPLETE's body; before it is sent. Errors: as buf_append(). */
MUST_USE ErrCode bench_parts_close(BenchParts *parts, Err *err);
/* Each header of a part's answer: its ETag is kept. */
void bench_parts_header(BenchParts *parts, Str name, Str value);
/* An answer is there. ERR_PEER: it is none of S3's. */
MUST_USE ErrCode bench_parts_answer(BenchParts *parts, Str body, Err *err);
/* Goes on to the next step; false: that was the last one. failure: of a request that failed, else
 * NULL; the first one is kept. */
bool bench_parts_further(BenchParts *parts, const Err *failure);

#endif
