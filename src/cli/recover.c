/* holdfast recover: makes a view of a stopped data directory again. */
#include "cli/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "cli/bucket_names.h"
#include "cli/progress.h"
#include "cli/recover_from.h"
#include "cli/show.h"
#include "control/local/local.h"
#include "disk/posix.h"
#include "store/rebuild.h"
#include "text/json.h"

#define NAME "recover"
#define LOSSES_MAX 10000 /* printed */
#define LINE_EVERY_MS 5000
#define BAR_WIDTH 30
#define ROOTS_KNOWN 256 /* that a control store lists */

const CommandSpec spec_recover = {
    .name = NAME,
    .arguments = "--from SOURCE|auto DIR | --rebuild WHAT DIR",
    .summary = "makes a stopped directory, or a part of it, again",
    .usage = "recover --from SOURCE|auto [--yes] [--json] [--quiet] DIR [OTHER...]\n"
             "recover --rebuild index|packs|wal [--yes] [--json] [--quiet] DIR",
    .text =
        "Makes DIR, a data directory that no server uses, again: all of it from another copy of\n"
        "the store, or one part from the others. What stood there goes to DIR/quarantine. Cut\n"
        "off anywhere, run it again: it goes on.\n"
        "\n"
        "--from SOURCE: for one of several directories of a store that is damaged, emptied or\n"
        "gone, from another one, all of them stopped. Only from one that holds every file that\n"
        "was acknowledged: in sync by control.json of more than half of the directories, and\n"
        "whole. They are looked for beside DIR; name those that are elsewhere as OTHER. auto\n"
        "takes the one with the longest log, and tells which, and why not the others. Every\n"
        "byte is read back from DIR and compared. root.key, audit and what is not Holdfast's\n"
        "stay. Then start the server with all directories: DIR joins as a new copy in place of\n"
        "the old one and gets what the others have stored since. With --yes also a whole DIR is\n"
        "replaced, and one is taken whose packs hold files that its index does not name (fsck\n"
        "says index-lacks: an earlier copy took them away, or rows are lost). Ends with 4 if\n"
        "there is no such source or a server runs, with 6 if it is damaged: nothing but\n"
        "DIR/recover was changed then.\n"
        "\n"
        "--rebuild index: index.db, from packs and blobs; the log says how far they must reach.\n"
        "A server does the same at start when index.db is missing or unreadable.\n"
        "\n"
        "--rebuild packs: damaged packs: what is whole goes to new ones, what the log still\n"
        "holds is taken from it. A file whose body nobody holds stays listed, and GET says\n"
        "file-damaged, as before. Does not ask: the old pack is kept in quarantine.\n"
        "\n"
        "--rebuild wal: a log that is lost or damaged: a new one from index.db and what is\n"
        "whole of the old one and joins it, under a new identity of this directory. What was\n"
        "acknowledged behind that is lost: the first lsn of each shard that may be is told.\n"
        "Only for a directory that is its only copy. Needs --yes.\n"
        "\n"
        "Without --yes a --rebuild that would lose something for good tells what, changes\n"
        "nothing and ends with 6. --json gives each loss, then the summary. Ends with 0 if\n"
        "nothing is lost, with 6 if something is, with 4 if the log is whole.",
    .example = "  holdfast recover --from auto ./data/2\n"
               "  holdfast recover --rebuild index ./data\n"
               "  holdfast recover --rebuild wal --yes ./data",
    .options = OPTION_LOCAL | OPTION_RECOVER | OPTION_JSON | OPTION_QUIET,
    .paths = ~0U,
    .args_min = 1,
    .args_max = RECOVER_OTHERS_MAX + 1,
};

typedef ErrCode (*RebuildFn)(Disk *disk, const RebuildOptions *options, RebuildReport *report,
                             Err *err);

static const struct {
    const char *name;
    RebuildFn run;
} kinds[] = {{"index", rebuild_index}, {"packs", rebuild_packs}, {"wal", rebuild_wal}};

typedef struct {
    const char *dir;
    const char *kind;
    RebuildFn rebuild;
    bool accept;
    bool json;
    bool quiet;
    bool wal;
    Disk *disk;
    RootInfo root;
    Rng rng;
    BucketNames buckets;
    Progress progress;
    uint64_t told_ms;
    const char *told_what;
    uint64_t losses;
} Run;

/* --- the command line --- */

static bool find_kind(Run *run, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, name) != 0) continue;
        run->kind = kinds[i].name;
        run->rebuild = kinds[i].run;
        run->wal = kinds[i].run == rebuild_wal;
        return true;
    }
    return false;
}

