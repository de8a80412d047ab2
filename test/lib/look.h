/* Look-ups that unit tests rest on: what is not there fails the test. One thread. */
#ifndef HOLDFAST_TEST_LIB_LOOK_H
#define HOLDFAST_TEST_LIB_LOOK_H

#include "service/buckets.h"
#include "store/store.h"

/* The number of a bucket. */
BucketUid look_bucket(Buckets *buckets, Str name);
/* The current version of a file, committed, as store_find() gives it. */
StoreFound look_file(StoreReader *reader, Buckets *buckets, Str bucket, Str key);

#endif
