#include "fsck/copy_root.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "control/local/local.h"
#include "disk/sub.h"
#include "fsck/copy_priv.h"
#include "index/index.h"

#define PLAN_MAX 256

ErrCode copy_pass(const char *point, Err *err)
{
    int saved = fault_point(point);
    return saved == 0 ? OK : err_set_errno(err, ERR_IO, saved, "fault point %s", point);
}

void copy_tell(CopyRoot *copy)
{
    const CopyRootOptions *options = copy->options;
    if (options->progress != NULL) options->progress(options->ctx, &copy->progress);
}

static void copy_deinit(CopyRoot *copy)
{
    disk_free(copy->beside);
    hash_free(copy->hash);
    mem_free(copy->memory);
}

static ErrCode copy_init(CopyRoot *copy, Err *err)
{
    copy->hash = hash_new(HASH_SHA256);
    copy->memory = mem_new(COPY_BLOCK + DISK_BODY_ALIGN);
    copy->block = (uint8_t *)ALIGN_UP((uintptr_t)copy->memory, (uintptr_t)DISK_BODY_ALIGN);
    copy->progress.what = "copying";
    TRY(disk_mkdir_durable(copy->options->target, COPY_ROOT_DIR, err));
    return disk_sub_open(copy->options->target, COPY_ROOT_DIR, &copy->beside, err);
}

ErrCode copy_root_is_ready(Disk *target, bool *ready, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(target, ROOT_RECOVER_READY, &stat, err));
    *ready = stat.exists;
    return OK;
}

/* --- the plan: of which source, and the new root's uuid --- */

static int plan_text(const RootInfo *from, const char *root, char out[PLAN_MAX])
{
    char uuid[37];
    uuid_text(from->uuid, uuid);
    return snprintf(out, PLAN_MAX, "%s %" PRIu64 " %s\n", uuid, from->incarnation, root);
}

/* *same: what an earlier run has copied is of this source, and of the time since its last start. */
static ErrCode read_plan(CopyRoot *copy, bool *same, Err *err)
{
    AUTO(char, mem_free) text = NULL;
    char wanted[PLAN_MAX];
    size_t len = 0;
    DiskStat stat;
    *same = false;
    TRY(disk_stat(copy->options->target, COPY_PLAN, &stat, err));
    if (!stat.exists) return OK;
    TRY(disk_read_file(copy->options->target, COPY_PLAN, PLAN_MAX, &text, &len, err));
    Str root = str_slice(str_of(text, len), len < 37 ? len : len - 37, 36);
    if (!uuid_parse(root, &copy->info.uuid)) return OK;
    char uuid[37];
    uuid_text(copy->info.uuid, uuid);
    int made = plan_text(&copy->options->from, uuid, wanted);
    *same = str_eq(str_of(text, len), str_of(wanted, (size_t)made));
    return OK;
}

static ErrCode begin(CopyRoot *copy, Err *err)
{
    const CopyRootOptions *options = copy->options;
    bool same = false;
    TRY(read_plan(copy, &same, err));
    if (!same) {
        char uuid[37];
        char text[PLAN_MAX];
        Rng rng;
        rng_init(&rng, options->seed ^ 1);
        copy->info.uuid = id128_random(&rng);
        uuid_text(copy->info.uuid, uuid);
        TRY(copy_files_discard(options->target, COPY_ROOT_DIR, err));
        int len = plan_text(&options->from, uuid, text);
        TRY(disk_replace_durable(options->target, COPY_PLAN, str_of(text, (size_t)len), err));
    }
    copy->report->root = copy->info.uuid;
    return OK;
}

ErrCode copy_root_needs(const CopyRootOptions *options, uint64_t *bytes, Err *err)
{
    CopyRootReport ignored = {0};
    __attribute__((cleanup(copy_deinit))) CopyRoot copy = {.options = options, .report = &ignored};
    bool same = false;
    DiskSpace space;
    TRY(copy_init(&copy, err));
    TRY(read_plan(&copy, &same, err));
    TRY(copy_files_count(&copy, bytes, err));
    if (!same) *bytes = copy.progress.bytes_total;
    TRY(disk_space(options->target, &space, err));
    *bytes += disk_reserve(space.total);
    return OK;
}

