/* holdfast key: makes, names and revokes access keys. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/session.h"
#include "cli/show.h"
#include "format/key_record.h"

#define BODY_MAX (64 * KIB)
#define KEYS "/v1/admin/keys"

const CommandSpec spec_key = {
    .name = "key",
    .arguments = "create|list|revoke [ARGUMENTS]",
    .summary = "makes, names and revokes access keys",
    .words = "create|list|revoke",
    .usage = "key create NAME RIGHTS:BUCKET[/PREFIX]... [--expires TIME]\nkey list\n"
             "key revoke ID",
    .text =
        "Makes an access key, which both doors take, and prints it as ID.SECRET: the server tells\n"
        "the secret this one time. NAME is for people. RIGHTS are read, write and admin, with\n"
        "commas between them; BUCKET is one bucket, or * for all of them; with PREFIX only keys\n"
        "that begin with it. read gives contents and names; write makes, changes and deletes\n"
        "files; admin makes, sets and deletes the bucket, and over * the server and its keys.\n"
        "TIME is when the key ends, such as 2027-01-31T00:00:00Z.\n"
        "A key that is revoked is refused from then on; the root key can't be.",
    .example = "  holdfast key create backup read,write:backups\n"
               "  holdfast key create camera write:photos/in/ --expires 2027-01-31T00:00:00Z\n"
               "  holdfast key create prometheus 'read:*'\n"
               "  holdfast key list\n"
               "  holdfast key revoke HF0123456789ABCDEFGH",
    .options = OPTION_JSON | OPTION_QUIET | OPTION_EXPIRES,
    .args_min = 1,
    .args_max = 2 + KEY_GRANTS_MAX,
};

/* --- create --- */

/* "read,write:photos/in/" as a grant of JSON. ERR_USAGE. */
static ErrCode write_grant(JsonWriter *json, const char *text, Err *err)
{
    Str rights;
    Str what;
    Str bucket;
    Str prefix;
    if (!str_split(str_from_cstr(text), ':', &rights, &what) || rights.len == 0 || what.len == 0)
        return err_set(err, ERR_USAGE, "\"%s\" is not RIGHTS:BUCKET[/PREFIX]", text);
    str_split(what, '/', &bucket, &prefix);
    KeyGrant grant = {.bucket = bucket, .prefix = prefix};
    if (!key_grant_valid(&grant))
        return err_set(err, ERR_USAGE, "\"%.*s\" is neither a bucket nor *", STR_ARG(bucket));
    json_write_object_begin(json);
    json_member_str(json, "bucket", bucket);
    json_member_str(json, "prefix", prefix);
    json_write_key(json, "rights");
    json_write_array_begin(json);
    for (bool more = true; more;) {
        Str right;
        more = str_split(rights, ',', &right, &rights);
        if (!str_eq(right, STR("read")) && !str_eq(right, STR("write")) &&
            !str_eq(right, STR("admin")))
            return err_set(err, ERR_USAGE, "\"%.*s\" is not read, write or admin", STR_ARG(right));
        json_write_str(json, right);
    }
    json_write_array_end(json);
    json_write_object_end(json);
    return OK;
}

static ErrCode write_body(const ClientOptions *options, Buf *out, Err *err)
{
    JsonWriter json;
    json_writer_init(&json, out);
    json_write_object_begin(&json);
    json_member_cstr(&json, "name", options->args[1]);
    if (options->expires != NULL) json_member_cstr(&json, "expires_at", options->expires);
    json_write_key(&json, "grants");
    json_write_array_begin(&json);
    for (size_t i = 2; i < options->arg_count; i++)
        TRY(write_grant(&json, options->args[i], err));
    json_write_array_end(&json);
    json_write_object_end(&json);
    return json_writer_end(&json, err);
}

static ErrCode print_new(Session *session, const json_t *key, Err *err)
{
    Str id;
    Str secret;
    if (session->options.json) {
        session_json_line(key);
        return OK;
    }
    TRY(json_get_str(key, "id", &id, err));
    TRY(json_get_str(key, "secret", &secret, err));
    printf("%.*s.%.*s\n", STR_ARG(id), STR_ARG(secret));
    if (!session->options.quiet)
        fputs("holdfast key: this is the only time that the secret is told; keep it\n", stderr);
    return OK;
}

static int create(Session *session)
{
    AUTO_BUF(body, BODY_MAX);
    AUTO(json_t, json_free) key = NULL;
    Str about = str_from_cstr(session->options.args[1]);
    Err err = {0};
    int status = 0;
    ErrCode code = write_body(&session->options, &body, &err);
    if (code == ERR_USAGE) return command_usage(spec_key.name, "%s", err_text(&err));
    if (code != OK) return session_fail(session, about, &err);
    /* A second try after a lost answer would make a second key. */
    session->options.retry_for_ms = 0;
    if (!session_post_body(session, KEYS, buf_str(&body), about, &key, &status)) return status;
    code = print_new(session, key, &err);
    return code == OK ? 0 : session_bad_answer(session, about, &err);
}

/* --- list --- */

