/* The thread that reads back what was acknowledged asynchronously (service/confirm.h): it takes
 * what the core tells it of, and rests so that it reads no more than its rate, a quarter of that
 * while clients are served. */
#ifndef HOLDFAST_NODE_CONFIRMING_H
#define HOLDFAST_NODE_CONFIRMING_H

#include "node/workers.h"
#include "service/confirm.h"

typedef struct Confirming Confirming;

typedef struct {
    Workers *workers; /* outlives it */
    Store *stores[ENGINE_ROOTS_MAX];
    unsigned root_count; /* several */
    Clock *clock;
    uint64_t rate;           /* bytes read a second at most */
    bool (*busy)(void *ctx); /* is a client's request under way? Any thread */
    void *ctx;
} ConfirmingOptions;

/* Starts the thread. ERR_SYSTEM. */
MUST_USE ErrCode confirming_open(const ConfirmingOptions *options, Confirming **out, Err *err);
/* Any thread; zeros of NULL. */
void confirming_status(const Confirming *confirming, ConfirmStatus *out);
/* Ends it, before the workers; NULL is fine. */
void confirming_close(Confirming *confirming);

AUTO_DEFINE(Confirming, confirming_close);

#endif
