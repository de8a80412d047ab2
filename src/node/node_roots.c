#include "node/node_roots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "control/local/local.h"
#include "disk/posix.h"

#define LOG_EVERY_NS (1000ULL * 1000 * 1000)
#define SEED_THREADS 4
#define OPEN_MS 10000 /* for a first answer of one of several roots */

/* Rights are the operator's to give: trying again changes nothing. */
ErrCode node_roots_failed(const char *dir, ErrCode code, Err *err)
{
    bool rights = code == ERR_IO && (err->errno_value == EACCES || err->errno_value == EPERM);
    if (!rights) return err_wrap(err, code, "open %s", dir);
    return err_wrap(err, ERR_FORBIDDEN,
                    "open %s: it and all in it must belong to user %u, who serves", dir,
                    (unsigned)geteuid());
}

/* --- the directories --- */

/* What may stand still: done by a thread of its own, whose it is until that has ended. */
typedef struct {
    const char *dir;
    Disk *disk;
    RootInfo info;
    DiskStat stat;
    Rng rng;
    ErrCode code;
    Err err;
    Thread thread;
} Opening;

static ErrCode open_directory(Opening *o, Err *err)
{
    char who[64];
    TRY(disk_posix_open(o->dir, &o->disk, err));
    int len = snprintf(who, sizeof who, "pid %d, starting", (int)getpid()); /* fits */
    TRY(root_open(o->disk, str_of(who, (size_t)len), &o->rng, clock_real(), &o->info, err));
    return disk_stat(o->disk, ROOT_FILE, &o->stat, err);
}

static void opening_run(void *arg)
{
    Opening *o = arg;
    o->code = open_directory(o, &o->err);
}

/* *out: what came of it; one of several is not waited for without end. */
static ErrCode open_in_time(NodeRoots *roots, const char *dir, bool several, Opening *out, Err *err)
{
    Opening *o = mem_new(sizeof *o);
    o->dir = dir;
    rng_init(&o->rng, rng_u64(roots->rng));
    bool apart = several && thread_start(&o->thread, "root-open", opening_run, o, &o->err) == OK;
    if (!apart) opening_run(o);
    if (apart && !thread_join_within(&o->thread, OPEN_MS))
        return err_set(err, ERR_IO, "its disk stands still: no answer within %d s", OPEN_MS / 1000);
    *out = *o;
    mem_free(o);
    if (out->code != OK) *err = out->err;
    return out->code;
}

static ErrCode open_one(NodeRoots *roots, NodeRoot *root, bool several, Err *err)
{
    char uuid[37];
    Opening opened = {.disk = NULL};
    ErrCode code = open_in_time(roots, root->dir, several, &opened, err);
    root->disk = opened.disk;
    if (code != OK) return code;
    root->info = opened.info;
    root->device = opened.stat.device;
    uuid_text(root->info.uuid, uuid);
    if (roots->count == 0) {
        char common[64];
        snprintf(common, sizeof common, "node=\"%.8s\"", uuid); /* before other threads log */
        log_set_common(common);
    }
    LOG(INFO, "root.opened", "directory=" LOG_STR " root=%s", LOG_CSTR(root->dir), uuid);
    return OK;
}

/* A root that was copied with its identity is one too many. */
static ErrCode check_twins(const NodeRoots *roots, const NodeRoot *root, Err *err)
{
    for (unsigned i = 0; i < roots->count; i++) {
        if (!id128_eq(roots->items[i].info.uuid, root->info.uuid)) continue;
        return err_set(err, ERR_FOREIGN,
                       "%s and %s are the same root: one is a copy of the other; give each copy a "
                       "directory of its own, which begins empty",
                       roots->items[i].dir, root->dir);
    }
    return OK;
}

/* Does code tell that the root itself is no good, rather than that it may not be had? */
static bool is_loss(ErrCode code)
{
    return code == ERR_IO || code == ERR_CORRUPT || code == ERR_ROOT_FAILED;
}

static unsigned given_count(const NodeRoots *roots)
{
    return roots->count + roots->out_count;
}

/* Goes on without a root, if enough are left; else err is why not. */
static ErrCode leave_out(NodeRoots *roots, const NodeRoot *root, ErrCode code, unsigned all,
                         Err *err)
{
    const char *dir = root->dir;
    NodeRootOut *out = &roots->out[roots->out_count++];
    *out = (NodeRootOut){.dir = dir, .disk = root->disk, .why = *err};
    if (all == 1 || !is_loss(code)) return node_roots_failed(dir, code, err);
    LOG_TO(OPERATIONS, ERROR, "root.left_out", "directory=" LOG_STR " error=" LOG_STR,
           LOG_CSTR(dir), LOG_CSTR(err_text(err)));
    if (roots->out_count * 2 < all) return OK;
    return err_wrap(err, code, "%u of %u directories are no good; open %s", roots->out_count, all,
                    dir);
}

