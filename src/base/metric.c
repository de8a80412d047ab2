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

void metric_raise(Metric *metric, int64_t total)
{
    int64_t before = metric_value(metric);
    if (total > before) metric_add(metric, total - before);
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

/* What HELP and TYPE call it: OpenMetrics leaves out a counter's suffix there. */
static Str family_name(MetricFormat format, MetricKind kind, const char *name)
{
    Str family = str_from_cstr(name);
    Str suffix = STR("_total");
    bool cut = format == METRIC_OPENMETRICS && kind == METRIC_COUNTER;
    return cut && str_ends_with(family, suffix) ? str_slice(family, 0, family.len - suffix.len)
                                                : family;
}

/* Backslash and newline of the help are escaped, in OpenMetrics quotes too. */
static ErrCode print_help(Buf *out, MetricFormat format, const char *help, Err *err)
{
    for (const char *c = help; *c != '\0'; c++) {
        Str piece = str_of(c, 1);
        if (*c == '\\') piece = STR("\\\\");
        if (*c == '\n') piece = STR("\\n");
        if (*c == '"' && format == METRIC_OPENMETRICS) piece = STR("\\\"");
        TRY(buf_append_str(out, piece, err));
    }
    return OK;
}

ErrCode metric_print_head(Buf *out, MetricFormat format, MetricKind kind, const char *name,
                          const char *help, Err *err)
{
    static const char *const kinds[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    Str family = family_name(format, kind, name);
    TRY(buf_printf(out, err, "# HELP %.*s ", STR_ARG(family)));
    TRY(print_help(out, format, help, err));
    return buf_printf(out, err, "\n# TYPE %.*s %s\n", STR_ARG(family), kinds[kind]);
}

ErrCode metric_print_value(Buf *out, const char *name, const char *labels, double value, Err *err)
{
    TRY(buf_append_str(out, str_from_cstr(name), err));
    if (labels[0] != '\0') TRY(buf_printf(out, err, "{%s}", labels));
    TRY(buf_append_str(out, STR(" "), err));
    TRY(print_double(out, value, err));
    return buf_append_str(out, STR("\n"), err);
}

ErrCode metric_print_end(Buf *out, MetricFormat format, Err *err)
{
    return format == METRIC_OPENMETRICS ? buf_append_str(out, STR("# EOF\n"), err) : OK;
}

/* The bound of a bucket: OpenMetrics wants a point in it. */
static ErrCode print_bound(Buf *out, MetricFormat format, double bound, Err *err)
{
    size_t from = out->len;
    TRY(print_double(out, bound, err));
    Str text = str_slice(buf_str(out), from, out->len - from);
    bool whole = str_find_char(text, '.') == text.len && str_find_char(text, 'e') == text.len;
    return whole && format == METRIC_OPENMETRICS ? buf_append_str(out, STR(".0"), err) : OK;
}

static ErrCode print_histogram(Buf *out, MetricFormat format, const Metric *metric, Err *err)
{
    const char *comma = metric->labels[0] == '\0' ? "" : ",";
    const char *open = metric->labels[0] == '\0' ? "" : "{";
    const char *close = metric->labels[0] == '\0' ? "" : "}";
    uint64_t count = 0;
    for (size_t i = 0; i <= metric->bound_count; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        TRY(buf_printf(out, err, "%s_bucket{%s%sle=\"", metric->name, metric->labels, comma));
        if (i < metric->bound_count)
            TRY(print_bound(out, format, metric->bounds[i], err));
        else
            TRY(buf_append_str(out, STR("+Inf"), err));
        TRY(buf_printf(out, err, "\"} %" PRIu64 "\n", count));
    }
    TRY(buf_printf(out, err, "%s_sum%s%s%s ", metric->name, open, metric->labels, close));
    TRY(print_value(out, metric, err));
    return buf_printf(out, err, "\n%s_count%s%s%s %" PRIu64 "\n", metric->name, open,
                      metric->labels, close, count);
}

/* A sparse one that has observed nothing is left out. */
static bool is_shown(const Metric *metric)
{
    if (!metric->sparse) return true;
    for (size_t i = 0; i <= metric->bound_count; i++) {
        if (atomic_load_explicit(&metric->buckets[i], memory_order_relaxed) != 0) return true;
    }
    return false;
}

static ErrCode print_metric(Buf *out, MetricFormat format, const Metric *metric, Err *err)
{
    if (!is_shown(metric)) return OK;
    if (metric->kind == METRIC_HISTOGRAM) return print_histogram(out, format, metric, err);
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
static ErrCode print_all(Buf *out, MetricFormat format, Err *err)
{
    for (const Metric *first = list; first != NULL; first = first->next) {
        if (!is_first_of_name(first)) continue;
        TRY(metric_print_head(out, format, first->kind, first->name, first->help, err));
        for (const Metric *metric = first; metric != NULL; metric = metric->next) {
            if (strcmp(metric->name, first->name) == 0) TRY(print_metric(out, format, metric, err));
        }
    }
    return OK;
}

ErrCode metric_print(Buf *out, MetricFormat format, Err *err)
{
    size_t len_before = out->len;
    lock_take(&list_lock);
    ErrCode code = print_all(out, format, err);
    lock_give(&list_lock);
    if (code != OK) out->len = len_before;
    return code;
}
