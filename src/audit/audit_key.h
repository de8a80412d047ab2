/* The key of the audit log: 32 random bytes as 64 hex digits in audit.key of the data directory,
 * 0600. It is no access key: it only proves that anchors are the server's own. */
#ifndef HOLDFAST_AUDIT_AUDIT_KEY_H
#define HOLDFAST_AUDIT_AUDIT_KEY_H

#include "audit/audit_line.h"
#include "disk/disk.h"

#define AUDIT_KEY_FILE "audit.key"

/* Reads it; makes it durably if there is none. ERR_CONFIG: it is none, or others may read it. */
MUST_USE ErrCode audit_key_open(Disk *disk, AuditKey *out, Err *err);
/* Reads path. ERR_NOT_FOUND; ERR_CONFIG. */
MUST_USE ErrCode audit_key_read(Disk *disk, const char *path, AuditKey *out, Err *err);

#endif
