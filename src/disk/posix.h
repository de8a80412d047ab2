/* The posix driver of Disk: openat below one directory descriptor, O_CLOEXEC and O_NOFOLLOW,
 * fdatasync. Fault points (base/fault.h): disk.open, disk.read, disk.write, disk.write.short,
 * disk.sync, disk.rename, disk.unlink, disk.mkdir, disk.sync_dir, disk.list, disk.stat,
 * disk.truncate. */
#ifndef HOLDFAST_DISK_POSIX_H
#define HOLDFAST_DISK_POSIX_H

#include "disk/disk.h"

/* dir: made (with parents) if absent. Errors: ERR_IO, ERR_SYSTEM, ERR_CONFIG if it is no directory. */
MUST_USE ErrCode disk_posix_open(const char *dir, Disk **out, Err *err);

#endif
