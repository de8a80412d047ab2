/* holdfast class: makes, sets and names placement classes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/session.h"
#include "cli/show.h"
#include "format/class_record.h"

#define CLASSES "/v1/admin/classes"
#define BODY_MAX 512

const CommandSpec spec_class = {
    .name = "class",
    .arguments = "create|list|set [NAME]",
    .summary = "makes, names and sets placement classes",
    .words = "create|list|set",
    .usage = "class create NAME [--copies N] [--min-isr N] [--shards N]\n"
             "                  [--writes WORD] [--require WORD]\n"
             "class list [NAME]\n"
             "class set NAME [--min-isr N] [--writes WORD] [--require WORD]",
    .text =
        "A placement class says on how many of the server's directories the files of a bucket\n"
        "are kept, and how many must have a change before it counts. The class `standard` is\n"
        "there from the start: all directories, of which more than half must be in sync. A bucket\n"
        "is put into a class when it is made (`bucket create NAME --class CLASS`) and stays\n"
        "there; a class keeps its copies and shards, and is never removed. --writes and --require\n"
        "are of buckets that are made in it from then on. With one copy a file is gone with its\n"
        "disk; with two no change is taken while one of them is away.",
    .example = "  holdfast class create scratch --copies 1\n"
               "  holdfast class create whole --copies 3 --require all\n"
               "  holdfast bucket create builds --class scratch\n"
               "  holdfast class list",
    .options = OPTION_JSON | OPTION_QUIET | OPTION_CLASS,
    .args_min = 1,
    .args_max = 2,
};

/* --- told --- */

static ErrCode print_line(const json_t *class, Err *err)
{
    Str name;
    Str writes;
    Str require;
    Str state;
    uint64_t copies = 0;
    uint64_t synced = 0;
    uint64_t needed = 0;
    char shown[SHOW_NAME_SIZE];
    TRY(json_get_str(class, "name", &name, err));
    TRY(json_get_str(class, "state", &state, err));
    TRY(json_get_str(class, "writes", &writes, err));
    TRY(json_get_str(class, "require", &require, err));
    TRY(json_get_u64(class, "copies", &copies, err));
    TRY(json_get_u64(class, "synced", &synced, err));
    TRY(json_get_u64(class, "min_isr", &needed, err));
    printf("%-20s  %-8.*s  %" PRIu64 " of %" PRIu64 " copies in sync, changes need %" PRIu64
           "; writes %.*s, require %.*s%s\n",
           show_name(name, shown), STR_ARG(state), synced, copies, needed, STR_ARG(writes),
           STR_ARG(require),
           json_is_true(json_object_get(class, "weak")) ? "; no quorum behind a change" : "");
    return OK;
}

static int print_class(Session *session, const json_t *class)
{
    Err err = {0};
    if (session->options.json) {
        session_json_line(class);
        return 0;
    }
    if (print_line(class, &err) == OK) return 0;
    return session_bad_answer(session, (Str){NULL, 0}, &err);
}

static int list_all(Session *session)
{
    AUTO(json_t, json_free) answer = NULL;
    int status = 0;
    if (!session_get_json(session, CLASSES, &answer, &status)) return status;
    const json_t *classes = json_object_get(answer, "classes");
    for (size_t i = 0; i < json_array_size(classes) && status == 0; i++)
        status = print_class(session, json_array_get(classes, i));
    return status;
}

static ErrCode target_of(Buf *out, Str name, Err *err)
{
    if (!class_name_valid(name) && !str_eq(name, STR("standard")))
        return err_set(err, ERR_USAGE,
                       "a class's name has 1 to %d of a-z, 0-9 and hyphen, begins and ends with a "
                       "letter or digit, and is not system",
                       CLASS_NAME_MAX);
    TRY(buf_printf(out, err, CLASSES "/%.*s", STR_ARG(name)));
    return buf_append_zeros(out, 1, err);
}

static int list_one(Session *session, Str name)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    AUTO(json_t, json_free) class = NULL;
    Err err = {0};
    int status = 0;
    if (target_of(&target, name, &err) != OK) return session_fail(session, name, &err);
    if (!session_get_json(session, (const char *)target.data, &class, &status)) return status;
    return print_class(session, class);
}

/* --- changed --- */

/* text NULL: it was not named. */
static ErrCode write_number(JsonWriter *json, const char *key, const char *option, const char *text,
                            Err *err)
{
    uint64_t number = 0;
    if (text == NULL) return OK;
    if (!str_to_u64(str_from_cstr(text), SHARD_NUMBER_MAX + 1, &number))
        return err_set(err, ERR_USAGE, "--%s \"%s\" is not a number of up to %d", option, text,
                       SHARD_NUMBER_MAX + 1);
    json_member_u64(json, key, number);
    return OK;
}

static ErrCode write_body(const ClientOptions *options, Buf *out, Err *err)
{
    JsonWriter json;
    json_writer_init(&json, out);
    json_write_object_begin(&json);
    TRY(write_number(&json, "copies", "copies", options->copies, err));
    TRY(write_number(&json, "min_isr", "min-isr", options->min_isr, err));
    TRY(write_number(&json, "shards", "shards", options->shards, err));
    if (options->writes != NULL) json_member_cstr(&json, "writes", options->writes);
    if (options->require != NULL) json_member_cstr(&json, "require", options->require);
    json_write_object_end(&json);
    return json_writer_end(&json, err);
}

static int change(Session *session, Str name, bool creates)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    AUTO_BUF(body, BODY_MAX);
    AUTO(json_t, json_free) before = NULL;
    AUTO(json_t, json_free) class = NULL;
    Err err = {0};
    int status = 0;
    ErrCode code = write_body(&session->options, &body, &err);
    if (code == OK) code = target_of(&target, name, &err);
    if (code != OK) return session_fail(session, name, &err);
    const char *path = (const char *)target.data;
    /* A PUT would make a class that is not there, of a name that may be misspelt. */
    if (!creates && !session_get_json(session, path, &before, &status)) return status;
    if (!session_put_json(session, path, buf_str(&body), name, &class, &status)) return status;
    return session->options.quiet ? 0 : print_class(session, class);
}

static int run(Session *session)
{
    const ClientOptions *o = &session->options;
    const char *verb = o->args[0];
    bool fixed = o->copies != NULL || o->shards != NULL;
    bool settings = fixed || o->min_isr != NULL || o->writes != NULL || o->require != NULL;
    bool lists = strcmp(verb, "list") == 0 || strcmp(verb, "ls") == 0;
    bool creates = strcmp(verb, "create") == 0;
    bool sets = strcmp(verb, "set") == 0;
    if (!lists && !creates && !sets)
        return command_usage(spec_class.name, "\"%s\" is not create, list or set", verb);
    if (lists && settings) return command_usage(spec_class.name, "list takes no settings");
    if (lists && o->arg_count == 1) return list_all(session);
    if (o->arg_count < 2 || o->args[1][0] == '\0')
        return command_usage(spec_class.name, "the name of a class is missing");
    if (lists) return list_one(session, str_from_cstr(o->args[1]));
    if (sets && fixed)
        return command_usage(spec_class.name, "copies and shards are of a new class: create");
    if (sets && !settings)
        return command_usage(spec_class.name, "what is to be set: --min-isr, --writes, --require");
    return change(session, str_from_cstr(o->args[1]), creates);
}

int command_class(int argc, char **argv)
{
    Session session;
    int status = 0;
    if (!session_begin(&session, &spec_class, argc, argv, &status)) return status;
    status = run(&session);
    return session_end(&session, status);
}
