/* holdfast bucket: makes, names and removes buckets. */
#include "cli/bucket.h"

#include "cli/command.h"
#include "cli/key_path.h"
#include "cli/show.h"
#include <stdio.h>
#include <string.h>

const CommandSpec spec_bucket = {
    .name = "bucket",
    .arguments = "create|list|remove [NAME]",
    .summary = "makes, names and removes buckets",
    .words = "create|list|remove",
    .usage = "bucket create NAME\nbucket list\nbucket remove NAME",
    .text =
        "Makes a bucket, names all buckets, or removes one that holds no files. Names have 3 to\n"
        "63 of a-z 0-9 . and -. The bucket `files` is there from the start.",
    .example = "  holdfast bucket create photos\n  holdfast bucket list",
    .options = OPTION_JSON | OPTION_QUIET,
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
        return session_fail(session, (Str){NULL, 0}, &err);
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
    return code == OK ? 0 : session_fail(session, (Str){NULL, 0}, &err);
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

static int run(Session *session)
{
    const ClientOptions *options = &session->options;
    const char *verb = options->args[0];
    bool create = strcmp(verb, "create") == 0;
    bool remove_it = strcmp(verb, "remove") == 0 || strcmp(verb, "rm") == 0;
    if (strcmp(verb, "list") == 0 || strcmp(verb, "ls") == 0) {
        if (options->arg_count == 1) return bucket_list(session);
        return command_usage(spec_bucket.name, "list takes no name");
    }
    if (!create && !remove_it) {
        return command_usage(spec_bucket.name, "\"%s\" is not create, list or remove", verb);
    }
    if (options->arg_count < 2 || options->args[1][0] == '\0') {
        return command_usage(spec_bucket.name, "the name of a bucket is missing");
    }
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
