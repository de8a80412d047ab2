/* Files of the Vfs. All connections share one File per path (VfsNode). An error is kept in the
 * connection's handle on index.db, because SQLite hands on no more than a number. */
#include "index/vfs.h"

#include "base/fault.h"
#include "index/vfs_priv.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAIN_HEADER_BYTES 100 /* SQLite reads it, and parts of it, without the page around it */
#define SECTOR_BYTES 4096

static Vfs *vfs_of(sqlite3_vfs *base)
{
    return (Vfs *)base->pAppData;
}

static VfsFile *file_of(sqlite3_file *base)
{
    return (VfsFile *)base;
}

static bool is_main(const VfsFile *file)
{
    return file->node == &file->vfs->main;
}

/* Keeps the reason and gives the number that SQLite hands on. */
static int fail(VfsFile *file, int rc, const Err *err)
{
    file->owner->last = *err;
    return rc;
}

/* The same for a write or truncation. A full disk leaves what is written as it was; all else
 * ends the Vfs: what is on disk is not known any more. */
static int fail_write(VfsFile *file, int rc, const Err *err)
{
    if (err->code == ERR_NO_SPACE) return fail(file, SQLITE_FULL, err);
    atomic_store(&file->vfs->failed, true);
    return fail(file, rc, err);
}

static ErrCode check_may_write(const VfsFile *file, Err *err)
{
    if (vfs_failed(file->vfs)) {
        return err_set(err, ERR_ROOT_FAILED, "%s: a write failed before", file->node->path);
    }
    if (!file->may_write) {
        return err_set(err, ERR_IO, "%s is open for reading only", file->node->path);
    }
    return OK;
}

static int file_close(sqlite3_file *base)
{
    VfsFile *file = file_of(base);
    VfsNode *node = file->node;
    lock_take(&file->vfs->lock);
    /* A connection that could not be opened is closed before anybody could ask it. */
    if (file->last.code != OK) file->vfs->open_error = file->last;
    ASSERT(node->refs > 0);
    if (--node->refs == 0) {
        disk_close(node->file);
        node->file = NULL;
    }
    lock_give(&file->vfs->lock);
    file->base.pMethods = NULL;
    return SQLITE_OK;
}

static ErrCode check_page(const uint8_t *page, uint32_t number, Err *err)
{
    if (page_sum_ok(page, number) || fault_planted("trust-pages")) return OK;
    return err_set(err, ERR_CORRUPT, "%s: page %u fails its checksum (it says page %u)",
                   VFS_MAIN_NAME, number, page_sum_number(page));
}

/* A page of index.db: all of it must be there and carry its checksum. SQLite also reads parts of
 * the header alone before it knows the page size; it reads page 1 whole before it trusts them. */
static ErrCode read_main(const VfsFile *file, uint64_t offset, void *data, size_t len, Err *err)
{
    bool is_page = len == PAGE_SIZE_BYTES && offset % PAGE_SIZE_BYTES == 0;
    if (!is_page && offset + len > MAIN_HEADER_BYTES) {
        return err_set(err, ERR_CORRUPT, "%s: page 1 tells of another page size", VFS_MAIN_NAME);
    }
    uint32_t number = (uint32_t)(offset / PAGE_SIZE_BYTES) + 1;
    size_t got = 0;
    TRY(disk_read(file->node->file, offset, data, len, &got, err));
    if (got < len)
        return err_set(err, ERR_CORRUPT, "%s: page %u is missing", VFS_MAIN_NAME, number);
    return is_page ? check_page(data, number, err) : OK;
}

static ErrCode read_wal(const VfsFile *file, uint64_t offset, void *data, size_t len, Err *err)
{
    uint64_t frame = 0;
    TRY(disk_read_all(file->node->file, offset, data, len, err));
    if (vfs_sums_verify(file->vfs, offset, data, len, &frame)) return OK;
    return err_set(err, ERR_CORRUPT, "%s: frame %llu is not what was written", VFS_WAL_NAME,
                   (unsigned long long)frame);
}

