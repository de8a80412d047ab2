#include "testing.h"

#include "base/fault.h"
#include "base/metric.h"
#include "base/thread.h"

#include <errno.h>
#include <string.h>

static int setup(void **state)
{
    UNUSED(state);
    metric_unregister_all();
    return 0;
}

static void assert_printed(const char *text)
{
    Err err;
    AUTO_BUF(out, 10000);
    assert_ok(metric_print(&out, METRIC_TEXT, &err), &err);
    assert_str(buf_str(&out), text);
}

static void test_plain(void **state)
{
    UNUSED(state);
    static Metric put = {.kind = METRIC_COUNTER,
                         .name = "holdfast_requests_total",
                         .help = "Requests\\answered\n\"so far\".",
                         .labels = "door=\"rest\",op=\"put\""};
    static Metric queue = {
        .kind = METRIC_GAUGE, .name = "holdfast_queue_items", .help = "Waiting.", .labels = ""};
    static Metric get = {.kind = METRIC_COUNTER,
                         .name = "holdfast_requests_total",
                         .help = "Not printed: the first one's is.",
                         .labels = "door=\"rest\",op=\"get\""};
    static Metric cpu = {.kind = METRIC_COUNTER,
                         .name = "holdfast_cpu_seconds_total",
                         .help = "CPU.",
                         .labels = "",
                         .scale = 1e-9};
    assert_printed("");
    metric_register(&put);
    metric_register(&queue);
    metric_register(&get);
    metric_register(&cpu);
    metric_add(&put, 1);
    metric_add(&put, 0);
    metric_add(&put, INT64_MAX - 1);
    metric_set(&queue, 7);
    metric_add(&queue, -10);
    metric_add(&cpu, 1500000000);
    assert_int_equal(metric_value(&put), INT64_MAX);
    assert_int_equal(metric_value(&queue), -3);
    assert_printed("# HELP holdfast_requests_total Requests\\\\answered\\n\"so far\".\n"
                   "# TYPE holdfast_requests_total counter\n"
                   "holdfast_requests_total{door=\"rest\",op=\"put\"} 9223372036854775807\n"
                   "holdfast_requests_total{door=\"rest\",op=\"get\"} 0\n"
                   "# HELP holdfast_queue_items Waiting.\n"
                   "# TYPE holdfast_queue_items gauge\n"
                   "holdfast_queue_items -3\n"
                   "# HELP holdfast_cpu_seconds_total CPU.\n"
                   "# TYPE holdfast_cpu_seconds_total counter\n"
                   "holdfast_cpu_seconds_total 1.5\n");
}

static const double bounds_s[] = {0.000001, 0.005, 1};

/* A bound belongs to its bucket; buckets count all below. */
static void test_histogram(void **state)
{
    UNUSED(state);
    static Metric sync = {.kind = METRIC_HISTOGRAM,
                          .name = "holdfast_sync_seconds",
                          .help = "Syncs.",
                          .labels = "root=\"a\"",
                          .bounds = bounds_s,
                          .bound_count = 3,
                          .scale = 1e-9};
    static Metric batch = {.kind = METRIC_HISTOGRAM,
                           .name = "holdfast_batch_records",
                           .help = "Batches.",
                           .labels = ""};
    metric_register(&sync);
    metric_register(&batch);
    static const uint64_t observed_ns[] = {0,         1000,       1001,       5000000,    5000001,
                                           999999999, 1000000000, 1000000001, 60000000000};
    for (size_t i = 0; i < ARRAY_LEN(observed_ns); i++)
        metric_observe(&sync, observed_ns[i]);
    metric_observe(&batch, 64);
    assert_printed("# HELP holdfast_sync_seconds Syncs.\n"
                   "# TYPE holdfast_sync_seconds histogram\n"
                   "holdfast_sync_seconds_bucket{root=\"a\",le=\"1e-06\"} 2\n"
                   "holdfast_sync_seconds_bucket{root=\"a\",le=\"0.005\"} 4\n"
                   "holdfast_sync_seconds_bucket{root=\"a\",le=\"1\"} 7\n"
                   "holdfast_sync_seconds_bucket{root=\"a\",le=\"+Inf\"} 9\n"
                   "holdfast_sync_seconds_sum{root=\"a\"} 63.010002002\n"
                   "holdfast_sync_seconds_count{root=\"a\"} 9\n"
                   "# HELP holdfast_batch_records Batches.\n"
                   "# TYPE holdfast_batch_records histogram\n"
                   "holdfast_batch_records_bucket{le=\"+Inf\"} 1\n"
                   "holdfast_batch_records_sum 64\n"
                   "holdfast_batch_records_count 1\n");
}

