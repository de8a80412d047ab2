/* Disk: the one way to files, as a table of functions, below everything that must survive. Two
 * drivers: posix (disk/posix.h) and sim (disk/sim.h), which keeps a durable image and pending
 * writes and can crash. A Disk is rooted at one directory; paths are relative to it, with '/', no
 * "..", at most DISK_PATH_MAX. Any thread may use a Disk; one File is read by any threads, written
 * by one at a time.
 *
 * Durability: disk_write() alone proves nothing; disk_sync() makes the file's bytes and size
 * durable, disk_sync_dir() the names in a directory. A failed sync is final for that file: the
 * kernel may have dropped the pages (fsyncgate); the caller must give the root up (rule 1 of
 * TESTING.md). New files are made only by disk_create_durable(), changed names only by
 * disk_replace_durable() and disk_rename_durable().
 *
 * Fault points (base/fault.h), in both drivers: disk.open, disk.read, disk.write, disk.sync,
 * disk.size, disk.truncate, disk.rename, disk.unlink, disk.mkdir, disk.sync_dir, disk.list,
 * disk.stat, disk.space, disk.lock. Planted bugs: skip-sync and skip-dir-sync return OK and do
 * nothing; sync-again syncs once more what could not be synced, ignore-eio says that it could. */
#ifndef HOLDFAST_DISK_DISK_H
#define HOLDFAST_DISK_DISK_H

#include "base/mem.h"
#include "base/str.h"

#define DISK_PATH_MAX 200

typedef struct DiskOps DiskOps;
typedef struct Disk {
    const DiskOps *ops;
} Disk;
typedef struct File {
    const DiskOps *ops;
    const char *path; /* for error texts: as it was opened, whatever was renamed since */
} File;

#define DISK_BODY_ALIGN 4096 /* bytes */

typedef enum {
    DISK_OPEN_READ,   /* must exist */
    DISK_OPEN_DIRECT, /* must exist; read from the device, past the system's cache: what is cached
                         for others stays so, and what is read does not push it out. One thread at a
                         time reads it. Where the file system can't, pages are dropped behind */
    DISK_OPEN_WRITE,  /* read and write, must exist */
    DISK_OPEN_CREATE, /* read and write, must not exist */
    DISK_OPEN_BODY,   /* as CREATE; for much that is written once, from front to back, by one thread
                         at a time: writes whose offset, length and memory are multiples of
                         DISK_BODY_ALIGN go past the system's cache, where file system and device
                         are good at that. Durable as ever: by disk_sync() only */
    DISK_OPEN_ENSURE  /* read and write, made empty if absent */
} DiskOpenMode;

typedef struct {
    bool exists;
    bool is_dir;
    uint64_t size;   /* bytes */
    uint64_t device; /* st_dev: copies on one device are one failure domain */
    bool for_others; /* users that are neither owner nor group may read or write it; posix */
} DiskStat;

typedef struct {
    uint64_t total; /* bytes of the file system */
    uint64_t free;  /* bytes this process may still write */
} DiskSpace;

/* Called for each name in a directory, in no order, without "." and "..". Anything but OK ends the
 * listing and is returned. */
typedef ErrCode (*DiskListFn)(void *ctx, const char *name, bool is_dir, Err *err);

struct DiskOps {
    const char *name;
    void (*free)(Disk *disk);
    ErrCode (*open)(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err);
    void (*close)(File *file);
    ErrCode (*read)(File *file, uint64_t offset, void *data, size_t len, size_t *got, Err *err);
    ErrCode (*write)(File *file, uint64_t offset, const void *data, size_t len, Err *err);
    ErrCode (*sync)(File *file, Err *err);
    ErrCode (*size)(File *file, uint64_t *out, Err *err);
    ErrCode (*truncate)(File *file, uint64_t size, Err *err);
    ErrCode (*rename)(Disk *disk, const char *from, const char *to, Err *err);
    ErrCode (*unlink)(Disk *disk, const char *path, Err *err);
    ErrCode (*mkdir)(Disk *disk, const char *path, Err *err);
    ErrCode (*sync_dir)(Disk *disk, const char *path, Err *err);
    ErrCode (*list)(Disk *disk, const char *path, DiskListFn fn, void *ctx, Err *err);
    ErrCode (*stat)(Disk *disk, const char *path, DiskStat *out, Err *err);
    ErrCode (*space)(Disk *disk, DiskSpace *out, Err *err);
    ErrCode (*lock)(Disk *disk, const char *path, Str who, char *holder, size_t holder_size,
                    Err *err);
    int (*fd)(File *file);
};

