/* The posix driver of Disk: openat below one directory descriptor, O_CLOEXEC and O_NOFOLLOW,
 * fdatasync; flock for locks. New files are 0600, new directories 0700. Besides the fault points of
 * disk/disk.h: disk.read.short and disk.write.short make one system call move only half of its
 * bytes, so that the loops around them are tested. */
#ifndef HOLDFAST_DISK_POSIX_H
#define HOLDFAST_DISK_POSIX_H

#include "disk/disk.h"

/* dir: made durably (with parents) if absent. Errors: ERR_IO, ERR_SYSTEM, ERR_CONFIG if it is no
 * directory. */
MUST_USE ErrCode disk_posix_open(const char *dir, Disk **out, Err *err);
/* The same for a directory that is there: ERR_NOT_FOUND. */
MUST_USE ErrCode disk_posix_open_existing(const char *dir, Disk **out, Err *err);

#endif
