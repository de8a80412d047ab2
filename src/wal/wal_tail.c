/* The end of the log as a start finds it: a torn tail is moved away, and what nothing attests is
 * made durable.
 *
 *   header | CHECKPOINT | batches … | A batches that no frame attests … | end
 *
 * Up to A an earlier process had its syncs answered with OK. Behind A the bytes may stand in the
 * page cache only: after a kill they may never have been synced, and after a failed sync the kernel
 * takes the pages for clean, so that another sync of them returns OK and writes nothing
 * (fsyncgate). Only new writes prove something. The sectors themselves may hold what was
 * acknowledged, so they are not written again: the segment is replaced by a copy under the same
 * name. Positions stay.
 *
 * Only the newest segment can have such a tail: the header of a segment says where the one before
 * ended, after that end was synced. Its copy goes into a spare where one is ready, so that a full
 * disk is no hindrance; it costs one segment's bytes at the start after a kill, none after a clean
 * stop. */
#include "wal/wal_priv.h"

#include "base/fault.h"
#include <inttypes.h>
#include <stdio.h>

#define COPY_LEN (1 * MIB)

ErrCode wal_tail_quarantine(Wal *wal, const WalScanned *scanned, const WalOpened *opened, Err *err)
{
    if (!opened->torn) return OK;
    AUTO(File, disk_close) file = NULL;
    AUTO(void, mem_free) bytes = NULL;
    char path[DISK_PATH_MAX];
    int len = snprintf(path, sizeof path, WAL_QUARANTINE "/segment_%" PRIu64 "_at_%" PRIu64 ".torn",
                       opened->torn_at.segment, opened->torn_at.offset);
    ASSERT(len > 0 && (size_t)len < sizeof path);
    TRY(disk_open(wal->disk, scanned->last_path, DISK_OPEN_READ, &file, err));
    TRY(mem_take((size_t)opened->torn_bytes, &bytes, err));
    TRY(disk_read_all(file, opened->torn_at.offset, bytes, (size_t)opened->torn_bytes, err));
    ErrCode code = disk_create_durable(wal->disk, path, str_of(bytes, (size_t)opened->torn_bytes),
                                       err);
    return code == ERR_EXISTS ? OK : code;
}

/* The first len bytes of from into to, synced. */
static ErrCode copy_synced(Wal *wal, const char *from, const char *to, uint64_t len, Err *err)
{
    AUTO(File, disk_close) source = NULL;
    AUTO(File, disk_close) target = NULL;
    AUTO(void, mem_free) bytes = NULL;
    TRY(disk_open(wal->disk, from, DISK_OPEN_READ, &source, err));
    TRY(disk_open(wal->disk, to, DISK_OPEN_WRITE, &target, err));
    TRY(mem_take((size_t)MIN(len, COPY_LEN), &bytes, err));
    for (uint64_t at = 0; at < len; at += COPY_LEN) {
        size_t part = (size_t)MIN(len - at, COPY_LEN);
        TRY(disk_read_all(source, at, bytes, part, err));
        TRY(disk_write(target, at, bytes, part, err));
    }
    return disk_sync(target, err);
}

/* Planted bug: as if a sync that returns OK had written what the page cache shows. */
static ErrCode sync_again(Wal *wal, const char *path, Err *err)
{
    AUTO(File, disk_close) file = NULL;
    TRY(disk_open(wal->disk, path, DISK_OPEN_WRITE, &file, err));
    return disk_sync(file, err);
}

static ErrCode replace_by_copy(Wal *wal, const char *path, uint64_t len, Err *err)
{
    char spare[DISK_PATH_MAX];
    uint64_t number = 0;
    TRY(wal_spare_take(wal, wal->header.capacity, &number, err));
    wal_spare_path(number, spare);
    TRY(copy_synced(wal, path, spare, len, err));
    return disk_rename_durable(wal->disk, spare, path, err);
}

ErrCode wal_tail_make_durable(Wal *wal, const WalScanned *scanned, const WalOpened *opened,
                              Err *err)
{
    const char *path = scanned->last_path;
    if (path[0] == '\0' || fault_planted("count-page-cache")) return OK;
    if (fault_planted("trust-page-cache")) {
        TRY(sync_again(wal, path, err));
    } else if (wal_pos_cmp(scanned->attested, opened->end) < 0) {
        ErrCode code = replace_by_copy(wal, path, opened->end.offset, err);
        if (code != OK) return err_wrap(err, code, "make the end of %s durable", path);
    }
    /* Names: a journal that could not be written takes no more writes, so what a directory shows
     * after a failed sync of it is gone when the file system is mounted again, or is written now.
     */
    TRY(disk_sync_dir(wal->disk, WAL_SEGMENTS, err));
    return disk_sync_dir(wal->disk, "", err);
}
