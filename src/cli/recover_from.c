#include "cli/recover_from.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "cli/command.h"
#include "cli/local_file.h"
#include "cli/progress.h"
#include "cli/show.h"
#include "disk/posix.h"
#include "fsck/copy_root.h"
#include "fsck/sources.h"
#include "text/json.h"

#define NAME "recover"
#define LINE_MAX_BYTES (16 * KIB)

typedef struct {
    const ClientOptions *options;
    const char *dir;
    bool any; /* --from auto */
    char target[PATH_MAX];
    bool absent; /* the target is not there yet */
    char paths[SOURCES_MAX][PATH_MAX];
    size_t named; /* place of SOURCE among them; SOURCES_MAX: auto */
    Sources sources;
    Progress progress;
    char label[SHOW_NAME_SIZE]; /* of the directory that is read */
    Rng rng;
} Run;

/* ---- lines ---- */

static void put_line(Run *run, const char *text)
{
    progress_clear(&run->progress);
    puts(text);
    fflush(stdout);
}

static const char *name_of(const char *dir, char out[SHOW_NAME_SIZE])
{
    return show_name(str_from_cstr(dir), out);
}

static ErrCode json_line(Run *run, JsonWriter *json, Buf *line, Err *err)
{
    json_write_object_end(json);
    TRY(json_writer_end(json, err));
    TRY(buf_append_zeros(line, 1, err));
    put_line(run, (const char *)line->data);
    return OK;
}

static void write_uuid(JsonWriter *json, const char *member, Uuid uuid)
{
    char text[37];
    uuid_text(uuid, text);
    json_member_cstr(json, member, text);
}

/* One directory that could have been copied from. */
static ErrCode tell_source(Run *run, const Source *s, bool chosen, Err *err)
{
    char name[SHOW_NAME_SIZE];
    AUTO_BUF(line, LINE_MAX_BYTES);
    if (!run->options->json) {
        TRY(buf_printf(&line, err, chosen ? "copying from %s" : "not from %s",
                       name_of(s->dir, name)));
        if (!chosen) TRY(buf_printf(&line, err, ": %s", s->why));
        TRY(buf_append_zeros(&line, 1, err));
        put_line(run, (const char *)line.data);
        return OK;
    }
    JsonWriter json;
    json_writer_init(&json, &line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "source", s->dir);
    if (s->read == OK) write_uuid(&json, "root", s->root.uuid);
    json_member_bool(&json, "chosen", chosen);
    if (!chosen) json_member_cstr(&json, "reason", s->why);
    return json_line(run, &json, &line, err);
}

static ErrCode tell_damage(Run *run, const char *dir, const FsckFinding *finding, Err *err)
{
    char name[SHOW_NAME_SIZE];
    char path[SHOW_NAME_SIZE];
    AUTO_BUF(line, LINE_MAX_BYTES);
    if (!run->options->json) {
        TRY(buf_printf(&line, err, "damage %s in %s: %s offset %" PRIu64 ": %s", finding->kind,
                       name_of(dir, name), name_of(finding->path, path), finding->offset,
                       finding->text));
        TRY(buf_append_zeros(&line, 1, err));
        put_line(run, (const char *)line.data);
        return OK;
    }
    JsonWriter json;
    json_writer_init(&json, &line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "damage", finding->kind);
    json_member_cstr(&json, "directory", dir);
    json_member_cstr(&json, "file", finding->path);
    json_member_u64(&json, "offset", finding->offset);
    json_member_cstr(&json, "text", finding->text);
    return json_line(run, &json, &line, err);
}