static void tell_damage(const VfsFile *file, uint64_t offset, const Err *err)
{
    Vfs *vfs = file->vfs;
    if (vfs->damaged == NULL || (err->code != ERR_CORRUPT && err->code != ERR_IO)) return;
    vfs->damaged(vfs->damaged_ctx, file->node->path, offset, err);
}

static int file_read(sqlite3_file *base, void *data, int amount, sqlite3_int64 at)
{
    VfsFile *file = file_of(base);
    ASSERT(amount > 0 && at >= 0);
    Err err = {0};
    ErrCode code = is_main(file) ? read_main(file, (uint64_t)at, data, (size_t)amount, &err)
                                 : read_wal(file, (uint64_t)at, data, (size_t)amount, &err);
    if (code == OK) return SQLITE_OK;
    memset(data, 0, (size_t)amount); /* as the interface asks of a short read; no harm otherwise */
    if (code == ERR_END) return SQLITE_IOERR_SHORT_READ;
    tell_damage(file, (uint64_t)at, &err);
    return fail(file, code == ERR_CORRUPT ? SQLITE_IOERR_CORRUPTFS : SQLITE_IOERR_READ, &err);
}

static ErrCode write_node(VfsNode *node, uint64_t offset, const void *data, size_t len, Err *err)
{
    atomic_store(&node->unsynced, true);
    ErrCode code = disk_write(node->file, offset, data, len, err);
    uint64_t size = MAX(atomic_load(&node->size), offset + len);
    if (code != OK && disk_size(node->file, &size, NULL) != OK) return code;
    atomic_store(&node->size, size);
    return code;
}

/* In WAL mode SQLite writes index.db by whole pages, and only to move them from the log. */
static ErrCode write_main(VfsFile *file, uint64_t offset, const void *data, size_t len, Err *err)
{
    if (len != PAGE_SIZE_BYTES || offset % PAGE_SIZE_BYTES != 0) {
        return err_set(err, ERR_CORRUPT, "%s has another page size", VFS_WAL_NAME);
    }
    uint8_t page[PAGE_SIZE_BYTES];
    memcpy(page, data, sizeof page);
    page_sum_set(page, (uint32_t)(offset / PAGE_SIZE_BYTES) + 1);
    return write_node(file->node, offset, page, sizeof page, err);
}

static ErrCode write_wal(VfsFile *file, uint64_t offset, const void *data, size_t len, Err *err)
{
    vfs_sums_forget(file->vfs, offset, len);
    TRY(write_node(file->node, offset, data, len, err));
    vfs_sums_learn(file->vfs, offset, data, len);
    return OK;
}

static int file_write(sqlite3_file *base, const void *data, int amount, sqlite3_int64 at)
{
    VfsFile *file = file_of(base);
    ASSERT(amount > 0 && at >= 0);
    Err err = {0};
    ErrCode code = check_may_write(file, &err);
    if (code == OK) {
        code = is_main(file) ? write_main(file, (uint64_t)at, data, (size_t)amount, &err)
                             : write_wal(file, (uint64_t)at, data, (size_t)amount, &err);
    }
    return code == OK ? SQLITE_OK : fail_write(file, SQLITE_IOERR_WRITE, &err);
}

/* A failed sync is final for whatever reason, a full disk included (fsyncgate). Only the one
 * writing connection writes and syncs, so nothing is written between the sync and the clearing of
 * the flag. */
static ErrCode sync_node(Vfs *vfs, VfsNode *node, Err *err)
{
    if (!atomic_load(&node->unsynced) || fault_planted("skip-index-sync")) return OK;
    ErrCode code = disk_sync(node->file, err);
    if (code != OK) {
        atomic_store(&vfs->failed, true);
        return code;
    }
    atomic_store(&node->unsynced, false);
    return OK;
}

