#include "disk/disk.h"

#include "base/fault.h"
#include "disk/disk_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEMP_SUFFIX ".tmp"

static ErrCode code_of_errno(int saved)
{
    switch (saved) {
    case ENOENT: return ERR_NOT_FOUND;
    case EEXIST: return ERR_EXISTS;
    case ENOSPC:
    case EDQUOT: return ERR_NO_SPACE;
    case EMFILE:
    case ENFILE:
    case ENOMEM: return ERR_SYSTEM;
    default: return ERR_IO;
    }
}

ErrCode disk_fail(Err *err, int saved, const char *verb, const char *path)
{
    ASSERT(saved != 0);
    return err_set_errno(err, code_of_errno(saved), saved, "%s %s", verb,
                         path[0] == '\0' ? "." : path);
}

/* The injected failure of point, if there is one now. In the dispatch, so that each driver
 * has it. */
static ErrCode injected(const char *point, const char *verb, const char *path, Err *err)
{
    int saved = fault_point(point);

    return saved == 0 ? OK : disk_fail(err, saved, verb, path);
}

/* Paths may come from stored data, so a bad one is an error and no bug. */
static ErrCode check_path(const char *path, bool may_be_root, Err *err)
{
    size_t len = strnlen(path, DISK_PATH_MAX + 1);

    if (len > DISK_PATH_MAX) {
        return err_set(err, ERR_INVALID, "path of more than %d bytes: %.40s…", DISK_PATH_MAX, path);
    }
    if (len == 0) {
        return may_be_root ? OK : err_set(err, ERR_INVALID, "empty path");
    }
    Str part = {NULL, 0};
    Str rest = str_of(path, len);
    bool more = true;
    while (more) {
        more = str_split(rest, '/', &part, &rest);
        if (part.len == 0 || str_eq(part, STR(".")) || str_eq(part, STR(".."))) {
            return err_set(err, ERR_INVALID, "not a path inside the root: %s", path);
        }
    }
    return OK;
}

void disk_free(Disk *disk)
{
    if (disk != NULL) disk->ops->free(disk);
}

ErrCode disk_open(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err)
{
    TRY(check_path(path, false, err));
    TRY(injected("disk.open", "open", path, err));
    return disk->ops->open(disk, path, mode, out, err);
}

void disk_close(File *file)
{
    if (file != NULL) file->ops->close(file);
}

ErrCode disk_read(File *file, uint64_t offset, void *data, size_t len, size_t *got, Err *err)
{
    TRY(injected("disk.read", "read", file->path, err));
    return file->ops->read(file, offset, data, len, got, err);
}

ErrCode disk_read_all(File *file, uint64_t offset, void *data, size_t len, Err *err)
{
    size_t got = 0;

    TRY(disk_read(file, offset, data, len, &got, err));
    if (got < len) {
        return err_set(err, ERR_END, "read %s: %zu of %zu bytes at %" PRIu64, file->path, got, len,
                       offset);
    }
    return OK;
}

ErrCode disk_write(File *file, uint64_t offset, const void *data, size_t len, Err *err)
{
    TRY(injected("disk.write", "write", file->path, err));
    return file->ops->write(file, offset, data, len, err);
}

ErrCode disk_sync(File *file, Err *err)
{
    TRY(injected("disk.sync", "sync", file->path, err));
    if (fault_planted("skip-sync")) return OK;
    ErrCode code = file->ops->sync(file, err);
    if (code == ERR_IO && fault_planted("sync-again")) code = file->ops->sync(file, err);
    return code == ERR_IO && fault_planted("ignore-eio") ? OK : code;
}

ErrCode disk_size(File *file, uint64_t *out, Err *err)
{
    TRY(injected("disk.size", "size of", file->path, err));
    return file->ops->size(file, out, err);
}

ErrCode disk_truncate(File *file, uint64_t size, Err *err)
{
    TRY(injected("disk.truncate", "truncate", file->path, err));
    return file->ops->truncate(file, size, err);
}

ErrCode disk_rename(Disk *disk, const char *from, const char *to, Err *err)
{
    TRY(check_path(from, false, err));
    TRY(check_path(to, false, err));
    TRY(injected("disk.rename", "rename", from, err));
    return disk->ops->rename(disk, from, to, err);
}

ErrCode disk_unlink(Disk *disk, const char *path, Err *err)
{
    TRY(check_path(path, false, err));
    TRY(injected("disk.unlink", "remove", path, err));
    return disk->ops->unlink(disk, path, err);
}

ErrCode disk_mkdir(Disk *disk, const char *path, Err *err)
{
    TRY(check_path(path, false, err));
    TRY(injected("disk.mkdir", "make directory", path, err));
    return disk->ops->mkdir(disk, path, err);
}

ErrCode disk_sync_dir(Disk *disk, const char *path, Err *err)
{
    TRY(check_path(path, true, err));
    TRY(injected("disk.sync_dir", "sync directory", path, err));
    if (fault_planted("skip-dir-sync")) return OK;
    return disk->ops->sync_dir(disk, path, err);
}

ErrCode disk_list(Disk *disk, const char *path, DiskListFn fn, void *ctx, Err *err)
{
    TRY(check_path(path, true, err));
    TRY(injected("disk.list", "list", path, err));
    return disk->ops->list(disk, path, fn, ctx, err);
}