static ErrCode tell_done(Run *run, const char *from, const CopyRootReport *report, Err *err)
{
    char name[SHOW_NAME_SIZE];
    char count[SHOW_COUNT_SIZE];
    char size[SHOW_SIZE_SIZE];
    AUTO_BUF(line, LINE_MAX_BYTES);
    if (!run->options->json) {
        TRY(buf_printf(&line, err, "%s is made anew", name_of(run->dir, name)));
        if (from != NULL) {
            TRY(buf_printf(&line, err, ": %s, %s copied and read back",
                           show_count(report->files, "file", count),
                           show_size(report->bytes, size)));
        }
        if (report->files_kept > 0)
            TRY(buf_printf(&line, err, ", %s by an earlier run",
                           show_count(report->files_kept, "more", count)));
        if (report->aside[0] != '\0')
            TRY(buf_printf(&line, err, "; what stood there is in its %s", report->aside));
        TRY(buf_append_str(&line,
                           STR("\nstart the server with all directories: it joins as a new copy "
                               "and gets what it lacks"),
                           err));
        TRY(buf_append_zeros(&line, 1, err));
        put_line(run, (const char *)line.data);
        return OK;
    }
    JsonWriter json;
    json_writer_init(&json, &line);
    json_write_object_begin(&json);
    json_member_cstr(&json, "recovered", run->dir);
    if (from != NULL) json_member_cstr(&json, "from", from);
    write_uuid(&json, "root", report->root);
    json_member_u64(&json, "files", report->files);
    json_member_u64(&json, "bytes", report->bytes);
    json_member_u64(&json, "files_kept", report->files_kept);
    json_member_u64(&json, "bytes_kept", report->bytes_kept);
    if (report->aside[0] != '\0') json_member_cstr(&json, "aside", report->aside);
    return json_line(run, &json, &line, err);
}

/* ---- progress ---- */

static void on_reading(void *ctx, const char *dir, uint64_t done, uint64_t total)
{
    Run *run = ctx;
    char have[SHOW_SIZE_SIZE];
    char all[SHOW_SIZE_SIZE];
    char line[PROGRESS_LINE_SIZE];
    if (!progress_due(&run->progress)) return;
    snprintf(line, sizeof line, "reading %.90s  %s of %s", name_of(dir, run->label),
             show_size(done, have), show_size(total, all)); /* cut at worst */
    progress_print(&run->progress, line);
}

static void on_copying(void *ctx, const CopyRootProgress *p)
{
    Run *run = ctx;
    char line[PROGRESS_LINE_SIZE];
    char text[PROGRESS_LINE_SIZE + 32];
    ProgressState state = {.files = p->files,
                           .bytes = p->bytes,
                           .bytes_kept = p->bytes_kept,
                           .elapsed_ms = progress_elapsed_ms(&run->progress),
                           .total_known = p->files_total > 0,
                           .files_total = p->files_total,
                           .bytes_total = p->bytes_total};
    if (!progress_due(&run->progress)) return;
    if (!state.total_known) {
        char have[SHOW_SIZE_SIZE];
        char all[SHOW_SIZE_SIZE];
        snprintf(line, sizeof line, "%s of %s", show_size(p->bytes, have),
                 show_size(p->bytes_total, all)); /* fits */
    } else {
        progress_format(&state, line);
    }
    snprintf(text, sizeof text, "%s  %s", p->what, line); /* fits */
    progress_print(&run->progress, text);
}

static ErrCode on_finding(void *ctx, const char *dir, const FsckFinding *finding, Err *err)
{
    return tell_damage(ctx, dir, finding, err);
}

static ErrCode on_copy_finding(void *ctx, const FsckFinding *finding, Err *err)
{
    return tell_damage(ctx, "the copy", finding, err);
}

/* ---- directories ---- */

/* The real path of the target, or of where it will be. */
static ErrCode find_target(Run *run, Err *err)
{
    char parent[PATH_MAX];
    size_t len = strlen(run->dir);
    if (realpath(run->dir, run->target) != NULL) return OK;
    while (len > 1 && run->dir[len - 1] == '/')
        len--;
    if (len == 0 || len >= sizeof parent)
        return err_set(err, ERR_USAGE, "\"%s\" is no directory", run->dir);
    memcpy(parent, run->dir, len);
    parent[len] = '\0';
    char *slash = strrchr(parent, '/');
    const char *name = slash == NULL ? parent : slash + 1;
    const char *above = slash == NULL ? "." : slash == parent ? "/" : parent;
    char last[NAME_MAX + 1];
    if (snprintf(last, sizeof last, "%s", name) >= (int)sizeof last)
        return err_set(err, ERR_USAGE, "%s: the name is too long", run->dir);
    if (slash != NULL && slash != parent) *slash = '\0';
    run->absent = true;
    char real[PATH_MAX];
    if (realpath(above, real) == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s: there is neither this directory nor the one above",
                       run->dir);
    int made = snprintf(run->target, sizeof run->target, "%s/%s", real, last);
    if (made >= (int)sizeof run->target) return err_set(err, ERR_USAGE, "%s: too long", run->dir);
    return OK;
}

