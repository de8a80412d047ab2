/* The control store of one process: control.json in every root, replaced durably on each change.
 * The highest version that stands on a majority of the roots is in force; with one root that is its
 * own. JSON: docs/format.md. */
#ifndef HOLDFAST_CONTROL_LOCAL_LOCAL_H
#define HOLDFAST_CONTROL_LOCAL_LOCAL_H

#include "control/control.h"
#include "disk/disk.h"

#define CONTROL_FILE "control.json"

/* disks (not owned, count 1..MEMBERS_MAX) are the process's roots. A disk without the file counts
 * as version 0. ERR_CORRUPT: damaged on too many roots, or what was in force stands on none that
 * can be read; ERR_FORMAT_VERSION: any root's was written by a newer release; ERR_IO. A change that
 * could not be written to a majority is ERR_OUTCOME_UNKNOWN, and so is every later one until the
 * roots are opened again. */
MUST_USE ErrCode control_local_open(Disk *const *disks, size_t count, Control **out, Err *err);

/* Reads the control.json of one root, without changing or syncing anything: is it whole? *exists
 * false: there is none. *version, and *incarnation of root in it (0: it is not named there).
 * Errors: ERR_CORRUPT, ERR_FORMAT_VERSION, ERR_IO. */
MUST_USE ErrCode control_local_look(Disk *disk, Uuid root, bool *exists, uint64_t *version,
                                    uint64_t *incarnation, Err *err);

#endif
