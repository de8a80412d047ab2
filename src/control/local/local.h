/* The control store of one process: control.json in every root, replaced durably on each change.
 * The highest version that stands on a majority of the roots is in force; with one root that is its
 * own. JSON: docs/format.md. */
#ifndef HOLDFAST_CONTROL_LOCAL_LOCAL_H
#define HOLDFAST_CONTROL_LOCAL_LOCAL_H

#include "control/control.h"
#include "disk/disk.h"

#define CONTROL_FILE "control.json"

/* disks (not owned, count 1..MEMBERS_MAX) are the process's roots. NULL: one that is not to be had,
 * which counts for the majority all the same. A disk without the file counts
 * as version 0. ERR_CORRUPT: damaged on too many roots, or what was in force stands on none that
 * can be read; ERR_FORMAT_VERSION: any root's was written by a newer release; ERR_IO. A change that
 * could not be written to a majority is ERR_OUTCOME_UNKNOWN, and so is every later one until the
 * roots are opened again. */
MUST_USE ErrCode control_local_open(Disk *const *disks, size_t count, Control **out, Err *err);

/* From now on changes go to these disks, a majority of which must take them: those that it was
 * opened on, and roots that are new. */
void control_local_spread(Control *control, Disk *const *disks, size_t count);

/* Writes what is in force to one more disk, durably, as it stands on those that have it: for a root
 * that is made anew. Errors: as disk_replace_durable(). */
MUST_USE ErrCode control_local_copy(Control *control, Disk *disk, Err *err);

/* From now on each disk is written by a thread of its own, and a change is done as soon as a
 * majority has it: the others follow. One that no majority is known to have after
 * CONTROL_LOCAL_WAIT_MS is ERR_OUTCOME_UNKNOWN; the next change first has it done, or is unknown,
 * too. ERR_SYSTEM. */
#define CONTROL_LOCAL_WAIT_MS 1000
MUST_USE ErrCode control_local_start_writers(Control *control, Err *err);
/* Ends them. False: a disk stands still, and neither it nor control may be freed. */
bool control_local_stop_writers(Control *control, uint32_t timeout_ms);

/* The only root of a process, as its root.json tells. */
typedef struct {
    Uuid root;
    uint64_t incarnation; /* 0: it was never started */
} ControlAlone;

typedef struct {
    bool in_use;  /* shards were made here once: something of log, packs and index must be left */
    bool remade;  /* control.json of a root that had been started was missing or damaged … */
    bool damaged; /* … then the old one is in quarantine/ … */
    Err why;      /* … and this was wrong */
} ControlFound;

/* The same for a root that no other copies. All that control.json says of such a root follows from
 * elsewhere: that it is the only member, and its incarnation, from root.json; terms and votes from
 * the log. So one that is missing or damaged is no reason not to start: it is begun anew, the root
 * in it as root.json has it, durable with the first change. ERR_FOREIGN: it is whole, and another
 * root's: nothing was changed. ERR_FORMAT_VERSION; ERR_IO: it is there and the disk does not give
 * it. */
MUST_USE ErrCode control_local_open_alone(Disk *disk, const ControlAlone *alone, Control **out,
                                          ControlFound *found, Err *err);

typedef struct {
    bool exists;
    uint64_t version;
    uint64_t incarnation; /* of the root asked for; 0: it is not named there */
    size_t shards;
    unsigned copies; /* of a shard, at most */
} ControlLook;

/* Reads the control.json of one root, without changing or syncing anything: is it whole? Errors:
 * ERR_CORRUPT, ERR_FORMAT_VERSION, ERR_IO. */
MUST_USE ErrCode control_local_look(Disk *disk, Uuid root, ControlLook *out, Err *err);

#endif
