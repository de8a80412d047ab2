/* The one-node simulator: the real engine, replica, store, log, packs, blobs and index over the
 * simulated disk, in one thread. Every seed draws its own mix of work and faults. Between changes
 * the process is killed, the power fails (also inside recovery), or it stops cleanly; everything
 * that was acknowledged must be there, nothing that was refused, and conditions must have had one
 * winner.
 *
 *   sim_one_node [--seed N] [--count N] [--required N] [--seeds FILE] [--plant NAME] [--trace]
 *                [--until-failure]
 *
 * --seeds FILE (test/sim/seeds.txt) runs the seeds that once failed, before the others.
 * A failing seed prints itself; the same seed gives the same run. One seed in a hundred runs twice
 * and must give the same trace hash. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "disk/sim.h"
#include "one_node_compact.h"
#include "one_node_damage.h"
#include "one_node_model.h"
#include "one_node_readers.h"
#include "one_node_versions.h"
#include "wal/wal_priv.h"

#define STEPS 500
#define INDEX_LOST_EVERY 4 /* restarts */
#define ORPHANS_MAX 8

typedef struct {
    uint64_t seed;
    Rng rng;
    Disk *disk;
    NodeKit kit;
    NodeKitOptions options;
    bool up;
    bool crashed_open; /* the last opening was cut off before it succeeded */
    bool lazy;         /* little is applied: restarts find much of the log */
    Model model;
    Readers readers;
    SimVersions versions;
    SimCompact compact;
    BodyId orphans[ORPHANS_MAX]; /* uploaded, never submitted, since the last start */
    size_t orphan_count;
    SimDiskFaults faults;
    Disk *older;     /* the disk as some crash before left it; NULL: none */
    WalPos attested; /* what the log must attest, beyond what it says */
    ValueId next_value;
    uint64_t hash;
    bool trace;
    uint64_t restarts;
} Sim;

static void trace(Sim *sim, const char *what, uint64_t a, uint64_t b)
{
    uint64_t words[3] = {0, a, b};
    memcpy(words, what, MIN(strlen(what), sizeof words[0]));
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        sim->hash = (sim->hash ^ words[i]) * 0x100000001b3ULL;
        sim->hash ^= sim->hash >> 29;
    }
    if (sim->trace) printf("%s %" PRIu64 " %" PRIu64 "\n", what, a, b);
}

static void op_done(Mutation *m)
{
    Sim *sim = m->ctx;
    ModelOp *op = (ModelOp *)((char *)m - offsetof(ModelOp, m));
    model_answered(&sim->model, op);
    trace(sim, "answer", (uint64_t)m->code, op->value);
}

/* --- work --- */

static OpKind draw_kind(Rng *rng)
{
    unsigned pick = (unsigned)rng_below(rng, 100);
    return pick < 34   ? OP_KIND_PUT
           : pick < 45 ? OP_KIND_NEW
           : pick < 58 ? OP_KIND_CAS
           : pick < 68 ? OP_KIND_DELETE
           : pick < 74 ? OP_KIND_CAS_DELETE
           : pick < 82 ? OP_KIND_UPDATE_ID
           : pick < 88 ? OP_KIND_DELETE_ID
           : pick < 93 ? OP_KIND_CREATE
           : pick < 97 ? OP_KIND_BUCKET_CREATE
                       : OP_KIND_BUCKET_DELETE;
}

static void choose_target(Sim *sim, ModelOp *op)
{
    Model *model = &sim->model;
    op->kind = draw_kind(&sim->rng);
    op->bucket = rng_below(&sim->rng, 4) == 0 ? 1 : 0;
    op->key = (unsigned)rng_below(&sim->rng, MODEL_SLOTS);
    if (op->kind == OP_KIND_BUCKET_CREATE || op->kind == OP_KIND_BUCKET_DELETE) {
        op->bucket = 1;
        op->key = 0;
    } else if (model_key_name(model, op->bucket, op->key).len == 0) {
        if (model_slot_busy(model, op->bucket, op->key))
            op->key = 0;
        else
            op->kind = OP_KIND_NEW_NAME;
    }
}

