/* Locks and shared memory of the Vfs, both inside the process only. That is enough because one
 * process owns a storage root (the root's lock file, taken above us), and it needs to be real, not
 * a no-op: the connections of one process are kept apart by nothing else. The shared memory (the
 * "wal-index") lives on the heap and dies with the Vfs; the next one recovers it from the log, as
 * after any crash.
 *
 * Locks on index.db: in WAL mode each connection holds SHARED while it is open and takes EXCLUSIVE
 * only to find out whether it is the last one. Locks in the shared memory: 8 slots, each shared by
 * some or held by one; https://www.sqlite.org/walformat.html#locks says what they stand for.
 * Neither waits: SQLITE_BUSY at once. */
#include "index/vfs_priv.h"

static VfsFile *file_of(sqlite3_file *base)
{
    return (VfsFile *)base;
}

int vfs_lock(sqlite3_file *base, int level)
{
    VfsFile *file = file_of(base);
    Vfs *vfs = file->vfs;
    int rc = SQLITE_OK;
    lock_take(&vfs->lock);
    if (file->level >= level) {
        /* has it */
    } else if (level == SQLITE_LOCK_SHARED) {
        if (vfs->pending) {
            rc = SQLITE_BUSY;
        } else {
            vfs->shared++;
            file->level = SQLITE_LOCK_SHARED;
        }
    } else if (vfs->writer != NULL && vfs->writer != file) {
        rc = SQLITE_BUSY;
    } else {
        ASSERT(file->level >= SQLITE_LOCK_SHARED && vfs->shared > 0);
        vfs->writer = file;
        file->level = SQLITE_LOCK_RESERVED;
        if (level > SQLITE_LOCK_RESERVED) {
            vfs->pending = true;
            file->level = vfs->shared == 1 ? SQLITE_LOCK_EXCLUSIVE : SQLITE_LOCK_PENDING;
            rc = vfs->shared == 1 ? SQLITE_OK : SQLITE_BUSY;
        }
    }
    lock_give(&vfs->lock);
    return rc;
}

int vfs_unlock(sqlite3_file *base, int level)
{
    VfsFile *file = file_of(base);
    Vfs *vfs = file->vfs;
    lock_take(&vfs->lock);
    if (level < file->level) {
        if (vfs->writer == file) {
            vfs->writer = NULL;
            vfs->pending = false;
        }
        if (level == SQLITE_LOCK_NONE) {
            ASSERT(vfs->shared > 0);
            vfs->shared--;
        }
        file->level = level;
    }
    lock_give(&vfs->lock);
    return SQLITE_OK;
}

int vfs_check_reserved(sqlite3_file *base, int *out)
{
    VfsFile *file = file_of(base);
    lock_take(&file->vfs->lock);
    *out = file->vfs->writer != NULL;
    lock_give(&file->vfs->lock);
    return SQLITE_OK;
}

int vfs_shm_map(sqlite3_file *base, int region, int region_bytes, int extend, void volatile **out)
{
    Vfs *vfs = file_of(base)->vfs;
    *out = NULL;
    if (region < 0 || region >= VFS_SHM_REGIONS_MAX || region_bytes <= 0) {
        return SQLITE_IOERR_SHMSIZE;
    }
    lock_take(&vfs->lock);
    if (vfs->regions[region] == NULL && extend != 0) {
        ASSERT(vfs->region_bytes == 0 || vfs->region_bytes == (size_t)region_bytes);
        vfs->region_bytes = (size_t)region_bytes;
        vfs->regions[region] = mem_new((size_t)region_bytes);
    }
    *out = vfs->regions[region];
    lock_give(&vfs->lock);
    return SQLITE_OK;
}

static void shm_release(VfsFile *file, int slot)
{
    Vfs *vfs = file->vfs;
    uint16_t bit = (uint16_t)(1U << slot);
    if ((file->shm_shared & bit) != 0) {
        ASSERT(vfs->shm_shared[slot] > 0);
        vfs->shm_shared[slot]--;
        file->shm_shared &= (uint16_t)~bit;
    }
    if ((file->shm_exclusive & bit) != 0) {
        ASSERT(vfs->shm_exclusive[slot]);
        vfs->shm_exclusive[slot] = false;
        file->shm_exclusive &= (uint16_t)~bit;
    }
}

static bool shm_may_take(const VfsFile *file, int slot, bool exclusive)
{
    const Vfs *vfs = file->vfs;
    uint16_t bit = (uint16_t)(1U << slot);
    if (!exclusive) return !vfs->shm_exclusive[slot];
    if ((file->shm_exclusive & bit) != 0) return true;
    return !vfs->shm_exclusive[slot] && vfs->shm_shared[slot] == 0;
}

static void shm_take(VfsFile *file, int slot, bool exclusive)
{
    uint16_t bit = (uint16_t)(1U << slot);
    if (exclusive) {
        file->vfs->shm_exclusive[slot] = true;
        file->shm_exclusive |= bit;
    } else if ((file->shm_shared & bit) == 0) {
        file->vfs->shm_shared[slot]++;
        file->shm_shared |= bit;
    }
}

/* All n slots or none. */
int vfs_shm_lock(sqlite3_file *base, int offset, int n, int flags)
{
    VfsFile *file = file_of(base);
    ASSERT(offset >= 0 && n > 0 && offset + n <= SQLITE_SHM_NLOCK);
    bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    int rc = SQLITE_OK;
    lock_take(&file->vfs->lock);
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
        for (int i = offset; i < offset + n; i++)
            shm_release(file, i);
    } else {
        for (int i = offset; i < offset + n; i++) {
            if (!shm_may_take(file, i, exclusive)) rc = SQLITE_BUSY;
        }
        for (int i = offset; rc == SQLITE_OK && i < offset + n; i++)
            shm_take(file, i, exclusive);
    }
    lock_give(&file->vfs->lock);
    return rc;
}

void vfs_shm_barrier(sqlite3_file *base)
{
    /* A full fence, and the lock besides, as SQLite's own drivers do: the lock is what
     * ThreadSanitizer understands (it has no fences, and gcc refuses
     * atomic_thread_fence() then). */
    VfsFile *file = file_of(base);
    __sync_synchronize();
    lock_take(&file->vfs->lock);
    lock_give(&file->vfs->lock);
}

/* The memory itself stays until vfs_free(): the writer's connection outlives all others. */
int vfs_shm_unmap(sqlite3_file *base, int delete_flag)
{
    UNUSED(delete_flag);
    VfsFile *file = file_of(base);
    lock_take(&file->vfs->lock);
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++)
        shm_release(file, i);
    lock_give(&file->vfs->lock);
    return SQLITE_OK;
}

void vfs_shm_deinit(Vfs *vfs)
{
    for (size_t i = 0; i < VFS_SHM_REGIONS_MAX; i++)
        mem_free(vfs->regions[i]);
}