/* False: the command is over, with *status. */
static bool read_args(const ClientOptions *given, Run *run, int *status)
{
    const ClientOptions options = *given;
    run->dir = options.args[0];
    run->accept = options.yes;
    run->json = options.json;
    run->quiet = options.quiet;
    bool one = options.arg_count == 1;
    if (one && options.rebuild != NULL && find_kind(run, options.rebuild)) return true;
    if (options.rebuild == NULL)
        *status = command_usage(NAME, "--from which directory, or --rebuild what?");
    else if (!one)
        *status = command_usage(NAME, "--rebuild takes one directory");
    else
        *status = command_usage(NAME, "--rebuild \"%s\" is not index, packs or wal",
                                options.rebuild);
    return false;
}

/* --- what is seen of it --- */

/* A bar on a terminal; else a line now and then. */
static void show_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    Run *run = ctx;
    char bar[BAR_WIDTH + 1];
    if (run->quiet || total == 0) return;
    uint64_t now = progress_elapsed_ms(&run->progress);
    bool news = run->told_what != what || done == total;
    if (!news && now - run->told_ms < (run->progress.shown ? PROGRESS_EVERY_MS : LINE_EVERY_MS))
        return;
    run->told_ms = now;
    run->told_what = what;
    if (!run->progress.shown) {
        fprintf(stderr, "holdfast " NAME ": %s: %" PRIu64 " of %" PRIu64 "\n", what, done, total);
        return;
    }
    size_t full = (size_t)((double)done / (double)total * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', MIN(full, (size_t)BAR_WIDTH));
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%-24s [%s] %3u %%\x1b[K", what, bar,
            (unsigned)((double)done / (double)total * 100));
    fflush(stderr);
    run->progress.line = true;
}

static const char *loss_name(RebuildLossKind kind)
{
    switch (kind) {
    case REBUILD_LOST_ENTRIES: return "lost-entries";
    case REBUILD_DAMAGED_PACK: return "damaged-pack";
    case REBUILD_DAMAGED_FILE: return "damaged-file";
    case REBUILD_DAMAGED_LOG: return "damaged-log";
    case REBUILD_LOST_TAIL: return "lost-tail";
    }
    return "?";
}

static ErrCode print_line(Run *run, Buf *line, Err *err)
{
    TRY(buf_append(line, "\n", 1, err));
    progress_clear(&run->progress);
    if (fwrite(line->data, 1, line->len, stdout) < line->len)
        return err_set(err, ERR_IO, "write to stdout");
    return OK;
}

static ErrCode loss_json(Run *run, const RebuildLoss *loss, Err *err)
{
    AUTO_BUF(line, 64 * KIB);
    char version[VERSION_ID_TEXT_LEN + 1];
    JsonWriter json;
    json_writer_init(&json, &line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "loss", loss_name(loss->kind));
    if (loss->kind == REBUILD_LOST_ENTRIES || loss->kind == REBUILD_LOST_TAIL) {
        json_member_u64(&json, "shard", loss->shard);
        json_member_u64(&json, "from", loss->from);
        json_member_u64(&json, "to", loss->to);
    } else {
        if (loss->path != NULL) json_member_cstr(&json, "path", loss->path);
        if (loss->path == NULL) json_member_u64(&json, "pack", loss->pack);
        json_member_u64(&json, "offset", loss->offset);
        if (loss->len > 0) json_member_u64(&json, "length", loss->len);
    }
    if (loss->kind == REBUILD_DAMAGED_FILE) {
        version_id_text(loss->version, version);
        const char *bucket = bucket_names_find(&run->buckets, loss->bucket);
        if (bucket != NULL) json_member_cstr(&json, "bucket", bucket);
        json_member_u64(&json, "bucket_uid", loss->bucket);
        json_member_str(&json, "key", loss->key);
        json_member_cstr(&json, "version", version);
    }
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    return print_line(run, &line, err);
}