/* The same for one that is open. */
static ErrCode put_out(NodeRoots *roots, unsigned at, ErrCode code, Err *err)
{
    NodeRoot gone = roots->items[at];
    unsigned all = given_count(roots);
    for (unsigned i = at; i + 1 < roots->count; i++)
        roots->items[i] = roots->items[i + 1];
    roots->count--;
    roots->items[roots->count] = (NodeRoot){.dir = NULL};
    store_free(gone.store);
    return leave_out(roots, &gone, code, all, err);
}

/* Of no store yet. One that was made anew from another one is of that one's. */
static bool is_new(const NodeRoot *root)
{
    return root->info.incarnation == 0 && !root_is_copy(&root->info);
}

/* All of one store; those that are new become so. */
static ErrCode check_clusters(NodeRoots *roots, Err *err)
{
    const NodeRoot *first = &roots->items[0];
    for (unsigned i = 0; i < roots->count && is_new(first); i++) {
        if (!is_new(&roots->items[i])) first = &roots->items[i];
    }
    for (unsigned i = 0; i < roots->count; i++) {
        NodeRoot *root = &roots->items[i];
        if (is_new(root)) root->info.cluster = first->info.cluster;
        if (id128_eq(root->info.cluster, first->info.cluster)) continue;
        return err_set(
            err, ERR_FOREIGN,
            "%s and %s belong to different stores; give each copy a directory of its own, "
            "which begins empty",
            first->dir, root->dir);
    }
    return OK;
}

ErrCode node_roots_open(NodeRoots *roots, const char *const *dirs, unsigned count, Err *err)
{
    ASSERT(count >= 1 && count <= ENGINE_ROOTS_MAX);
    for (unsigned i = 0; i < count; i++) {
        NodeRoot *root = &roots->items[roots->count];
        *root = (NodeRoot){.dir = dirs[i]};
        ErrCode code = open_one(roots, root, count > 1, err);
        if (code == OK) code = check_twins(roots, root, err);
        if (code == OK) {
            roots->count++;
            continue;
        }
        disk_free(TAKE(root->disk));
        TRY(leave_out(roots, root, code, count, err));
    }
    return check_clusters(roots, err);
}

ErrCode node_roots_tell(NodeRoots *roots, Str who, Err *err)
{
    for (unsigned i = 0; i < roots->count; i++)
        TRY(root_tell(roots->items[i].disk, who, err));
    return OK;
}

/* --- the control store --- */

static NodeRoot *find(NodeRoots *roots, Uuid uuid)
{
    for (unsigned i = 0; i < roots->count; i++) {
        if (id128_eq(roots->items[i].info.uuid, uuid)) return &roots->items[i];
    }
    return NULL;
}

/* Enough of the copies of a shard must be here: of the standard class, and so of the system. A
 * class that has too few waits for them, and keeps nobody from starting (decisions/0020). */
static ErrCode check_row(void *ctx, const ControlShard *row, Err *err)
{
    NodeRoots *roots = ctx;
    const ShardConfig *config = &row->config;
    char uuid[37] = "";
    unsigned here = 0;
    if (shard_class(row->shard) > PLACE_CLASS_STANDARD) return OK;
    for (uint32_t i = 0; i < config->member_count; i++) {
        bool found = find(roots, config->members[i].root) != NULL;
        if (!found) uuid_text(config->members[i].root, uuid);
        here += found;
    }
    if (here >= config->min_isr) return OK;
    return err_set(err, ERR_CONFIG,
                   "%s holds one of %u copies of this store, and %u are needed; one is on root %s, "
                   "which is in none of the directories that are given: give all, each with --data",
                   roots->items[0].dir, config->member_count, config->min_isr, uuid);
}

/* control.json of the only root, or what follows from root.json in its place. */
static ErrCode open_alone(NodeRoots *roots, Err *err)
{
    ControlFound found;
    NodeRoot *root = &roots->items[0];
    ControlAlone alone = {.root = root->info.uuid, .incarnation = root->info.incarnation};
    TRY(control_local_open_alone(root->disk, &alone, &roots->control, &found, err));
    if (found.in_use) TRY(store_check_not_emptied(root->disk, err));
    if (!found.remade) return OK;
    LOG(WARN, "control.remade", "file=%s was=%s error=" LOG_STR, CONTROL_FILE,
        found.damaged ? "damaged" : "missing", LOG_CSTR(err_text(&found.why)));
    return OK;
}

static ErrCode any_row(void *ctx, const ControlShard *row, Err *err)
{
    UNUSED(row);
    UNUSED(err);
    *(bool *)ctx = true;
    return OK;
}

/* A root that was started before and is unknown here is of somebody else's, or was before this
 * store was. */
