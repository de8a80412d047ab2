/* Metrics of requests, the same for every door: durations by operation and status, errors by code,
 * bytes, and what is under way. One set a door, for the life of the process; any thread. */
#ifndef HOLDFAST_API_DOOR_METRICS_H
#define HOLDFAST_API_DOOR_METRICS_H

#include "base/err.h"
#include "base/metric.h"

typedef struct DoorMetrics DoorMetrics;

/* door: value of the label; ops: names of the operations by number. Both static text. Makes them
 * and puts them into the list of metrics. Once a door. */
DoorMetrics *door_metrics_new(const char *door, const char *const *ops, size_t op_count);
void door_metrics_begin(DoorMetrics *metrics);
/* A request of begin() ended: status and code as answered. */
typedef struct {
    size_t op;
    int status;
    ErrCode code;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t ns;
} DoorRequest;
void door_metrics_end(DoorMetrics *metrics, const DoorRequest *request);
int64_t door_metrics_in_flight(const DoorMetrics *metrics);

#endif
