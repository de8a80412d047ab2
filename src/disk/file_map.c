#include "disk/file_map.h"

#include "base/fault.h"
#include "base/guard.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <threads.h>
#include <unistd.h>

#define RESIDENT_STRIDE (64 * KIB)

/* Of the process, as the limit is. */
static _Atomic size_t used; /* bytes, whole pages */
static size_t budget;
static size_t page_size;
static once_flag budget_once = ONCE_FLAG_INIT;

static void find_budget(void)
{
    struct rlimit limit;
    long page = sysconf(_SC_PAGESIZE);
    ASSERT(page > 0);
    page_size = (size_t)page;
    guard_install();
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return; /* nothing is mapped then */
    if (limit.rlim_cur < FILE_MAP_BUDGET_MAX) {
        struct rlimit more = {.rlim_cur = FILE_MAP_BUDGET_MAX,
                              .rlim_max = MAX(limit.rlim_max, (rlim_t)FILE_MAP_BUDGET_MAX)};
        struct rlimit hard = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        /* As much as we may; the first needs the right to raise limits. */
        if (setrlimit(RLIMIT_MEMLOCK, &more) == 0)
            limit = more;
        else if (limit.rlim_max < FILE_MAP_BUDGET_MAX && setrlimit(RLIMIT_MEMLOCK, &hard) == 0)
            limit = hard;
    }
    budget = (size_t)MIN(limit.rlim_cur, (rlim_t)FILE_MAP_BUDGET_MAX);
}

static size_t pages_len(size_t len)
{
    return ALIGN_UP(len, page_size);
}

/* Takes size bytes of the budget; false if there are no more. */
static bool charge(size_t size)
{
    size_t before = atomic_fetch_add(&used, size);
    if (before + size <= budget) return true;
    atomic_fetch_sub(&used, size);
    return false;
}

static ErrCode map_failed(size_t size, int errno_value, const char *what, Err *err)
{
    atomic_fetch_sub(&used, size);
    return err_set_errno(err, ERR_BUSY, errno_value, "%s %zu bytes", what, size);
}

ErrCode file_map_open(File *file, uint64_t offset, size_t len, FileMap *out, Err *err)
{
    ASSERT(len > 0);
    call_once(&budget_once, find_budget);
    int fd = disk_fd(file);
    size_t size = pages_len(len);
    if (fd < 0) return err_set(err, ERR_BUSY, "files of this disk can't be mapped");
    if (!charge(size)) return err_set(err, ERR_BUSY, "%zu bytes are mapped already", budget);
    int injected = fault_point("disk.map");
    if (injected != 0) return map_failed(size, injected, "map", err);
    void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)offset);
    if (data == MAP_FAILED) return map_failed(size, errno, "map", err);
    /* Pages are locked as they are first touched. MAP_LOCKED would fetch them one by one: 3.4 ms
     * for 64 MiB, against 1 ms when the CRC touches them and the kernel maps their neighbours. */
    if (mlock2(data, size, MLOCK_ONFAULT) != 0) {
        int saved = errno;
        munmap(data, size);
        return map_failed(size, saved, "lock", err);
    }
    *out = (FileMap){.data = data, .len = len};
    return OK;
}

void file_map_close(FileMap *map)
{
    if (map->data == NULL) return;
    size_t size = pages_len(map->len);
    int status = munmap((void *)(uintptr_t)map->data, size);
    ASSERT(status == 0);
    size_t before = atomic_fetch_sub(&used, size);
    ASSERT(before >= size);
    *map = (FileMap){0};
}

bool file_map_resident(const FileMap *map)
{
    for (size_t at = 0; at < map->len; at += RESIDENT_STRIDE) {
        unsigned char page = 0;
        void *address = (void *)(uintptr_t)(map->data + at);
        if (mincore(address, page_size, &page) != 0 || (page & 1) == 0) return false;
    }
    return true;
}

size_t file_map_budget(void)
{
    call_once(&budget_once, find_budget);
    return budget;
}

void file_map_lower_budget(size_t most)
{
    budget = MIN(file_map_budget(), most);
}

bool file_map_scarce(void)
{
    return atomic_load_explicit(&used, memory_order_relaxed) > file_map_budget() / 2;
}