static ErrCode truncate_node(VfsFile *file, uint64_t size, Err *err)
{
    VfsNode *node = file->node;
    TRY(check_may_write(file, err));
    if (!is_main(file)) vfs_sums_truncate(file->vfs, size);
    atomic_store(&node->unsynced, true);
    TRY(disk_truncate(node->file, size, err));
    atomic_store(&node->size, size);
    /* The log of SQLite was moved into index.db and synced there. Should it come back after a power
     * failure, one bad bit in it would put old pages over new ones: SQLite takes it for its end. */
    return is_main(file) || size > 0 ? OK : sync_node(file->vfs, node, err);
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    VfsFile *file = file_of(base);
    ASSERT(size >= 0);
    Err err = {0};
    if (atomic_load(&file->node->size) == (uint64_t)size) return SQLITE_OK;
    if (truncate_node(file, (uint64_t)size, &err) == OK) return SQLITE_OK;
    return fail_write(file, SQLITE_IOERR_TRUNCATE, &err);
}

static int file_sync(sqlite3_file *base, int flags)
{
    UNUSED(flags);
    VfsFile *file = file_of(base);
    Err err = {0};
    ErrCode code = check_may_write(file, &err);
    if (code == OK) code = sync_node(file->vfs, file->node, &err);
    return code == OK ? SQLITE_OK : fail(file, SQLITE_IOERR_FSYNC, &err);
}

static int file_size(sqlite3_file *base, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)atomic_load(&file_of(base)->node->size);
    return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int op, void *arg)
{
    UNUSED(base);
    UNUSED(op);
    UNUSED(arg);
    return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *base)
{
    UNUSED(base);
    return SECTOR_BYTES;
}

/* Powersafe overwrite is what SQLite assumes of every disk since 3.7.10: writing bytes into a
 * sector does not endanger its other bytes. Here it matters only for the synced end of the log that
 * a reader kept from being checkpointed. */
static int file_characteristics(sqlite3_file *base)
{
    UNUSED(base);
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods main_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_unlock,
    .xCheckReservedLock = vfs_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = vfs_shm_map,
    .xShmLock = vfs_shm_lock,
    .xShmBarrier = vfs_shm_barrier,
    .xShmUnmap = vfs_shm_unmap,
};

static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

static ErrCode open_file(Vfs *vfs, VfsNode *node, Err *err)
{
    DiskStat stat;
    TRY(disk_stat(vfs->disk, node->path, &stat, err));
    if (!stat.exists && node == &vfs->wal && vfs->read_only) {
        atomic_store(&node->size, 0);
        return OK; /* nothing is ever read of it */
    }
    if (!stat.exists && node == &vfs->wal) {
        TRY(disk_create_durable(vfs->disk, node->path, str_of(NULL, 0), err));
    }
    uint64_t size = 0;
    AUTO(File, disk_close) file = NULL;
    DiskOpenMode mode = vfs->read_only ? DISK_OPEN_READ : DISK_OPEN_WRITE;
    TRY(disk_open(vfs->disk, node->path, mode, &file, err));
    TRY(disk_size(file, &size, err));
    atomic_store(&node->size, size);
    atomic_store(&node->unsynced, true);
    node->file = TAKE(file);
    return OK;
}

static ErrCode take_node(Vfs *vfs, VfsNode *node, Err *err)
{
    lock_take(&vfs->lock);
    ErrCode code = node->refs > 0 ? OK : open_file(vfs, node, err);
    if (code == OK) node->refs++;
    lock_give(&vfs->lock);
    return code;
}

static int open_main(Vfs *vfs, VfsFile *file)
{
    Err err = {0};
    if (take_node(vfs, &vfs->main, &err) != OK) {
        lock_take(&vfs->lock);
        vfs->open_error = err;
        lock_give(&vfs->lock);
        return SQLITE_CANTOPEN;
    }
    file->node = &vfs->main;
    file->owner = file;
    file->base.pMethods = &main_methods;
    return SQLITE_OK;
}

static int open_wal(Vfs *vfs, VfsFile *file, const char *name)
{
    Err err = {0};
    file->owner = file_of(sqlite3_database_file_object(name));
    if (take_node(vfs, &vfs->wal, &err) != OK) return fail(file, SQLITE_CANTOPEN, &err);
    file->node = &vfs->wal;
    file->may_write = file->owner->may_write;
    file->base.pMethods = &wal_methods;
    return SQLITE_OK;
}

