#include "node_threads.h"

#include "base/wake.h"
#include "control/local/local.h"
#include "disk/posix.h"
#include "testing.h"
#include <unistd.h>

void node_threads_init(NodeThreads *n, const NodeThreadsOptions *options, uint64_t seed)
{
    *n = (NodeThreads){.dir = tmp_dir_new(), .options = *options};
    rng_init(&n->rng, seed);
}

void node_threads_deinit(NodeThreads *n)
{
    tmp_dir_remove(n->dir);
}

static void open_store(NodeThreads *n)
{
    Err err = {0};
    Clock *clock = clock_real();
    assert_ok(disk_posix_open(n->dir, &n->disk, &err), &err);
    assert_ok(root_open(n->disk, STR("test"), &n->rng, clock, &n->root, &err), &err);
    assert_ok(control_local_open(&n->disk, 1, &n->control, &err), &err);
    assert_ok(control_register_root(n->control, n->root.uuid, &n->root.incarnation, &err), &err);
    assert_ok(root_save(n->disk, &n->root, &err), &err);
    StoreOptions store = {.root = n->root,
                          .wal_segment_size = SEGMENT_SIZE_MIN,
                          .wal_spares = 2,
                          .pack_size = n->options.pack_size,
                          .clock = clock,
                          .seed = rng_u64(&n->rng)};
    assert_ok(store_open(n->disk, &store, &n->store, &n->opened, &err), &err);
}

void node_threads_start(NodeThreads *n)
{
    Err err = {0};
    open_store(n);
    n->buckets = buckets_new();
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, 1);
    standard.shard_count = n->options.shard_count;
    WorkersOptions workers = {.stores = {n->store},
                              .root_count = 1,
                              .control = n->control,
                              .buckets = n->buckets,
                              .clock = clock_real(),
                              .seed = rng_u64(&n->rng),
                              .standard = standard,
                              .queue_max = n->options.queue_max,
                              .apply_delay_ms = 1};
    assert_ok(workers_open(&workers, &n->workers, &err), &err);
    ServiceOptions service = {.stores = {n->store},
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

void node_threads_free(NodeThreads *n)
{
    workers_free(n->workers);
    service_free(n->service);
    buckets_free(n->buckets);
    store_free(n->store);
    control_free(n->control);
    disk_free(n->disk);
}

void node_threads_stop(NodeThreads *n)
{
    Err err = {0};
    assert_ok(workers_close(n->workers, &err), &err);
    node_threads_free(n);
}

static void done(Mutation *m)
{
    wake_set(m->ctx);
}

ErrCode node_threads_submit(NodeThreads *n, Mutation *m)
{
    Wake wake;
    wake_init(&wake);
    m->done = done;
    m->ctx = &wake;
    ErrCode code = service_submit(n->service, m);
    if (code == OK) {
        (void)wake_wait(&wake, -1); /* without a time-out it was set */
        code = m->code;
    }
    wake_deinit(&wake);
    return code;
}
