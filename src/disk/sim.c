/* The model.
 *
 * A file has durable bytes and cached bytes; reads see the cached ones. What differs is pending, in
 * units of 512-byte sectors, plus one unit for a changed size. A sync makes the durable bytes those
 * of the cache, and nothing else: not the file's name. A crash keeps each unit or not:
 *   sector  kept: all its cached bytes, the newest ones; dropped: the durable ones, or zeros where
 *           the durable file was shorter. (A sector written twice between syncs is never seen in
 *           between, unless the crash came in between.)
 *   size    kept: the cached size, and what a truncation took off since the last sync is zeros;
 *           dropped: the durable size, or the end of the last kept sector if that is further, since
 *           a file system that wrote a sector behind the end has raised the size that far.
 * Sectors that are the same either way, and holes, are no units.
 *
 * A directory has durable names and cached names. Each create, mkdir, unlink and rename is one
 * pending unit, in order, until a sync of its directory (both directories for a rename). What a
 * sync commits takes with it the earlier operations on the same names. A crash applies the kept
 * operations in their order to the durable names, so of two kept ones on a name the later wins. A
 * rename is one unit: the file is under the new name, and under no other, or it is where it would
 * be without it. A file that no durable name leads to is gone; in a directory that is gone, so is
 * everything. This is harsher than a journal that keeps order (ext4), which is the purpose.
 *
 * A sector that a fault has hit is stuck: cached and durable differ and no sync will mend it, until
 * it is written again: a lost write, a misdirected one (both places), or one whose sync failed
 * and left the page clean. A stuck sector is no unit; a crash shows its durable bytes.
 *
 * Lock files are durable at once and are no operation: no crash state is worth their price. */
#include "disk/sim.h"

#include "disk/disk_priv.h"
#include "disk/sim_priv.h"

#include <errno.h>
#include <string.h>

#define SIM_SPACE_TOTAL ((uint64_t)1 << 40) /* what a disk without a capacity says it has */

typedef struct {
    File file;
    SimDisk *sim;
    SimInode *inode;
    uint64_t epoch;
    bool writable;
    bool direct; /* reads what the device holds */
    char path[]; /* terminated; what file.path points to */
} SimFile;

static SimFile *file_of(File *file)
{
    return (SimFile *)(void *)file;
}

/* The lock for a scope: LOCKED(sim); */
static void unlock_auto(Lock **lock)
{
    lock_give(*lock);
}
static Lock *locked(SimDisk *sim)
{
    lock_take(&sim->lock);
    return &sim->lock;
}
#define LOCKED(sim) __attribute__((cleanup(unlock_auto), unused)) Lock *locked_ = locked(sim)

static ErrCode power_off(Err *err, const char *verb, const char *path)
{
    return err_set(err, ERR_IO, "%s %s: the simulated power is off", verb, path);
}

/* Counts an operation that is about to change something, or stops here. */
static ErrCode step(SimDisk *sim, const char *verb, const char *path, Err *err)
{
    if (sim->stopped || sim->op_count >= sim->stop_at) {
        sim->stopped = true;
        return power_off(err, verb, path);
    }
    sim->op_count++;
    sim->units_known = false;
    return OK;
}

static bool chance(SimDisk *sim, uint32_t per_million)
{
    return per_million > 0 && rng_chance(&sim->rng, per_million);
}

/* The device does not answer for a while. */
static void stall(SimDisk *sim)
{
    if (sim->clock == NULL || !chance(sim, sim->faults.stall)) return;
    sim->clock->wall_ms += SIM_STALL_MS;
    sim->clock->boot_ns += SIM_STALL_MS * 1000000ULL;
}

static ErrCode check_file(const SimFile *file, const char *verb, Err *err)
{
    if (file->sim->stopped) return power_off(err, verb, file->path);
    if (file->epoch != file->sim->epoch) {
        return err_set(err, ERR_IO, "%s %s: opened before the crash", verb, file->path);
    }
    return OK;
}

