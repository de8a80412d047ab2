/* holdfast bucket: makes, names, sets and removes buckets. */
#include "cli/bucket.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/key_path.h"
#include "cli/show.h"
#include "config/config.h"

#define QUOTA_MAX ((UINT64_C(1) << 53) - 1) /* what the server takes */
#define SETTINGS_MAX 256                    /* bytes of JSON */

const CommandSpec spec_bucket = {
    .name = "bucket",
    .arguments = "create|list|set|remove [NAME]",
    .summary = "makes, names, sets and removes buckets",
    .words = "create|list|set|remove",
    .usage = "bucket create NAME [--class CLASS]\nbucket list [NAME]\n"
             "bucket set NAME [--quota-bytes SIZE] [--quota-files N] [--versions WORD]\n"
             "                [--writes WORD] [--require WORD]\n"
             "bucket remove NAME",
    .text =
        "Makes a bucket, names all buckets or tells of one, changes one's settings, or removes\n"
        "one that holds no files. Names have 3 to 63 of a-z 0-9 . and -. The bucket `files` is\n"
        "there from the start. --class names how its files are kept (`holdfast class`), for as\n"
        "long as it is there. What is not named stays. A quota below what is there takes nothing\n"
        "away. With versions on, older versions and deleted files are kept until `rm --version`\n"
        "or `rm -r --versions` deletes them; suspended, those that are there stay. With writes\n"
        "async a change is answered when one copy has it, and may be lost with that one's disk;\n"
        "with require all none is taken while a copy is missing.",
    .example = "  holdfast bucket create photos\n  holdfast bucket list\n"
               "  holdfast bucket set photos --quota-bytes 10GiB --quota-files none\n"
               "  holdfast bucket set photos --versions on",
    .options = OPTION_JSON | OPTION_QUIET | OPTION_BUCKET,
    .args_min = 1,
    .args_max = 2,
};

static int print_bucket(Session *session, const json_t *bucket)
{
    Str name = {NULL, 0};
    Str created = {NULL, 0};
    char shown[SHOW_NAME_SIZE];
    Err err = {0};
    if (session->options.json) {
        session_json_line(bucket);
        return 0;
    }
    if (json_get_str(bucket, "name", &name, &err) != OK ||
        json_get_optional_str(bucket, "created_at", &created, &err) != OK) {
        return session_bad_answer(session, (Str){NULL, 0}, &err);
    }
    printf("%-24.*s  %s\n", STR_ARG(created), show_name(name, shown));
    return 0;
}

/* One page; *next is where the following one goes on, empty at the end. */
static int list_page(Session *session, Buf *target, Buf *next)
{
    AUTO(json_t, json_free) page = NULL;
    int status = 0;
    Err err = {0};
    if (!session_get_json(session, (const char *)target->data, &page, &status)) return status;
    const json_t *buckets = json_object_get(page, "buckets");
    for (size_t i = 0; i < json_array_size(buckets) && status == 0; i++) {
        status = print_bucket(session, json_array_get(buckets, i));
    }
    Str after = {NULL, 0};
    buf_clear(next);
    if (status != 0) return status;
    ErrCode code = json_get_optional_str(page, "next", &after, &err);
    if (code == OK) code = buf_append_str(next, after, &err);
    return code == OK ? 0 : session_bad_answer(session, (Str){NULL, 0}, &err);
}

/* Names of buckets need no encoding. */
int bucket_list(Session *session)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    AUTO_BUF(next, KEY_MAX);
    Err err = {0};
    int status = 0;
    do {
        buf_clear(&target);
        ErrCode code = buf_printf(&target, &err, "/v1/buckets%s%.*s", next.len > 0 ? "?after=" : "",
                                  STR_ARG(buf_str(&next)));
        if (code == OK) code = buf_append_zeros(&target, 1, &err);
        if (code != OK) return session_fail(session, (Str){NULL, 0}, &err);
        status = list_page(session, &target, &next);
    } while (status == 0 && next.len > 0);
    return status;
}

/* PUT or DELETE of the bucket. Asked for again after a lost answer, "gone" is what was wanted. */
static int change(Session *session, const char *method, Str name)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    Err err = {0};
    int status = 0;
    if (remote_bucket_target(&target, name, &err) != OK) return session_fail(session, name, &err);
    ClientCall call;
    client_call_init(&call, CLIENT_ANSWER_MAX);
    call.method = method;
    call.target = (const char *)target.data;
    bool good = session_call(session, &call, name, &status);
    bool create = strcmp(method, "PUT") == 0;
    char shown[SHOW_NAME_SIZE];
    if (good && session->options.json && call.answer.len > 0) {
        Str answer = buf_str(&call.answer);
        bool ends = answer.len > 0 && answer.ptr[answer.len - 1] == '\n';
        printf("%.*s%s", STR_ARG(answer), ends || answer.len == 0 ? "" : "\n");
    } else if (good && !session->options.quiet) {
        fprintf(stderr, "holdfast bucket: %s %s\n", show_name(name, shown),
                !create              ? "removed"
                : call.status == 200 ? "was there already"
                                     : "created");
    }
    client_call_deinit(&call);
    return status;
}

