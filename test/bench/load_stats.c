#include "load_stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Values below HISTOGRAM_STEPS have a slot each; then HISTOGRAM_STEPS slots per power of two. */
static size_t slot_of(uint64_t ns)
{
    if (ns < HISTOGRAM_STEPS) return (size_t)ns;
    unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - 5U;
    return (shift + 1U) * HISTOGRAM_STEPS + (size_t)(ns >> shift) - HISTOGRAM_STEPS;
}

/* The largest value of a slot. */
static uint64_t slot_top(size_t slot)
{
    if (slot < HISTOGRAM_STEPS) return slot;
    uint64_t shift = slot / HISTOGRAM_STEPS - 1;
    return ((slot % HISTOGRAM_STEPS + HISTOGRAM_STEPS + 1) << shift) - 1;
}

void histogram_add(Histogram *histogram, uint64_t ns)
{
    histogram->counts[slot_of(ns)]++;
    histogram->total++;
    if (ns > histogram->max_ns) histogram->max_ns = ns;
}

double histogram_us(const Histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->total);
    uint64_t seen = 0;
    for (size_t i = 0; i < sizeof histogram->counts / sizeof histogram->counts[0]; i++) {
        seen += histogram->counts[i];
        if (histogram->counts[i] > 0 && (seen > wanted || seen == histogram->total)) {
            uint64_t top = slot_top(i);
            return (double)(top < histogram->max_ns ? top : histogram->max_ns) / 1000.0;
        }
    }
    return 0;
}

CpuTime cpu_time(const pid_t *pids, size_t count)
{
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    CpuTime sum = {0, 0};
    for (size_t i = 0; i < count; i++) {
        char path[64], text[1024];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pids[i]);
        FILE *file = fopen(path, "re");
        size_t len = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
        if (len == 0) {
            fprintf(stderr, "bench-load: process %d is gone\n", (int)pids[i]);
            exit(1);
        }
        fclose(file);
        text[len] = '\0';
        /* Fields 14 and 15; the name, field 2, may hold anything but ends at the last ')'. */
        char *at = strrchr(text, ')');
        for (int field = 2; at != NULL && field < 14; field++)
            at = strchr(at + 1, ' ');
        if (at == NULL) continue;
        sum.user_s += (double)strtoull(at, &at, 10) * tick;
        sum.system_s += (double)strtoull(at, &at, 10) * tick;
    }
    return sum;
}

double cpu_wait_quiet(const pid_t *pids, size_t count, double max_s)
{
    uint64_t start = now_ns();
    double waited = 0;
    for (int quiet = 0; quiet < 2 && waited < max_s;) {
        CpuTime before = cpu_time(pids, count);
        usleep(250000);
        CpuTime after = cpu_time(pids, count);
        double used = after.user_s + after.system_s - before.user_s - before.system_s;
        quiet = used < 0.015 ? quiet + 1 : 0; /* a tick is 10 ms */
        waited = (double)(now_ns() - start) / 1e9;
    }
    return waited;
}
