/* Sub: a Disk that is one directory of another Disk. Paths are relative to that directory; what
 * holds for the outer Disk (durability, faults, threads) holds here. To build a view beside the one
 * in use, with the same code. */
#ifndef HOLDFAST_DISK_SUB_H
#define HOLDFAST_DISK_SUB_H

#include "disk/disk.h"

/* dir: a directory of disk, which must outlive *out; made by the caller (disk_mkdir_durable()).
 * ERR_INVALID: dir is longer than SUB_DIR_MAX. */
#define SUB_DIR_MAX 64
MUST_USE ErrCode disk_sub_open(Disk *disk, const char *dir, Disk **out, Err *err);

#endif
