/* Two slots, written in turn, so that one that is torn leaves the other: what that says still
 * holds, because nothing is moved before the new one is synced. Each lies in a block of its own.
 * The layout of SQLite's log: https://www.sqlite.org/fileformat2.html#walformat */
#include "index/index_mark.h"

#include "base/codec.h"
#include "base/crc.h"
#include "base/fault.h"
#include "index/page_sum.h"
#include "index/vfs.h"
#include <inttypes.h>
#include <string.h>

#define MARK_MAGIC 0x4b4d4948 /* "HIMK" */
#define MARK_FORMAT 1
#define MARK_LEN 40
#define SLOT_BYTES 4096
#define SLOTS 2

/* Of SQLite's log. */
#define LOG_MAGIC 0x377f0682 /* and 1: sums over big-endian words */
#define LOG_HEADER_BYTES 32
#define FRAME_HEADER_BYTES 24
#define FRAME_BYTES (FRAME_HEADER_BYTES + PAGE_SIZE_BYTES)
#define SALT_AT 16 /* in the header; in a frame's header at 8 */
#define SALT_LEN 8
#define WINDOW_FRAMES 64

typedef struct {
    uint64_t number; /* rises with each mark; 0: none */
    uint8_t salt[SALT_LEN];
    uint64_t bytes;
} Mark;

struct IndexMark {
    Disk *disk;
    File *file;
    uint64_t number; /* of the last that was written */
    bool failed;
};

/* --- slots --- */

static void mark_encode(const Mark *mark, uint8_t out[MARK_LEN])
{
    put_u32(out, MARK_MAGIC);
    put_u32(out + 4, MARK_FORMAT);
    put_u64(out + 8, mark->number);
    memcpy(out + 16, mark->salt, SALT_LEN);
    put_u64(out + 24, mark->bytes);
    put_u32(out + 32, 0);
    put_u32(out + 36, crc32c(out, 36));
}

static bool mark_decode(const uint8_t in[MARK_LEN], Mark *out)
{
    bool ours = get_u32(in) == MARK_MAGIC && get_u32(in + 4) == MARK_FORMAT &&
                get_u32(in + 36) == crc32c(in, 36);
    if (!ours) return false;
    out->number = get_u64(in + 8);
    memcpy(out->salt, in + 16, SALT_LEN);
    out->bytes = get_u64(in + 24);
    return true;
}

/* The newest mark of the file; number 0 if none is whole. */
static ErrCode mark_read(File *file, Mark *out, Err *err)
{
    Mark newest = {.number = 0};
    for (uint64_t slot = 0; slot < SLOTS; slot++) {
        uint8_t bytes[MARK_LEN];
        size_t got = 0;
        Mark mark;
        TRY(disk_read(file, slot * SLOT_BYTES, bytes, sizeof bytes, &got, err));
        if (got == sizeof bytes && mark_decode(bytes, &mark) && mark.number > newest.number)
            newest = mark;
    }
    *out = newest;
    return OK;
}

ErrCode index_mark_open(Disk *disk, IndexMark **out, Err *err)
{
    static const uint8_t zeros[SLOTS * SLOT_BYTES];
    DiskStat stat;
    Mark last;
    AUTO(IndexMark, index_mark_close) mark = mem_new(sizeof *mark);
    mark->disk = disk;
    TRY(disk_stat(disk, INDEX_MARK_NAME, &stat, err));
    if (!stat.exists) {
        TRY(disk_create_durable(disk, INDEX_MARK_NAME, str_of(zeros, sizeof zeros), err));
    }
    TRY(disk_open(disk, INDEX_MARK_NAME, DISK_OPEN_WRITE, &mark->file, err));
    TRY(mark_read(mark->file, &last, err));
    mark->number = last.number;
    *out = TAKE(mark);
    return OK;
}

void index_mark_close(IndexMark *mark)
{
    if (mark == NULL) return;
    disk_close(mark->file);
    mem_free(mark);
}

