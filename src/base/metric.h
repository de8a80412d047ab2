/* Counters, gauges and histograms that any thread bumps without a lock, and that /metrics prints.
 * A metric is a static object; metric_register() once puts it into the list. Names follow
 * Prometheus; labels are fixed text such as `door="rest",op="put",code="201"`. */
#ifndef HOLDFAST_BASE_METRIC_H
#define HOLDFAST_BASE_METRIC_H

#include "base/buf.h"
#include <stdatomic.h>

#define METRIC_BUCKETS_MAX 24

typedef enum { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM } MetricKind;
typedef enum {
    METRIC_TEXT,       /* Prometheus text format 0.0.4 */
    METRIC_OPENMETRICS /* OpenMetrics 1.0 */
} MetricFormat;

typedef struct Metric Metric;
struct Metric {
    MetricKind kind;
    const char *name;      /* holdfast_… with unit last, counters end in _total */
    const char *help;      /* one sentence */
    const char *labels;    /* "" or fixed text between the braces */
    const double *bounds;  /* histogram: upper bounds, rising, in the metric's unit */
    size_t bound_count;    /* ≤ METRIC_BUCKETS_MAX */
    bool sparse;           /* histogram: not printed before it has observed something */
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
/* Raises a counter to total, which somebody else counts; a total below it is passed over. One
 * thread a metric. */
void metric_raise(Metric *metric, int64_t total);
/* value in the unit of observation, e.g. nanoseconds with scale 1e-9. */
void metric_observe(Metric *metric, uint64_t value);
int64_t metric_value(const Metric *metric);
/* All of them, grouped by name, HELP and TYPE once each. A caller that has values of its own adds
 * them behind, and ends the whole by metric_print_end(). On failure out is as before. */
MUST_USE ErrCode metric_print(Buf *out, MetricFormat format, Err *err);
/* HELP and TYPE of values that follow; a counter's name ends in _total. */
MUST_USE ErrCode metric_print_head(Buf *out, MetricFormat format, MetricKind kind, const char *name,
                                   const char *help, Err *err);
/* labels: between the braces; "" is none. */
MUST_USE ErrCode metric_print_value(Buf *out, const char *name, const char *labels, double value,
                                    Err *err);
MUST_USE ErrCode metric_print_end(Buf *out, MetricFormat format, Err *err);

#endif
