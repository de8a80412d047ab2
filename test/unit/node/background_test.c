/* The background thread over a real directory and real workers: a pass of scrub, put off beside
 * clients, and compaction through the applier while files are overwritten. Only the least time that
 * something takes is checked, since a busy machine may take any. */
#include "testing.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/wake.h"
#include "control/local/local.h"
#include "disk/posix.h"
#include "node/background.h"
#include "service/service.h"

#define BODY_LEN 8000
#define PUT_OFF_LEAST_MS 800 /* a second, less what the clock rounds */

typedef struct {
    char *dir;
    Disk *disk;
    Rng rng;
    RootInfo root;
    Control *control;
    Store *store;
    Buckets *buckets;
    Workers *workers;
    Service *service;
    Background *background;
    _Atomic bool busy;
    _Atomic uint64_t asked_ns; /* when is_busy() was first called; 0: never */
    _Atomic unsigned asked;    /* times */
    uint64_t scrub_period_ms;  /* 0: long */
} Node;

static bool is_busy(void *ctx)
{
    Node *n = ctx;
    atomic_fetch_add(&n->asked, 1);
    if (atomic_load(&n->asked_ns) == 0) atomic_store(&n->asked_ns, clock_boot_ns(clock_real()));
    return atomic_load(&n->busy);
}

static void start_workers(Node *n)
{
    Err err = {0};
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, 1);
    standard.shard_count = 2;
    WorkersOptions workers = {.store = n->store,
                              .control = n->control,
                              .buckets = n->buckets,
                              .clock = clock_real(),
                              .seed = rng_u64(&n->rng),
                              .standard = standard,
                              .queue_max = 64,
                              .apply_delay_ms = 1};
    assert_ok(workers_open(&workers, &n->workers, &err), &err);
    ServiceOptions service = {.store = n->store,
                              .buckets = n->buckets,
                              .submit = workers_submit,
                              .submit_ctx = n->workers,
                              .ready = workers_ready(n->workers),
                              .full = workers_full(n->workers)};
    n->service = service_new(&service);
    for (int i = 0; i < 1000 && !service_ready(n->service); i++)
        usleep(5000);
    assert_true(service_ready(n->service));
}

/* compact_rate: bytes a second; 0: no compaction. */
static void start(Node *n, uint64_t compact_rate)
{
    Err err = {0};
    StoreOpened opened;
    assert_ok(disk_posix_open(n->dir, &n->disk, &err), &err);
    assert_ok(root_open(n->disk, STR("test"), &n->rng, clock_real(), &n->root, &err), &err);
    assert_ok(control_local_open(&n->disk, 1, &n->control, &err), &err);
    assert_ok(control_register_root(n->control, n->root.uuid, &n->root.incarnation, &err), &err);
    assert_ok(root_save(n->disk, &n->root, &err), &err);
    StoreOptions store = {.root = n->root,
                          .wal_segment_size = SEGMENT_SIZE_MIN,
                          .wal_spares = 2,
                          .pack_size = 128 * KIB,
                          .clock = clock_real(),
                          .seed = rng_u64(&n->rng)};
    assert_ok(store_open(n->disk, &store, &n->store, &opened, &err), &err);
    n->buckets = buckets_new();
    start_workers(n);
    BackgroundOptions options = {
        .store = n->store,
        .workers = n->workers,
        .clock = clock_real(),
        .busy = is_busy,
        .ctx = n,
        .compact_rate = compact_rate,
        .scrub = {.period_ms = n->scrub_period_ms == 0 ? 1000000 : n->scrub_period_ms,
                  .rate_min = n->scrub_period_ms == 0 ? GIB : MIB,
                  .rate_max = GIB}};
    assert_ok(background_open(&options, &n->background, &err), &err);
}

static void stop(Node *n)
{
    Err err = {0};
    background_close(n->background);
    assert_ok(workers_close(n->workers, &err), &err);
    workers_free(n->workers);
    service_free(n->service);
    buckets_free(n->buckets);
    store_free(n->store);
    control_free(n->control);
    disk_free(n->disk);
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

static void done(Mutation *m)
{
    wake_set(m->ctx);
}

static void put(Node *n, Str key, uint8_t fill)
{
    uint8_t body[BODY_LEN];
    Mutation m;
    Wake wake;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(fill + i * 7);
    wake_init(&wake);
    mutation_init(&m, MUTATION_PUT);
    m.bucket = STR("files");
    m.key = key;
    m.inline_body = str_of(body, sizeof body);
    m.size = sizeof body;
    m.digest = sha256_of(body, sizeof body);
    m.done = done;
    m.ctx = &wake;
    ErrCode code = service_submit(n->service, &m);
    assert_int_equal(code, OK);
    (void)wake_wait(&wake, -1); /* without a time-out it was set */
    assert_int_equal(m.code, OK);
    mutation_deinit(&m);
    wake_deinit(&wake);
}

/* A pass runs by itself, is put off while clients are served, and is known after a restart. */
static void test_scrub(void **state)
{
    UNUSED(state);
    Node node = {.dir = tmp_dir_new()};
    Node *n = &node;
    rng_init(&n->rng, 8);
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
    tmp_dir_remove(n->dir);
}

/* Clients that never rest don't make it late: when there is much to read for its time, a piece is
 * not put off for a second, which would be ten looks whether they are busy. */
static void test_scrub_in_time(void **state)
{
    UNUSED(state);
    Node node = {.dir = tmp_dir_new(), .scrub_period_ms = 20000};
    Node *n = &node;
    char key[16];
    rng_init(&n->rng, 10);
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
    tmp_dir_remove(n->dir);
}

/* Packs of files that were overwritten go, while others are overwritten, and a stop in the midst
 * of it waits for nobody. */
static void test_compaction(void **state)
{
    UNUSED(state);
    Node node = {.dir = tmp_dir_new()};
    Node *n = &node;
    CompactStatus status = {.pack = 0};
    rng_init(&n->rng, 9);
    start(n, GIB);
    put(n, STR("stays"), 1);
    for (int i = 0; i < 2000 && (status.packs_retired < 2 || status.bytes_moved == 0); i++) {
        put(n, STR("file"), (uint8_t)i);
        store_compact_status(n->store, &status);
        if (i >= 60) usleep(5000);
    }
    assert_true(status.packs_retired >= 2);
    assert_true(status.bytes_moved > 0); /* the one that stays */
    assert_false(workers_failed(n->workers));
    stop(n);
    tmp_dir_remove(n->dir);
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