static void add_request(Sim *sim, ModelOp *op)
{
    if (rng_below(&sim->rng, 6) != 0) return;
    op->m.has_request = true;
    op->m.request = id128_random(&sim->rng);
    op->m.request_hash = sha256_of(op->m.request.bytes, sizeof op->m.request.bytes);
}

/* A client asks again what became of its request. */
static bool ask_again(Sim *sim, ModelOp *op)
{
    bool again = rng_below(&sim->rng, 3) == 0   ? model_retry(&sim->model, op)
                 : rng_below(&sim->rng, 8) == 0 ? model_repeat(&sim->model, op, &sim->rng)
                                                : false;
    if (!again) return false;
    op->m.bucket = model_bucket_name(op->bucket);
    op->m.key = model_key_name(&sim->model, op->bucket, op->key);
    op->m.done = op_done;
    op->m.ctx = sim;
    return true;
}

static void draw_quotas(Sim *sim, BucketSettings *settings)
{
    settings->has_quota_files = rng_below(&sim->rng, 2) == 0;
    settings->has_quota_bytes = rng_below(&sim->rng, 2) == 0;
    settings->quota_files = rng_below(&sim->rng, 7);
    settings->quota_bytes = rng_below(&sim->rng, 3) == 0 ? 0 : rng_below(&sim->rng, 100000);
}

static void fill_op(Sim *sim, ModelOp *op)
{
    static const MutationType types[] = {
        [OP_KIND_PUT] = MUTATION_PUT,
        [OP_KIND_NEW] = MUTATION_PUT,
        [OP_KIND_CAS] = MUTATION_PUT,
        [OP_KIND_DELETE] = MUTATION_DELETE,
        [OP_KIND_CAS_DELETE] = MUTATION_DELETE,
        [OP_KIND_CREATE] = MUTATION_CREATE,
        [OP_KIND_NEW_NAME] = MUTATION_CREATE,
        [OP_KIND_UPDATE_ID] = MUTATION_UPDATE,
        [OP_KIND_DELETE_ID] = MUTATION_DELETE_FILE,
        [OP_KIND_BUCKET_CREATE] = MUTATION_BUCKET_CREATE,
        [OP_KIND_BUCKET_DELETE] = MUTATION_BUCKET_DELETE,
        [OP_KIND_REPEAT] = MUTATION_PUT,
    };
    Mutation *m = &op->m;
    choose_target(sim, op);
    m->type = types[op->kind];
    m->bucket = model_bucket_name(op->bucket);
    m->key = model_key_name(&sim->model, op->bucket, op->key);
    m->done = op_done;
    m->ctx = sim;
    op->file = sim->model.ids[op->bucket][op->key];
    m->file = op->file;
    if (op->kind == OP_KIND_BUCKET_CREATE) draw_quotas(sim, &m->settings);
    if (op->kind == OP_KIND_NEW) m->if_none_match = STR("*");
    if (op->kind == OP_KIND_CAS || op->kind == OP_KIND_CAS_DELETE) {
        op->expected = sim->model.values[op->bucket][op->key];
        if (op->expected == 0) op->expected = 1;
        model_etag(op->expected, op->etag);
        m->if_match = str_from_cstr(op->etag);
    }
}

static bool has_body(MutationType type)
{
    return type == MUTATION_PUT || type == MUTATION_CREATE || type == MUTATION_UPDATE;
}

static void submit(Sim *sim)
{
    ModelOp *op = model_take(&sim->model);
    if (op == NULL) return;
    if (!ask_again(sim, op)) fill_op(sim, op);
    if (has_body(op->m.type)) {
        op->value = ++sim->next_value << 8 | 1;
        model_body(op->value, &op->body);
        if (!op->m.has_request) add_request(sim, op);
        Err err = {0};
        if (node_kit_body(&sim->kit, &op->m, buf_str(&op->body), &op->extent, &err) != OK) {
            model_release(op); /* a fault of the disk: this upload never became a change */
            return;
        }
        if (op->m.extent_count > 0 && sim->orphan_count < ORPHANS_MAX &&
            rng_below(&sim->rng, 8) == 0) {
            sim->orphans[sim->orphan_count++] = op->m.body; /* whoever sent it is gone */
            model_release(op);
            return;
        }
    }
    trace(sim, "submit", (uint64_t)op->kind, op->value);
    model_submitted(&sim->model, op);
    engine_submit(sim->kit.engine, &op->m);
}