static ErrCode check_known(NodeRoots *roots, Err *err)
{
    ControlRoot rows[256];
    size_t count = 0;
    TRY(control_list_roots(roots->control, rows, ARRAY_LEN(rows), &count, err));
    for (unsigned i = 0; i < roots->count; i++) {
        const RootInfo *info = &roots->items[i].info;
        bool known = info->incarnation == 0;
        for (size_t j = 0; j < MIN(count, ARRAY_LEN(rows)); j++)
            known = known || id128_eq(rows[j].root, info->uuid);
        if (known) continue;
        return err_set(
            err, ERR_FOREIGN,
            "%s held a store of its own, of which the other directories know nothing; give "
            "each copy a directory of its own, which begins empty",
            roots->items[i].dir);
    }
    return OK;
}

/* Of the roots that were in use the majority; where there is none, all begin together. disks: those
 * in use, news that are new, and room for those that were left out. */
static ErrCode open_majority(NodeRoots *roots, Disk *const *disks, unsigned news, Err *err)
{
    Disk *asked[ENGINE_ROOTS_MAX] = {NULL};
    unsigned all = given_count(roots);
    unsigned old = roots->count - news;
    for (unsigned i = 0; i < (old == 0 ? news : old); i++)
        asked[i] = disks[i];
    TRY(control_local_open(asked, old == 0 ? all : all - news, &roots->control, err));
    control_local_spread(roots->control, disks, all);
    return control_local_start_writers(roots->control, err);
}

static ErrCode open_several(NodeRoots *roots, Err *err)
{
    Disk *disks[ENGINE_ROOTS_MAX] = {NULL}; /* those that were left out count, and say nothing */
    unsigned news = 0;
    bool in_use = false;
    for (unsigned pass = 0, at = 0; pass < 2; pass++) { /* new ones last: they say nothing either */
        for (unsigned i = 0; i < roots->count; i++) {
            bool late = is_new(&roots->items[i]);
            if (late != (pass == 1)) continue;
            disks[at++] = roots->items[i].disk;
            news += late;
        }
    }
    TRY(open_majority(roots, disks, news, err));
    TRY(control_each_shard(roots->control, any_row, &in_use, err));
    if (!in_use && roots->out_count > 0)
        return err_set(err, ERR_CONFIG,
                       "a new store begins with all of its directories; %s is no good",
                       roots->out[0].dir);
    TRY(check_known(roots, err));
    for (unsigned i = 0; in_use && i < roots->count; i++) {
        if (roots->items[i].info.incarnation == 0) continue;
        ErrCode code = store_check_not_emptied(roots->items[i].disk, err);
        if (code == OK) continue;
        TRY(put_out(roots, i, code, err));
        i--;
    }
    return OK;
}

/* Raises a root's incarnation, once more than needed if need be: nobody is served yet, so that
 * there is time for a majority of disks that are slow to answer. Those that fail do so sooner. */
static ErrCode raise_in_time(NodeRoots *roots, RootInfo *info, Err *err)
{
    uint64_t begun_ns = clock_boot_ns(clock_real());
    uint64_t end_ns = begun_ns + (uint64_t)OPEN_MS * 1000000;
    for (;;) {
        ErrCode code = control_raise_root(roots->control, info->uuid, info->incarnation,
                                          &info->incarnation, err);
        uint64_t now_ns = clock_boot_ns(clock_real());
        bool waited = now_ns - begun_ns >= (uint64_t)CONTROL_LOCAL_WAIT_MS * 1000000;
        if (code != ERR_OUTCOME_UNKNOWN || !waited || now_ns >= end_ns) return code;
        err_clear(err);
        begun_ns = now_ns;
    }
}

/* This start, in the control store and in its own file. One that was replaced stays out. */
static ErrCode enlist(NodeRoots *roots, NodeRoot *root, Err *err)
{
    RootInfo *info = &root->info;
    ErrCode code = raise_in_time(roots, info, err);
    if (code == ERR_FORBIDDEN)
        return err_set(err, ERR_FOREIGN,
                       "%s was replaced by another copy; empty it, and it can be one again",
                       root->dir);
    TRY(code);
    return root_save(root->disk, info, err);
}

static ErrCode open_control(NodeRoots *roots, Err *err)
{
    TRY(given_count(roots) == 1 ? open_alone(roots, err) : open_several(roots, err));
    TRY(control_each_shard(roots->control, check_row, roots, err));
    for (unsigned i = 0; i < roots->count; i++) {
        ErrCode code = enlist(roots, &roots->items[i], err);
        if (code == OK) continue;
        TRY(put_out(roots, i, code, err));
        i--;
    }
    return OK;
}

/* --- the stores --- */

