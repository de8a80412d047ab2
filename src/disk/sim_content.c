#include "disk/sim_content.h"

#include "disk/sim.h"

#include <string.h>

#define SECTORS_PER_BLOCK (SIM_BLOCK / SIM_SECTOR)

static const uint8_t zeros[SIM_BLOCK];

static size_t blocks_for(uint64_t size)
{
    return (size_t)((size + SIM_BLOCK - 1) / SIM_BLOCK);
}

static SimBlock *block_share(SimBlock *block)
{
    if (block != NULL) atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
    return block;
}

static void block_release(SimBlock *block)
{
    if (block == NULL) return;
    if (atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) == 1) mem_free(block);
}

SimContent *sim_content_new(void)
{
    SimContent *content = mem_new(sizeof *content);

    atomic_init(&content->refs, 1);
    return content;
}

SimContent *sim_content_share(SimContent *content)
{
    atomic_fetch_add_explicit(&content->refs, 1, memory_order_relaxed);
    return content;
}

void sim_content_release(SimContent *content)
{
    if (atomic_fetch_sub_explicit(&content->refs, 1, memory_order_acq_rel) != 1) return;
    for (size_t i = 0; i < content->count; i++)
        block_release(content->blocks[i]);
    mem_free(content->blocks);
    mem_free(content);
}

/* Makes *content one that only this owner sees, about to change. */
static SimContent *unshare(SimContent **content)
{
    SimContent *old = *content;

    if (atomic_load_explicit(&old->refs, memory_order_acquire) > 1) {
        SimContent *copy = sim_content_new();
        copy->size = old->size;
        copy->count = old->count;
        if (old->count > 0) copy->blocks = mem_new_array(old->count, sizeof(SimBlock *));
        for (size_t i = 0; i < old->count; i++)
            copy->blocks[i] = block_share(old->blocks[i]);
        sim_content_release(old);
        *content = copy;
    }
    atomic_store_explicit(&(*content)->hash, 0, memory_order_relaxed);
    return *content;
}

/* The block of that index, of its own and about to change. */
static uint8_t *block_to_write(SimContent *content, size_t index)
{
    SimBlock *old = content->blocks[index];

    if (old == NULL || atomic_load_explicit(&old->refs, memory_order_acquire) > 1) {
        SimBlock *copy = mem_new(sizeof *copy);
        atomic_init(&copy->refs, 1);
        if (old != NULL) memcpy(copy->data, old->data, SIM_BLOCK);
        block_release(old);
        content->blocks[index] = copy;
    }
    atomic_store_explicit(&content->blocks[index]->hash, 0, memory_order_relaxed);
    return content->blocks[index]->data;
}

static void set_size(SimContent *content, uint64_t size)
{
    size_t count = blocks_for(size);

    for (size_t i = count; i < content->count; i++)
        block_release(content->blocks[i]);
    if (count == 0) {
        mem_free(content->blocks);
        content->blocks = NULL;
    } else if (count != content->count) {
        content->blocks = mem_resize(content->blocks, count * sizeof(SimBlock *));
    }
    for (size_t i = content->count; i < count; i++)
        content->blocks[i] = NULL;
    content->count = count;
    size_t tail = (size_t)(size % SIM_BLOCK);
    if (size < content->size && tail != 0 && content->blocks[count - 1] != NULL) {
        memset(block_to_write(content, count - 1) + tail, 0, SIM_BLOCK - tail);
    }
    content->size = size;
}

void sim_content_resize(SimContent **content, uint64_t size)
{
    if ((*content)->size != size) set_size(unshare(content), size);
}

void sim_content_write(SimContent **content, uint64_t offset, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    if (len == 0) return;
    SimContent *own = unshare(content);
    if (offset + len > own->size) set_size(own, offset + len);
    ASSERT(own->blocks != NULL);
    while (len > 0) {
        size_t index = (size_t)(offset / SIM_BLOCK);
        size_t at = (size_t)(offset % SIM_BLOCK);
        size_t n = MIN(len, SIM_BLOCK - at);
        /* Zeros into a hole leave a hole: files written with zeros ahead cost nothing. */
        if (own->blocks[index] != NULL || memcmp(bytes, zeros, n) != 0) {
            memcpy(block_to_write(own, index) + at, bytes, n);
        }
        bytes += n;
        offset += n;
        len -= n;
    }
}

size_t sim_content_read(const SimContent *content, uint64_t offset, void *data, size_t len)
{
    uint8_t *bytes = data;
    size_t done = 0;

    if (offset >= content->size) return 0;
    len = (size_t)MIN((uint64_t)len, content->size - offset);
    while (done < len) {
        const SimBlock *block = content->blocks[(offset + done) / SIM_BLOCK];
        size_t at = (size_t)((offset + done) % SIM_BLOCK);
        size_t n = MIN(len - done, SIM_BLOCK - at);
        memcpy(bytes + done, (block == NULL ? zeros : block->data) + at, n);
        done += n;
    }
    return done;
}

const uint8_t *sim_content_sector(const SimContent *content, uint64_t sector)
{
    uint64_t index = sector / SECTORS_PER_BLOCK;

    if (index >= content->count || content->blocks[index] == NULL) return zeros;
    return content->blocks[index]->data + (sector % SECTORS_PER_BLOCK) * SIM_SECTOR;
}

uint64_t sim_hash_mix(uint64_t hash, uint64_t word)
{
    /* Multiplication by odd constants and folded shifts, as in splitmix64 (Steele, Lea, Flood). */
    hash = (hash ^ word) * UINT64_C(0xbf58476d1ce4e5b9);
    hash ^= hash >> 29;
    hash *= UINT64_C(0x94d049bb133111eb);
    return hash ^ (hash >> 32);
}

static uint64_t block_hash(SimBlock *block)
{
    if (block == NULL) return 1;
    uint64_t hash = atomic_load_explicit(&block->hash, memory_order_relaxed);
    if (hash != 0) return hash;
    if (memcmp(block->data, zeros, SIM_BLOCK) == 0) return 1;
    uint64_t lanes[4] = {2, 3, 5, 7}; /* four chains of multiplications at once */
    for (size_t i = 0; i < SIM_BLOCK; i += sizeof lanes) {
        uint64_t words[4];
        memcpy(words, block->data + i, sizeof words);
        for (size_t k = 0; k < 4; k++)
            lanes[k] = sim_hash_mix(lanes[k], words[k]);
    }
    for (size_t k = 0; k < 4; k++)
        hash = sim_hash_mix(hash, lanes[k]);
    atomic_store_explicit(&block->hash, hash, memory_order_relaxed);
    return hash;
}

uint64_t sim_content_hash(SimContent *content)
{
    uint64_t hash = atomic_load_explicit(&content->hash, memory_order_relaxed);

    if (hash != 0) return hash;
    hash = sim_hash_mix(UINT64_C(0x9e3779b97f4a7c15), content->size);
    for (size_t i = 0; i < content->count; i++) {
        hash = sim_hash_mix(hash, block_hash(content->blocks[i]));
    }
    atomic_store_explicit(&content->hash, hash, memory_order_relaxed);
    return hash;
}
