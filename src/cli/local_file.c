#include "cli/local_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/key_path.h"

struct LocalDir {
    DIR *stream;
    unsigned char type; /* d_type of the last entry */
};

/* The code of a failed call on a local file. */
static ErrCode code_of(int saved)
{
    switch (saved) {
    case ENOENT: return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_FORBIDDEN;
    case ENOTDIR:
    case ELOOP:
    case EISDIR:
    case EEXIST: return ERR_EXISTS;
    case ENOSPC:
    case EDQUOT: return ERR_NO_SPACE;
    case ENAMETOOLONG: return ERR_BAD_NAME;
    case EMFILE:
    case ENFILE: return ERR_TOO_BIG;
    default: return ERR_IO;
    }
}

/* The code of a failure; error is errno, read once, as setting err may change it. */
#define FAIL(err, error, ...)                                                                      \
    ({                                                                                             \
        int saved_ = (error);                                                                      \
        ErrCode code_ = code_of(saved_);                                                           \
        err_set_errno(err, code_, saved_, __VA_ARGS__);                                            \
    })

static LocalType type_of(mode_t mode)
{
    if (S_ISREG(mode)) return LOCAL_FILE;
    if (S_ISDIR(mode)) return LOCAL_DIR;
    return S_ISLNK(mode) ? LOCAL_LINK : LOCAL_OTHER;
}