static void release_answered(Sim *sim)
{
    for (size_t i = 0; i < MODEL_OPS; i++) {
        if (sim->model.ops[i].answered) model_release(&sim->model.ops[i]);
    }
}

static void apply(Sim *sim)
{
    if (sim->lazy && rng_below(&sim->rng, 10) != 0) return;
    size_t applied = 0;
    Err err = {0};
    ErrCode code = store_apply(sim->kit.store, 1 + rng_below(&sim->rng, 30), &applied, &err);
    trace(sim, "apply", applied, (uint64_t)code);
    if (code == ERR_CORRUPT) model_fail(&sim->model, "apply: %s", err_text(&err));
}

static void checkpoint(Sim *sim)
{
    Err err = {0};
    ErrCode code = store_checkpoint(sim->kit.store, &err);
    trace(sim, "check", (uint64_t)code, 0);
    if (code == ERR_CORRUPT) model_fail(&sim->model, "checkpoint: %s", err_text(&err));
}

static void idle(Sim *sim)
{
    Err err = {0};
    WalStats stats;
    if (sim->kit.batch_first != NULL || !store_log_needs_idle(sim->kit.store)) return;
    wal_stats(store_wal(sim->kit.store), &stats);
    ErrCode code = store_log_idle(sim->kit.store, &err);
    if (code == OK) sim->attested = stats.durable;
    if (code == OK && wal_needs_spare(store_wal(sim->kit.store))) {
        code = wal_prepare_spare(store_wal(sim->kit.store), &err);
    }
    trace(sim, "idle", (uint64_t)code, 0);
}

/* --- life and death --- */

/* What was uploaded but never submitted must be gone. */
static void check_orphans(Sim *sim)
{
    for (size_t i = 0; i < sim->orphan_count; i++) {
        Err err = {0};
        AUTO(BlobReader, blob_reader_free) reader = NULL;
        ErrCode code = blob_reader_open(store_blobs(sim->kit.store), sim->orphans[i], 0, &reader,
                                        &err);
        if (code != ERR_NOT_FOUND) model_fail(&sim->model, "an orphan was not swept");
    }
    sim->orphan_count = 0;
}

static void open_node(Sim *sim)
{
    bool faulty = rng_chance(&sim->rng, 200000);
    sim->options.seed = rng_u64(&sim->rng);
    for (int tries = 0; tries < 4; tries++) {
        Err err = {0};
        disk_sim_stop_at(sim->disk, faulty && tries < 3 ? rng_below(&sim->rng, 120) : UINT64_MAX);
        ErrCode code = node_kit_open(&sim->kit, sim->disk, &sim->options, &err);
        if (code == OK) {
            code = node_kit_ready(&sim->kit, &err);
            if (code != OK) node_kit_drop(&sim->kit);
        }
        bool stopped = disk_sim_stopped(sim->disk);
        disk_sim_stop_at(sim->disk, UINT64_MAX);
        trace(sim, "open", (uint64_t)code, stopped);
        sim->crashed_open = tries > 0;
        if (code == OK) {
            sim->up = true;
            sim->attested = (WalPos){0};
            sim->restarts++;
            check_orphans(sim);
            readers_open(&sim->readers);
            return;
        }
        if (!stopped) {
            model_fail(&sim->model, "start: %s: %s", err_info(code)->name, err_text(&err));
            return;
        }
        disk_sim_crash(sim->disk); /* again, inside recovery */
    }
    model_fail(&sim->model, "start: never came up");
}

/* The power will fail at one of the next operations of the disk: within a batch, a rotation, a
 * checkpoint. What is read from then on says that it could not be. */
static void arm_stop(Sim *sim)
{
    disk_sim_stop_at(sim->disk, rng_below(&sim->rng, 40));
    sim->model.reads_may_fail = true;
    trace(sim, "arm", 0, 0);
}

static void disarm_stop(Sim *sim)
{
    disk_sim_stop_at(sim->disk, UINT64_MAX);
    sim->model.reads_may_fail = sim->faults.read_error > 0;
}

