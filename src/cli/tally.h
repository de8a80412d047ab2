/* Tally: what a run over many files came to: counts, the first failures and skips by name, and the
 * exit status. Fixed size, however many files there are. One thread. */
#ifndef HOLDFAST_CLI_TALLY_H
#define HOLDFAST_CLI_TALLY_H

#include "base/buf.h"

#define TALLY_NAMES_MAX 20  /* told by name; the rest is counted */
#define TALLY_NAME_SIZE 256 /* longer ones are cut */

#define TALLY_INTERRUPTED 130 /* exit status after Ctrl-C, as shells have it */

typedef struct {
    char name[TALLY_NAME_SIZE];
    char text[ERR_MESSAGE_MAX];
} TallyName;

typedef struct {
    uint64_t files;      /* done */
    uint64_t bytes;      /* of them */
    uint64_t kept_bytes; /* of these, moved by an earlier run */
    uint64_t begun;      /* not done, but what was moved of them is kept for the next run */
    uint64_t begun_bytes;
    uint64_t failed;
    uint64_t skipped;
    uint64_t deleted;         /* beside those that were moved */
    uint64_t unchanged;       /* there already */
    uint64_t unchanged_bytes; /* of them */
    bool damage;              /* one failed by damage */
    ErrCode failure;          /* of the last one that failed */
    ErrCode ended;            /* not OK: the run was ended before its end, by this */
    bool interrupted;
    bool dry_run; /* nothing was moved, so there is no time to tell */
    TallyName failures[TALLY_NAMES_MAX];
    TallyName skips[TALLY_NAMES_MAX];
} Tally;

/* kept: so many of its bytes were moved by an earlier run. */
void tally_done(Tally *tally, uint64_t bytes, uint64_t kept);
/* Not done, but so many of its bytes need not be moved again. */
void tally_begun(Tally *tally, uint64_t bytes);
/* name: bytes as they are; shown safely. */
void tally_fail(Tally *tally, Str name, const Err *err);
void tally_skip(Tally *tally, Str name, const Err *err);
/* 0; 6 with damage; 130 interrupted; what ended it; for a single item its own; else 1. */
int tally_exit_status(const Tally *tally, bool single);
/* The failures and skips, for a person; "" if there are none. Errors: as buf_append(). */
MUST_USE ErrCode tally_names(const Tally *tally, Buf *out, Err *err);
/* "stored 12 files, 1.5 MiB in 3.2 s (480.0 KiB/s), 1.0 MiB of it by an earlier run, 7 unchanged, 1
 * failed, 2 skipped\n"; verb: "stored". */
MUST_USE ErrCode tally_summary(const Tally *tally, const char *verb, uint64_t elapsed_ms, Buf *out,
                               Err *err);

#endif