/* Temporary files have no name; they and journals are refused: temp_store is MEMORY. */
static int open_any(sqlite3_vfs *base, const char *name, sqlite3_file *out, int flags,
                    int *flags_out)
{
    Vfs *vfs = vfs_of(base);
    VfsFile *file = file_of(out);
    memset(file, 0, sizeof *file);
    file->vfs = vfs;
    file->may_write = (flags & SQLITE_OPEN_READWRITE) != 0 && !vfs->read_only;
    int rc = SQLITE_CANTOPEN;
    if (name != NULL && (flags & SQLITE_OPEN_MAIN_DB) != 0 && strcmp(name, VFS_MAIN_NAME) == 0) {
        rc = open_main(vfs, file);
    } else if (name != NULL && (flags & SQLITE_OPEN_WAL) != 0 && strcmp(name, VFS_WAL_NAME) == 0) {
        rc = open_wal(vfs, file, name);
    }
    if (rc == SQLITE_OK && flags_out != NULL) *flags_out = flags;
    return rc;
}

/* SQLite would delete only a log beside an empty index.db, which does not come up to here. */
static int delete_any(sqlite3_vfs *base, const char *name, int sync_dir)
{
    UNUSED(base);
    UNUSED(name);
    UNUSED(sync_dir);
    return SQLITE_IOERR_DELETE;
}

/* There never is a rollback journal: a file of that name is nobody's. */
static int access_any(sqlite3_vfs *base, const char *name, int flags, int *out)
{
    UNUSED(flags);
    Vfs *vfs = vfs_of(base);
    Err err = {0};
    DiskStat stat = {0};
    if (strcmp(name, VFS_MAIN_NAME) == 0 || strcmp(name, VFS_WAL_NAME) == 0) {
        if (disk_stat(vfs->disk, name, &stat, &err) != OK) {
            lock_take(&vfs->lock);
            vfs->open_error = err;
            lock_give(&vfs->lock);
            return SQLITE_IOERR_ACCESS;
        }
    }
    *out = stat.exists;
    return SQLITE_OK;
}

static int full_path(sqlite3_vfs *base, const char *name, int size, char *out)
{
    UNUSED(base);
    return str_to_cstr(str_from_cstr(name), out, (size_t)size) ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int randomness(sqlite3_vfs *base, int len, char *out)
{
    UNUSED(base);
    memset(out, 0, (size_t)len);
    return len;
}

void vfs_sleep_us(unsigned us)
{
    struct timespec wait = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&wait, NULL); /* a signal only makes it shorter */
}

/* Asked for only when two connections meet at the shared memory, so never with one thread. */
static int sleep_us(sqlite3_vfs *base, int us)
{
    UNUSED(base);
    vfs_sleep_us(us > 0 ? (unsigned)us : 0);
    return us;
}

static int current_time_ms(sqlite3_vfs *base, sqlite3_int64 *out)
{
    UNUSED(base);
    *out = 0; /* nothing here asks for the time */
    return SQLITE_OK;
}

static int current_time(sqlite3_vfs *base, double *out)
{
    UNUSED(base);
    *out = 0;
    return SQLITE_OK;
}

void vfs_on_damage(Vfs *vfs,
                   void (*fn)(void *ctx, const char *path, uint64_t offset, const Err *err),
                   void *ctx)
{
    vfs->damaged = fn;
    vfs->damaged_ctx = ctx;
}