/* What the log attests, from its process that is about to die. */
static DamageBounds damage_bounds(const Sim *sim)
{
    WalStats stats;
    wal_stats(store_wal(sim->kit.store), &stats);
    bool more = wal_pos_cmp(sim->attested, stats.attested) > 0;
    return (DamageBounds){.active_segment = stats.active_segment,
                          .attested = more ? sim->attested : stats.attested};
}

/* The disk as the crash left it, if it is to be damaged when the model knows what it holds. */
static Disk *keep_crashed(Sim *sim)
{
    if (disk_sim_pending(sim->disk) > 0 || rng_below(&sim->rng, 2) == 0) return NULL;
    return disk_sim_copy(sim->disk, rng_u64(&sim->rng));
}

/* Now and then index.db is lost while the process is down: it is a view, and the start makes it
 * again. */
static void lose_index(Sim *sim)
{
    DiskStat stat = {0};
    Err err = {0};
    if (sim->restarts % INDEX_LOST_EVERY != INDEX_LOST_EVERY - 1) return;
    ErrCode code = disk_stat(sim->disk, "index.db", &stat, &err);
    if (code == OK && stat.exists) code = disk_unlink(sim->disk, "index.db", &err);
    if (code != OK) model_fail(&sim->model, "lose the index: %s", err_text(&err));
    trace(sim, "lost", stat.exists, 0);
}

/* Where the log ended that the process has written, synced or not. */
static WalPos log_written(const Sim *sim)
{
    const Wal *wal = store_wal(sim->kit.store);
    uint64_t len = ALIGN_UP((uint64_t)wal->batch.len, (uint64_t)WAL_BLOCK);
    return (WalPos){wal->header.id, wal->batch.start + len};
}

/* A start finds no more log than was written: no frames of a file's earlier life. */
static void check_log_end(Sim *sim, WalPos written)
{
    WalPos end = sim->kit.opened.wal.end;
    if (sim->crashed_open || end.segment != written.segment || end.offset <= written.offset) return;
    model_fail(&sim->model,
               "segment %" PRIu64 " was written up to %" PRIu64 " and read up to %" PRIu64,
               end.segment, written.offset, end.offset);
}

static void restart(Sim *sim, bool power)
{
    static const SimDiskFaults none;
    trace(sim, power ? "power" : "kill", 0, 0);
    readers_close(&sim->readers);
    sim_compact_close(&sim->compact);
    DamageBounds bounds = damage_bounds(sim);
    WalPos written = log_written(sim);
    disk_sim_stop_at(sim->disk, 0); /* an index that is closed would be synced first */
    node_kit_drop(&sim->kit);
    sim->up = false;
    if (power)
        disk_sim_crash(sim->disk);
    else
        disk_sim_kill(sim->disk);
    disk_sim_set_faults(sim->disk, &none);
    disarm_stop(sim);
    model_crashed(&sim->model);
    versions_crashed(&sim->versions);
    AUTO(Disk, disk_free) crashed = power ? keep_crashed(sim) : NULL;
    lose_index(sim);
    open_node(sim);
    if (sim->model.failed) return;
    check_log_end(sim, written);
    model_compare(&sim->model, &sim->kit, true);
    if (!sim->model.failed) versions_compare(&sim->versions, true);
    if (crashed != NULL && !sim->model.failed) {
        uint64_t seen = damage_session(&sim->model, crashed, sim->older, &bounds, &sim->options,
                                       &sim->rng);
        trace(sim, "damage", seen, 0);
        disk_free(TAKE(sim->older));
        sim->older = TAKE(crashed);
    }
    disk_sim_set_faults(sim->disk, &sim->faults);
}

