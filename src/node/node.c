#include "node/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/rest/rest.h"
#include "api/s3/s3.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/thread.h"
#include "config/config.h"
#include "control/local/local.h"
#include "disk/file_map.h"
#include "index/vfs.h"
#include "node/auditor.h"
#include "node/background.h"
#include "node/budget.h"
#include "node/confirming.h"
#include "node/mending.h"
#include "node/node_roots.h"
#include "node/root_end.h"
#include "node/root_key.h"
#include "node/workers.h"

#define LOOPS_DEFAULT_MAX 8
#define WHO_SIZE 128     /* who uses a directory, as a second process is told */
#define DISK_WORKERS "8" /* threads that write and read bodies */
#define UPLOAD_EXPIRY_MS (24ULL * 3600 * 1000)
#define APPLY_DELAY_MS 250
#define COMPACT_LOOK_FIRST_MS (3600ULL * 1000)
#define WAL_SPARES 2

struct Node {
    NodeOptions options;
    Budget budget;
    uint64_t memory; /* bytes that were planned with; 0: not known */
    Rng rng;
    NodeRoots roots;
    AccessKey root_key;
    Keys *keys;
    TlsContext *tls;  /* NULL: none */
    Auditor *auditor; /* NULL: no audit log */
    Buffers *buffers;
    Loop *loops[NODE_LOOPS_MAX];
    size_t loop_count;
    Rest *rest;
    HttpServer *http;
    Md5Thread *md5; /* of the S3 door */
    S3 *s3;         /* NULL: there is no S3 door */
    HttpServer *s3_http;
    Buckets *buckets;
    Classes *classes;
    Workers *workers;
    Service *service;
    Background *background[ENGINE_ROOTS_MAX]; /* of each root */
    Mending *mending[ENGINE_ROOTS_MAX];       /* the same */
    Confirming *confirming;                   /* the same; NULL with one root */
};

/* The first directory: it has what the process has once. */
static const char *first_dir(const Node *node)
{
    return node->roots.count > 0 ? node->roots.items[0].dir : node->options.data[0];
}

/* --- what there is room for --- */

static size_t default_loops(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return (size_t)MAX(1, MIN(processors, LOOPS_DEFAULT_MAX));
}

/* Tells the most that is taken of the machine. */
static void tell_budget(const Node *node)
{
    const Budget *b = &node->budget;
    LOG(INFO, "node.memory",
        "index=%" PRIu64 " cache=%" PRIu64 " buffers=%" PRIu64 " collected=%" PRIu64
        " answers=%" PRIu64 " locked=%" PRIu64 " backlog=%" PRIu64 " connections=%" PRIu64
        " requests=%" PRIu64 " own=%" PRIu64 " sum=%" PRIu64 " of=%" PRIu64,
        b->index_bytes, b->cache_bytes, b->buffer_bytes, b->collected_bytes, b->answer_bytes,
        b->locked_bytes, b->backlog_bytes, b->connection_bytes, b->request_bytes, b->own_bytes,
        b->sum_bytes, node->memory);
    LOG(INFO, "node.limits",
        "connections=%" PRIu64 " requests=%" PRIu64 " buffers=%" PRIu64 " queue=%" PRIu64
        " backlog=%" PRIu64 " open_files=%" PRIu64,
        b->connections, b->requests, b->buffers, b->queue, b->backlog, b->open_files);
}

/* Fewer connections than asked for: worth a warning only if somebody asked. */
static void tell_fewer(const Node *node, uint64_t open_files)
{
    uint64_t connections = node->budget.connections;
    if (connections >= node->options.connections_max) return;
    if (node->options.connections_asked) {
        LOG(WARN, "config.fewer_connections",
            "connections=%" PRIu64 " open_files=%" PRIu64 " memory=%" PRIu64, connections,
            open_files, node->memory);
    } else {
        LOG(INFO, "config.fewer_connections",
            "connections=%" PRIu64 " open_files=%" PRIu64 " memory=%" PRIu64, connections,
            open_files, node->memory);
    }
}

static bool has_tls(const NodeOptions *options)
{
    return options->tls_cert != NULL && options->tls_cert[0] != '\0';
}

static unsigned door_count(const NodeOptions *options)
{
    return options->s3 != NULL ? 2 : 1;
}