/* The cached inode at path, "" for the root; NULL and *error set to an errno if there is none. */
static SimInode *find(const SimDisk *sim, Str path, int *error)
{
    SimInode *inode = sim->root;
    Str part = {NULL, 0};

    while (path.len > 0) {
        str_split(path, '/', &part, &path);
        if (!inode->is_dir) {
            *error = ENOTDIR;
            return NULL;
        }
        inode = sim_table_find(inode->dir_cached, part);
        if (inode == NULL) {
            *error = ENOENT;
            return NULL;
        }
    }
    return inode;
}

static SimInode *find_dir(const SimDisk *sim, Str path, int *error)
{
    SimInode *inode = find(sim, path, error);

    if (inode == NULL || inode->is_dir) return inode;
    *error = ENOTDIR;
    return NULL;
}

/* The directory that holds path; *name is the last part of path. */
static SimInode *find_parent(const SimDisk *sim, const char *path, Str *name, int *error)
{
    const char *slash = strrchr(path, '/');

    *name = str_from_cstr(slash == NULL ? path : slash + 1);
    return find_dir(sim, str_of(path, slash == NULL ? 0 : (size_t)(slash - path)), error);
}

static void locks_clear(SimDisk *sim)
{
    while (sim->locks != NULL) {
        SimLock *lock = sim->locks;
        sim->locks = lock->next;
        mem_free(lock->path);
        mem_free(lock->who);
        mem_free(lock);
    }
}

void sim_restart(SimDisk *sim)
{
    locks_clear(sim);
    sim->epoch++;
    sim->stopped = false;
    sim->stop_at = UINT64_MAX;
    sim->units_known = false;
}

static void sim_free(Disk *disk)
{
    SimDisk *sim = sim_of(disk);

    ASSERT(sim->open_files == 0);
    locks_clear(sim);
    sim_ops_clear(sim);
    if (sim->root != NULL) sim_inode_unref(sim, sim->root);
    mem_free(sim->ops);
    mem_free(sim->units);
    mem_free(sim->twins);
    lock_deinit(&sim->lock);
    mem_free(sim);
}

static void sim_close(File *file)
{
    SimFile *own = file_of(file);
    SimDisk *sim = own->sim;
    LOCKED(sim);

    sim_inode_unref(sim, own->inode);
    sim->open_files--;
    sim->units_known = false;
    mem_free(own);
}

/* What the device holds of sectors whose pages the kernel takes for clean, and which it has not. */
static void uncache(const SimInode *inode, uint64_t offset, uint8_t *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        uint64_t sector = (offset + done) / SIM_SECTOR;
        size_t skip = (size_t)((offset + done) % SIM_SECTOR);
        size_t part = MIN(SIM_SECTOR - skip, len - done);
        if (sim_is_stuck(inode, sector))
            memcpy(data + done, sim_content_sector(inode->durable, sector) + skip, part);
        done += part;
    }
}

static ErrCode sim_read(File *file, uint64_t offset, void *data, size_t len, size_t *got, Err *err)
{
    SimFile *own = file_of(file);
    LOCKED(own->sim);

    TRY(check_file(own, "read", err));
    stall(own->sim);
    if (chance(own->sim, own->sim->faults.read_error)) {
        return disk_fail(err, EIO, "read", own->path);
    }
    *got = sim_content_read(own->inode->cached, offset, data, len);
    if (own->direct) uncache(own->inode, offset, data, *got);
    return OK;
}

/* Puts data into the cache; the sectors are dirty again, whatever was lost of them before. */
static void write_cached(SimDisk *sim, SimInode *inode, uint64_t offset, const void *data,
                         size_t len)
{
    if (len == 0) return;
    sim_content_write(&inode->cached, offset, data, len);
    sim_inode_charge(sim, inode);
    if (inode->stuck == NULL) return;
    for (uint64_t i = offset / SIM_SECTOR; i <= (offset + len - 1) / SIM_SECTOR; i++) {
        sim_mark_stuck(inode, i, false);
    }
}

