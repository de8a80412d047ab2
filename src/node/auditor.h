/* Auditor: the audit log of a node: its directory, its key, and the thread that syncs it. */
#ifndef HOLDFAST_NODE_AUDITOR_H
#define HOLDFAST_NODE_AUDITOR_H

#include "audit/audit.h"

#define AUDITOR_DIR "audit" /* in the data directory, unless told otherwise */

typedef struct Auditor Auditor;

typedef struct {
    Disk *root;       /* of the data directory: has the key; not owned */
    const char *data; /* its name */
    const char *dir;  /* of the files; NULL or "": AUDITOR_DIR in data */
    Clock *clock;
    uint64_t file_size_max;
    unsigned files_max;
    uint64_t sync_ms; /* 0: each line, before its answer */
    bool
        apart; /* one root of several may stand still: lines wait for no disk, but with sync_ms 0 */
    bool also_log;
} AuditorOptions;

/* Starts the thread. Errors: those of disk_posix_open() and audit_open(). */
MUST_USE ErrCode auditor_open(const AuditorOptions *options, Auditor **out, Err *err);
Audit *auditor_audit(Auditor *auditor);
/* Ends the thread; all lines are synced. NULL is fine. */
void auditor_close(Auditor *auditor);

AUTO_DEFINE(Auditor, auditor_close);

#endif
