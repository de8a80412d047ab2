/* What the drivers of Disk share: one place that turns an errno into an ErrCode and a text. */
#ifndef HOLDFAST_DISK_DISK_PRIV_H
#define HOLDFAST_DISK_DISK_PRIV_H

#include "disk/disk.h"

/* Sets err to "verb path: text of saved" and returns its code: ENOENT is ERR_NOT_FOUND, EEXIST
 * ERR_EXISTS, ENOSPC and EDQUOT ERR_NO_SPACE, EMFILE, ENFILE and ENOMEM ERR_SYSTEM, all others
 * ERR_IO. An empty path stands for the root. */
ErrCode disk_fail(Err *err, int saved, const char *verb, const char *path);

#endif
