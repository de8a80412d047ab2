#include "disk/sim_priv.h"

#include <string.h>

SimInode *sim_inode_new(SimDisk *sim, bool is_dir)
{
    SimInode *inode = mem_new(sizeof *inode);

    inode->refs = 1;
    inode->is_dir = is_dir;
    inode->tree = sim->tree;
    inode->cut = UINT64_MAX;
    if (is_dir) {
        inode->dir_durable = mem_new(sizeof *inode->dir_durable);
        inode->dir_durable->refs = 1;
        inode->dir_cached = sim_table_share(inode->dir_durable);
    } else {
        inode->durable = sim_content_new();
        inode->cached = sim_content_share(inode->durable);
    }
    return inode;
}

SimInode *sim_inode_ref(SimInode *inode)
{
    inode->refs++;
    return inode;
}

void sim_inode_unref(SimDisk *sim, SimInode *inode)
{
    ASSERT(inode->refs > 0);
    if (--inode->refs > 0) return;
    if (inode->is_dir) {
        /* Directories are never renamed here, so that no directory is inside itself. */
        sim_table_release(sim, inode->dir_durable);
        sim_table_release(sim, inode->dir_cached);
    } else {
        if (inode->tree == sim->tree) sim->used -= inode->charged;
        sim_content_release(inode->durable);
        sim_content_release(inode->cached);
    }
    mem_free(inode->stuck);
    mem_free(inode);
}

void sim_inode_charge(SimDisk *sim, SimInode *inode)
{
    if (inode->tree != sim->tree) return;
    sim->used -= inode->charged;
    inode->charged = ALIGN_UP(inode->cached->size, (uint64_t)SIM_BLOCK);
    sim->used += inode->charged;
}

void sim_mark_stuck(SimInode *inode, uint64_t sector, bool stuck)
{
    size_t word = (size_t)(sector / 64);
    uint64_t bit = UINT64_C(1) << (sector % 64);

    if (word >= inode->stuck_words) {
        if (!stuck) return;
        inode->stuck = mem_resize(inode->stuck, (word + 1) * sizeof *inode->stuck);
        while (inode->stuck_words <= word)
            inode->stuck[inode->stuck_words++] = 0;
    }
    if (stuck) {
        inode->stuck[word] |= bit;
    } else {
        inode->stuck[word] &= ~bit;
    }
}

bool sim_is_stuck(const SimInode *inode, uint64_t sector)
{
    size_t word = (size_t)(sector / 64);

    return word < inode->stuck_words && (inode->stuck[word] >> (sector % 64) & 1) != 0;
}

SimTable *sim_table_share(SimTable *table)
{
    table->refs++;
    return table;
}

void sim_table_release(SimDisk *sim, SimTable *table)
{
    ASSERT(table->refs > 0);
    if (--table->refs > 0) return;
    for (size_t i = 0; i < table->count; i++) {
        mem_free(table->entries[i].name);
        sim_inode_unref(sim, table->entries[i].inode);
    }
    mem_free(table->entries);
    mem_free(table);
}

