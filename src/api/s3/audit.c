/* What the audit log hears of requests at this door (api/door_audit.h). */
#include "api/door_audit.h"
#include "api/s3/s3_priv.h"

static DoorAudit seen(const S3Call *call)
{
    const S3Options *options = &call->s3->options;
    return (DoorAudit){.audit = options->audit,
                       .strict = options->audit_strict,
                       .door = "s3",
                       .req = call->req,
                       .key_id = call->auth.identity.key_id,
                       .code = call->code,
                       .status = call->status};
}

static void write_change(const S3Call *call, const DoorAudit *a)
{
    DoorAuditIds ids;
    const char *action = s3_op_name(call->route == NULL ? S3_OP_NONE : call->route->op);
    AuditRecord record = door_audit_change(a, action);
    record.bucket = call->bucket;
    record.key = call->key;
    if (call->bucket.len == 0) record.path = http_request_path(call->req);
    door_audit_version(&record, &call->mutation, &ids);
    audit_write(a->audit, &record);
}

void s3_audit(S3Call *call)
{
    if (call->s3->options.audit == NULL || call->audited) return;
    DoorAudit a = seen(call);
    call->audited = true;
    if (!door_audit_refused(&a) && door_audit_is_change(&a)) write_change(call, &a);
}

void s3_audit_deleted(S3Call *call, Str key, ErrCode code)
{
    DoorAudit a = seen(call);
    if (a.audit == NULL) return;
    a.code = code;
    a.status = 0;
    AuditRecord record = door_audit_change(&a, s3_op_name(S3_OP_DELETE));
    record.bucket = call->bucket;
    record.key = key;
    audit_write(a.audit, &record);
}

ErrCode s3_audit_allows(const S3Call *call, Err *err)
{
    DoorAudit a = seen(call);
    return door_audit_allows(&a, err);
}
