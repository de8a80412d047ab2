/* holdfast fsck: reads a stopped data directory. */
#include "cli/command.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/local_file.h"
#include "cli/progress.h"
#include "cli/salvage.h"
#include "cli/show.h"
#include "disk/posix.h"
#include "fsck/fsck.h"
#include "store/root.h"
#include "text/json.h"

#define NAME "fsck"

const CommandSpec spec_fsck = {
    .name = NAME,
    .arguments = "[--repair|--salvage OUT] DIR",
    .summary = "reads a stopped data directory",
    .usage = "fsck [--json] [--quiet] [--scratch DIR] DIR\n"
             "fsck --repair [--json] [--quiet] [--scratch DIR] DIR\n"
             "fsck --salvage OUT [--quiet] [--scratch DIR] DIR",
    .text =
        "Reads all of DIR, a data directory that no server uses, without changing a byte of it:\n"
        "the log, packs, blobs, the index, and whether they agree. Each line names one place:\n"
        "damage, or a note of what a crash left that the next start sees to; which file, where\n"
        "in it, and what it belonged to. Ends with 0 if there is no damage, with 6 if there is.\n"
        "\n"
        "--repair mends counts, rows of ids, bodies that nothing names. It moves to\n"
        "DIR/quarantine and deletes nothing. A damaged index is made anew by `holdfast recover\n"
        "--rebuild index DIR`.\n"
        "\n"
        "--salvage also writes OUT/MANIFEST.jsonl, and works if a server would not start. OUT\n"
        "must be empty or absent. Ends with 0 if all were saved, with 6 if some were not.\n"
        "\n"
        "--quiet leaves out progress and notes. --scratch needs about 200 bytes a file at\n"
        "worst.",
    .example = "  holdfast fsck ./data\n  holdfast fsck --salvage ./saved ./data",
    .options = OPTION_LOCAL | OPTION_FSCK | OPTION_JSON | OPTION_QUIET,
    .paths = 1,
    .args_min = 1,
    .args_max = 1,
};

typedef struct {
    const char *dir;
    const char *out; /* --salvage */
    const char *scratch;
    bool repair;
    bool json;
    bool quiet;
    Progress progress;
    Buf line;
} Run;

/* ---- the command line ---- */

/* False: the command is over, with *status. */
static bool read_args(int argc, char **argv, Run *run, int *status)
{
    ClientOptions options;
    if (!command_options(&spec_fsck, argc, argv, &options, status)) return false;
    *run = (Run){.dir = options.args[0],
                 .out = options.salvage,
                 .scratch = options.scratch,
                 .repair = options.repair,
                 .json = options.json,
                 .quiet = options.quiet};
    if (!run->repair || run->out == NULL) return true;
    *status = command_usage(NAME, "--repair and --salvage are two runs");
    return false;
}

/* ---- lines ---- */

static void write_owner(JsonWriter *json, const FsckOwner *owner)
{
    char id[ID128_TEXT_LEN + 1];
    char version[VERSION_ID_TEXT_LEN + 1];
    id128_text(owner->file, id);
    version_id_text(owner->version, version);
    if (owner->bucket_name.len > 0) json_member_str(json, "bucket", owner->bucket_name);
    json_member_u64(json, "bucket_uid", owner->bucket);
    json_member_str(json, "key", owner->key);
    json_member_cstr(json, "version", version);
    if (!id128_is_zero(owner->file)) json_member_cstr(json, "id", id);
}

static ErrCode append_owner(Buf *line, const FsckOwner *owner, Err *err)
{
    char version[VERSION_ID_TEXT_LEN + 1];
    version_id_text(owner->version, version);
    if (owner->bucket_name.len > 0)
        TRY(buf_append_str(line, owner->bucket_name, err));
    else
        TRY(buf_printf(line, err, "bucket-%" PRIu64, owner->bucket));
    TRY(buf_append(line, "/", 1, err));
    TRY(show_name_append(line, owner->key, err));
    return buf_printf(line, err, " version %s", version);
}

