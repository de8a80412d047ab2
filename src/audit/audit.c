#include "audit/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit/audit_priv.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/metric.h"
#include "text/json.h"

#define NS_PER_S 1000000000ULL

static Metric lines = {.kind = METRIC_COUNTER,
                       .name = "holdfast_audit_lines_total",
                       .help = "Lines written to the audit log.",
                       .labels = ""};
static Metric lost = {.kind = METRIC_COUNTER,
                      .name = "holdfast_audit_lost_lines_total",
                      .help = "Lines that the audit log could not take; the log has them.",
                      .labels = ""};
static Metric failing = {.kind = METRIC_GAUGE,
                         .name = "holdfast_audit_failing",
                         .help = "1 while the audit log can't be written, else 0.",
                         .labels = ""};

static void register_metrics(void)
{
    static bool done; /* main only, once a process */
    if (done) return;
    done = true;
    metric_register(&lines);
    metric_register(&lost);
    metric_register(&failing);
}

bool audit_works(const Audit *audit)
{
    uint64_t since = atomic_load_explicit(&audit->since_ns, memory_order_relaxed);
    if (since != 0 && clock_boot_ns(audit->options.clock) > since + AUDIT_STILL_NS) return false;
    return !atomic_load_explicit(&audit->failing, memory_order_relaxed);
}

/* ---- one line ---- */

static void member(JsonWriter *json, const char *name, Str value)
{
    if (value.len > 0) json_member_str(json, name, value);
}

/* The members of a record, and the number and time before them. Behind `last` they end. */
static ErrCode make_line(Audit *audit, const AuditRecord *r, Err *err)
{
    Buf *line = &audit->line;
    JsonWriter json;
    buf_clear(line);
    TRY(audit_line_begin(line, audit->next_seq, err));
    size_t brace = line->len;
    json_writer_init(&json, line);
    json_write_object_begin(&json);
    json_member_time_ms(&json, "ts", clock_wall_ms(audit->options.clock));
    json_member_cstr(&json, "stream", "audit");
    json_member_cstr(&json, "event", r->event);
    member(&json, "request_id", r->request_id);
    member(&json, "peer", r->peer);
    member(&json, "key_id", r->key_id);
    member(&json, "door", str_from_cstr(r->door));
    member(&json, "action", str_from_cstr(r->action));
    member(&json, "bucket", r->bucket);
    member(&json, "key", r->key);
    member(&json, "path", r->path);
    member(&json, "file", r->file);
    member(&json, "version", r->version);
    if (r->has_bytes) json_member_u64(&json, "bytes", r->bytes);
    if (r->status != 0) json_member_u64(&json, "status", (uint64_t)r->status);
    member(&json, "result", str_from_cstr(r->result));
    member(&json, "detail", r->detail);
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    line->data[brace] = ','; /* the object goes on */
    line->len--;
    return audit_line_end(line, &audit->last, err);
}

/* ---- files ---- */

/* The file is full, or a sync of it failed: the chain goes on in the next. */
static ErrCode next_file(Audit *audit, bool sync, Err *err)
{
    if (audit->retired_count == AUDIT_RETIRED_MAX)
        return err_set(err, ERR_BUSY, "files of the audit log fill faster than they are synced");
    if (!sync) audit->doubted = true; /* even if no other can be begun now */
    /* Nobody comes back to it: it ends with a whole line. */
    if (audit->ragged) TRY(disk_truncate(audit->file, audit->end, err));
    audit->ragged = false;
    /* Its end must be durable before there are lines that build on it. If that fails it is left all
     * the same, since no second sync could tell (fsyncgate). */
    Err more = {0};
    ErrCode synced = sync && !audit->doubted ? disk_sync(audit->file, err) : OK;
    audit->doubted = audit->doubted || synced != OK;
    File *old = audit->file;
    ErrCode code = audit_begin_file(audit, audit->number + 1, synced == OK ? err : &more);
    if (code == OK) audit->retired[audit->retired_count++] = old;
    return synced != OK ? synced : code;
}