static int64_t ns_of(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static int64_t mtime_of(const struct stat *st)
{
    return ns_of(&st->st_mtim);
}

static LocalFile file_of(int fd, const struct stat *st)
{
    return (LocalFile){.fd = fd,
                       .size = (uint64_t)st->st_size,
                       .mtime_ns = mtime_of(st),
                       .ctime_ns = ns_of(&st->st_ctim),
                       .device = st->st_dev,
                       .inode = st->st_ino};
}

/* ---- reading ---- */

ErrCode local_open(const char *path, bool follow, LocalFile *out, Err *err)
{
    /* O_NONBLOCK: a pipe that took the file's place would stop us for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0) return FAIL(err, errno, "cannot open it");
    struct stat st;
    if (fstat(fd, &st) != 0) {
        int saved = errno;
        close(fd);
        return FAIL(err, saved, "cannot look at it");
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(err, ERR_INVALID, "is not a regular file");
    }
    *out = file_of(fd, &st);
    return OK;
}

ErrCode local_read(LocalFile *file, void *data, size_t max, size_t *len, Err *err)
{
    size_t done = 0;
    while (done < max) {
        ssize_t got = read(file->fd, (uint8_t *)data + done, max - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return FAIL(err, errno, "cannot read it");
        if (got == 0) break;
        done += (size_t)got;
    }
    *len = done;
    return OK;
}

ErrCode local_seek(LocalFile *file, uint64_t offset, Err *err)
{
    if (lseek(file->fd, (off_t)offset, SEEK_SET) != (off_t)offset) {
        return FAIL(err, errno, "cannot read it again");
    }
    return OK;
}

bool local_same(const LocalFile *a, const LocalFile *b)
{
    return a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns &&
           a->device == b->device && a->inode == b->inode;
}

ErrCode local_check_unchanged(const LocalFile *file, Err *err)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0) return FAIL(err, errno, "cannot look at it");
    if ((uint64_t)st.st_size != file->size) {
        return err_set(err, ERR_ABORTED,
                       "it changed while it was read: from %" PRIu64 " to %" PRIu64 " bytes",
                       file->size, (uint64_t)st.st_size);
    }
    if (mtime_of(&st) != file->mtime_ns) {
        return err_set(err, ERR_ABORTED, "it changed while it was read");
    }
    return OK;
}

void local_close(LocalFile *file)
{
    if (file->fd >= 0) close(file->fd);
    file->fd = -1;
}

ErrCode local_read_all(const char *path, Buf *out, bool *found, Err *err)
{
    LocalFile file = LOCAL_FILE_NONE;
    ErrCode code = local_open(path, true, &file, err);
    if (code == ERR_NOT_FOUND) {
        *found = false;
        return OK;
    }
    if (code != OK) return err_wrap(err, ERR_CONFIG, "%s", path);
    if (file.size > out->max) {
        code = err_set(err, ERR_CONFIG, "%s is larger than %zu bytes", path, out->max);
    } else if (file.size > 0) {
        size_t len = 0;
        code = buf_reserve(out, (size_t)file.size, err);
        if (code == OK) code = local_read(&file, out->data, (size_t)file.size, &len, err);
        if (code == OK) out->len = len;
        if (code != OK) code = err_wrap(err, ERR_CONFIG, "%s", path);
    }
    local_close(&file);
    if (code == OK) *found = true;
    return code;
}

static ErrCode stat_at(int dir_fd, const char *path, bool follow, LocalInfo *out, Err *err)
{
    struct stat st;
    if (fstatat(dir_fd, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
        return FAIL(err, errno, "cannot look at it");
    }
    *out = (LocalInfo){.type = type_of(st.st_mode),
                       .size = (uint64_t)st.st_size,
                       .mtime_ns = mtime_of(&st),
                       .mode = st.st_mode & 0777};
    return OK;
}

ErrCode local_stat(const char *path, bool follow, LocalType *type, uint64_t *size, Err *err)
{
    LocalInfo info = {0};
    TRY(stat_at(AT_FDCWD, path, follow, &info, err));
    *type = info.type;
    if (size != NULL) *size = info.size;
    return OK;
}

/* ---- directories ---- */

ErrCode local_dir_open(const LocalDir *parent, const char *path, LocalDir **out, Err *err)
{
    int at = parent != NULL ? dirfd(parent->stream) : AT_FDCWD;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (parent != NULL ? O_NOFOLLOW : 0);
    int fd = openat(at, path, flags);
    if (fd < 0) return FAIL(err, errno, "cannot open the directory");
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int saved = errno;
        close(fd);
        return FAIL(err, saved, "cannot open the directory");
    }
    LocalDir *dir = mem_new(sizeof *dir);
    dir->stream = stream;
    *out = dir;
    return OK;
}

void local_dir_close(LocalDir *dir)
{
    if (dir == NULL) return;
    closedir(dir->stream);
    mem_free(dir);
}

ErrCode local_dir_next(LocalDir *dir, const char **name, Err *err)
{
    for (;;) {
        errno = 0;
        /* A stream of our own: readdir() is safe as no other thread has it. */
        const struct dirent *entry = readdir(dir->stream);
        if (entry == NULL && errno != 0) return FAIL(err, errno, "cannot read the directory");
        if (entry == NULL) {
            *name = NULL;
            return OK;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        *name = entry->d_name;
        dir->type = entry->d_type;
        return OK;
    }
}

bool local_dir_was_dir(const LocalDir *dir, bool *known)
{
    *known = dir->type != DT_UNKNOWN;
    return dir->type == DT_DIR;
}

ErrCode local_dir_stat(const LocalDir *dir, const char *name, LocalInfo *out, Err *err)
{
    return stat_at(dirfd(dir->stream), name, false, out, err);
}

ErrCode local_dir_sync_all(const LocalDir *dir, Err *err)
{
    if (syncfs(dirfd(dir->stream)) == 0) return OK;
    return FAIL(err, errno, "not all of it is on disk");
}

/* Segment by segment; what stands in place of one is the answer. */
ErrCode local_look_below(const LocalDir *dir, Str relative, LocalPresence *out, Err *err)
{
    char path[PATH_MAX];
    *out = LOCAL_ABSENT;
    if (key_path_check(relative, NULL) != OK) return OK;
    if (!str_to_cstr(relative, path, sizeof path)) return OK;
    for (size_t at = 0; at <= relative.len; at++) {
        if (at < relative.len && path[at] != '/') continue;
        LocalInfo info = {.type = LOCAL_OTHER};
        path[at] = '\0';
        ErrCode code = stat_at(dirfd(dir->stream), path, false, &info, err);
        if (code == ERR_NOT_FOUND) return OK;
        if (code != OK) return code;
        if (info.type == LOCAL_LINK || info.type == LOCAL_OTHER) {
            *out = LOCAL_OTHERWISE;
            return OK;
        }
        bool last = at == relative.len;
        if (last) *out = info.type == LOCAL_FILE ? LOCAL_THERE : LOCAL_ABSENT;
        if (last || info.type == LOCAL_FILE) return OK;
        path[at] = '/';
    }
    return OK;
}

ErrCode local_open_below(const LocalDir *dir, Str relative, LocalFile *out, Err *err)
{
    char path[PATH_MAX];
    LocalPresence presence = LOCAL_ABSENT;
    *out = LOCAL_FILE_NONE;
    TRY(local_look_below(dir, relative, &presence, err));
    if (presence != LOCAL_THERE || !str_to_cstr(relative, path, sizeof path)) return OK;
    struct stat st;
    int fd = openat(dirfd(dir->stream), path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) return OK;
    if (fd < 0) return FAIL(err, errno, "cannot open it");
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) { /* another one took its place */
        close(fd);
        return OK;
    }
    *out = file_of(fd, &st);
    return OK;
}

void local_remove(const char *path)
{
    unlinkat(AT_FDCWD, path, 0);
}

ErrCode local_make_dirs(const char *path, Err *err)
{
    AUTO(char, mem_free) copy = mem_dup_cstr(path);
    for (char *c = copy;; c++) {
        if ((*c != '/' && *c != '\0') || c == copy) {
            if (*c == '\0') return err_set(err, ERR_BAD_NAME, "the path is empty");
            continue;
        }
        char stop = *c;
        *c = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            return FAIL(err, errno, "cannot make the directory");
        }
        *c = stop;
        if (stop == '\0') break;
    }
    LocalType type = LOCAL_OTHER;
    TRY(local_stat(path, true, &type, NULL, err));
    if (type != LOCAL_DIR) return err_set(err, ERR_EXISTS, "there is a file, not a directory");
    return OK;
}

