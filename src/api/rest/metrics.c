/* Metrics of the REST door, and /metrics. Label sets are bounded: operations, statuses, codes of
 * errors, storage roots, and the first BUCKETS_MAX buckets; no names of files or keys. */
#include "api/rest/rest_priv.h"

#include <stdio.h>
#include <string.h>

#include "api/door_metrics.h"
#include "base/metric.h"
#include "base/process.h"
#include "service/uploads.h"
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
    [REST_OP_UPLOAD_CREATE] = "upload_create",
    [REST_OP_UPLOAD_HEAD] = "upload_head",
    [REST_OP_UPLOAD_PATCH] = "upload_patch",
    [REST_OP_UPLOAD_DELETE] = "upload_delete",
    [REST_OP_KEY_CREATE] = "key_create",
    [REST_OP_KEY_REVOKE] = "key_revoke",
    [REST_OP_CLASS_SET] = "class_set",
    [REST_OP_ADMIN] = "admin",
    [REST_OP_HEALTH] = "health",
    [REST_OP_METRICS] = "metrics",
    [REST_OP_DOCS] = "docs",
};

const char *rest_op_name(RestOp op)
{
    return op_names[op];
}

static DoorMetrics *door; /* set once, before requests come */

static Metric unapplied = {.kind = METRIC_GAUGE,
                           .name = "holdfast_unapplied_records",
                           .help = "Committed records that are not in packs and index yet.",
                           .labels = ""};
static Metric ready = {.kind = METRIC_GAUGE,
                       .name = "holdfast_ready",
                       .help = "1 if the server serves files.",
                       .labels = ""};
static Metric uploads_open = {.kind = METRIC_GAUGE,
                              .name = "holdfast_uploads_open",
                              .help = "Resumable uploads that go on.",
                              .labels = ""};
static Metric uploads_bytes = {.kind = METRIC_GAUGE,
                               .name = "holdfast_uploads_bytes",
                               .help = "Bytes kept of resumable uploads that go on.",
                               .labels = ""};
static Metric build = {.kind = METRIC_GAUGE,
                       .name = "holdfast_build_info",
                       .help = "1; its label says which version this is.",
                       .labels = "version=\"" HOLDFAST_VERSION "\""};

void rest_metrics_register(void)
{
    static atomic_flag registered = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&registered)) return;
    download_metrics_register();
    cache_metrics_register();
    door = door_metrics_new("rest", op_names, REST_OP_COUNT);
    Metric *single[] = {&unapplied, &ready, &uploads_open, &uploads_bytes, &build};
    for (size_t i = 0; i < ARRAY_LEN(single); i++)
        metric_register(single[i]);
    metric_set(&build, 1);
}

int64_t rest_in_flight(void)
{
    return door_metrics_in_flight(door);
}

void rest_metrics_begin(void)
{
    door_metrics_begin(door);
}