/* --- the log --- */

typedef struct {
    File *file;
    uint64_t size;
    bool big_endian;
    uint32_t sum[2];
    uint8_t salt[SALT_LEN];
    uint64_t end;       /* of the frames that are whole */
    uint64_t committed; /* of the last commit among them */
    uint8_t window[WINDOW_FRAMES * FRAME_BYTES];
} LogWalk;

static uint32_t word(const uint8_t *p, bool big_endian)
{
    uint32_t value = get_u32(p);
    return big_endian ? __builtin_bswap32(value) : value;
}

/* Section 4.2 of the format: two sums over pairs of words, going on from frame to frame. */
static void log_sum(LogWalk *walk, const uint8_t *p, size_t len)
{
    for (size_t at = 0; at < len; at += 8) {
        walk->sum[0] += word(p + at, walk->big_endian) + walk->sum[1];
        walk->sum[1] += word(p + at + 4, walk->big_endian) + walk->sum[0];
    }
}

static bool sum_is(const LogWalk *walk, const uint8_t *p)
{
    return word(p, true) == walk->sum[0] && word(p + 4, true) == walk->sum[1];
}

static bool header_ok(LogWalk *walk, const uint8_t *header)
{
    uint32_t magic = word(header, true);
    if ((magic & ~1U) != LOG_MAGIC) return false;
    walk->big_endian = (magic & 1) != 0;
    log_sum(walk, header, LOG_HEADER_BYTES - 8);
    memcpy(walk->salt, header + SALT_AT, SALT_LEN);
    return sum_is(walk, header + LOG_HEADER_BYTES - 8);
}

static bool frame_ok(LogWalk *walk, const uint8_t *frame)
{
    if (memcmp(frame + 8, walk->salt, SALT_LEN) != 0) return false;
    log_sum(walk, frame, 8);
    log_sum(walk, frame + FRAME_HEADER_BYTES, PAGE_SIZE_BYTES);
    return sum_is(walk, frame + 16);
}

/* Frames from walk->end on, up to the first that is not whole, or to limit. */
static ErrCode walk_frames(LogWalk *walk, uint64_t limit, Err *err)
{
    while (walk->end < limit) {
        size_t got = 0;
        TRY(disk_read(walk->file, walk->end, walk->window, sizeof walk->window, &got, err));
        size_t count = got / FRAME_BYTES;
        if (count == 0) return OK;
        for (size_t i = 0; i < count; i++) {
            if (!frame_ok(walk, walk->window + i * FRAME_BYTES)) return OK;
            walk->end += FRAME_BYTES;
            if (get_u32(walk->window + i * FRAME_BYTES + 4) != 0) walk->committed = walk->end;
        }
    }
    return OK;
}