/* Fits all that takes memory, files and places in queues to the machine: however many clients come,
 * the log must find a file free and the process its memory, or this root takes no more writes. */
static ErrCode plan(Node *node, Err *err)
{
    const NodeOptions *o = &node->options;
    uint64_t machine = machine_memory();
    node->memory = o->memory_bytes != 0 ? o->memory_bytes : machine / 8 * 7;
    BudgetWish wish = {.memory = node->memory,
                       .connections = o->connections_max,
                       .roots = (unsigned)o->data_count,
                       .loops = o->threads == 0 ? (unsigned)default_loops() : o->threads,
                       .doors = door_count(o),
                       .tls = has_tls(o),
                       .index_cache = o->index_cache_bytes,
                       .body_cache = o->body_cache_bytes,
                       .locked = file_map_budget()};
    wish.open_files = machine_open_files(budget_files_own(wish.roots) +
                                         BUDGET_FILES_CONNECTION * wish.connections);
    TRY(budget_make(&wish, &node->budget, err));
    file_map_lower_budget((size_t)node->budget.locked_bytes);
    tell_fewer(node, wish.open_files);
    tell_budget(node);
    return OK;
}

/* --- the directory --- */

static ErrCode open_audit(Node *node, Err *err)
{
    const NodeOptions *o = &node->options;
    AuditorOptions options = {.root = node->roots.items[0].disk,
                              .data = first_dir(node),
                              .dir = o->audit_dir,
                              .clock = clock_real(),
                              .file_size_max = o->audit_file_size,
                              .files_max = o->audit_files,
                              .sync_ms = o->audit_sync_ms,
                              .apart = o->data_count > 1,
                              .also_log = o->audit_log};
    if (!o->audit) return OK;
    ErrCode code = auditor_open(&options, &node->auditor, err);
    if (code != ERR_NO_SPACE || o->audit_strict) return code;
    /* A server that would not start on a full disk could not be told to delete what fills it. */
    LOG_TO(OPERATIONS, ERROR, "audit.failed", "until=restart error=" LOG_STR,
           LOG_CSTR(err_text(err)));
    err_clear(err);
    return OK;
}

static void audit_note(Node *node, const char *event, const char *detail)
{
    AuditRecord record = {.event = event, .detail = str_from_cstr(detail)};
    if (node->auditor != NULL) audit_write(auditor_audit(node->auditor), &record);
}

void node_audit_config(Node *node, const char *detail)
{
    audit_note(node, "audit.config", detail);
}

static ErrCode open_key(Node *node, Err *err)
{
    bool made = false;
    Disk *disks[ENGINE_ROOTS_MAX];
    DiskStat index = {.exists = false}; /* a directory that served has one */
    for (unsigned i = 0; i < node->roots.count; i++)
        disks[i] = node->roots.items[i].disk;
    ErrCode code = disk_stat(node->roots.items[0].disk, VFS_MAIN_NAME, &index, err);
    if (code == OK) code = root_key_open(disks, node->roots.count, &node->root_key, &made, err);
    if (code != OK) return node_roots_failed(first_dir(node), code, err);
    node->keys = keys_new(&node->root_key);
    if (made && index.exists)
        LOG_TO(SECURITY, WARN, "node.root_key_was_missing", "directory=" LOG_STR " file=%s",
               LOG_CSTR(first_dir(node)), ROOT_KEY_FILE);
    if (made) {
        LOG_TO(SECURITY, INFO, "node.root_key_made", "directory=" LOG_STR " file=%s id=%s",
               LOG_CSTR(first_dir(node)), ROOT_KEY_FILE, node->root_key.id);
        char text[64];
        snprintf(text, sizeof text, "root key made, id=%s", node->root_key.id); /* fits */
        audit_note(node, "audit.key", text);
    }
    return OK;
}

/* --- doors --- */

static ErrCode open_tls(const char *cert, const char *key, TlsContext **out, Err *err)
{
    uint64_t now_ms = clock_wall_ms(clock_real());
    TRY(tls_context_open(cert, key, now_ms, out, err));
    tls_context_tell(*out, now_ms);
    return OK;
}

