/* Local files: the client's own side, over plain POSIX calls; src/disk is for the server's data.
 * A file is read as it is, or written under a temporary name and renamed when it is whole, so that
 * what stands under its own name is never half of something. No state, any thread. */
#ifndef HOLDFAST_CLI_LOCAL_FILE_H
#define HOLDFAST_CLI_LOCAL_FILE_H

#include "base/buf.h"
#include "base/rng.h"

/* ---- reading ---- */
typedef struct {
    int fd;           /* -1: not open */
    uint64_t size;    /* bytes, when it was opened */
    int64_t mtime_ns; /* the same */
    int64_t ctime_ns; /* of the last change of any of it, which nobody can set back */
    uint64_t device;
    uint64_t inode;
} LocalFile;

#define LOCAL_FILE_NONE ((LocalFile){.fd = -1})

/* Opens a regular file. follow: a symbolic link at the end of path is followed. Errors:
 * ERR_NOT_FOUND; ERR_FORBIDDEN; ERR_INVALID: not a regular file; ERR_IO. */
MUST_USE ErrCode local_open(const char *path, bool follow, LocalFile *out, Err *err);
/* Fills data with up to max bytes; *len 0 at the end. ERR_IO. */
MUST_USE ErrCode local_read(LocalFile *file, void *data, size_t max, size_t *len, Err *err);
/* local_read() goes on at byte offset. ERR_IO. */
MUST_USE ErrCode local_seek(LocalFile *file, uint64_t offset, Err *err);
/* Is it the same file, and unchanged between the two openings? */
bool local_same(const LocalFile *a, const LocalFile *b);
/* ERR_ABORTED, with the reason, if size or time of change are others than at the opening. */
MUST_USE ErrCode local_check_unchanged(const LocalFile *file, Err *err);
void local_close(LocalFile *file);

/* All of a small file: at most out's maximum. *found: it is there. ERR_CONFIG: it can't be read or
 * is larger. */
MUST_USE ErrCode local_read_all(const char *path, Buf *out, bool *found, Err *err);

typedef enum { LOCAL_FILE, LOCAL_DIR, LOCAL_LINK, LOCAL_OTHER } LocalType;
/* What is at path (symbolic links followed at its end if follow). ERR_NOT_FOUND, ERR_FORBIDDEN,
 * ERR_IO. size may be NULL. */
MUST_USE ErrCode local_stat(const char *path, bool follow, LocalType *type, uint64_t *size,
                            Err *err);

/* ---- directories ---- */
typedef struct LocalDir LocalDir;
/* Opens path, or name below parent (then never through a symbolic link). Errors as local_open(),
 * ERR_TOO_BIG: too many open files. */
MUST_USE ErrCode local_dir_open(const LocalDir *parent, const char *path, LocalDir **out, Err *err);
void local_dir_close(LocalDir *dir); /* NULL is fine */
/* The next entry but "." and "..": *name lives until the next call; NULL at the end. ERR_IO. */
MUST_USE ErrCode local_dir_next(LocalDir *dir, const char **name, Err *err);
/* Was the last entry a directory when it was read? *known: the file system told so by itself; else
 * local_dir_stat() tells. */
bool local_dir_was_dir(const LocalDir *dir, bool *known);
typedef struct {
    LocalType type;
    uint64_t size;    /* bytes */
    int64_t mtime_ns; /* of the last change of its content, since 1970 */
    unsigned mode;    /* rights: 0777 and less */
} LocalInfo;

/* What name below dir is, symbolic links not followed. ERR_NOT_FOUND, ERR_IO. */
MUST_USE ErrCode local_dir_stat(const LocalDir *dir, const char *name, LocalInfo *out, Err *err);

typedef enum {
    LOCAL_THERE,    /* a regular file */
    LOCAL_ABSENT,   /* nothing, a directory, or a file stands where a directory would have to */
    LOCAL_OTHERWISE /* a link, device, socket or pipe, at its place or on the way */
} LocalPresence;

/* Is there a regular file relative below dir? No link is followed. A relative that can be no path
 * (key_path_check()) is absent. Errors: ERR_FORBIDDEN, ERR_IO: nobody can tell. */