/* The real path of path, or of the nearest directory above it that is there, into out. */
static ErrCode real_above(const char *path, char out[PATH_MAX], Err *err)
{
    if (path[0] == '\0') return err_set(err, ERR_BAD_NAME, "the path is empty");
    AUTO(char, mem_free) copy = mem_dup_cstr(path);
    while (realpath(copy, out) == NULL) {
        char *slash = strrchr(copy, '/');
        bool last = slash == NULL || slash == copy;
        if (errno != ENOENT || strcmp(copy, ".") == 0 || strcmp(copy, "/") == 0)
            return FAIL(err, errno, "cannot be looked at");
        if (last)
            memcpy(copy, slash == NULL ? "." : "/", 2);
        else
            *slash = '\0';
    }
    return OK;
}

ErrCode local_is_inside(const char *path, const char *dir, bool *inside, Err *err)
{
    char real_path[PATH_MAX];
    char real_dir[PATH_MAX];
    if (realpath(dir, real_dir) == NULL) return FAIL(err, errno, "cannot be looked at");
    TRY(real_above(path, real_path, err));
    Str whole = str_from_cstr(real_path);
    Str above = str_from_cstr(real_dir);
    Str next = str_slice(whole, above.len, 1);
    *inside = str_starts_with(whole, above) &&
              (next.len == 0 || next.ptr[0] == '/' || str_eq(above, STR("/")));
    return OK;
}

ErrCode local_temp_dir(const char *base, char *out, Err *err)
{
    if (base == NULL) base = getenv("TMPDIR");
    if (base == NULL || base[0] == '\0') base = "/tmp";
    int len = snprintf(out, PATH_MAX, "%s/holdfast-XXXXXX", base);
    if (len < 0 || len >= PATH_MAX) return err_set(err, ERR_BAD_NAME, "%.80s is too long", base);
    if (mkdtemp(out) == NULL) return FAIL(err, errno, "make a directory in %s", base);
    return OK;
}

void local_temp_dir_remove(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        bool own = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
        if (own) unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
    rmdir(path);
}

/* ---- writing ---- */

/* The directory that holds the last segment of relative, made if it is missing; *name is that
 * segment. Descriptor by descriptor, so that no link put in between leads elsewhere. */
static ErrCode open_parent(int root_fd, Str relative, int *out, Str *name, Err *err)
{
    int fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return FAIL(err, errno, "cannot open the target directory");
    Str segment;
    Str rest;
    while (str_split(relative, '/', &segment, &rest)) {
        char part[256];
        if (!str_to_cstr(segment, part, sizeof part)) {
            close(fd);
            return err_set(err, ERR_BAD_NAME, "a segment of the key is longer than 255 bytes");
        }
        int made = mkdirat(fd, part, 0777);
        int saved = errno;
        int next = made == 0 || saved == EEXIST
                       ? openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                       : -1;
        if (made == 0 || saved == EEXIST) saved = errno;
        close(fd);
        if (next < 0) return FAIL(err, saved, "cannot make or enter the directory %s", part);
        fd = next;
        relative = rest;
    }
    *out = fd;
    *name = relative;
    return OK;
}

