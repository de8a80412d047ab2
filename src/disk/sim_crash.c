#include "disk/posix.h"
#include "disk/sim_priv.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Pending units: first the operations in their order, then for each file that is durable or that
 * an operation could make so, in the order of a walk, its size and its sectors. */

static void unit_add(SimDisk *sim, SimInode *inode, size_t op, uint64_t sector)
{
    if (sim->unit_len == sim->unit_capacity) {
        sim->unit_capacity = sim->unit_capacity == 0 ? 64 : sim->unit_capacity * 2;
        sim->units = mem_resize(sim->units, sim->unit_capacity * sizeof(SimUnit));
    }
    sim->units[sim->unit_len++] = (SimUnit){.inode = inode, .op = op, .sector = sector};
}

/* Would it show in any image whether this sector of the cache was written? */
static bool sector_is_unit(const SimInode *inode, uint64_t sector)
{
    const uint8_t *cached = sim_content_sector(inode->cached, sector);
    const uint8_t *durable = sim_content_sector(inode->durable, sector);

    if (sim_is_stuck(inode, sector)) return false;
    /* The same shared block, or a hole in both: a hole behind the end is the size unit's. */
    if (cached == durable) return false;
    if (sector * SIM_SECTOR >= inode->durable->size) return true;
    if (inode->cut < (sector + 1) * SIM_SECTOR) return true;
    return memcmp(cached, durable, SIM_SECTOR) != 0;
}

static void collect_file(SimDisk *sim, SimInode *inode)
{
    uint64_t sectors = (inode->cached->size + SIM_SECTOR - 1) / SIM_SECTOR;

    inode->unit_first = sim->unit_len;
    if (inode->durable != inode->cached) {
        if (inode->durable->size != inode->cached->size || inode->cut != UINT64_MAX) {
            unit_add(sim, inode, 0, SIM_UNIT_SIZE);
        }
        for (uint64_t i = 0; i < sectors; i++) {
            if (sector_is_unit(inode, i)) unit_add(sim, inode, 0, i);
        }
    }
    inode->unit_count = sim->unit_len - inode->unit_first;
}

static void collect_inode(SimDisk *sim, SimInode *inode)
{
    if (inode->stamp == sim->stamp) return;
    inode->stamp = sim->stamp;
    if (!inode->is_dir) {
        collect_file(sim, inode);
        return;
    }
    for (size_t i = 0; i < inode->dir_durable->count; i++) {
        collect_inode(sim, inode->dir_durable->entries[i].inode);
    }
}

void sim_units_collect(SimDisk *sim)
{
    if (sim->units_known) return;
    sim->unit_len = 0;
    sim->stamp++;
    for (size_t i = 0; i < sim->op_len; i++)
        unit_add(sim, NULL, i, 0);
    collect_inode(sim, sim->root);
    for (size_t i = 0; i < sim->op_len; i++) {
        if (sim->ops[i].inode != NULL) collect_inode(sim, sim->ops[i].inode);
    }
    sim->units_known = true;
}

static bool is_kept(const uint64_t *keep, size_t unit)
{
    return (keep[unit / 64] >> (unit % 64) & 1) != 0;
}

/* What is left of a file: see the model in sim.c. */
static SimContent *content_after(const SimDisk *sim, const SimInode *inode, const uint64_t *keep)
{
    SimContent *content = sim_content_share(inode->durable);
    const SimUnit *units = inode->unit_count == 0 ? NULL : sim->units + inode->unit_first;
    uint64_t limit = MAX(inode->durable->size, inode->cached->size);
    size_t i = 0;

    if (inode->unit_count > 0 && units[0].sector == SIM_UNIT_SIZE) {
        i = 1;
        if (is_kept(keep, inode->unit_first)) {
            limit = inode->cached->size;
            if (inode->cut < content->size) sim_content_resize(&content, inode->cut);
            sim_content_resize(&content, limit);
        }
    }
    for (; i < inode->unit_count; i++) {
        if (!is_kept(keep, inode->unit_first + i)) continue;
        uint64_t offset = units[i].sector * SIM_SECTOR;
        size_t len = (size_t)MIN((uint64_t)SIM_SECTOR, limit - offset);
        sim_content_write(&content, offset, sim_content_sector(inode->cached, units[i].sector),
                          len);
    }
    return content;
}

