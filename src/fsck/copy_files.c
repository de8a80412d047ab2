/* The bytes: a file is copied to NAME.part, synced, read back from the disk, compared, and only
 * then gets its name. */
#include "fsck/copy_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"

#define PART ".part"

static const char *const dirs[] = {"packs", "blobs"};
static const char *const singles[] = {"index.db", "index.db-wal", "index.mark"};

/* --- walking --- */

typedef struct {
    char *text; /* names, each with a NUL, directories with a '/' before */
    size_t len;
    size_t capacity;
} Names;

static ErrCode note_name(void *ctx, const char *name, bool is_dir, Err *err)
{
    Names *names = ctx;
    size_t len = strlen(name) + 1 + is_dir;
    UNUSED(err);
    if (names->len + len > names->capacity) {
        names->capacity = MAX((size_t)4096, 2 * (names->len + len));
        names->text = mem_resize(names->text, names->capacity);
    }
    char *at = names->text + names->len;
    if (is_dir) *at++ = '/';
    memcpy(at, name, strlen(name) + 1);
    names->len += len;
    return OK;
}

static ErrCode join(const char *dir, const char *name, char out[DISK_PATH_MAX], Err *err)
{
    int len = snprintf(out, DISK_PATH_MAX, "%s%s%s", dir, dir[0] == '\0' ? "" : "/", name);
    if (len > 0 && len < DISK_PATH_MAX) return OK;
    return err_set(err, ERR_INVALID, "%s: a name in it is too long to be ours", dir);
}

ErrCode copy_walk(Disk *disk, const char *dir, CopyWalkFn fn, CopyWalkFn dir_fn, void *ctx,
                  Err *err)
{
    DiskStat stat;
    Names names = {0};
    TRY(disk_stat(disk, dir, &stat, err));
    if (!stat.exists || !stat.is_dir) return OK;
    ErrCode code = disk_list(disk, dir, note_name, &names, err);
    AUTO(char, mem_free) owned = names.text;
    TRY(code);
    for (size_t at = 0; at < names.len; at += strlen(owned + at) + 1) {
        char path[DISK_PATH_MAX];
        bool is_dir = owned[at] == '/';
        TRY(join(dir, owned + at + is_dir, path, err));
        TRY(is_dir ? copy_walk(disk, path, fn, dir_fn, ctx, err) : fn(ctx, path, err));
    }
    return dir_fn == NULL ? OK : dir_fn(ctx, dir, err);
}

/* --- what is to be done --- */

/* An earlier run's copy of the same size: it was compared before it got its name. */
static ErrCode is_here(CopyRoot *copy, const char *path, uint64_t size, bool *here, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(copy->beside, path, &stat, err));
    *here = stat.exists && !stat.is_dir && stat.size == size;
    return OK;
}

typedef struct {
    CopyRoot *copy;
    uint64_t missing; /* bytes */
} Count;

static ErrCode count_file(void *ctx, const char *path, Err *err)
{
    Count *count = ctx;
    DiskStat stat;
    bool here = false;
    TRY(disk_stat(count->copy->options->source, path, &stat, err));
    if (!stat.exists) return OK;
    TRY(is_here(count->copy, path, stat.size, &here, err));
    count->copy->progress.files_total++;
    count->copy->progress.bytes_total += stat.size;
    if (!here) count->missing += stat.size;
    return OK;
}

ErrCode copy_files_count(CopyRoot *copy, uint64_t *bytes, Err *err)
{
    Count count = {.copy = copy};
    copy->progress.files_total = 0;
    copy->progress.bytes_total = 0;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        TRY(copy_walk(copy->options->source, dirs[i], count_file, NULL, &count, err));
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        TRY(count_file(&count, singles[i], err));
    *bytes = count.missing;
    return OK;
}

/* --- one file --- */

/* What can't be read of the source is damage there, and told by its name. */
static ErrCode source_read(CopyRoot *copy, File *file, uint64_t offset, size_t *got, Err *err)
{
    ErrCode code = disk_read(file, offset, copy->block, COPY_BLOCK, got, err);
    if (code != ERR_IO) return code;
    return err_wrap(err, ERR_CORRUPT, "the source's %s can't be read", file->path);
}