ErrCode node_reload_tls(Node *node, const char *cert, const char *key, Err *err)
{
    AUTO(TlsContext, tls_context_unref) tls = NULL;
    bool wanted = cert != NULL && cert[0] != '\0';
    if (wanted != (node->tls != NULL))
        return err_set(err, ERR_CONFIG, "TLS can't be %s without a restart",
                       wanted ? "begun" : "ended");
    if (!wanted) return OK;
    TRY(open_tls(cert, key, &tls, err));
    http_server_set_tls(node->http, tls);
    if (node->s3_http != NULL) http_server_set_tls(node->s3_http, tls);
    tls_context_unref(node->tls);
    node->tls = TAKE(tls);
    return OK;
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
    return node_roots_tell(&node->roots, str_of(who, (size_t)len), err);
}

/* Requests that one door may have in hand at once: what the machine has is shared by the doors. */
static size_t door_requests(const Node *node)
{
    return (size_t)MAX(node->budget.requests / door_count(&node->options), (uint64_t)1);
}

static ErrCode open_server(Node *node, const char *name, const char *address,
                           void (*on_request)(void *ctx, HttpRequest *req), void *ctx,
                           HttpServer **out, Err *err)
{
    HttpServerOptions http = http_server_options();
    http.name = name;
    http.address = address;
    http.loops = node->loops;
    http.loop_count = node->loop_count;
    http.buffers = node->buffers;
    http.tls = node->tls;
    http.on_request = on_request;
    if (on_request == s3_on_request) http.on_refused = s3_on_refused;
    http.ctx = ctx;
    const Budget *b = &node->budget;
    uint64_t doors = door_count(&node->options);
    http.connections_max = (size_t)(b->connections / doors);
    http.requests_max = door_requests(node);
    http.collect_max_bytes = (size_t)(b->collected_bytes / doors);
    http.answer_max_bytes = (size_t)(b->answer_bytes / doors);
    return http_server_open(&http, out, err);
}

/* A body could not be synced: of the root that took it. */
static void tell_failed(void *ctx, const Store *store, const Err *err)
{
    const Node *node = ctx;
    for (unsigned i = 0; i < node->roots.count; i++) {
        if (node->roots.items[i].store == store)
            storage_root_fail(workers_root(node->workers, i), err);
    }
}

static ErrCode open_s3(Node *node, Err *err)
{
    if (node->options.s3 == NULL) return OK;
    TRY(md5_thread_open(node->buffers, &node->md5, err));
    S3Options s3 = {.keys = node->keys,
                    .loop_count = node->loop_count,
                    .requests_max = door_requests(node),
                    .buffers = node->buffers,
                    .md5 = node->md5,
                    .clock = clock_real(),
                    .region = node->options.s3_region,
                    .domain = node->options.s3_domain,
                    .sigv2 = node->options.s3_sigv2,
                    .tls = node->tls != NULL,
                    .upload_expiry_ms = node->options.upload_expiry_ms,
                    .access_log = node->options.access_log,
                    .audit = node->auditor == NULL ? NULL : auditor_audit(node->auditor),
                    .audit_strict = node->options.audit_strict,
                    .fail = tell_failed,
                    .fail_ctx = node};
    node->s3 = s3_new(&s3);
    Err own = {0};
    ErrCode code = open_server(node, "s3", node->options.s3, s3_on_request, node->s3,
                               &node->s3_http, &own);
    if (code == OK) return OK;
    if (code != ERR_IN_USE || node->options.s3_asked)
        return err_set(err, code, "%s", err_text(&own));
    /* A second server of this machine, or another store: its REST door is what was asked for. */
    s3_free(TAKE(node->s3));
    md5_thread_close(TAKE(node->md5));
    LOG(WARN, "node.s3_not_open", "address=%s error=" LOG_STR, node->options.s3,
        LOG_CSTR(err_text(&own)));
    return OK;
}

