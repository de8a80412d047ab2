/* Counters, gauges and histograms that any thread bumps without a lock, and that /metrics prints.
 * A metric is a static object; metric_register() once puts it into the list. Names follow
 * Prometheus; labels are fixed text such as `door="rest",op="put",code="201"`. */
#ifndef HOLDFAST_BASE_METRIC_H
#define HOLDFAST_BASE_METRIC_H

#include "base/buf.h"
#include <stdatomic.h>

#define METRIC_BUCKETS_MAX 24

typedef enum { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM } MetricKind;

typedef struct Metric Metric;
struct Metric {
    MetricKind kind;
    const char *name;      /* holdfast_… with unit last, counters end in _total */
    const char *help;      /* one sentence */
    const char *labels;    /* "" or fixed text between the braces */
    const double *bounds;  /* histogram: upper bounds, rising, in the metric's unit */
    size_t bound_count;    /* ≤ METRIC_BUCKETS_MAX */
    double scale;          /* what is observed times scale is the metric's unit; 0 means 1 */
    _Atomic int64_t value; /* counter, gauge; histogram: sum of what was observed */
    _Atomic uint64_t buckets[METRIC_BUCKETS_MAX + 1];
    Metric *next;
};

/* The list owns nothing: metric must live for ever (static) or until metric_unregister_all(). */
void metric_register(Metric *metric);
void metric_unregister_all(void); /* tests */
void metric_add(Metric *metric, int64_t delta);
void metric_set(Metric *metric, int64_t value);
/* value in the unit of observation, e.g. nanoseconds with scale 1e-9. */
void metric_observe(Metric *metric, uint64_t value);
int64_t metric_value(const Metric *metric);
/* Prometheus text format 0.0.4 of all, grouped by name, HELP and TYPE once each. */
MUST_USE ErrCode metric_print(Buf *out, Err *err);

#endif