MUST_USE ErrCode local_look_below(const LocalDir *dir, Str relative, LocalPresence *out, Err *err);
/* Opens it; out->fd < 0 if it is not LOCAL_THERE. Errors: as local_look_below(). */
MUST_USE ErrCode local_open_below(const LocalDir *dir, Str relative, LocalFile *out, Err *err);
/* Removes a file, if it is there and can be. */
void local_remove(const char *path);
/* Makes path and the directories above it that are missing. ERR_EXISTS: there is something that is
 * no directory; ERR_FORBIDDEN, ERR_NO_SPACE, ERR_IO. */
MUST_USE ErrCode local_make_dirs(const char *path, Err *err);
/* Does path, which need not be there yet, lie in dir, or is it dir? Symbolic links followed.
 * ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_IO: dir, or all above path, can't be looked at. */
MUST_USE ErrCode local_is_inside(const char *path, const char *dir, bool *inside, Err *err);

/* Makes an empty directory of its own below base (NULL: $TMPDIR or /tmp), named at out (PATH_MAX
 * bytes). ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_NO_SPACE, ERR_IO. */
MUST_USE ErrCode local_temp_dir(const char *base, char *out, Err *err);
/* Removes it with the regular files in it; what can't be removed stays. */
void local_temp_dir_remove(const char *path);

/* ---- writing ---- */
#define LOCAL_TAG_LEN 16   /* hex digits */
#define LOCAL_ETAG_MAX 100 /* bytes */
#define LOCAL_TEMP_SIZE 160

typedef struct {
    int fd;                     /* -1: not open */
    int dir_fd;                 /* of the directory that holds it */
    char temp[LOCAL_TEMP_SIZE]; /* the name it has until the commit */
    char name[256];             /* its own */
    bool replaces;              /* a file stood in its place when it was begun */
    bool part;                  /* temp is the name of a part, by which a later run finds it */
} LocalNew;

#define LOCAL_NEW_NONE ((LocalNew){.fd = -1, .dir_fd = -1})

/* Begins relative (checked by key_path_check()) below root: makes the directories between, follows
 * no symbolic link, and opens a temporary file beside its place. Errors: ERR_EXISTS: something
 * else than a regular file stands there or on the way; ERR_BAD_NAME; ERR_FORBIDDEN, ERR_NO_SPACE,
 * ERR_IO. */
MUST_USE ErrCode local_new_open(const LocalDir *root, Str relative, Rng *rng, LocalNew *out,
                                Err *err);
/* The same, but goes on with the part that an earlier run left there under tag (LOCAL_TAG_LEN hex
 * digits), if there is one that no other process writes: *size is its bytes, etag (LOCAL_ETAG_MAX +
 * 1) what local_new_name_part() was given. Else *size is 0, and etag "". */
MUST_USE ErrCode local_new_resume(const LocalDir *root, Str relative, Str tag, Rng *rng,
                                  LocalNew *out, uint64_t *size, char *etag, Err *err);
/* Lets a later run find it, with what there is of it. etag: of what it is a part of; bytes that no
 * file's name can have, or too many: nothing is done. ERR_IO and its like. */
MUST_USE ErrCode local_new_name_part(LocalNew *file, Str tag, Str etag, Err *err);
/* Reads up to max bytes at offset of what was written. ERR_IO. */
MUST_USE ErrCode local_new_read(const LocalNew *file, uint64_t offset, void *data, size_t max,
                                size_t *len, Err *err);
/* Forgets what stands behind size bytes; writing goes on there. */
MUST_USE ErrCode local_new_cut(LocalNew *file, uint64_t size, Err *err);
MUST_USE ErrCode local_new_write(LocalNew *file, Str data, Err *err);
/* Gives it its name, in place of a regular file that may be there, whose rights it takes over (who
 * may read what is not told by where its bytes come from). After a failure it must still be
 * discarded. Visible to others at once; not synced. */
MUST_USE ErrCode local_new_commit(LocalNew *file, Err *err);
/* All that was written on the file system of dir since that was opened, names included, is on disk.
 * ERR_IO, ERR_NO_SPACE: some of it is not. Linux: syncfs(2), which tells of errors since 5.8. */
MUST_USE ErrCode local_dir_sync_all(const LocalDir *dir, Err *err);
/* Closes a part and lets it stay. */
void local_new_leave(LocalNew *file);
/* Removes it unless it was committed; fine for one that is not open. */
void local_new_discard(LocalNew *file);

AUTO_DEFINE(LocalDir, local_dir_close);

#endif
