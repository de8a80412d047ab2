/* The background thread over a real directory and real workers: a pass of scrub, put off beside
 * clients, and compaction through the applier while files are overwritten. Only the least time that
 * something takes is checked, since a busy machine may take any. */
#include "node_threads.h"
#include "testing.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "node/background.h"

#define BODY_LEN 8000
#define PUT_OFF_LEAST_MS 800 /* a second, less what the clock rounds */

typedef struct {
    NodeThreads threads;
    Background *background;
    _Atomic bool busy;
    _Atomic uint64_t asked_ns; /* when is_busy() was first called; 0: never */
    _Atomic unsigned asked;    /* times */
    uint64_t scrub_period_ms;  /* 0: long */
} Node;

static const NodeThreadsOptions options = {
    .shard_count = 2, .queue_max = 64, .pack_size = 128 * KIB};

static bool is_busy(void *ctx)
{
    Node *n = ctx;
    atomic_fetch_add(&n->asked, 1);
    if (atomic_load(&n->asked_ns) == 0) atomic_store(&n->asked_ns, clock_boot_ns(clock_real()));
    return atomic_load(&n->busy);
}

/* compact_rate: bytes a second; 0: no compaction. */
static void start(Node *n, uint64_t compact_rate)
{
    Err err = {0};
    node_threads_start(&n->threads);
    BackgroundOptions background = {
        .root = workers_root(n->threads.workers, 0),
        .workers = n->threads.workers,
        .clock = clock_real(),
        .busy = is_busy,
        .ctx = n,
        .compact_rate = compact_rate,
        .scrub = {.period_ms = n->scrub_period_ms == 0 ? 1000000 : n->scrub_period_ms,
                  .rate_min = n->scrub_period_ms == 0 ? GIB : MIB,
                  .rate_max = GIB}};
    assert_ok(background_open(&background, &n->background, &err), &err);
}

static void stop(Node *n)
{
    background_close(n->background);
    node_threads_stop(&n->threads);
}

static ScrubStatus wait_for_pass(Node *n, uint64_t pass)
{
    ScrubStatus status = {.pass = 0};
    for (int i = 0; i < 4000; i++) {
        scrub_status(background_scrub(n->background), &status);
        if (status.pass >= pass && status.area == SCRUB_WAITING) return status;
        usleep(5000);
    }
    fail_msg("the pass does not end");
    return status;
}

static void put(Node *n, Str key, uint8_t fill)
{
    uint8_t body[BODY_LEN];
    Mutation m;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(fill + i * 7);
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = key;
    m.inline_body = str_of(body, sizeof body);
    m.size = sizeof body;
    m.digest = sha256_of(body, sizeof body);
    ErrCode code = node_threads_submit(&n->threads, &m);
    assert_int_equal(code, OK);
    mutation_deinit(&m);
}

/* A pass runs by itself, is put off while clients are served, and is known after a restart. */
static void test_scrub(void **state)
{
    UNUSED(state);
    Node node = {.scrub_period_ms = 0};
    Node *n = &node;
    node_threads_init(&n->threads, &options, 8);
    atomic_store(&n->busy, true);
    start(n, 0);
    (void)wait_for_pass(n, 1); /* its numbers are looked at below */
    uint64_t took_ms = (clock_boot_ns(clock_real()) - atomic_load(&n->asked_ns)) / 1000000;
    assert_true(took_ms >= PUT_OFF_LEAST_MS);
    for (uint8_t i = 0; i < 20; i++)
        put(n, STR("file"), i);
    atomic_store(&n->busy, false);
    ScrubStatus last = {.pass = 1};
    while (last.bytes_done < 20 * BODY_LEN && last.pass < 200) { /* until all is applied */
        scrub_start(background_scrub(n->background));
        last = wait_for_pass(n, last.pass + 1);
    }
    assert_true(last.bytes_done >= 20 * BODY_LEN);
    assert_int_equal(last.damaged, 0);
    scrub_pause(background_scrub(n->background));
    stop(n);
    start(n, 0);
    ScrubStatus after;
    scrub_status(background_scrub(n->background), &after);
    assert_int_equal(after.pass, last.pass);
    assert_true(after.paused);
    stop(n);
    node_threads_deinit(&n->threads);
}

/* Clients that never rest don't make it late: when there is much to read for its time, a piece is
 * not put off for a second, which would be ten looks whether they are busy. */
static void test_scrub_in_time(void **state)
{
    UNUSED(state);
    Node node = {.scrub_period_ms = 20000};
    Node *n = &node;
    char key[16];
    node_threads_init(&n->threads, &options, 10);
    atomic_store(&n->busy, true);
    start(n, 0);
    for (int i = 0; i < 800; i++) { /* 6.4 MB: 25 pieces */
        assert_true(snprintf(key, sizeof key, "f%d", i) > 0);
        put(n, str_from_cstr(key), (uint8_t)i);
    }
    stop(n);
    n->scrub_period_ms = 2000;
    start(n, 0); /* all is applied now */
    scrub_start(background_scrub(n->background));
    ScrubStatus before;
    scrub_status(background_scrub(n->background), &before);
    atomic_store(&n->asked, 0);
    ScrubStatus after = wait_for_pass(n, before.pass + 1);
    assert_true(after.bytes_done > 800 * BODY_LEN);
    assert_int_equal(after.damaged, 0);
    /* 25 pieces put off for a second each would be 250 looks and more. */
    assert_true(atomic_load(&n->asked) < 150);
    stop(n);
    node_threads_deinit(&n->threads);
}

/* Packs of files that were overwritten go, while others are overwritten, and a stop in the midst
 * of it waits for nobody. */
static void test_compaction(void **state)
{
    UNUSED(state);
    Node node = {.scrub_period_ms = 0};
    Node *n = &node;
    CompactStatus status = {.pack = 0};
    node_threads_init(&n->threads, &options, 9);
    start(n, GIB);
    put(n, STR("stays"), 1);
    for (int i = 0; i < 2000 && (status.packs_retired < 2 || status.bytes_moved == 0); i++) {
        put(n, STR("file"), (uint8_t)i);
        store_compact_status(n->threads.store, &status);
        if (i >= 60) usleep(5000);
    }
    assert_true(status.packs_retired >= 2);
    assert_true(status.bytes_moved > 0); /* the one that stays */
    assert_false(workers_failed(n->threads.workers));
    stop(n);
    node_threads_deinit(&n->threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scrub),
        cmocka_unit_test(test_scrub_in_time),
        cmocka_unit_test(test_compaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
