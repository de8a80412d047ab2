/* The mending thread of a storage root: goes through the root's list of damage (store/mend.h) as
 * long as there is something in it, slowly beside clients; compares its
 * index with the others' (store/compare.h) behind each pass of scrub; and keeps what the ledger
 * tells of the root: since when it is not in sync, how many files lack their copy there, when that
 * will end. */
#ifndef HOLDFAST_NODE_MENDING_H
#define HOLDFAST_NODE_MENDING_H

#include "node/workers.h"
#include "store/compare.h"
#include "store/scrub.h"

typedef struct Mending Mending;

typedef struct {
    StorageRoot *root; /* outlives it */
    Workers *workers;  /* the same */
    Scrub *scrub;      /* of root; the same: behind each pass its rows are compared */
    Store *sources[MEND_SOURCES_MAX];
    unsigned source_count; /* 0: there is no other root */
    unsigned number;       /* of root */
    Clock *clock;
    uint64_t rate;           /* bytes read and written a second at most */
    bool (*busy)(void *ctx); /* is a client's request under way? Any thread */
    void *ctx;
} MendingOptions;

typedef struct {
    uint64_t below;       /* files that lack their copy there: damaged, or all while not in sync */
    uint64_t below_bytes; /* of them, while it is not in sync; else 0 */
    uint64_t since_ms;    /* wall clock: not in sync since then; 0: it is */
    uint64_t done_ms;     /* wall clock: about when it will have caught up; 0: not known */
    uint64_t mended_ms;   /* the same of all that is damaged there */
    MenderStatus mender;
} MendingStatus;

/* Starts the thread. ERR_SYSTEM. */
MUST_USE ErrCode mending_open(const MendingOptions *options, Mending **out, Err *err);
/* Any thread. */
void mending_status(const Mending *mending, MendingStatus *out);
/* Ends it, before the workers; NULL is fine. */
void mending_close(Mending *mending);

AUTO_DEFINE(Mending, mending_close);

#endif