/* Index of the first entry whose name is not before name. */
static size_t table_position(const SimTable *table, Str name)
{
    size_t low = 0;
    size_t high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(str_from_cstr(table->entries[middle].name), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool table_has_at(const SimTable *table, size_t at, Str name)
{
    return at < table->count && str_eq(str_from_cstr(table->entries[at].name), name);
}

SimInode *sim_table_find(const SimTable *table, Str name)
{
    size_t at = table_position(table, name);

    return table_has_at(table, at, name) ? table->entries[at].inode : NULL;
}

static SimTable *table_unshare(SimTable **table)
{
    SimTable *old = *table;

    if (old->refs == 1) return old;
    SimTable *copy = mem_new(sizeof *copy);
    copy->refs = 1;
    copy->count = old->count;
    copy->capacity = old->count;
    if (old->count > 0) copy->entries = mem_new_array(old->count, sizeof(SimEntry));
    for (size_t i = 0; i < old->count; i++) {
        copy->entries[i].name = mem_dup_cstr(old->entries[i].name);
        copy->entries[i].inode = sim_inode_ref(old->entries[i].inode);
    }
    old->refs--;
    *table = copy;
    return copy;
}

static char *dup_name(Str name)
{
    char *copy = mem_new(name.len + 1);

    memcpy(copy, name.ptr, name.len);
    return copy;
}

void sim_table_set(SimDisk *sim, SimTable **table, Str name, SimInode *inode)
{
    SimTable *own = table_unshare(table);
    size_t at = table_position(own, name);

    sim_inode_ref(inode);
    if (table_has_at(own, at, name)) {
        sim_inode_unref(sim, own->entries[at].inode);
        own->entries[at].inode = inode;
        return;
    }
    if (own->count == own->capacity) {
        own->capacity = own->capacity == 0 ? 8 : own->capacity * 2;
        own->entries = mem_resize(own->entries, own->capacity * sizeof(SimEntry));
    }
    memmove(own->entries + at + 1, own->entries + at, (own->count - at) * sizeof(SimEntry));
    own->entries[at] = (SimEntry){.name = dup_name(name), .inode = inode};
    own->count++;
}

void sim_table_remove(SimDisk *sim, SimTable **table, Str name)
{
    size_t at = table_position(*table, name);

    if (!table_has_at(*table, at, name)) return;
    SimTable *own = table_unshare(table);
    mem_free(own->entries[at].name);
    sim_inode_unref(sim, own->entries[at].inode);
    own->count--;
    memmove(own->entries + at, own->entries + at + 1, (own->count - at) * sizeof(SimEntry));
}

void sim_op_add(SimDisk *sim, SimOpKind kind, SimInode *inode, SimInode *from_dir, Str from_name,
                SimInode *to_dir, Str to_name)
{
    if (sim->op_len == sim->op_capacity) {
        sim->op_capacity = sim->op_capacity == 0 ? 16 : sim->op_capacity * 2;
        sim->ops = mem_resize(sim->ops, sim->op_capacity * sizeof(SimOp));
    }
    SimOp *op = &sim->ops[sim->op_len++];
    *op = (SimOp){.kind = kind};
    if (inode != NULL) op->inode = sim_inode_ref(inode);
    if (kind != SIM_SET) {
        op->from_dir = sim_inode_ref(from_dir);
        op->from_name = dup_name(from_name);
    }
    if (kind != SIM_REMOVE) {
        op->to_dir = sim_inode_ref(to_dir);
        op->to_name = dup_name(to_name);
    }
    sim->units_known = false;
}

static void op_deinit(SimDisk *sim, SimOp *op)
{
    if (op->inode != NULL) sim_inode_unref(sim, op->inode);
    if (op->from_dir != NULL) sim_inode_unref(sim, op->from_dir);
    if (op->to_dir != NULL) sim_inode_unref(sim, op->to_dir);
    mem_free(op->from_name);
    mem_free(op->to_name);
}

void sim_op_apply(SimDisk *sim, const SimOp *op, SimInode *from_dir, SimInode *to_dir,
                  SimInode *inode)
{
    switch (op->kind) {
    case SIM_SET:
        sim_table_set(sim, &to_dir->dir_durable, str_from_cstr(op->to_name), inode);
        break;
    case SIM_REMOVE:
        sim_table_remove(sim, &from_dir->dir_durable, str_from_cstr(op->from_name));
        break;
    case SIM_RENAME:
        sim_table_set(sim, &to_dir->dir_durable, str_from_cstr(op->to_name), inode);
        /* What else has come to stand under the old name is not what was renamed. */
        if (sim_table_find(from_dir->dir_durable, str_from_cstr(op->from_name)) == inode) {
            sim_table_remove(sim, &from_dir->dir_durable, str_from_cstr(op->from_name));
        }
        break;
    }
}

static bool same_name(const SimInode *a_dir, const char *a, const SimInode *b_dir, const char *b)
{
    return a_dir != NULL && a_dir == b_dir && strcmp(a, b) == 0;
}

static bool share_a_name(const SimOp *a, const SimOp *b)
{
    return same_name(a->from_dir, a->from_name, b->from_dir, b->from_name) ||
           same_name(a->from_dir, a->from_name, b->to_dir, b->to_name) ||
           same_name(a->to_dir, a->to_name, b->from_dir, b->from_name) ||
           same_name(a->to_dir, a->to_name, b->to_dir, b->to_name);
}

/* What becomes durable takes with it all that happened to its names before. Operation i commits
 * last-to-first, so one pass is enough: it can only pull in earlier ones. */
static void mark_commits(SimDisk *sim, const SimInode *dir)
{
    for (size_t i = 0; i < sim->op_len; i++) {
        SimOp *op = &sim->ops[i];
        if (op->from_dir == dir) op->from_synced = true;
        if (op->to_dir == dir) op->to_synced = true;
        op->commit = (op->from_dir == NULL || op->from_synced) &&
                     (op->to_dir == NULL || op->to_synced);
    }
    for (size_t i = sim->op_len; i-- > 0;) {
        for (size_t k = 0; sim->ops[i].commit && k < i; k++) {
            if (share_a_name(&sim->ops[i], &sim->ops[k])) sim->ops[k].commit = true;
        }
    }
}

void sim_ops_sync(SimDisk *sim, SimInode *dir)
{
    size_t kept = 0;

    mark_commits(sim, dir);
    for (size_t i = 0; i < sim->op_len; i++) {
        SimOp *op = &sim->ops[i];
        if (op->commit) {
            sim_op_apply(sim, op, op->from_dir, op->to_dir, op->inode);
            op_deinit(sim, op);
        } else {
            sim->ops[kept++] = *op;
        }
    }
    sim->op_len = kept;
    sim->units_known = false;
}

void sim_ops_clear(SimDisk *sim)
{
    for (size_t i = 0; i < sim->op_len; i++)
        op_deinit(sim, &sim->ops[i]);
    sim->op_len = 0;
    sim->units_known = false;
}
