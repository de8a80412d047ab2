/* Mutation: one change that a door asks for, and its result. The door makes it, fills in what it
 * wants, hands it to service_submit() and gets it back by done(), exactly once. Until then it
 * belongs to the engine; all memory that it points to must stay.
 *
 * Outcomes: OK is durable and visible. ERR_OUTCOME_UNKNOWN may or may not have been done. Every
 * other error changed nothing. */
#ifndef HOLDFAST_SERVICE_MUTATION_H
#define HOLDFAST_SERVICE_MUTATION_H

#include "format/bucket.h"
#include "format/key_record.h"
#include "format/row.h"
#include "place/place.h"
#include "store/store.h"

/* The numbers are in the hashes of requests that are kept: none ever changes. */
typedef enum {
    MUTATION_PUT = 1, /* create or update (bucket, key) */
    MUTATION_CREATE =
        2, /* create (bucket, key); key empty: 26 random characters; else ERR_EXISTS */
    MUTATION_UPDATE = 3,        /* new content for `file`, which must exist */
    MUTATION_DELETE = 4,        /* (bucket, key); ERR_NOT_FOUND if absent */
    MUTATION_DELETE_FILE = 5,   /* `file` */
    MUTATION_BUCKET_CREATE = 6, /* ERR_BUCKET_EXISTS; with settings one that is there gets them */
    MUTATION_BUCKET_DELETE = 7, /* ERR_NO_BUCKET, ERR_BUCKET_NOT_EMPTY */
    MUTATION_EXPIRE = 8, /* `version` of (bucket_uid, key), whose time is over; ERR_NOT_FOUND: it is
                            gone; ERR_PRECONDITION: not yet */
    MUTATION_TAG = 9,    /* `tags` for (bucket, key), or for `version` of it: no new version;
                            ERR_NOT_FOUND, with `marked` if that is a delete marker */
    MUTATION_KEY_CREATE = 10, /* an access key: its id is `key`, the rest key_record; ERR_EXISTS */
    MUTATION_KEY_REVOKE = 11, /* `key` is its id; ERR_NOT_FOUND */
    MUTATION_CLASS_SET = 12   /* placement class `key` with class_settings; `created`: it is new.
                                 ERR_INVALID, ERR_QUOTA_EXCEEDED: it can't be so */
} MutationType;

/* What a reply says of how safe it is. */
typedef struct {
    uint32_t synced; /* copies that have it on disk */
    uint32_t copies; /* of so many */
    uint32_t disks;  /* devices among the synced copies */
    uint32_t zones;
} Durability;
/* As both doors say it in Holdfast-Durability. */
#define DURABILITY_FORMAT "synced=%" PRIu32 "/%" PRIu32 "; disks=%" PRIu32 "; zones=%" PRIu32
#define DURABILITY_ARG(d) (d).synced, (d).copies, (d).disks, (d).zones

/* What a bucket is told to be; what is not set stays as it is. */
typedef struct {
    bool has_quota_bytes;
    bool has_quota_files;
    bool has_versioning;
    bool has_mode;
    bool has_require;
    bool has_class;
    uint64_t quota_bytes; /* 0: none */
    uint64_t quota_files;
    Versioning versioning; /* ERR_INVALID: off, of versions that were on */
    PlaceMode mode;
    PlaceRequire require; /* ERR_INVALID: all, of a bucket whose writes are asynchronous */
    Str class;            /* name; ERR_INVALID: there is none, or the bucket is in another one */
    bool only_there;      /* a bucket that is not there is not made: ERR_NO_BUCKET */
    unsigned attr;        /* of BucketRecord.extra, AttrType; 0: none */
    Str attr_value;       /* ptr NULL: without it */
} BucketSettings;

/* What a placement class is told to be; what is not set stays as it is, or is as usual. */
typedef struct {
    bool has_shards;
    bool has_copies;
    bool has_min_isr;
    bool has_mode;
    bool has_require;
    unsigned shards; /* like copies: of one that is there, never another */
    unsigned copies;
    unsigned min_isr;
    PlaceMode mode;
    PlaceRequire require;
} ClassSettings;

typedef struct Mutation Mutation;
struct Mutation {
    MutationType type;

