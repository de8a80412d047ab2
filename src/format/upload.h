/* The record of an upload that goes on: value of ATTR_UPLOAD_RECORD of a file in the uploads' name
 * space (bucket uid BUCKET_UID_UPLOADS, key: the upload's id in text, shard: that of the file to
 * be). The bytes that are kept so far are that file's body; of an upload in parts each part is a
 * file of that name space and shard, its key the upload's, a slash and five digits, and has no
 * record. Pure. */
#ifndef HOLDFAST_FORMAT_UPLOAD_H
#define HOLDFAST_FORMAT_UPLOAD_H

#include "base/err.h"
#include "format/ids.h"

typedef struct {
    BucketUid bucket; /* of the file to be */
    Str key;
    bool create_only; /* the file must be new when it comes to be */
    bool has_length;  /* else it is told later */
    bool parts;       /* it comes in parts that have numbers, in any order */
    uint8_t
        checksum; /* with parts: algorithm of ATTR_CHECKSUM that the file is to have; 0: any … */
    bool full_object; /* … of all its bytes, not of its parts' checksums */
    uint64_t length;  /* bytes of the file to be */
    uint64_t expires_ms;
    Str owner;    /* identity that began it */
    Str attrs;    /* encoded attributes of the file to be */
    Str metadata; /* Upload-Metadata as it was sent */
    Str hash;     /* state of the SHA-256 of the bytes so far (base/hash_run.h); empty: of none */
    Str extra;    /* attributes of later releases, kept */
} UploadRecord;

/* Bytes of an encoded record at most: what goes in is bounded by a request's head. */
#define UPLOAD_RECORD_MAX (60 * 1024)

/* Numbers of parts, and the key of one: out has UPLOAD_PART_KEY_LEN bytes and a NUL. */
#define UPLOAD_PART_MAX 10000
#define UPLOAD_PART_KEY_LEN (ID128_TEXT_LEN + 6)
void upload_part_key(FileId upload, unsigned number, char out[UPLOAD_PART_KEY_LEN + 1]);
/* The number of a part's key; 0: it is none. */
unsigned upload_part_number(Str key);

void upload_record_encode(const UploadRecord *record, Enc *enc);
/* *out holds views into data. ERR_CORRUPT; ERR_FORMAT_VERSION of a newer release. */
MUST_USE ErrCode upload_record_decode(Str data, UploadRecord *out, Err *err);

#endif