ErrCode vfs_new(Disk *disk, Vfs **out, Err *err)
{
    ASSERT(disk != NULL);
    Vfs *vfs = mem_new(sizeof *vfs);
    vfs->disk = disk;
    vfs->main.path = VFS_MAIN_NAME;
    vfs->wal.path = VFS_WAL_NAME;
    lock_init(&vfs->lock, LOCK_RANK_INDEX);
    /* The address is unique among those that are alive, without state of the process. */
    snprintf(vfs->name, sizeof vfs->name, "holdfast-%p", (void *)vfs); /* fits */
    vfs->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(VfsFile),
        .mxPathname = DISK_PATH_MAX,
        .zName = vfs->name,
        .pAppData = vfs,
        .xOpen = open_any,
        .xDelete = delete_any,
        .xAccess = access_any,
        .xFullPathname = full_path,
        .xRandomness = randomness,
        .xSleep = sleep_us,
        .xCurrentTime = current_time,
        .xCurrentTimeInt64 = current_time_ms,
    };
    int rc = sqlite3_vfs_register(&vfs->base, 0);
    if (rc != SQLITE_OK) {
        lock_deinit(&vfs->lock);
        mem_free(vfs);
        return err_set(err, ERR_SYSTEM, "register with SQLite: %s", sqlite3_errstr(rc));
    }
    *out = vfs;
    return OK;
}

void vfs_free(Vfs *vfs)
{
    if (vfs == NULL) return;
    ASSERT(vfs->main.refs == 0 && vfs->wal.refs == 0 && vfs->shared == 0);
    sqlite3_vfs_unregister(&vfs->base); /* cannot fail once SQLite is initialized */
    vfs_shm_deinit(vfs);
    vfs_sums_deinit(vfs);
    lock_deinit(&vfs->lock);
    mem_free(vfs);
}

void vfs_set_read_only(Vfs *vfs)
{
    ASSERT(vfs->main.refs == 0 && vfs->wal.refs == 0);
    vfs->read_only = true;
}

const char *vfs_name(const Vfs *vfs)
{
    return vfs->name;
}

void vfs_fail(Vfs *vfs)
{
    atomic_store(&vfs->failed, true);
}

bool vfs_failed(const Vfs *vfs)
{
    return atomic_load(&vfs->failed);
}

ErrCode vfs_sync_wal(Vfs *vfs, Err *err)
{
    lock_take(&vfs->lock); /* other connections come and go */
    ASSERT(vfs->wal.refs > 0);
    lock_give(&vfs->lock);
    return sync_node(vfs, &vfs->wal, err);
}

bool vfs_is_settled(const Vfs *vfs)
{
    return atomic_load(&vfs->wal.size) == 0 && !atomic_load(&vfs->main.unsynced);
}

uint64_t vfs_main_bytes(const Vfs *vfs)
{
    return atomic_load(&vfs->main.size);
}

uint64_t vfs_wal_bytes(const Vfs *vfs)
{
    return atomic_load(&vfs->wal.size);
}

ErrCode vfs_check_pages(Vfs *vfs, Err *err)
{
    ASSERT(vfs->main.refs > 0 && vfs_wal_bytes(vfs) == 0);
    uint64_t size = vfs_main_bytes(vfs);
    if (size == 0 || size % PAGE_SIZE_BYTES != 0) {
        return err_set(err, ERR_CORRUPT, "%s: %llu bytes are no whole pages", VFS_MAIN_NAME,
                       (unsigned long long)size);
    }
    uint8_t page[PAGE_SIZE_BYTES];
    for (uint64_t offset = 0; offset < size; offset += sizeof page) {
        uint32_t number = (uint32_t)(offset / sizeof page) + 1;
        TRY(disk_read_all(vfs->main.file, offset, page, sizeof page, err));
        if (!page_is_zero(page)) TRY(check_page(page, number, err));
    }
    return OK;
}

const Err *vfs_last_error(const sqlite3_file *main)
{
    return &((const VfsFile *)main)->last;
}

void vfs_clear_error(sqlite3_file *main)
{
    file_of(main)->last.code = OK;
}

bool vfs_take_open_error(Vfs *vfs, Err *out)
{
    lock_take(&vfs->lock);
    bool any = vfs->open_error.code != OK;
    if (any) *out = vfs->open_error;
    vfs->open_error = (Err){0};
    lock_give(&vfs->lock);
    return any;
}
