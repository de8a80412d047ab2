/* Verification of an audit log: walks files line by line and tells the first place where the chain
 * breaks. Reads only; one thread. Also what a start finds the end of the chain with. */
#ifndef HOLDFAST_AUDIT_AUDIT_VERIFY_H
#define HOLDFAST_AUDIT_AUDIT_VERIFY_H

#include "audit/audit_line.h"
#include "disk/disk.h"

typedef struct {
    const AuditKey *key;       /* NULL: the start of line 1 and the anchor are not looked at */
    const AuditAnchor *anchor; /* NULL: none */
    uint64_t files;
    uint64_t lines;
    uint64_t first_seq; /* 0: no line yet */
    uint64_t last_seq;
    Sha256 last;         /* digest of line last_seq */
    uint64_t torn_bytes; /* behind the last whole line of the newest file; no damage by itself */
    uint64_t good_end;   /* bytes of the file read last that are whole lines in the chain */
    bool anchor_seen;    /* the line that the anchor attests was there, as it was */
} AuditVerifier;

/* The next file of the chain, in the order of their numbers; name is for texts. ERR_CORRUPT: "NAME
 * line N: …"; errors of reading. Nothing may follow a failure but audit_verify_end(). */
MUST_USE ErrCode audit_verify_file(AuditVerifier *verifier, Disk *disk, const char *path,
                                   const char *name, Err *err);
/* All files were there. ERR_CORRUPT: the anchor attests more than there is. */
MUST_USE ErrCode audit_verify_end(const AuditVerifier *verifier, const char *name, Err *err);

/* Numbers of the audit files of a directory, rising. */
typedef struct {
    uint64_t *numbers; /* mem_free() */
    size_t count;
} AuditFiles;
MUST_USE ErrCode audit_list(Disk *disk, AuditFiles *out, Err *err);
/* anchor.json of a directory. ERR_NOT_FOUND; ERR_CORRUPT. */
MUST_USE ErrCode audit_anchor_read(Disk *disk, const AuditKey *key, AuditAnchor *out, Err *err);

#endif
