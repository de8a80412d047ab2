#include "base/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define TEXT_MAX (16 * KIB)
#define PATH_SIZE 4096

/* A small file; an empty text if it can't be read. */
static Str read_text(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return str_of(out, 0);
    ssize_t len = read(fd, out, size);
    close(fd);
    return str_of(out, len > 0 ? (size_t)len : 0);
}

/* "MemTotal:  24683656 kB" in bytes; 0 if it is not there. */
static uint64_t total_memory(Str meminfo)
{
    uint64_t kib = 0;
    for (bool more = meminfo.len > 0; more;) {
        Str line;
        Str name;
        more = str_split(meminfo, '\n', &line, &meminfo);
        if (!str_split(line, ':', &name, &line) || !str_eq(name, STR("MemTotal"))) continue;
        line = str_trim(line);
        Str digits = str_slice(line, 0, str_find_char(line, ' '));
        return str_to_u64(digits, UINT64_MAX / KIB, &kib) ? kib * KIB : 0;
    }
    return 0;
}

/* The least limit of the group at path and of those above it, which are folders in sys; UINT64_MAX:
 * there is none. A limit that is no number ("max") is none. */
static uint64_t group_limit(const char *sys, Str path, const char *file)
{
    uint64_t least = UINT64_MAX;
    for (bool more = true; more;) {
        char name[PATH_SIZE];
        char text[64];
        uint64_t limit = 0;
        while (path.len > 0 && path.ptr[path.len - 1] == '/')
            path.len--;
        int len = snprintf(name, sizeof name, "%s%.*s/%s", sys, STR_ARG(path), file);
        if (len > 0 && (size_t)len < sizeof name) {
            Str line = read_text(name, text, sizeof text);
            line = str_slice(line, 0, str_find_char(line, '\n'));
            if (str_to_u64(line, UINT64_MAX, &limit)) least = MIN(least, limit);
        }
        more = path.len > 0;
        while (path.len > 0 && path.ptr[path.len - 1] != '/')
            path.len--;
    }
    return least;
}

/* Is name one of the words of list, which commas separate? */
static bool lists(Str list, Str name)
{
    for (bool more = true; more;) {
        Str word;
        more = str_split(list, ',', &word, &list);
        if (str_eq(word, name)) return true;
    }
    return false;
}

uint64_t machine_memory_of(Str meminfo, Str groups, const char *sys)
{
    uint64_t least = total_memory(meminfo);
    if (least == 0) least = UINT64_MAX;
    for (bool more = groups.len > 0; more;) { /* "0::/a/b" or "4:memory:/a/b" */
        Str line;
        Str number;
        Str controllers;
        more = str_split(groups, '\n', &line, &groups);
        if (!str_split(line, ':', &number, &line) || !str_split(line, ':', &controllers, &line))
            continue;
        char folder[PATH_SIZE];
        if (controllers.len == 0) {
            least = MIN(least, group_limit(sys, line, "memory.max"));
        } else if (lists(controllers, STR("memory"))) {
            snprintf(folder, sizeof folder, "%s/memory", sys);
            least = MIN(least, group_limit(folder, line, "memory.limit_in_bytes"));
        }
    }
    return least == UINT64_MAX ? 0 : least;
}

uint64_t machine_memory(void)
{
    char meminfo[TEXT_MAX];
    char groups[TEXT_MAX];
    return machine_memory_of(read_text("/proc/meminfo", meminfo, sizeof meminfo),
                             read_text("/proc/self/cgroup", groups, sizeof groups),
                             "/sys/fs/cgroup");
}

uint64_t machine_open_files(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = MIN((rlim_t)wanted, limit.rlim_max),
                                .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return (uint64_t)limit.rlim_cur;
}
