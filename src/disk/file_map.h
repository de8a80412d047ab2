/* FileMap: a range of a file mapped for reading, whose pages, once touched, stay in memory until
 * it is closed: what was verified is what sendfile sends. Any thread.
 *
 * Locked memory is scarce (RLIMIT_MEMLOCK counts, for the whole process), so there is one budget:
 * FILE_MAP_BUDGET_MAX or what the limit allows. Beyond it, and where a file can't be mapped, the
 * answer is ERR_BUSY, and the caller reads instead. Touch the bytes by base/guard.h only. */
#ifndef HOLDFAST_DISK_FILE_MAP_H
#define HOLDFAST_DISK_FILE_MAP_H

#include "disk/disk.h"

#define FILE_MAP_BUDGET_MAX (64 * MIB)

typedef struct {
    const uint8_t *data; /* NULL: closed */
    size_t len;          /* bytes */
} FileMap;

/* len bytes (1 or more) from offset on, a multiple of the page size. What lies behind the file's
 * end can be mapped, but not read. Errors: ERR_BUSY. Fault point: disk.map. */
MUST_USE ErrCode file_map_open(File *file, uint64_t offset, size_t len, FileMap *out, Err *err);
/* Closed already is fine. */
void file_map_close(FileMap *map);
/* Is it in memory now, so that touching it waits for no disk? Looks at a page of each 64 KiB, for
 * the kernel fetches and drops more than that at once; now and then the answer is wrong. */
bool file_map_resident(const FileMap *map);
/* Bytes that all maps may have together. */
size_t file_map_budget(void);
/* From now on no more than most bytes; before other threads map anything. */
void file_map_lower_budget(size_t most);
/* Is more than half of the budget used? Who then waits for a client gives its map back first, so
 * that slow clients never have more than that half. */
bool file_map_scarce(void);

#endif