static ErrCode print_line(Run *run, Err *err)
{
    TRY(buf_append(&run->line, "\n", 1, err));
    progress_clear(&run->progress);
    size_t wrote = fwrite(run->line.data, 1, run->line.len, stdout);
    if (wrote < run->line.len) return err_set(err, ERR_IO, "write to stdout");
    return OK;
}

static ErrCode finding_json(Run *run, const FsckFinding *finding, Err *err)
{
    JsonWriter json;
    json_writer_init(&json, &run->line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "level", finding->level == FSCK_DAMAGE ? "damage" : "note");
    json_member_cstr(&json, "kind", finding->kind);
    json_member_str(&json, "file", str_from_cstr(finding->path));
    json_member_u64(&json, "offset", finding->offset);
    json_member_u64(&json, "length", finding->length);
    if (finding->owner != NULL) {
        json_write_key(&json, "owner");
        json_write_object_begin(&json);
        write_owner(&json, finding->owner);
        json_write_object_end(&json);
    }
    json_member_str(&json, "text", str_from_cstr(finding->text));
    json_member_str(&json, "mend", str_from_cstr(finding->mend));
    json_write_object_end(&json);
    return json_writer_end(&json, err);
}

static ErrCode finding_text(Run *run, const FsckFinding *finding, Err *err)
{
    Buf *line = &run->line;
    TRY(buf_printf(line, err, "%s %s ", finding->level == FSCK_DAMAGE ? "damage" : "note",
                   finding->kind));
    TRY(show_name_append(line, str_from_cstr(finding->path), err));
    if (finding->length > 0) {
        TRY(buf_printf(line, err, " offset %" PRIu64 " length %" PRIu64, finding->offset,
                       finding->length));
    }
    TRY(buf_append_str(line, STR(": "), err));
    if (finding->owner != NULL) {
        TRY(append_owner(line, finding->owner, err));
        TRY(buf_append_str(line, STR(": "), err));
    }
    TRY(show_name_append(line, str_from_cstr(finding->text), err));
    if (finding->mend[0] != '\0') TRY(buf_printf(line, err, " [%s]", finding->mend));
    return OK;
}

static ErrCode on_finding(void *ctx, const FsckFinding *finding, Err *err)
{
    Run *run = ctx;
    if (run->quiet && finding->level == FSCK_NOTE) return OK;
    buf_clear(&run->line);
    TRY(run->json ? finding_json(run, finding, err) : finding_text(run, finding, err));
    return print_line(run, err);
}

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
    Run *run = ctx;
    char have[SHOW_SIZE_SIZE];
    char all[SHOW_SIZE_SIZE];
    if (!progress_due(&run->progress)) return;
    uint64_t percent = total == 0 ? 100 : done * 100 / total;
    char line[PROGRESS_LINE_SIZE];
    snprintf(line, sizeof line, "%-7s %3" PRIu64 " %%  %s of %s", phase, percent,
             show_size(done, have), show_size(total, all)); /* fits */
    progress_print(&run->progress, line);
}

/* ---- the runs ---- */

static ErrCode open_root(const Run *run, Disk **out, Err *err)
{
    char holder[128] = "";
    char who[64];
    AUTO(Disk, disk_free) disk = NULL;
    TRY(disk_posix_open_existing(run->dir, &disk, err));
    snprintf(who, sizeof who, "pid %d, holdfast fsck --repair", (int)getpid()); /* fits */
    ErrCode code = disk_lock(disk, ROOT_LOCK_FILE, run->repair ? str_from_cstr(who) : STR(""),
                             holder, sizeof holder, err);
    if (code == ERR_IN_USE) {
        err_clear(err);
        return err_set(err, ERR_IN_USE, "%s is in use by %s; stop it first", run->dir,
                       holder[0] == '\0' ? "another process" : holder);
    }
    if (code != OK && code != ERR_NOT_FOUND) return code; /* without the file no server is there */
    err_clear(err);
    *out = TAKE(disk);
    return OK;
}

