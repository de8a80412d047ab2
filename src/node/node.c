#include "node/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/rest/rest.h"
#include "base/log.h"
#include "control/local/local.h"
#include "disk/file_map.h"
#include "disk/posix.h"
#include "node/background.h"
#include "node/root_key.h"
#include "node/workers.h"

#define LOOPS_DEFAULT_MAX 8
#define WHO_SIZE 128        /* who uses a directory, as a second process is told */
#define BUFFERS_COUNT 512   /* of 256 KiB: bodies under way; memory only as they are used */
#define DISK_WORKERS "8"    /* threads that write and read bodies */
#define MUTATIONS_MAX 65536 /* waiting for the core */
#define APPLY_DELAY_MS 250
#define COMPACT_LOOK_FIRST_MS (3600ULL * 1000)
#define WAL_SPARES 2
#define WAL_RECYCLED_BYTES (48 * MIB) /* of segments kept as spares when the log is cut */
#define WAL_RECYCLED_MAX 48

struct Node {
    NodeOptions options;
    Rng rng;
    Disk *disk;
    RootInfo root;
    AuthKey root_key;
    Buffers *buffers;
    Loop *loops[NODE_LOOPS_MAX];
    size_t loop_count;
    Rest *rest;
    HttpServer *http;
    Control *control;
    Store *store;
    Buckets *buckets;
    Workers *workers;
    Service *service;
    Background *background;
    uint64_t logged_ns; /* when progress was last told */
    uint64_t replayed_records;
};

/* --- the directory --- */

static ErrCode open_root(Node *node, Err *err)
{
    const NodeOptions *o = &node->options;
    char who[WHO_SIZE];
    ErrCode code = disk_posix_open(o->data, &node->disk, err);
    if (code != OK) return err_wrap(err, code, "open %s", o->data);
    int len = snprintf(who, sizeof who, "pid %d, starting", (int)getpid()); /* fits */
    code = root_open(node->disk, str_of(who, (size_t)len), &node->rng, clock_real(), &node->root,
                     err);
    if (code != OK) return err_wrap(err, code, "open %s", o->data);
    char uuid[37];
    char common[64];
    uuid_text(node->root.uuid, uuid);
    snprintf(common, sizeof common, "node=\"%.8s\"", uuid); /* before other threads log */
    log_set_common(common);
    LOG(INFO, "root.opened", "directory=" LOG_STR " root=%s", LOG_CSTR(o->data), uuid);
    return OK;
}

static ErrCode open_key(Node *node, Err *err)
{
    bool made = false;
    ErrCode code = root_key_open(node->disk, &node->root_key.key, &made, err);
    if (code != OK) return err_wrap(err, code, "open %s", node->options.data);
    snprintf(node->root_key.name, sizeof node->root_key.name, "root");
    node->root_key.rights = RIGHTS_ALL;
    if (made) {
        LOG_TO(SECURITY, INFO, "node.root_key_made", "directory=" LOG_STR " file=%s id=%s",
               LOG_CSTR(node->options.data), ROOT_KEY_FILE, node->root_key.key.id);
    }
    return OK;
}

/* --- doors --- */

static size_t default_loops(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return (size_t)MAX(1, MIN(processors, LOOPS_DEFAULT_MAX));
}

static ErrCode open_loops(Node *node, Err *err)
{
    size_t wanted = node->options.threads == 0 ? default_loops() : node->options.threads;
    ASSERT(wanted <= NODE_LOOPS_MAX);
    for (size_t i = 0; i < wanted; i++) {
        TRY(loop_open((unsigned)i, &node->loops[i], err));
        node->loop_count++;
        TRY(loop_start(node->loops[i], err));
    }
    return OK;
}

/* Who uses the directory and where, with the port that the system gave if it was to choose. */
static ErrCode tell_door(Node *node, Err *err)
{
    char who[WHO_SIZE];
    Str host = str_from_cstr(node->options.http);
    while (host.len > 0 && host.ptr[host.len - 1] != ':')
        host.len--;
    int len = snprintf(who, sizeof who, "pid %d, http %.*s%u", (int)getpid(), STR_ARG(host),
                       http_server_port(node->http));
    if (len < 0 || (size_t)len >= sizeof who)
        return err_set(err, ERR_CONFIG, "the address of --http is too long");
    return root_tell(node->disk, str_of(who, (size_t)len), err);
}

