/* The log's checksums: https://www.sqlite.org/fileformat2.html#checksum_algorithm */
#include "index/index_walk.h"

#include "base/codec.h"
#include "index/page_sum.h"
#include "index/vfs_priv.h"
#include <stdio.h>
#include <string.h>

#define MAGIC_LE 0x377f0682u /* the checksums' words are little endian */
#define MAGIC_BE 0x377f0683u
#define PAGES_PER_READ 64

typedef struct {
    Disk *disk;
    const IndexWalkOptions *options;
    uint8_t *logged; /* a bit per page of index.db that the log holds a newer one of */
    uint32_t pages;
} Walk;

static uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void sum_more(uint32_t sum[2], const uint8_t *data, size_t len, bool big)
{
    for (size_t i = 0; i < len; i += 8) {
        uint32_t a = big ? get_be32(data + i) : get_u32(data + i);
        uint32_t b = big ? get_be32(data + i + 4) : get_u32(data + i + 4);
        sum[0] += a + sum[1];
        sum[1] += b + sum[0];
    }
}

static ErrCode tell(const Walk *walk, IndexBadKind kind, const char *path, uint64_t offset,
                    uint64_t length, const char *text, Err *err)
{
    return walk->options->bad(walk->options->ctx, kind, path, offset, length, text, err);
}

static void told(const Walk *walk, uint64_t bytes)
{
    if (walk->options->progress != NULL) walk->options->progress(walk->options->ctx, bytes);
}

/* ---- the log ---- */

typedef struct {
    const uint8_t *header;
    bool big;
    uint32_t sum[2]; /* of the frames so far */
} Log;

/* Is the frame the next one? *commit: it ends a transaction; *salted: it is at least of this log.
 */
static bool frame_ok(Log *log, const uint8_t *frame, bool *commit, bool *salted)
{
    uint32_t sum[2] = {log->sum[0], log->sum[1]};
    *salted = memcmp(frame + 8, log->header + 16, 8) == 0 && get_be32(frame) != 0;
    *commit = get_be32(frame + 4) != 0;
    sum_more(sum, frame, 8, log->big);
    sum_more(sum, frame + WAL_FRAME_HEADER_BYTES, PAGE_SIZE_BYTES, log->big);
    if (!*salted || sum[0] != get_be32(frame + 16) || sum[1] != get_be32(frame + 20)) return false;
    log->sum[0] = sum[0];
    log->sum[1] = sum[1];
    return true;
}

/* Marks the pages of the frames [from, to). */
static ErrCode note_frames(Walk *walk, File *file, uint64_t from, uint64_t to, Err *err)
{
    for (uint64_t i = from; i < to; i++) {
        uint8_t head[4];
        TRY(disk_read_all(file, WAL_HEADER_BYTES + i * WAL_FRAME_BYTES, head, sizeof head, err));
        uint32_t page = get_be32(head) - 1;
        if (page < walk->pages) walk->logged[page / 8] |= (uint8_t)(1u << (page % 8));
    }
    return OK;
}

static ErrCode walk_frames(Walk *walk, File *file, uint64_t size, Log *log, Err *err)
{
    uint8_t frame[WAL_FRAME_BYTES];
    uint64_t count = (size - WAL_HEADER_BYTES) / WAL_FRAME_BYTES;
    uint64_t noted = 0;
    for (uint64_t i = 0; i < count; i++) {
        bool commit = false;
        bool salted = false;
        uint64_t at = WAL_HEADER_BYTES + i * WAL_FRAME_BYTES;
        TRY(disk_read_all(file, at, frame, sizeof frame, err));
        told(walk, sizeof frame);
        if (!frame_ok(log, frame, &commit, &salted)) {
            /* A frame of an earlier log ends this one silently. */
            for (uint64_t j = i + 1; !salted && j < count; j++) {
                uint8_t next[WAL_FRAME_HEADER_BYTES];
                TRY(disk_read_all(file, WAL_HEADER_BYTES + j * WAL_FRAME_BYTES, next, sizeof next,
                                  err));
                salted = memcmp(next + 8, log->header + 16, 8) == 0;
            }
            if (!salted) return OK;
            return tell(walk, INDEX_LOG_END, VFS_WAL_NAME, at, size - at,
                        "the index's log ends at a frame that is not whole", err);
        }
        if (commit) TRY(note_frames(walk, file, noted, i + 1, err));
        if (commit) noted = i + 1;
    }
    return OK;
}

