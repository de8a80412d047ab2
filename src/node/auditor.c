#include "node/auditor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/thread.h"
#include "base/wake.h"
#include "disk/posix.h"

#define ANCHOR_MS 1000 /* lines are attested so often where each is synced by itself */

struct Auditor {
    Disk *disk;
    Audit *audit;
    int sync_ms;
    Thread thread;
    Wake wake;
    _Atomic bool stopping;
};

static void auditor_run(void *arg)
{
    Auditor *a = arg;
    while (!atomic_load(&a->stopping)) {
        if (!wake_wait(&a->wake, a->sync_ms)) audit_sync(a->audit);
    }
}

static ErrCode open_dir(const AuditorOptions *options, Disk **out, Err *err)
{
    if (options->dir != NULL && options->dir[0] != '\0')
        return disk_posix_open(options->dir, out, err);
    size_t size = strlen(options->data) + sizeof "/" AUDITOR_DIR;
    AUTO(char, mem_free) dir = mem_new(size);
    snprintf(dir, size, "%s/" AUDITOR_DIR, options->data); /* fits */
    return disk_posix_open(dir, out, err);
}

static ErrCode open_audit(Auditor *a, const AuditorOptions *options, Err *err)
{
    AuditOptions audit = {.clock = options->clock,
                          .file_size_max = options->file_size_max,
                          .files_max = options->files_max,
                          .sync_each = options->sync_ms == 0,
                          .apart = options->apart,
                          .also_log = options->also_log};
    TRY(open_dir(options, &a->disk, err));
    audit.disk = a->disk;
    ErrCode code = audit_key_open(options->root, &audit.key, err);
    if (code == OK) code = audit_open(&audit, &a->audit, err);
    explicit_bzero(&audit.key, sizeof audit.key);
    return code;
}

ErrCode auditor_open(const AuditorOptions *options, Auditor **out, Err *err)
{
    AUTO(Auditor, auditor_close) a = mem_new(sizeof *a);
    a->sync_ms = options->sync_ms == 0 ? ANCHOR_MS : (int)options->sync_ms;
    wake_init(&a->wake);
    ErrCode code = open_audit(a, options, err);
    if (code != OK) return err_wrap(err, code, "open the audit log");
    TRY(thread_start(&a->thread, "audit", auditor_run, a, err));
    *out = TAKE(a);
    return OK;
}

Audit *auditor_audit(Auditor *auditor)
{
    return auditor->audit;
}

void auditor_close(Auditor *a)
{
    if (a == NULL) return;
    atomic_store(&a->stopping, true);
    wake_set(&a->wake);
    thread_join(&a->thread);
    audit_close(a->audit);
    disk_free(a->disk);
    wake_deinit(&a->wake);
    mem_free(a);
}
