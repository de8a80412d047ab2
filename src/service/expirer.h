/* Expirer: deletes versions whose time is over, through the engine, some at a time. What is over is
 * hidden from readers at once, by the wall clock; it is deleted only when that clock has gone on
 * evenly, compared with one that nobody sets, for steady_ms since the start or its last jump: a
 * clock that jumps ahead hides files until it is put right, and loses none within that time. The
 * engine decides each DELETE by the version's id, so a newer version is never met.
 *
 * One thread calls; the changes are answered on the engine's. */
#ifndef HOLDFAST_SERVICE_EXPIRER_H
#define HOLDFAST_SERVICE_EXPIRER_H

#include "service/engine.h"

typedef struct Expirer Expirer;

typedef struct {
    Store *store;
    Clock *clock;
    uint64_t steady_ms;
    /* Hands a mutation to the engine; not OK: done() will not be called. */
    ErrCode (*submit)(void *ctx, Mutation *mutation);
    void *ctx;
} ExpirerOptions;

#define EXPIRER_BATCH 64 /* changes under way at once */

Expirer *expirer_new(const ExpirerOptions *options);
/* What is under way is still answered, and then freed. NULL is fine. */
void expirer_free(Expirer *expirer);
/* Looks at the clock, then submits up to EXPIRER_BATCH deletions, unless some are under way.
 * *more: call again soon; else once in some seconds. Errors: of the index. */
MUST_USE ErrCode expirer_work(Expirer *expirer, bool *more, Err *err);
/* Versions that were deleted since the start. Any thread. */
uint64_t expirer_deleted(const Expirer *expirer);

AUTO_DEFINE(Expirer, expirer_free);

#endif
