/* What the files of the simulated disk share: its inodes, tables of names and pending operations.
 * The model is described in sim.c. All of it stands under the lock of its SimDisk. */
#ifndef HOLDFAST_DISK_SIM_PRIV_H
#define HOLDFAST_DISK_SIM_PRIV_H

#include "base/lock.h"
#include "disk/sim.h"
#include "disk/sim_content.h"

typedef struct SimInode SimInode;
typedef struct SimDisk SimDisk;

typedef struct {
    char *name;
    SimInode *inode; /* one reference */
} SimEntry;

/* The names in a directory, sorted. Counted, and copied when changed, like contents. */
typedef struct {
    uint32_t refs;
    size_t count;
    size_t capacity;
    SimEntry *entries;
} SimTable;

struct SimInode {
    uint32_t refs;
    bool is_dir;
    uint64_t tree;         /* SimDisk.tree at its birth: counts towards used only in that one */
    uint64_t charged;      /* bytes of it in SimDisk.used */
    SimTable *dir_durable; /* directories only, both */
    SimTable *dir_cached;
    SimContent *durable; /* files only, both */
    SimContent *cached;
    uint64_t cut;    /* least size since the last sync, UINT64_MAX if never truncated */
    uint64_t *stuck; /* bit per sector: cached and durable differ and no sync will mend it */
    size_t stuck_words;
    uint64_t stamp;    /* scratch of the walk that has this number */
    SimInode *twin;    /* its copy in the image being made */
    size_t unit_first; /* its pending units in SimDisk.units */
    size_t unit_count;
};

typedef enum { SIM_SET, SIM_REMOVE, SIM_RENAME } SimOpKind;

/* A change of one or two names that is not durable yet. */
typedef struct {
    SimOpKind kind;
    SimInode *inode; /* the one named; NULL for remove */
    SimInode *from_dir;
    char *from_name; /* remove and rename */
    SimInode *to_dir;
    char *to_name; /* set and rename */
    bool from_synced;
    bool to_synced;
    bool commit; /* scratch of sim_ops_sync() */
} SimOp;

#define SIM_UNIT_SIZE UINT64_MAX /* SimUnit.sector of the unit that is the file's size */

typedef struct {
    SimInode *inode; /* NULL: the operation of that index */
    size_t op;
    uint64_t sector;
} SimUnit;

typedef struct SimLock SimLock;
struct SimLock {
    SimLock *next;
    char *path;
    char *who;
};

struct SimDisk {
    Disk disk;
    Lock lock;
    Rng rng;
    uint64_t seed;
    SimDiskFaults faults;
    ManualClock *clock; /* NULL: none */
    SimInode *root;
    uint64_t tree;  /* number of this tree of inodes: rises with each crash */
    uint64_t epoch; /* Files of an older one are dead: rises with each crash and kill */
    uint64_t used;  /* bytes, in whole blocks */
    SimOp *ops;
    size_t op_len;
    size_t op_capacity;
    SimLock *locks;
    size_t open_files;
    uint64_t op_count;
    uint64_t stop_at;
    bool stopped;
    uint64_t stamp;
    SimUnit *units; /* of the present state, if units_known */
    size_t unit_len;
    size_t unit_capacity;
    bool units_known;
    SimInode **twins; /* scratch: one reference each, of the image being made */
    size_t twin_len;
    size_t twin_capacity;
};

/* sim_tree.c */

SimInode *sim_inode_new(SimDisk *sim, bool is_dir);
SimInode *sim_inode_ref(SimInode *inode);
void sim_inode_unref(SimDisk *sim, SimInode *inode);
/* Brings what the inode counts in sim->used up to its cached size. */
void sim_inode_charge(SimDisk *sim, SimInode *inode);
void sim_mark_stuck(SimInode *inode, uint64_t sector, bool stuck);
bool sim_is_stuck(const SimInode *inode, uint64_t sector);

SimTable *sim_table_share(SimTable *table);
void sim_table_release(SimDisk *sim, SimTable *table);
SimInode *sim_table_find(const SimTable *table, Str name);
/* Puts inode (one more reference) under name, in place of what is there. */
void sim_table_set(SimDisk *sim, SimTable **table, Str name, SimInode *inode);
/* Takes name out if it is there. */
void sim_table_remove(SimDisk *sim, SimTable **table, Str name);

/* Applies op to the durable tables of the directories given (its own, or their twins). */
void sim_op_apply(SimDisk *sim, const SimOp *op, SimInode *from_dir, SimInode *to_dir,
                  SimInode *inode);
/* Appends an operation that the cached tables already show; the names are copied. */
void sim_op_add(SimDisk *sim, SimOpKind kind, SimInode *inode, SimInode *from_dir, Str from_name,
                SimInode *to_dir, Str to_name);
/* Makes durable what a sync of dir makes durable. */
void sim_ops_sync(SimDisk *sim, SimInode *dir);
void sim_ops_clear(SimDisk *sim);

/* sim_crash.c */

/* Fills sim->units. */
void sim_units_collect(SimDisk *sim);
/* Makes image, whose tree is empty, what a crash of sim leaves that keeps the units of keep. */
void sim_image_fill(SimDisk *sim, const uint64_t *keep, SimDisk *image);

/* sim.c */

/* A SimDisk without lock holders, faults or files; the root is there. */
SimDisk *sim_disk_new(uint64_t seed);
/* Open files die, locks are free, a stop is lifted. */
void sim_restart(SimDisk *sim);
static inline SimDisk *sim_of(const Disk *disk)
{
    union {
        const Disk *in;
        SimDisk *out;
    } cast = {.in = disk}; /* const is the caller's view; the lock and the unit cache change */
    return cast.out;
}

#endif