static ErrCode walk_log(Walk *walk, Err *err)
{
    uint8_t header[WAL_HEADER_BYTES];
    DiskStat stat;
    AUTO(File, disk_close) file = NULL;
    TRY(disk_stat(walk->disk, VFS_WAL_NAME, &stat, err));
    if (!stat.exists || stat.size <= WAL_HEADER_BYTES) return OK;
    TRY(disk_open(walk->disk, VFS_WAL_NAME, DISK_OPEN_READ, &file, err));
    TRY(disk_read_all(file, 0, header, sizeof header, err));
    Log log = {.header = header, .big = get_be32(header) == MAGIC_BE};
    sum_more(log.sum, header, 24, log.big);
    bool good = (log.big || get_be32(header) == MAGIC_LE) &&
                get_be32(header + 8) == PAGE_SIZE_BYTES && log.sum[0] == get_be32(header + 24) &&
                log.sum[1] == get_be32(header + 28);
    if (!good)
        return tell(walk, INDEX_BAD_LOG, VFS_WAL_NAME, 0, WAL_HEADER_BYTES,
                    "the head of the index's log is damaged, so none of it is read", err);
    return walk_frames(walk, file, stat.size, &log, err);
}

/* ---- pages ---- */

static ErrCode check_page(const Walk *walk, const uint8_t *page, uint32_t number, Err *err)
{
    char text[96];
    uint32_t i = number - 1;
    if (page_sum_ok(page, number) || (walk->logged[i / 8] & (1u << (i % 8))) != 0) return OK;
    if (number > 1 && page_is_zero(page))
        return OK; /* never written; SQLite finds out if it is used */
    snprintf(text, sizeof text, "page %u fails its checksum (it says page %u)", number,
             page_sum_number(page)); /* fits */
    return tell(walk, INDEX_BAD_PAGE, VFS_MAIN_NAME, (uint64_t)i * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES,
                text, err);
}

static ErrCode walk_pages(const Walk *walk, File *file, Err *err)
{
    AUTO(void, mem_free) memory = NULL;
    TRY(mem_take(PAGES_PER_READ * PAGE_SIZE_BYTES, &memory, err));
    for (uint32_t from = 0; from < walk->pages; from += PAGES_PER_READ) {
        uint32_t count = MIN(walk->pages - from, (uint32_t)PAGES_PER_READ);
        size_t len = (size_t)count * PAGE_SIZE_BYTES;
        TRY(disk_read_all(file, (uint64_t)from * PAGE_SIZE_BYTES, memory, len, err));
        told(walk, len);
        for (uint32_t i = 0; i < count; i++) {
            const uint8_t *page = (const uint8_t *)memory + (size_t)i * PAGE_SIZE_BYTES;
            TRY(check_page(walk, page, from + i + 1, err));
        }
    }
    return OK;
}

ErrCode index_walk(Disk *disk, const IndexWalkOptions *options, Err *err)
{
    uint64_t size = 0;
    AUTO(File, disk_close) file = NULL;
    AUTO(void, mem_free) logged = NULL;
    TRY(disk_open(disk, VFS_MAIN_NAME, DISK_OPEN_READ, &file, err));
    TRY(disk_size(file, &size, err));
    Walk walk = {.disk = disk, .options = options};
    walk.pages = (uint32_t)MIN(size / PAGE_SIZE_BYTES, (uint64_t)UINT32_MAX - 1);
    TRY(mem_take(walk.pages / 8 + 1, &logged, err));
    memset(logged, 0, walk.pages / 8 + 1);
    walk.logged = logged;
    TRY(walk_log(&walk, err));
    TRY(walk_pages(&walk, file, err));
    uint64_t whole = (uint64_t)walk.pages * PAGE_SIZE_BYTES;
    if (size == whole && size > 0) return OK;
    return tell(&walk, INDEX_BAD_FILE, VFS_MAIN_NAME, whole, size - whole,
                "the file does not end where a page does", err);
}