static int end_fsck(const Run *run, const FsckReport *report)
{
    if (run->json) {
        printf("{\"damages\":%" PRIu64 ",\"notes\":%" PRIu64 ",\"files\":%" PRIu64
               ",\"bytes\":%" PRIu64 ",\"repaired\":%" PRIu64 "}\n",
               report->damages, report->notes, report->files, report->bytes, report->repaired);
    } else {
        char size[SHOW_SIZE_SIZE];
        char damages[SHOW_COUNT_SIZE];
        char notes[SHOW_COUNT_SIZE];
        char files[SHOW_COUNT_SIZE];
        printf("%s: %s, %s; %s, %s read", report->damages > 0 ? "damage" : "clean",
               show_count(report->damages, "damaged place", damages),
               show_count(report->notes, "note", notes), show_count(report->files, "file", files),
               show_size(report->bytes, size));
        if (run->repair) printf("; %" PRIu64 " mended", report->repaired);
        puts("");
    }
    if (report->damages > 0 && report->copies != 1 && !run->json)
        printf(
            "holdfast recover --from auto %s makes it anew from another directory of its store%s\n",
            run->dir, report->copies > 1 ? "" : ", if it has several");
    if (report->damages > 0 && !run->repair && !run->json)
        printf("holdfast fsck --salvage OUT %s copies out every file that is whole\n", run->dir);
    uint64_t left = report->damages - (run->repair ? report->mendable : 0);
    return left > 0 ? err_info(ERR_CORRUPT)->exit_status : 0;
}

static ErrCode check(Run *run, Disk *disk, Disk *scratch, int *status, Err *err)
{
    FsckReport report = {0};
    FsckOptions options = {.disk = disk,
                           .scratch = scratch,
                           .finding = on_finding,
                           .progress = on_progress,
                           .ctx = run};
    TRY(run->repair ? fsck_repair(&options, &report, err) : fsck_run(&options, &report, err));
    progress_clear(&run->progress);
    *status = end_fsck(run, &report);
    return OK;
}

static ErrCode salvage(Run *run, Disk *disk, Disk *scratch, int *status, Err *err)
{
    SalvageReport report = {0};
    bool inside = false;
    TRY(local_is_inside(run->out, run->dir, &inside, err));
    if (inside) {
        return err_set(err, ERR_EXISTS,
                       "%s lies in %s, in which nothing may change; save elsewhere", run->out,
                       run->dir);
    }
    TRY(salvage_run(disk, scratch, run->out, &report, err));
    char count[SHOW_COUNT_SIZE];
    printf("%s saved to %s, %" PRIu64 " could not be; MANIFEST.jsonl tells of each\n",
           show_count(report.saved, "file", count), run->out, report.lost);
    bool guess = report.index_damaged && report.bad_places > 0;
    if (report.index_damaged)
        puts("the index is damaged: packs and log said which files there are");
    if (guess) {
        printf("packs and log have %s: files may be lacking that nothing else tells of, or be here "
               "although they were deleted\n",
               show_count(report.bad_places, "damaged place", count));
    }
    *status = report.lost > 0 || guess ? err_info(ERR_CORRUPT)->exit_status : 0;
    return OK;
}

static ErrCode run_in(Run *run, const char *scratch_dir, int *status, Err *err)
{
    AUTO(Disk, disk_free) disk = NULL;
    AUTO(Disk, disk_free) scratch = NULL;
    TRY(open_root(run, &disk, err));
    TRY(disk_posix_open_existing(scratch_dir, &scratch, err));
    progress_init(&run->progress, run->quiet);
    ErrCode code = run->out != NULL ? salvage(run, disk, scratch, status, err)
                                    : check(run, disk, scratch, status, err);
    progress_clear(&run->progress);
    return code;
}

int command_fsck(int argc, char **argv)
{
    Run run = {0};
    Err err = {0};
    char scratch[PATH_MAX];
    int status = 0;
    if (!read_args(argc, argv, &run, &status)) return status;
    if (local_temp_dir(run.scratch, scratch, &err) != OK) return command_fail(NAME, &err);
    buf_init(&run.line, 64 * KIB);
    ErrCode code = run_in(&run, scratch, &status, &err);
    buf_deinit(&run.line);
    local_temp_dir_remove(scratch);
    return code == OK ? status : command_fail(NAME, &err);
}