static void on_progress(void *ctx, uint64_t records, uint64_t bytes)
{
    NodeRoots *roots = ctx;
    uint64_t now = clock_boot_ns(clock_real());
    rest_set_progress(roots->rest, records, bytes);
    if (now - roots->logged_ns < LOG_EVERY_NS) return;
    roots->logged_ns = now;
    LOG(INFO, "node.recovering", "records=%" PRIu64 " bytes=%" PRIu64, records, bytes);
}

/* index.db is made again: once a second, and when another step begins. */
static void on_rebuilding(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    NodeRoots *roots = ctx;
    uint64_t now = clock_boot_ns(clock_real());
    rest_set_phase(roots->rest, "rebuilding-index");
    rest_set_progress(roots->rest, done, 0);
    if (done > 0 && now - roots->logged_ns < LOG_EVERY_NS) return;
    roots->logged_ns = now;
    LOG_TO(OPERATIONS, WARN, "node.index_rebuilding",
           "step=" LOG_STR " done=%" PRIu64 " of=%" PRIu64, LOG_CSTR(what), done, total);
}

static void tell_rebuilt(const StoreOpened *opened)
{
    if (!opened->index_rebuilt) return;
    LOG_TO(OPERATIONS, WARN, "node.index_rebuilt",
           "reason=" LOG_STR " packs=%" PRIu64 " records=%" PRIu64 " applied=%" PRIu64,
           LOG_CSTR(err_text(&opened->index_damage)), opened->rebuilt.packs,
           opened->rebuilt.records, opened->rebuilt.applied);
}

static ErrCode open_store(NodeRoots *roots, NodeRoot *root, const StoreOptions *given, Err *err)
{
    StoreOptions options = *given;
    StoreOpened opened;
    uint64_t start = clock_boot_ns(clock_real());
    options.root = root->info;
    options.seed = rng_u64(roots->rng);
    options.places = given_count(roots) > 1;
    options.seed_threads = SEED_THREADS;
    options.progress = on_progress;
    options.rebuilding = on_rebuilding;
    options.progress_ctx = roots;
    rest_set_phase(roots->rest, "replaying");
    TRY(store_open(root->disk, &options, &root->store, &opened, err));
    tell_rebuilt(&opened);
    rest_set_progress(roots->rest, opened.wal.records, opened.wal.bytes);
    LOG(INFO, "node.recovered",
        "segments=%" PRIu64 " records=%" PRIu64 " bytes=%" PRIu64 " to_apply=%" PRIu64
        " torn_bytes=%" PRIu64 " ms=%" PRIu64,
        opened.wal.segments, opened.wal.records, opened.wal.bytes, opened.unapplied,
        opened.wal.torn_bytes, (clock_boot_ns(clock_real()) - start) / 1000000);
    rest_set_phase(roots->rest, "sweeping");
    uint64_t removed = 0;
    TRY(store_sweep_orphans(root->store, &removed, err));
    if (removed > 0) LOG(INFO, "node.orphans_removed", "extents=%" PRIu64, removed);
    return OK;
}

/* Indexes that were made of packs, where no other root could say what they lack: they are taken as
 * they are. */
static ErrCode accept_remade(NodeRoots *roots, Err *err)
{
    for (unsigned i = 0; i < roots->count; i++) {
        if (roots->out_count > 0 || !store_is_remade(roots->items[i].store)) return OK;
    }
    for (unsigned i = 0; i < roots->count; i++)
        TRY(store_accept_remade(roots->items[i].store, err));
    return OK;
}

ErrCode node_roots_recover(NodeRoots *roots, Rest *rest, const StoreOptions *store, Err *err)
{
    roots->rest = rest;
    rest_set_phase(rest, "registering");
    ErrCode code = open_control(roots, err);
    if (code == ERR_CONFIG || code == ERR_FOREIGN) return code; /* its text names directories */
    if (code != OK) return node_roots_failed(roots->items[0].dir, code, err);
    for (unsigned i = 0; i < roots->count; i++) {
        code = open_store(roots, &roots->items[i], store, err);
        if (code == OK) continue;
        TRY(put_out(roots, i, code, err));
        i--;
    }
    TRY(accept_remade(roots, err));
    return roots->out_count == 0 ? OK : control_each_shard(roots->control, check_row, roots, err);
}

void node_roots_close_stores(NodeRoots *roots)
{
    for (unsigned i = 0; i < roots->count; i++)
        store_free(TAKE(roots->items[i].store));
    control_free(TAKE(roots->control));
    for (unsigned i = 0; i < roots->out_count; i++)
        disk_free(TAKE(roots->out[i].disk));
}

void node_roots_close(NodeRoots *roots)
{
    node_roots_close_stores(roots);
    for (unsigned i = 0; i < roots->count; i++)
        disk_free(TAKE(roots->items[i].disk));
    roots->count = 0;
}
