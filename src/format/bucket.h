/* The record of a bucket: value of ATTR_BUCKET_RECORD of the file "bucket/NAME" in the system name
 * space (bucket uid 0, system shard). Pure. */
#ifndef HOLDFAST_FORMAT_BUCKET_H
#define HOLDFAST_FORMAT_BUCKET_H

#include "base/buf.h"
#include "format/ids.h"

/* When a write is acknowledged. */
typedef enum {
    PLACE_SYNC = 1, /* committed: synced by every in-sync copy that `require` means */
    PLACE_ASYNC = 2 /* synced by the primary alone; the reply says so */
} PlaceMode;

/* Which copies a synchronous write waits for. */
typedef enum {
    PLACE_REQUIRE_IN_SYNC = 1, /* the in-sync set, at least min_isr */
    PLACE_REQUIRE_ALL = 2      /* every member: no writes while one is missing */
} PlaceRequire;

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
    PlaceMode mode;
    PlaceRequire require; /* PLACE_REQUIRE_IN_SYNC with PLACE_ASYNC */
    Str extra;            /* attributes, those of later releases too */
} BucketRecord;

#define BUCKET_KEY_PREFIX "bucket/"
/* Encoded bytes of all but `extra`, and of the entry's other attributes, at most. */
#define BUCKET_RECORD_FIXED_MAX 256

/* mode and require are not encoded but by what bucket_set_writes() put into extra. */
void bucket_record_encode(const BucketRecord *record, Enc *enc);
MUST_USE ErrCode bucket_record_decode(Str data, BucketRecord *out, Err *err);
/* Says mode and require in the attributes that become a record's extra. ERR_TOO_BIG. */
MUST_USE ErrCode bucket_set_writes(Buf *extra, PlaceMode mode, PlaceRequire require, Err *err);

#endif