static void clean_stop(Sim *sim)
{
    static const SimDiskFaults none;
    disk_sim_set_faults(sim->disk, &none);
    disarm_stop(sim);
    node_kit_settle(&sim->kit);
    release_answered(sim);
    if (engine_failed(sim->kit.engine)) return;
    Err err = {0};
    StoreStatus status;
    store_status(sim->kit.store, &status);
    if (status.failed) return;
    readers_close(&sim->readers);
    sim_compact_close(&sim->compact);
    ErrCode code = node_kit_close(&sim->kit, &err);
    release_answered(sim);
    sim->up = false;
    trace(sim, "stop", (uint64_t)code, 0);
    if (code == ERR_NO_SPACE)
        model_fail(&sim->model, "stop: there is room, but: %s", err_text(&err));
    else if (code != OK)
        model_fail(&sim->model, "stop: %s", err_text(&err));
    disk_sim_kill(sim->disk);
    if (rng_below(&sim->rng, 2) == 0) disk_sim_crash(sim->disk);
    open_node(sim);
    if (sim->model.failed) return;
    if (sim->kit.opened.unapplied != 0 && !sim->crashed_open) {
        model_fail(&sim->model, "a clean stop left %" PRIu64 " records", sim->kit.opened.unapplied);
    }
    model_compare(&sim->model, &sim->kit, false);
    if (!sim->model.failed) versions_compare(&sim->versions, false);
    sim_compact_check(&sim->model, &sim->kit);
    model_check_requests(&sim->model, &sim->kit);
    if (!sim->crashed_open) model_check_usage(&sim->model, &sim->kit);
    if (!sim->crashed_open) versions_check_usage(&sim->versions);
    disk_sim_set_faults(sim->disk, &sim->faults);
}

static bool node_failed(Sim *sim)
{
    StoreStatus status;
    if (disk_sim_stopped(sim->disk)) return true;
    store_status(sim->kit.store, &status);
    return status.failed || engine_failed(sim->kit.engine);
}

static void compare(Sim *sim)
{
    model_compare(&sim->model, &sim->kit, false);
    if (!sim->model.failed) versions_compare(&sim->versions, false);
}

static void step(Sim *sim)
{
    trace(sim, "versions", versions_step(&sim->versions), 0);
    unsigned pick = (unsigned)rng_below(&sim->rng, 1000);
    if (pick < 360)
        submit(sim);
    else if (pick < 380)
        trace(sim, "find", readers_find(&sim->readers, &sim->rng), 0);
    else if (pick < 420)
        trace(sim, "list", readers_list(&sim->readers, &sim->rng), 0);
    else if (pick < 560)
        node_kit_append(&sim->kit, 1 + rng_below(&sim->rng, 8));
    else if (pick < 750)
        node_kit_sync(&sim->kit);
    else if (pick < 840)
        apply(sim);
    else if (pick < 890)
        checkpoint(sim);
    else if (pick < 930)
        idle(sim);
    else if (pick < 960)
        engine_turn(sim->kit.engine);
    else if (pick < 980)
        compare(sim);
    else if (pick < 984)
        restart(sim, true);
    else if (pick < 988)
        arm_stop(sim);
    else if (pick < 996)
        restart(sim, false);
    else
        clean_stop(sim);
    if (sim->model.failed || !sim->up) return;
    release_answered(sim);
    readers_note(&sim->readers);
    if (rng_below(&sim->rng, 3) == 0) {
        trace(sim, "compact", sim_compact(&sim->compact, &sim->model, &sim->kit, &sim->rng), 0);
        sim->kit.clock.boot_ns += 1000000;
    }
    sim->kit.clock.wall_ms += rng_below(&sim->rng, 5);
    if (node_failed(sim)) restart(sim, rng_below(&sim->rng, 2) == 0);
}

static void draw_options(Sim *sim)
{
    static const uint64_t segments[] = {64 * KIB, 64 * KIB, 256 * KIB};
    sim->options.shards = 1 + (unsigned)rng_below(&sim->rng, 6);
    sim->options.segment_size = segments[rng_below(&sim->rng, ARRAY_LEN(segments))];
    sim->options.pack_size = rng_below(&sim->rng, 2) == 0 ? 128 * KIB : 0;
    static const size_t backlogs[] = {0, 0, 20, 3};
    sim->options.backlog_bytes_max = rng_below(&sim->rng, 4) == 0 ? 100 * KIB : 0;
    sim->options.backlog_max = backlogs[rng_below(&sim->rng, ARRAY_LEN(backlogs))];
    sim->lazy = rng_below(&sim->rng, 4) == 0;
    if (rng_below(&sim->rng, 4) == 0) sim->faults.write_error = 3000;
    if (rng_below(&sim->rng, 4) == 0) sim->faults.no_space = 3000;
    if (rng_below(&sim->rng, 4) == 0) sim->faults.sync_error = 10000;
    static const unsigned recycled[] = {0, 0, 2, 8};
    sim->options.recycled = recycled[rng_below(&sim->rng, ARRAY_LEN(recycled))];
    if (rng_below(&sim->rng, 4) == 0) sim->faults.read_error = 1000;
    if (rng_below(&sim->rng, 4) == 0) sim->faults.stall = 2000;
    sim->model.reads_may_fail = sim->faults.read_error > 0;
}

