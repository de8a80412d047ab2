/* The record of a bucket: value of ATTR_BUCKET_RECORD of the file "bucket/NAME" in the system name
 * space (bucket uid 0, system shard). Pure. */
#ifndef HOLDFAST_FORMAT_BUCKET_H
#define HOLDFAST_FORMAT_BUCKET_H

#include "format/ids.h"

typedef enum { BUCKET_OPEN = 1, BUCKET_CLOSING = 2 } BucketPhase;
typedef enum { VERSIONING_OFF = 0, VERSIONING_ON = 1, VERSIONING_SUSPENDED = 2 } Versioning;

typedef struct {
    BucketUid uid;
    BucketPhase phase;
    Versioning versioning;
    uint8_t placement_class; /* 1..15; 0 is the system's */
    uint64_t created_ms;
    uint64_t quota_bytes; /* 0: none */
    uint64_t quota_files; /* 0: none */
    Str extra;            /* attributes of later releases, kept */
} BucketRecord;

#define BUCKET_KEY_PREFIX "bucket/"

void bucket_record_encode(const BucketRecord *record, Enc *enc);
MUST_USE ErrCode bucket_record_decode(Str data, BucketRecord *out, Err *err);

#endif
