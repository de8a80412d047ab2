/* What vfs.c (files), vfs_lock.c (locks, shared memory) and vfs_sums.c (checksums of frames) share.
 * See vfs.h and README.md. */
#ifndef HOLDFAST_INDEX_VFS_PRIV_H
#define HOLDFAST_INDEX_VFS_PRIV_H

#include "base/lock.h"
#include "index/page_sum.h"
#include "index/vfs.h"
#include <stdatomic.h>

/* Of SQLite's WAL format, section 4.1 of https://www.sqlite.org/fileformat2.html */
#define WAL_HEADER_BYTES 32
#define WAL_FRAME_HEADER_BYTES 24
#define WAL_FRAME_BYTES (WAL_FRAME_HEADER_BYTES + PAGE_SIZE_BYTES)

/* 32 KiB of shared memory map 4096 frames; 4096 of them a log of 64 GiB. */
#define VFS_SHM_REGIONS_MAX 4096

/* One file on disk, open once, for all connections. */
typedef struct {
    const char *path;
    File *file;            /* NULL: not open; changes only under Vfs.lock while refs is 0 */
    unsigned refs;         /* handles on it; under Vfs.lock */
    _Atomic uint64_t size; /* bytes */
    _Atomic bool unsynced; /* holds bytes that may not be durable; true when opened: a process
                              before us may have been killed between its write and its sync */
} VfsNode;

/* A checksum for each frame of index.db-wal that this process wrote or recovered; 0: not known. */
typedef struct {
    uint32_t *sums;
    size_t count;
    size_t capacity;
} VfsSums;

typedef struct VfsFile VfsFile;
struct Vfs {
    sqlite3_vfs base; /* base.pAppData is this */
    Disk *disk;
    char name[40];
    bool read_only;
    _Atomic bool failed;
    void (*damaged)(void *ctx, const char *path, uint64_t offset, const Err *err); /* or NULL */
    void *damaged_ctx;
    VfsNode main;
    VfsNode wal;
    Lock lock; /* LOCK_RANK_INDEX; guards what follows, refs and opening; never held over I/O that
                  is not the opening of a file */
    Err open_error;
    VfsSums sums;
    /* locks on index.db */
    unsigned shared;       /* handles at SHARED or above */
    const VfsFile *writer; /* at RESERVED or above */
    bool pending;          /* writer waits for, or has, EXCLUSIVE: no new SHARED */
    /* shared memory */
    void *regions[VFS_SHM_REGIONS_MAX];
    size_t region_bytes;
    unsigned shm_shared[SQLITE_SHM_NLOCK];
    bool shm_exclusive[SQLITE_SHM_NLOCK];
};

/* A connection's handle on index.db (owner is itself) or on index.db-wal. */
struct VfsFile {
    sqlite3_file base;
    Vfs *vfs;
    VfsNode *node;
    VfsFile *owner; /* the connection's handle on index.db: last is kept there */
    bool may_write;
    int level;           /* SQLITE_LOCK_… */
    uint16_t shm_shared; /* bit per slot that this handle holds */
    uint16_t shm_exclusive;
    Err last;
};

/* Methods of sqlite3_io_methods, see https://www.sqlite.org/c3ref/io_methods.html */
int vfs_lock(sqlite3_file *base, int level);
int vfs_unlock(sqlite3_file *base, int level);
int vfs_check_reserved(sqlite3_file *base, int *out);
int vfs_shm_map(sqlite3_file *base, int region, int region_bytes, int extend, void volatile **out);
int vfs_shm_lock(sqlite3_file *base, int offset, int n, int flags);
void vfs_shm_barrier(sqlite3_file *base);
int vfs_shm_unmap(sqlite3_file *base, int delete_flag);
/* Frees the shared memory. */
void vfs_shm_deinit(Vfs *vfs);

/* Frame checksums. A write calls forget before and learn after it, so a write that failed half way
 * leaves a frame of unknown contents, not one that looks damaged. */
void vfs_sums_forget(Vfs *vfs, uint64_t offset, size_t len);
void vfs_sums_learn(Vfs *vfs, uint64_t offset, const uint8_t *data, size_t len);
/* False: the page at offset is not what was written; *frame (from 1) names it. Learns a frame that
 * is read for the first time (recovery, which verifies SQLite's own checksums). */
bool vfs_sums_verify(Vfs *vfs, uint64_t offset, const uint8_t *data, size_t len, uint64_t *frame);
void vfs_sums_truncate(Vfs *vfs, uint64_t size);
void vfs_sums_deinit(Vfs *vfs);

#endif
