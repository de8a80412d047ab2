/* The record of an access key: value of ATTR_IDENTITY_RECORD of the file "key/ID" in the system
 * name space (bucket uid 0, system shard). It holds the secret as it is: whoever checks a signature
 * needs it. Pure. */
#ifndef HOLDFAST_FORMAT_KEY_RECORD_H
#define HOLDFAST_FORMAT_KEY_RECORD_H

#include "format/ids.h"

#define KEY_RECORD_PREFIX "key/"
#define KEY_RECORD_MAX (16 * 1024) /* bytes of an encoded record */
#define KEY_LABEL_MAX 64           /* bytes of UTF-8, without control characters */
#define KEY_GRANTS_MAX 32
#define KEY_SECRET_STORED_MAX 128 /* bytes */

/* What is allowed; the numbers are stored. A bit that is not known grants nothing. */
typedef enum { GRANT_READ = 1 << 0, GRANT_WRITE = 1 << 1, GRANT_ADMIN = 1 << 2 } GrantRight;

typedef struct {
    uint8_t rights; /* of GrantRight */
    Str bucket;     /* a name, or "*": any */
    Str prefix;     /* of keys; empty: all of the bucket */
} KeyGrant;

typedef struct {
    Str secret;
    Str label; /* for people; not empty, need not be the only one */
    uint64_t created_ms;
    uint64_t expires_ms; /* 0: never */
    KeyGrant grants[KEY_GRANTS_MAX];
    size_t grant_count;
    Str extra; /* attributes of later releases, kept */
} KeyRecord;

bool key_label_valid(Str label);
/* Is bucket "*" or a name, and prefix one that keys may begin with? */
bool key_grant_valid(const KeyGrant *grant);
/* enc->failed beyond its room, as always; at least KEY_RECORD_MAX is enough for what is stored. */
void key_record_encode(const KeyRecord *record, Enc *enc);
/* *out holds views into data. ERR_CORRUPT; ERR_FORMAT_VERSION of a newer release. */
MUST_USE ErrCode key_record_decode(Str data, KeyRecord *out, Err *err);

#endif