static bool all_zeros(const uint8_t *data, size_t len)
{
    return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

/* Up to where the log with mark's salt is whole. UINT64_MAX: it is another log, which began when
 * all of the one that the mark means was in index.db, or none. */
static ErrCode whole_until(LogWalk *walk, const Mark *mark, Err *err)
{
    uint8_t header[LOG_HEADER_BYTES];
    size_t got = 0;
    TRY(disk_read(walk->file, 0, header, sizeof header, &got, err));
    if (got < sizeof header || all_zeros(header, sizeof header)) { /* it has just begun */
        walk->end = UINT64_MAX;
        return OK;
    }
    if (!header_ok(walk, header)) return OK;
    walk->end = LOG_HEADER_BYTES;
    if (memcmp(walk->salt, mark->salt, SALT_LEN) != 0) {
        walk->end = UINT64_MAX;
        return OK;
    }
    return walk_frames(walk, mark->bytes, err);
}

/* --- setting and checking --- */

/* Where the last commit of a log ends that an earlier process left. */
static ErrCode find_end(File *file, uint64_t *out, Err *err)
{
    AUTO(LogWalk, mem_free) walk = mem_new(sizeof *walk);
    uint8_t header[LOG_HEADER_BYTES];
    walk->file = file;
    TRY(disk_read_all(file, 0, header, sizeof header, err));
    if (header_ok(walk, header)) {
        walk->end = LOG_HEADER_BYTES;
        TRY(walk_frames(walk, UINT64_MAX, err));
    }
    *out = walk->committed;
    return OK;
}

/* The log as it is. bytes 0: there is none. */
static ErrCode log_look(Disk *disk, uint64_t frames, Mark *out, Err *err)
{
    uint8_t header[LOG_HEADER_BYTES];
    AUTO(File, disk_close) log = NULL;
    size_t got = 0;
    out->bytes = 0;
    TRY(disk_open(disk, VFS_WAL_NAME, DISK_OPEN_READ, &log, err));
    TRY(disk_read(log, 0, header, sizeof header, &got, err));
    if (got < sizeof header) return OK;
    memcpy(out->salt, header + SALT_AT, SALT_LEN);
    out->bytes = LOG_HEADER_BYTES + frames * FRAME_BYTES;
    return frames == 0 ? find_end(log, &out->bytes, err) : OK;
}

static ErrCode slot_write(IndexMark *mark, const Mark *next, Err *err)
{
    uint8_t bytes[MARK_LEN];
    mark_encode(next, bytes);
    uint64_t slot = next->number % SLOTS * SLOT_BYTES;
    ErrCode code = disk_write(mark->file, slot, bytes, sizeof bytes, err);
    if (code == ERR_NO_SPACE) return code; /* nothing was synced: it may be tried again */
    if (code == OK) code = disk_sync(mark->file, err);
    mark->failed = code != OK;
    return code;
}

bool index_mark_failed(const IndexMark *mark)
{
    return mark->failed;
}

ErrCode index_mark_set(IndexMark *mark, uint64_t frames, Err *err)
{
    Mark next = {.number = mark->number + 1};
    ASSERT(!mark->failed);
    TRY(log_look(mark->disk, frames, &next, err));
    if (next.bytes == 0) return OK;
    ErrCode code = slot_write(mark, &next, err);
    if (code == OK) mark->number = next.number;
    return code;
}

/* The newest mark, or number 0. */
static ErrCode mark_find(Disk *disk, Mark *out, Err *err)
{
    DiskStat stat;
    AUTO(File, disk_close) file = NULL;
    out->number = 0;
    TRY(disk_stat(disk, INDEX_MARK_NAME, &stat, err));
    if (!stat.exists) return OK;
    TRY(disk_open(disk, INDEX_MARK_NAME, DISK_OPEN_READ, &file, err));
    return mark_read(file, out, err);
}

static ErrCode log_check(Disk *disk, const Mark *mark, Err *err)
{
    AUTO(LogWalk, mem_free) walk = mem_new(sizeof *walk);
    AUTO(File, disk_close) file = NULL;
    TRY(disk_open(disk, VFS_WAL_NAME, DISK_OPEN_READ, &file, err));
    walk->file = file;
    TRY(whole_until(walk, mark, err));
    if (walk->end >= mark->bytes) return OK;
    return err_set(err, ERR_CORRUPT,
                   "%s is damaged at %" PRIu64 ", and pages behind may be in %s already",
                   VFS_WAL_NAME, walk->end, VFS_MAIN_NAME);
}

ErrCode index_mark_check(Disk *disk, Err *err)
{
    Mark mark;
    DiskStat stat;
    if (fault_planted("trust-index-log")) return OK;
    TRY(mark_find(disk, &mark, err));
    if (mark.number == 0) return OK;
    TRY(disk_stat(disk, VFS_WAL_NAME, &stat, err));
    if (!stat.exists || stat.size == 0) return OK; /* cut behind the end of a checkpoint */
    return log_check(disk, &mark, err);
}
