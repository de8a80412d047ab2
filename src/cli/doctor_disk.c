/* What holdfast doctor says of the directory and the disk below it. */
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/local_file.h"
#include "cli/show.h"
#include "disk/posix.h"

#define PROBE_FILE "doctor.probe"
#define PROBE_SYNCS 50
#define PROBE_BYTES 4096
#define MOUNTS_MAX (1 * MIB)

/* ---- judgements ---- */

bool doctor_has_option(Str options, Str word)
{
    while (options.len > 0) {
        size_t len = 0;
        while (len < options.len && options.ptr[len] != ',' && options.ptr[len] != ' ')
            len++;
        if (str_eq(str_slice(options, 0, len), word)) return true;
        size_t used = MIN(len + 1, options.len);
        options = str_slice(options, used, options.len - used);
    }
    return false;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 - ext3 /dev/root rw,errors=continue" */
bool doctor_mount_of(Str line, Str id, Str device, DoctorMount *out)
{
    Str fields[16];
    size_t count = 0;
    size_t dash = 0;
    bool more = true;
    while (more && count < ARRAY_LEN(fields)) {
        Str rest;
        more = str_split(line, ' ', &fields[count], &rest);
        if (str_eq(fields[count], STR("-"))) dash = count;
        count++;
        line = rest;
    }
    bool it = id.len > 0 ? str_eq(fields[0], id) : count > 2 && str_eq(fields[2], device);
    if (dash < 6 || dash + 3 >= count || !it) return false;
    /* From the mount's options to the end: both kinds, and what stands between harms nothing. */
    const char *end = fields[dash + 3].ptr + fields[dash + 3].len;
    *out = (DoctorMount){.type = fields[dash + 1],
                         .options = str_of(fields[5].ptr, (size_t)(end - fields[5].ptr))};
    return true;
}

DoctorLevel doctor_judge_type(Str type, const char **why)
{
    static const char *const good[] = {"ext4", "xfs", "btrfs", "zfs", "ext3", "f2fs"};
    static const char *const lost[] = {"tmpfs", "ramfs", "devtmpfs"};
    *why = NULL;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (str_eq(type, str_from_cstr(good[i]))) return DOCTOR_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        if (!str_eq(type, str_from_cstr(lost[i]))) continue;
        *why = "It is memory: all is gone when the machine stops. Use a directory on a disk.";
        return DOCTOR_FAIL;
    }
    *why = "Holdfast is tested by loss of power on ext4 and xfs; network, overlay and FUSE file "
           "systems may sync less than they say. Prefer one of those.";
    return DOCTOR_WARN;
}

DoctorLevel doctor_judge_sync(uint64_t p50_us, uint64_t p99_us, const char **why)
{
    *why = NULL;
    if (p50_us < 15) {
        *why = "No disk is that fast: something between does not write when it is told to. Look "
               "for a cache without a battery, or a virtual disk with cache=unsafe.";
        return DOCTOR_WARN;
    }
    if (p50_us > 15000) {
        *why = "Each batch of writes waits for it, so uploads will be slow. A disk with power-loss "
               "protection takes below 1 ms.";
        return DOCTOR_WARN;
    }
    if (p99_us > 200000) {
        *why = "One sync in a hundred stalls: uploads will see it. Look for other programs that "
               "write to this disk.";
        return DOCTOR_WARN;
    }
    return DOCTOR_OK;
}

/* ---- rights ---- */