/* Listens; until the service is published all but health is answered by 503. */
static ErrCode open_doors(Node *node, Err *err)
{
    /* Read by libuv when its pool is first used. */
    if (setenv("UV_THREADPOOL_SIZE", DISK_WORKERS, 0) != 0) {
        return err_set(err, ERR_NO_MEMORY, "set the environment");
    }
    TRY(open_loops(node, err));
    TRY(buffers_open(node->budget.buffers, BUFFERS_SIZE_DEFAULT, &node->buffers, err));
    const Budget *b = &node->budget;
    RestOptions rest = {.keys = node->keys,
                        .limits = {.connections = b->connections,
                                   .requests = b->requests,
                                   .buffers = b->buffers,
                                   .queue = b->queue,
                                   .open_files = b->open_files,
                                   .memory_bytes = b->sum_bytes,
                                   .memory_of = node->memory},
                        .requests_max = door_requests(node),
                        .cors_origins = node->options.cors_origins,
                        .loop_count = node->loop_count,
                        .buffers = node->buffers,
                        .clock = clock_real(),
                        .access_log = node->options.access_log,
                        .upload_expiry_ms = node->options.upload_expiry_ms,
                        .audit = node->auditor == NULL ? NULL : auditor_audit(node->auditor),
                        .audit_strict = node->options.audit_strict};
    node->rest = rest_new(&rest);
    TRY(open_server(node, "rest", node->options.http, rest_on_request, node->rest, &node->http,
                    err));
    TRY(open_s3(node, err));
    return tell_door(node, err);
}

/* --- recovery --- */

static ErrCode recover(Node *node, Err *err)
{
    size_t readers = node->loop_count * door_count(&node->options);
    StoreOptions store = {.wal_segment_size = node->options.segment_size,
                          .wal_spares = WAL_SPARES,
                          .wal_recycled = budget_segments_recycled(node->options.segment_size),
                          .verify_threads = (unsigned)MIN(default_loops(), (size_t)WAL_THREADS_MAX),
                          .index_cache_bytes = node->options.index_cache_bytes,
                          .body_cache_bytes = node->options.body_cache_bytes / readers,
                          .clock = clock_real()};
    return node_roots_recover(&node->roots, node->rest, &store, err);
}

/* --- service --- */

static size_t ask_shards(void *ctx, EngineShardStatus *out, size_t max)
{
    return workers_shards(((Node *)ctx)->workers, out, max);
}

static size_t ask_roots(void *ctx, RestRoot out[ENGINE_ROOTS_MAX])
{
    const Node *node = ctx;
    for (unsigned i = 0; i < node->roots.count; i++) {
        WorkersRoot now;
        MendingStatus ledger;
        workers_root_status(node->workers, i, &now);
        mending_status(node->mending[i], &ledger);
        out[i] = (RestRoot){.directory = node->roots.items[i].dir,
                            .store = node->roots.items[i].store,
                            .scrub = background_scrub(node->background[i]),
                            .device = node->roots.items[i].device,
                            .leads = now.leads,
                            .in_sync = now.in_sync,
                            .out = now.out,
                            .evicted = now.evicted,
                            .full = now.full,
                            .cause = now.cause,
                            .lag_entries = now.lag_entries,
                            .lag_bytes = now.lag_bytes,
                            .lag_known = now.lag_known,
                            .lag_ms = now.lag_ms,
                            .sync_age_ms = now.sync_age_ms,
                            .sync_p99_ms = now.sync_p99_ms,
                            .synced_ms = now.synced_ms,
                            .ledger = {.files = ledger.below,
                                       .bytes = ledger.below_bytes,
                                       .since_ms = ledger.since_ms,
                                       .done_ms = ledger.done_ms,
                                       .mended_ms = ledger.mended_ms,
                                       .mended = ledger.mender.files,
                                       .helpless = ledger.mender.helpless}};
    }
    return node->roots.count;
}

static size_t ask_absent(void *ctx, RestAbsent out[ENGINE_ROOTS_MAX])
{
    const NodeRoots *roots = &((Node *)ctx)->roots;
    for (unsigned i = 0; i < roots->out_count; i++)
        out[i] = (RestAbsent){.directory = roots->out[i].dir, .why = roots->out[i].why};
    return roots->out_count;
}

static void ask_copies(void *ctx, RestCopies *out)
{
    const Node *node = ctx;
    WorkersCopies now;
    ConfirmStatus confirm;
    workers_copies(node->workers, &now);
    confirming_status(node->confirming, &confirm);
    *out = (RestCopies){.needed = now.needed,
                        .lead_moves = now.lead_moves,
                        .sync_changes = now.sync_changes,
                        .async = now.async,
                        .confirm = confirm};
}