static ErrCode write_part(CopyRoot *copy, const char *path, const char *part, uint64_t size,
                          Sha256 *digest, Err *err)
{
    AUTO(File, disk_close) in = NULL;
    AUTO(File, disk_close) out = NULL;
    hash_reset(copy->hash);
    TRY(disk_open(copy->options->source, path, DISK_OPEN_DIRECT, &in, err));
    TRY(disk_open(copy->beside, part, DISK_OPEN_BODY, &out, err));
    for (uint64_t at = 0; at < size;) {
        size_t got = 0;
        TRY(source_read(copy, in, at, &got, err));
        if (got == 0 || at + got > size)
            return err_set(err, ERR_IN_USE, "the source's %s changes while it is read", path);
        hash_update(copy->hash, copy->block, got);
        TRY(disk_write(out, at, copy->block, got, err));
        at += got;
        copy->progress.bytes += got;
        copy_tell(copy);
        TRY(copy_pass("recover.block", err));
    }
    hash_final(copy->hash, digest);
    return disk_sync(out, err);
}

/* From the disk, not from what was written. */
static ErrCode read_back(CopyRoot *copy, const char *part, uint64_t size, const Sha256 *digest,
                         Err *err)
{
    AUTO(File, disk_close) file = NULL;
    Sha256 found;
    hash_reset(copy->hash);
    TRY(disk_open(copy->beside, part, DISK_OPEN_DIRECT, &file, err));
    for (uint64_t at = 0; at < size;) {
        size_t got = 0;
        TRY(disk_read(file, at, copy->block, COPY_BLOCK, &got, err));
        if (got == 0) break;
        hash_update(copy->hash, copy->block, got);
        at += got;
        if (fault_planted("recover-blind")) return OK;
    }
    hash_final(copy->hash, &found);
    if (sha256_eq(&found, digest)) return OK;
    return err_set(err, ERR_IO,
                   "recover/root/%s: other bytes came back than were written; this disk is no good",
                   part);
}

/* Names are synced all at once, in the end: what a crash takes of them is copied again. */
static ErrCode make_parents(CopyRoot *copy, const char *path, Err *err)
{
    char dir[DISK_PATH_MAX];
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        DiskStat stat;
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = '\0';
        TRY(disk_stat(copy->beside, dir, &stat, err));
        if (!stat.exists) TRY(disk_mkdir(copy->beside, dir, err));
    }
    return OK;
}

static ErrCode unlink_if(Disk *disk, const char *path, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(disk, path, &stat, err));
    return stat.exists ? disk_unlink(disk, path, err) : OK;
}

static ErrCode copy_one(CopyRoot *copy, const char *path, uint64_t size, Err *err)
{
    char part[DISK_PATH_MAX];
    Sha256 digest;
    if (snprintf(part, sizeof part, "%s" PART, path) >= DISK_PATH_MAX)
        return err_set(err, ERR_INVALID, "%s: too long to be ours", path);
    TRY(make_parents(copy, path, err));
    TRY(unlink_if(copy->beside, part, err));
    TRY(unlink_if(copy->beside, path, err));
    TRY(write_part(copy, path, part, size, &digest, err));
    TRY(read_back(copy, part, size, &digest, err));
    TRY(disk_rename(copy->beside, part, path, err));
    copy->report->files++;
    copy->report->bytes += size;
    return copy_pass("recover.file", err);
}

static ErrCode copy_file(void *ctx, const char *path, Err *err)
{
    CopyRoot *copy = ctx;
    DiskStat stat;
    bool here = false;
    TRY(disk_stat(copy->options->source, path, &stat, err));
    if (!stat.exists) return OK;
    TRY(is_here(copy, path, stat.size, &here, err));
    copy->progress.files++;
    if (!here) return copy_one(copy, path, stat.size, err);
    copy->report->files_kept++;
    copy->report->bytes_kept += stat.size;
    copy->progress.bytes_kept += stat.size;
    copy_tell(copy);
    return OK;
}

/* --- undoing --- */

static ErrCode discard_file(void *ctx, const char *path, Err *err)
{
    return disk_unlink(ctx, path, err);
}

static ErrCode sync_names(void *ctx, const char *path, Err *err)
{
    return disk_sync_dir(ctx, path, err);
}

ErrCode copy_files_discard(Disk *disk, const char *dir, Err *err)
{
    return copy_walk(disk, dir, discard_file, sync_names, disk, err);
}

/* --- all of them --- */

static ErrCode pass_over(void *ctx, const char *path, Err *err)
{
    UNUSED(ctx);
    UNUSED(path);
    UNUSED(err);
    return OK;
}

/* The index is always copied again: its three files belong together. */
ErrCode copy_files(CopyRoot *copy, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        TRY(copy_walk(copy->options->source, dirs[i], copy_file, NULL, copy, err));
    for (size_t i = 0; i < ARRAY_LEN(singles); i++) {
        TRY(unlink_if(copy->beside, singles[i], err));
        TRY(copy_file(copy, singles[i], err));
    }
    return copy_walk(copy->beside, "", pass_over, sync_names, copy->beside, err);
}