static void mark_range(SimInode *inode, uint64_t offset, size_t len)
{
    for (uint64_t i = offset / SIM_SECTOR; i <= (offset + len - 1) / SIM_SECTOR; i++) {
        sim_mark_stuck(inode, i, true);
    }
}

/* The cache has the bytes at offset, the device at another block of the file, at once. */
static void misdirect(SimDisk *sim, SimInode *inode, uint64_t offset, const void *data, size_t len)
{
    uint64_t blocks = (inode->durable->size + SIM_BLOCK - 1) / SIM_BLOCK;

    mark_range(inode, offset, len);
    if (blocks < 2) return; /* nowhere to go: a lost write */
    uint64_t block = rng_below(&sim->rng, blocks);
    if (block == offset / SIM_BLOCK) block = (block + 1) % blocks;
    uint64_t to = block * SIM_BLOCK + offset % SIM_BLOCK;
    if (to >= inode->durable->size) return;
    len = (size_t)MIN((uint64_t)len, inode->durable->size - to);
    sim_content_write(&inode->durable, to, data, len);
    mark_range(inode, to, len);
}

/* How many of len bytes at offset the capacity still takes. */
static size_t fits(const SimDisk *sim, const SimInode *inode, uint64_t offset, size_t len)
{
    uint64_t capacity = sim->faults.capacity;
    uint64_t left = capacity > sim->used ? capacity - sim->used : 0;

    if (capacity == 0) return len;
    uint64_t end = ALIGN_UP(inode->cached->size, (uint64_t)SIM_BLOCK) +
                   (left & ~(uint64_t)(SIM_BLOCK - 1));
    if (offset >= end) return 0;
    return (size_t)MIN((uint64_t)len, end - offset);
}

static ErrCode check_writable(const SimFile *file, const char *verb, Err *err)
{
    TRY(check_file(file, verb, err));
    return file->writable ? OK : disk_fail(err, EBADF, verb, file->path);
}

static ErrCode sim_write(File *file, uint64_t offset, const void *data, size_t len, Err *err)
{
    SimFile *own = file_of(file);
    SimDisk *sim = own->sim;
    LOCKED(sim);

    TRY(check_writable(own, "write", err));
    if (offset > INT64_MAX || len > INT64_MAX - offset) {
        return err_set(err, ERR_INVALID, "%s: write out of range", own->path);
    }
    if (len == 0) return OK;
    TRY(step(sim, "write", own->path, err));
    stall(sim);
    if (chance(sim, sim->faults.no_space)) return disk_fail(err, ENOSPC, "write", own->path);
    if (chance(sim, sim->faults.write_error)) {
        write_cached(sim, own->inode, offset, data, (size_t)rng_below(&sim->rng, len));
        return disk_fail(err, EIO, "write", own->path);
    }
    size_t room = fits(sim, own->inode, offset, len);
    write_cached(sim, own->inode, offset, data, room);
    if (room < len) return disk_fail(err, ENOSPC, "write", own->path);
    if (chance(sim, sim->faults.lost_write)) mark_range(own->inode, offset, len);
    if (chance(sim, sim->faults.misdirected)) misdirect(sim, own->inode, offset, data, len);
    return OK;
}

