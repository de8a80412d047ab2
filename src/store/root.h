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
/* Where `holdfast recover --from` builds a root anew (fsck/copy_root.h), and the file that says
 * that it is to take the place of the one here: none is opened then. */
#define ROOT_RECOVER_DIR "recover"
#define ROOT_RECOVER_READY ROOT_RECOVER_DIR "/ready"

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

/* Was it made anew from another root (`holdfast recover --from`), and not started since? */
static inline bool root_is_copy(const RootInfo *info)
{
    return info->incarnation == 0 && !id128_eq(root_storage(info), info->uuid);
}

/* Locks the directory and reads root.json, or makes it in a directory that holds nothing else (but
 * "lost+found" and "lock"; else nothing is put there). who: what a second process is told ("pid
 * 123, http 127.0.0.1:9001"). Errors: ERR_IN_USE (names the holder); ERR_FORMAT_VERSION (newer
 * release); ERR_CORRUPT, also while ROOT_RECOVER_DIR is not done; ERR_FOREIGN: other files are
 * there but no root.json. */
MUST_USE ErrCode root_open(Disk *disk, Str who, Rng *rng, Clock *clock, RootInfo *out, Err *err);
/* What a second process is told from now on; the directory is locked. */
MUST_USE ErrCode root_tell(Disk *disk, Str who, Err *err);
/* Reads root.json without locking or making anything. ERR_NOT_FOUND; else as root_open(). */
MUST_USE ErrCode root_read(Disk *disk, RootInfo *out, Err *err);
/* Writes info durably. */
MUST_USE ErrCode root_save(Disk *disk, const RootInfo *info, Err *err);

#endif