/* The copy of inode in the image, made when it is first needed; the list of twins owns it. */
static SimInode *twin_of(SimDisk *sim, SimDisk *image, const uint64_t *keep, SimInode *inode)
{
    if (inode->stamp == sim->stamp) return inode->twin;
    SimInode *twin = sim_inode_new(image, inode->is_dir);
    inode->stamp = sim->stamp;
    inode->twin = twin;
    if (sim->twin_len == sim->twin_capacity) {
        sim->twin_capacity = sim->twin_capacity == 0 ? 32 : sim->twin_capacity * 2;
        sim->twins = mem_resize(sim->twins, sim->twin_capacity * sizeof(SimInode *));
    }
    sim->twins[sim->twin_len++] = twin;
    if (!inode->is_dir) {
        sim_content_release(twin->durable);
        sim_content_release(twin->cached);
        twin->durable = content_after(sim, inode, keep);
        twin->cached = sim_content_share(twin->durable);
        sim_inode_charge(image, twin);
        return twin;
    }
    for (size_t i = 0; i < inode->dir_durable->count; i++) {
        const SimEntry *entry = &inode->dir_durable->entries[i];
        sim_table_set(image, &twin->dir_durable, str_from_cstr(entry->name),
                      twin_of(sim, image, keep, entry->inode));
    }
    return twin;
}

/* A renamed file has one name: whichever it had before (an earlier rename may be lost) goes. */
static void forget_names(SimDisk *sim, SimDisk *image, const SimInode *twin)
{
    for (size_t i = 0; i < sim->twin_len; i++) {
        if (!sim->twins[i]->is_dir) continue;
        SimTable **table = &sim->twins[i]->dir_durable;
        for (size_t k = (*table)->count; k-- > 0;) {
            if ((*table)->entries[k].inode != twin) continue;
            sim_table_remove(image, table, str_from_cstr((*table)->entries[k].name));
        }
    }
}

static void apply_op(SimDisk *sim, SimDisk *image, const uint64_t *keep, const SimOp *op)
{
    SimInode *inode = op->inode == NULL ? NULL : twin_of(sim, image, keep, op->inode);
    SimInode *from = op->from_dir == NULL ? NULL : twin_of(sim, image, keep, op->from_dir);
    SimInode *to = op->to_dir == NULL ? NULL : twin_of(sim, image, keep, op->to_dir);

    if (op->kind == SIM_RENAME) forget_names(sim, image, inode);
    sim_op_apply(image, op, from, to, inode);
}

void sim_image_fill(SimDisk *sim, const uint64_t *keep, SimDisk *image)
{
    sim_units_collect(sim);
    ASSERT(sim->twin_len == 0);
    sim->stamp++;
    sim_inode_unref(image, image->root);
    image->root = sim_inode_ref(twin_of(sim, image, keep, sim->root));
    for (size_t i = 0; i < sim->op_len; i++) {
        if (is_kept(keep, i)) apply_op(sim, image, keep, &sim->ops[i]);
    }
    for (size_t i = 0; i < sim->twin_len; i++) {
        SimInode *twin = sim->twins[i];
        if (!twin->is_dir) continue;
        sim_table_release(image, twin->dir_cached);
        twin->dir_cached = sim_table_share(twin->dir_durable);
    }
    for (size_t i = 0; i < sim->twin_len; i++)
        sim_inode_unref(image, sim->twins[i]);
    sim->twin_len = 0;
}

size_t disk_sim_pending(const Disk *disk)
{
    SimDisk *sim = sim_of(disk);

    lock_take(&sim->lock);
    sim_units_collect(sim);
    size_t count = sim->unit_len;
    lock_give(&sim->lock);
    return count;
}

ErrCode disk_sim_crash_image(const Disk *disk, const uint64_t *keep, uint64_t seed, Disk **out,
                             Err *err)
{
    SimDisk *sim = sim_of(disk);
    SimDisk *image = sim_disk_new(seed);

    UNUSED(err);
    lock_take(&sim->lock);
    sim_image_fill(sim, keep, image);
    lock_give(&sim->lock);
    *out = &image->disk;
    return OK;
}

Disk *disk_sim_copy(const Disk *disk, uint64_t seed)
{
    static const uint64_t none = 0;
    Disk *copy = NULL;
    size_t pending = disk_sim_pending(disk);
    ASSERT(pending == 0);
    ErrCode code = disk_sim_crash_image(disk, &none, seed, &copy, NULL);
    ASSERT(code == OK);
    return copy;
}