/* *there: a regular file stands in its place, with these rights. */
static ErrCode check_place(const LocalNew *file, bool *there, unsigned *mode, Err *err)
{
    LocalInfo info = {.type = LOCAL_FILE};
    ErrCode code = stat_at(file->dir_fd, file->name, false, &info, err);
    *there = code == OK;
    *mode = info.mode;
    if (code == ERR_NOT_FOUND) return OK;
    if (code != OK) return code;
    if (info.type == LOCAL_FILE) return OK;
    return err_set(err, ERR_EXISTS, "%s stands in its place",
                   info.type == LOCAL_DIR    ? "a directory"
                   : info.type == LOCAL_LINK ? "a symbolic link"
                                             : "something that is no regular file");
}

static ErrCode open_temp(LocalNew *file, Rng *rng, Err *err)
{
    for (int attempt = 0;; attempt++) {
        snprintf(file->temp, sizeof file->temp, ".holdfast-%016" PRIx64, rng_u64(rng));
        file->fd = openat(file->dir_fd, file->temp,
                          O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                          file->replaces ? 0600 : 0666); /* what it may be is known at its end */
        if (file->fd >= 0) return OK;
        if (errno != EEXIST || attempt == 10) return FAIL(err, errno, "cannot make a file there");
    }
}

/* The place of relative: its directory and its name. out->dir_fd is open after success only. */
static ErrCode open_place(const LocalDir *root, Str relative, LocalNew *out, Err *err)
{
    LocalNew file = LOCAL_NEW_NONE;
    Str name = {NULL, 0};
    unsigned mode = 0;
    TRY(open_parent(dirfd(root->stream), relative, &file.dir_fd, &name, err));
    ErrCode code = OK;
    if (!str_to_cstr(name, file.name, sizeof file.name) || name.len == 0) {
        code = err_set(err, ERR_BAD_NAME, "a segment of the key is longer than 255 bytes");
    }
    if (code == OK) code = check_place(&file, &file.replaces, &mode, err);
    if (code != OK) {
        close(file.dir_fd);
        return code;
    }
    *out = file;
    return OK;
}

static ErrCode open_new(LocalNew *file, Rng *rng, LocalNew *out, Err *err)
{
    ErrCode code = open_temp(file, rng, err);
    if (code != OK) {
        close(file->dir_fd);
        return code;
    }
    *out = *file;
    return OK;
}

ErrCode local_new_open(const LocalDir *root, Str relative, Rng *rng, LocalNew *out, Err *err)
{
    LocalNew file = LOCAL_NEW_NONE;
    TRY(open_place(root, relative, &file, err));
    return open_new(&file, rng, out, err);
}

/* ".holdfast-TAG-": what the name of a part begins with. */
static void part_prefix(Str tag, char out[LOCAL_TEMP_SIZE])
{
    ASSERT(tag.len == LOCAL_TAG_LEN);
    snprintf(out, LOCAL_TEMP_SIZE, ".holdfast-%.*s-", STR_ARG(tag));
}

/* Takes over the part that is named name; false: it is none, or another process has it. */
static bool take_part(LocalNew *file, const char *name, uint64_t *size)
{
    struct stat st;
    if (!str_to_cstr(str_from_cstr(name), file->temp, sizeof file->temp)) return false;
    int fd = openat(file->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size == 0 ||
        st.st_uid != geteuid() || flock(fd, LOCK_EX | LOCK_NB) != 0 || lseek(fd, 0, SEEK_END) < 0) {
        close(fd);
        return false;
    }
    file->fd = fd;
    file->part = true;
    *size = (uint64_t)st.st_size;
    return true;
}

static void find_part(LocalNew *file, Str tag, uint64_t *size, char *etag)
{
    char prefix[LOCAL_TEMP_SIZE];
    part_prefix(tag, prefix);
    Str begin = str_from_cstr(prefix);
    int fd = openat(file->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0) close(fd);
        return;
    }
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        Str name = str_from_cstr(e->d_name);
        if (!str_starts_with(name, begin) || name.len == begin.len ||
            name.len - begin.len > LOCAL_ETAG_MAX || !take_part(file, e->d_name, size)) {
            continue;
        }
        bool fits = str_to_cstr(str_slice(name, begin.len, LOCAL_ETAG_MAX), etag,
                                LOCAL_ETAG_MAX + 1);
        ASSERT(fits);
        break;
    }
    closedir(dir);
}