void rest_metrics_end(const RestCall *call, uint64_t ns)
{
    DoorRequest request = {.op = call->route->op,
                           .status = call->status,
                           .code = call->code,
                           .bytes_in = call->bytes_in,
                           .bytes_out = call->bytes_out,
                           .ns = ns};
    door_metrics_end(door, &request);
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

/* What is told of each root, for each name in turn. */
typedef struct {
    const char *name;
    MetricKind kind;
    const char *help;
    double values[ENGINE_ROOTS_MAX];
} RootReading;

static ErrCode print_root_readings(Buf *out, MetricFormat format, const RootReading *readings,
                                   size_t count, const RestRoot *roots, size_t root_count, Err *err)
{
    for (size_t i = 0; i < count; i++) {
        const RootReading *r = &readings[i];
        TRY(metric_print_head(out, format, r->kind, r->name, r->help, err));
        for (size_t k = 0; k < root_count; k++) {
            char uuid[37];
            char labels[64];
            uuid_text(store_root(roots[k].store)->uuid, uuid);
            snprintf(labels, sizeof labels, "root=\"%s\"", uuid);
            TRY(metric_print_value(out, r->name, labels, r->values[k], err));
        }
    }
    return OK;
}

static void read_root(RootReading *r, size_t k, const RestRoot *root, bool full)
{
    StoreStatus status;
    store_status(root->store, &status);
    size_t i = 0;
    r[i++].values[k] = (double)status.disk_total;
    r[i++].values[k] = (double)status.disk_free;
    r[i++].values[k] = (double)(status.disk_total - MIN(status.disk_free, status.disk_total));
    r[i++].values[k] = status.failed || root->out ? 1 : 0;
    r[i++].values[k] = full || root->full ? 1 : 0;
    r[i++].values[k] = (double)(status.index.file_bytes + status.index.wal_bytes);
    r[i++].values[k] = (double)status.wal.segment_bytes;
    r[i++].values[k] = (double)status.wal.syncs;
    r[i++].values[k] = (double)status.applied;
    r[i++].values[k] = root->in_sync ? 1 : 0;
    r[i++].values[k] = root->leads ? 1 : 0;
    r[i++].values[k] = (double)root->lag_entries;
    r[i++].values[k] = root->lag_known ? (double)root->lag_bytes : -1;
    r[i++].values[k] = (double)root->lag_ms / 1000;
    r[i++].values[k] = (double)root->sync_p99_ms / 1000;
}

static ErrCode print_roots(RestCall *call, Buf *out, MetricFormat format, Service *service,
                           Err *err)
{
    RootReading readings[] = {
        {"holdfast_storage_size_bytes", METRIC_GAUGE, "Bytes of the root's file system.", {0}},
        {"holdfast_storage_free_bytes", METRIC_GAUGE, "Bytes free in the root's file system.", {0}},
        {"holdfast_storage_used_bytes",
         METRIC_GAUGE,
         "Bytes in use in the root's file system.",
         {0}},
        {"holdfast_storage_failed", METRIC_GAUGE, "1 if the root takes no more writes.", {0}},
        {"holdfast_storage_full",
         METRIC_GAUGE,
         "1 while uploads are refused for want of space.",
         {0}},
        {"holdfast_index_bytes", METRIC_GAUGE, "Bytes of the root's index.", {0}},
        {"holdfast_wal_kept_bytes", METRIC_GAUGE, "Bytes of the log's kept segments.", {0}},
        {"holdfast_wal_syncs_total", METRIC_COUNTER, "Syncs of the log.", {0}},
        {"holdfast_applied_records_total",
         METRIC_COUNTER,
         "Records that came into packs and index.",
         {0}},
        {"holdfast_root_in_sync", METRIC_GAUGE, "1 if the root is in sync on all shards.", {0}},
        {"holdfast_root_leads", METRIC_GAUGE, "1 if changes are decided on this root.", {0}},
        {"holdfast_root_lag_entries",
         METRIC_GAUGE,
         "Entries that the lead has and that are not synced on this root.",
         {0}},
        {"holdfast_root_lag_bytes",
         METRIC_GAUGE,
         "Bytes of these in the log; -1: not known, there are too many.",
         {0}},
        {"holdfast_root_lag_seconds",
         METRIC_GAUGE,
         "Age of the oldest of these, or time since the root was last in sync.",
         {0}},
        {"holdfast_root_sync_p99_seconds",
         METRIC_GAUGE,
         "What 99 of 100 of the newest batches of the log took.",
         {0}},
    };
    const RestNode *node = &call->rest->node;
    RestRoot roots[ENGINE_ROOTS_MAX];
    size_t count = node->roots(node->ctx, roots);
    bool full = count == 1 && service_full(service);
    for (size_t k = 0; k < count; k++)
        read_root(readings, k, &roots[k], full);
    return print_root_readings(out, format, readings, ARRAY_LEN(readings), roots, count, err);
}

static ErrCode print_copies(RestCall *call, Buf *out, MetricFormat format, Service *service,
                            Err *err)
{
    const RestNode *node = &call->rest->node;
    RestCopies copies;
    Durability d = service_durability(service, PLACE_CLASS_STANDARD);
    node->copies(node->ctx, &copies);
    const Reading readings[] = {
        {"holdfast_copies_synced", METRIC_GAUGE, "Copies that are in sync.", d.synced},
        {"holdfast_copies_wanted", METRIC_GAUGE, "Copies there are to be.", d.copies},
        {"holdfast_copies_needed", METRIC_GAUGE, "Copies in sync without which no change is taken.",
         copies.needed},
        {"holdfast_lead_moves_total", METRIC_COUNTER, "How often another root took the lead.",
         (double)copies.lead_moves},
        {"holdfast_sync_changes_total", METRIC_COUNTER,
         "How often roots left the ones in sync or came back.", (double)copies.sync_changes},
        {"holdfast_async_changes_total", METRIC_COUNTER,
         "Changes of buckets with writes async, answered before all copies in sync had them.",
         (double)copies.async.told},
        {"holdfast_async_confirmed_total", METRIC_COUNTER,
         "Of these, contents that were read back from the disk of every root in sync.",
         (double)copies.confirm.confirmed},
        {"holdfast_async_unconfirmed_total", METRIC_COUNTER, "Contents that could not be.",
         (double)copies.confirm.unconfirmed},
        {"holdfast_async_lag_entries", METRIC_GAUGE, "Changes of these that some still lack.",
         (double)copies.async.entries},
        {"holdfast_async_lag_bytes", METRIC_GAUGE, "Bytes of these in the log.",
         (double)copies.async.bytes},
        {"holdfast_async_lag_seconds", METRIC_GAUGE, "Since the oldest of these was answered.",
         (double)copies.async.age_ns / 1e9},
    };
    return print_readings(out, format, readings, ARRAY_LEN(readings), "", err);
}

/* One row of each name for each placement class. */
static ErrCode print_classes(Buf *out, MetricFormat format, Service *service, Err *err)
{
    static const struct {
        const char *name;
        const char *help;
    } rows[] = {
        {"holdfast_class_copies", "Copies that the placement class is to have."},
        {"holdfast_class_synced", "Copies of the placement class that are in sync."},
        {"holdfast_class_failed", "1 if too many roots of the placement class are out."},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        TRY(metric_print_head(out, format, METRIC_GAUGE, rows[i].name, rows[i].help, err));
        for (unsigned class = PLACE_CLASS_STANDARD; class < CLASSES_MAX; class ++) {
            ClassInfo info;
            char labels[CLASS_NAME_MAX + 16];
            if (!classes_get(service_classes(service), class, &info)) continue;
            ServiceClass now = service_class_now(service, class);
            const double values[] = {info.rules.copies, __builtin_popcount(now.in_sync),
                                     now.failed ? 1 : 0};
            snprintf(labels, sizeof labels, "class=\"%s\"", info.name);
            TRY(metric_print_value(out, rows[i].name, labels, values[i], err));
        }
    }
    return OK;
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

/* Open to all but for what buckets are called and hold; a key that is shown must be one for that:
 * that administrates, or may list everything. */
static bool sees_buckets(const RestCall *call)
{
    return (call->identity.rights & (RIGHT_ADMIN | RIGHT_LIST)) != 0;
}

static ErrCode identify(RestCall *call, Err *err)
{
    if (http_request_header(call->req, STR("authorization")).ptr == NULL) return OK;
    TRY(rest_identify(call, err));
    return sees_buckets(call) ? OK : auth_allows(&call->identity, RIGHT_ADMIN, err);
}

/* An index that can't be read takes no metrics away: these stay what they were. */
static void read_uploads(RestCall *call)
{
    Service *service = atomic_load_explicit(&call->rest->service, memory_order_acquire);
    BucketStatRow stat;
    if (call->loop->reader == NULL && service_reader_open(service, &call->loop->reader, NULL) != OK)
        return;
    if (service_uploads_stat(call->loop->reader, &stat, NULL) != OK) return;
    metric_set(&uploads_open, (int64_t)stat.files);
    metric_set(&uploads_bytes, (int64_t)stat.bytes);
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
    if (serves) read_uploads(call);
    TRY(metric_print(out, format, err));
    TRY(print_process(out, format, rest, err));
    if (service != NULL) TRY(print_roots(call, out, format, service, err));
    if (service != NULL) TRY(print_copies(call, out, format, service, err));
    if (service != NULL) TRY(print_classes(out, format, service, err));
    if (serves && sees_buckets(call))
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
    if (!rest_answer_room(call, &body)) return;
    call->status = 200;
    call->bytes_out = body.len;
    http_header_add(call->req, "Content-Type", str_from_cstr(types[format]));
    http_header_add(call->req, "Vary", STR("Accept"));
    http_respond_buf(call->req, 200, &body);
}