static void print_options(const Sim *sim)
{
    const NodeKitOptions *o = &sim->options;
    const SimDiskFaults *f = &sim->faults;
    printf("  drawn: shards %u, segments of %" PRIu64 " (%u recycled), packs of %" PRIu64
           ", backlog %zu records or %" PRIu64 " bytes%s\n",
           o->shards, o->segment_size, o->recycled, o->pack_size, o->backlog_max,
           o->backlog_bytes_max, sim->lazy ? ", lazy applier" : "");
    printf("  faults in a million: write %u, no space %u, sync %u, read %u, stall %u\n",
           f->write_error, f->no_space, f->sync_error, f->read_error, f->stall);
}

/* The end: no more faults; what was promised is there, and it works again. */
static void last_words(Sim *sim)
{
    memset(&sim->faults, 0, sizeof sim->faults);
    sim->model.reads_may_fail = false;
    restart(sim, rng_below(&sim->rng, 2) == 0);
    if (sim->model.failed) return;
    Err err = {0};
    ErrCode code = node_kit_put(&sim->kit, STR("files"), STR("last"), STR("words"), &err);
    if (code != OK) model_fail(&sim->model, "no progress: %s", err_info(code)->name);
    if (!sim->model.failed) sim_compact_check(&sim->model, &sim->kit);
}

static HistoryStats history_stats; /* of all seeds */

/* One seed; true if all went well. */
static bool run_seed(uint64_t seed, bool show, uint64_t *hash, uint64_t *acknowledged)
{
    Sim *sim = mem_new(sizeof *sim);
    sim->seed = seed;
    sim->trace = show;
    sim->hash = 0xcbf29ce484222325ULL;
    rng_init(&sim->rng, seed);
    index_seed_randomness((uint32_t)seed);
    model_init(&sim->model);
    readers_init(&sim->readers, &sim->model, &sim->kit);
    versions_init(&sim->versions, &sim->model, &sim->kit, seed);
    draw_options(sim);
    Err err = {0};
    ErrCode code = disk_sim_new(rng_u64(&sim->rng), &sim->disk, &err);
    ASSERT(code == OK);
    disk_sim_set_clock(sim->disk, &sim->kit.clock);
    open_node(sim);
    if (!sim->model.failed) disk_sim_set_faults(sim->disk, &sim->faults);
    for (int i = 0; i < STEPS && !sim->model.failed && sim->up; i++)
        step(sim);
    if (!sim->model.failed) last_words(sim);
    if (!sim->model.failed) model_check_history(&sim->model, &history_stats);
    bool good = !sim->model.failed;
    if (!good) {
        printf("seed %" PRIu64 ": %s\n", seed, sim->model.failure);
        print_options(sim);
        printf("  replay: ./dev sim SEED=%" PRIu64 " --trace\n", seed);
    }
    *hash = sim->hash;
    *acknowledged += sim->model.acknowledged + sim->versions.changes;
    readers_close(&sim->readers);
    sim_compact_close(&sim->compact);
    if (sim->up) node_kit_drop(&sim->kit);
    versions_deinit(&sim->versions);
    model_deinit(&sim->model);
    disk_free(sim->older);
    disk_free(sim->disk);
    mem_free(sim);
    return good;
}

typedef struct {
    uint64_t seed;
    uint64_t count;
    uint64_t required;
    bool trace;
    bool until_failure;
    const char *seeds; /* a file; NULL: none */
} Arguments;

typedef struct {
    uint64_t executed;
    uint64_t failed;
    uint64_t acknowledged;
} Totals;