static ErrCode put_line(Audit *audit, Err *err)
{
    size_t len = audit->line.len;
    int fault = fault_point("audit.write");
    if (fault != 0) return err_set_errno(err, ERR_IO, fault, "write a line");
    if (audit->ragged) TRY(disk_truncate(audit->file, audit->end, err));
    audit->ragged = true;
    TRY(disk_write(audit->file, audit->end, audit->line.data, len, err));
    audit->ragged = false;
    return OK;
}

static void took_line(Audit *audit)
{
    audit->end += audit->line.len;
    audit->last = audit_digest(str_slice(buf_str(&audit->line), 0, audit->line.len - 1));
    audit->next_seq++;
    metric_add(&lines, 1);
}

static ErrCode write_line(Audit *audit, const AuditRecord *record, Err *err)
{
    TRY(make_line(audit, record, err));
    bool full = audit->end > 0 && audit->end + audit->line.len > audit->options.file_size_max;
    if (full || audit->doubted) TRY(next_file(audit, true, err));
    TRY(put_line(audit, err));
    took_line(audit);
    if (!audit->options.sync_each) return OK;
    ErrCode code = disk_sync(audit->file, err);
    if (code == OK) return OK;
    /* What the file holds is not known any more; no second sync could tell (fsyncgate). */
    Err more = {0};
    if (next_file(audit, false, &more) != OK) return err_wrap(err, code, "%s", err_text(&more));
    return code;
}

/* ---- lines that could not be written ---- */

/* The log has each line that the file has not. */
static void tell_log(const AuditRecord *r)
{
    LOG_TO(AUDIT, INFO, "audit.line",
           "what=%s request_id=" LOG_STR " peer=" LOG_STR " key_id=" LOG_STR " action=" LOG_STR
           " bucket=" LOG_STR " key=" LOG_STR " path=" LOG_STR " status=%d result=%s"
           " detail=" LOG_STR,
           r->event, LOG_ARG(r->request_id), LOG_ARG(r->peer), LOG_ARG(r->key_id),
           LOG_CSTR(r->action), LOG_ARG(r->bucket), LOG_ARG(r->key), LOG_ARG(r->path), r->status,
           r->result == NULL ? "" : r->result, LOG_ARG(r->detail));
}

static void now_failing(Audit *audit, const Err *err)
{
    metric_set(&failing, 1);
    if (atomic_exchange(&audit->failing, true)) return;
    LOG_TO(OPERATIONS, ERROR, "audit.failed", "error=" LOG_STR, LOG_CSTR(err_text(err)));
}

/* Tells of what was lost, if the file takes lines again. */
static ErrCode tell_lost(Audit *audit, Err *err)
{
    uint64_t lines_lost = atomic_load(&audit->lost);
    if (lines_lost == 0 && !atomic_load(&audit->failing)) return OK;
    char text[64];
    snprintf(text, sizeof text, "lines=%" PRIu64, lines_lost); /* fits */
    AuditRecord record = {.event = "audit.lost", .detail = str_from_cstr(text)};
    TRY(write_line(audit, &record, err));
    LOG_TO(OPERATIONS, WARN, "audit.works", "lost_lines=%" PRIu64, lines_lost);
    atomic_fetch_sub(&audit->lost, lines_lost);
    atomic_store(&audit->failing, false);
    metric_set(&failing, 0);
    return OK;
}

static void write_record(Audit *audit, const AuditRecord *record)
{
    Err err = {0};
    ErrCode code = tell_lost(audit, &err);
    if (code == OK) code = write_line(audit, record, &err);
    if (code != OK) {
        atomic_fetch_add(&audit->lost, 1);
        metric_add(&lost, 1);
        now_failing(audit, &err);
    }
    if (code != OK || audit->options.also_log) tell_log(record);
}

void audit_write_now(Audit *audit, const AuditRecord *record)
{
    lock_take(&audit->lock);
    write_record(audit, record);
    lock_give(&audit->lock);
}

void audit_write(Audit *audit, const AuditRecord *record)
{
    Err err = {0};
    if (audit->queue == NULL) {
        audit_write_now(audit, record);
        return;
    }
    if (audit_hand_over(audit, record)) return;
    atomic_fetch_add(&audit->lost, 1);
    metric_add(&lost, 1);
    ErrCode code = err_set(&err, ERR_IO, "%d lines wait: its disk stands still, or is too slow",
                           AUDIT_QUEUE_MAX);
    UNUSED(code); /* it is in err */
    now_failing(audit, &err);
    tell_log(record);
}