    /* In. Views; they stay the door's. */
    Str bucket; /* name */
    Str key;
    BucketUid bucket_uid; /* EXPIRE */
    FileId file;          /* UPDATE, DELETE_FILE; CREATE of an upload */
    VersionId version; /* DELETE, DELETE_FILE: this one goes for good; in a bucket without versions
                          the file, if that is the current one. Zero: the file. UPDATE of an upload:
                          only if that is the current one */
    Str if_match;      /* header values; ptr NULL: absent. Decided where the lsn is given */
    Str if_none_match;
    bool has_unmodified_since;    /* only if the file was not changed since, to the second, and */
    uint64_t unmodified_since_ms; /* without if_match; an absent file has no such time */
    BucketSettings settings;      /* BUCKET_CREATE */
    ClassSettings class_settings; /* CLASS_SET */
    const KeyRecord *key_record;  /* KEY_CREATE */
    Str tags;                     /* TAG: value of ATTR_TAGS; empty: none */
    Str attrs;             /* encoded attributes of the version: content type, file name, meta …
                              without ATTR_KEY and ATTR_CREATED_MS, which the engine adds */
    Str inline_body;       /* ≤ INLINE_MAX; else extents */
    const Extent *extents; /* durable already (blob_writer_finish()) … */
    const Store *store; /* … in this one; NULL: in whichever leads. ERR_BUSY: it leads no more */
    uint32_t extent_count;
    BodyId body;   /* of the extents; an inline body has none, its version names it */
    uint64_t size; /* bytes of the body */
    Sha256 digest; /* of the body */
    /* With has_request: a repeat of a change that was made within STORE_REQUEST_KEEP_MS changes
     * nothing and is answered as that one was; by repeated it is told apart. The same request with
     * another request_hash is ERR_IDEMPOTENCY. A CREATE without a key gets the request's text as
     * its key. Not for buckets. */
    bool has_request;
    uint64_t expires_ms; /* of the version that it writes; 0: never … */
    bool expires_after;  /* … and so long after the change, not since 1970 */
    RequestId request;
    Sha256 request_hash; /* of all that makes the change what it is */
    /* Not OK: a door's refusal, its text in err, which repeats alone do not get. The body need not
     * be there, only its size and digest. */
    ErrCode refusal;
    unsigned
        require_synced; /* copies in sync without which it is not decided: ERR_TOO_FEW_COPIES */
    void (*done)(Mutation *mutation); /* called on the engine's thread; be quick */
    void *ctx;                        /* the door's */
    bool upload;   /* CREATE, UPDATE or DELETE_FILE of an upload (service/uploads.h) instead of a
                      file; bucket and key are not looked at … */
    unsigned part; /* … or if not 0, PUT or DELETE_FILE of this part of upload `file`. A PUT keeps
                      what the part was before, until the DELETE. ERR_GONE: the upload is over */
    bool takes; /* PUT, CREATE: its extents are those of upload `taken`, whose row has to be … */
    FileId taken; /* … of version taken_version when it is decided; else ERR_NOT_FOUND */
    VersionId taken_version;
    bool digest_unknown; /* of the bytes; `digest` only tells this change from others */
    Mutation *also; /* handed in with this one and decided right behind it, so that both go to the
                       log together; NULL: none. done() is called for each */

    /* Out. */
    ErrCode code;
    Err err;
    bool absent;   /* when it was decided, there was no such file */
    bool created;  /* PUT: CREATE (true) or UPDATE; BUCKET_CREATE: it was not there */
    bool repeated; /* it was made before, by this request */
    bool marked;   /* DELETE: versions stay, and row is the delete marker */
    FileRow row;   /* the new version; views into the mutation until mutation_deinit() */
    Str row_key;   /* its key */
    BucketRecord bucket_record;
    PlacementClass class_rules; /* CLASS_SET: what it is now */
    Durability durability;

    /* The engine's. */
    Buf attr_buf;
    Buf key_buf;
    Mutation *next;
    uint64_t since_ns; /* when it was submitted, CLOCK_BOOTTIME */
    ShardId shard;
    Lsn wait_lsn;     /* answered when this lsn of shard is committed, or told */
    bool async;       /* its bucket's writes are: answered when the lead has it synced */
    bool require_all; /* … or: it is refused, or answered, only when every copy has it */
    bool queued;
    int64_t files_delta; /* of the bucket */
    int64_t bytes_delta;
};

/* All zero, buffers empty. */
void mutation_init(Mutation *mutation, MutationType type);
void mutation_deinit(Mutation *mutation);

#endif