static bool parse(int argc, char **argv, Arguments *out)
{
    *out = (Arguments){.seed = 1, .count = 1};
    bool counted = false;
    for (int i = 1; i < argc; i++) {
        uint64_t *number = strcmp(argv[i], "--seed") == 0       ? &out->seed
                           : strcmp(argv[i], "--count") == 0    ? &out->count
                           : strcmp(argv[i], "--required") == 0 ? &out->required
                                                                : NULL;
        if (number == &out->count) counted = true;
        if (number != NULL && i + 1 < argc) {
            if (!str_to_u64(str_from_cstr(argv[++i]), UINT64_MAX, number)) return false;
        } else if (strcmp(argv[i], "--plant") == 0 && i + 1 < argc) {
            fault_plant(argv[++i], true);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            out->seeds = argv[++i];
        } else if (strcmp(argv[i], "--trace") == 0) {
            out->trace = true;
        } else if (strcmp(argv[i], "--until-failure") == 0) {
            out->until_failure = true;
        } else {
            return false;
        }
    }
    if (out->until_failure && !counted) out->count = 500;
    return true;
}

static volatile uint64_t running_seed; /* for on_abort() */

/* An assertion failed: says which seed did it. */
static void on_abort(int signal)
{
    UNUSED(signal);
    dprintf(STDOUT_FILENO, "seed %" PRIu64 ": an assertion failed\n", running_seed);
}

static void run_one(uint64_t seed, const Arguments *args, Totals *totals)
{
    uint64_t hash = 0;
    uint64_t again = 0;
    running_seed = seed;
    totals->executed++;
    if (!run_seed(seed, args->trace, &hash, &totals->acknowledged)) totals->failed++;
    if (seed % 100 != 0) return;
    if (run_seed(seed, false, &again, &totals->acknowledged) && again != hash) {
        printf("seed %" PRIu64 ": the second run differs from the first\n", seed);
        totals->failed++;
    }
}

/* Lines: a seed, then what it found; '#' begins a comment. */
static bool run_file(const Arguments *args, Totals *totals)
{
    FILE *file = fopen(args->seeds, "re");
    if (file == NULL) return false;
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        Str seed;
        Str rest;
        uint64_t number = 0;
        if (line[0] == '#') continue;
        (void)str_split(str_trim(str_from_cstr(line)), ' ', &seed,
                        &rest); /* the rest is for people */
        if (str_to_u64(seed, UINT64_MAX, &number)) run_one(number, args, totals);
    }
    fclose(file);
    return true;
}

int main(int argc, char **argv)
{
    Arguments args;
    if (!parse(argc, argv, &args)) {
        fprintf(stderr, "usage: sim_one_node [--seed N] [--count N] [--required N] [--seeds FILE] "
                        "[--plant NAME] [--trace] [--until-failure]\n");
        return 2;
    }
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC); /* faults make many lines */
    ASSERT(quiet >= 0);
    setvbuf(stdout, NULL, _IOLBF, 0); /* a failing seed is seen at once */
    log_init(args.trace ? 2 : quiet, LOG_TEXT, LOG_INFO);
    ASSERT(signal(SIGABRT, on_abort) != SIG_ERR);
    Totals totals = {0};
    if (args.seeds != NULL && !run_file(&args, &totals)) {
        fprintf(stderr, "cannot read %s\n", args.seeds);
        return 2;
    }
    for (uint64_t seed = args.seed; seed < args.seed + args.count; seed++) {
        run_one(seed, &args, &totals);
        if (totals.failed > 0 && args.until_failure) break;
    }
    const DamageCounts *damage = &damage_counts;
    printf("%" PRIu64 " changes were acknowledged; of %" PRIu64 " damaged disks %" PRIu64
           " were refused, %" PRIu64 " files and %" PRIu64 " index reads said so\n",
           totals.acknowledged, damage->sessions, damage->refused, damage->damaged, damage->unread);
    const HistoryStats *h = &history_stats;
    printf("of histories %" PRIu64 " operations were checked, %" PRIu64
           " with unknown outcomes; %" PRIu64 " states, %" PRIu64 " keys left out\n",
           h->ops, h->unknown, h->states, h->gave_up);
    printf("LAYER sim required=%" PRIu64 " executed=%" PRIu64 " failed=%" PRIu64 "\n",
           args.required, totals.executed, totals.failed);
    return totals.failed > 0 || totals.executed < args.required ? 1 : 0;
}
