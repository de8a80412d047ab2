#include "disk/posix.h"

#include "base/clock.h"
#include "base/fault.h"
#include "disk/disk_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILE_MODE 0600
#define DIR_MODE 0700
/* O_DIRECT: offsets, lengths and memory are multiples of this, on any device we know. */
#define DIRECT_ALIGN DISK_BODY_ALIGN
#define DIRECT_BYTES (256 * KIB) /* of one read past the cache */
/* A device that takes longer than this for a write past the cache, on average over the first ones
 * of a file, is better at what the system gathers: what follows of the file is written through the
 * cache. */
#define PAST_SLOW_NS 8000000
#define PAST_LEAST 4

/* A lock that is held: closing its descriptor gives it back. */
typedef struct PosixLock PosixLock;
struct PosixLock {
    PosixLock *next;
    int fd;
};

typedef struct {
    Disk disk;
    int dir_fd;
    PosixLock *locks;
} PosixDisk;

typedef struct {
    File file;
    int fd;
    bool direct; /* O_DIRECT is on */
    bool drop;   /* asked for, but the file system can't: pages are dropped behind a read */
    bool past;   /* whole blocks are written past the cache … */
    uint32_t past_writes; /* … so many were … */
    uint64_t past_ns;     /* … in so much time */
    void *direct_mem;     /* DIRECT_BYTES and room for alignment; NULL until the first read */
    char path[];          /* terminated; what file.path points to */
} PosixFile;

static PosixDisk *disk_of(Disk *disk)
{
    return (PosixDisk *)(void *)disk;
}

static PosixFile *file_of(File *file)
{
    return (PosixFile *)(void *)file;
}

/* "" cannot be opened below a descriptor, "." can. */
static const char *at(const char *path)
{
    return path[0] == '\0' ? "." : path;
}

