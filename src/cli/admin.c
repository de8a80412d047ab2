/* holdfast admin: the state of the server and of its log. */
#include "cli/session.h"

#include "cli/admin_audit.h"
#include "cli/admin_risk.h"
#include "cli/admin_roots.h"
#include "cli/command.h"
#include "cli/show.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const CommandSpec spec_admin = {
    .name = "admin",
    .arguments = "status|roots|risk|scrub|...",
    .summary = "tells how the server is",
    .words =
        "status|roots|replicas|shards|nodes|tasks|evict|add|hand-over|risk|ledger|wal|scrub|audit",
    .usage = "admin status\nadmin roots\nadmin replicas\nadmin shards\nadmin nodes\nadmin tasks\n"
             "admin evict ROOT\nadmin add ROOT\nadmin hand-over ROOT\nadmin risk\nadmin ledger\n"
             "admin wal\n"
             "admin scrub [start|pause|resume]\n"
             "admin audit verify [--audit-key FILE] [--json] DIR|FILE…",
    .text =
        "status: how the server is; its first line begins with ok, or says what is wrong.\n"
        "roots: the storage roots, one copy each: whether each is well and in sync, how far it is\n"
        "behind, its disk and log; exit status 1 if a copy is not in sync. replicas: the copy of\n"
        "each shard on each root. hand-over: ROOT is to lead: it must be in sync. evict: ROOT is\n"
        "left out until it is added or the server starts again; refused if too few would be left\n"
        "for changes. add: ROOT, which was evicted, is a copy again: it catches up by itself.\n"
        "ROOT is its directory as the server has it, its uuid, or how that begins.\n"
        "risk: which files are damaged, where and since when; exit status 6 if there are any.\n"
        "ledger: which files have fewer copies than they are to have, why, since when, what is\n"
        "done about it; exit status 1 if there are any.\n"
        "wal: the write-ahead log. shards: the state of each shard. nodes: the process that\n"
        "serves. tasks: what goes on in the background, and how far it is. scrub: how far the\n"
        "reading of all that is stored is; exit status 6 if it found damage. start begins a\n"
        "pass now, pause stops it, over restarts too, resume lets it go on.\n"
        "audit verify: asks no server, but reads the audit log in DIR, a data directory or the\n"
        "one of the audit log, or in FILEs, oldest first; exit status 6, and file and line, if\n"
        "something in it was changed or cut.\n"
        "--json gives the answer of the REST interface.",
    .example =
        "  holdfast admin status\n  holdfast admin wal --json\n  holdfast admin scrub start\n"
        "  holdfast admin audit verify ./data",
    .options = OPTION_JSON | OPTION_QUIET | OPTION_AUDIT,
    .args_min = 1,
    .args_max = OPTIONS_ARGS_MAX,
    .paths = ~3U,
};

#define LOW_SPACE_PERCENT 10

static uint64_t number(const json_t *object, const char *name)
{
    uint64_t value = 0;
    /* What an older server does not tell is shown as 0. */
    return json_get_optional_u64(object, name, &value, NULL) == OK ? value : 0;
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name, char out[SHOW_NAME_SIZE])
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) return "?";
    return show_name(str_of(json_string_value(value), json_string_length(value)), out);
}

/* ---- status ---- */

/* Has a class no quorum any more? That is worse than a copy that others make up for. */
static bool print_failed_classes(const json_t *status, const char *up)
{
    const json_t *names = json_object_get(status, "classes_failed");
    size_t count = json_array_size(names);
    if (count == 0) return false;
    printf("failed: too many disks are out for placement class%s", count > 1 ? "es" : "");
    for (size_t i = 0; i < count; i++) {
        char shown[SHOW_NAME_SIZE];
        const json_t *name = json_array_get(names, i);
        printf("%s %s", i > 0 ? "," : "",
               show_name(str_of(json_string_value(name), json_string_length(name)), shown));
    }
    printf(": no changes there, holdfast admin ledger says what to do; all else goes on; up %s\n",
           up);
    return true;
}