/* Listens; until the service is published all but health is answered by 503. */
static ErrCode open_doors(Node *node, Err *err)
{
    /* Read by libuv when its pool is first used. */
    if (setenv("UV_THREADPOOL_SIZE", DISK_WORKERS, 0) != 0) {
        return err_set(err, ERR_NO_MEMORY, "set the environment");
    }
    TRY(open_loops(node, err));
    TRY(buffers_open(BUFFERS_COUNT, BUFFERS_SIZE_DEFAULT, &node->buffers, err));
    RestOptions rest = {.keys = {.keys = &node->root_key, .count = 1},
                        .loop_count = node->loop_count,
                        .buffers = node->buffers,
                        .clock = clock_real(),
                        .access_log = node->options.access_log};
    node->rest = rest_new(&rest);
    HttpServerOptions http = http_server_options();
    http.name = "rest";
    http.address = node->options.http;
    http.loops = node->loops;
    http.loop_count = node->loop_count;
    http.buffers = node->buffers;
    http.on_request = rest_on_request;
    http.ctx = node->rest;
    http.connections_max = node->options.connections_max;
    TRY(http_server_open(&http, &node->http, err));
    return tell_door(node, err);
}

/* --- recovery --- */

static void on_progress(void *ctx, uint64_t records, uint64_t bytes)
{
    Node *node = ctx;
    uint64_t now = clock_boot_ns(clock_real());
    node->replayed_records = records;
    rest_set_progress(node->rest, records, bytes);
    if (now - node->logged_ns < 1000ULL * 1000 * 1000) return;
    node->logged_ns = now;
    LOG(INFO, "node.recovering", "records=%" PRIu64 " bytes=%" PRIu64, records, bytes);
}

/* index.db is made again: once a second, and when another step begins. */
static void on_rebuilding(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    Node *node = ctx;
    uint64_t now = clock_boot_ns(clock_real());
    rest_set_phase(node->rest, "rebuilding-index");
    rest_set_progress(node->rest, done, 0);
    if (done > 0 && now - node->logged_ns < 1000ULL * 1000 * 1000) return;
    node->logged_ns = now;
    LOG(WARN, "node.index_rebuilding", "step=" LOG_STR " done=%" PRIu64 " of=%" PRIu64,
        LOG_CSTR(what), done, total);
}

static void tell_rebuilt(const StoreOpened *opened)
{
    if (!opened->index_rebuilt) return;
    LOG(WARN, "node.index_rebuilt",
        "reason=" LOG_STR " packs=%" PRIu64 " records=%" PRIu64 " applied=%" PRIu64,
        LOG_CSTR(err_text(&opened->index_damage)), opened->rebuilt.packs, opened->rebuilt.records,
        opened->rebuilt.applied);
}

/* Making a spare costs 1 MiB of zeros and two syncs; a burst cuts as many as it uses. */
static unsigned wal_recycled(uint64_t segment_size)
{
    uint64_t size = segment_size != 0 ? segment_size : WAL_SEGMENT_SIZE_DEFAULT;
    return (unsigned)MIN(WAL_RECYCLED_BYTES / size, (uint64_t)WAL_RECYCLED_MAX);
}

/* Tells the most that caches and pools may take. */
static void tell_memory(const Node *node)
{
    uint64_t connections = 2 * (node->loop_count + 1) + 1; /* a reader's two, and the applier's */
    LOG(INFO, "node.memory",
        "index=%" PRIu64 " cache=%" PRIu64 " buffers=%" PRIu64 " collected=%" PRIu64 " locked=%zu",
        connections * node->options.index_cache_bytes, node->options.body_cache_bytes,
        (uint64_t)BUFFERS_COUNT * BUFFERS_SIZE_DEFAULT,
        (uint64_t)http_server_options().collect_max_bytes, file_map_budget());
}