static void look_at_rights(Doctor *doctor)
{
    struct stat st;
    if (stat(doctor->place, &st) != 0) {
        doctor_tell(doctor, DOCTOR_FAIL, "rights", "Nothing can be said of it.", "%s: %s",
                    doctor->place, strerrordesc_np(errno));
        return;
    }
    if (faccessat(AT_FDCWD, doctor->place, R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        doctor_tell(doctor, DOCTOR_FAIL, "rights",
                    "Give it to the user who runs the server: chown USER DIR; chmod 700 DIR.",
                    "user %u may not read and write %s", (unsigned)geteuid(), doctor->place);
        return;
    }
    if (!doctor->there) {
        doctor_tell(doctor, DOCTOR_OK, "rights", NULL, "%s is not there; it can be made in %s",
                    doctor->dir, doctor->place);
        return;
    }
    if (st.st_uid != geteuid()) {
        doctor_tell(
            doctor, DOCTOR_WARN, "rights",
            "Run doctor, and the server, as its owner: else the files in it get another one.",
            "%s belongs to user %u, and this is user %u", doctor->dir, (unsigned)st.st_uid,
            (unsigned)geteuid());
    } else if ((st.st_mode & 022) != 0) {
        doctor_tell(doctor, DOCTOR_WARN, "rights",
                    "chmod go-w DIR: others could move the files in it away.",
                    "%s may be written by others (mode %o)", doctor->dir,
                    (unsigned)st.st_mode & 07777);
    } else {
        doctor_tell(doctor, DOCTOR_OK, "rights", NULL, "%s is this user's, mode %o", doctor->dir,
                    (unsigned)st.st_mode & 07777);
    }
}

static void look_at_key(Doctor *doctor, Disk *disk)
{
    DiskStat st;
    if (disk_stat(disk, "root.key", &st, NULL) != OK || !st.exists) return;
    if (st.for_others) {
        doctor_tell(doctor, DOCTOR_FAIL, "root.key",
                    "chmod 600 root.key: who reads it may read and delete everything. If others "
                    "had it, take a new one.",
                    "users other than its owner may read or write it");
    } else {
        doctor_tell(doctor, DOCTOR_OK, "root.key", NULL, "only its owner reads it");
    }
}

/* ---- file system ---- */

static void tell_mount(Doctor *doctor, const DoctorMount *mount)
{
    const char *why = NULL;
    DoctorLevel level = doctor_judge_type(mount->type, &why);
    doctor_tell(doctor, level, "file system", why, "%.*s", STR_ARG(mount->type));
    static const struct {
        Str word;
        DoctorLevel level;
        const char *advice;
    } bad[] = {
        {STR_INIT("ro"), DOCTOR_FAIL,
         "Nothing can be stored: mount it rw (is the disk failing? dmesg)."},
        {STR_INIT("nobarrier"), DOCTOR_FAIL,
         "A loss of power loses what was acknowledged: mount it without nobarrier."},
        {STR_INIT("barrier=0"), DOCTOR_FAIL,
         "A loss of power loses what was acknowledged: mount it without barrier=0."},
        {STR_INIT("strictatime"), DOCTOR_WARN,
         "Each read writes a time: mount it relatime or noatime."},
    };
    bool fine = true;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (!doctor_has_option(mount->options, bad[i].word)) continue;
        fine = false;
        doctor_tell(doctor, bad[i].level, "mount", bad[i].advice, "it is mounted with %.*s",
                    STR_ARG(bad[i].word));
    }
    if (fine) {
        doctor_tell(doctor, DOCTOR_OK, "mount", NULL, "%.*s",
                    STR_ARG(str_slice(mount->options, 0, MIN(mount->options.len, (size_t)160))));
    }
}

/* The number of the mount that path lies on, "" if the kernel (before 5.8) does not tell. */
static const char *mount_id(const char *path, char out[32])
{
    struct statx st;
    out[0] = '\0';
    if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) == 0 && (st.stx_mask & STATX_MNT_ID) != 0)
        snprintf(out, 32, "%" PRIu64, (uint64_t)st.stx_mnt_id);
    return out;
}

static void look_at_mount(Doctor *doctor, Str device)
{
    char number[32];
    Str id = str_from_cstr(mount_id(doctor->place, number));
    LocalFile file = LOCAL_FILE_NONE;
    AUTO(char, mem_free) text = mem_new(MOUNTS_MAX);
    size_t len = 0;
    DoctorMount mount;
    bool found = false;
    if (local_open("/proc/self/mountinfo", true, &file, NULL) == OK) {
        if (local_read(&file, text, MOUNTS_MAX, &len, NULL) != OK) len = 0;
        local_close(&file);
    }
    Str rest = str_of(text, len);
    /* Without an id the last of several mounts of the device counts. */
    while (rest.len > 0) {
        Str line;
        Str next;
        bool more = str_split(rest, '\n', &line, &next);
        found = doctor_mount_of(line, id, device, &mount) || found;
        rest = more ? next : (Str){NULL, 0};
    }
    if (found) {
        tell_mount(doctor, &mount);
    } else {
        doctor_tell(
            doctor, DOCTOR_WARN, "file system",
            "Containers and btrfs hide it: look at `findmnt -T DIR` yourself; ext4 or xfs is "
            "what is tested.",
            "which one it is, /proc/self/mountinfo does not say");
    }
}

static void look_at_cache(Doctor *doctor, Str device)
{
    /* Of a disk, and of the disk that a partition lies on. */
    static const char *const above[] = {"", "../"};
    for (size_t i = 0; i < ARRAY_LEN(above); i++) {
        char path[128];
        char text[32];
        size_t len = 0;
        LocalFile file = LOCAL_FILE_NONE;
        snprintf(path, sizeof path, "/sys/dev/block/%.*s/%squeue/write_cache", STR_ARG(device),
                 above[i]);
        if (local_open(path, true, &file, NULL) != OK) continue;
        if (local_read(&file, text, sizeof text, &len, NULL) != OK) len = 0;
        local_close(&file);
        while (len > 0 && text[len - 1] == '\n')
            len--;
        Str mode = str_of(text, len);
        doctor_tell(doctor, DOCTOR_OK, "disk cache", NULL, "%.*s%s", STR_ARG(mode),
                    str_eq(mode, STR("write back")) ? ": each sync flushes it" : "");
        return;
    }
}

