/* What compare.c (ranges, rows) and compare_mend.c (the applier's part) share. */
#ifndef HOLDFAST_STORE_COMPARE_PRIV_H
#define HOLDFAST_STORE_COMPARE_PRIV_H

#include "store/compact_priv.h"
#include "store/compare.h"

/* One row that is put right. */
typedef struct {
    ShardId shard;
    Lsn lsn;   /* up to which the shard must be applied */
    Buf key;   /* the row's */
    Buf value; /* as it is to be, without a place; empty: it goes */
    Buf body;  /* of a small file */
    Buf old;
    Buf attrs;
    bool done; /* else the shard was applied further meanwhile */
} CompareStep;

/* The applier's, between batches. Errors as of store_compact(). */
MUST_USE ErrCode store_put_right(Store *store, CompareStep *step, Err *err);

#endif
