/* The root key of a process: the line ID.SECRET in root.key of each data directory, 0600, made
 * durably at the first start. Whoever can read it may do everything. */
#ifndef HOLDFAST_NODE_ROOT_KEY_H
#define HOLDFAST_NODE_ROOT_KEY_H

#include "auth/key.h"
#include "disk/disk.h"

#define ROOT_KEY_FILE "root.key"

/* Reads the key of the directories of a process, of which each that lacks it gets it; or makes one:
 * *made tells. Errors: ERR_CONFIG: a file holds something else, or two hold different keys; ERR_IO,
 * ERR_NO_SPACE, ERR_SYSTEM. */
MUST_USE ErrCode root_key_open(Disk *const *disks, unsigned count, AccessKey *out, bool *made,
                               Err *err);

#endif
