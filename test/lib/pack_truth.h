/* What the packs of a store say without its index: of each name the versions that no later change
 * ends, as an index made from packs would take it. It must be what the index says, no row may lead
 * to a pack that is not there, and no record stand behind a torn one. For tests of compaction. */
#ifndef HOLDFAST_TEST_LIB_PACK_TRUTH_H
#define HOLDFAST_TEST_LIB_PACK_TRUTH_H

#include "store/compact.h"

/* Records that the index has not applied are passed over. ERR_ABORTED says what differs. */
MUST_USE ErrCode pack_truth_check(Store *store, Err *err);

/* Compacts until there is nothing to do, with checkpoints in between; *steps (may be NULL): how
 * many the applier had. */
MUST_USE ErrCode compact_all(Store *store, const CompactOptions *options, size_t *steps, Err *err);

#endif
