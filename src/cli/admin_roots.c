#include "cli/admin_roots.h"

#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/show.h"

#define ROOTS "/v1/admin/roots"

static uint64_t number(const json_t *object, const char *name)
{
    uint64_t value = 0;
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

/* "3 entries, 12 KiB, 1 s"; "-" if it lacks nothing. */
static void print_lag(const json_t *lag)
{
    char size[SHOW_SIZE_SIZE];
    if (number(lag, "entries") == 0 && number(lag, "seconds") == 0) {
        printf("none\n");
        return;
    }
    printf("%" PRIu64 " entries", number(lag, "entries"));
    if (!json_is_null(json_object_get(lag, "bytes")))
        printf(", %s", show_size(number(lag, "bytes"), size));
    if (!json_is_null(json_object_get(lag, "seconds")))
        printf(", %" PRIu64 " s", number(lag, "seconds"));
    printf("\n");
}

/* Of buckets with writes async; nothing if there were none. */
static void print_async(const json_t *async)
{
    char size[SHOW_SIZE_SIZE];
    if (number(async, "total") == 0) return;
    printf(
        "async: %" PRIu64 " changes were answered before all had them; %" PRIu64
        " still lack a copy, %s, %" PRIu64 " s; read back %" PRIu64 ", not readable %" PRIu64 "\n",
        number(async, "total"), number(async, "entries"), show_size(number(async, "bytes"), size),
        number(async, "seconds"), number(async, "confirmed"), number(async, "unconfirmed"));
}

static void print_log(const json_t *log)
{
    const json_t *last = json_object_get(log, "last_sync_age_ms");
    if (json_is_null(last))
        printf("no sync since the start");
    else
        printf("last sync %" PRIu64 " ms ago", number(log, "last_sync_age_ms"));
    printf(", 99 of 100 within %" PRIu64 " ms", number(log, "sync_p99_ms"));
    if (number(log, "sync_waits_ms") > 0)
        printf(", one waits since %" PRIu64 " ms", number(log, "sync_waits_ms"));
    printf("\n");
}

static void print_root(const json_t *root)
{
    char shown[SHOW_NAME_SIZE];
    char size[SHOW_SIZE_SIZE];
    const json_t *disk = json_object_get(root, "disk");
    const json_t *risk = json_object_get(root, "risk");
    const json_t *scrub = json_object_get(root, "scrub");
    printf("\n%s\n", text(root, "directory", shown));
    printf("  verdict   %s%s%s\n", text(root, "verdict", shown),
           is_true(root, "in_sync") ? ", in sync" : "", is_true(root, "leads") ? ", leads" : "");
    if (json_is_string(json_object_get(root, "cause")))
        printf("  cause     %s\n", text(root, "cause", shown));
    printf("  uuid      %s\n", text(root, "uuid", shown));
    printf("  device    %s", text(root, "device", shown));
    printf(", %s free", show_size(number(disk, "free_bytes"), size));
    printf(" of %s\n", show_size(number(disk, "total_bytes"), size));
    printf("  lag       ");
    print_lag(json_object_get(root, "lag"));
    printf("  log       ");
    print_log(json_object_get(root, "log"));
    printf("  damage    %" PRIu64 " file(s), %" PRIu64 " other place(s)\n", number(risk, "files"),
           number(risk, "places"));
    printf("  scrub     %s, pass %" PRIu64 "\n", text(scrub, "state", shown),
           number(scrub, "pass"));
}

int admin_roots_print(const json_t *answer)
{
    const json_t *roots = json_object_get(answer, "roots");
    uint64_t synced = number(answer, "synced");
    uint64_t copies = number(answer, "copies");
    printf("%s: %" PRIu64 " of %" PRIu64 " copies in sync, on %" PRIu64
           " disk(s); changes need %" PRIu64 "\n",
           synced == copies ? "ok" : "degraded", synced, copies, number(answer, "disks"),
           number(answer, "needed"));
    print_async(json_object_get(answer, "async"));
    for (size_t i = 0; i < json_array_size(roots); i++)
        print_root(json_array_get(roots, i));
    return synced == copies ? 0 : 1;
}

/* --- replicas --- */

int admin_replicas_print(const json_t *answer)
{
    const json_t *replicas = json_object_get(answer, "replicas");
    size_t behind = 0;
    printf("%6s  %-8s  %-10s %-7s %6s %10s %10s %10s  %s\n", "shard", "root", "role", "in sync",
           "term", "last", "durable", "committed", "lag");
    for (size_t i = 0; i < json_array_size(replicas); i++) {
        char root[SHOW_NAME_SIZE];
        char role[SHOW_NAME_SIZE];
        const json_t *copy = json_array_get(replicas, i);
        bool in_sync = is_true(copy, "in_sync");
        behind += !in_sync;
        printf("%6" PRIu64 "  %-8.8s  %-10s %-7s %6" PRIu64 " %10" PRIu64 " %10" PRIu64
               " %10" PRIu64 "  ",
               number(copy, "shard"), text(copy, "root", root), text(copy, "role", role),
               in_sync ? "yes" : "no", number(copy, "term"), number(copy, "last_lsn"),
               number(copy, "durable_lsn"), number(copy, "commit_lsn"));
        print_lag(json_object_get(copy, "lag"));
    }
    return behind == 0 ? 0 : 1;
}

/* --- actions --- */

static bool is_named(const json_t *root, const char *name)
{
    const char *dir = json_string_value(json_object_get(root, "directory"));
    const char *uuid = json_string_value(json_object_get(root, "uuid"));
    if (dir != NULL && strcmp(dir, name) == 0) return true;
    return uuid != NULL && name[0] != '\0' && strncmp(uuid, name, strlen(name)) == 0;
}

/* The only one that is named so; NULL: none, or several. */
static const char *uuid_of(const json_t *answer, const char *name)
{
    const json_t *roots = json_object_get(answer, "roots");
    const json_t *found = NULL;
    for (size_t i = 0; i < json_array_size(roots); i++) {
        const json_t *root = json_array_get(roots, i);
        if (!is_named(root, name)) continue;
        if (found != NULL) return NULL;
        found = root;
    }
    return json_string_value(json_object_get(found, "uuid"));
}

int admin_roots_act(Session *session, const char *action, const char *name)
{
    AUTO(json_t, json_free) roots = NULL;
    AUTO(json_t, json_free) answer = NULL;
    char target[160];
    int status = 0;
    if (!session_get_json(session, ROOTS, &roots, &status)) return status;
    const char *found = uuid_of(roots, name);
    if (found == NULL || strspn(found, "0123456789abcdef-") != strlen(found)) {
        Err err = {0};
        ErrCode code = err_set(&err, ERR_NOT_FOUND,
                               "no root, or more than one, has this directory or uuid; "
                               "holdfast admin roots names them");
        ASSERT(code == ERR_NOT_FOUND);
        return session_fail(session, str_from_cstr(name), &err);
    }
    snprintf(target, sizeof target, ROOTS "/%s/%s", found, action);
    if (!session_post_json(session, target, &answer, &status)) return status;
    if (session->options.json) {
        session_json_line(answer);
        return 0;
    }
    status = admin_roots_print(answer);
    return status == 1 ? 0 : status; /* done, be a copy missing or not */
}
