/* What the machine gives this process: the memory of its control group, open files. */
#ifndef HOLDFAST_BASE_MACHINE_H
#define HOLDFAST_BASE_MACHINE_H

#include "base/str.h"

/* Bytes that this process may take: the machine's, or what its control group (version 1 or 2) or
 * one above that allows, if that is less; 0: not known. Reads /proc and /sys. */
uint64_t machine_memory(void);
/* The same with the text of /proc/meminfo and of /proc/self/cgroup, and the folder in which control
 * groups are found. */
uint64_t machine_memory_of(Str meminfo, Str groups, const char *sys);
/* Raises the limit of open files to wanted, or as far as the system lets; what it is now. */
uint64_t machine_open_files(uint64_t wanted);

#endif