/* Is a copy missing? Then which, and why. */
static bool print_degraded(const json_t *status, const char *up)
{
    const json_t *durability = json_object_get(status, "durability");
    const json_t *roots = json_object_get(status, "roots");
    uint64_t synced = number(durability, "synced");
    uint64_t copies = number(durability, "copies");
    if (roots == NULL || synced >= copies) return false;
    printf("degraded: %" PRIu64 " of %" PRIu64 " copies are in sync", synced, copies);
    for (size_t i = 0; i < json_array_size(roots); i++) {
        char dir[SHOW_NAME_SIZE];
        char verdict[SHOW_NAME_SIZE];
        char cause[SHOW_NAME_SIZE];
        const json_t *root = json_array_get(roots, i);
        const char *is = text(root, "verdict", verdict);
        if (strcmp(is, "ok") == 0 || strcmp(is, "full") == 0) continue;
        bool why = json_is_string(json_object_get(root, "cause"));
        printf("; %s: %s%s%s%s", text(root, "directory", dir), is, why ? " (" : "",
               why ? text(root, "cause", cause) : "", why ? ")" : "");
    }
    printf("; takes reads and writes; up %s\n", up);
    return true;
}

/* Of several roots those with damage of that kind (a count of their risk; NULL: any). */
static void print_damaged_roots(const json_t *status, const char *kind)
{
    const json_t *roots = json_object_get(status, "roots");
    const char *before = " (";
    for (size_t i = 0; i < json_array_size(roots) && json_array_size(roots) > 1; i++) {
        char dir[SHOW_NAME_SIZE];
        const json_t *root = json_array_get(roots, i);
        const json_t *risk = json_object_get(root, "risk");
        uint64_t count = kind != NULL ? number(risk, kind)
                                      : number(risk, "files") + number(risk, "places");
        if (count == 0) continue;
        printf("%s%s", before, text(root, "directory", dir));
        before = ", ";
    }
    if (before[0] == ',') putchar(')');
}

/* One line: what matters most goes first. The exit status. */
static int print_verdict(const json_t *status)
{
    const json_t *disk = json_object_get(status, "disk");
    uint64_t total = number(disk, "total_bytes");
    uint64_t free_bytes = number(disk, "free_bytes");
    char up[SHOW_DURATION_SIZE];
    char space[SHOW_SIZE_SIZE];
    show_duration(number(status, "uptime_s") * 1000, up);
    show_size(free_bytes, space);
    if (is_true(status, "failed")) {
        char cause[SHOW_NAME_SIZE];
        printf("failed: a storage root has failed and takes no writes (%s); mend the cause, then "
               "restart it\n",
               text(status, "cause", cause));
        return err_info(ERR_ROOT_FAILED)->exit_status;
    }
    if (is_true(status, "draining")) {
        puts("stopping: the server finishes what is under way and takes nothing new");
        return err_info(ERR_SHUTTING_DOWN)->exit_status;
    }
    const json_t *risk = json_object_get(status, "risk");
    uint64_t files = number(risk, "files");
    uint64_t places = number(risk, "places");
    if (number(risk, "index_places") > 0) {
        printf("damage: index damaged");
        print_damaged_roots(status, "index_places");
        printf(": stop the server, then holdfast recover --rebuild index DIR; "
               "%" PRIu64 " file(s) are damaged too\n",
               files);
        return err_info(ERR_FILE_DAMAGED)->exit_status;
    }
    if (files + places > 0) {
        printf("damage: %" PRIu64 " file(s) and %" PRIu64 " other place(s) are damaged", files,
               places);
        print_damaged_roots(status, NULL);
        printf("; holdfast admin risk lists them; up %s, %s of space left\n", up, space);
        return err_info(ERR_FILE_DAMAGED)->exit_status;
    }
    if (print_failed_classes(status, up)) return err_info(ERR_ROOT_FAILED)->exit_status;
    if (print_degraded(status, up)) return 1;
    if (total > 0 && free_bytes < total / 100 * LOW_SPACE_PERCENT) {
        printf("ok, but space is low: %s left; up %s\n", space, up);
        return 0;
    }
    printf("ok: takes reads and writes; up %s, %s of space left\n", up, space);
    return 0;
}

