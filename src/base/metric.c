#include "base/metric.h"

#include "base/lock.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static Lock list_lock = LOCK_INIT(LOCK_RANK_METRIC);
static Metric *list; /* in order of registration */

void metric_register(Metric *metric)
{
    ASSERT(metric->name != NULL && metric->help != NULL && metric->labels != NULL);
    ASSERT(metric->bound_count <= METRIC_BUCKETS_MAX);
    ASSERT(metric->kind == METRIC_HISTOGRAM || metric->bound_count == 0);
    for (size_t i = 1; i < metric->bound_count; i++) {
        ASSERT(metric->bounds[i - 1] < metric->bounds[i]);
    }
    lock_take(&list_lock);
    Metric **end = &list;
    for (; *end != NULL; end = &(*end)->next) {
        ASSERT(*end != metric);
        if (strcmp((*end)->name, metric->name) != 0) continue;
        ASSERT((*end)->kind == metric->kind);
        ASSERT(strcmp((*end)->labels, metric->labels) != 0 && "one metric, one place");
    }
    metric->next = NULL;
    *end = metric;
    lock_give(&list_lock);
}

void metric_unregister_all(void)
{
    lock_take(&list_lock);
    list = NULL;
    lock_give(&list_lock);
}

/* Relaxed: each number is true by itself; nothing else is inferred from it. */
void metric_add(Metric *metric, int64_t delta)
{
    ASSERT(metric->kind != METRIC_HISTOGRAM && (metric->kind == METRIC_GAUGE || delta >= 0));
    atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

void metric_set(Metric *metric, int64_t value)
{
    ASSERT(metric->kind == METRIC_GAUGE);
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

static double metric_scale(const Metric *metric)
{
    return fpclassify(metric->scale) == FP_ZERO ? 1 : metric->scale;
}

void metric_observe(Metric *metric, uint64_t value)
{
    ASSERT(metric->kind == METRIC_HISTOGRAM);
    /* 1000 ns are not more than 1e-06 s, though 1000 * 1e-9 is, by one bit. */
    double in_unit = (double)value * metric_scale(metric) * (1 - 1e-12);
    size_t at = 0;
    while (at < metric->bound_count && in_unit > metric->bounds[at])
        at++;
    atomic_fetch_add_explicit(&metric->buckets[at], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->value, (int64_t)value, memory_order_relaxed);
}

int64_t metric_value(const Metric *metric)
{
    return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

/* 15 digits: what every double holds, so that 0.005 is not 0.0050000000000000001. */
static ErrCode print_double(Buf *out, double value, Err *err)
{
    return buf_printf(out, err, "%.15g", value);
}

/* The metric's value or sum in its unit: whole where the scale is 1. */
static ErrCode print_value(Buf *out, const Metric *metric, Err *err)
{
    int64_t value = metric_value(metric);
    if (fpclassify(metric->scale) == FP_ZERO) return buf_printf(out, err, "%" PRId64, value);
    return print_double(out, (double)value * metric->scale, err);
}

/* HELP text: backslash and newline are escaped. */
static ErrCode print_help(Buf *out, const Metric *metric, Err *err)
{
    static const char *const kinds[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    TRY(buf_printf(out, err, "# HELP %s ", metric->name));
    for (const char *c = metric->help; *c != '\0'; c++) {
        Str piece = str_of(c, 1);
        if (*c == '\\') piece = STR("\\\\");
        if (*c == '\n') piece = STR("\\n");
        TRY(buf_append_str(out, piece, err));
    }
    return buf_printf(out, err, "\n# TYPE %s %s\n", metric->name, kinds[metric->kind]);
}

static ErrCode print_histogram(Buf *out, const Metric *metric, Err *err)
{
    const char *comma = metric->labels[0] == '\0' ? "" : ",";
    const char *open = metric->labels[0] == '\0' ? "" : "{";
    const char *close = metric->labels[0] == '\0' ? "" : "}";
    uint64_t count = 0;
    for (size_t i = 0; i <= metric->bound_count; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        TRY(buf_printf(out, err, "%s_bucket{%s%sle=\"", metric->name, metric->labels, comma));
        if (i < metric->bound_count)
            TRY(print_double(out, metric->bounds[i], err));
        else
            TRY(buf_append_str(out, STR("+Inf"), err));
        TRY(buf_printf(out, err, "\"} %" PRIu64 "\n", count));
    }
    TRY(buf_printf(out, err, "%s_sum%s%s%s ", metric->name, open, metric->labels, close));
    TRY(print_value(out, metric, err));
    return buf_printf(out, err, "\n%s_count%s%s%s %" PRIu64 "\n", metric->name, open,
                      metric->labels, close, count);
}

static ErrCode print_metric(Buf *out, const Metric *metric, Err *err)
{
    if (metric->kind == METRIC_HISTOGRAM) return print_histogram(out, metric, err);
    TRY(buf_append_str(out, str_from_cstr(metric->name), err));
    if (metric->labels[0] != '\0') TRY(buf_printf(out, err, "{%s}", metric->labels));
    TRY(buf_append_str(out, STR(" "), err));
    TRY(print_value(out, metric, err));
    return buf_append_str(out, STR("\n"), err);
}

static bool is_first_of_name(const Metric *metric)
{
    const Metric *other = list;
    while (strcmp(other->name, metric->name) != 0)
        other = other->next;
    return other == metric;
}

/* Under the lock. Metrics of one name stand together, where the first of them stands. */
static ErrCode print_all(Buf *out, Err *err)
{
    for (const Metric *first = list; first != NULL; first = first->next) {
        if (!is_first_of_name(first)) continue;
        TRY(print_help(out, first, err));
        for (const Metric *metric = first; metric != NULL; metric = metric->next) {
            if (strcmp(metric->name, first->name) == 0) TRY(print_metric(out, metric, err));
        }
    }
    return OK;
}

ErrCode metric_print(Buf *out, Err *err)
{
    size_t len_before = out->len;
    lock_take(&list_lock);
    ErrCode code = print_all(out, err);
    lock_give(&list_lock);
    if (code != OK) out->len = len_before;
    return code;
}
