/* holdfast admin audit verify: walks the chain of an audit log. */
#include "cli/admin_audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "audit/audit_key.h"
#include "audit/audit_verify.h"
#include "cli/command.h"
#include "disk/posix.h"
#include "text/json.h"

#define NAME "admin"
#define LOG_DIR "audit" /* in a data directory */
#define PATH_SIZE 4096

typedef struct {
    const char *key_path; /* --audit-key; NULL: where a data directory has it */
    AuditKey key;
    AuditAnchor anchor;
    AuditVerifier v;
    char last_name[PATH_SIZE]; /* of the file read last */
} Run;

static ErrCode join(const char *dir, const char *name, char out[PATH_SIZE], Err *err)
{
    int len = snprintf(out, PATH_SIZE, "%s/%s", dir, name);
    if (len >= 0 && len < PATH_SIZE) return OK;
    return err_set(err, ERR_USAGE, "the name is too long: %.100s", dir);
}

/* path, as directory and name. */
static void split(const char *path, char dir[PATH_SIZE], const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash == NULL ? path : slash + 1;
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (slash == NULL)
        snprintf(dir, PATH_SIZE, ".");
    else
        snprintf(dir, PATH_SIZE, "%.*s", len == 0 ? 1 : (int)len, path);
}

static ErrCode read_key(const char *path, AuditKey *out, Err *err)
{
    char dir[PATH_SIZE];
    const char *name;
    AUTO(Disk, disk_free) disk = NULL;
    split(path, dir, &name);
    TRY(disk_posix_open_existing(dir, &disk, err));
    return audit_key_read(disk, name, out, err);
}

/* The key that was named, or that stands in dir/where; without one only the chain is looked at. */
static ErrCode find_key(Run *run, const char *dir, const char *where, Err *err)
{
    char path[PATH_SIZE];
    TRY(join(dir, where, path, err));
    ErrCode code = read_key(run->key_path != NULL ? run->key_path : path, &run->key, err);
    if (code == ERR_NOT_FOUND && run->key_path == NULL) {
        err_clear(err);
        return OK;
    }
    if (code == OK) run->v.key = &run->key;
    return code;
}

static ErrCode verify_one(Run *run, Disk *disk, const char *name, const char *shown, Err *err)
{
    snprintf(run->last_name, sizeof run->last_name, "%s", shown);
    return audit_verify_file(&run->v, disk, name, shown, err);
}

/* A directory of audit files. */
static ErrCode verify_dir(Run *run, const char *dir, Err *err)
{
    AUTO(Disk, disk_free) disk = NULL;
    AuditFiles files = {0};
    TRY(disk_posix_open_existing(dir, &disk, err));
    if (run->v.key != NULL) { /* before the list, so that what it attests is there */
        ErrCode code = audit_anchor_read(disk, &run->key, &run->anchor, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err);
            return err_set(err, ERR_CORRUPT, "%s/" AUDIT_ANCHOR " is not there", dir);
        }
        if (code != OK) return err_wrap(err, code, "%s", dir);
        run->v.anchor = &run->anchor;
    }
    TRY(audit_list(disk, &files, err));
    ErrCode code = OK;
    snprintf(run->last_name, sizeof run->last_name, "%s", dir);
    for (size_t i = 0; code == OK && i < files.count; i++) {
        char name[AUDIT_NAME_SIZE];
        char shown[PATH_SIZE];
        audit_file_name(files.numbers[i], name);
        code = join(dir, name, shown, err);
        if (code == OK) code = verify_one(run, disk, name, shown, err);
    }
    mem_free(files.numbers);
    if (code == OK && files.count == 0 && run->v.anchor == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s has no files of an audit log", dir);
    return code == OK ? audit_verify_end(&run->v, run->last_name, err) : code;
}