static ErrCode act(void *ctx, RestAction action, unsigned root, Err *err)
{
    static const WorkersAction actions[] = {[REST_HAND_OVER] = WORKERS_HAND_OVER,
                                            [REST_EVICT] = WORKERS_EVICT,
                                            [REST_ADD] = WORKERS_ADD};
    return workers_act(((Node *)ctx)->workers, actions[action], root, err);
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

static Durability ask_durability(void *workers, unsigned class)
{
    return workers_durability(workers, class);
}

static bool is_busy(void *ctx)
{
    UNUSED(ctx);
    return rest_in_flight() + s3_in_flight() > 0;
}

/* Four looks in the time an upload has, but neither all the time nor hardly ever. */
static uint64_t uploads_every_ms(uint64_t expiry_ms)
{
    return MIN(MAX(expiry_ms / 4, (uint64_t)500), (uint64_t)600 * 1000);
}

static ErrCode open_background(Node *node, unsigned root, Err *err)
{
    BackgroundOptions options = {
        .root = workers_root(node->workers, root),
        .workers = node->workers,
        .number = root,
        .several = node->roots.count > 1,
        .clock = clock_real(),
        .busy = is_busy,
        .ctx = node,
        .compact = {.dead_percent = node->options.compact_dead_percent,
                    .look_first_ms = COMPACT_LOOK_FIRST_MS},
        .compact_rate = node->options.compact_rate,
        .service = node->service,
        .uploads_every_ms = uploads_every_ms(node->options.upload_expiry_ms),
        .scrub = {.period_ms = node->options.scrub_period_ms,
                  .rate_min = node->options.scrub_rate_min,
                  .rate_max = node->options.scrub_rate_max},
        .expiry_wait_ms = node->options.expiry_wait_ms};
    return background_open(&options, &node->background[root], err);
}

static ErrCode open_mending(Node *node, unsigned root, Err *err)
{
    MendingOptions options = {.root = workers_root(node->workers, root),
                              .workers = node->workers,
                              .scrub = background_scrub(node->background[root]),
                              .number = root,
                              .clock = clock_real(),
                              .rate = MAX(node->options.scrub_rate_max, (uint64_t)MIB),
                              .busy = is_busy,
                              .ctx = node};
    for (unsigned i = 0; i < node->roots.count; i++) {
        if (i != root) options.sources[options.source_count++] = node->roots.items[i].store;
    }
    return mending_open(&options, &node->mending[root], err);
}

static ErrCode open_confirming(Node *node, Err *err)
{
    ConfirmingOptions options = {.workers = node->workers,
                                 .root_count = node->roots.count,
                                 .clock = clock_real(),
                                 .rate = MAX(node->options.scrub_rate_max, (uint64_t)MIB),
                                 .busy = is_busy,
                                 .ctx = node};
    for (unsigned i = 0; i < node->roots.count; i++)
        options.stores[i] = node->roots.items[i].store;
    return node->roots.count == 1 ? OK : confirming_open(&options, &node->confirming, err);
}

static ErrCode open_service(Node *node, Err *err)
{
    node->buckets = buckets_new();
    unsigned count = node->roots.count;
    PlacementClass standard = placement_class_default(PLACE_CLASS_STANDARD, (uint8_t)count);
    node->classes = classes_new(&standard);
    WorkersOptions workers = {.root_count = count,
                              .roots_max = CONFIG_DATA_MAX,
                              .copies = count + node->roots.out_count,
                              .control = node->roots.control,
                              .buckets = node->buckets,
                              .keys = node->keys,
                              .classes = node->classes,
                              .clock = clock_real(),
                              .seed = rng_u64(&node->rng),
                              .standard = standard,
                              .queue_max = (size_t)node->budget.queue,
                              .backlog_max = (size_t)node->budget.backlog,
                              .async_lag = {.entries = node->options.async_lag_entries,
                                            .bytes = node->options.async_lag_bytes,
                                            .ns = node->options.async_lag_ms * UINT64_C(1000000)},
                              .backlog_bytes_max = node->budget.backlog_log_bytes,
                              .apply_delay_ms = APPLY_DELAY_MS};
    for (unsigned i = 0; i < count; i++) {
        workers.stores[i] = node->roots.items[i].store;
        workers.dirs[i] = node->roots.items[i].dir;
        workers.devices[i] = node->roots.items[i].device;
    }
    TRY(workers_open(&workers, &node->workers, err));
    ServiceOptions service = {.states = workers_states(node->workers),
                              .classes = node->classes,
                              .fail = workers_fail_root,
                              .clock = clock_real(),
                              .buckets = node->buckets,
                              .submit = workers_submit,
                              .submit_ctx = node->workers,
                              .ready = workers_ready(node->workers),
                              .full = workers_full(node->workers),
                              .room = workers_room(node->workers),
                              .spared = workers_spared(node->workers),
                              .look = workers_look_at_space,
                              .durability = ask_durability,
                              .why_failed = workers_why_failed};
    for (unsigned i = 0; i < count; i++)
        service.stores[i] = node->roots.items[i].store;
    node->service = service_new(&service);
    RestNode rest = {.ctx = node,
                     .shards = ask_shards,
                     .roots = ask_roots,
                     .copies = ask_copies,
                     .absent = ask_absent,
                     .act = act,
                     .in_flight = ask_in_flight,
                     .failed = ask_failed,
                     .cause = ask_cause,
                     .fail = tell_failed};
    for (unsigned i = 0; i < count; i++) {
        TRY(open_background(node, i, err));
        TRY(open_mending(node, i, err));
    }
    TRY(open_confirming(node, err));
    rest_publish(node->rest, node->service, &rest);
    if (node->s3 != NULL) s3_publish(node->s3, node->service);
    return OK;
}

/* --- life --- */

ErrCode node_open(const NodeOptions *options, Node **out, Err *err)
{
    AUTO(Node, node_free) node = mem_new(sizeof *node);
    node->options = *options;
    if (node->options.upload_expiry_ms == 0) node->options.upload_expiry_ms = UPLOAD_EXPIRY_MS;
    rng_init_system(&node->rng);
    node->roots.rng = &node->rng;
    TRY(plan(node, err));
    if (has_tls(options)) TRY(open_tls(options->tls_cert, options->tls_key, &node->tls, err));
    TRY(node_roots_open(&node->roots, options->data, options->data_count, err));
    TRY(open_audit(node, err));
    TRY(open_key(node, err));
    TRY(open_doors(node, err));
    node->options.tls_cert = node->options.tls_key = NULL; /* a reload may free them */
    ErrCode code = recover(node, err);
    if (code == OK) code = open_service(node, err);
    if (code != OK) return code;
    *out = TAKE(node);
    return OK;
}

uint16_t node_http_port(const Node *node)
{
    return http_server_port(node->http);
}

uint16_t node_s3_port(const Node *node)
{
    return node->s3_http == NULL ? 0 : http_server_port(node->s3_http);
}

unsigned node_disks(const Node *node)
{
    unsigned disks = 0;
    for (unsigned i = 0; i < node->roots.count; i++) {
        bool known = false;
        for (unsigned j = 0; j < i; j++)
            known = known || node->roots.items[j].device == node->roots.items[i].device;
        disks += !known;
    }
    return disks;
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
    if (node->s3 != NULL) s3_set_access_log(node->s3, on);
}

typedef struct {
    Node *node;
    unsigned loop;
} CloseReader;

static void close_reader(void *arg)
{
    CloseReader *close = arg;
    rest_close_reader(close->node->rest, close->loop);
    if (close->node->s3 != NULL) s3_close_reader(close->node->s3, close->loop);
}

/* No request is left afterwards, nor a reader. */
static void close_doors(Node *node)
{
    http_server_close(TAKE(node->http));
    http_server_close(TAKE(node->s3_http));
    for (size_t i = 0; i < node->loop_count && node->rest != NULL; i++) {
        CloseReader close = {.node = node, .loop = (unsigned)i};
        loop_call(node->loops[i], close_reader, &close);
    }
}

static size_t connections(const Node *node)
{
    size_t s3 = node->s3_http != NULL ? http_server_connections(node->s3_http) : 0;
    return http_server_connections(node->http) + s3;
}

/* One after the other, within one time. False: requests are still under way. */
static bool drain_doors(Node *node, uint32_t timeout_ms)
{
    HttpServer *doors[] = {node->s3_http, node->http};
    uint64_t end_ms = clock_boot_ns(clock_real()) / 1000000 + timeout_ms;
    bool drained = true;
    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        uint64_t now_ms = clock_boot_ns(clock_real()) / 1000000;
        uint32_t left_ms = now_ms < end_ms ? (uint32_t)(end_ms - now_ms) : 0;
        if (doors[i] != NULL) drained = http_server_drain(doors[i], left_ms) && drained;
    }
    if (!drained) LOG(WARN, "node.drain_timeout", "connections=%zu", connections(node));
    return drained;
}