static ErrCode open_store(Node *node, Err *err)
{
    StoreOptions options = {
        .root = node->root,
        .wal_segment_size = node->options.segment_size,
        .wal_spares = WAL_SPARES,
        .wal_recycled = wal_recycled(node->options.segment_size),
        .verify_threads = (unsigned)MIN(default_loops(), (size_t)WAL_THREADS_MAX),
        .index_cache_bytes = node->options.index_cache_bytes,
        .body_cache_bytes = node->options.body_cache_bytes / node->loop_count,
        .clock = clock_real(),
        .seed = rng_u64(&node->rng),
        .progress = on_progress,
        .rebuilding = on_rebuilding,
        .progress_ctx = node};
    StoreOpened opened;
    uint64_t start = clock_boot_ns(clock_real());
    tell_memory(node);
    rest_set_phase(node->rest, "replaying");
    TRY(store_open(node->disk, &options, &node->store, &opened, err));
    tell_rebuilt(&opened);
    rest_set_progress(node->rest, opened.wal.records, opened.wal.bytes);
    LOG(INFO, "node.recovered",
        "segments=%" PRIu64 " records=%" PRIu64 " bytes=%" PRIu64 " to_apply=%" PRIu64
        " torn_bytes=%" PRIu64 " ms=%" PRIu64,
        opened.wal.segments, opened.wal.records, opened.wal.bytes, opened.unapplied,
        opened.wal.torn_bytes, (clock_boot_ns(clock_real()) - start) / 1000000);
    rest_set_phase(node->rest, "sweeping");
    uint64_t removed = 0;
    TRY(store_sweep_orphans(node->store, &removed, err));
    if (removed > 0) LOG(INFO, "node.orphans_removed", "extents=%" PRIu64, removed);
    return OK;
}

/* control.json, or what follows from root.json in its place. */
static ErrCode open_control(Node *node, Err *err)
{
    ControlFound found;
    ControlAlone alone = {.root = node->root.uuid, .incarnation = node->root.incarnation};
    TRY(control_local_open_alone(node->disk, &alone, &node->control, &found, err));
    if (found.in_use) TRY(store_check_not_emptied(node->disk, err));
    if (!found.remade) return OK;
    LOG(WARN, "control.remade", "file=%s was=%s error=" LOG_STR, CONTROL_FILE,
        found.damaged ? "damaged" : "missing", LOG_CSTR(err_text(&found.why)));
    return OK;
}

static ErrCode recover(Node *node, Err *err)
{
    rest_set_phase(node->rest, "registering");
    TRY(open_control(node, err));
    TRY(control_raise_root(node->control, node->root.uuid, node->root.incarnation,
                           &node->root.incarnation, err));
    TRY(root_save(node->disk, &node->root, err));
    return open_store(node, err);
}

/* --- service --- */

static size_t ask_shards(void *ctx, EngineShardStatus *out, size_t max)
{
    return workers_shards(((Node *)ctx)->workers, out, max);
}

static size_t ask_in_flight(void *ctx)
{
    return workers_in_flight(((Node *)ctx)->workers);
}

static bool ask_failed(void *ctx)
{
    return workers_failed(((Node *)ctx)->workers);
}

static void ask_cause(void *ctx, Err *out)
{
    workers_cause(((Node *)ctx)->workers, out);
}

static void tell_failed(void *ctx, const Err *err)
{
    workers_fail(((Node *)ctx)->workers, err);
}

static bool is_busy(void *ctx)
{
    UNUSED(ctx);
    return rest_in_flight() > 0;
}

static ErrCode open_background(Node *node, Err *err)
{
    BackgroundOptions options = {.store = node->store,
                                 .workers = node->workers,
                                 .clock = clock_real(),
                                 .busy = is_busy,
                                 .ctx = node,
                                 .compact = {.dead_percent = node->options.compact_dead_percent,
                                             .look_first_ms = COMPACT_LOOK_FIRST_MS},
                                 .compact_rate = node->options.compact_rate,
                                 .scrub = {.period_ms = node->options.scrub_period_ms,
                                           .rate_min = node->options.scrub_rate_min,
                                           .rate_max = node->options.scrub_rate_max}};
    return background_open(&options, &node->background, err);
}

