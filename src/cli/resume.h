/* Resume: where a file's unfinished upload is remembered between two runs, so that the second goes
 * on with it: a small file for each below $XDG_STATE_HOME/holdfast/uploads, or ~/.local/state. It
 * is named by server, bucket, key and path, and says which file it is of (device, inode, size,
 * times) and where the upload is. It holds no key. What cannot be kept or read is no failure: the
 * file is then sent from its beginning. No state here, any thread. */
#ifndef HOLDFAST_CLI_RESUME_H
#define HOLDFAST_CLI_RESUME_H

#include "cli/local_file.h"

#define RESUME_LOCATION_MAX 1024
#define RESUME_KEPT_DAYS 7 /* longer than a server keeps what nobody goes on with */

typedef struct {
    const char *url; /* of the server */
    Str bucket;
    Str key;
    const char *path;
    const LocalFile *file; /* as it was opened */
} ResumeOf;

/* The upload's path ("/v1/uploads/ID") into location, terminated; left empty: none is known for
 * this file as it is now. */
void resume_find(const ResumeOf *what, Buf *location);
/* Remembers it; also forgets what nobody came back to in RESUME_KEPT_DAYS. */
void resume_keep(const ResumeOf *what, Str location, Rng *rng);
void resume_forget(const ResumeOf *what);

#endif
