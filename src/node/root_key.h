/* The root key of a process: the line ID.SECRET in root.key of each data directory, 0600, made
 * durably at the first start. Whoever can read it may do everything. */
#ifndef HOLDFAST_NODE_ROOT_KEY_H
#define HOLDFAST_NODE_ROOT_KEY_H

#include "auth/key.h"
#include "disk/disk.h"

#define ROOT_KEY_FILE "root.key"

/* Reads the key, or makes it: *made tells. Errors: ERR_CONFIG: the file holds something else;
 * ERR_IO, ERR_NO_SPACE, ERR_SYSTEM. */
MUST_USE ErrCode root_key_open(Disk *disk, AccessKey *out, bool *made, Err *err);

#endif
