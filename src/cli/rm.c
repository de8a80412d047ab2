/* holdfast rm: deletes a file, or all files below a prefix. */
#include "cli/session.h"

#include "cli/command.h"
#include "cli/key_path.h"
#include <stdio.h>

#define VERSION_TEXT_SIZE 64 /* more than an id's text has */

const CommandSpec spec_rm = {
    .name = "rm",
    .arguments = "[-r] BUCKET/KEY",
    .summary = "deletes a file, or all below a prefix",
    .usage = "rm [--version ID] BUCKET/KEY\nrm -r [--versions] BUCKET/PREFIX",
    .text =
        "Deletes a file, or every file below a prefix: `rm -r files/doc` deletes files/doc/a, but\n"
        "neither files/doc nor files/docs/a. `rm -r files/` deletes all there is in the bucket.\n"
        "Where versions are on, a deleted file's versions stay; --version deletes one for good,\n"
        "-r --versions every one below the prefix.",
    .example = "  holdfast rm files/2026/report.pdf\n  holdfast rm -r files/doc",
    .options = OPTION_RECURSIVE | OPTION_CONNECTIONS | OPTION_JSON | OPTION_QUIET | OPTION_VERSION |
               OPTION_VERSIONS,
    .args_min = 1,
    .args_max = 1,
};

typedef struct {
    ClientCall call;
    Buf key;
    Buf target;
    char version[VERSION_TEXT_SIZE]; /* "": the file */
    char repeat[REMOTE_REPEAT_SIZE];
    unsigned attempts;
} Item;

typedef struct {
    Session *session;
    Str bucket;
    Str key; /* or prefix, with its '/' */
    bool taken;
    uint64_t found;
    Listing *listing;
} Rm;

static ErrCode rm_begin(void *ctx, void *arg, Err *err)
{
    const Rm *rm = ctx;
    Item *item = arg;
    const char *version = item->version[0] == '\0' ? NULL : item->version;
    TRY(remote_version_target(&item->target, rm->bucket, buf_str(&item->key), version, err));
    item->call.method = "DELETE";
    item->call.target = (const char *)item->target.data;
    remote_repeat_header(&item->call, &rm->session->rng, item->repeat);
    item->call.header = item->repeat;
    item->attempts++;
    return OK;
}

static ErrCode rm_end(void *ctx, void *arg, Err *err)
{
    const Rm *rm = ctx;
    const Item *item = arg;
    UNUSED(err);
    session_json_deleted(rm->session, rm->bucket, buf_str(&item->key));
    return OK;
}

static void rm_done(void *ctx, void *arg, const Err *err)
{
    Rm *rm = ctx;
    Item *item = arg;
    Session *session = rm->session;
    /* Gone when it was asked for again, or after it was listed: that is what was wanted. */
    bool gone = err->code == ERR_NOT_FOUND && (item->attempts > 1 || rm->listing != NULL);
    if (err->code == OK || gone) {
        tally_done(&session->tally, 0, 0);
    } else if (!client_stopped(session->client)) {
        Str typed = str_from_cstr(session->options.args[0]);
        tally_fail(&session->tally, rm->listing == NULL ? typed : buf_str(&item->key), err);
        session_json_failure(session, "key", buf_str(&item->key), err);
    }
    buf_deinit(&item->key);
    buf_deinit(&item->target);
}

static ErrCode make_item(Item *item, Str key, Str version, Err *err)
{
    item->attempts = 0;
    item->repeat[0] = '\0';
    if (!str_to_cstr(version, item->version, sizeof item->version))
        return err_set(err, ERR_NOT_FOUND, "there is no such version");
    buf_init(&item->key, 4 * KEY_MAX);
    buf_init(&item->target, REMOTE_TARGET_MAX);
    ErrCode code = buf_append_str(&item->key, key, err);
    if (code != OK) buf_deinit(&item->key);
    return code;
}

static ErrCode rm_next(void *ctx, void *arg, bool *found, Err *err)
{
    Rm *rm = ctx;
    ListingEntry entry;
    if (rm->listing == NULL) {
        *found = !rm->taken;
        if (rm->taken) return OK;
        rm->taken = true;
        const char *version = rm->session->options.version;
        return make_item(arg, rm->key, str_from_cstr(version == NULL ? "" : version), err);
    }
    TRY(listing_next(rm->listing, &entry, found, err));
    if (!*found) return OK;
    rm->found++;
    if (!str_starts_with(entry.file.key, rm->key)) {
        return err_set(err, ERR_PEER, "the listing has a key outside of the prefix");
    }
    bool versions = rm->session->options.versions;
    return make_item(arg, entry.file.key, versions ? entry.file.version : STR(""), err);
}

static void rm_state(void *ctx, ProgressState *state)
{
    UNUSED(ctx);
    UNUSED(state);
}

static ErrCode prepare(Rm *rm, Buf *prefix, Err *err)
{
    const ClientOptions *options = &rm->session->options;
    TRY(key_split(options->args[0], &rm->bucket, &rm->key, err));
    if (options->recursive && options->version != NULL)
        return err_set(err, ERR_USAGE, "a version is of one file; -r --versions deletes all");
    if (options->versions && !options->recursive)
        return err_set(err, ERR_USAGE, "--versions goes with -r; one is deleted by --version");
    if (!options->recursive) {
        if (rm->key.len > 0) return OK;
        return err_set(err, ERR_USAGE,
                       "a key is missing; `rm -r BUCKET/` deletes all, `bucket "
                       "remove` the bucket");
    }
    if (rm->key.len == 0 && str_find_char(str_from_cstr(options->args[0]), '/') == rm->bucket.len &&
        options->args[0][rm->bucket.len] == '\0') {
        return err_set(err, ERR_USAGE, "write %s/ to delete all that is in the bucket",
                       options->args[0]);
    }
    TRY(buf_append_str(prefix, rm->key, err));
    if (rm->key.len > 0 && rm->key.ptr[rm->key.len - 1] != '/') {
        TRY(buf_append_str(prefix, STR("/"), err));
    }
    rm->key = buf_str(prefix);
    ListingOptions listing = session_listing(rm->session, rm->bucket, rm->key, 0);
    listing.versions = options->versions;
    return listing_open(&listing, &rm->listing, err);
}

static int run(Rm *rm)
{
    Session *session = rm->session;
    PoolOps ops = {.item_size = sizeof(Item),
                   .answer_max = CLIENT_ANSWER_MAX,
                   .next = rm_next,
                   .begin = rm_begin,
                   .end = rm_end,
                   .done = rm_done,
                   .ctx = rm};
    session_run(session, &ops, rm_state);
    const Tally *tally = &session->tally;
    if (rm->listing != NULL && rm->found == 0 && tally->ended == OK && !tally->interrupted) {
        Err err = {0};
        ErrCode code = err_set(&err, ERR_NOT_FOUND, "there are no files below it");
        ASSERT(code == ERR_NOT_FOUND);
        return session_fail(session, str_from_cstr(session->options.args[0]), &err);
    }
    return session_report(session, "deleted", rm->listing == NULL);
}

int command_rm(int argc, char **argv)
{
    Session session;
    int status = 0;
    Err err = {0};
    if (!session_begin(&session, &spec_rm, argc, argv, &status)) return status;
    AUTO_BUF(prefix, REMOTE_TARGET_MAX);
    Rm rm = {.session = &session};
    if (prepare(&rm, &prefix, &err) == OK) {
        status = run(&rm);
    } else {
        status = session_fail(&session, (Str){NULL, 0}, &err);
    }
    listing_close(rm.listing);
    return session_end(&session, status);
}
