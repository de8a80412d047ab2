/* Remote: addresses of the REST door, FILE objects, and listings page by page. Listings belong to
 * one thread; the rest is pure. */
#ifndef HOLDFAST_CLI_REMOTE_H
#define HOLDFAST_CLI_REMOTE_H

#include "cli/client.h"
#include "text/json.h"

#define REMOTE_TARGET_MAX 8192

/* "/v1/buckets/BUCKET/files/KEY", encoded and terminated, into out. Errors: as buf_append(). */
MUST_USE ErrCode remote_file_target(Buf *out, Str bucket, Str key, Err *err);
/* The same with "?version=VERSION" unless that is NULL. */
MUST_USE ErrCode remote_version_target(Buf *out, Str bucket, Str key, const char *version,
                                       Err *err);
/* "/v1/buckets/BUCKET". */
MUST_USE ErrCode remote_bucket_target(Buf *out, Str bucket, Err *err);

/* "Idempotency-Key: …" of a change, for each of its attempts, so that one whose answer was lost is
 * not made twice: docs/rest.md, Repeats. */
#define REMOTE_REPEAT_SIZE 64
/* Makes one of chance, unless header has one and call's last attempt leaves it open whether the
 * change was made: there was no answer, or one of a server in trouble. An empty header: the first
 * attempt. */
void remote_repeat_header(const ClientCall *call, Rng *rng, char header[REMOTE_REPEAT_SIZE]);

/* What the client needs of a FILE object. Views into the object. */
typedef struct {
    Str bucket;
    Str key;
    uint64_t size; /* bytes */
    bool has_sha256;
    Sha256 sha256;
    Str updated_at;
    Str version;
    bool latest; /* in a listing of versions, like delete_marker */
    bool delete_marker;
    const json_t *json;
} RemoteFile;

/* ERR_PEER: it is none. */
MUST_USE ErrCode remote_file_parse(const json_t *object, RemoteFile *out, Err *err);

/* ---- listings ---- */
typedef struct Listing Listing;

typedef struct {
    Client *client; /* outlives the listing */
    Str bucket;     /* copied, like prefix */
    Str prefix;
    char delimiter; /* 0: none */
    bool versions;  /* all of them, the newest of a key first, with delete markers */
    unsigned limit; /* entries of a page; 0: the server's most */
    ClientRetry retry;
} ListingOptions;

/* One or the other; views until the next call. */
typedef struct {
    bool is_prefix; /* then only file.key is set: "docs/" */
    RemoteFile file;
} ListingEntry;

/* Nothing is asked yet. Errors: as buf_append(). */
MUST_USE ErrCode listing_open(const ListingOptions *options, Listing **out, Err *err);
void listing_close(Listing *listing); /* NULL is fine */
/* The next entry in the order of names; *found false at the end. Asks the server when a page is
 * used up. Errors: the server's; ERR_PEER. */
MUST_USE ErrCode listing_next(Listing *listing, ListingEntry *out, bool *found, Err *err);

AUTO_DEFINE(Listing, listing_close);

#endif