void disk_sim_crash(Disk *disk)
{
    static const uint32_t chances[] = {0, 250000, 500000, 750000, 1000000};
    SimDisk *sim = sim_of(disk);
    SimDisk *image = sim_disk_new(0);

    lock_take(&sim->lock);
    sim_units_collect(sim);
    uint64_t *keep = mem_new_array(sim->unit_len / 64 + 1, sizeof *keep);
    uint32_t chance = chances[rng_below(&sim->rng, ARRAY_LEN(chances))];
    for (size_t i = 0; i < sim->unit_len; i++) {
        if (rng_chance(&sim->rng, chance)) keep[i / 64] |= UINT64_C(1) << (i % 64);
    }
    image->tree = sim->tree + 1;
    image->root->tree = image->tree;
    sim_image_fill(sim, keep, image);
    mem_free(keep);
    sim_ops_clear(sim);
    sim_inode_unref(sim, sim->root);
    sim->root = TAKE(image->root);
    sim->tree = image->tree;
    sim->used = image->used;
    sim_restart(sim);
    lock_give(&sim->lock);
    disk_free(&image->disk);
}

static uint64_t hash_inode(SimInode *inode)
{
    if (!inode->is_dir) return sim_content_hash(inode->durable);
    uint64_t hash = 11;
    for (size_t i = 0; i < inode->dir_durable->count; i++) {
        const SimEntry *entry = &inode->dir_durable->entries[i];
        for (const char *c = entry->name; *c != '\0'; c++) {
            hash = sim_hash_mix(hash, (uint8_t)*c);
        }
        hash = sim_hash_mix(hash, entry->inode->is_dir ? 257 : 256);
        hash = sim_hash_mix(hash, hash_inode(entry->inode));
    }
    return hash;
}

uint64_t disk_sim_fingerprint(const Disk *disk)
{
    SimDisk *sim = sim_of(disk);

    lock_take(&sim->lock);
    uint64_t hash = hash_inode(sim->root);
    lock_give(&sim->lock);
    return hash;
}

static ErrCode dump_file(const SimContent *content, Disk *host, const char *path, Err *err)
{
    uint8_t block[SIM_BLOCK];
    AUTO(File, disk_close) file = NULL;

    TRY(disk_open(host, path, DISK_OPEN_ENSURE, &file, err));
    TRY(disk_truncate(file, content->size, err));
    for (uint64_t at = 0; at < content->size; at += SIM_BLOCK) {
        size_t got = sim_content_read(content, at, block, sizeof block);
        TRY(disk_write(file, at, block, got, err));
    }
    return OK;
}

static ErrCode dump_inode(const SimInode *inode, bool cached, Disk *host, const char *path,
                          Err *err)
{
    if (!inode->is_dir) {
        return dump_file(cached ? inode->cached : inode->durable, host, path, err);
    }
    const SimTable *table = cached ? inode->dir_cached : inode->dir_durable;
    if (path[0] != '\0') TRY(disk_mkdir(host, path, err));
    for (size_t i = 0; i < table->count; i++) {
        char below[2 * DISK_PATH_MAX + 2];
        /* Both are valid paths, so they fit: nothing is cut. */
        (void)snprintf(below, sizeof below, "%s%s%s", path, path[0] == '\0' ? "" : "/",
                       table->entries[i].name);
        TRY(dump_inode(table->entries[i].inode, cached, host, below, err));
    }
    return OK;
}

static ErrCode dump_tree(const SimDisk *sim, const char *dir, bool cached, Err *err)
{
    char path[PATH_MAX];
    AUTO(Disk, disk_free) host = NULL;

    if (snprintf(path, sizeof path, "%s/%s", dir, cached ? "cached" : "durable") >= PATH_MAX) {
        return err_set(err, ERR_INVALID, "path too long: %.80s", dir);
    }
    TRY(disk_posix_open(path, &host, err));
    return dump_inode(sim->root, cached, host, "", err);
}

ErrCode disk_sim_dump(const Disk *disk, const char *dir, Err *err)
{
    SimDisk *sim = sim_of(disk);

    lock_take(&sim->lock);
    ErrCode code = dump_tree(sim, dir, false, err);
    if (code == OK) code = dump_tree(sim, dir, true, err);
    lock_give(&sim->lock);
    return code;
}