ErrCode disk_stat(Disk *disk, const char *path, DiskStat *out, Err *err)
{
    TRY(check_path(path, true, err));
    TRY(injected("disk.stat", "look at", path, err));
    return disk->ops->stat(disk, path, out, err);
}

ErrCode disk_space(Disk *disk, DiskSpace *out, Err *err)
{
    TRY(injected("disk.space", "free space of", "", err));
    return disk->ops->space(disk, out, err);
}

uint64_t disk_reserve(uint64_t total)
{
    return MAX(16 * MIB, MIN(total / 20, 1 * GIB));
}

ErrCode disk_lock(Disk *disk, const char *path, Str who, char *holder, size_t holder_size, Err *err)
{
    TRY(check_path(path, false, err));
    ASSERT(holder == NULL || holder_size > 0);
    TRY(injected("disk.lock", "lock", path, err));
    return disk->ops->lock(disk, path, who, holder, holder_size, err);
}

int disk_fd(File *file)
{
    return file->ops->fd(file);
}

/* The directory that holds path, "" for the root. out: DISK_PATH_MAX + 1 bytes. */
static void parent_of(const char *path, char *out)
{
    const char *slash = strrchr(path, '/');
    bool fits = str_to_cstr(str_of(path, slash == NULL ? 0 : (size_t)(slash - path)), out,
                            DISK_PATH_MAX + 1);

    ASSERT(fits);
}

/* A new empty file; one of that name that an earlier crash left behind goes away. */
static ErrCode open_temp(Disk *disk, const char *temp, File **out, Err *err)
{
    ErrCode code = disk_open(disk, temp, DISK_OPEN_CREATE, out, err);

    if (code != ERR_EXISTS) return code;
    TRY(disk_unlink(disk, temp, err));
    return disk_open(disk, temp, DISK_OPEN_CREATE, out, err);
}

static ErrCode write_temp(Disk *disk, const char *temp, Str data, Err *err)
{
    AUTO(File, disk_close) file = NULL;

    TRY(open_temp(disk, temp, &file, err));
    TRY(disk_write(file, 0, data.ptr, data.len, err));
    return disk_sync(file, err);
}

ErrCode disk_replace_durable(Disk *disk, const char *path, Str data, Err *err)
{
    char temp[DISK_PATH_MAX + sizeof TEMP_SUFFIX];
    char parent[DISK_PATH_MAX + 1];

    TRY(check_path(path, false, err));
    (void)snprintf(temp, sizeof temp, "%s" TEMP_SUFFIX, path); /* fits: path was checked */
    parent_of(path, parent);
    ErrCode code = write_temp(disk, temp, data, err);
    if (code == OK) code = disk_rename(disk, temp, path, err);
    if (code != OK) {
        ErrCode ignored = disk_unlink(disk, temp, NULL);
        (void)ignored; /* the first error is the one to tell; the next call removes what is left */
        return code;
    }
    return disk_sync_dir(disk, parent, err);
}

ErrCode disk_create_durable(Disk *disk, const char *path, Str data, Err *err)
{
    DiskStat stat;

    TRY(check_path(path, false, err));
    TRY(disk_stat(disk, path, &stat, err));
    if (stat.exists) return disk_fail(err, EEXIST, "create", path);
    return disk_replace_durable(disk, path, data, err);
}

ErrCode disk_rename_durable(Disk *disk, const char *from, const char *to, Err *err)
{
    char from_parent[DISK_PATH_MAX + 1];
    char to_parent[DISK_PATH_MAX + 1];

    TRY(disk_rename(disk, from, to, err));
    parent_of(from, from_parent);
    parent_of(to, to_parent);
    TRY(disk_sync_dir(disk, to_parent, err));
    return strcmp(from_parent, to_parent) == 0 ? OK : disk_sync_dir(disk, from_parent, err);
}

ErrCode disk_mkdir_durable(Disk *disk, const char *path, Err *err)
{
    char dir[DISK_PATH_MAX + 1];
    char parent[DISK_PATH_MAX + 1];
    size_t len = 0;

    TRY(check_path(path, false, err));
    do {
        len += 1 + strcspn(path + len + 1, "/");
        bool fits = str_to_cstr(str_of(path, len), dir, sizeof dir);
        ASSERT(fits);
        TRY(disk_mkdir(disk, dir, err));
        parent_of(dir, parent);
        TRY(disk_sync_dir(disk, parent, err));
    } while (path[len] != '\0');
    return OK;
}

ErrCode disk_read_file(Disk *disk, const char *path, size_t max, char **out, size_t *len, Err *err)
{
    AUTO(File, disk_close) file = NULL;
    uint64_t size = 0;
    void *data = NULL;

    TRY(disk_open(disk, path, DISK_OPEN_READ, &file, err));
    TRY(disk_size(file, &size, err));
    if (size > max || size > SIZE_MAX - 1) {
        return err_set(err, ERR_TOO_BIG, "read %s: %" PRIu64 " bytes, at most %zu expected", path,
                       size, max);
    }
    TRY(mem_take((size_t)size + 1, &data, err));
    AUTO(char, mem_free) text = data;
    TRY(disk_read_all(file, 0, text, (size_t)size, err));
    text[size] = '\0';
    *out = TAKE(text);
    *len = (size_t)size;
    return OK;
}
