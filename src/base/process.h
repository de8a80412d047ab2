/* What this process uses of the machine, as /metrics tells it. No state, any thread. */
#ifndef HOLDFAST_BASE_PROCESS_H
#define HOLDFAST_BASE_PROCESS_H

#include <stdint.h>

typedef struct {
    double cpu_seconds; /* user and system, all threads */
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t threads;
    uint64_t descriptors;
    uint64_t descriptors_max;
} ProcessUse;

/* What cannot be found out (no /proc) is 0. */
void process_use(ProcessUse *out);

#endif
