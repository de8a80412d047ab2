/* Sets of tags: read from XML (PutObjectTagging, PutBucketTagging) and from the header
 * x-amz-tagging, into the value of ATTR_TAGS (repeated str name, str value; docs/format.md). Pure.
 */
#ifndef HOLDFAST_API_S3_TAG_SET_H
#define HOLDFAST_API_S3_TAG_SET_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"

#define TAG_KEY_MAX 128   /* characters, at least 1 */
#define TAG_VALUE_MAX 256 /* characters */
#define TAGS_OF_OBJECT_MAX 10
#define TAGS_OF_BUCKET_MAX 50

/* What is wrong with a set. */
typedef enum {
    TAG_FAULT_NONE,
    TAG_FAULT_FORM,  /* not the form that it must have */
    TAG_FAULT_MANY,  /* more than max */
    TAG_FAULT_TWICE, /* two of one key */
    TAG_FAULT_KEY,   /* empty, too long, or of characters that no tag has */
    TAG_FAULT_VALUE, /* likewise, but for empty */
    TAG_FAULT_SYSTEM /* aws:…, which are not for clients to give */
} TagFault;

/* Appends the tags of a document to pairs, which is empty. ERR_INVALID, with *fault; ERR_TOO_BIG
 * beyond the Buf's maximum; ERR_NO_MEMORY. */
MUST_USE ErrCode tag_set_read_xml(Str xml, size_t max, Buf *pairs, TagFault *fault, Err *err);
/* The same of `a=1&b=2`, percent-encoded; decoded ones live in arena. */
MUST_USE ErrCode tag_set_read_query(Arena *arena, Str query, size_t max, Buf *pairs,
                                    TagFault *fault, Err *err);
/* The next tag of pairs; false at the end. */
bool tag_set_next(Dec *pairs, Str *key, Str *value);
size_t tag_set_count(Str pairs);

#endif