/* "read,write:photos/in/" */
static ErrCode append_grant(Buf *out, const json_t *grant, Err *err)
{
    Str bucket;
    Str prefix;
    const json_t *rights = json_object_get(grant, "rights");
    TRY(json_get_str(grant, "bucket", &bucket, err));
    TRY(json_get_str(grant, "prefix", &prefix, err));
    for (size_t i = 0; i < json_array_size(rights); i++) {
        const char *right = json_string_value(json_array_get(rights, i));
        TRY(buf_printf(out, err, "%s%s", i == 0 ? " " : ",", right == NULL ? "?" : right));
    }
    TRY(buf_append_str(out, STR(":"), err));
    TRY(show_name_append(out, bucket, err));
    if (prefix.len == 0) return OK;
    TRY(buf_append_str(out, STR("/"), err));
    return show_name_append(out, prefix, err);
}

static ErrCode print_key(Session *session, const json_t *key, Err *err)
{
    AUTO_BUF(grants, MIB);
    Str id;
    Str name;
    Str created = {NULL, 0};
    Str expires = {NULL, 0};
    char shown[SHOW_NAME_SIZE];
    if (session->options.json) {
        session_json_line(key);
        return OK;
    }
    TRY(json_get_str(key, "id", &id, err));
    TRY(json_get_str(key, "name", &name, err));
    TRY(json_get_optional_str(key, "created_at", &created, err));
    TRY(json_get_optional_str(key, "expires_at", &expires, err));
    const json_t *list = json_object_get(key, "grants");
    for (size_t i = 0; i < json_array_size(list); i++)
        TRY(append_grant(&grants, json_array_get(list, i), err));
    printf("%.*s  %-24.*s  %s ", STR_ARG(id), STR_ARG(created), show_name(name, shown));
    printf("%.*s", STR_ARG(buf_str(&grants)));
    if (expires.len > 0) printf("  until %.*s", STR_ARG(expires));
    puts("");
    return OK;
}

static int list(Session *session)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    AUTO_BUF(next, 64);
    Err err = {0};
    int status = 0;
    do {
        AUTO(json_t, json_free) page = NULL;
        Str after = {NULL, 0};
        buf_clear(&target);
        ErrCode code = buf_printf(&target, &err, KEYS "%s%.*s", next.len > 0 ? "?after=" : "",
                                  STR_ARG(buf_str(&next)));
        if (code == OK) code = buf_append_zeros(&target, 1, &err);
        if (code != OK) return session_fail(session, (Str){NULL, 0}, &err);
        if (!session_get_json(session, (const char *)target.data, &page, &status)) return status;
        const json_t *keys = json_object_get(page, "keys");
        for (size_t i = 0; i < json_array_size(keys) && code == OK; i++)
            code = print_key(session, json_array_get(keys, i), &err);
        buf_clear(&next);
        if (code == OK) code = json_get_optional_str(page, "next", &after, &err);
        if (code == OK) code = buf_append_str(&next, after, &err);
        if (code != OK) return session_bad_answer(session, (Str){NULL, 0}, &err);
    } while (next.len > 0);
    return 0;
}

/* --- revoke --- */

static bool is_id(Str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if ((c < 'A' || c > 'Z') && (c < '0' || c > '9')) return false;
    }
    return id.len > 0 && id.len <= 64;
}

static int revoke_key(Session *session, Str id)
{
    AUTO_BUF(target, REMOTE_TARGET_MAX);
    Err err = {0};
    int status = 0;
    if (!is_id(id))
        return command_usage(spec_key.name, "that is no id of a key; `key list` tells them");
    ErrCode code = buf_printf(&target, &err, KEYS "/%.*s", STR_ARG(id));
    if (code == OK) code = buf_append_zeros(&target, 1, &err);
    if (code != OK) return session_fail(session, id, &err);
    ClientCall call;
    client_call_init(&call, CLIENT_ANSWER_MAX);
    call.method = "DELETE";
    call.target = (const char *)target.data;
    bool good = session_call(session, &call, id, &status);
    client_call_deinit(&call);
    if (good && session->options.json)
        printf("{\"id\": \"%.*s\", \"revoked\": true}\n", STR_ARG(id));
    else if (good && !session->options.quiet)
        fprintf(stderr, "holdfast key: %.*s is revoked\n", STR_ARG(id));
    return status;
}

static int run(Session *session)
{
    const ClientOptions *options = &session->options;
    const char *verb = options->args[0];
    bool creates = strcmp(verb, "create") == 0;
    if (options->expires != NULL && !creates)
        return command_usage(spec_key.name, "--expires is for create");
    if (creates && options->arg_count >= 3) return create(session);
    if (creates)
        return command_usage(spec_key.name, "a name and what the key may do are missing: "
                                            "RIGHTS:BUCKET[/PREFIX]");
    if (strcmp(verb, "list") == 0 || strcmp(verb, "ls") == 0) {
        if (options->arg_count == 1) return list(session);
        return command_usage(spec_key.name, "list takes nothing more");
    }
    if (strcmp(verb, "revoke") == 0) {
        if (options->arg_count == 2) return revoke_key(session, str_from_cstr(options->args[1]));
        return command_usage(spec_key.name, "revoke takes the id of one key");
    }
    return command_usage(spec_key.name, "\"%s\" is not create, list or revoke", verb);
}

int command_key(int argc, char **argv)
{
    Session session;
    int status = 0;
    if (!session_begin(&session, &spec_key, argc, argv, &status)) return status;
    status = run(&session);
    return session_end(&session, status);
}
