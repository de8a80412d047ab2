/* Buckets by name: a copy in memory of the bucket records of the system shard, for every request's
 * first look-up, and what each bucket holds: exact at every moment, for the engine counts each
 * change when it is committed. Read by any thread, changed by the engine. */
#ifndef HOLDFAST_SERVICE_BUCKETS_H
#define HOLDFAST_SERVICE_BUCKETS_H

#include "auth/auth.h"
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
/* The record of a bucket uid; false if there is none. */
bool buckets_by_uid(Buckets *buckets, BucketUid uid, BucketRecord *out);
/* What it holds of committed files; zeros if there is no such bucket. */
void buckets_usage(Buckets *buckets, BucketUid uid, BucketStatRow *out);
/* The same of all of them. */
void buckets_totals(Buckets *buckets, BucketStatRow *out);
void buckets_set_usage(Buckets *buckets, BucketUid uid, const BucketStatRow *usage);

/* Would a change that makes so much more (or less) of a bucket keep its quotas? Decided for all
 * that is appended, so that no number of racers passes them. */
typedef enum {
    BUCKET_FITS,
    BUCKET_FULL,    /* no, even if all that is under way and makes less is committed */
    BUCKET_MAY_FILL /* not if all that is under way is committed: ask again when it is */
} BucketFit;
BucketFit buckets_fit(Buckets *buckets, BucketUid uid, int64_t files, int64_t bytes);
/* A change was appended, and then committed: from then on it counts. */
void buckets_appended(Buckets *buckets, BucketUid uid, int64_t files, int64_t bytes);
void buckets_committed(Buckets *buckets, BucketUid uid, int64_t files, int64_t bytes);
/* One that was appended is not under way any more: nobody knows whether it will be again. */
void buckets_withdrawn(Buckets *buckets, BucketUid uid, int64_t files, int64_t bytes);

/* Bytes that unfinished uploads keep for files to be of the bucket. They count to its quota when
 * more of them come, not when a file is made of them. */
void buckets_add_uploads(Buckets *buckets, BucketUid uid, int64_t bytes);
/* Do so many bytes more of uploads keep the quota, with what it holds and what is under way? */
bool buckets_uploads_fit(Buckets *buckets, BucketUid uid, uint64_t bytes);

/* Keeps what is known of the usage of a bucket of that uid. */
void buckets_put(Buckets *buckets, Str name, const BucketRecord *record);
void buckets_remove(Buckets *buckets, Str name);
size_t buckets_count(Buckets *buckets);
/* First bucket whose name is > after (empty: the first), into name; false at the end. */
bool buckets_next(Buckets *buckets, Str after, char name[BUCKET_NAME_MAX + 1], BucketRecord *out);
/* The same of those that who may know of. */
bool buckets_next_seen(Buckets *buckets, const Identity *who, Str after,
                       char name[BUCKET_NAME_MAX + 1], BucketRecord *out);

AUTO_DEFINE(Buckets, buckets_free);

#endif
