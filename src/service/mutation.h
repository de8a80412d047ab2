/* Mutation: one change that a door asks for, and its result. The door makes it, fills in what it
 * wants, hands it to service_submit() and gets it back by done(), exactly once. Until then it
 * belongs to the engine; all memory that it points to must stay.
 *
 * Outcomes: OK is durable and visible. ERR_OUTCOME_UNKNOWN may or may not have been done. Every
 * other error changed nothing. */
#ifndef HOLDFAST_SERVICE_MUTATION_H
#define HOLDFAST_SERVICE_MUTATION_H

#include "format/bucket.h"
#include "format/row.h"
#include "place/place.h"

/* The numbers are in the hashes of requests that are kept: none ever changes. */
typedef enum {
    MUTATION_PUT = 1, /* create or update (bucket, key) */
    MUTATION_CREATE =
        2, /* create (bucket, key); key empty: 26 random characters; else ERR_EXISTS */
    MUTATION_UPDATE = 3,        /* new content for `file`, which must exist */
    MUTATION_DELETE = 4,        /* (bucket, key); ERR_NOT_FOUND if absent */
    MUTATION_DELETE_FILE = 5,   /* `file` */
    MUTATION_BUCKET_CREATE = 6, /* ERR_BUCKET_EXISTS; with settings one that is there gets them */
    MUTATION_BUCKET_DELETE = 7  /* ERR_NO_BUCKET, ERR_BUCKET_NOT_EMPTY */
} MutationType;

/* What a reply says of how safe it is. */
typedef struct {
    uint32_t synced; /* copies that have it on disk */
    uint32_t copies; /* of so many */
    uint32_t disks;  /* devices among the synced copies */
    uint32_t zones;
} Durability;

/* What a bucket is told to be; what is not set stays as it is. */
typedef struct {
    bool has_quota_bytes;
    bool has_quota_files;
    uint64_t quota_bytes; /* 0: none */
    uint64_t quota_files;
} BucketSettings;

typedef struct Mutation Mutation;
struct Mutation {
    MutationType type;

    /* In. Views; they stay the door's. */
    Str bucket; /* name */
    Str key;
    FileId file;       /* UPDATE, DELETE_FILE */
    VersionId version; /* DELETE, DELETE_FILE: only if that is the current one; zero: any */
    Str if_match;      /* header values; ptr NULL: absent. Decided where the lsn is given */
    Str if_none_match;
    bool has_unmodified_since;    /* only if the file was not changed since, to the second, and */
    uint64_t unmodified_since_ms; /* without if_match; an absent file has no such time */
    BucketSettings settings;      /* BUCKET_CREATE */
    Str attrs;             /* encoded attributes of the version: content type, file name, meta …
                              without ATTR_KEY and ATTR_CREATED_MS, which the engine adds */
    Str inline_body;       /* ≤ INLINE_MAX; else extents */
    const Extent *extents; /* durable already (blob_writer_finish()) */
    uint32_t extent_count;
    BodyId body;   /* of the extents; an inline body has none, its version names it */
    uint64_t size; /* bytes of the body */
    Sha256 digest; /* of the body */
    /* With has_request: a repeat of a change that was made within STORE_REQUEST_KEEP_MS changes
     * nothing and is answered as that one was; by repeated it is told apart. The same request with
     * another request_hash is ERR_IDEMPOTENCY. A CREATE without a key gets the request's text as
     * its key. Not for buckets. */
    bool has_request;
    RequestId request;
    Sha256 request_hash; /* of all that makes the change what it is */
    /* Not OK: a door's refusal, its text in err, which repeats alone do not get. The body need not
     * be there, only its size and digest. */
    ErrCode refusal;
    void (*done)(Mutation *mutation); /* called on the engine's thread; be quick */
    void *ctx;                        /* the door's */
    Mutation *also; /* handed in with this one and decided right behind it, so that both go to the
                       log together; NULL: none. done() is called for each */

    /* Out. */
    ErrCode code;
    Err err;
    bool created;  /* PUT: CREATE (true) or UPDATE; BUCKET_CREATE: it was not there */
    bool repeated; /* it was made before, by this request */
    FileRow row;   /* the new version; views into the mutation until mutation_deinit() */
    Str row_key;   /* its key */
    BucketRecord bucket_record;
    Durability durability;

    /* The engine's. */
    Buf attr_buf;
    Buf key_buf;
    Mutation *next;
    ShardId shard;
    Lsn wait_lsn; /* answered when this lsn of shard is committed */
    bool queued;
    int64_t files_delta; /* of the bucket */
    int64_t bytes_delta;
};

/* All zero, buffers empty. */
void mutation_init(Mutation *mutation, MutationType type);
void mutation_deinit(Mutation *mutation);

#endif