/* OpenMetrics: a counter's family has no suffix, bounds have a point, quotes in help are escaped.
 */
static void test_openmetrics(void **state)
{
    UNUSED(state);
    static const double bounds[] = {0.5, 10};
    static Metric counter = {.kind = METRIC_COUNTER,
                             .name = "holdfast_requests_total",
                             .help = "Requests \"so far\".",
                             .labels = "door=\"rest\""};
    static Metric histogram = {.kind = METRIC_HISTOGRAM,
                               .name = "holdfast_sync_seconds",
                               .help = "Syncs.",
                               .labels = "",
                               .bounds = bounds,
                               .bound_count = 2};
    static Metric unseen = {.kind = METRIC_HISTOGRAM,
                            .name = "holdfast_sync_seconds",
                            .help = "Syncs.",
                            .labels = "code=\"500\"",
                            .bounds = bounds,
                            .bound_count = 2,
                            .sparse = true};
    Err err;
    AUTO_BUF(out, 10000);
    metric_register(&counter);
    metric_register(&histogram);
    metric_register(&unseen);
    metric_raise(&counter, 5);
    metric_raise(&counter, 3);
    metric_observe(&histogram, 7);
    assert_ok(metric_print(&out, METRIC_OPENMETRICS, &err), &err);
    assert_ok(metric_print_head(&out, METRIC_OPENMETRICS, METRIC_GAUGE, "x_bytes", "X.", &err),
              &err);
    assert_ok(metric_print_value(&out, "x_bytes", "root=\"a\"", 1e12, &err), &err);
    assert_ok(metric_print_end(&out, METRIC_OPENMETRICS, &err), &err);
    assert_str(buf_str(&out), "# HELP holdfast_requests Requests \\\"so far\\\".\n"
                              "# TYPE holdfast_requests counter\n"
                              "holdfast_requests_total{door=\"rest\"} 5\n"
                              "# HELP holdfast_sync_seconds Syncs.\n"
                              "# TYPE holdfast_sync_seconds histogram\n"
                              "holdfast_sync_seconds_bucket{le=\"0.5\"} 0\n"
                              "holdfast_sync_seconds_bucket{le=\"10.0\"} 1\n"
                              "holdfast_sync_seconds_bucket{le=\"+Inf\"} 1\n"
                              "holdfast_sync_seconds_sum 7\n"
                              "holdfast_sync_seconds_count 1\n"
                              "# HELP x_bytes X.\n"
                              "# TYPE x_bytes gauge\n"
                              "x_bytes{root=\"a\"} 1000000000000\n"
                              "# EOF\n");
    metric_observe(&unseen, 1);
    buf_clear(&out);
    assert_ok(metric_print(&out, METRIC_TEXT, &err), &err);
    assert_non_null(strstr((const char *)out.data, "count{code=\"500\"} 1"));
}

