/* What audit.c and audit_open.c share. */
#ifndef HOLDFAST_AUDIT_AUDIT_PRIV_H
#define HOLDFAST_AUDIT_AUDIT_PRIV_H

#include "audit/audit.h"
#include "audit/audit_verify.h"
#include "base/lock.h"
#include "base/queue.h"
#include "base/thread.h"
#include <stdatomic.h>

#define AUDIT_QUEUE_MAX 4096         /* lines that wait to be written */
#define AUDIT_STILL_NS 2000000000ULL /* a write that takes so long */
#define AUDIT_RETIRED_MAX 4          /* full files that audit_sync() has not closed yet */

struct Audit {
    AuditOptions options;
    Lock lock; /* all that follows, up to `of audit_sync()` */
    File *file;
    uint64_t number; /* of that file */
    uint64_t end;    /* bytes of it that are whole lines */
    bool ragged;     /* more may stand behind them */
    bool doubted;    /* a sync of it failed: the next line belongs in another */
    uint64_t next_seq;
    Sha256 last; /* digest of the line before next_seq */
    Buf line;
    File *retired[AUDIT_RETIRED_MAX];
    size_t retired_count;
    Lock gate; /* the next three */
    uint64_t refused_second;
    unsigned refused_lines; /* in that second */
    uint64_t refused_more;  /* that got no line */
    _Atomic uint64_t lost;  /* lines that the chain does not tell of yet */
    _Atomic bool failing;
    Queue *queue;              /* for the thread that writes; NULL: there is none */
    Thread writer;             /* … */
    _Atomic uint64_t since_ns; /* when it began with its line; 0: it has none */
    /* of audit_sync() */
    uint64_t first_number; /* oldest file */
    AuditAnchor anchor;    /* as it was written last */
    bool attests;          /* the last one could be written */
};

/* Writes a line, or tells the log. Any thread. */
void audit_write_now(Audit *audit, const AuditRecord *record);
MUST_USE ErrCode audit_start_writer(Audit *audit, Err *err);
/* What was handed over is written first. */
void audit_stop_writer(Audit *audit);
/* False: too much waits. */
bool audit_hand_over(Audit *audit, const AuditRecord *record);

/* Where the chain goes on. */
typedef struct {
    bool fresh;          /* nothing was there */
    uint64_t torn_bytes; /* that were cut off */
    char broken[256];    /* why the chain is not whole; "": it is */
} AuditFound;

/* Sets the audit's file, number, end, next_seq, last and anchor. */
MUST_USE ErrCode audit_find_end(Audit *audit, AuditFound *found, Err *err);
/* Begins the file of that number. */
MUST_USE ErrCode audit_begin_file(Audit *audit, uint64_t number, Err *err);
MUST_USE ErrCode audit_anchor_write(Audit *audit, const AuditAnchor *anchor, Err *err);

#endif