static ErrCode loss_text(Run *run, const RebuildLoss *loss, Err *err)
{
    AUTO_BUF(line, 64 * KIB);
    const char *bucket = bucket_names_find(&run->buckets, loss->bucket);
    switch (loss->kind) {
    case REBUILD_LOST_ENTRIES:
        TRY(buf_printf(&line, err, "lost: shard %u, changes %" PRIu64 " to %" PRIu64, loss->shard,
                       loss->from, loss->to));
        break;
    case REBUILD_LOST_TAIL:
        TRY(buf_printf(&line, err, "may be lost: shard %u, changes from %" PRIu64, loss->shard,
                       loss->from));
        if (loss->to != 0) TRY(buf_printf(&line, err, " to %" PRIu64 " at least", loss->to));
        break;
    case REBUILD_DAMAGED_PACK:
        TRY(buf_printf(&line, err, "damaged: packs/%" PRIu64 ".pack, %" PRIu64 " bytes at %" PRIu64,
                       loss->pack, loss->len, loss->offset));
        break;
    case REBUILD_DAMAGED_LOG:
        TRY(buf_printf(&line, err, "damaged: %s, %" PRIu64 " bytes at %" PRIu64, loss->path,
                       loss->len, loss->offset));
        break;
    case REBUILD_DAMAGED_FILE:
        TRY(buf_printf(&line, err, "lost: the body of "));
        TRY(bucket == NULL ? buf_printf(&line, err, "bucket %" PRIu64 ", ", loss->bucket)
                           : buf_printf(&line, err, "%s/", bucket));
        TRY(show_name_append(&line, loss->key, err));
        break;
    }
    return print_line(run, &line, err);
}

static void show_loss(void *ctx, const RebuildLoss *loss)
{
    Run *run = ctx;
    Err err = {0};
    if (++run->losses > LOSSES_MAX) return; /* the summary counts all */
    ErrCode code = run->json ? loss_json(run, loss, &err) : loss_text(run, loss, &err);
    if (code != OK) fprintf(stderr, "holdfast " NAME ": %s\n", err_text(&err));
}

static ErrCode show_summary(Run *run, const RebuildReport *report, bool done, Err *err)
{
    AUTO_BUF(line, 4096);
    if (!run->json) {
        char records[SHOW_COUNT_SIZE];
        char lost[SHOW_COUNT_SIZE];
        char damaged[SHOW_COUNT_SIZE];
        TRY(buf_printf(&line, err, "%s: %s; %s read, %" PRIu64 " used, %s, %s", run->kind,
                       done ? "rebuilt" : "nothing was changed",
                       show_count(report->records, "record", records), report->applied,
                       show_count(report->lost_entries, "lost change", lost),
                       show_count(report->damaged_files, "damaged file", damaged)));
        return print_line(run, &line, err);
    }
    JsonWriter json;
    json_writer_init(&json, &line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "rebuild", run->kind);
    json_member_bool(&json, "done", done);
    json_member_u64(&json, "packs", report->packs);
    json_member_u64(&json, "records", report->records);
    json_member_u64(&json, "applied", report->applied);
    json_member_u64(&json, "resumed", report->resumed);
    json_member_u64(&json, "lost_entries", report->lost_entries);
    json_member_u64(&json, "left_out", report->left_out);
    json_member_u64(&json, "damaged_bytes", report->damaged_bytes);
    json_member_u64(&json, "damaged_files", report->damaged_files);
    json_member_bool(&json, "log_damaged", report->log_damaged);
    json_member_bool(&json, "log_absent", report->log_absent);
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    return print_line(run, &line, err);
}

/* --- the control store --- */

typedef struct {
    const Run *run;
    Uuid to;
    ControlShard *rows;
    size_t count;
    Rng *rng;
} Follow;

/* The row of a shard under the root's new uuid: nobody's lineage, which unclean_epoch says. */
static ErrCode follow_row(void *ctx, const ControlShard *row, Err *err)
{
    Follow *follow = ctx;
    ControlShard next = *row;
    ShardConfig *config = &next.config;
    if (config->member_count != 1 || config->learner_count > 0) {
        return err_set(err, ERR_PRECONDITION,
                       "shard %u has other copies: this one is to be made anew from them",
                       row->shard);
    }
    if (!id128_eq(config->members[0].root, follow->run->root.uuid) ||
        id128_eq(config->members[0].root, follow->to)) {
        return OK;
    }
    config->members[0] = (Member){.root = follow->to, .incarnation = 1};
    config->parent_uid = config->cfg_uid;
    config->cfg_uid = id128_random(follow->rng);
    config->version++;
    config->unclean_epoch++;
    if (follow->count < SHARD_COUNT_MAX) follow->rows[follow->count++] = next;
    return OK;
}

/* A root of that uuid is known from now on. */
static ErrCode register_once(Control *control, Uuid root, Err *err)
{
    ControlRoot known[ROOTS_KNOWN];
    size_t count = 0;
    uint64_t incarnation = 0;
    TRY(control_list_roots(control, known, ARRAY_LEN(known), &count, err));
    for (size_t i = 0; i < MIN(count, ARRAY_LEN(known)); i++) {
        if (id128_eq(known[i].root, root)) return OK;
    }
    return control_register_root(control, root, &incarnation, err);
}

