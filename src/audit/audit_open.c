/* How a start finds the end of the chain. The anchor tells how far it was durable: what does not
 * fit behind it is a torn end, what does not fit before it was done by somebody else. */
#include "audit/audit_priv.h"

#include <inttypes.h>
#include <stdio.h>

#define TORN_MAX (1 * MIB) /* bytes of a torn end that are kept */

ErrCode audit_begin_file(Audit *audit, uint64_t number, Err *err)
{
    char name[AUDIT_NAME_SIZE];
    AUTO(File, disk_close) file = NULL;
    audit_file_name(number, name);
    TRY(disk_open(audit->options.disk, name, DISK_OPEN_CREATE, &file, err));
    TRY(disk_sync_dir(audit->options.disk, "", err));
    audit->file = TAKE(file);
    audit->number = number;
    audit->end = 0;
    audit->ragged = false;
    audit->doubted = false;
    return OK;
}

ErrCode audit_anchor_write(Audit *audit, const AuditAnchor *anchor, Err *err)
{
    AUTO_BUF(text, AUDIT_ANCHOR_MAX);
    TRY(audit_anchor_encode(anchor, &audit->options.key, &text, err));
    TRY(disk_replace_durable(audit->options.disk, AUDIT_ANCHOR, buf_str(&text), err));
    audit->anchor = *anchor;
    return OK;
}

/* The number of a file's first line; 0: it has no whole line. */
static ErrCode first_line(Disk *disk, uint64_t number, AuditLine *out, Err *err)
{
    char name[AUDIT_NAME_SIZE];
    AUTO(File, disk_close) file = NULL;
    AUTO(char, mem_free) data = mem_new(AUDIT_LINE_MAX);
    size_t got = 0;
    audit_file_name(number, name);
    TRY(disk_open(disk, name, DISK_OPEN_READ, &file, err));
    TRY(disk_read(file, 0, data, AUDIT_LINE_MAX, &got, err));
    Str text = str_of(data, got);
    size_t len = str_find_char(text, '\n');
    if (len == got || !audit_line_parse(str_slice(text, 0, len), out)) *out = (AuditLine){0};
    return OK;
}

/* Walks the files from the one that holds what the anchor attests last. *at: the one read last. */
static ErrCode walk(Audit *audit, const AuditFiles *files, AuditVerifier *v, size_t *at, Err *err)
{
    AuditLine first = {0};
    size_t from = files->count;
    while (from > 0 && (first.seq == 0 || first.seq > audit->anchor.last_seq))
        TRY(first_line(audit->options.disk, files->numbers[--from], &first, err));
    for (*at = from; *at < files->count; (*at)++) {
        char name[AUDIT_NAME_SIZE];
        audit_file_name(files->numbers[*at], name);
        TRY(audit_verify_file(v, audit->options.disk, name, name, err));
    }
    (*at)--;
    char name[AUDIT_NAME_SIZE];
    audit_file_name(files->numbers[*at], name);
    return audit_verify_end(v, name, err);
}

/* Cuts off what stands behind the last whole line; it is kept beside the log. */
static ErrCode cut_end(Audit *audit, uint64_t *torn_bytes, Err *err)
{
    uint64_t size = 0;
    char name[AUDIT_NAME_SIZE];
    TRY(disk_size(audit->file, &size, err));
    ASSERT(size >= audit->end);
    *torn_bytes = size - audit->end;
    if (*torn_bytes == 0) return OK;
    size_t len = (size_t)MIN(*torn_bytes, TORN_MAX);
    AUTO(char, mem_free) torn = mem_new(len);
    TRY(disk_read_all(audit->file, audit->end, torn, len, err));
    snprintf(name, sizeof name, "torn-%012" PRIu64, audit->next_seq); /* fits */
    ErrCode code = disk_create_durable(audit->options.disk, name, str_of(torn, len), err);
    if (code != OK && code != ERR_EXISTS) return code; /* there: a start died right here */
    err_clear(err);
    TRY(disk_truncate(audit->file, audit->end, err));
    return disk_sync(audit->file, err);
}

static ErrCode go_on(Audit *audit, const AuditFiles *files, const AuditVerifier *v,
                     AuditFound *found, Err *err)
{
    char name[AUDIT_NAME_SIZE];
    audit->number = files->numbers[files->count - 1];
    audit_file_name(audit->number, name);
    TRY(disk_open(audit->options.disk, name, DISK_OPEN_WRITE, &audit->file, err));
    audit->end = v->good_end;
    audit->next_seq = v->last_seq + 1;
    audit->last = v->last_seq == 0 ? audit->anchor.last : v->last;
    return cut_end(audit, &found->torn_bytes, err);
}

static ErrCode begin_behind(Audit *audit, const AuditFiles *files, const AuditVerifier *v, Err *err)
{
    uint64_t newest = files->count == 0 ? 0 : files->numbers[files->count - 1];
    bool attested = audit->anchor.last_seq >= v->last_seq;
    audit->next_seq = MAX(audit->anchor.last_seq, v->last_seq) + 1;
    audit->last = attested ? audit->anchor.last : v->last;
    return audit_begin_file(audit, newest + 1, err);
}

static ErrCode find_in(Audit *audit, const AuditFiles *files, AuditFound *found, Err *err)
{
    Err why = {0};
    size_t at = 0;
    AuditAnchor upper = {0};
    AuditVerifier v = {.anchor = &upper};
    Disk *disk = audit->options.disk;
    ErrCode code = audit_anchor_read(disk, &audit->options.key, &audit->anchor, &why);
    if (code != OK && code != ERR_NOT_FOUND && code != ERR_CORRUPT)
        return err_set(err, code, "%s", err_text(&why));
    bool attested = code == OK;
    found->fresh = files->count == 0 && code == ERR_NOT_FOUND;
    if (code == ERR_NOT_FOUND) err_clear(&why);
    if (!attested) {
        audit->anchor = (AuditAnchor){.first_seq = 1,
                                      .first_prev = audit_start(&audit->options.key),
                                      .last = audit_start(&audit->options.key)};
    }
    if (!attested && !found->fresh && why.message[0] == '\0')
        code = err_set(&why, ERR_CORRUPT, AUDIT_ANCHOR " is not there");
    audit->first_number = files->count == 0 ? 1 : files->numbers[0];
    upper = audit->anchor;
    if (files->count == 0) {
        if (attested && audit->anchor.last_seq > 0)
            code = err_set(&why, ERR_CORRUPT, "the files that it attests are not there");
        if (!found->fresh && code != OK)
            snprintf(found->broken, sizeof found->broken, "%s", err_text(&why));
        if (found->fresh) TRY(audit_anchor_write(audit, &audit->anchor, err));
        return begin_behind(audit, files, &v, err);
    }
    Err bad = {0};
    ErrCode walked = walk(audit, files, &v, &at, &bad);
    if (walked != OK && walked != ERR_CORRUPT) return err_set(err, walked, "%s", err_text(&bad));
    bool reached = v.anchor_seen || upper.last_seq == 0;
    bool newest = at == files->count - 1;
    if (attested && reached && newest) return go_on(audit, files, &v, found, err);
    snprintf(found->broken, sizeof found->broken, "%s",
             err_text(walked != OK && attested ? &bad : &why));
    return begin_behind(audit, files, &v, err);
}

ErrCode audit_find_end(Audit *audit, AuditFound *found, Err *err)
{
    AuditFiles files = {0};
    *found = (AuditFound){0};
    TRY(audit_list(audit->options.disk, &files, err));
    ErrCode code = find_in(audit, &files, found, err);
    mem_free(files.numbers);
    return code;
}