static void background_end(void *background)
{
    background_close(background);
}

static void mending_end(void *mending)
{
    mending_close(mending);
}

/* Ends part, of root. Of several roots one whose disk stands still is left as it is. */
static void end_part(Node *node, unsigned root, void (*end)(void *part), void *part)
{
    Thread thread = {.started = false};
    bool apart = part != NULL && node->roots.count > 1 &&
                 thread_start(&thread, "root-end", end, part, NULL) == OK;
    if (!apart)
        end(part);
    else if (!thread_join_within(&thread, ROOT_END_MORE_MS))
        workers_set_stuck(node->workers, root);
}

static void close_background(Node *node)
{
    confirming_close(TAKE(node->confirming));
    for (unsigned i = 0; i < 2 * ENGINE_ROOTS_MAX; i++) { /* mending reads the other roots */
        unsigned r = i % ENGINE_ROOTS_MAX;
        if (i < ENGINE_ROOTS_MAX) end_part(node, r, mending_end, TAKE(node->mending[r]));
        if (i >= ENGINE_ROOTS_MAX) end_part(node, r, background_end, TAKE(node->background[r]));
    }
}

/* Threads that stand still use what they have until the process ends; that can't before their disk
 * goes on. */
static bool leaves_stuck(Node *node)
{
    bool stuck = false;
    for (unsigned i = 0; i < node->roots.count && node->workers != NULL; i++)
        stuck = stuck || workers_stuck(node->workers, i);
    if (node->roots.control == NULL) return stuck;
    return !control_local_stop_writers(node->roots.control, stuck ? 0 : ROOT_END_MORE_MS) || stuck;
}

