/* Buckets by name: a copy in memory of the bucket records of the system shard, for every request's
 * first look-up. Read by any thread, changed by the engine when a change is committed. */
#ifndef HOLDFAST_SERVICE_BUCKETS_H
#define HOLDFAST_SERVICE_BUCKETS_H

#include "format/bucket.h"
#include "store/store.h"

typedef struct Buckets Buckets;

Buckets *buckets_new(void);
void buckets_free(Buckets *buckets); /* NULL is fine */
/* Reads all of them from the store (committed ones; at start, when the system shard is ready). */
MUST_USE ErrCode buckets_load(Buckets *buckets, StoreReader *reader, Err *err);
/* False if there is no such bucket. */
bool buckets_find(Buckets *buckets, Str name, BucketRecord *out);
/* The name of a bucket uid into name[BUCKET_NAME_MAX + 1]; false if there is none. */
bool buckets_name(Buckets *buckets, BucketUid uid, char *name);
void buckets_put(Buckets *buckets, Str name, const BucketRecord *record);
void buckets_remove(Buckets *buckets, Str name);
size_t buckets_count(Buckets *buckets);
/* First bucket whose name is > after (empty: the first), into name; false at the end. */
bool buckets_next(Buckets *buckets, Str after, char name[BUCKET_NAME_MAX + 1], BucketRecord *out);

AUTO_DEFINE(Buckets, buckets_free);

#endif
