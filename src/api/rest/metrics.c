/* Metrics of the REST door, and /metrics. Label sets are bounded: operations, statuses, codes of
 * errors, storage roots, and the first BUCKETS_MAX buckets; no names of files or keys. */
#include "api/rest/rest_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/metric.h"
#include "base/process.h"
#include "store/cache.h"

#define METRICS_MAX (4 * MIB) /* bytes of an answer */
#define LABEL_MAX 64
#define BUCKETS_MAX 100    /* that have a label of their own; those behind them share one */
#define BUCKETS_READ 10000 /* no more are summed up */

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

/* OpenTelemetry's, of http.server.request.duration. */
static const double seconds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
                                 0.5,   0.75, 1,     2.5,  5,     7.5, 10};

/* Every status that the table of routes knows; the last place is for what it does not. */
static const int statuses[] = {200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 411,
                               412, 413, 414, 416, 422, 429, 431, 500, 501, 502, 503, 507};
#define STATUS_COUNT (ARRAY_LEN(statuses) + 1)

typedef struct {
    Metric metric;
    char labels[LABEL_MAX];
} Labelled;

static Labelled durations[REST_OP_COUNT][STATUS_COUNT];
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
static Metric ready = {.kind = METRIC_GAUGE,
                       .name = "holdfast_ready",
                       .help = "1 if the server serves files.",
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
    out->metric.sparse = kind == METRIC_HISTOGRAM;
    metric_register(&out->metric);
}