static int print_status(const json_t *status)
{
    char shown[SHOW_NAME_SIZE];
    char size[SHOW_SIZE_SIZE];
    const json_t *durability = json_object_get(status, "durability");
    const json_t *store = json_object_get(status, "store");
    const json_t *disk = json_object_get(status, "disk");
    int result = print_verdict(status);
    printf("version            %s, process %" PRIu64 "\n", text(status, "version", shown),
           number(status, "pid"));
    printf("started            %s\n", text(status, "started_at", shown));
    printf("root               %s\n", text(json_object_get(status, "root"), "uuid", shown));
    printf("copies             %" PRIu64 ", %" PRIu64 " in sync on %" PRIu64 " disk(s)\n",
           number(durability, "copies"), number(durability, "synced"), number(durability, "disks"));
    printf("disk               %s", show_size(number(disk, "free_bytes"), size));
    printf(" free of %s\n", show_size(number(disk, "total_bytes"), size));
    printf("buckets            %" PRIu64 "\n", number(status, "buckets"));
    const json_t *uploads = json_object_get(status, "uploads");
    printf("uploads            %" PRIu64 " go on, %s kept of them\n", number(uploads, "open"),
           show_size(number(uploads, "bytes"), size));
    printf("shards             %" PRIu64 "\n", number(status, "shards"));
    printf("connections        %" PRIu64 "\n", number(status, "connections"));
    const json_t *limits = json_object_get(status, "limits");
    printf("at most            %" PRIu64 " connections, %" PRIu64 " requests, %" PRIu64
           " open files, %s of memory\n",
           number(limits, "connections"), number(limits, "requests"), number(limits, "open_files"),
           show_size(number(limits, "memory_bytes"), size));
    printf("writes in flight   %" PRIu64 "\n", number(status, "writes_in_flight"));
    printf("not applied yet    %" PRIu64 " records\n", number(store, "unapplied_records"));
    printf("replayed at start  %" PRIu64 " records, %s\n", number(status, "replayed_records"),
           show_size(number(status, "replayed_bytes"), size));
    return result;
}

/* ---- wal ---- */

static void print_position(const json_t *wal, const char *name, const char *label)
{
    const json_t *position = json_object_get(wal, name);
    printf("%-18s segment %" PRIu64 ", byte %" PRIu64 "\n", label, number(position, "segment"),
           number(position, "offset"));
}

static int print_wal(const json_t *wal)
{
    uint64_t first = number(wal, "first_segment");
    uint64_t active = number(wal, "active_segment");
    uint64_t appended = number(wal, "appended_records");
    uint64_t syncs = number(wal, "syncs");
    char size[SHOW_SIZE_SIZE];
    char used[SHOW_SIZE_SIZE];
    show_size(number(wal, "segment_bytes"), size);
    show_size(number(wal, "active_bytes"), used);
    printf("%-18s %" PRIu64 "..%" PRIu64 " (%" PRIu64 " in use, %s; %" PRIu64 " spare)\n",
           "segments", first, active, active >= first ? active - first + 1 : 0, size,
           number(wal, "spares"));
    printf("%-18s segment %" PRIu64 ", %s\n", "active", active, used);
    print_position(wal, "durable", "durable up to");
    print_position(wal, "attested", "attested up to");
    printf("%-18s %" PRIu64 " records in %" PRIu64 " syncs (%.1f a sync)\n", "appended", appended,
           syncs, syncs == 0 ? 0.0 : (double)appended / (double)syncs);
    printf("%-18s %" PRIu64 " records\n", "not applied yet", number(wal, "unapplied_records"));
    printf("%-18s %" PRIu64 " records\n", "replayed at start", number(wal, "replayed_records"));
    printf("%-18s %s\n", "state", is_true(wal, "failed") ? "failed: takes no more records" : "ok");
    return is_true(wal, "failed") ? err_info(ERR_ROOT_FAILED)->exit_status : 0;
}

