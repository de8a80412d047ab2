/* SimContent: the bytes of one simulated file, as counted references to 4 KiB blocks that are
 * copied when written, so that the durable and the cached version of a file, and thousands of crash
 * images of one disk, share what is equal. A NULL block is zeros. Bytes behind the size are zero.
 * Counts are atomic, contents are not: two threads may own contents that share blocks, but one
 * content belongs to one owner at a time (the lock of its disk). */
#ifndef HOLDFAST_DISK_SIM_CONTENT_H
#define HOLDFAST_DISK_SIM_CONTENT_H

#include "base/mem.h"

#include <stdatomic.h>

#define SIM_BLOCK 4096

typedef struct {
    _Atomic uint32_t refs;
    _Atomic uint64_t hash; /* of data; 0: not known */
    uint8_t data[SIM_BLOCK];
} SimBlock;

typedef struct {
    _Atomic uint32_t refs;
    _Atomic uint64_t hash; /* of all; 0: not known */
    uint64_t size;         /* bytes */
    size_t count;          /* blocks: size / SIM_BLOCK, rounded up */
    SimBlock **blocks;
} SimContent;

SimContent *sim_content_new(void);
/* One more reference to the same content. */
SimContent *sim_content_share(SimContent *content);
/* Gives one reference back. */
void sim_content_release(SimContent *content);

/* Changes *content, or a copy in its place if it is shared. A write behind the end fills the gap
 * with zeros; a resize to less forgets what is behind. */
void sim_content_write(SimContent **content, uint64_t offset, const void *data, size_t len);
void sim_content_resize(SimContent **content, uint64_t size);

/* Bytes read: fewer than len only at the end. */
size_t sim_content_read(const SimContent *content, uint64_t offset, void *data, size_t len);
/* The SIM_SECTOR bytes of one sector in place; behind the end they are zeros. */
const uint8_t *sim_content_sector(const SimContent *content, uint64_t sector);
/* 64 bits over size and bytes; equal contents have equal hashes. Kept until the next change. */
uint64_t sim_content_hash(SimContent *content);
/* One step of that hash: mixes word into hash. */
uint64_t sim_hash_mix(uint64_t hash, uint64_t word);

#endif
