/* The file system that SQLite sees: index.db and index.db-wal on one Disk, and nothing else. Each
 * Index has its own Vfs under its own name, so many live side by side in one process. It adds
 * checksums to what SQLite reads and remembers why a call failed. Format and locks: README.md.
 *
 * Threads: every connection has one thread at a time; different connections may run at once. Only
 * the connection that was opened for writing writes. */
#ifndef HOLDFAST_INDEX_VFS_H
#define HOLDFAST_INDEX_VFS_H

#include "disk/disk.h"
#include <sqlite3.h>

#define VFS_MAIN_NAME "index.db"
#define VFS_WAL_NAME "index.db-wal"

typedef struct Vfs Vfs;

/* Registers with SQLite. disk must outlive it. ERR_SYSTEM: SQLite refused. */
MUST_USE ErrCode vfs_new(Disk *disk, Vfs **out, Err *err);
/* From here on the files are opened for reading only, and a log that is absent is an empty one: for
 * an index.db that must not change. Before the first connection. */
void vfs_set_read_only(Vfs *vfs);
/* Before the first connection: fn is called for each page that is not what was written or cannot be
 * read, by the thread that reads it. */
void vfs_on_damage(Vfs *vfs,
                   void (*fn)(void *ctx, const char *path, uint64_t offset, const Err *err),
                   void *ctx);
/* All connections must be closed before; the shared memory dies here. NULL is fine. */
void vfs_free(Vfs *vfs);
/* For sqlite3_open_v2(). */
const char *vfs_name(const Vfs *vfs);

/* A write or a sync has failed: nothing is written any more (reads go on). */
bool vfs_failed(const Vfs *vfs);
/* From here on it has: something beside it failed. */
void vfs_fail(Vfs *vfs);
/* Makes what was written to index.db-wal durable. ERR_IO: the Vfs has failed for good. */
MUST_USE ErrCode vfs_sync_wal(Vfs *vfs, Err *err);
/* Is there nothing in index.db-wal, and nothing in index.db that is not synced? */
bool vfs_is_settled(const Vfs *vfs);
/* Bytes in the files; any thread. */
uint64_t vfs_main_bytes(const Vfs *vfs);
uint64_t vfs_wal_bytes(const Vfs *vfs);
/* Reads index.db through: ERR_CORRUPT names the first page that fails its checksum, ERR_IO. Pages
 * that were never written are passed over. Only when index.db-wal is empty and nobody writes: else
 * index.db may rightly hold half-written pages. */
MUST_USE ErrCode vfs_check_pages(Vfs *vfs, Err *err);
typedef struct {
    uint64_t next; /* number behind the last page that was read, from 1 */
    uint64_t bad;  /* the last that was read does not look as it was written; 0: none */
    bool ended;    /* there are no more */
} VfsLooked;
/* Reads at most count pages of index.db from number `from` on, past the system's cache, up to the
 * first that looks bad. Any thread, beside the writer: whether it is damaged, vfs_judge_page()
 * says. ERR_NO_MEMORY, ERR_SYSTEM. */
MUST_USE ErrCode vfs_look_pages(Vfs *vfs, uint64_t from, size_t count, VfsLooked *out, Err *err);
/* Is the page damaged? While nobody writes. ERR_CORRUPT: yes, and vfs_on_damage()'s function was
 * told. ERR_BUSY: index.db-wal is not empty, a newer one may stand there. */
MUST_USE ErrCode vfs_judge_page(Vfs *vfs, uint64_t number, Err *err);
/* Sleeps; for the rare wait for readers. us: microseconds. */
void vfs_sleep_us(unsigned us);

/* The reason why this connection's last call failed, or code OK if it was none of the files'. main
 * is the connection's file as SQLITE_FCNTL_FILE_POINTER gives it. */
const Err *vfs_last_error(const sqlite3_file *main);
void vfs_clear_error(sqlite3_file *main);
/* Takes the reason why the last call failed that had no open handle: opening, looking whether a
 * file is there; false if there is none. Any thread. */
bool vfs_take_open_error(Vfs *vfs, Err *out);

AUTO_DEFINE(Vfs, vfs_free);

#endif
