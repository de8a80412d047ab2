#include "look.h"

#include "testing.h"

BucketUid look_bucket(Buckets *buckets, Str name)
{
    BucketRecord record;
    assert_true(buckets_find(buckets, name, &record));
    return record.uid;
}

StoreFound look_file(StoreReader *reader, Buckets *buckets, Str bucket, Str key)
{
    StoreFound found;
    bool there = false;
    Err err = {0};
    assert_ok(store_find(reader, look_bucket(buckets, bucket), key, NULL, STORE_COMMITTED, &found,
                         &there, &err),
              &err);
    assert_true(there);
    return found;
}
