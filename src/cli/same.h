/* Same: does a local file have the content whose SHA-256 is known? Read in steps, so that transfers
 * go on meanwhile. One thread. */
#ifndef HOLDFAST_CLI_SAME_H
#define HOLDFAST_CLI_SAME_H

#include "base/hash.h"
#include "cli/local_file.h"

/* Zero but for the file before the first step. */
typedef struct {
    LocalFile file; /* open, and of the size that is wanted; closed by the last step */
    HashCtx *hash;
} Same;

#define SAME_NONE ((Same){.file = LOCAL_FILE_NONE})

typedef enum { SAME_MORE, SAME_EQUAL, SAME_OTHER } SameVerdict;

/* Reads on, for a few milliseconds. Anything but SAME_MORE, and a failure, is the last step. A file
 * that changes meanwhile is SAME_OTHER. Errors: ERR_IO and its like: it can't be read. */
MUST_USE ErrCode same_step(Same *same, const Sha256 *wanted, SameVerdict *out, Err *err);
/* Frees and closes; same may be SAME_NONE. */
void same_deinit(Same *same);

#endif
