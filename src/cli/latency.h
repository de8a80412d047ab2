/* Latency: how long requests took, in a histogram with steps of 3 %. Fixed size. Pure. */
#ifndef HOLDFAST_CLI_LATENCY_H
#define HOLDFAST_CLI_LATENCY_H

#include "base/check.h"

#define LATENCY_STEPS 32 /* per power of two */

typedef struct {
    uint64_t counts[64 * LATENCY_STEPS];
    uint64_t total; /* requests */
    uint64_t max_ns;
} Latency;

void latency_add(Latency *latency, uint64_t ns);
/* The time in milliseconds that share (0..1) of all did not exceed, at most 3 % too long; 0 if
 * there are none. */
double latency_ms(const Latency *latency, double share);

#endif