static ErrCode open_service(Node *node, Err *err)
{
    node->buckets = buckets_new();
    WorkersOptions workers = {.store = node->store,
                              .control = node->control,
                              .buckets = node->buckets,
                              .clock = clock_real(),
                              .seed = rng_u64(&node->rng),
                              .standard = placement_class_default(PLACE_CLASS_STANDARD, 1),
                              .queue_max = MUTATIONS_MAX,
                              .apply_delay_ms = APPLY_DELAY_MS};
    TRY(workers_open(&workers, &node->workers, err));
    ServiceOptions service = {.store = node->store,
                              .buckets = node->buckets,
                              .submit = workers_submit,
                              .submit_ctx = node->workers,
                              .ready = workers_ready(node->workers),
                              .full = workers_full(node->workers),
                              .room = workers_room(node->workers),
                              .look = workers_look_at_space,
                              .durability = {.synced = 1, .copies = 1, .disks = 1, .zones = 1}};
    node->service = service_new(&service);
    RestNode rest = {.ctx = node,
                     .shards = ask_shards,
                     .in_flight = ask_in_flight,
                     .failed = ask_failed,
                     .cause = ask_cause,
                     .fail = tell_failed};
    TRY(open_background(node, err));
    rest.scrub = background_scrub(node->background);
    rest_publish(node->rest, node->service, &rest);
    return OK;
}

/* --- life --- */

ErrCode node_open(const NodeOptions *options, Node **out, Err *err)
{
    AUTO(Node, node_free) node = mem_new(sizeof *node);
    node->options = *options;
    rng_init_system(&node->rng);
    TRY(open_root(node, err));
    TRY(open_key(node, err));
    TRY(open_doors(node, err));
    ErrCode code = recover(node, err);
    if (code == OK) code = open_service(node, err);
    if (code != OK) return err_wrap(err, code, "open %s", options->data);
    *out = TAKE(node);
    return OK;
}

uint16_t node_http_port(const Node *node)
{
    return http_server_port(node->http);
}

bool node_ready(const Node *node)
{
    return service_ready(node->service);
}

bool node_failed(const Node *node)
{
    return workers_failed(node->workers);
}

void node_set_access_log(Node *node, bool on)
{
    rest_set_access_log(node->rest, on);
}

typedef struct {
    Node *node;
    unsigned loop;
} CloseReader;

static void close_reader(void *arg)
{
    CloseReader *close = arg;
    rest_close_reader(close->node->rest, close->loop);
}

/* No request is left afterwards, nor a reader. */
static void close_doors(Node *node)
{
    http_server_close(TAKE(node->http));
    for (size_t i = 0; i < node->loop_count && node->rest != NULL; i++) {
        CloseReader close = {.node = node, .loop = (unsigned)i};
        loop_call(node->loops[i], close_reader, &close);
    }
}

ErrCode node_stop(Node *node, uint32_t timeout_ms, Err *err)
{
    LOG(INFO, "node.stopping", "connections=%zu", http_server_connections(node->http));
    rest_drain(node->rest);
    if (!http_server_drain(node->http, timeout_ms)) {
        LOG(WARN, "node.drain_timeout", "connections=%zu", http_server_connections(node->http));
    }
    close_doors(node);
    background_close(TAKE(node->background));
    if (workers_failed(node->workers)) {
        return err_set(err, ERR_ROOT_FAILED, "%s had failed; the log is left as it is",
                       node->options.data);
    }
    TRY(workers_close(node->workers, err));
    LOG(INFO, "node.stopped", "directory=" LOG_STR, LOG_CSTR(node->options.data));
    return OK;
}

void node_free(Node *node)
{
    if (node == NULL) return;
    close_doors(node);
    background_close(node->background);
    workers_free(node->workers);
    service_free(node->service);
    buckets_free(node->buckets);
    store_free(node->store);
    control_free(node->control);
    for (size_t i = 0; i < node->loop_count; i++)
        loop_close(node->loops[i]);
    rest_free(node->rest);
    buffers_close(node->buffers);
    disk_free(node->disk);
    key_wipe(&node->root_key.key);
    mem_free(node);
}