ErrCode local_new_resume(const LocalDir *root, Str relative, Str tag, Rng *rng, LocalNew *out,
                         uint64_t *size, char *etag, Err *err)
{
    LocalNew file = LOCAL_NEW_NONE;
    TRY(open_place(root, relative, &file, err));
    *size = 0;
    etag[0] = '\0';
    find_part(&file, tag, size, etag);
    if (file.fd < 0) return open_new(&file, rng, out, err);
    *out = file;
    return OK;
}

ErrCode local_new_name_part(LocalNew *file, Str tag, Str etag, Err *err)
{
    char prefix[LOCAL_TEMP_SIZE];
    char name[LOCAL_TEMP_SIZE];
    if (etag.len == 0 || etag.len > LOCAL_ETAG_MAX) return OK;
    for (size_t i = 0; i < etag.len; i++) {
        if ((uint8_t)etag.ptr[i] <= ' ' || (uint8_t)etag.ptr[i] >= 0x7f || etag.ptr[i] == '/')
            return OK;
    }
    part_prefix(tag, prefix);
    int len = snprintf(name, sizeof name, "%s%.*s", prefix, STR_ARG(etag));
    ASSERT(len > 0 && (size_t)len < sizeof name);
    if (strcmp(name, file->temp) == 0) return OK;
    /* Another process may have one: the lock is of the file, so its own stays with it. */
    if (!file->part && flock(file->fd, LOCK_EX | LOCK_NB) != 0) return OK;
    if (renameat2(file->dir_fd, file->temp, file->dir_fd, name, RENAME_NOREPLACE) != 0) {
        if (errno == EEXIST || errno == EINVAL || errno == ENOSYS) return OK;
        return FAIL(err, errno, "cannot give it a name");
    }
    memcpy(file->temp, name, sizeof name);
    file->part = true;
    return OK;
}

ErrCode local_new_read(const LocalNew *file, uint64_t offset, void *data, size_t max, size_t *len,
                       Err *err)
{
    size_t done = 0;
    while (done < max) {
        ssize_t got = pread(file->fd, (uint8_t *)data + done, max - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return FAIL(err, errno, "cannot read what is there of it");
        if (got == 0) break;
        done += (size_t)got;
    }
    *len = done;
    return OK;
}

ErrCode local_new_write(LocalNew *file, Str data, Err *err)
{
    while (data.len > 0) {
        ssize_t done = write(file->fd, data.ptr, data.len);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return FAIL(err, errno, "cannot write it");
        data = str_slice(data, (size_t)done, data.len - (size_t)done);
    }
    return OK;
}

ErrCode local_new_cut(LocalNew *file, uint64_t size, Err *err)
{
    if (ftruncate(file->fd, (off_t)size) != 0 ||
        lseek(file->fd, (off_t)size, SEEK_SET) != (off_t)size) {
        return FAIL(err, errno, "cannot write it again");
    }
    return OK;
}

/* The rights of the file in whose place it goes. A file system without rights has the same for
 * all, and no way to set them. */
static ErrCode take_rights(const LocalNew *file, unsigned mode, Err *err)
{
    struct stat st;
    if (fstat(file->fd, &st) == 0 && (st.st_mode & 0777) == mode) return OK;
    if (fchmod(file->fd, mode) == 0) return OK;
    return FAIL(err, errno, "cannot give it the rights of the file that it replaces");
}

ErrCode local_new_commit(LocalNew *file, Err *err)
{
    bool there = false;
    unsigned mode = 0;
    TRY(check_place(file, &there, &mode, err));
    if (there) TRY(take_rights(file, mode, err));
    /* Network file systems tell of a full disk only here. */
    int closed = close(file->fd);
    file->fd = -1;
    if (closed != 0) return FAIL(err, errno, "cannot write it");
    if (renameat(file->dir_fd, file->temp, file->dir_fd, file->name) != 0) {
        return FAIL(err, errno, "cannot give it its name");
    }
    file->temp[0] = '\0';
    close(file->dir_fd);
    file->dir_fd = -1;
    return OK;
}

void local_new_leave(LocalNew *file)
{
    ASSERT(file->part);
    file->temp[0] = '\0'; /* so that it is not removed */
    local_new_discard(file);
}

void local_new_discard(LocalNew *file)
{
    if (file->fd >= 0) close(file->fd);
    if (file->dir_fd >= 0) {
        if (file->temp[0] != '\0') unlinkat(file->dir_fd, file->temp, 0);
        close(file->dir_fd);
    }
    *file = LOCAL_NEW_NONE;
}
