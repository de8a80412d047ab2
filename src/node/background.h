/* The background thread of a storage root: compaction and scrub of its store, slowly beside
 * clients, and the end of uploads that have expired; that, and the end of versions, while the root
 * leads. It reads by itself; what changes packs or index it hands to the applier
 * (storage_root_run_on_applier()) and waits.
 *
 * Pace: after each piece of work it rests until the piece is paid for at the rate that is allowed
 * now. While a client's request is under way compaction keeps to a quarter of its rate and scrub
 * puts its next piece off, up to ten times its rest; what that costs is made up for later, since
 * scrub's rate follows from the bytes and the time that are left. On a full disk compaction does
 * not rest: deleted files are what makes room. Versions whose time is over are deleted on the way.
 */
#ifndef HOLDFAST_NODE_BACKGROUND_H
#define HOLDFAST_NODE_BACKGROUND_H

#include "node/workers.h"
#include "service/service.h"
#include "store/compact.h"
#include "store/scrub.h"

typedef struct Background Background;

typedef struct {
    StorageRoot *root; /* outlives it */
    Workers *workers;  /* the same */
    unsigned number;   /* of root */
    bool several;      /* roots: its metrics name it */
    Clock *clock;
    bool (*busy)(void *ctx); /* is a client's request under way? Any thread */
    void *ctx;
    CompactOptions compact;
    uint64_t compact_rate;     /* bytes read and written a second; 0: no compaction */
    ScrubOptions scrub;        /* period_ms 0: no scrub */
    uint64_t expiry_wait_ms;   /* see service/expirer.h */
    Service *service;          /* outlives it; NULL: uploads are left alone */
    uint64_t uploads_every_ms; /* between two looks through the uploads that go on */
} BackgroundOptions;

/* Starts the thread. ERR_SYSTEM. */
MUST_USE ErrCode background_open(const BackgroundOptions *options, Background **out, Err *err);
/* Any thread. */
Scrub *background_scrub(Background *background);
/* Ends and frees it, before workers_close(); NULL is fine. */
void background_close(Background *background);

AUTO_DEFINE(Background, background_close);

#endif
