/* SQLite verifies its log's checksums only in recovery, so a frame that goes bad on disk while the
 * process runs would be read as if it were good. This table holds a CRC32C per frame (4 bytes, and
 * the log is bounded) and every page that is read from the log is compared with it. */
#include "index/vfs_priv.h"

#include "base/crc.h"
#include <string.h>

#define SUMS_MIN 1024

/* Is (offset, len) the page of one frame, alone or with its header before it? Then *frame counts
 * from 0 and *skip is where the page begins. */
static bool frame_of(uint64_t offset, size_t len, size_t *frame, size_t *skip)
{
    if (len == PAGE_SIZE_BYTES) {
        *skip = 0;
        offset -= MIN(offset, (uint64_t)WAL_FRAME_HEADER_BYTES);
    } else if (len == WAL_FRAME_BYTES) {
        *skip = WAL_FRAME_HEADER_BYTES;
    } else {
        return false;
    }
    if (offset < WAL_HEADER_BYTES || (offset - WAL_HEADER_BYTES) % WAL_FRAME_BYTES != 0) {
        return false;
    }
    *frame = (size_t)((offset - WAL_HEADER_BYTES) / WAL_FRAME_BYTES);
    return true;
}

static uint32_t sum_of(const uint8_t *page)
{
    uint32_t crc = crc32c(page, PAGE_SIZE_BYTES);
    return crc == 0 ? 1 : crc; /* 0 stands for not known */
}

static void set_sum(VfsSums *sums, size_t frame, uint32_t sum)
{
    if (frame >= sums->capacity) {
        size_t capacity = MAX(MAX(frame + 1, sums->capacity * 2), (size_t)SUMS_MIN);
        sums->sums = mem_resize(sums->sums, capacity * sizeof *sums->sums);
        sums->capacity = capacity;
    }
    if (frame >= sums->count) {
        memset(sums->sums + sums->count, 0, (frame + 1 - sums->count) * sizeof *sums->sums);
        sums->count = frame + 1;
    }
    sums->sums[frame] = sum;
}

void vfs_sums_forget(Vfs *vfs, uint64_t offset, size_t len)
{
    size_t frame;
    size_t skip;
    if (!frame_of(offset, len, &frame, &skip)) return;
    lock_take(&vfs->lock);
    if (frame < vfs->sums.count) vfs->sums.sums[frame] = 0;
    lock_give(&vfs->lock);
}

void vfs_sums_learn(Vfs *vfs, uint64_t offset, const uint8_t *data, size_t len)
{
    size_t frame;
    size_t skip;
    if (!frame_of(offset, len, &frame, &skip)) return;
    uint32_t sum = sum_of(data + skip);
    lock_take(&vfs->lock);
    set_sum(&vfs->sums, frame, sum);
    lock_give(&vfs->lock);
}

bool vfs_sums_verify(Vfs *vfs, uint64_t offset, const uint8_t *data, size_t len, uint64_t *frame)
{
    size_t at;
    size_t skip;
    if (!frame_of(offset, len, &at, &skip)) return true;
    uint32_t sum = sum_of(data + skip);
    bool good = true;
    lock_take(&vfs->lock);
    if (at < vfs->sums.count && vfs->sums.sums[at] != 0) {
        good = vfs->sums.sums[at] == sum;
    } else {
        set_sum(&vfs->sums, at, sum);
    }
    lock_give(&vfs->lock);
    if (!good) *frame = at + 1;
    return good;
}

void vfs_sums_truncate(Vfs *vfs, uint64_t size)
{
    size_t left = size < WAL_HEADER_BYTES ? 0
                                          : (size_t)((size - WAL_HEADER_BYTES) / WAL_FRAME_BYTES);
    lock_take(&vfs->lock);
    vfs->sums.count = MIN(vfs->sums.count, left);
    lock_give(&vfs->lock);
}

void vfs_sums_deinit(Vfs *vfs)
{
    mem_free(vfs->sums.sums);
    vfs->sums = (VfsSums){0};
}