/* All rows of shards in one write: killed before it, none is changed; then the root's own. */
static ErrCode follow_root(void *ctx, Uuid to, Err *err)
{
    Run *run = ctx;
    ControlFound found;
    ControlAlone alone = {.root = run->root.uuid, .incarnation = run->root.incarnation};
    AUTO(Control, control_free) control = NULL;
    AUTO(void, mem_free) memory = mem_new_array(SHARD_COUNT_MAX, sizeof(ControlShard));
    Follow follow = {.run = run, .to = to, .rows = memory, .rng = &run->rng};
    TRY(control_local_open_alone(run->disk, &alone, &control, &found, err));
    TRY(control_each_shard(control, follow_row, &follow, err));
    if (follow.count > 0) TRY(control_cas(control, follow.rows, follow.count, err));
    return register_once(control, to, err);
}

/* Before anything is changed: is the root alone? A control.json that is damaged says nothing; a new
 * one is made when the rest is done. */
static ErrCode check_alone(Run *run, Err *err)
{
    AUTO(Control, control_free) control = NULL;
    AUTO(void, mem_free) memory = mem_new_array(SHARD_COUNT_MAX, sizeof(ControlShard));
    Follow follow = {.run = run, .rows = memory, .rng = &run->rng};
    Err why = {0};
    ErrCode code = control_local_open(&run->disk, 1, &control, &why);
    if (code == ERR_CORRUPT) return OK;
    if (code != OK) return err_set(err, code, "%s", err_text(&why));
    return control_each_shard(control, follow_row, &follow, err);
}

/* --- the run --- */

static ErrCode open_root(Run *run, Err *err)
{
    DiskStat stat;
    char who[64];
    int len = snprintf(who, sizeof who, "pid %d, holdfast recover", (int)getpid());
    TRY(disk_posix_open_existing(run->dir, &run->disk, err));
    TRY(disk_stat(run->disk, ROOT_FILE, &stat, err));
    if (!stat.exists)
        return err_set(err, ERR_NOT_FOUND, "%s is no data directory: it has no " ROOT_FILE,
                       run->dir);
    return root_open(run->disk, str_of(who, (size_t)len), &run->rng, clock_real(), &run->root, err);
}

static ErrCode recover(Run *run, bool *lost, Err *err)
{
    RebuildReport report = {0};
    Err ignored = {0};
    ErrCode code = open_root(run, err);
    if (code == OK && run->wal) code = check_alone(run, err);
    if (code != OK) return err_wrap(err, code, "%s", run->dir);
    bucket_names_read(&run->buckets, run->disk);
    RebuildOptions options = {.root = run->root,
                              .clock = clock_real(),
                              .accept_loss = run->accept,
                              .progress = show_progress,
                              .loss = show_loss,
                              .follow = follow_root,
                              .ctx = run,
                              .seed = rng_u64(&run->rng)};
    code = run->rebuild(run->disk, &options, &report, err);
    *lost = report.lost_entries + report.damaged_files > 0 || (run->wal && code == OK);
    ErrCode shown = show_summary(run, &report, code == OK, code == OK ? err : &ignored);
    if (code == OK) return shown;
    return err_wrap(err, code, "%s", run->dir);
}

int command_recover(int argc, char **argv)
{
    Run run = {0};
    Err err = {0};
    bool lost = false;
    int status = 0;
    ClientOptions options;
    if (!command_options(&spec_recover, argc, argv, &options, &status)) return status;
    if (options.from != NULL && options.rebuild != NULL)
        return command_usage(NAME, "--from and --rebuild are two runs");
    if (options.from != NULL) return recover_from(&options);
    if (!read_args(&options, &run, &status)) return status;
    /* Test builds fail where this says; in others it must not be set. */
    if (fault_configure(getenv("HOLDFAST_FAULT"), &err) != OK) return command_fail(NAME, &err);
    rng_init_system(&run.rng);
    progress_init(&run.progress, run.quiet);
    ErrCode code = recover(&run, &lost, &err);
    progress_clear(&run.progress);
    disk_free(run.disk);
    bucket_names_deinit(&run.buckets);
    if (code != OK) return command_fail(NAME, &err);
    return lost ? err_info(ERR_CORRUPT)->exit_status : 0;
}