static void look_at_space(Doctor *doctor)
{
    struct statvfs st;
    char left[SHOW_SIZE_SIZE];
    char all[SHOW_SIZE_SIZE];
    if (statvfs(doctor->place, &st) != 0) return;
    uint64_t total = (uint64_t)st.f_blocks * st.f_frsize;
    uint64_t space = (uint64_t)st.f_bavail * st.f_frsize;
    uint64_t reserve = disk_reserve(total);
    show_size(space, left);
    show_size(total, all);
    if (space <= reserve) {
        doctor_tell(
            doctor, DOCTOR_FAIL, "space",
            "Uploads are refused (507): the rest is kept for deletes and repairs. Make room.",
            "%s of %s left", left, all);
    } else if (space < total / 10) {
        doctor_tell(doctor, DOCTOR_WARN, "space",
                    "Below 5 % or 1 GiB uploads are refused. Make room, or delete files.",
                    "%s of %s left", left, all);
    } else {
        doctor_tell(doctor, DOCTOR_OK, "space", NULL, "%s of %s left", left, all);
    }
    if (st.f_files > 0 && st.f_favail < st.f_files / 20) {
        doctor_tell(doctor, DOCTOR_WARN, "inodes",
                    "Files above 64 KiB take one each: make the file system with more (mkfs -N).",
                    "%" PRIu64 " of %" PRIu64 " left", (uint64_t)st.f_favail, (uint64_t)st.f_files);
    }
}

/* ---- syncs ---- */

static int by_size(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b ? 1 : 0;
}

/* Writes into room that is there already, as the log does. */
static ErrCode time_syncs(File *file, uint64_t us[PROBE_SYNCS], Err *err)
{
    static uint8_t block[PROBE_BYTES];
    for (size_t i = 0; i < PROBE_SYNCS; i++)
        TRY(disk_write(file, i * sizeof block, block, sizeof block, err));
    TRY(disk_sync(file, err));
    memset(block, 0x5a, sizeof block);
    for (size_t i = 0; i < PROBE_SYNCS; i++) {
        uint64_t begin = clock_boot_ns(clock_real());
        TRY(disk_write(file, i * sizeof block, block, sizeof block, err));
        TRY(disk_sync(file, err));
        us[i] = (clock_boot_ns(clock_real()) - begin) / 1000;
    }
    qsort(us, PROBE_SYNCS, sizeof *us, by_size);
    return OK;
}

static void look_at_syncs(Doctor *doctor, Disk *disk)
{
    uint64_t us[PROBE_SYNCS];
    const char *why = NULL;
    Err err = {0};
    File *file = NULL;
    ErrCode code = disk_open(disk, PROBE_FILE, DISK_OPEN_ENSURE, &file, &err);
    if (code == OK) code = time_syncs(file, us, &err);
    disk_close(file);
    bool made = file != NULL;
    if (made && disk_unlink(disk, PROBE_FILE, code == OK ? &err : NULL) != OK && code == OK) {
        code = err.code;
    }
    if (code != OK) {
        doctor_tell(doctor, DOCTOR_FAIL, "sync", "The server could not write there either.", "%s",
                    err_text(&err));
        return;
    }
    uint64_t p50 = us[PROBE_SYNCS / 2];
    uint64_t p99 = us[PROBE_SYNCS - 1];
    DoctorLevel level = doctor_judge_sync(p50, p99, &why);
    doctor_tell(doctor, level, "sync", why,
                "4 KiB are on disk after %.2f ms, the slowest of %d after %.2f ms",
                (double)p50 / 1000, PROBE_SYNCS, (double)p99 / 1000);
}

void doctor_disk(Doctor *doctor)
{
    struct stat st;
    char device[32] = "";
    Err err = {0};
    AUTO(Disk, disk_free) disk = NULL;
    look_at_rights(doctor);
    if (stat(doctor->place, &st) == 0) {
        snprintf(device, sizeof device, "%u:%u", major(st.st_dev), minor(st.st_dev));
    }
    bool open = doctor->there && disk_posix_open_existing(doctor->dir, &disk, &err) == OK;
    if (open) look_at_key(doctor, disk);
    look_at_mount(doctor, str_from_cstr(device));
    look_at_cache(doctor, str_from_cstr(device));
    look_at_space(doctor);
    if (open) {
        look_at_syncs(doctor, disk);
    } else if (doctor->there) {
        doctor_tell(doctor, DOCTOR_FAIL, "sync", "The server could not open it either.",
                    "not measured: %s", err_text(&err));
    } else {
        doctor_tell(doctor, DOCTOR_OK, "sync", NULL, "not measured, as %s is not there",
                    doctor->dir);
    }
}