/* --- is it whole? --- */

static ErrCode on_finding(void *ctx, const FsckFinding *finding, Err *err)
{
    CopyRoot *copy = ctx;
    bool known = strcmp(finding->kind, FSCK_KIND_LACKS) == 0 && copy->options->lacking > 0;
    if (finding->level != FSCK_DAMAGE || copy->options->finding == NULL || known) return OK;
    return copy->options->finding(copy->options->ctx, finding, err);
}

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    CopyRoot *copy = ctx;
    UNUSED(phase);
    copy->progress.bytes = done;
    copy->progress.bytes_total = total;
    copy_tell(copy);
}

/* Whether every structure is what was written, and they agree: all of it, from the copy. */
static ErrCode check_whole(CopyRoot *copy, Err *err)
{
    const CopyRootOptions *options = copy->options;
    FsckReport report = {0};
    FsckOptions fsck = {.disk = copy->beside,
                        .scratch = options->scratch,
                        .finding = on_finding,
                        .progress = on_progress,
                        .ctx = copy};
    copy->progress = (CopyRootProgress){.what = "checking the copy"};
    TRY(index_remove(options->scratch, err));
    TRY(fsck_run(&fsck, &report, err));
    if (report.damages == report.lacking && report.lacking == options->lacking) return OK;
    return err_set(err, ERR_CORRUPT, "what was copied is not whole: %" PRIu64 " damaged places",
                   report.damages);
}

/* --- the run --- */

/* The name it will have; incarnation 0: it has not been started. Its packs go on to name whose they
 * were. */
static ErrCode write_root(CopyRoot *copy, Err *err)
{
    const RootInfo *from = &copy->options->from;
    copy->info = (RootInfo){.uuid = copy->info.uuid,
                            .cluster = from->cluster,
                            .created_ms = clock_wall_ms(copy->options->clock),
                            .feature_level = from->feature_level,
                            .storage = root_storage(from)};
    return root_save(copy->beside, &copy->info, err);
}

/* What is not whole is copied anew by the next run. */
static ErrCode forget(CopyRoot *copy, ErrCode code, Err *err)
{
    Err ignored = {0};
    if (code != ERR_CORRUPT) return code;
    if (disk_unlink(copy->options->target, COPY_PLAN, &ignored) != OK)
        return err_wrap(err, code, "remove %s too", ROOT_RECOVER_DIR);
    return code;
}

static ErrCode make(CopyRoot *copy, Err *err)
{
    uint64_t missing = 0;
    TRY(begin(copy, err));
    TRY(copy_files_count(copy, &missing, err));
    TRY(copy_files(copy, err));
    TRY(copy_pass("recover.step", err));
    TRY(copy_log(copy, err));
    Control *control = copy->options->control;
    if (control != NULL) TRY(control_local_copy(control, copy->beside, err));
    TRY(write_root(copy, err));
    TRY(copy_pass("recover.step", err));
    return check_whole(copy, err);
}

/* "before_recover_N", the first that is free; "" if nothing is to be put aside. */
static ErrCode name_aside(Disk *target, char out[64], Err *err)
{
    DiskStat stat = {.exists = true};
    for (unsigned i = 1; stat.exists; i++) {
        snprintf(out, 64, "quarantine/before_recover_%u", i); /* fits */
        TRY(disk_stat(target, out, &stat, err));
    }
    return OK;
}

ErrCode copy_root_make(const CopyRootOptions *options, CopyRootReport *report, Err *err)
{
    *report = (CopyRootReport){0};
    char aside[64];
    __attribute__((cleanup(copy_deinit))) CopyRoot copy = {.options = options, .report = report};
    DiskStat stat;
    TRY(copy_init(&copy, err));
    ErrCode code = make(&copy, err);
    if (code != OK) return forget(&copy, code, err);
    TRY(disk_stat(options->target, COPY_MOVED, &stat, err));
    if (stat.exists) TRY(disk_unlink(options->target, COPY_MOVED, err));
    TRY(disk_sync_dir(options->target, ROOT_RECOVER_DIR, err));
    TRY(name_aside(options->target, aside, err));
    return disk_create_durable(options->target, ROOT_RECOVER_READY, str_from_cstr(aside), err);
}