/* ---- shards ---- */

static int print_shards(const json_t *answer)
{
    char role[SHOW_NAME_SIZE];
    const json_t *shards = json_object_get(answer, "shards");
    printf("%5s %6s  %-10s %8s %12s %12s %12s\n", "class", "number", "role", "term", "last",
           "durable", "committed");
    for (size_t i = 0; i < json_array_size(shards); i++) {
        const json_t *shard = json_array_get(shards, i);
        printf("%5" PRIu64 " %6" PRIu64 "  %-10s %8" PRIu64 " %12" PRIu64 " %12" PRIu64
               " %12" PRIu64 "\n",
               number(shard, "class"), number(shard, "number"), text(shard, "role", role),
               number(shard, "term"), number(shard, "last_lsn"), number(shard, "durable_lsn"),
               number(shard, "commit_lsn"));
    }
    return 0;
}

/* ---- scrub ---- */

/* Each of several. */
static void print_scrub_roots(const json_t *roots)
{
    for (size_t i = 0; i < json_array_size(roots) && json_array_size(roots) > 1; i++) {
        char dir[SHOW_NAME_SIZE];
        char state[SHOW_NAME_SIZE];
        char done[SHOW_SIZE_SIZE];
        char total[SHOW_SIZE_SIZE];
        const json_t *root = json_array_get(roots, i);
        printf("  %s: %s, pass %" PRIu64 ", %s of about %s, %" PRIu64 " damaged\n",
               text(root, "directory", dir), text(root, "state", state), number(root, "pass"),
               show_size(number(root, "verified_bytes"), done),
               show_size(number(root, "total_bytes"), total), number(root, "damaged"));
    }
}

static int print_scrub(const json_t *scrub)
{
    char shown[SHOW_NAME_SIZE];
    char done[SHOW_SIZE_SIZE];
    char total[SHOW_SIZE_SIZE];
    uint64_t bytes = number(scrub, "verified_bytes");
    uint64_t of = number(scrub, "total_bytes");
    bool ever = json_is_string(json_object_get(scrub, "last_full_at"));
    printf("%-18s %s\n", "state", text(scrub, "state", shown));
    printf("%-18s %" PRIu64 ", begun %s\n", "pass", number(scrub, "pass"),
           text(scrub, "started_at", shown));
    printf("%-18s %s of about %s (%.0f %%)\n", "verified", show_size(bytes, done),
           show_size(of, total), of == 0 ? 100.0 : 100.0 * (double)bytes / (double)of);
    printf("%-18s %s a second\n", "rate", show_size(number(scrub, "bytes_per_second"), done));
    printf("%-18s %s\n", "last read through", ever ? text(scrub, "last_full_at", shown) : "never");
    printf("%-18s %" PRIu64 " found in this pass\n", "damage", number(scrub, "damaged"));
    print_scrub_roots(json_object_get(scrub, "roots"));
    return number(scrub, "damaged") > 0 ? err_info(ERR_FILE_DAMAGED)->exit_status : 0;
}

/* ---- nodes, tasks ---- */

static int print_nodes(const json_t *answer)
{
    const json_t *nodes = json_object_get(answer, "nodes");
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        char id[SHOW_NAME_SIZE];
        char version[SHOW_NAME_SIZE];
        char started[SHOW_NAME_SIZE];
        const json_t *node = json_array_get(nodes, i);
        printf("%s  version %s, process %" PRIu64 ", since %s, %zu root(s)%s\n",
               text(node, "id", id), text(node, "version", version), number(node, "pid"),
               text(node, "started_at", started), json_array_size(json_object_get(node, "roots")),
               is_true(node, "draining") ? ", stopping" : "");
    }
    return 0;
}

