#include "base/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/str.h"

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

/* A small file of /proc; the number of bytes of it. */
static size_t read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t len = read(fd, out, size);
    close(fd);
    return len > 0 ? (size_t)len : 0;
}

/* The number behind a field's name, as in "Threads:\t7". */
static uint64_t field(Str text, const char *name)
{
    Str rest = text;
    Str line;
    while (rest.len > 0) {
        uint64_t number = 0;
        bool more = str_split(rest, '\n', &line, &rest);
        if (str_starts_with(line, str_from_cstr(name))) {
            Str value = str_trim(str_slice(line, strlen(name), line.len));
            Str digits = str_slice(value, 0, str_find_char(value, ' '));
            return str_to_u64(digits, UINT64_MAX, &number) ? number : 0;
        }
        if (!more) break;
    }
    return 0;
}

static uint64_t count_descriptors(void)
{
    uint64_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) return 0;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count > 0 ? count - 1 : 0; /* without the one that was read */
}

void process_use(ProcessUse *out)
{
    struct rusage usage;
    struct rlimit limit;
    char status[4096];
    *out = (ProcessUse){0};
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        out->cpu_seconds = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) out->descriptors_max = (uint64_t)limit.rlim_cur;
    Str text = str_of(status, read_file("/proc/self/status", status, sizeof status));
    out->resident_bytes = field(text, "VmRSS:") * 1024;
    out->virtual_bytes = field(text, "VmSize:") * 1024;
    out->threads = field(text, "Threads:");
    out->descriptors = count_descriptors();
}