/* Makes durable what is not stuck; the rest the kernel takes for clean. */
static void sync_inode(SimInode *inode)
{
    if (inode->durable == inode->cached) {
        inode->cut = UINT64_MAX;
        return;
    }
    if (inode->stuck == NULL) {
        sim_content_release(inode->durable);
        inode->durable = sim_content_share(inode->cached);
        inode->cut = UINT64_MAX;
        return;
    }
    uint64_t size = inode->cached->size;
    if (inode->cut < inode->durable->size) sim_content_resize(&inode->durable, inode->cut);
    sim_content_resize(&inode->durable, size);
    for (uint64_t at = 0; at < size; at += SIM_SECTOR) {
        const uint8_t *bytes = sim_content_sector(inode->cached, at / SIM_SECTOR);
        if (sim_is_stuck(inode, at / SIM_SECTOR)) continue;
        if (bytes == sim_content_sector(inode->durable, at / SIM_SECTOR)) continue;
        sim_content_write(&inode->durable, at, bytes, (size_t)MIN((uint64_t)SIM_SECTOR, size - at));
    }
    inode->cut = UINT64_MAX;
}

/* Each dirty sector reached the disk or did not, and all are clean now. */
static void lose_pages(SimDisk *sim, SimInode *inode)
{
    uint64_t sectors = (inode->cached->size + SIM_SECTOR - 1) / SIM_SECTOR;

    for (uint64_t i = 0; i < sectors; i++) {
        bool dirty = memcmp(sim_content_sector(inode->cached, i),
                            sim_content_sector(inode->durable, i), SIM_SECTOR) != 0;
        if (dirty && rng_chance(&sim->rng, 500000)) sim_mark_stuck(inode, i, true);
    }
    sync_inode(inode);
}

static ErrCode sim_sync(File *file, Err *err)
{
    SimFile *own = file_of(file);
    SimDisk *sim = own->sim;
    LOCKED(sim);

    TRY(check_file(own, "sync", err));
    TRY(step(sim, "sync", own->path, err));
    stall(sim);
    if (chance(sim, sim->faults.sync_error)) {
        lose_pages(sim, own->inode);
        return disk_fail(err, EIO, "sync", own->path);
    }
    sync_inode(own->inode);
    return OK;
}

static ErrCode sim_size(File *file, uint64_t *out, Err *err)
{
    SimFile *own = file_of(file);
    LOCKED(own->sim);

    TRY(check_file(own, "size of", err));
    *out = own->inode->cached->size;
    return OK;
}

static ErrCode sim_truncate(File *file, uint64_t size, Err *err)
{
    SimFile *own = file_of(file);
    SimInode *inode = own->inode;
    LOCKED(own->sim);

    TRY(check_writable(own, "truncate", err));
    if (size > INT64_MAX) return err_set(err, ERR_INVALID, "%s: size out of range", own->path);
    if (size == inode->cached->size) return OK;
    TRY(step(own->sim, "truncate", own->path, err));
    if (size < inode->durable->size) inode->cut = MIN(inode->cut, size);
    sim_content_resize(&inode->cached, size);
    sim_inode_charge(own->sim, inode);
    return OK;
}

static ErrCode sim_rename(Disk *disk, const char *from, const char *to, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);
    Str from_name;
    Str to_name;
    int error = 0;

    if (sim->stopped) return power_off(err, "rename", from);
    SimInode *from_dir = find_parent(sim, from, &from_name, &error);
    SimInode *to_dir = find_parent(sim, to, &to_name, &error);
    if (from_dir == NULL || to_dir == NULL) return disk_fail(err, error, "rename", from);
    SimInode *inode = sim_table_find(from_dir->dir_cached, from_name);
    SimInode *old = sim_table_find(to_dir->dir_cached, to_name);
    if (inode == NULL) return disk_fail(err, ENOENT, "rename", from);
    /* Only files are renamed in this model: see sim_inode_unref(). */
    if (inode->is_dir || (old != NULL && old->is_dir)) {
        return disk_fail(err, EISDIR, "rename", from);
    }
    if (inode == old) return OK;
    TRY(step(sim, "rename", from, err));
    sim_op_add(sim, SIM_RENAME, inode, from_dir, from_name, to_dir, to_name);
    sim_table_set(sim, &to_dir->dir_cached, to_name, inode);
    sim_table_remove(sim, &from_dir->dir_cached, from_name);
    return OK;
}

