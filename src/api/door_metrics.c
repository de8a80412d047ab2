#include "api/door_metrics.h"

#include <stdio.h>

#include "base/mem.h"

#define LABEL_MAX 64

/* OpenTelemetry's, of http.server.request.duration. */
static const double seconds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
                                 0.5,   0.75, 1,     2.5,  5,     7.5, 10};

/* Every status that a door answers with; the last place is for what is not among them. */
static const int statuses[] = {200, 201, 204, 206, 304, 400, 401, 403, 404, 405,
                               408, 409, 410, 411, 412, 413, 414, 415, 416, 422,
                               429, 431, 460, 500, 501, 502, 503, 507};
#define STATUS_COUNT (ARRAY_LEN(statuses) + 1)

typedef struct {
    Metric metric;
    char labels[LABEL_MAX];
} Labelled;

typedef struct {
    Labelled durations[STATUS_COUNT];
    Labelled bytes_in;
    Labelled bytes_out;
} OpMetrics;

struct DoorMetrics {
    const char *door;
    size_t op_count;
    Labelled in_flight;
    Labelled errors[ERR_CODE_COUNT];
    OpMetrics ops[];
};

static void add(const DoorMetrics *metrics, Labelled *out, MetricKind kind, const char *name,
                const char *help, const char *more)
{
    int len = snprintf(out->labels, sizeof out->labels, "door=\"%s\"%s", metrics->door, more);
    ASSERT(len > 0 && (size_t)len < sizeof out->labels);
    out->metric.kind = kind;
    out->metric.name = name;
    out->metric.help = help;
    out->metric.labels = out->labels;
    if (kind == METRIC_HISTOGRAM) {
        out->metric.bounds = seconds;
        out->metric.bound_count = ARRAY_LEN(seconds);
        out->metric.scale = 1e-9;
    }
    out->metric.sparse = kind == METRIC_HISTOGRAM;
    metric_register(&out->metric);
}

static void register_op(DoorMetrics *metrics, OpMetrics *op, const char *name)
{
    char more[LABEL_MAX];
    for (size_t i = 0; i < STATUS_COUNT; i++) {
        char status[12] = "other";
        if (i < ARRAY_LEN(statuses)) snprintf(status, sizeof status, "%d", statuses[i]);
        snprintf(more, sizeof more, ",op=\"%s\",code=\"%s\"", name, status);
        add(metrics, &op->durations[i], METRIC_HISTOGRAM, "http_server_request_duration_seconds",
            "Time from a request's head to the end of its answer.", more);
    }
    snprintf(more, sizeof more, ",op=\"%s\"", name);
    add(metrics, &op->bytes_in, METRIC_COUNTER, "holdfast_request_body_bytes_total",
        "Bytes of contents taken.", more);
    add(metrics, &op->bytes_out, METRIC_COUNTER, "holdfast_response_body_bytes_total",
        "Bytes of answers given.", more);
}

DoorMetrics *door_metrics_new(const char *door, const char *const *ops, size_t op_count)
{
    DoorMetrics *metrics = mem_new(sizeof *metrics + op_count * sizeof metrics->ops[0]);
    char more[LABEL_MAX];
    metrics->door = door;
    metrics->op_count = op_count;
    for (size_t i = 0; i < op_count; i++)
        register_op(metrics, &metrics->ops[i], ops[i]);
    for (int code = 1; code < ERR_CODE_COUNT; code++) {
        snprintf(more, sizeof more, ",code=\"%s\"", err_info((ErrCode)code)->slug);
        add(metrics, &metrics->errors[code], METRIC_COUNTER, "holdfast_errors_total",
            "Requests refused or failed.", more);
    }
    add(metrics, &metrics->in_flight, METRIC_GAUGE, "holdfast_requests_in_flight",
        "Requests that are being answered.", "");
    return metrics;
}

void door_metrics_begin(DoorMetrics *metrics)
{
    metric_add(&metrics->in_flight.metric, 1);
}

int64_t door_metrics_in_flight(const DoorMetrics *metrics)
{
    return metric_value(&metrics->in_flight.metric);
}

void door_metrics_end(DoorMetrics *metrics, const DoorRequest *request)
{
    ASSERT(request->op < metrics->op_count && request->code < ERR_CODE_COUNT);
    OpMetrics *op = &metrics->ops[request->op];
    size_t i = 0;
    while (i < ARRAY_LEN(statuses) && statuses[i] != request->status)
        i++;
    metric_add(&metrics->in_flight.metric, -1);
    metric_observe(&op->durations[i].metric, request->ns);
    if (request->code != OK) metric_add(&metrics->errors[request->code].metric, 1);
    metric_add(&op->bytes_in.metric, (int64_t)request->bytes_in);
    metric_add(&op->bytes_out.metric, (int64_t)request->bytes_out);
}