/* A data directory, or one of audit files. */
static ErrCode verify_given_dir(Run *run, const char *dir, Disk *disk, Err *err)
{
    DiskStat log;
    char path[PATH_SIZE];
    TRY(disk_stat(disk, LOG_DIR, &log, err));
    if (!log.exists || !log.is_dir) {
        TRY(find_key(run, dir, "../" AUDIT_KEY_FILE, err));
        return verify_dir(run, dir, err);
    }
    TRY(find_key(run, dir, AUDIT_KEY_FILE, err));
    TRY(join(dir, LOG_DIR, path, err));
    return verify_dir(run, path, err);
}

static ErrCode verify_files(Run *run, const ClientOptions *options, Err *err)
{
    if (run->key_path != NULL) TRY(find_key(run, ".", "", err));
    for (size_t i = 2; i < options->arg_count; i++) {
        char dir[PATH_SIZE];
        const char *name;
        AUTO(Disk, disk_free) disk = NULL;
        split(options->args[i], dir, &name);
        TRY(disk_posix_open_existing(dir, &disk, err));
        TRY(verify_one(run, disk, name, options->args[i], err));
    }
    return OK;
}

static ErrCode verify(Run *run, const ClientOptions *options, Err *err)
{
    if (options->arg_count == 3) {
        AUTO(Disk, disk_free) disk = NULL;
        ErrCode code = disk_posix_open_existing(options->args[2], &disk, err);
        if (code == OK) return verify_given_dir(run, options->args[2], disk, err);
        if (code != ERR_CONFIG) return code;
        err_clear(err); /* it is no directory */
    }
    return verify_files(run, options, err);
}

static void print_json(const Run *run, ErrCode code, const Err *err)
{
    Err failed = {0};
    AUTO_BUF(text, 64 * KIB);
    JsonWriter json;
    json_writer_init(&json, &text);
    json_write_object_begin(&json);
    json_member_bool(&json, "good", code == OK);
    json_member_u64(&json, "files", run->v.files);
    json_member_u64(&json, "lines", run->v.lines);
    json_member_u64(&json, "first_seq", run->v.first_seq);
    json_member_u64(&json, "last_seq", run->v.last_seq);
    json_member_bool(&json, "attested", run->v.anchor != NULL);
    json_member_u64(&json, "torn_bytes", run->v.torn_bytes);
    json_write_key(&json, "error");
    if (code == OK)
        json_write_null(&json);
    else
        json_write_cstr(&json, err_text(err));
    json_write_object_end(&json);
    if (json_writer_end(&json, &failed) == OK)
        printf("%.*s\n", (int)text.len, (const char *)text.data);
}

static void print_good(const Run *run)
{
    const AuditVerifier *v = &run->v;
    printf("good: %" PRIu64 " lines in %" PRIu64 " files, numbers %" PRIu64 " to %" PRIu64 "\n",
           v->lines, v->files, v->first_seq, v->last_seq);
    if (v->anchor != NULL)
        printf("attested up to number %" PRIu64 "\n", run->anchor.last_seq);
    else if (v->key == NULL)
        puts("without audit.key: whether lines were cut at either end is not known");
    else
        puts("files alone: whether lines were cut at either end is not known");
    if (v->torn_bytes > 0)
        printf("%" PRIu64 " bytes behind the last whole line: a line that is being written, or "
               "was when the server died\n",
               v->torn_bytes);
}

int admin_audit(const ClientOptions *options)
{
    if (options->arg_count < 2 || strcmp(options->args[1], "verify") != 0)
        return command_usage(NAME, "audit verify is all there is of audit");
    if (options->arg_count < 3)
        return command_usage(NAME, "audit verify needs a data directory, the directory of the "
                                   "audit log, or its files in their order");
    Err err = {0};
    Run run = {.key_path = options->audit_key};
    ErrCode code = verify(&run, options, &err);
    explicit_bzero(&run.key, sizeof run.key);
    if (options->json) print_json(&run, code, &err);
    if (code != OK) return options->json ? err_info(code)->exit_status : command_fail(NAME, &err);
    if (!options->json) print_good(&run);
    return 0;
}
