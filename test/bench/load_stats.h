/* What bench-load measures: latencies in a histogram with steps of 3 %, and the CPU time of other
 * processes from /proc. One thread. */
#ifndef HOLDFAST_TEST_BENCH_LOAD_STATS_H
#define HOLDFAST_TEST_BENCH_LOAD_STATS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HISTOGRAM_STEPS 32 /* per power of two */

typedef struct {
    uint64_t counts[64 * HISTOGRAM_STEPS];
    uint64_t total;
    uint64_t max_ns;
} Histogram;

void histogram_add(Histogram *histogram, uint64_t ns);
/* The time in µs that share (0..1) of all did not exceed; 0 if there are none. */
double histogram_us(const Histogram *histogram, double share);

typedef struct {
    double user_s;
    double system_s;
} CpuTime;

/* What all threads of these processes have used, ended threads included. Ends the program if one
 * of them is gone. */
CpuTime cpu_time(const pid_t *pids, size_t count);
/* Waits until the processes use less than 2 % of a core, at most max_s. Returns seconds waited. */
double cpu_wait_quiet(const pid_t *pids, size_t count, double max_s);
uint64_t now_ns(void);

#endif