static ErrCode sim_unlink(Disk *disk, const char *path, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);
    Str name;
    int error = ENOENT;

    if (sim->stopped) return power_off(err, "remove", path);
    SimInode *dir = find_parent(sim, path, &name, &error);
    const SimInode *inode = dir == NULL ? NULL : sim_table_find(dir->dir_cached, name);
    if (inode == NULL) return disk_fail(err, error, "remove", path);
    if (inode->is_dir) return disk_fail(err, EISDIR, "remove", path);
    TRY(step(sim, "remove", path, err));
    sim_op_add(sim, SIM_REMOVE, NULL, dir, name, NULL, name);
    sim_table_remove(sim, &dir->dir_cached, name);
    return OK;
}

/* Makes an empty inode under a name that is free. */
static ErrCode make_inode(SimDisk *sim, const char *verb, const char *path, bool is_dir,
                          SimInode **out, Err *err)
{
    Str name;
    int error = 0;
    SimInode *dir = find_parent(sim, path, &name, &error);

    if (dir == NULL) return disk_fail(err, error, verb, path);
    TRY(step(sim, verb, path, err));
    SimInode *inode = sim_inode_new(sim, is_dir);
    sim_op_add(sim, SIM_SET, inode, NULL, name, dir, name);
    sim_table_set(sim, &dir->dir_cached, name, inode);
    sim_inode_unref(sim, inode); /* the table has it */
    *out = inode;
    return OK;
}

static ErrCode sim_mkdir(Disk *disk, const char *path, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);
    int error = 0;

    if (sim->stopped) return power_off(err, "make directory", path);
    SimInode *inode = find(sim, str_from_cstr(path), &error);
    if (inode != NULL) return inode->is_dir ? OK : disk_fail(err, EEXIST, "make directory", path);
    return make_inode(sim, "make directory", path, true, &inode, err);
}

static ErrCode sim_sync_dir(Disk *disk, const char *path, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);
    int error = 0;

    if (sim->stopped) return power_off(err, "sync directory", path);
    SimInode *dir = find_dir(sim, str_from_cstr(path), &error);
    if (dir == NULL) return disk_fail(err, error, "sync directory", path);
    TRY(step(sim, "sync directory", path, err));
    if (chance(sim, sim->faults.sync_error)) return disk_fail(err, EIO, "sync directory", path);
    sim_ops_sync(sim, dir);
    return OK;
}

/* The names are listed from a share of the table, so that fn may use the disk. */
static ErrCode sim_list(Disk *disk, const char *path, DiskListFn fn, void *ctx, Err *err)
{
    SimDisk *sim = sim_of(disk);
    int error = 0;
    ErrCode code = OK;

    lock_take(&sim->lock);
    SimInode *dir = find_dir(sim, str_from_cstr(path), &error);
    if (sim->stopped || dir == NULL) {
        code = sim->stopped ? power_off(err, "list", path) : disk_fail(err, error, "list", path);
        lock_give(&sim->lock);
        return code;
    }
    SimTable *table = sim_table_share(dir->dir_cached);
    lock_give(&sim->lock);
    for (size_t i = 0; code == OK && i < table->count; i++) {
        code = fn(ctx, table->entries[i].name, table->entries[i].inode->is_dir, err);
    }
    lock_take(&sim->lock);
    sim_table_release(sim, table);
    lock_give(&sim->lock);
    return code;
}

static ErrCode sim_stat(Disk *disk, const char *path, DiskStat *out, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);
    int error = 0;

    if (sim->stopped) return power_off(err, "look at", path);
    const SimInode *inode = find(sim, str_from_cstr(path), &error);
    if (inode == NULL && error != ENOENT) return disk_fail(err, error, "look at", path);
    *out = (DiskStat){.exists = inode != NULL};
    if (inode == NULL) return OK;
    out->is_dir = inode->is_dir;
    out->size = inode->is_dir ? 0 : inode->cached->size;
    out->device = sim->seed;
    return OK;
}

