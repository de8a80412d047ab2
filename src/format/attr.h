/* Attributes: type-length-value, in rising order of type, each type once. Unknown types are kept
 * and carried along: an older binary never drops what a newer one wrote. Stored in entries, packs
 * and index rows. Encoding: varint type, varint length, bytes. Pure; any thread. */
#ifndef HOLDFAST_FORMAT_ATTR_H
#define HOLDFAST_FORMAT_ATTR_H

#include "base/buf.h"
#include "base/codec.h"

typedef enum {
    ATTR_KEY = 1,              /* bytes of the object key */
    ATTR_CONTENT_TYPE = 2,     /* text */
    ATTR_ETAG = 3,             /* text without quotes; absent: derived from the body digest */
    ATTR_FILE_NAME = 4,        /* text for Content-Disposition */
    ATTR_USER_META = 5,        /* repeated (str name, str value) */
    ATTR_CREATED_MS = 6,       /* varint; absent: the file id's */
    ATTR_OWNER = 7,            /* identity id, text */
    ATTR_REQUEST_ID = 8,       /* 16 bytes: this entry writes a request row */
    ATTR_REQUEST_HASH = 9,     /* 32 bytes: what the request was, to refuse its key's reuse */
    ATTR_EXPIRES_MS = 10,      /* varint */
    ATTR_TAGS = 11,            /* repeated (str key, str value) */
    ATTR_RETENTION = 12,       /* u8 mode, varint until ms */
    ATTR_LEGAL_HOLD = 13,      /* u8 */
    ATTR_CHECKSUM = 14,        /* u8 algorithm, u8 flags, bytes: docs/format.md */
    ATTR_HTTP_HEADERS = 15,    /* repeated (str name, str value): Cache-Control and the like */
    ATTR_ENCRYPTION = 16,      /* key id, algorithm */
    ATTR_MD5 = 17,             /* 16 bytes of the body */
    ATTR_REQUEST_OP = 18,      /* u8: packs only, of a NOOP that stands for its request row */
    ATTR_BUCKET_RECORD = 32,   /* system shard: see format/bucket.h */
    ATTR_IDENTITY_RECORD = 33, /* system shard */
    ATTR_CONFIG = 34,          /* CONFIG entries: see format/config_entry.h */
    ATTR_UPLOAD_RECORD = 35,   /* the uploads' name space: see format/upload.h */
    ATTR_BUCKET_CORS = 36,     /* of a bucket's record: rules of cross-origin requests, XML */
    ATTR_BUCKET_WRITES = 37,   /* of a bucket's record: u8 PlaceMode, u8 PlaceRequire */
    ATTR_CLASS_RECORD = 38     /* system shard: see format/class_record.h */
} AttrType;

#define ATTRS_MAX (64 * 1024) /* bytes of all attributes of one entry */

typedef struct {
    uint64_t type;
    Str value; /* a view */
} Attr;

/* Steps through encoded attributes: *pos starts at 0; false at the end or at malformed bytes
 * (attrs_valid() told before). */
bool attr_next(Str attrs, size_t *pos, Attr *out);
/* Well-formed, rising, each type once, within ATTRS_MAX. */
bool attrs_valid(Str attrs);
/* The value of type; false if absent. */
bool attr_get(Str attrs, uint64_t type, Str *value);
bool attr_get_varint(Str attrs, uint64_t type, uint64_t *value);
/* Sets (or with value.ptr NULL removes) type in attrs, keeping the order. ERR_TOO_BIG beyond the
 * buffer's maximum. */
MUST_USE ErrCode attr_set(Buf *attrs, uint64_t type, Str value, Err *err);
MUST_USE ErrCode attr_set_varint(Buf *attrs, uint64_t type, uint64_t value, Err *err);

#endif
