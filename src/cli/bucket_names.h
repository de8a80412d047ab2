/* BucketNames: what a stopped root's index calls its buckets, for texts. One thread's. */
#ifndef HOLDFAST_CLI_BUCKET_NAMES_H
#define HOLDFAST_CLI_BUCKET_NAMES_H

#include "disk/disk.h"
#include "format/bucket.h"

typedef struct {
    struct {
        BucketUid uid;
        char name[BUCKET_NAME_MAX + 1];
    } * items;
    size_t count;
    size_t capacity;
} BucketNames;

/* Reads the names that index.db holds; an index that is damaged gives fewer, or none. */
void bucket_names_read(BucketNames *names, Disk *disk);
/* NULL: it is not known. */
const char *bucket_names_find(const BucketNames *names, BucketUid uid);
void bucket_names_deinit(BucketNames *names);

#endif
