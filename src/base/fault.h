/* Places where tests make things go wrong: fault points (the Nth call fails), kill points (the
 * process ends as by kill -9) and planted bugs (a rule is broken on purpose, to prove that the
 * tests see it). Compiled in when HOLDFAST_FAULTS is 1 (test and developer builds); in a release
 * build the macros are constants and the compiler removes them. Switched by the environment:
 *   HOLDFAST_FAULT="disk.sync=fail:EIO@7"      the 7th call fails (@7+ : from then on)
 *   HOLDFAST_FAULT="wal.rotate=kill@3"         the process dies at the 3rd pass
 *   HOLDFAST_FAULT="skip-dir-sync=plant"       the planted bug is on
 * several separated by ','. Tests in one process use the functions. Every point that was passed
 * is counted, so a test can print hits and fail on a point with none. */
#ifndef HOLDFAST_BASE_FAULT_H
#define HOLDFAST_BASE_FAULT_H

#include "base/err.h"

#ifndef HOLDFAST_FAULTS
#define HOLDFAST_FAULTS 0
#endif

#define FAULT_POINTS_MAX 256

typedef struct {
    const char *name;
    uint64_t hits;  /* times passed since fault_reset() */
    uint64_t fired; /* times it made something fail */
} FaultStat;

#if HOLDFAST_FAULTS
/* 0, or the errno value that this call must fail with. Also where a kill point kills. */
int fault_point(const char *name);
bool fault_planted(const char *name);
#else
static inline int fault_point(const char *name)
{
    UNUSED(name);
    return 0;
}
static inline bool fault_planted(const char *name)
{
    UNUSED(name);
    return false;
}
#endif

/* Parses the environment's form; ERR_CONFIG on nonsense. spec NULL or "": nothing. */
MUST_USE ErrCode fault_configure(const char *spec, Err *err);
/* Fails call number nth (1 for the next) of name with errno_value; from then on if sticky. */
void fault_arm(const char *name, int errno_value, uint64_t nth, bool sticky);
/* Fails the nth pass over any point whose name starts with prefix ("" for all). */
void fault_arm_any(const char *prefix, int errno_value, uint64_t nth, bool sticky);
void fault_plant(const char *name, bool on);
/* Disarms everything and zeroes the counts. */
void fault_reset(void);
/* Points passed so far, at most max of them, into out; returns how many. */
size_t fault_stats(FaultStat *out, size_t max);

#endif