/* Whatever piece does not fit: out is as before. */
static void test_no_room(void **state)
{
    UNUSED(state);
    Err err;
    static Metric sync = {.kind = METRIC_HISTOGRAM,
                          .name = "holdfast_sync_seconds",
                          .help = "Syncs\n.",
                          .labels = "root=\"a\"",
                          .bounds = bounds_s,
                          .bound_count = 3,
                          .scale = 1e-9};
    static Metric plain = {.kind = METRIC_GAUGE,
                           .name = "holdfast_queue_items",
                           .help = "Waiting.",
                           .labels = "a=\"b\""};
    metric_register(&sync);
    metric_register(&plain);
    AUTO_BUF(whole, 10000);
    assert_ok(metric_print(&whole, METRIC_TEXT, &err), &err);
    for (size_t max = 3; max < whole.len + 3; max++) {
        AUTO_BUF(out, max);
        assert_ok(buf_append(&out, "abc", 3, &err), &err);
        assert_code(metric_print(&out, METRIC_TEXT, &err), ERR_TOO_BIG, &err);
        assert_str(buf_str(&out), "abc");
    }
    AUTO_BUF(out, 10000);
    fault_arm("mem.take", ENOMEM, 1, true);
    assert_code(metric_print(&out, METRIC_TEXT, &err), ERR_NO_MEMORY, &err);
    fault_reset();
}

static Metric shared = {.kind = METRIC_HISTOGRAM,
                        .name = "holdfast_shared_bytes",
                        .help = "Shared.",
                        .labels = "",
                        .bounds = bounds_s,
                        .bound_count = 3};

static void observe_many(void *arg)
{
    UNUSED(arg);
    for (uint64_t i = 0; i < 5000; i++)
        metric_observe(&shared, i % 4);
}

static void test_threads(void **state)
{
    UNUSED(state);
    metric_register(&shared);
    Thread threads[3];
    for (size_t i = 0; i < 3; i++) {
        assert_ok(thread_start(&threads[i], "metric", observe_many, NULL, NULL), NULL);
    }
    for (size_t i = 0; i < 3; i++)
        thread_join(&threads[i]);
    assert_printed("# HELP holdfast_shared_bytes Shared.\n"
                   "# TYPE holdfast_shared_bytes histogram\n"
                   "holdfast_shared_bytes_bucket{le=\"1e-06\"} 3750\n"
                   "holdfast_shared_bytes_bucket{le=\"0.005\"} 3750\n"
                   "holdfast_shared_bytes_bucket{le=\"1\"} 7500\n"
                   "holdfast_shared_bytes_bucket{le=\"+Inf\"} 15000\n"
                   "holdfast_shared_bytes_sum 22500\n"
                   "holdfast_shared_bytes_count 15000\n");
}

static void register_metric(void *arg)
{
    metric_register(arg);
}

static void test_bugs(void **state)
{
    UNUSED(state);
    static const double falling[] = {2, 1};
    static Metric first = {.kind = METRIC_COUNTER, .name = "x_total", .help = "", .labels = ""};
    static Metric rows[] = {
        {.kind = METRIC_COUNTER, .name = "x_total", .help = "", .labels = ""}, /* the same labels */
        {.kind = METRIC_GAUGE, .name = "x_total", .help = "", .labels = "a=\"b\""}, /* other kind */
        {.kind = METRIC_HISTOGRAM,
         .name = "y",
         .help = "",
         .labels = "",
         .bounds = falling,
         .bound_count = 2},
        {.kind = METRIC_COUNTER,
         .name = "y",
         .help = "",
         .labels = "",
         .bounds = bounds_s,
         .bound_count = 1},
        {.kind = METRIC_HISTOGRAM,
         .name = "y",
         .help = "",
         .labels = "",
         .bounds = bounds_s,
         .bound_count = METRIC_BUCKETS_MAX + 1},
    };
    metric_register(&first);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_aborts(register_metric, &rows[i], "metric.c");
    }
    assert_aborts(register_metric, &first, "metric.c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plain, setup),
        cmocka_unit_test_setup(test_histogram, setup),
        cmocka_unit_test_setup(test_no_room, setup),
        cmocka_unit_test_setup(test_threads, setup),
        cmocka_unit_test_setup(test_bugs, setup),
        cmocka_unit_test_setup(test_openmetrics, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
