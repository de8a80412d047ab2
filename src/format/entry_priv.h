/* What entry.c and pack.c share: the rules that make an entry valid beyond its lengths. Private to
 * src/format. */
#ifndef HOLDFAST_FORMAT_ENTRY_PRIV_H
#define HOLDFAST_FORMAT_ENTRY_PRIV_H

#include "format/entry.h"

/* op and flags as stored. ERR_FORMAT_VERSION for numbers that this release does not know. */
MUST_USE ErrCode entry_check_op(uint64_t op, uint64_t flags, Err *err);
/* Everything but the checksum: numbers, which fields may go together, attributes, extents.
 * inline_len: plain bytes of the body that stands beside the entry. ERR_CORRUPT. */
MUST_USE ErrCode entry_check(const Entry *entry, uint64_t inline_len, Err *err);

#endif
