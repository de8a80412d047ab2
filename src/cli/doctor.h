/* Doctor: is this machine fit for a data directory? Each check tells one line: what was found, and
 * if it is not good, what to change and why. One thread. */
#ifndef HOLDFAST_CLI_DOCTOR_H
#define HOLDFAST_CLI_DOCTOR_H

#include "base/buf.h"
#include "config/config.h"

typedef enum { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL } DoctorLevel;

typedef struct {
    const char *dir;      /* as it was given */
    const char *place;    /* dir, or the nearest directory above it that is there */
    bool there;           /* dir is there */
    const Config *config; /* the server's; NULL: it is not good */
    bool json;
    bool quiet; /* only what is not good */
    unsigned counts[DOCTOR_FAIL + 1];
} Doctor;

/* Tells a line. advice: what to do about it, and why; NULL with DOCTOR_OK. */
void doctor_tell(Doctor *doctor, DoctorLevel level, const char *check, const char *advice,
                 const char *format, ...) PRINTF_LIKE(5, 6);
/* Directory: rights, file system, mount options, space, time of a sync, cache of the disk. */
void doctor_disk(Doctor *doctor);
/* What the settings name as certificate and key: rights, dates, names. */
void doctor_certificate(Doctor *doctor);
/* The rest: clock, limits, memory, kernel, port. */
void doctor_system(Doctor *doctor);

/* What a mountinfo line (proc(5)) says, if it is that of mount id, or with an empty id of device
 * "MAJOR:MINOR" ("259:1"), which may be mounted at several places. Views. Pure. */
typedef struct {
    Str type;    /* "ext4" */
    Str options; /* of mount and file system: "rw,noatime rw,barrier=0" */
} DoctorMount;
bool doctor_mount_of(Str line, Str id, Str device, DoctorMount *out);
/* Is word among the comma- or space-separated options? Pure. */
bool doctor_has_option(Str options, Str word);
/* DOCTOR_FAIL: what is written there does not outlive the machine; DOCTOR_WARN: syncs may not be
 * what they seem. *why is advice for both. Pure. */
DoctorLevel doctor_judge_type(Str type, const char **why);
/* Microseconds of a sync of 4 KiB: the middle one and the one in a hundred. Pure. */
DoctorLevel doctor_judge_sync(uint64_t p50_us, uint64_t p99_us, const char **why);

#endif