static ErrCode sim_space(Disk *disk, DiskSpace *out, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);

    if (sim->stopped) return power_off(err, "free space of", ".");
    out->total = sim->faults.capacity == 0 ? SIM_SPACE_TOTAL : sim->faults.capacity;
    out->free = out->total > sim->used ? out->total - sim->used : 0;
    return OK;
}

/* The lock file with who in it, durable at once. */
static ErrCode lock_file(SimDisk *sim, const char *path, Str who, Err *err)
{
    Str name;
    int error = 0;
    SimInode *dir = find_parent(sim, path, &name, &error);

    if (dir == NULL) return disk_fail(err, error, "lock", path);
    SimInode *inode = sim_inode_new(sim, false);
    sim_content_write(&inode->cached, 0, who.ptr, who.len);
    sync_inode(inode);
    sim_inode_charge(sim, inode);
    sim_table_set(sim, &dir->dir_cached, name, inode);
    sim_table_set(sim, &dir->dir_durable, name, inode);
    sim_inode_unref(sim, inode);
    sim->units_known = false;
    return OK;
}

static ErrCode sim_lock(Disk *disk, const char *path, Str who, char *holder, size_t holder_size,
                        Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);

    if (sim->stopped) return power_off(err, "lock", path);
    for (const SimLock *lock = sim->locks; lock != NULL; lock = lock->next) {
        if (strcmp(lock->path, path) != 0) continue;
        size_t len = strlen(lock->who);
        if (holder != NULL) {
            bool whole = str_to_cstr(str_of(lock->who, MIN(len, holder_size - 1)), holder,
                                     holder_size);
            ASSERT(whole);
        }
        return err_set(err, ERR_IN_USE, "lock %s: held by %s", path, lock->who);
    }
    int error = 0;
    if (who.len == 0 && find(sim, str_from_cstr(path), &error) == NULL)
        return disk_fail(err, error, "lock", path);
    if (who.len > 0) TRY(lock_file(sim, path, who, err));
    SimLock *lock = mem_new(sizeof *lock);
    lock->path = mem_dup_cstr(path);
    lock->who = mem_new(who.len + 1);
    memcpy(lock->who, who.ptr, who.len);
    lock->next = sim->locks;
    sim->locks = lock;
    return OK;
}

static int sim_fd(File *file)
{
    UNUSED(file);
    return -1;
}

static ErrCode sim_open(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err);

static const DiskOps sim_ops = {
    .name = "sim",
    .free = sim_free,
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .size = sim_size,
    .truncate = sim_truncate,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .stat = sim_stat,
    .space = sim_space,
    .lock = sim_lock,
    .fd = sim_fd,
};

static ErrCode sim_open(Disk *disk, const char *path, DiskOpenMode mode, File **out, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);
    int error = 0;
    bool must_make = mode == DISK_OPEN_CREATE || mode == DISK_OPEN_BODY;
    bool may_make = must_make || mode == DISK_OPEN_ENSURE;

    if (sim->stopped) return power_off(err, "open", path);
    SimInode *inode = find(sim, str_from_cstr(path), &error);
    if (inode == NULL) {
        if (!may_make || error != ENOENT) return disk_fail(err, error, "open", path);
        TRY(make_inode(sim, "open", path, false, &inode, err));
    } else if (must_make) {
        return disk_fail(err, EEXIST, "open", path);
    } else if (inode->is_dir) {
        return disk_fail(err, EISDIR, "open", path);
    }
    size_t path_size = strlen(path) + 1;
    SimFile *file = mem_new(sizeof *file + path_size);
    file->sim = sim;
    file->inode = sim_inode_ref(inode);
    file->epoch = sim->epoch;
    file->writable = mode != DISK_OPEN_READ && mode != DISK_OPEN_DIRECT;
    file->direct = mode == DISK_OPEN_DIRECT;
    memcpy(file->path, path, path_size);
    file->file = (File){.ops = &sim_ops, .path = file->path};
    sim->open_files++;
    *out = &file->file;
    return OK;
}

