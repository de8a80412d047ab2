/* The writing side of `holdfast fsck --salvage`: files and manifest in a directory of the user's.
 */
#ifndef HOLDFAST_CLI_SALVAGE_H
#define HOLDFAST_CLI_SALVAGE_H

#include "base/buf.h"
#include "disk/disk.h"
#include "format/ids.h"
#include "fsck/salvage.h"

/* Where a file goes below OUT, into path: BUCKET/KEY with '%' as %25. A key that can't be a path
 * (an empty, "." or ".." segment, one longer than 255 bytes), or flat: one name with '/' as %2F and
 * a '.' in front as %2E; if that is longer than 240 bytes, "%id-" and the file's id.
 * Percent-decoding the name gives the key back, but for %id-, which the manifest tells. */
MUST_USE ErrCode salvage_path(const FsckOwner *owner, bool flat, Buf *path, Err *err);
/* Copies what is whole of disk's root to out_dir, which is made or must be empty. ERR_EXISTS: it is
 * not. */
MUST_USE ErrCode salvage_run(Disk *disk, Disk *scratch, const char *out_dir, SalvageReport *report,
                             Err *err);

#endif
