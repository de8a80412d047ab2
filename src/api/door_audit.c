#include "api/door_audit.h"

#include "base/log.h"

static bool changes(HttpMethod method)
{
    return method != HTTP_METHOD_GET && method != HTTP_METHOD_HEAD && method != HTTP_METHOD_OPTIONS;
}

static AuditRecord begin(const DoorAudit *a, const char *event)
{
    return (AuditRecord){.event = event,
                         .request_id = http_request_id(a->req),
                         .peer = http_request_peer(a->req),
                         .key_id = a->key_id,
                         .door = a->door,
                         .status = a->status,
                         .result = a->code == OK ? "ok" : err_info(a->code)->slug};
}

ErrCode door_audit_allows(const DoorAudit *a, Err *err)
{
    if (a->audit == NULL || !a->strict || !changes(http_request_method(a->req))) return OK;
    if (audit_works(a->audit)) return OK;
    return err_set(err, ERR_BUSY, "the audit log can't be written, and no change is made without");
}

bool door_audit_refused(const DoorAudit *a)
{
    if (a->code != ERR_UNAUTHENTICATED && a->code != ERR_FORBIDDEN) return false;
    AuditRecord record = begin(a, "audit.refused");
    record.action = http_method_name(http_request_method(a->req));
    record.path = http_request_path(a->req);
    if (a->audit == NULL || !audit_refused(a->audit, &record)) return true;
    LOG_TO(SECURITY, INFO, "http.refused",
           "request_id=" LOG_STR " peer=" LOG_STR " key_id=" LOG_STR " method=%s path=" LOG_STR
           " code=%s",
           LOG_ARG(record.request_id), LOG_ARG(record.peer), LOG_ARG(record.key_id), record.action,
           LOG_ARG(record.path), record.result);
    return true;
}

bool door_audit_is_change(const DoorAudit *a)
{
    return a->audit != NULL && a->key_id.len > 0 && changes(http_request_method(a->req));
}

AuditRecord door_audit_change(const DoorAudit *a, const char *action)
{
    AuditRecord record = begin(a, "audit.change");
    record.action = action;
    return record;
}

void door_audit_version(AuditRecord *record, const Mutation *m, DoorAuditIds *ids)
{
    bool done = m->done != NULL && m->code == OK;
    FileId file = done && !id128_is_zero(m->row.file) ? m->row.file : m->file;
    if (!id128_is_zero(file)) {
        id128_text(file, ids->file);
        record->file = str_from_cstr(ids->file);
    }
    if (done && m->row.version.lsn != 0) {
        version_id_text(m->row.version, ids->version);
        record->version = str_from_cstr(ids->version);
        record->has_bytes = true;
        record->bytes = m->row.size;
    }
}