SimDisk *sim_disk_new(uint64_t seed)
{
    SimDisk *sim = mem_new(sizeof *sim);

    sim->disk.ops = &sim_ops;
    lock_init(&sim->lock, LOCK_RANK_DISK);
    rng_init(&sim->rng, seed);
    sim->seed = seed;
    sim->stop_at = UINT64_MAX;
    sim->root = sim_inode_new(sim, true);
    return sim;
}

ErrCode disk_sim_new(uint64_t seed, Disk **out, Err *err)
{
    UNUSED(err);
    *out = &sim_disk_new(seed)->disk;
    return OK;
}

void disk_sim_set_faults(Disk *disk, const SimDiskFaults *faults)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);

    sim->faults = *faults;
}

void disk_sim_kill(Disk *disk)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);

    sim_restart(sim);
}

void disk_sim_set_clock(Disk *disk, ManualClock *clock)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);

    sim->clock = clock;
}

ErrCode disk_sim_damage(Disk *disk, const char *path, uint64_t offset, Str bytes, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);
    int error = 0;
    SimInode *inode = find(sim, str_from_cstr(path), &error);

    if (inode == NULL) return disk_fail(err, error, "damage", path);
    if (inode->is_dir || offset > inode->cached->size || bytes.len > inode->cached->size - offset) {
        return err_set(err, ERR_INVALID, "damage %s: not in the file", path);
    }
    sim->units_known = false;
    if (inode->durable == inode->cached) {
        sim_content_release(inode->durable);
        sim_content_write(&inode->cached, offset, bytes.ptr, bytes.len);
        inode->durable = sim_content_share(inode->cached);
        return OK;
    }
    uint64_t size = inode->durable->size; /* what is not stored there cannot be damaged there */
    size_t stored = offset < size ? (size_t)MIN((uint64_t)bytes.len, size - offset) : 0;
    sim_content_write(&inode->durable, offset, bytes.ptr, stored);
    sim_content_write(&inode->cached, offset, bytes.ptr, bytes.len);
    return OK;
}

static void flip(SimContent **content, uint64_t bit)
{
    uint8_t byte = 0;

    if (sim_content_read(*content, bit / 8, &byte, 1) != 1) return;
    byte = (uint8_t)(byte ^ (1U << (bit % 8)));
    sim_content_write(content, bit / 8, &byte, 1);
}

ErrCode disk_sim_flip(Disk *disk, const char *path, uint64_t bit, Err *err)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);
    int error = 0;
    SimInode *inode = find(sim, str_from_cstr(path), &error);

    if (inode == NULL) return disk_fail(err, error, "flip a bit of", path);
    if (inode->is_dir || bit / 8 >= inode->cached->size) {
        return err_set(err, ERR_INVALID, "flip a bit of %s: not in the file", path);
    }
    sim->units_known = false;
    if (inode->durable == inode->cached) {
        sim_content_release(inode->durable);
        flip(&inode->cached, bit);
        inode->durable = sim_content_share(inode->cached);
        return OK;
    }
    flip(&inode->durable, bit);
    flip(&inode->cached, bit);
    return OK;
}

uint64_t disk_sim_op_count(const Disk *disk)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);

    return sim->op_count;
}

void disk_sim_stop_at(Disk *disk, uint64_t stop_at)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);

    sim->op_count = 0;
    sim->stop_at = stop_at;
    sim->stopped = false;
}

bool disk_sim_stopped(const Disk *disk)
{
    SimDisk *sim = sim_of(disk);
    LOCKED(sim);

    return sim->stopped;
}
