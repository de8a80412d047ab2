/* What holdfast doctor says of clock, limits, memory, kernel and port. */
#include "cli/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "cli/local_file.h"
#include "cli/show.h"
#include "net/tcp.h"
#include "node/budget.h"

#define MEMLOCK_WANTED (8 * MIB) /* of pages that are sent while nobody can drop them */
#define MEMORY_WANTED (512 * MIB)
#define CONNECTIONS 10000 /* where the settings can't be read */
#define YEAR_2025_MS UINT64_C(1735689600000)

/* The number behind label in a file of /proc ("" : the first one); false: there is none. */
static bool read_number(const char *path, const char *label, uint64_t *out)
{
    char text[4096];
    size_t len = 0;
    LocalFile file = LOCAL_FILE_NONE;
    if (local_open(path, true, &file, NULL) != OK) return false;
    ErrCode code = local_read(&file, text, sizeof text - 1, &len, NULL);
    local_close(&file);
    if (code != OK) return false;
    text[len] = '\0';
    const char *at = strstr(text, label);
    if (at == NULL) return false;
    at += strlen(label);
    at += strspn(at, " \t");
    return str_to_u64(str_of(at, strspn(at, "0123456789")), UINT64_MAX, out);
}

static void look_at_clock(Doctor *doctor)
{
    struct timex state = {0};
    bool known = adjtimex(&state) >= 0;
    if (clock_wall_ms(clock_real()) < YEAR_2025_MS) {
        doctor_tell(doctor, DOCTOR_FAIL, "clock",
                    "Times of files and expiry rest on it: set it, and let chrony or "
                    "systemd-timesyncd keep it.",
                    "it stands before 2025");
    } else if (known && (state.status & STA_UNSYNC) != 0) {
        doctor_tell(
            doctor, DOCTOR_WARN, "clock",
            "Let chrony or systemd-timesyncd keep it (in a container or virtual machine the "
            "host may do so). Order never depends on it, times and expiry do.",
            "nobody keeps it in step");
    } else {
        doctor_tell(doctor, DOCTOR_OK, "clock", NULL, "kept in step");
    }
}

static void look_at_limits(Doctor *doctor)
{
    struct rlimit limit;
    char size[SHOW_SIZE_SIZE];
    uint64_t connections = doctor->config != NULL ? doctor->config->connections : CONNECTIONS;
    unsigned roots = doctor->config != NULL ? (unsigned)doctor->config->data_count : 1;
    uint64_t files = budget_files_own(MAX(roots, 1U)) + BUDGET_FILES_CONNECTION * connections;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < files) {
        doctor_tell(doctor, DOCTOR_WARN, "open files",
                    "With fewer, serve takes fewer connections: ulimit -n, or LimitNOFILE= of "
                    "systemd.",
                    "at most %" PRIu64 ", and %" PRIu64 " connections need %" PRIu64,
                    (uint64_t)limit.rlim_max, connections, files);
    } else {
        doctor_tell(doctor, DOCTOR_OK, "open files", NULL, "enough for %" PRIu64 " connections",
                    connections);
    }
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_max < MEMLOCK_WANTED) {
        doctor_tell(doctor, DOCTOR_WARN, "locked pages",
                    "Large downloads are copied instead of sent from the system's cache, and cost "
                    "more: ulimit -l 8192, or LimitMEMLOCK=8M of systemd.",
                    "at most %s", show_size(limit.rlim_max, size));
    } else {
        doctor_tell(doctor, DOCTOR_OK, "locked pages", NULL, "enough for large downloads");
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        doctor_tell(doctor, DOCTOR_FAIL, "file size",
                    "Larger files would fail in the middle: ulimit -f unlimited.", "at most %s",
                    show_size(limit.rlim_cur, size));
    }
}

static void look_at_memory(Doctor *doctor)
{
    uint64_t kib = 0;
    char size[SHOW_SIZE_SIZE];
    if (!read_number("/proc/meminfo", "MemAvailable:", &kib)) return;
    show_size(kib * KIB, size);
    if (kib * KIB < MEMORY_WANTED) {
        doctor_tell(doctor, DOCTOR_WARN, "memory",
                    "With the defaults serve plans with 410 MiB at least: make index-cache and "
                    "cache smaller, or free some.",
                    "%s to be had", size);
    } else {
        doctor_tell(doctor, DOCTOR_OK, "memory", NULL, "%s to be had", size);
    }
}

static void look_at_kernel(Doctor *doctor)
{
    struct utsname name;
    uint64_t value = 0;
    if (uname(&name) == 0) {
        uint64_t first = 0;
        Str release = str_from_cstr(name.release);
        size_t digits = strspn(name.release, "0123456789");
        bool old = str_to_u64(str_slice(release, 0, digits), 1000, &first) && first < 5;
        doctor_tell(
            doctor, old ? DOCTOR_WARN : DOCTOR_OK, "kernel",
            old ? "Before 4.13 an error of a sync could go unnoticed, and before 5 little is "
                  "tested: take a newer one."
                : NULL,
            "%s", name.release);
    }
    if (read_number("/proc/sys/net/core/somaxconn", "", &value) && value < 1024) {
        doctor_tell(doctor, DOCTOR_WARN, "backlog",
                    "Many clients at once wait longer to connect: sysctl net.core.somaxconn=4096.",
                    "net.core.somaxconn is %" PRIu64, value);
    }
    if (read_number("/proc/sys/vm/overcommit_memory", "", &value) && value == 2) {
        doctor_tell(doctor, DOCTOR_WARN, "overcommit",
                    "Caches may be refused memory that is free: sysctl vm.overcommit_memory=0.",
                    "vm.overcommit_memory is 2");
    }
}

static void look_at_port(Doctor *doctor)
{
    TcpAddress address;
    Err err = {0};
    if (doctor->config == NULL) return; /* that is told already */
    const char *text = doctor->config->http;
    ErrCode code = tcp_address_parse(text, &address, &err);
    if (code == OK) code = tcp_address_claim(&address, &err);
    if (code == OK) {
        doctor_tell(doctor, DOCTOR_OK, "port", NULL, "%s is free", text);
    } else if (code == ERR_IN_USE) {
        doctor_tell(doctor, DOCTOR_WARN, "port",
                    "Fine if it is this server (holdfast admin status); else give serve another "
                    "--http.",
                    "%s is in use", text);
    } else {
        doctor_tell(doctor, DOCTOR_FAIL, "port", "Give serve another --http, or HOLDFAST_HTTP.",
                    "%s", err_text(&err));
    }
}

void doctor_system(Doctor *doctor)
{
    look_at_clock(doctor);
    look_at_limits(doctor);
    look_at_memory(doctor);
    look_at_kernel(doctor);
    look_at_port(doctor);
}
