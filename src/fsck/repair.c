/* What loses nothing: rows of index.db that follow from other rows, in one transaction; files that
 * nothing names, renamed into quarantine/. The log is not touched: the next start moves a torn end
 * to quarantine/ by itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fsck/fsck_priv.h"

typedef struct {
    Fsck *fsck;
    Index *index;
} Mend;

static ErrCode mend_row(void *ctx, Str key, Str value, Err *err)
{
    Mend *mend = ctx;
    Str row_key = str_slice(key, 1, SIZE_MAX);
    ASSERT(value.len >= 1);
    mend->fsck->report.repaired++;
    if (value.ptr[0] == 0) return index_delete(mend->index, row_key, err);
    return index_put(mend->index, row_key, str_slice(value, 1, SIZE_MAX), err);
}

static ErrCode mend_rows(Fsck *fsck, Err *err)
{
    bool created = false;
    Str key = {NULL, 0};
    Str value = {NULL, 0};
    bool any = false;
    Mend mend = {.fsck = fsck};
    TRY(scratch_first(fsck->scratch, STR("R"), STR("R"), &key, &value, &any, err));
    if (!any) return OK;
    index_reader_free(TAKE(fsck->reader));
    index_free(TAKE(fsck->index));
    TRY(index_open(fsck->disk, NULL, &mend.index, &created, err));
    ErrCode code = index_begin(mend.index, err);
    if (code == OK) code = scratch_each(fsck->scratch, STR("R"), mend_row, &mend, err);
    if (code == OK) code = index_commit(mend.index, err);
    if (code == OK) code = index_checkpoint(mend.index, err);
    index_rollback(mend.index);
    index_free(mend.index);
    return code;
}

/* A name in quarantine/ that nothing has: slashes become underscores. */
static ErrCode put_aside(void *ctx, Str key, Str value, Err *err)
{
    Mend *mend = ctx;
    Disk *disk = mend->fsck->disk;
    char from[DISK_PATH_MAX];
    char to[DISK_PATH_MAX];
    char flat[DISK_PATH_MAX];
    DiskStat stat = {.exists = true};
    UNUSED(value);
    if (!str_to_cstr(str_slice(key, 1, SIZE_MAX), from, sizeof from)) return OK;
    memcpy(flat, from, sizeof flat);
    for (char *p = flat; *p != '\0'; p++) {
        if (*p == '/') *p = '_';
    }
    for (unsigned i = 0; stat.exists; i++) {
        int len = snprintf(to, sizeof to, "quarantine/%.*s.%u", 160, flat, i);
        ASSERT(len > 0 && (size_t)len < sizeof to);
        TRY(disk_stat(disk, to, &stat, err));
    }
    TRY(disk_rename_durable(disk, from, to, err));
    mend->fsck->report.repaired++;
    return fsck_say(mend->fsck, FSCK_NOTE, "put-aside", from, 0, 0, "", err, "is now %s", to);
}

ErrCode fsck_mend(Fsck *fsck, Err *err)
{
    Mend mend = {.fsck = fsck};
    if (fsck->pages_bad || (fsck->index != NULL && !fsck->index_whole)) {
        return fsck_say(fsck, FSCK_NOTE, "not-mended", "index.db", 0, 0, FSCK_MEND_INDEX, err,
                        "the index is damaged and has to be made anew first");
    }
    TRY(mend_rows(fsck, err));
    TRY(disk_mkdir_durable(fsck->disk, "quarantine", err));
    return scratch_each(fsck->scratch, STR("Q"), put_aside, &mend, err);
}

ErrCode fsck_repair(const FsckOptions *options, FsckReport *report, Err *err)
{
    Fsck fsck;
    ErrCode code = fsck_begin(&fsck, options, err);
    fsck.repairing = true;
    if (code == OK) code = fsck_checks(&fsck, err);
    if (code == OK) code = fsck_mend(&fsck, err);
    if (code == OK) *report = fsck.report;
    fsck_end(&fsck);
    return code;
}
