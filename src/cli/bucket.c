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
    .usage = "bucket create NAME\nbucket list\n"
             "bucket set NAME [--quota-bytes SIZE] [--quota-files N]\nbucket remove NAME",
    .text =
        "Makes a bucket, names all buckets, sets the quotas of one, or removes one that holds no\n"
        "files. Names have 3 to 63 of a-z 0-9 . and -. The bucket `files` is there from the\n"
        "start. A quota that is not named stays; one below what is there takes nothing away.",
    .example = "  holdfast bucket create photos\n  holdfast bucket list\n"
               "  holdfast bucket set photos --quota-bytes 10GiB --quota-files none",
    .options = OPTION_JSON | OPTION_QUIET | OPTION_QUOTAS,
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
        printf("%.*s\n", STR_ARG(str_trim(buf_str(&call.answer))));
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
    json_write_object_end(&json);
    return json_writer_end(&json, err);
}

/* "photos takes at most 10.0 GiB and any number of files" */
static ErrCode tell_quotas(Str name, const json_t *bucket, Err *err)
{
    uint64_t bytes = 0;
    uint64_t files = 0;
    char shown[SHOW_NAME_SIZE];
    char size[SHOW_SIZE_SIZE];
    char count[SHOW_COUNT_SIZE];
    TRY(json_get_optional_u64(bucket, "quota_bytes", &bytes, err));
    TRY(json_get_optional_u64(bucket, "quota_files", &files, err));
    fprintf(stderr, "holdfast bucket: %s takes %s%s and %s%s\n", show_name(name, shown),
            bytes == 0 ? "" : "at most ", bytes == 0 ? "any size" : show_size(bytes, size),
            files == 0 ? "" : "at most ",
            files == 0 ? "any number of files" : show_count(files, "file", count));
    return OK;
}

/* A PUT would make a bucket that is not there, of a name that may be misspelt. */
static bool is_there(Session *session, const char *target, int *status)
{
    AUTO(json_t, json_free) bucket = NULL;
    return session_get_json(session, target, &bucket, status);
}

static int set(Session *session, Str name)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    AUTO_BUF(body, SETTINGS_MAX);
    AUTO(json_t, json_free) bucket = NULL;
    Err err = {0};
    int status = 0;
    ErrCode code = read_settings(&session->options, &body, &err);
    if (code == OK) code = remote_bucket_target(&target, name, &err);
    if (code != OK) return session_fail(session, name, &err);
    const char *path = (const char *)target.data;
    if (!is_there(session, path, &status)) return status;
    if (!session_put_json(session, path, buf_str(&body), name, &bucket, &status)) return status;
    if (session->options.json)
        session_json_line(bucket);
    else if (!session->options.quiet)
        code = tell_quotas(name, bucket, &err);
    return code == OK ? 0 : session_bad_answer(session, name, &err);
}

static int run(Session *session)
{
    const ClientOptions *options = &session->options;
    const char *verb = options->args[0];
    bool create = strcmp(verb, "create") == 0;
    bool set_it = strcmp(verb, "set") == 0;
    bool has_quota = options->quota_bytes != NULL || options->quota_files != NULL;
    bool remove_it = strcmp(verb, "remove") == 0 || strcmp(verb, "rm") == 0;
    if (has_quota && !set_it) return command_usage(spec_bucket.name, "quotas are for set");
    if (strcmp(verb, "list") == 0 || strcmp(verb, "ls") == 0) {
        if (options->arg_count == 1) return bucket_list(session);
        return command_usage(spec_bucket.name, "list takes no name");
    }
    if (!create && !remove_it && !set_it) {
        return command_usage(spec_bucket.name, "\"%s\" is not create, list, set or remove", verb);
    }
    if (options->arg_count < 2 || options->args[1][0] == '\0') {
        return command_usage(spec_bucket.name, "the name of a bucket is missing");
    }
    if (set_it && !has_quota) {
        return command_usage(spec_bucket.name, "what is to be set: --quota-bytes, --quota-files");
    }
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