/* --- set --- */

/* A quota into the settings; text NULL: it was not named. */
static bool write_quota(JsonWriter *json, const char *key, const char *text, bool is_size)
{
    uint64_t number = 0;
    if (text == NULL) return true;
    Str value = str_from_cstr(text);
    json_write_key(json, key);
    if (str_eq(value, STR("none"))) {
        json_write_null(json);
        return true;
    }
    bool good = is_size ? config_parse_size(value, &number) : str_to_u64(value, QUOTA_MAX, &number);
    json_write_u64(json, number);
    return good && number > 0 && number <= QUOTA_MAX;
}

/* The settings as JSON. ERR_USAGE: they are none. */
static ErrCode read_settings(const ClientOptions *options, Buf *out, Err *err)
{
    JsonWriter json;
    json_writer_init(&json, out);
    json_write_object_begin(&json);
    if (!write_quota(&json, "quota_bytes", options->quota_bytes, true)) {
        return err_set(err, ERR_USAGE, "--quota-bytes \"%s\" is not a size such as 10GiB, or none",
                       options->quota_bytes);
    }
    if (!write_quota(&json, "quota_files", options->quota_files, false)) {
        return err_set(err, ERR_USAGE, "--quota-files \"%s\" is not a number of files, or none",
                       options->quota_files);
    }
    if (options->versioning != NULL) json_member_cstr(&json, "versions", options->versioning);
    if (options->writes != NULL) json_member_cstr(&json, "writes", options->writes);
    if (options->require != NULL) json_member_cstr(&json, "require", options->require);
    json_write_object_end(&json);
    return json_writer_end(&json, err);
}

/* "; writes are async", "; require is all": of a server that says so. */
static ErrCode tell_writes(const json_t *bucket, Err *err)
{
    Str writes = {NULL, 0};
    Str require = {NULL, 0};
    char shown[SHOW_NAME_SIZE];
    TRY(json_get_optional_str(bucket, "writes", &writes, err));
    TRY(json_get_optional_str(bucket, "require", &require, err));
    if (writes.ptr != NULL) fprintf(stderr, "; writes are %s", show_name(writes, shown));
    if (require.ptr != NULL) fprintf(stderr, "; require is %s", show_name(require, shown));
    fprintf(stderr, "\n");
    return OK;
}

/* "photos takes at most 10.0 GiB and any number of files; versions are off; writes are sync;
 * require is in-sync" */
static ErrCode tell_settings(Str name, const json_t *bucket, Err *err)
{
    uint64_t bytes = 0;
    uint64_t files = 0;
    Str versions = {NULL, 0};
    char shown[SHOW_NAME_SIZE];
    char versions_shown[SHOW_NAME_SIZE];
    char size[SHOW_SIZE_SIZE];
    char count[SHOW_COUNT_SIZE];
    TRY(json_get_optional_u64(bucket, "quota_bytes", &bytes, err));
    TRY(json_get_optional_u64(bucket, "quota_files", &files, err));
    TRY(json_get_optional_str(bucket, "versions", &versions, err));
    fprintf(stderr, "holdfast bucket: %s takes %s%s and %s%s%s%s", show_name(name, shown),
            bytes == 0 ? "" : "at most ", bytes == 0 ? "any size" : show_size(bytes, size),
            files == 0 ? "" : "at most ",
            files == 0 ? "any number of files" : show_count(files, "file", count),
            versions.ptr == NULL ? "" : "; versions are ", show_name(versions, versions_shown));
    return tell_writes(bucket, err);
}

static int set(Session *session, Str name)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    AUTO_BUF(body, SETTINGS_MAX);
    AUTO(json_t, json_free) before = NULL;
    AUTO(json_t, json_free) bucket = NULL;
    Err err = {0};
    int status = 0;
    ErrCode code = read_settings(&session->options, &body, &err);
    if (code == OK) code = remote_bucket_target(&target, name, &err);
    if (code != OK) return session_fail(session, name, &err);
    const char *path = (const char *)target.data;
    /* A PUT would make a bucket that is not there, of a name that may be misspelt. */
    if (!session_get_json(session, path, &before, &status)) return status;
    if (!session_put_json(session, path, buf_str(&body), name, &bucket, &status)) return status;
    if (session->options.json)
        session_json_line(bucket);
    else if (!session->options.quiet)
        code = tell_settings(name, bucket, &err);
    return code == OK ? 0 : session_bad_answer(session, name, &err);
}

/* A quota, or "none", behind what is used of it. */
static void print_used(const char *what, const char *used, const char *most)
{
    printf("%-13s %s%s%s\n", what, used, most[0] == '\0' ? "" : " of at most ", most);
}