/* All but what a thread may still use that does not end: others can have the whole directories at
 * once. The process is about to end. */
static void let_go(Node *node)
{
    if (!workers_stuck(node->workers, 0)) auditor_close(TAKE(node->auditor));
    for (unsigned i = 0; i < node->roots.count; i++) {
        if (workers_stuck(node->workers, i)) continue;
        store_free(TAKE(node->roots.items[i].store));
        disk_free(TAKE(node->roots.items[i].disk));
    }
}

ErrCode node_stop(Node *node, uint32_t timeout_ms, Err *err)
{
    LOG_TO(OPERATIONS, INFO, "node.stopping", "connections=%zu", connections(node));
    rest_drain(node->rest);
    if (!drain_doors(node, timeout_ms)) workers_give_up(node->workers);
    close_doors(node);
    close_background(node);
    if (workers_failed(node->workers)) {
        return err_set(err, ERR_ROOT_FAILED, "%s had failed; the log is left as it is",
                       first_dir(node));
    }
    TRY(workers_close(node->workers, err));
    LOG_TO(OPERATIONS, INFO, "node.stopped", "directory=" LOG_STR, LOG_CSTR(first_dir(node)));
    return OK;
}

void node_free(Node *node)
{
    if (node == NULL) return;
    close_doors(node);
    close_background(node);
    if (leaves_stuck(node)) return let_go(node);
    workers_free(node->workers);
    service_free(node->service);
    buckets_free(node->buckets);
    classes_free(node->classes);
    node_roots_close_stores(&node->roots);
    for (size_t i = 0; i < node->loop_count; i++)
        loop_close(node->loops[i]);
    rest_free(node->rest);
    s3_free(node->s3);
    md5_thread_close(node->md5);
    auditor_close(node->auditor);
    buffers_close(node->buffers);
    node_roots_close(&node->roots);
    tls_context_unref(node->tls);
    keys_free(node->keys);
    key_wipe(&node->root_key);
    mem_free(node);
}
