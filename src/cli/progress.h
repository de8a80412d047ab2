/* Progress: the line on a terminal that says how far a run is. progress_format() is pure; the rest
 * writes to stderr, and only if that is a terminal. One thread. */
#ifndef HOLDFAST_CLI_PROGRESS_H
#define HOLDFAST_CLI_PROGRESS_H

#include "base/err.h"

#define PROGRESS_LINE_SIZE 160
#define PROGRESS_EVERY_MS 200

typedef struct {
    uint64_t files;      /* done */
    uint64_t bytes;      /* moved, of files that are under way too */
    uint64_t bytes_kept; /* of the same files, moved by an earlier run: no work of this one */
    uint64_t failed;     /* files */
    uint64_t elapsed_ms;
    bool total_known;
    uint64_t files_total; /* if known */
    uint64_t bytes_total; /* if known */
} ProgressState;

/* "120/4000 files  1.5 MiB/40.0 MiB  600.0 KiB/s  1 failed  1 min 5 s left" */
const char *progress_format(const ProgressState *state, char out[PROGRESS_LINE_SIZE]);

typedef struct {
    bool shown; /* stderr is a terminal and nobody wants quiet */
    bool line;  /* a line stands there now */
    uint64_t start_ms;
    uint64_t last_ms;
} Progress;

void progress_init(Progress *progress, bool quiet);
/* Milliseconds since progress_init(). */
uint64_t progress_elapsed_ms(const Progress *progress);
/* Is it time for a new line? */
bool progress_due(const Progress *progress);
/* Writes the line over the old one; state->elapsed_ms is filled in. */
void progress_show(Progress *progress, ProgressState *state);
/* The same for a line of another form. */
void progress_print(Progress *progress, const char *line);
/* Takes the line away, before other text. */
void progress_clear(Progress *progress);

#endif