/* ---- refusals ---- */

static void tell_refused_more(Audit *audit)
{
    if (audit->refused_more == 0) return;
    char text[64];
    snprintf(text, sizeof text, "count=%" PRIu64, audit->refused_more); /* fits */
    AuditRecord record = {.event = "audit.refused_more", .detail = str_from_cstr(text)};
    audit->refused_more = 0;
    audit_write(audit, &record);
}

bool audit_refused(Audit *audit, const AuditRecord *record)
{
    uint64_t second = clock_boot_ns(audit->options.clock) / NS_PER_S;
    lock_take(&audit->gate);
    if (second != audit->refused_second) {
        audit->refused_second = second;
        audit->refused_lines = 0;
        tell_refused_more(audit);
    }
    bool taken = audit->refused_lines < AUDIT_REFUSED_MAX;
    if (taken) {
        audit->refused_lines++;
        audit_write(audit, record);
    } else {
        audit->refused_more++;
    }
    lock_give(&audit->gate);
    return taken;
}

/* ---- now and then ---- */

/* The chain as it is now, and the files that must be synced for it. The newest is not closed
 * before the next audit_sync(), since nobody else closes files. */
typedef struct {
    File *file;
    uint64_t number;
    File *retired[AUDIT_RETIRED_MAX];
    size_t retired_count;
    AuditAnchor anchor; /* its last line */
} Point;

static void take_point(Audit *audit, Point *point)
{
    Err err = {0};
    lock_take(&audit->gate);
    if (clock_boot_ns(audit->options.clock) / NS_PER_S != audit->refused_second)
        tell_refused_more(audit);
    lock_give(&audit->gate);
    lock_take(&audit->lock);
    if (atomic_load(&audit->failing) && tell_lost(audit, &err) != OK) now_failing(audit, &err);
    *point = (Point){.file = audit->file, .number = audit->number, .anchor = audit->anchor};
    point->anchor.last_seq = audit->next_seq - 1;
    point->anchor.last = audit->last;
    for (; point->retired_count < audit->retired_count; point->retired_count++)
        point->retired[point->retired_count] = audit->retired[point->retired_count];
    audit->retired_count = 0;
    lock_give(&audit->lock);
}

/* The number of the oldest file that is kept; its first line becomes the anchor's. */
static ErrCode find_first(Audit *audit, const Point *point, AuditAnchor *anchor, uint64_t *first,
                          Err *err)
{
    *first = audit->first_number;
    if (point->number - *first < audit->options.files_max) return OK;
    char name[AUDIT_NAME_SIZE];
    uint64_t number = point->number - audit->options.files_max + 1;
    AUTO(File, disk_close) file = NULL;
    AUTO(char, mem_free) data = mem_new(AUDIT_LINE_MAX);
    size_t got = 0;
    audit_file_name(number, name);
    TRY(disk_open(audit->options.disk, name, DISK_OPEN_READ, &file, err));
    TRY(disk_read(file, 0, data, AUDIT_LINE_MAX, &got, err));
    Str text = str_of(data, got);
    AuditLine line;
    size_t len = str_find_char(text, '\n');
    if (len == got || !audit_line_parse(str_slice(text, 0, len), &line))
        return OK; /* no line yet */
    anchor->first_seq = line.seq;
    anchor->first_prev = line.prev;
    *first = number;
    return OK;
}

static ErrCode remove_until(Audit *audit, uint64_t first, Err *err)
{
    for (; audit->first_number < first; audit->first_number++) {
        char name[AUDIT_NAME_SIZE];
        audit_file_name(audit->first_number, name);
        ErrCode code = disk_unlink(audit->options.disk, name, err);
        if (code != OK && code != ERR_NOT_FOUND) return code;
        err_clear(err);
    }
    return OK;
}

