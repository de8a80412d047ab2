/* Guard: reading memory that is mapped from a file. A page of it that can't be had (EIO of the
 * disk, a file cut short) is no error code but a signal, SIGBUS, which would end the process; a
 * guarded read ends with `false` instead. Any thread; a read of one thread does not disturb
 * another's. Why this way: docs/decisions/0005-sigbus-is-a-bad-chunk.md. */
#ifndef HOLDFAST_BASE_GUARD_H
#define HOLDFAST_BASE_GUARD_H

#include "base/check.h"

#include <stddef.h>
#include <stdint.h>

/* Readies the process for guarded reads: takes SIGBUS over; again does no harm. A SIGBUS outside a
 * guarded read still ends the process. */
void guard_install(void);
/* CRC32C of len bytes at data, which are mapped from a file, into *out. False: a page of them
 * could not be read; *out is untouched. */
MUST_USE bool guard_crc32c(const void *data, size_t len, uint32_t *out);

#endif
