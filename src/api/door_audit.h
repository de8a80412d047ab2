/* What the audit log hears of requests, of whatever door: each change that somebody with a key
 * asked for, however it ended, and each refusal of access. Lines are written before the answer is
 * sent. Any thread; the log locks itself (audit/audit.h). */
#ifndef HOLDFAST_API_DOOR_AUDIT_H
#define HOLDFAST_API_DOOR_AUDIT_H

#include "audit/audit.h"
#include "format/ids.h"
#include "http/server.h"
#include "service/mutation.h"

/* A request as the audit log sees it. */
typedef struct {
    Audit *audit;     /* NULL: there is none, and nothing below does anything */
    bool strict;      /* no change while it can't be written */
    const char *door; /* "rest", "s3" */
    HttpRequest *req;
    Str key_id;   /* empty: nobody was identified */
    ErrCode code; /* of the answer */
    int status;   /* likewise; 0: of a part of a request that has none of its own */
} DoorAudit;

/* Texts that a record points to. */
typedef struct {
    char file[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
} DoorAuditIds;

/* ERR_BUSY: this is a change, and the log can't be written while it has to be. */
MUST_USE ErrCode door_audit_allows(const DoorAudit *a, Err *err);
/* Was access refused? Then the line is written: at most so many a second (audit_refused()). */
bool door_audit_refused(const DoorAudit *a);
/* Did somebody ask for a change? Then the caller makes the record of it. */
bool door_audit_is_change(const DoorAudit *a);
AuditRecord door_audit_change(const DoorAudit *a, const char *action);
/* Adds which version m made, if it did, and of which file. */
void door_audit_version(AuditRecord *record, const Mutation *m, DoorAuditIds *ids);

#endif