static int open_retry(int dir_fd, const char *path, int flags)
{
    int fd = -1;

    do {
        fd = openat(dir_fd, path, flags | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* close(2) has given the descriptor back even when it says EINTR, and what it might say about
 * writes was asked of fdatasync() before. */
static void close_quietly(int fd)
{
    if (fd >= 0) (void)close(fd);
}

/* Offsets are off_t below: ERR_INVALID beyond. */
static ErrCode check_range(const char *path, uint64_t offset, uint64_t len, Err *err)
{
    if (offset > INT64_MAX || len > INT64_MAX - offset) {
        return err_set(err, ERR_INVALID, "%s: %" PRIu64 " bytes at %" PRIu64 " are out of range",
                       path, len, offset);
    }
    return OK;
}

static void posix_free(Disk *disk)
{
    PosixDisk *posix = disk_of(disk);

    while (posix->locks != NULL) {
        PosixLock *lock = posix->locks;
        posix->locks = lock->next;
        close_quietly(lock->fd);
        mem_free(lock);
    }
    close_quietly(posix->dir_fd);
    mem_free(posix);
}

static int open_flags(DiskOpenMode mode)
{
    switch (mode) {
    case DISK_OPEN_WRITE: return O_RDWR;
    case DISK_OPEN_BODY:
    case DISK_OPEN_CREATE: return O_RDWR | O_CREAT | O_EXCL;
    case DISK_OPEN_ENSURE: return O_RDWR | O_CREAT;
    case DISK_OPEN_DIRECT: return O_RDONLY | O_DIRECT;
    case DISK_OPEN_READ:
    default: return O_RDONLY;
    }
}

static void posix_close(File *file)
{
    close_quietly(file_of(file)->fd);
    mem_free(file_of(file)->direct_mem);
    mem_free(file);
}

/* One read past the cache, of whole blocks around what is wanted; *n bytes of it, 0 at the end. */
static ErrCode read_direct(PosixFile *file, uint64_t offset, void *data, size_t len, size_t *n,
                           Err *err)
{
    if (file->direct_mem == NULL) {
        TRY(mem_take(DIRECT_BYTES + DIRECT_ALIGN, &file->direct_mem, err));
    }
    uint8_t *block = (uint8_t *)ALIGN_UP((uintptr_t)file->direct_mem, (uintptr_t)DIRECT_ALIGN);
    size_t skip = (size_t)(offset % DIRECT_ALIGN);
    size_t want = MIN(ALIGN_UP(skip + len, (size_t)DIRECT_ALIGN), (size_t)DIRECT_BYTES);
    ssize_t got = 0;
    do {
        got = pread(file->fd, block, want, (off_t)(offset - skip));
    } while (got < 0 && errno == EINTR);
    if (got < 0) return disk_fail(err, errno, "read", file->path);
    *n = (size_t)got <= skip ? 0 : MIN((size_t)got - skip, len);
    memcpy(data, block + skip, *n);
    return OK;
}

/* Forgets the pages of what was read, if they are clean and nobody maps them. */
static void drop_pages(const PosixFile *file, uint64_t offset, size_t len)
{
    /* It is advice: where it is not taken, the cache holds a little more. */
    int said = posix_fadvise(file->fd, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED);
    UNUSED(said);
}

static ErrCode posix_read_direct(PosixFile *file, uint64_t offset, uint8_t *data, size_t len,
                                 size_t *got, Err *err)
{
    size_t done = 0;
    size_t n = 1;
    while (done < len && n > 0) {
        TRY(read_direct(file, offset + done, data + done, len - done, &n, err));
        done += n;
    }
    *got = done;
    return OK;
}

static ErrCode posix_read(File *file, uint64_t offset, void *data, size_t len, size_t *got,
                          Err *err)
{
    uint8_t *bytes = data;
    size_t done = 0;

    TRY(check_range(file->path, offset, len, err));
    if (file_of(file)->direct) {
        return posix_read_direct(file_of(file), offset, data, len, got, err);
    }
    while (done < len) {
        size_t want = len - done;
        if (want > 1 && fault_point("disk.read.short") != 0) want /= 2;
        ssize_t n = pread(file_of(file)->fd, bytes + done, want, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return disk_fail(err, errno, "read", file->path);
        if (n == 0) break;
        done += (size_t)n;
    }
    if (file_of(file)->drop) drop_pages(file_of(file), offset, done);
    *got = done;
    return OK;
}

/* Turns O_DIRECT on or off. A file system that can't is not asked again. */
static ErrCode set_direct(PosixFile *file, bool on, Err *err)
{
    if (file->direct == on) return OK;
    int flags = fcntl(file->fd, F_GETFL);
    bool set = flags >= 0 && fcntl(file->fd, F_SETFL, flags ^ O_DIRECT) == 0;
    if (!set && !on) return disk_fail(err, errno, "write", file->path);
    file->direct = set && on;
    file->past = file->past && set;
    return OK;
}

static bool is_whole_blocks(uint64_t offset, const uint8_t *data, size_t len)
{
    return ((offset | len | (uintptr_t)data) & (DIRECT_ALIGN - 1)) == 0;
}

static uint64_t past_clock(const PosixFile *file)
{
    return file->direct ? clock_boot_ns(clock_real()) : 0;
}

/* Was it worth it? */
static void judge_past(PosixFile *file, uint64_t ns)
{
    file->past_ns += ns;
    file->past_writes++;
    file->past = file->past_writes < PAST_LEAST || file->past_ns / file->past_writes < PAST_SLOW_NS;
}

static ErrCode posix_write(File *base, uint64_t offset, const void *data, size_t len, Err *err)
{
    PosixFile *file = file_of(base);
    const uint8_t *bytes = data;
    size_t done = 0;

    TRY(check_range(base->path, offset, len, err));
    while (done < len) {
        size_t want = len - done;
        if (want > 1 && fault_point("disk.write.short") != 0) want /= 2;
        bool past = file->past && is_whole_blocks(offset + done, bytes + done, want);
        TRY(set_direct(file, past, err));
        uint64_t start = past_clock(file);
        ssize_t n = pwrite(file->fd, bytes + done, want, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EINVAL && file->direct) { /* other blocks than ours */
            file->past = false;
            continue;
        }
        /* A write of some bytes that moves none would go on for ever. */
        if (n <= 0) return disk_fail(err, n == 0 ? EIO : errno, "write", base->path);
        if (file->direct) judge_past(file, past_clock(file) - start);
        done += (size_t)n;
    }
    return OK;
}

/* No retry, not even on EINTR: after any failed sync the pages may be gone (fsyncgate). */
static ErrCode posix_sync(File *file, Err *err)
{
    if (fdatasync(file_of(file)->fd) != 0) return disk_fail(err, errno, "sync", file->path);
    return OK;
}

static ErrCode posix_size(File *file, uint64_t *out, Err *err)
{
    struct stat st;

    if (fstat(file_of(file)->fd, &st) != 0) return disk_fail(err, errno, "size of", file->path);
    *out = (uint64_t)st.st_size;
    return OK;
}

static ErrCode posix_truncate(File *file, uint64_t size, Err *err)
{
    int result = 0;

    TRY(check_range(file->path, size, 0, err));
    do {
        result = ftruncate(file_of(file)->fd, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? OK : disk_fail(err, errno, "truncate", file->path);
}

static ErrCode posix_rename(Disk *disk, const char *from, const char *to, Err *err)
{
    int dir_fd = disk_of(disk)->dir_fd;

    if (renameat(dir_fd, from, dir_fd, to) == 0) return OK;
    ErrCode code = disk_fail(err, errno, "to", to);
    return err_wrap(err, code, "rename %s", from);
}

static ErrCode posix_unlink(Disk *disk, const char *path, Err *err)
{
    if (unlinkat(disk_of(disk)->dir_fd, path, 0) != 0) {
        return disk_fail(err, errno, "remove", path);
    }
    return OK;
}

static ErrCode posix_mkdir(Disk *disk, const char *path, Err *err)
{
    struct stat st;

    if (mkdirat(disk_of(disk)->dir_fd, path, DIR_MODE) == 0) return OK;
    int saved = errno;
    if (saved == EEXIST) {
        /* A file system that has failed still knows the name, and no more about it. */
        if (fstatat(disk_of(disk)->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
            saved = errno;
        else if (S_ISDIR(st.st_mode))
            return OK;
    }
    return disk_fail(err, saved, "make directory", path);
}

static ErrCode posix_sync_dir(Disk *disk, const char *path, Err *err)
{
    int fd = open_retry(disk_of(disk)->dir_fd, at(path), O_RDONLY | O_DIRECTORY);

    if (fd < 0) return disk_fail(err, errno, "sync directory", path);
    int saved = fsync(fd) == 0 ? 0 : errno;
    close_quietly(fd);
    return saved == 0 ? OK : disk_fail(err, saved, "sync directory", path);
}

/* Some file systems leave d_type unknown. A name that vanished meanwhile is no directory. */
static bool entry_is_dir(DIR *dir, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN) return entry->d_type == DT_DIR;
    return fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static ErrCode list_entries(DIR *dir, const char *path, DiskListFn fn, void *ctx, Err *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return errno == 0 ? OK : disk_fail(err, errno, "list", path);
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        TRY(fn(ctx, entry->d_name, entry_is_dir(dir, entry), err));
    }
}

static ErrCode posix_list(Disk *disk, const char *path, DiskListFn fn, void *ctx, Err *err)
{
    int fd = open_retry(disk_of(disk)->dir_fd, at(path), O_RDONLY | O_DIRECTORY);

    if (fd < 0) return disk_fail(err, errno, "list", path);
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int saved = errno;
        close_quietly(fd);
        return disk_fail(err, saved, "list", path);
    }
    ErrCode code = list_entries(dir, path, fn, ctx, err);
    (void)closedir(dir); /* nothing was written through it */
    return code;
}

static ErrCode posix_stat(Disk *disk, const char *path, DiskStat *out, Err *err)
{
    struct stat st;

    if (fstatat(disk_of(disk)->dir_fd, at(path), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) return disk_fail(err, errno, "look at", path);
        *out = (DiskStat){.exists = false};
        return OK;
    }
    *out = (DiskStat){
        .exists = true,
        .is_dir = S_ISDIR(st.st_mode),
        .size = (uint64_t)st.st_size,
        .device = (uint64_t)st.st_dev,
        .for_others = (st.st_mode & (S_IROTH | S_IWOTH)) != 0,
    };
    return OK;
}

static ErrCode posix_space(Disk *disk, DiskSpace *out, Err *err)
{
    struct statvfs vfs;

    if (fstatvfs(disk_of(disk)->dir_fd, &vfs) != 0) {
        return disk_fail(err, errno, "free space of", "");
    }
    out->total = (uint64_t)vfs.f_blocks * vfs.f_frsize;
    out->free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return OK;
}

/* What the owner of a lock wrote into it, as far as it fits; "" if it can't be read. */
static void read_holder(int fd, char *holder, size_t size)
{
    ssize_t n = pread(fd, holder, size - 1, 0);

    holder[n > 0 ? n : 0] = '\0';
}

static ErrCode lock_fd(int fd, const char *path, Str who, char *holder, size_t holder_size,
                       Err *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int saved = errno;
        if (saved != EWOULDBLOCK) return disk_fail(err, saved, "lock", path);
        char text[128];
        read_holder(fd, text, sizeof text);
        if (holder != NULL) read_holder(fd, holder, holder_size);
        return err_set(err, ERR_IN_USE, "lock %s: held by %s", path,
                       text[0] == '\0' ? "another process" : text);
    }
    if (who.len == 0) return OK;
    if (ftruncate(fd, 0) != 0) return disk_fail(err, errno, "lock", path);
    ssize_t n = pwrite(fd, who.ptr, who.len, 0);
    if (n < 0) return disk_fail(err, errno, "lock", path);
    if ((size_t)n < who.len) return disk_fail(err, ENOSPC, "lock", path);
    return OK;
}

static ErrCode posix_lock(Disk *disk, const char *path, Str who, char *holder, size_t holder_size,
                          Err *err)
{
    PosixDisk *posix = disk_of(disk);
    int fd = open_retry(posix->dir_fd, path, who.len == 0 ? O_RDONLY : O_RDWR | O_CREAT);

    if (fd < 0) return disk_fail(err, errno, "lock", path);
    ErrCode code = lock_fd(fd, path, who, holder, holder_size, err);
    if (code != OK) {
        close_quietly(fd);
        return code;
    }
    PosixLock *lock = mem_new(sizeof *lock);
    lock->fd = fd;
    lock->next = posix->locks;
    posix->locks = lock;
    return OK;
}

static int posix_fd(File *file)
{
    return file_of(file)->fd;
}

static ErrCode posix_open(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err);

static const DiskOps posix_ops = {
    .name = "posix",
    .free = posix_free,
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .stat = posix_stat,
    .space = posix_space,
    .lock = posix_lock,
    .fd = posix_fd,
};

static ErrCode posix_open(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err)
{
    int dir_fd = disk_of(disk)->dir_fd;
    int fd = open_retry(dir_fd, path, open_flags(mode));
    bool direct = mode == DISK_OPEN_DIRECT && fd >= 0;

    if (mode == DISK_OPEN_DIRECT && fd < 0 && errno == EINVAL) {
        fd = open_retry(dir_fd, path, open_flags(DISK_OPEN_READ));
    }
    if (fd < 0) return disk_fail(err, errno, "open", path);
    size_t path_size = strlen(path) + 1;
    PosixFile *file = mem_new(sizeof *file + path_size);
    file->fd = fd;
    file->direct = direct;
    file->drop = mode == DISK_OPEN_DIRECT && !direct;
    file->past = mode == DISK_OPEN_BODY;
    memcpy(file->path, path, path_size);
    file->file = (File){.ops = &posix_ops, .path = file->path};
    *out = &file->file;
    return OK;
}

/* Makes the directory path, and its entry in the directory above durable. */
static ErrCode make_dir(const char *path, Err *err)
{
    char parent[PATH_MAX];

    if (mkdir(path, DIR_MODE) != 0) {
        return errno == EEXIST ? OK : disk_fail(err, errno, "make directory", path);
    }
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    bool fits = slash == NULL ? str_to_cstr(STR("."), parent, sizeof parent)
                              : str_to_cstr(str_of(path, len + 1), parent, sizeof parent);
    ASSERT(fits);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return disk_fail(err, errno, "open directory", parent);
    int saved = fsync(fd) == 0 ? 0 : errno;
    close_quietly(fd);
    return saved == 0 ? OK : disk_fail(err, saved, "sync directory", parent);
}

/* Makes dir and its missing parents. Parents that are there, or that only others may look into,
 * are left alone. */
static ErrCode make_dirs(const char *dir, Err *err)
{
    char path[PATH_MAX];
    struct stat st;
    size_t len = 0;

    do {
        len += strspn(dir + len, "/");
        len += strcspn(dir + len, "/");
        bool fits = str_to_cstr(str_of(dir, len), path, sizeof path);
        ASSERT(fits);
        if (len > 0 && stat(path, &st) != 0) {
            if (errno != ENOENT) return disk_fail(err, errno, "look at", path);
            TRY(make_dir(path, err));
        }
    } while (dir[len] != '\0');
    return OK;
}

ErrCode disk_posix_open(const char *dir, Disk **out, Err *err)
{
    if (dir[0] == '\0' || strlen(dir) >= PATH_MAX) {
        return err_set(err, ERR_CONFIG, "not a directory: '%.80s'", dir);
    }
    TRY(make_dirs(dir, err));
    return disk_posix_open_existing(dir, out, err);
}

ErrCode disk_posix_open_existing(const char *dir, Disk **out, Err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        int saved = errno;
        if (saved == ENOTDIR) return err_set(err, ERR_CONFIG, "%s is not a directory", dir);
        return disk_fail(err, saved, "open directory", dir);
    }
    PosixDisk *posix = mem_new(sizeof *posix);
    posix->disk.ops = &posix_ops;
    posix->dir_fd = fd;
    *out = &posix->disk;
    return OK;
}