static ErrCode print_one(const json_t *bucket, Err *err)
{
    uint64_t used = 0;
    uint64_t most = 0;
    Str text = {NULL, 0};
    char shown[SHOW_NAME_SIZE];
    char most_shown[SHOW_SIZE_SIZE] = "";
    char count[32];
    TRY(json_get_str(bucket, "name", &text, err));
    printf("%-13s %s\n", "name", show_name(text, shown));
    TRY(json_get_str(bucket, "created_at", &text, err));
    printf("%-13s %s\n", "created_at", show_name(text, shown));
    TRY(json_get_u64(bucket, "files", &used, err));
    TRY(json_get_optional_u64(bucket, "quota_files", &most, err));
    snprintf(count, sizeof count, "%" PRIu64, used);
    if (most > 0) snprintf(most_shown, sizeof most_shown, "%" PRIu64, most);
    print_used("files", count, most_shown);
    TRY(json_get_u64(bucket, "bytes", &used, err));
    most = 0;
    TRY(json_get_optional_u64(bucket, "quota_bytes", &most, err));
    most_shown[0] = '\0';
    if (most > 0) show_size(most, most_shown);
    print_used("size", show_size(used, count), most_shown);
    TRY(json_get_str(bucket, "versions", &text, err));
    printf("%-13s %s\n", "versions", show_name(text, shown));
    TRY(json_get_optional_str(bucket, "writes", &text, err));
    if (text.ptr != NULL) printf("%-13s %s\n", "writes", show_name(text, shown));
    TRY(json_get_optional_str(bucket, "require", &text, err));
    if (text.ptr != NULL) printf("%-13s %s\n", "require", show_name(text, shown));
    text = (Str){NULL, 0};
    TRY(json_get_optional_str(bucket, "class", &text, err));
    if (text.ptr != NULL) printf("%-13s %s\n", "class", show_name(text, shown));
    return OK;
}

/* In a placement class. */
static int create_in(Session *session, Str name, const char *class)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    AUTO_BUF(body, SETTINGS_MAX);
    AUTO(json_t, json_free) bucket = NULL;
    Err err = {0};
    int status = 0;
    JsonWriter json;
    json_writer_init(&json, &body);
    json_write_object_begin(&json);
    json_member_cstr(&json, "class", class);
    json_write_object_end(&json);
    ErrCode code = json_writer_end(&json, &err);
    if (code == OK) code = remote_bucket_target(&target, name, &err);
    if (code != OK) return session_fail(session, name, &err);
    const char *path = (const char *)target.data;
    if (!session_put_json(session, path, buf_str(&body), name, &bucket, &status)) return status;
    if (session->options.json)
        session_json_line(bucket);
    else if (!session->options.quiet)
        fprintf(stderr, "holdfast bucket: %.*s is there, in class %s\n", STR_ARG(name), class);
    return 0;
}

static int tell_one(Session *session, Str name)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    AUTO(json_t, json_free) bucket = NULL;
    Err err = {0};
    int status = 0;
    if (remote_bucket_target(&target, name, &err) != OK) return session_fail(session, name, &err);
    if (!session_get_json(session, (const char *)target.data, &bucket, &status)) return status;
    if (session->options.json)
        session_json_line(bucket);
    else if (print_one(bucket, &err) != OK)
        return session_bad_answer(session, name, &err);
    return 0;
}

static int run(Session *session)
{
    const ClientOptions *options = &session->options;
    const char *verb = options->args[0];
    bool create = strcmp(verb, "create") == 0;
    bool set_it = strcmp(verb, "set") == 0;
    bool has_setting = options->quota_bytes != NULL || options->quota_files != NULL ||
                       options->versioning != NULL || options->writes != NULL ||
                       options->require != NULL;
    bool remove_it = strcmp(verb, "remove") == 0 || strcmp(verb, "rm") == 0;
    if (has_setting && !set_it)
        return command_usage(spec_bucket.name,
                             "settings are for set: first `bucket create NAME`, then "
                             "`bucket set NAME …`");
    if (strcmp(verb, "list") == 0 || strcmp(verb, "ls") == 0) {
        if (options->arg_count == 1) return bucket_list(session);
        return tell_one(session, str_from_cstr(options->args[1]));
    }
    if (!create && !remove_it && !set_it) {
        return command_usage(spec_bucket.name, "\"%s\" is not create, list, set or remove", verb);
    }
    if (options->arg_count < 2 || options->args[1][0] == '\0') {
        return command_usage(spec_bucket.name, "the name of a bucket is missing");
    }
    if (set_it && !has_setting) {
        return command_usage(
            spec_bucket.name,
            "what is to be set: --quota-bytes, --quota-files, --versions, --writes, "
            "--require");
    }
    if (options->class != NULL && !create)
        return command_usage(spec_bucket.name,
                             "--class is for create: a bucket stays in its class");
    if (options->class != NULL)
        return create_in(session, str_from_cstr(options->args[1]), options->class);
    if (set_it) return set(session, str_from_cstr(options->args[1]));
    return change(session, create ? "PUT" : "DELETE", str_from_cstr(options->args[1]));
}

int command_bucket(int argc, char **argv)
{
    Session session;
    int status = 0;
    if (!session_begin(&session, &spec_bucket, argc, argv, &status)) return status;
    status = run(&session);
    return session_end(&session, status);
}
