/* What the audit log hears of requests at this door (api/door_audit.h). */
#include "api/door_audit.h"
#include "api/rest/rest_priv.h"

static DoorAudit seen(const RestCall *call)
{
    const RestOptions *options = &call->rest->options;
    return (DoorAudit){.audit = options->audit,
                       .strict = options->audit_strict,
                       .door = "rest",
                       .req = call->req,
                       .key_id = call->identity.key_id,
                       .code = call->code,
                       .status = call->status};
}

static void write_change(const RestCall *call, const DoorAudit *a)
{
    const Mutation *m = &call->mutation;
    bool done = m->done != NULL && m->code == OK;
    DoorAuditIds ids;
    AuditRecord record = door_audit_change(a, rest_op_name(call->route->op));
    record.bucket = m->bucket;
    record.key = m->key.len > 0 || !done ? m->key : m->row_key;
    if (m->bucket.len == 0) record.path = http_request_path(call->req);
    door_audit_version(&record, m, &ids);
    audit_write(a->audit, &record);
}

void rest_audit(RestCall *call)
{
    if (call->rest->options.audit == NULL || call->audited) return;
    DoorAudit a = seen(call);
    call->audited = true;
    if (!door_audit_refused(&a) && door_audit_is_change(&a)) write_change(call, &a);
}

void rest_audit_deleted(RestCall *call, Str id, ErrCode code)
{
    DoorAudit a = seen(call);
    if (a.audit == NULL) return;
    a.code = code;
    a.status = 0;
    AuditRecord record = door_audit_change(&a, rest_op_name(REST_OP_DELETE));
    record.file = id;
    audit_write(a.audit, &record);
}

ErrCode rest_audit_allows(const RestCall *call, Err *err)
{
    DoorAudit a = seen(call);
    return door_audit_allows(&a, err);
}
