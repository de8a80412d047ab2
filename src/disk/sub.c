#include "disk/sub.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    Disk base;
    Disk *outer;
    char dir[SUB_DIR_MAX + 1];
} Sub;

static Sub *sub_of(Disk *disk)
{
    return (Sub *)disk;
}

/* The outer Disk's path; "" is the directory itself. */
static ErrCode sub_path(const Sub *sub, const char *path, char out[DISK_PATH_MAX + 1], Err *err)
{
    int len = snprintf(out, DISK_PATH_MAX + 1, "%s%s%s", sub->dir, path[0] == '\0' ? "" : "/",
                       path);
    if (len < 0 || len > DISK_PATH_MAX)
        return err_set(err, ERR_INVALID, "path of %d bytes in %s", len, sub->dir);
    return OK;
}

static void sub_free(Disk *disk)
{
    mem_free(sub_of(disk));
}

static ErrCode sub_open(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err)
{
    char full[DISK_PATH_MAX + 1];
    TRY(sub_path(sub_of(disk), path, full, err));
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->open(outer, full, mode, out, err);
}

static ErrCode sub_rename(Disk *disk, const char *from, const char *to, Err *err)
{
    char full_from[DISK_PATH_MAX + 1];
    char full_to[DISK_PATH_MAX + 1];
    TRY(sub_path(sub_of(disk), from, full_from, err));
    TRY(sub_path(sub_of(disk), to, full_to, err));
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->rename(outer, full_from, full_to, err);
}

static ErrCode sub_unlink(Disk *disk, const char *path, Err *err)
{
    char full[DISK_PATH_MAX + 1];
    TRY(sub_path(sub_of(disk), path, full, err));
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->unlink(outer, full, err);
}

static ErrCode sub_mkdir(Disk *disk, const char *path, Err *err)
{
    char full[DISK_PATH_MAX + 1];
    TRY(sub_path(sub_of(disk), path, full, err));
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->mkdir(outer, full, err);
}

static ErrCode sub_sync_dir(Disk *disk, const char *path, Err *err)
{
    char full[DISK_PATH_MAX + 1];
    TRY(sub_path(sub_of(disk), path, full, err));
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->sync_dir(outer, full, err);
}

static ErrCode sub_list(Disk *disk, const char *path, DiskListFn fn, void *ctx, Err *err)
{
    char full[DISK_PATH_MAX + 1];
    TRY(sub_path(sub_of(disk), path, full, err));
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->list(outer, full, fn, ctx, err);
}

static ErrCode sub_stat(Disk *disk, const char *path, DiskStat *out, Err *err)
{
    char full[DISK_PATH_MAX + 1];
    TRY(sub_path(sub_of(disk), path, full, err));
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->stat(outer, full, out, err);
}

static ErrCode sub_space(Disk *disk, DiskSpace *out, Err *err)
{
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->space(outer, out, err);
}

static ErrCode sub_lock(Disk *disk, const char *path, Str who, char *holder, size_t holder_size,
                        Err *err)
{
    char full[DISK_PATH_MAX + 1];
    TRY(sub_path(sub_of(disk), path, full, err));
    Disk *outer = sub_of(disk)->outer;
    return outer->ops->lock(outer, full, who, holder, holder_size, err);
}

/* Files are the outer driver's: their functions are never looked up here. */
static const DiskOps sub_ops = {
    .name = "sub",
    .free = sub_free,
    .open = sub_open,
    .rename = sub_rename,
    .unlink = sub_unlink,
    .mkdir = sub_mkdir,
    .sync_dir = sub_sync_dir,
    .list = sub_list,
    .stat = sub_stat,
    .space = sub_space,
    .lock = sub_lock,
};

ErrCode disk_sub_open(Disk *disk, const char *dir, Disk **out, Err *err)
{
    if (dir[0] == '\0' || strlen(dir) > SUB_DIR_MAX)
        return err_set(err, ERR_INVALID, "directory of %zu bytes", strlen(dir));
    Sub *sub = mem_new(sizeof *sub);
    sub->base.ops = &sub_ops;
    sub->outer = disk;
    memcpy(sub->dir, dir, strlen(dir) + 1);
    *out = &sub->base;
    return OK;
}