/* The file is synced: the anchor may say so. */
static ErrCode attest(Audit *audit, Point *point, Err *err)
{
    uint64_t first = 0;
    TRY(find_first(audit, point, &point->anchor, &first, err));
    bool same = point->anchor.last_seq == audit->anchor.last_seq &&
                point->anchor.first_seq == audit->anchor.first_seq;
    if (!same) TRY(audit_anchor_write(audit, &point->anchor, err));
    return remove_until(audit, first, err);
}

/* The file takes no more lines: what it holds is not known any more (fsyncgate). */
static void sync_failed(Audit *audit, const Point *point, const Err *err)
{
    Err more = {0};
    lock_take(&audit->lock);
    if (audit->file == point->file && next_file(audit, false, &more) != OK)
        now_failing(audit, &more);
    now_failing(audit, err);
    lock_give(&audit->lock);
}

void audit_sync(Audit *audit)
{
    Err err = {0};
    Point point;
    take_point(audit, &point);
    for (size_t i = 0; i < point.retired_count; i++)
        disk_close(point.retired[i]); /* synced when the next one was begun */
    if (point.anchor.last_seq == audit->anchor.last_seq) return;
    if (disk_sync(point.file, &err) != OK) {
        sync_failed(audit, &point, &err);
        return;
    }
    bool good = attest(audit, &point, &err) == OK;
    if (!good && audit->attests)
        LOG_TO(OPERATIONS, WARN, "audit.not_attested", "error=" LOG_STR, LOG_CSTR(err_text(&err)));
    audit->attests = good;
}

/* ---- life ---- */

static void tell_opened(Audit *audit, const AuditFound *found)
{
    char text[96];
    if (found->torn_bytes > 0) {
        snprintf(text, sizeof text, "bytes=%" PRIu64, found->torn_bytes); /* fits */
        AuditRecord torn = {.event = "audit.torn", .detail = str_from_cstr(text)};
        LOG_TO(OPERATIONS, WARN, "audit.torn", "bytes=%" PRIu64, found->torn_bytes);
        audit_write(audit, &torn);
    }
    if (found->broken[0] != '\0') {
        AuditRecord broken = {.event = "audit.broken", .detail = str_from_cstr(found->broken)};
        LOG_TO(SECURITY, ERROR, "audit.broken", "error=" LOG_STR, LOG_CSTR(found->broken));
        audit_write(audit, &broken);
    }
    snprintf(text, sizeof text, "version=%s pid=%d%s", HOLDFAST_VERSION, (int)getpid(),
             found->fresh ? " chain=new" : ""); /* fits */
    AuditRecord record = {.event = "audit.started", .detail = str_from_cstr(text)};
    audit_write(audit, &record);
}

static void audit_free(Audit *audit)
{
    if (audit == NULL) return;
    audit_stop_writer(audit);
    for (size_t i = 0; i < audit->retired_count; i++)
        disk_close(audit->retired[i]);
    disk_close(audit->file);
    buf_deinit(&audit->line);
    lock_deinit(&audit->lock);
    lock_deinit(&audit->gate);
    explicit_bzero(&audit->options.key, sizeof audit->options.key);
    mem_free(audit);
}
AUTO_DEFINE(Audit, audit_free);

ErrCode audit_open(const AuditOptions *options, Audit **out, Err *err)
{
    ASSERT(options->files_max >= 2 && options->file_size_max >= AUDIT_LINE_MAX);
    AUTO(Audit, audit_free) audit = mem_new(sizeof *audit);
    AuditFound found;
    audit->options = *options;
    audit->attests = true;
    lock_init(&audit->lock, LOCK_RANK_AUDIT);
    lock_init(&audit->gate, LOCK_RANK_AUDIT_GATE);
    buf_init(&audit->line, AUDIT_LINE_MAX);
    register_metrics();
    TRY(audit_find_end(audit, &found, err));
    tell_opened(audit, &found);
    audit_sync(audit);
    if (options->apart && !options->sync_each) TRY(audit_start_writer(audit, err));
    *out = TAKE(audit);
    return OK;
}

void audit_close(Audit *audit)
{
    if (audit == NULL) return;
    AuditRecord record = {.event = "audit.stopped"};
    audit_write(audit, &record);
    audit_stop_writer(audit);
    audit_sync(audit);
    audit_free(audit);
}