static void register_op(RestOp op)
{
    for (size_t i = 0; i < STATUS_COUNT; i++) {
        char value[LABEL_MAX];
        char status[12] = "other";
        if (i < ARRAY_LEN(statuses)) snprintf(status, sizeof status, "%d", statuses[i]);
        snprintf(value, sizeof value, "%s\",code=\"%s", op_names[op], status);
        add(&durations[op][i], METRIC_HISTOGRAM, "http_server_request_duration_seconds",
            "Time from a request's head to the end of its answer.", "op", value);
    }
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
    Metric *single[] = {&in_flight, &unapplied, &ready, &build};
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

static size_t status_index(int status)
{
    size_t i = 0;
    while (i < ARRAY_LEN(statuses) && statuses[i] != status)
        i++;
    return i;
}

void rest_metrics_end(const RestCall *call, uint64_t ns)
{
    RestOp op = call->route->op;
    metric_add(&in_flight, -1);
    metric_observe(&durations[op][status_index(call->status)].metric, ns);
    if (call->code != OK) metric_add(&errors[call->code].metric, 1);
    metric_add(&bytes_in[op].metric, (int64_t)call->bytes_in);
    metric_add(&bytes_out[op].metric, (int64_t)call->bytes_out);
}

/* --- values that are looked up for each answer --- */

typedef struct {
    const char *name;
    MetricKind kind;
    const char *help;
    double value;
} Reading;

/* All with the same labels. */
static ErrCode print_readings(Buf *out, MetricFormat format, const Reading *readings, size_t count,
                              const char *labels, Err *err)
{
    for (size_t i = 0; i < count; i++) {
        const Reading *r = &readings[i];
        TRY(metric_print_head(out, format, r->kind, r->name, r->help, err));
        TRY(metric_print_value(out, r->name, labels, r->value, err));
    }
    return OK;
}

/* As the libraries of Prometheus name them. */
static ErrCode print_process(Buf *out, MetricFormat format, const Rest *rest, Err *err)
{
    ProcessUse use;
    process_use(&use);
    const Reading readings[] = {
        {"process_cpu_seconds_total", METRIC_COUNTER, "CPU time of the process.", use.cpu_seconds},
        {"process_resident_memory_bytes", METRIC_GAUGE, "Memory in use.",
         (double)use.resident_bytes},
        {"process_virtual_memory_bytes", METRIC_GAUGE, "Addresses in use.",
         (double)use.virtual_bytes},
        {"process_threads", METRIC_GAUGE, "Threads.", (double)use.threads},
        {"process_open_fds", METRIC_GAUGE, "Open descriptors.", (double)use.descriptors},
        {"process_max_fds", METRIC_GAUGE, "Descriptors there may be.", (double)use.descriptors_max},
        {"process_start_time_seconds", METRIC_GAUGE, "When it started, in seconds since 1970.",
         (double)rest->started_ms / 1000},
        {"holdfast_replay_records", METRIC_GAUGE, "Records of the log read at start.",
         (double)atomic_load(&rest->records)},
        {"holdfast_replay_bytes", METRIC_GAUGE, "Bytes of the log read at start.",
         (double)atomic_load(&rest->bytes)},
    };
    return print_readings(out, format, readings, ARRAY_LEN(readings), "", err);
}

static ErrCode print_root(Buf *out, MetricFormat format, Service *service,
                          const StoreStatus *status, Err *err)
{
    Store *store = service_store(service);
    char uuid[37];
    char labels[64];
    uuid_text(store_root(store)->uuid, uuid);
    snprintf(labels, sizeof labels, "root=\"%s\"", uuid);
    const Reading readings[] = {
        {"holdfast_storage_size_bytes", METRIC_GAUGE, "Bytes of the root's file system.",
         (double)status->disk_total},
        {"holdfast_storage_free_bytes", METRIC_GAUGE, "Bytes free in the root's file system.",
         (double)status->disk_free},
        {"holdfast_storage_used_bytes", METRIC_GAUGE, "Bytes in use in the root's file system.",
         (double)(status->disk_total - MIN(status->disk_free, status->disk_total))},
        {"holdfast_storage_failed", METRIC_GAUGE, "1 if the root takes no more writes.",
         status->failed ? 1 : 0},
        {"holdfast_storage_full", METRIC_GAUGE, "1 while uploads are refused for want of space.",
         service_full(service) ? 1 : 0},
        {"holdfast_index_bytes", METRIC_GAUGE, "Bytes of the root's index.",
         (double)(status->index.file_bytes + status->index.wal_bytes)},
        {"holdfast_wal_kept_bytes", METRIC_GAUGE, "Bytes of the log's kept segments.",
         (double)status->wal.segment_bytes},
        {"holdfast_wal_syncs_total", METRIC_COUNTER, "Syncs of the log.",
         (double)status->wal.syncs},
        {"holdfast_applied_records_total", METRIC_COUNTER,
         "Records that came into packs and index.", (double)status->applied},
    };
    return print_readings(out, format, readings, ARRAY_LEN(readings), labels, err);
}

typedef struct {
    char name[BUCKET_NAME_MAX + 1];
    BucketStatRow stat;
} BucketUse;

/* The first buckets by name; those behind them are summed up in the last place, "_other", which is
 * no bucket's name. The number of places. */
static size_t read_buckets(Buckets *buckets, BucketUse *out)
{
    BucketRecord record;
    char name[BUCKET_NAME_MAX + 1] = "";
    size_t count = 0;
    for (size_t i = 0; i < BUCKETS_READ; i++) {
        BucketStatRow stat;
        char next[BUCKET_NAME_MAX + 1];
        if (!buckets_next(buckets, str_from_cstr(name), next, &record)) break;
        buckets_usage(buckets, record.uid, &stat);
        memcpy(name, next, sizeof name);
        BucketUse *place = &out[MIN(i, (size_t)BUCKETS_MAX)];
        if (i <= BUCKETS_MAX) count = i + 1;
        snprintf(place->name, sizeof place->name, "%s", i < BUCKETS_MAX ? name : "_other");
        place->stat.files += stat.files;
        place->stat.bytes += stat.bytes;
    }
    return count;
}

static ErrCode print_buckets(Buckets *buckets, Buf *out, MetricFormat format, Err *err)
{
    static const char *const names[] = {"holdfast_bucket_files", "holdfast_bucket_bytes"};
    static const char *const helps[] = {"Files of the bucket.", "Bytes of the bucket's files."};
    void *memory = NULL;
    TRY(mem_take((BUCKETS_MAX + 1) * sizeof(BucketUse), &memory, err));
    AUTO(void, mem_free) owned = memory;
    BucketUse *uses = memset(owned, 0, (BUCKETS_MAX + 1) * sizeof(BucketUse));
    size_t count = read_buckets(buckets, uses);
    for (size_t m = 0; m < ARRAY_LEN(names); m++) {
        TRY(metric_print_head(out, format, METRIC_GAUGE, names[m], helps[m], err));
        for (size_t i = 0; i < count; i++) {
            char labels[BUCKET_NAME_MAX + 16];
            snprintf(labels, sizeof labels, "bucket=\"%s\"", uses[i].name);
            uint64_t value = m == 0 ? uses[i].stat.files : uses[i].stat.bytes;
            TRY(metric_print_value(out, names[m], labels, (double)value, err));
        }
    }
    return OK;
}

/* --- /metrics --- */

/* Open to all but for what buckets are called and hold; a key that is shown must be one for that.
 */
static ErrCode identify(RestCall *call, Err *err)
{
    if (http_request_header(call->req, STR("authorization")).ptr == NULL) return OK;
    TRY(rest_identify(call, err));
    return auth_allows(&call->identity, RIGHT_ADMIN, err);
}

static ErrCode print_all(RestCall *call, Buf *out, MetricFormat format, Err *err)
{
    Rest *rest = call->rest;
    Service *service = atomic_load_explicit(&rest->service, memory_order_acquire);
    bool serves = service != NULL && service_ready(service);
    StoreStatus status;
    metric_set(&ready, serves ? 1 : 0);
    if (service != NULL) {
        store_status(service_store(service), &status);
        metric_set(&unapplied, (int64_t)status.unapplied);
    }
    TRY(metric_print(out, format, err));
    TRY(print_process(out, format, rest, err));
    if (service != NULL) TRY(print_root(out, format, service, &status, err));
    if (serves && (call->identity.rights & RIGHT_ADMIN) != 0)
        TRY(print_buckets(service_buckets(service), out, format, err));
    return metric_print_end(out, format, err);
}

/* Prometheus names what it would like in Accept. */
static MetricFormat wanted_format(RestCall *call)
{
    Str accept = http_request_header(call->req, STR("accept"));
    Str wanted = STR("application/openmetrics-text");
    for (size_t i = 0; i + wanted.len <= accept.len; i++) {
        if (str_eq_nocase(str_slice(accept, i, wanted.len), wanted)) return METRIC_OPENMETRICS;
    }
    return METRIC_TEXT;
}

void rest_metrics(RestCall *call)
{
    static const char *const types[] = {
        [METRIC_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
        [METRIC_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8"};
    Err err = {0};
    AUTO_BUF(body, METRICS_MAX);
    MetricFormat format = wanted_format(call);
    ErrCode code = identify(call, &err);
    if (code == OK) code = print_all(call, &body, format, &err);
    if (code != OK) {
        rest_answer_error(call, code, &err);
        return;
    }
    call->status = 200;
    call->bytes_out = body.len;
    http_header_add(call->req, "Content-Type", str_from_cstr(types[format]));
    http_header_add(call->req, "Vary", STR("Accept"));
    http_respond_buf(call->req, 200, &body);
}
