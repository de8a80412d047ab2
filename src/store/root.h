/* root.json: who a storage root is. Made when an empty directory is first used; the directory is
 * locked for this process by the file "lock". JSON: docs/format.md. */
#ifndef HOLDFAST_STORE_ROOT_H
#define HOLDFAST_STORE_ROOT_H

#include "base/clock.h"
#include "base/rng.h"
#include "disk/disk.h"
#include "format/ids.h"

#define ROOT_FORMAT 1
#define ROOT_FILE "root.json"
#define ROOT_LOCK_FILE "lock"

typedef struct {
    Uuid uuid;
    Uuid cluster;
    uint64_t incarnation;
    uint64_t created_ms;
    uint32_t feature_level;
    Uuid storage; /* what packs name; zero: uuid. Stays when the root gets another uuid, because its
                     log was rebuilt */
} RootInfo;

/* The uuid that packs name. */
static inline Uuid root_storage(const RootInfo *info)
{
    return id128_is_zero(info->storage) ? info->uuid : info->storage;
}

/* Locks the directory and reads root.json, or makes it in a directory that holds nothing else (but
 * "lost+found" and "lock"; else nothing is put there). who: what a second process is told ("pid
 * 123, http 127.0.0.1:9001"). Errors: ERR_IN_USE (names the holder); ERR_FORMAT_VERSION (newer
 * release); ERR_CORRUPT; ERR_FOREIGN: other files are there but no root.json. */
MUST_USE ErrCode root_open(Disk *disk, Str who, Rng *rng, Clock *clock, RootInfo *out, Err *err);
/* What a second process is told from now on; the directory is locked. */
MUST_USE ErrCode root_tell(Disk *disk, Str who, Err *err);
/* Reads root.json without locking or making anything. ERR_NOT_FOUND; else as root_open(). */
MUST_USE ErrCode root_read(Disk *disk, RootInfo *out, Err *err);
/* Writes info durably. */
MUST_USE ErrCode root_save(Disk *disk, const RootInfo *info, Err *err);

#endif
