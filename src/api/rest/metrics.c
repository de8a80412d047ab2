/* Metrics of the REST door, and /metrics. Label sets are fixed: operations, classes of status,
 * codes of errors; no names of buckets, files or keys. */
#include "api/rest/rest_priv.h"

#include <stdio.h>

#include "base/metric.h"
#include "store/cache.h"

#define METRICS_MAX (4 * MIB) /* bytes of an answer */
#define LABEL_MAX 64
#define CLASSES 4 /* 2xx..5xx */

static const char *const op_names[REST_OP_COUNT] = {
    [REST_OP_NONE] = "none",
    [REST_OP_PUT] = "put",
    [REST_OP_POST] = "post",
    [REST_OP_GET] = "get",
    [REST_OP_HEAD] = "head",
    [REST_OP_DELETE] = "delete",
    [REST_OP_DELETE_MANY] = "delete_many",
    [REST_OP_LIST] = "list",
    [REST_OP_BUCKET_PUT] = "bucket_put",
    [REST_OP_BUCKET_GET] = "bucket_get",
    [REST_OP_BUCKET_DELETE] = "bucket_delete",
    [REST_OP_BUCKET_LIST] = "bucket_list",
    [REST_OP_ADMIN] = "admin",
    [REST_OP_HEALTH] = "health",
    [REST_OP_METRICS] = "metrics",
    [REST_OP_DOCS] = "docs",
};

static const double seconds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                 0.1,    0.25,    0.5,    1,     2.5,    5,     10,   60};

typedef struct {
    Metric metric;
    char labels[LABEL_MAX];
} Labelled;

static Labelled requests[REST_OP_COUNT][CLASSES];
static Labelled durations[REST_OP_COUNT];
static Labelled errors[ERR_CODE_COUNT];
static Labelled bytes_in[REST_OP_COUNT];
static Labelled bytes_out[REST_OP_COUNT];

static Metric in_flight = {.kind = METRIC_GAUGE,
                           .name = "holdfast_requests_in_flight",
                           .help = "Requests that are being answered.",
                           .labels = "door=\"rest\""};
static Metric unapplied = {.kind = METRIC_GAUGE,
                           .name = "holdfast_unapplied_records",
                           .help = "Committed records that are not in packs and index yet.",
                           .labels = ""};
static Metric free_bytes = {.kind = METRIC_GAUGE,
                            .name = "holdfast_disk_free_bytes",
                            .help = "Bytes free in the file system of the data directory.",
                            .labels = ""};
static Metric total_bytes = {.kind = METRIC_GAUGE,
                             .name = "holdfast_disk_size_bytes",
                             .help = "Bytes of the file system of the data directory.",
                             .labels = ""};
static Metric ready = {.kind = METRIC_GAUGE,
                       .name = "holdfast_ready",
                       .help = "1 if the server serves files.",
                       .labels = ""};
static Metric started = {.kind = METRIC_GAUGE,
                         .name = "holdfast_start_time_seconds",
                         .help = "When the server started, in seconds since 1970.",
                         .labels = ""};
static Metric build = {.kind = METRIC_GAUGE,
                       .name = "holdfast_build_info",
                       .help = "1; its label says which version this is.",
                       .labels = "version=\"" HOLDFAST_VERSION "\""};

static void add(Labelled *out, MetricKind kind, const char *name, const char *help,
                const char *label, const char *value)
{
    int len = snprintf(out->labels, sizeof out->labels, "door=\"rest\",%s=\"%s\"", label, value);
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
    metric_register(&out->metric);
}

static void register_op(RestOp op)
{
    for (int class = 0; class < CLASSES; class ++) {
        Labelled *m = &requests[op][class];
        char value[LABEL_MAX];
        snprintf(value, sizeof value, "%s\",status=\"%dxx", op_names[op], class + 2);
        add(m, METRIC_COUNTER, "holdfast_requests_total", "Requests answered.", "op", value);
    }
    add(&durations[op], METRIC_HISTOGRAM, "holdfast_request_duration_seconds",
        "Time from a request's head to the end of its answer.", "op", op_names[op]);
    add(&bytes_in[op], METRIC_COUNTER, "holdfast_request_body_bytes_total",
        "Bytes of contents taken.", "op", op_names[op]);
    add(&bytes_out[op], METRIC_COUNTER, "holdfast_response_body_bytes_total",
        "Bytes of answers given.", "op", op_names[op]);
}

void rest_metrics_register(void)
{
    static atomic_flag registered = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&registered)) return;
    download_metrics_register();
    cache_metrics_register();
    for (int op = 0; op < REST_OP_COUNT; op++)
        register_op((RestOp)op);
    for (int code = 1; code < ERR_CODE_COUNT; code++) {
        add(&errors[code], METRIC_COUNTER, "holdfast_errors_total", "Requests refused or failed.",
            "code", err_info((ErrCode)code)->slug);
    }
    Metric *single[] = {&in_flight, &unapplied, &free_bytes, &total_bytes,
                        &ready,     &started,   &build};
    for (size_t i = 0; i < ARRAY_LEN(single); i++)
        metric_register(single[i]);
    metric_set(&build, 1);
}

int64_t rest_in_flight(void)
{
    return metric_value(&in_flight);
}

void rest_metrics_begin(void)
{
    metric_add(&in_flight, 1);
}

void rest_metrics_end(const RestCall *call, uint64_t ns)
{
    RestOp op = call->route->op;
    metric_add(&in_flight, -1);
    metric_observe(&durations[op].metric, ns);
    if (call->status >= 200 && call->status < 600) {
        /* 304 counts as 3xx. */
        metric_add(&requests[op][call->status / 100 - 2].metric, 1);
    }
    if (call->code != OK) metric_add(&errors[call->code].metric, 1);
    metric_add(&bytes_in[op].metric, (int64_t)call->bytes_in);
    metric_add(&bytes_out[op].metric, (int64_t)call->bytes_out);
}

static void look(Rest *rest)
{
    Service *service = atomic_load_explicit(&rest->service, memory_order_acquire);
    metric_set(&started, (int64_t)(rest->started_ms / 1000));
    metric_set(&ready, service != NULL && service_ready(service) ? 1 : 0);
    if (service == NULL) return;
    StoreStatus status;
    store_status(service_store(service), &status);
    metric_set(&unapplied, (int64_t)status.unapplied);
    metric_set(&free_bytes, (int64_t)status.disk_free);
    metric_set(&total_bytes, (int64_t)status.disk_total);
}

void rest_metrics(RestCall *call)
{
    Err err = {0};
    AUTO_BUF(body, METRICS_MAX);
    look(call->rest);
    ErrCode code = metric_print(&body, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    call->status = 200;
    call->bytes_out = body.len;
    http_header_add(call->req, "Content-Type", STR("text/plain; version=0.0.4; charset=utf-8"));
    http_respond_buf(call->req, 200, &body);
}
