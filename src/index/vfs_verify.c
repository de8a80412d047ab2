/* Pages of index.db read again, for scrub: past the system's cache and beside the writer. What
 * looks bad while a checkpoint writes may be half of a page; what is bad when nobody writes, and
 * when no newer one stands in the log, is damage. */
#include "index/vfs_priv.h"

#define PIECE_PAGES 64 /* of one read */

static ErrCode open_direct(Vfs *vfs, File **out, Err *err)
{
    return disk_open(vfs->disk, VFS_MAIN_NAME, DISK_OPEN_DIRECT, out, err);
}

/* A page of nothing but zeros was never written, as far as its bytes tell: SQLite leaves such
 * holes, and who reads one that it needs is told. */
static bool looks_good(const uint8_t *page, uint64_t number)
{
    return page_is_zero(page) || page_sum_ok(page, (uint32_t)number);
}

/* Pages from number `from` on, at most count; *good: so many are. */
static ErrCode read_piece(File *file, uint64_t from, size_t count, uint8_t *pages, size_t *got,
                          size_t *good, Err *err)
{
    size_t bytes = 0;
    *good = 0;
    TRY(disk_read(file, (from - 1) * PAGE_SIZE_BYTES, pages, count * PAGE_SIZE_BYTES, &bytes, err));
    *got = bytes / PAGE_SIZE_BYTES;
    while (*good < *got && looks_good(pages + *good * PAGE_SIZE_BYTES, from + *good))
        (*good)++;
    return OK;
}

ErrCode vfs_look_pages(Vfs *vfs, uint64_t from, size_t count, VfsLooked *out, Err *err)
{
    AUTO(File, disk_close) file = NULL;
    AUTO(void, mem_free) memory = NULL;
    ASSERT(from >= 1);
    TRY(mem_take(PIECE_PAGES * PAGE_SIZE_BYTES, &memory, err));
    TRY(open_direct(vfs, &file, err));
    *out = (VfsLooked){.next = from};
    uint64_t pages = vfs_main_bytes(vfs) / PAGE_SIZE_BYTES;
    while (count > 0 && out->next <= pages && out->bad == 0) {
        size_t want = (size_t)MIN(MIN((uint64_t)PIECE_PAGES, (uint64_t)count),
                                  pages + 1 - out->next);
        size_t got = want;
        size_t good = 0;
        ErrCode code = read_piece(file, out->next, want, memory, &got, &good, err);
        if (code == ERR_IO && want > 1) { /* which of them? */
            err_clear(err);
            want = 1;
            code = read_piece(file, out->next, want, memory, &got, &good, err);
        }
        if (code == ERR_IO) {
            err_clear(err);
            good = 0;
            got = 1;
        } else if (code != OK) {
            return code;
        }
        out->bad = good < MAX(got, (size_t)1) ? out->next + good : 0;
        out->next += good + (out->bad != 0);
        count -= MIN(count, MAX(got, (size_t)1));
    }
    out->ended = out->next > pages;
    return OK;
}

ErrCode vfs_judge_page(Vfs *vfs, uint64_t number, Err *err)
{
    uint8_t page[PAGE_SIZE_BYTES];
    AUTO(File, disk_close) file = NULL;
    size_t got = 0;
    Err why = {0};
    uint64_t offset = (number - 1) * PAGE_SIZE_BYTES;
    if (vfs_wal_bytes(vfs) > 0) return err_set(err, ERR_BUSY, "%s is not empty", VFS_WAL_NAME);
    if (offset >= vfs_main_bytes(vfs)) return OK;
    TRY(open_direct(vfs, &file, err));
    ErrCode code = disk_read(file, offset, page, sizeof page, &got, &why);
    if (code == OK && got == sizeof page && looks_good(page, number)) return OK;
    if (code == OK) {
        code = err_set(&why, ERR_CORRUPT, "%s: page %llu fails its checksum", VFS_MAIN_NAME,
                       (unsigned long long)number);
    }
    if (code != ERR_CORRUPT && code != ERR_IO) return err_set(err, code, "%s", err_text(&why));
    if (vfs->damaged != NULL) vfs->damaged(vfs->damaged_ctx, VFS_MAIN_NAME, offset, &why);
    return err_set(err, ERR_CORRUPT, "%s", err_text(&why));
}