void disk_free(Disk *disk); /* NULL is fine */
/* Errors, here and in all that follow: ERR_INVALID for a path that is absolute, too long or has
 * empty, "." or ".." parts; ERR_NOT_FOUND, ERR_EXISTS, ERR_NO_SPACE, ERR_SYSTEM (out of descriptors
 * or kernel memory), ERR_IO. */
MUST_USE ErrCode disk_open(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err);
void disk_close(File *file); /* NULL is fine; syncs nothing */
/* Reads up to len bytes at offset; *got < len only at the end of the file. */
MUST_USE ErrCode disk_read(File *file, uint64_t offset, void *data, size_t len, size_t *got,
                           Err *err);
/* The same, but ERR_END unless all len bytes are there. */
MUST_USE ErrCode disk_read_all(File *file, uint64_t offset, void *data, size_t len, Err *err);
/* Writes all len bytes at offset (partial writes are gone on with). ERR_NO_SPACE, ERR_IO. */
MUST_USE ErrCode disk_write(File *file, uint64_t offset, const void *data, size_t len, Err *err);
/* Makes data and size durable (fdatasync). An error is final for this file. */
MUST_USE ErrCode disk_sync(File *file, Err *err);
MUST_USE ErrCode disk_size(File *file, uint64_t *out, Err *err);
MUST_USE ErrCode disk_truncate(File *file, uint64_t size, Err *err);
/* Replaces to if it exists. Not durable until both directories are synced. ERR_NOT_FOUND. */
MUST_USE ErrCode disk_rename(Disk *disk, const char *from, const char *to, Err *err);
MUST_USE ErrCode disk_unlink(Disk *disk, const char *path, Err *err); /* ERR_NOT_FOUND */
MUST_USE ErrCode disk_mkdir(Disk *disk, const char *path, Err *err);  /* OK if it is there */
/* Makes the names in it durable. path "" is the root itself, here and in list and stat. */
MUST_USE ErrCode disk_sync_dir(Disk *disk, const char *path, Err *err);
MUST_USE ErrCode disk_list(Disk *disk, const char *path, DiskListFn fn, void *ctx, Err *err);
/* exists=false is not an error. */
MUST_USE ErrCode disk_stat(Disk *disk, const char *path, DiskStat *out, Err *err);
MUST_USE ErrCode disk_space(Disk *disk, DiskSpace *out, Err *err);
/* Bytes of a file system of total bytes that uploads leave free, for deletes, repairs and control.
 */
uint64_t disk_reserve(uint64_t total);
/* Takes the lock file for the life of the Disk and writes who ("pid 123 …") into it. ERR_IN_USE:
 * holder (may be NULL) gets what its owner wrote. An empty who writes nothing, and the file must be
 * there (ERR_NOT_FOUND): for who only reads. */
MUST_USE ErrCode disk_lock(Disk *disk, const char *path, Str who, char *holder, size_t holder_size,
                           Err *err);
/* The descriptor for sendfile, or -1 (sim). */
int disk_fd(File *file);

/* A file of exactly these bytes that is there after a crash, or not at all: path.tmp, write, sync,
 * rename, sync the directory. Create: ERR_EXISTS if path is there. One thread at a time for one
 * path. After an error of the last sync the new file may be there or not. */
MUST_USE ErrCode disk_create_durable(Disk *disk, const char *path, Str data, Err *err);
MUST_USE ErrCode disk_replace_durable(Disk *disk, const char *path, Str data, Err *err);
/* Renames and syncs the directories of both names. The file itself must be synced already. */
MUST_USE ErrCode disk_rename_durable(Disk *disk, const char *from, const char *to, Err *err);
/* Makes path and its missing parents. Each is synced in its parent even if it was there, since an
 * earlier process may have died between the two; on hot paths remember what was made. */
MUST_USE ErrCode disk_mkdir_durable(Disk *disk, const char *path, Err *err);
/* The whole file, at most max bytes (ERR_TOO_BIG), into *out (mem_free()), with a NUL behind. */
MUST_USE ErrCode disk_read_file(Disk *disk, const char *path, size_t max, char **out, size_t *len,
                                Err *err);

AUTO_DEFINE(Disk, disk_free);
AUTO_DEFINE(File, disk_close);

#endif
