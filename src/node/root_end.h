/* The end of several roots at once: what is to be done with each is done by a thread of its own, so
 * that a disk that stands still keeps the others from nothing, and a stop is over some day. */
#ifndef HOLDFAST_NODE_ROOT_END_H
#define HOLDFAST_NODE_ROOT_END_H

#include "node/storage_root.h"

#define ROOT_END_MORE_MS 5000   /* once enough roots are done, for the others */
#define ROOT_END_MOST_MS 120000 /* for enough */

/* Ends the threads of roots[0..count) that are not stuck (NULL: there is none); stuck[r]: it did
 * not end in time, and what the root uses must stay. */
void root_end_threads(StorageRoot *const *roots, unsigned count, bool *stuck);
/* The same: closes those that are not out. Those that failed are left as they are; one that can't
 * be closed is one more of them: what the others hold is whole, if they are enough. */
MUST_USE ErrCode root_end_close(StorageRoot *const *roots, unsigned count, const bool *out,
                                bool *stuck, Err *err);

#endif
