/* Audit: who changed what, and who was refused, in files of their own, one JSON object a line, each
 * with the digest of the line before (audit_line.h, README.md). Any thread writes; one thread calls
 * audit_sync() now and then, which makes lines durable, moves the anchor and removes old files.
 *
 * A line that can't be written never fails a change that was made: it goes to the log's audit
 * stream instead, is counted, and a line `audit.lost` in the chain tells how many there were as
 * soon as the file takes lines again. audit_works() is for doors that are to refuse changes
 * meanwhile.
 *
 * Fault point: audit.write. */
#ifndef HOLDFAST_AUDIT_AUDIT_H
#define HOLDFAST_AUDIT_AUDIT_H

#include "audit/audit_key.h"
#include "base/clock.h"

#define AUDIT_REFUSED_MAX 100 /* lines of refused access a second; more are only counted */

typedef struct Audit Audit;

typedef struct {
    Disk *disk; /* of the directory of the audit files alone; not owned */
    AuditKey key;
    Clock *clock;
    uint64_t file_size_max; /* bytes; the next file begins where a line would not fit */
    unsigned files_max;     /* at least 2; the oldest is removed beyond */
    bool sync_each;         /* a line is durable when audit_write() returns */
    bool apart;             /* a thread writes: audit_write() waits for no disk, and a line is in
                               the file some milliseconds later. Not with sync_each */
    bool also_log;          /* each line goes to the log's audit stream, too */
} AuditOptions;

/* One line. Empty fields are left out. Texts are copied, whatever bytes they hold. */
typedef struct {
    const char *event; /* static */
    Str request_id;
    Str peer;   /* remote address and port */
    Str key_id; /* of the access key; its secret stands nowhere */
    const char *door;
    const char *action; /* what was asked for */
    Str bucket;
    Str key;
    Str path; /* where bucket and key are not known */
    Str file; /* id */
    Str version;
    int status;         /* 0: none */
    const char *result; /* "ok", or the error's code */
    bool has_bytes;
    uint64_t bytes; /* of the new content */
    Str detail;
} AuditRecord;

/* Finds the end of the chain, cuts a torn end off it (kept in torn-…), and goes on with it. Where
 * the chain is not as the anchor says, the new lines begin with `audit.broken`. Errors: those of
 * Disk, ERR_CONFIG. */
MUST_USE ErrCode audit_open(const AuditOptions *options, Audit **out, Err *err);
void audit_write(Audit *audit, const AuditRecord *record);
/* The same for refused access, of which AUDIT_REFUSED_MAX a second get a line; false: it is only
 * counted. */
bool audit_refused(Audit *audit, const AuditRecord *record);
/* Lines can be written now. Any thread. */
bool audit_works(const Audit *audit);
/* All lines until now are durable and attested. One thread at a time. What fails is told by the
 * log. */
void audit_sync(Audit *audit);
/* Syncs, then frees; NULL is fine. */
void audit_close(Audit *audit);

#endif
