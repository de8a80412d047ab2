/* Writes one file to several disks at once, each by a thread of its own, so that a disk that stands
 * still (a frozen file system, a controller that hangs) keeps nobody waiting while enough others
 * take it. One thread uses it. */
#ifndef HOLDFAST_CONTROL_LOCAL_WRITERS_H
#define HOLDFAST_CONTROL_LOCAL_WRITERS_H

#include "disk/disk.h"
#include "format/config_entry.h"

typedef struct Writers Writers;

/* For the file path (static) on disks (not owned; NULL: one that takes nothing, but counts).
 * ERR_SYSTEM. */
MUST_USE ErrCode writers_open(Disk *const *disks, size_t count, const char *path, Writers **out,
                              Err *err);
/* Replaces the file by text (copied) durably on each disk that is not still busy with an older one,
 * and waits until more than half of all disks have it, no other can come, or timeout_ms are over.
 * How many have it; if those are too few, err is one reason. */
size_t writers_write(Writers *writers, Str text, int timeout_ms, Err *err);
/* The same with the text of the last writers_write(), where it is not yet. */
size_t writers_repeat(Writers *writers, int timeout_ms, Err *err);
/* Ends the threads. False: one did not end in time; it, its disk and writers must stay as they
 * are. NULL is fine. */
bool writers_close(Writers *writers, uint32_t timeout_ms);

#endif