/* Adds the directory, unless it is there already or is the target; *at: its place. */
static ErrCode add_dir(Run *run, const char *dir, size_t *at, Err *err)
{
    char real[PATH_MAX];
    Sources *sources = &run->sources;
    if (realpath(dir, real) == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no directory %s", dir);
    for (*at = 0; *at < sources->count; (*at)++) {
        if (strcmp(run->paths[*at], real) == 0) return OK;
    }
    if (strcmp(real, run->target) == 0)
        return err_set(err, ERR_PRECONDITION, "%s is the directory that is to be made anew", dir);
    if (sources->count == SOURCES_MAX)
        return err_set(err, ERR_USAGE, "more than %d directories", SOURCES_MAX);
    Source *s = &sources->items[sources->count];
    *s = (Source){.dir = run->paths[sources->count]};
    memcpy(run->paths[sources->count], real, strlen(real) + 1);
    TRY(disk_posix_open_existing(s->dir, &s->disk, err));
    sources->count++;
    return OK;
}

/* Those beside the target that look like roots; which of them are of the store is seen later. */
static ErrCode add_siblings(Run *run, Err *err)
{
    char parent[PATH_MAX];
    char path[PATH_MAX + NAME_MAX + 16];
    AUTO(LocalDir, local_dir_close) dir = NULL;
    memcpy(parent, run->target, strlen(run->target) + 1);
    char *slash = strrchr(parent, '/');
    if (slash == NULL) return OK;
    slash[slash == parent] = '\0';
    TRY(local_dir_open(NULL, parent, &dir, err));
    for (;;) {
        const char *name = NULL;
        size_t at = 0;
        struct stat stat_buf;
        TRY(local_dir_next(dir, &name, err));
        if (name == NULL) return OK;
        snprintf(path, sizeof path, "%s/%s/" ROOT_FILE, parent, name); /* fits */
        if (stat(path, &stat_buf) != 0) continue;
        path[strlen(path) - strlen("/" ROOT_FILE)] = '\0';
        char real[PATH_MAX];
        if (realpath(path, real) == NULL || strcmp(real, run->target) == 0) continue;
        if (run->sources.count == SOURCES_MAX) return OK;
        Err ignored = {0};
        if (add_dir(run, path, &at, &ignored) != OK) continue; /* another user's, say */
    }
}

static ErrCode in_use(const char *dir, const char *holder, Err *err)
{
    err_clear(err);
    return err_set(err, ERR_IN_USE, "%s is in use by %s; stop it first", dir,
                   holder[0] == '\0' ? "another process" : holder);
}

/* Only the store's own: a server of another one goes on beside. */
static ErrCode lock_sources(Run *run, Err *err)
{
    for (size_t i = 0; i < run->sources.count; i++) {
        Source *s = &run->sources.items[i];
        char holder[128] = "";
        if (s->why[0] != '\0') continue;
        ErrCode code = disk_lock(s->disk, ROOT_LOCK_FILE, STR(""), holder, sizeof holder, err);
        if (code == ERR_IN_USE) return in_use(s->dir, holder, err);
        if (code != OK && code != ERR_NOT_FOUND) return err_wrap(err, code, "%s", s->dir);
        if (code != OK) err_clear(err); /* without the file no server is there */
    }
    return OK;
}

typedef struct {
    bool ours;
    char stranger[64];
} Look;

static ErrCode look_at(void *ctx, const char *name, bool is_dir, Err *err)
{
    static const char *const own[] = {ROOT_FILE,      ROOT_LOCK_FILE, ROOT_RECOVER_DIR,
                                      "control.json", "wal.active",   "packs",
                                      "index.db",     "blobs",        "wal.segments"};
    Look *look = ctx;
    UNUSED(is_dir);
    UNUSED(err);
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        look->ours = look->ours || strcmp(name, own[i]) == 0;
    if (strcmp(name, "lost+found") != 0 && strcmp(name, "quarantine") != 0)
        snprintf(look->stranger, sizeof look->stranger, "%s", name); /* cut at worst */
    return OK;
}

/* A directory of something else is not ours to fill. */
static ErrCode check_target(Run *run, Disk *disk, Err *err)
{
    Look look = {.ours = false};
    TRY(disk_list(disk, "", look_at, &look, err));
    if (look.ours || look.stranger[0] == '\0') return OK;
    return err_set(
        err, ERR_PRECONDITION,
        "%s holds other files (\"%s\") and nothing of a store: give a data directory, or "
        "an empty one",
        run->dir, look.stranger);
}

static ErrCode open_target(Run *run, Err *err)
{
    char who[64];
    char holder[128] = "";
    AUTO(Disk, disk_free) disk = NULL;
    TRY(disk_posix_open(run->target, &disk, err)); /* makes it if it is not there */
    TRY(check_target(run, disk, err));
    snprintf(who, sizeof who, "pid %d, holdfast recover", (int)getpid()); /* fits */
    ErrCode code = disk_lock(disk, ROOT_LOCK_FILE, str_from_cstr(who), holder, sizeof holder, err);
    if (code == ERR_IN_USE) return in_use(run->dir, holder, err);
    if (code != OK) return err_wrap(err, code, "%s", run->dir);
    run->sources.target.disk = TAKE(disk);
    return OK;
}

/* ---- the run ---- */

static ErrCode gather(Run *run, Err *err)
{
    const ClientOptions *options = run->options;
    size_t at = 0;
    run->named = SOURCES_MAX;
    if (!run->any) TRY(add_dir(run, options->from, &run->named, err));
    for (size_t i = 1; i < options->arg_count; i++)
        TRY(add_dir(run, options->args[i], &at, err));
    TRY(add_siblings(run, err));
    if (run->sources.count == 0)
        return err_set(err, ERR_PRECONDITION,
                       "no other data directory is beside %s: name those of its store behind it",
                       run->dir);
    TRY(sources_read(&run->sources, run->named, err));
    TRY(lock_sources(run, err));
    return sources_read(&run->sources, run->named, err); /* as it is now that nothing changes */
}

static ErrCode tell_others(Run *run, size_t chosen, Err *err)
{
    for (size_t i = 0; i < run->sources.count; i++) {
        const Source *s = &run->sources.items[i];
        if (i != chosen && s->why[0] != '\0') TRY(tell_source(run, s, false, err));
    }
    return chosen < run->sources.count ? tell_source(run, &run->sources.items[chosen], true, err)
                                       : OK;
}

static ErrCode no_source(const Run *run, bool damaged, Err *err)
{
    if (damaged) {
        return err_set(err, ERR_CORRUPT,
                       "no directory of the store is whole: nothing was changed; `holdfast fsck "
                       "--salvage OUT` of each copies out what is");
    }
    return err_set(err, ERR_PRECONDITION,
                   "none of them is known to hold all that was acknowledged: nothing was changed; "
                   "`holdfast fsck %s` says what can be made again there",
                   run->dir);
}

/* Reads all of the one that is to be copied from; a damaged one makes room for the next. */
static ErrCode choose(Run *run, size_t *chosen, Err *err)
{
    Sources *sources = &run->sources;
    bool damaged = false;
    for (;;) {
        size_t at = run->any ? sources_longest(sources) : run->named;
        if (at == sources->count) {
            TRY(tell_others(run, at, err));
            return no_source(run, damaged, err);
        }
        const Source *s = &sources->items[at];
        if (s->why[0] != '\0')
            return err_set(err, ERR_PRECONDITION, "%s can't be copied from: %s", run->options->from,
                           s->why);
        ErrCode code = sources_check_whole(sources, at, err);
        if (code == OK) {
            *chosen = at;
            return tell_others(run, at, err);
        }
        if (code != ERR_CORRUPT || !run->any) return code;
        damaged = true;
        err_clear(err);
    }
}

static ErrCode check_needed(Run *run, Err *err)
{
    bool whole = false;
    if (run->absent || run->options->yes) return OK;
    TRY(sources_target_whole(&run->sources, &whole, err));
    if (!whole) return OK;
    return err_set(err, ERR_PRECONDITION,
                   "%s is whole and in sync: nothing was changed; --yes makes it anew all the same",
                   run->dir);
}

static ErrCode check_space(Run *run, const CopyRootOptions *options, Err *err)
{
    uint64_t needed = 0;
    DiskSpace space;
    char need[SHOW_SIZE_SIZE];
    char have[SHOW_SIZE_SIZE];
    TRY(copy_root_needs(options, &needed, err));
    TRY(disk_space(options->target, &space, err));
    if (space.free >= needed) return OK;
    return err_set(err, ERR_NO_SPACE,
                   "%s needs %s and has %s: what stands there is kept, and takes its own room; "
                   "nothing was changed",
                   run->dir, show_size(needed, need), show_size(space.free, have));
}

static ErrCode copy(Run *run, const Source *from, CopyRootReport *report, Err *err)
{
    CopyRootOptions options = {.source = from->disk,
                               .from = from->root,
                               .lacking = from->lacking,
                               .control = run->sources.control,
                               .target = run->sources.target.disk,
                               .scratch = run->sources.scratch,
                               .clock = clock_real(),
                               .seed = rng_u64(&run->rng),
                               .progress = on_copying,
                               .finding = on_copy_finding,
                               .ctx = run};
    TRY(check_space(run, &options, err));
    bool quiet = run->options->quiet;
    progress_clear(&run->progress);
    progress_init(&run->progress, quiet); /* the rate is that of copying */
    ErrCode code = copy_root_make(&options, report, err);
    if (code == ERR_CORRUPT)
        return err_wrap(err, code, "%s: nothing of what stood there was changed", run->dir);
    return code;
}

static ErrCode recover(Run *run, Err *err)
{
    CopyRootReport report = {0};
    bool ready = false;
    size_t chosen = 0;
    TRY(find_target(run, err));
    if (!run->absent) {
        TRY(open_target(run, err));
        TRY(copy_root_is_ready(run->sources.target.disk, &ready, err));
    }
    if (ready) {
        TRY(copy_root_place(run->sources.target.disk, &report, err));
        return tell_done(run, NULL, &report, err);
    }
    TRY(gather(run, err));
    TRY(sources_judge(&run->sources, err));
    TRY(check_needed(run, err));
    TRY(choose(run, &chosen, err));
    if (run->absent) TRY(open_target(run, err));
    const Source *from = &run->sources.items[chosen];
    TRY(copy(run, from, &report, err));
    TRY(copy_root_place(run->sources.target.disk, &report, err));
    return tell_done(run, from->dir, &report, err);
}

static ErrCode run_in(Run *run, const char *scratch_dir, Err *err)
{
    AUTO(Disk, disk_free) scratch = NULL;
    Sources *sources = &run->sources;
    TRY(disk_posix_open_existing(scratch_dir, &scratch, err));
    sources->scratch = scratch;
    sources->take_lacking = run->options->yes;
    sources->progress = on_reading;
    sources->finding = on_finding;
    sources->ctx = run;
    sources->target.dir = run->dir;
    ErrCode code = recover(run, err);
    progress_clear(&run->progress);
    sources_deinit(sources);
    for (size_t i = 0; i < sources->count; i++)
        disk_free(sources->items[i].disk);
    disk_free(sources->target.disk);
    return code;
}

int recover_from(const ClientOptions *options)
{
    Err err = {0};
    char scratch[PATH_MAX];
    AUTO(void, mem_free) memory = mem_new(sizeof(Run));
    Run *run = memory;
    run->options = options;
    run->dir = options->args[0];
    run->any = strcmp(options->from, "auto") == 0;
    /* Test builds fail where this says; in others it must not be set. */
    if (fault_configure(getenv("HOLDFAST_FAULT"), &err) != OK) return command_fail(NAME, &err);
    if (local_temp_dir(NULL, scratch, &err) != OK) return command_fail(NAME, &err);
    rng_init_system(&run->rng);
    progress_init(&run->progress, options->quiet);
    ErrCode code = run_in(run, scratch, &err);
    local_temp_dir_remove(scratch);
    return code == OK ? 0 : command_fail_json(NAME, &err, options->json);
}
