/* Merge: a directory here beside the files below a prefix there, both in the order of keys, so that
 * neither has to be held in memory. One thread. */
#ifndef HOLDFAST_CLI_MERGE_H
#define HOLDFAST_CLI_MERGE_H

#include "cli/remote.h"
#include "cli/walk.h"

typedef enum {
    MERGE_END,
    MERGE_NEW,     /* a file that is only here */
    MERGE_BOTH,    /* here and there */
    MERGE_GONE,    /* only there; a walk that changes meanwhile may be wrong in this */
    MERGE_SKIPPED, /* here, but no file: why says what it is */
    MERGE_FAILED   /* here, and can't be read: why says why */
} MergeKind;

/* Views until the next call. */
typedef struct {
    MergeKind kind;
    Str relative;      /* below the directory, and behind the prefix */
    uint64_t size;     /* of what is here, like mtime_ns */
    int64_t mtime_ns;  /* since 1970 */
    RemoteFile remote; /* of BOTH and GONE */
    Err why;           /* of SKIPPED and FAILED */
} MergeStep;

typedef struct {
    Walk *walk;       /* sorted; the caller's, like listing */
    Listing *listing; /* NULL: as if nothing were there */
    Str prefix;       /* that the listing has; with its '/' */
    bool with_gone;   /* MERGE_GONE is wanted */
    /* Its own. */
    WalkEntry local;
    Err local_why;
    ListingEntry remote;
    Str remote_relative;
    bool has_local;  /* local is the next one here */
    bool has_remote; /* the same there */
    bool remote_end;
    Buf last; /* the listing's key before, to see that it comes forward */
} Merge;

void merge_init(Merge *merge, Walk *walk, Listing *listing, Str prefix, bool with_gone);
void merge_deinit(Merge *merge); /* zeroed is fine */
/* Errors: the listing's; ERR_PEER: it has keys outside of the prefix, or not in order. */
MUST_USE ErrCode merge_next(Merge *merge, MergeStep *out, Err *err);

#endif
