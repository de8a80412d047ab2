/* The simulated driver of Disk: a durable image in memory, plus pending writes and pending
 * directory entries, for tests. A crash keeps, drops or tears each pending change at 512 bytes,
 * independently (a rename is atomic but may be lost; a file whose directory entry was lost is gone
 * whole). The exact model stands in sim.c. Deterministic from its seed. Any threads, one lock;
 * deterministic with threads only if their order is. Files only are renamed, no directories. */
#ifndef HOLDFAST_DISK_SIM_H
#define HOLDFAST_DISK_SIM_H

#include "base/clock.h"
#include "base/rng.h"
#include "disk/disk.h"

#define SIM_SECTOR 512
#define SIM_STALL_MS 1000

/* Chances in a million per call; all zero: a perfect disk until it crashes. */
typedef struct {
    uint32_t read_error;  /* EIO on read */
    uint32_t write_error; /* EIO on write */
    uint32_t sync_error;  /* sync fails once, its pages then count as clean but may be lost */
    uint32_t no_space;    /* ENOSPC on write */
    uint32_t lost_write;  /* a write that is acknowledged and synced but never arrives */
    uint32_t misdirected; /* a write that lands at another block of the file */
    uint32_t stall;       /* a read, write or sync takes SIM_STALL_MS of the disk's clock */
    uint64_t capacity;    /* bytes, whole blocks of 4 KiB are counted; 0: no limit */
} SimDiskFaults;

MUST_USE ErrCode disk_sim_new(uint64_t seed, Disk **out, Err *err);
void disk_sim_set_faults(Disk *disk, const SimDiskFaults *faults);
/* The clock that stalls move; NULL, as at first: none. Not owned. */
void disk_sim_set_clock(Disk *disk, ManualClock *clock);
/* Power fails: open Files die (every call ERR_IO), pending changes are kept, dropped or torn by
 * chance from the disk's seed. Afterwards the disk is usable again (reopen). */
void disk_sim_crash(Disk *disk);
/* kill -9: open Files die, the page cache survives: all pending changes stay pending. */
void disk_sim_kill(Disk *disk);
/* Flips one bit of the durable image and cache of path. */
MUST_USE ErrCode disk_sim_flip(Disk *disk, const char *path, uint64_t bit, Err *err);
/* Puts bytes in place of what is stored of path at offset, in the durable image and the cache: what
 * a write that was lost or went elsewhere has left there. No operation, nothing to sync. Must lie
 * in the file. */
MUST_USE ErrCode disk_sim_damage(Disk *disk, const char *path, uint64_t offset, Str bytes,
                                 Err *err);

/* Crash states: how many operations changed something or made it durable (write, sync, create,
 * mkdir, rename, unlink, truncate, sync of a directory) since disk_sim_stop_at() was last called,
 * or since the beginning. Calls that fail for what they are given do not count. */
uint64_t disk_sim_op_count(const Disk *disk);
/* Counts from 0 again and stops at operation number stop_at (0 = next; UINT64_MAX: never): that one
 * and every later call of any kind fail with ERR_IO, as if power had gone just before it. A crash
 * or a kill lifts it. */
void disk_sim_stop_at(Disk *disk, uint64_t stop_at);
bool disk_sim_stopped(const Disk *disk);
/* Pending units that a crash could each keep or drop: un-synced directory changes (first, in their
 * order), and for each file its un-synced size and its un-synced sectors. */
size_t disk_sim_pending(const Disk *disk);
/* A copy of the disk as a crash would leave it that keeps exactly those pending units whose bit is
 * set in keep (bit i%64 of keep[i/64]; (pending+63)/64 words). The copy has nothing pending, no
 * faults, no stop, and shares memory with the disk until either changes: it costs microseconds. */
MUST_USE ErrCode disk_sim_crash_image(const Disk *disk, const uint64_t *keep, uint64_t seed,
                                      Disk **out, Err *err);
/* A copy of a disk that has nothing pending: its only crash image. */
Disk *disk_sim_copy(const Disk *disk, uint64_t seed);
/* 64-bit hash of the durable image (names, sizes, bytes), to count distinct images: not
 * cryptographic, and it remembers the hashes of blocks that did not change. */
uint64_t disk_sim_fingerprint(const Disk *disk);
/* Writes durable and cached contents to DIR/durable and DIR/cached on the host, to look at. */
MUST_USE ErrCode disk_sim_dump(const Disk *disk, const char *dir, Err *err);

#endif