static int print_tasks(const json_t *answer)
{
    const json_t *tasks = json_object_get(answer, "tasks");
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        char name[SHOW_NAME_SIZE];
        char state[SHOW_NAME_SIZE];
        char unit[SHOW_NAME_SIZE];
        char dir[SHOW_NAME_SIZE];
        const json_t *task = json_array_get(tasks, i);
        bool of_root = json_is_string(json_object_get(task, "directory"));
        printf("%-11s  %-8s %12" PRIu64 " %s done, %" PRIu64 " left  %s\n",
               text(task, "name", name), text(task, "state", state), number(task, "done"),
               text(task, "unit", unit), number(task, "left"),
               of_root ? text(task, "directory", dir) : "");
    }
    return 0;
}

static const struct {
    const char *verb;
    const char *action; /* NULL: a view; else a POST that answers as the view of its verb */
    const char *target;
    int (*print)(const json_t *answer);
} views[] = {
    {"status", NULL, "/v1/admin/status", print_status},
    {"nodes", NULL, "/v1/admin/nodes", print_nodes},
    {"tasks", NULL, "/v1/admin/tasks", print_tasks},
    {"roots", NULL, "/v1/admin/roots", admin_roots_print},
    {"replicas", NULL, "/v1/admin/replicas", admin_replicas_print},
    {"risk", NULL, "/v1/admin/risk", admin_risk_print},
    {"ledger", NULL, "/v1/admin/ledger", admin_ledger_print},
    {"wal", NULL, "/v1/admin/wal", print_wal},
    {"shards", NULL, "/v1/admin/shards", print_shards},
    {"scrub", NULL, "/v1/admin/scrub", print_scrub},
    {"scrub", "start", "/v1/admin/scrub/start", print_scrub},
    {"scrub", "pause", "/v1/admin/scrub/pause", print_scrub},
    {"scrub", "resume", "/v1/admin/scrub/resume", print_scrub},
};

static int run(Session *session)
{
    const char *verb = session->options.args[0];
    const char *action = session->options.arg_count > 1 ? session->options.args[1] : NULL;
    if (session->options.arg_count > 2)
        return command_usage(spec_admin.name, "\"%s\" is one argument too many",
                             session->options.args[2]);
    if (strcmp(verb, "evict") == 0 || strcmp(verb, "add") == 0 || strcmp(verb, "hand-over") == 0) {
        if (action == NULL) return command_usage(spec_admin.name, "%s: which root?", verb);
        return admin_roots_act(session, verb, action);
    }
    for (size_t i = 0; i < ARRAY_LEN(views); i++) {
        if (strcmp(verb, views[i].verb) != 0) continue;
        if ((action == NULL) != (views[i].action == NULL)) continue;
        if (action != NULL && strcmp(action, views[i].action) != 0) continue;
        AUTO(json_t, json_free) answer = NULL;
        int status = 0;
        bool good = action == NULL ? session_get_json(session, views[i].target, &answer, &status)
                                   : session_post_json(session, views[i].target, &answer, &status);
        if (!good) return status;
        if (!session->options.json) return views[i].print(answer);
        session_json_line(answer);
        return 0;
    }
    if (action != NULL)
        return command_usage(spec_admin.name, "\"%s %s\" is not scrub start, pause or resume", verb,
                             action);
    return command_usage(spec_admin.name,
                         "\"%s\" is not status, roots, replicas, shards, nodes, tasks, evict, add, "
                         "hand-over, "
                         "risk, ledger, wal, scrub or audit",
                         verb);
}

int command_admin(int argc, char **argv)
{
    Session session;
    int status = 0;
    ClientOptions options;
    if (!command_options(&spec_admin, argc, argv, &options, &status)) return status;
    if (strcmp(options.args[0], "audit") == 0) return admin_audit(&options);
    if (!session_begin(&session, &spec_admin, argc, argv, &status)) return status;
    status = run(&session);
    return session_end(&session, status);
}
