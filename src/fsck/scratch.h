/* Scratch: an ordered map on disk for what may be too much for memory, kept nowhere after the run.
 * One thread. */
#ifndef HOLDFAST_FSCK_SCRATCH_H
#define HOLDFAST_FSCK_SCRATCH_H

#include "index/index.h"

typedef struct Scratch Scratch;

/* In disk, which is empty. */
MUST_USE ErrCode scratch_open(Disk *disk, Scratch **out, Err *err);
void scratch_free(Scratch *scratch); /* NULL is fine */
MUST_USE ErrCode scratch_put(Scratch *scratch, Str key, Str value, Err *err);
MUST_USE ErrCode scratch_delete(Scratch *scratch, Str key, Err *err);
/* *value: a view until the next call. */
MUST_USE ErrCode scratch_get(Scratch *scratch, Str key, Str *value, bool *found, Err *err);
/* The first pair with key ≥ from that starts with prefix; views until the next call. */
MUST_USE ErrCode scratch_first(Scratch *scratch, Str from, Str prefix, Str *key, Str *value,
                               bool *found, Err *err);
/* Calls fn for each pair whose key starts with prefix; views for the time of the call, during which
 * scratch may be read and written. */
MUST_USE ErrCode scratch_each(Scratch *scratch, Str prefix,
                              ErrCode (*fn)(void *ctx, Str key, Str value, Err *err), void *ctx,
                              Err *err);

AUTO_DEFINE(Scratch, scratch_free);

#endif
