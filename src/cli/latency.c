#include "cli/latency.h"

#define STEP_BITS 5

_Static_assert(1 << STEP_BITS == LATENCY_STEPS, "the steps of a power of two are its next bits");

/* Below LATENCY_STEPS each value has its own step; above, the leading bit and the five behind. */
static size_t step_of(uint64_t ns)
{
    if (ns < LATENCY_STEPS) return (size_t)ns;
    unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - STEP_BITS;
    return ((size_t)(shift + 1) << STEP_BITS) + (size_t)((ns >> shift) - LATENCY_STEPS);
}

/* The most that falls into a step. */
static uint64_t end_of(size_t step)
{
    if (step < LATENCY_STEPS) return step;
    size_t shift = (step >> STEP_BITS) - 1;
    return ((LATENCY_STEPS + (uint64_t)(step & (LATENCY_STEPS - 1)) + 1) << shift) - 1;
}

void latency_add(Latency *latency, uint64_t ns)
{
    size_t step = step_of(ns);
    ASSERT(step < 64 * LATENCY_STEPS);
    latency->counts[step]++;
    latency->total++;
    latency->max_ns = MAX(latency->max_ns, ns);
}

double latency_ms(const Latency *latency, double share)
{
    uint64_t seen = 0;
    if (latency->total == 0) return 0;
    for (size_t i = 0; i < 64 * LATENCY_STEPS; i++) {
        seen += latency->counts[i];
        if (seen > 0 && (double)seen >= share * (double)latency->total)
            return (double)MIN(end_of(i), latency->max_ns) / 1e6;
    }
    return (double)latency->max_ns / 1e6;
}
