/* holdfast ls: names the files of a bucket, one level like `ls`, or all with -R. */
#include "cli/bucket.h"

#include "cli/command.h"
#include "cli/key_path.h"
#include "cli/show.h"
#include <inttypes.h>
#include <stdio.h>

static const ClientSpec spec = {
    .name = "ls",
    .usage = "ls [-l] [-h] [-R] [BUCKET[/PREFIX]]",
    .text =
        "Names the files whose keys begin with PREFIX, one level deep: what lies behind the next\n"
        "/ is one line that ends in /. With -R every key is named. Control bytes of names are\n"
        "shown as \\xNN; --json gives them as they are. Without BUCKET it names the buckets.",
    .example = "  holdfast ls\n  holdfast ls -lh files\n  holdfast ls -R files/2026/",
    .options = OPTION_RECURSIVE | OPTION_LONG | OPTION_HUMAN | OPTION_JSON | OPTION_QUIET,
    .args_min = 0,
    .args_max = 1,
};

static ErrCode print_json(const ListingEntry *entry, Err *err)
{
    if (!entry->is_prefix) {
        session_json_line(entry->file.json);
        return OK;
    }
    AUTO_BUF(text, 64 * KIB);
    JsonWriter json;
    json_writer_init(&json, &text);
    json_write_object_begin(&json);
    json_member_str(&json, "prefix", entry->file.key);
    json_write_object_end(&json);
    TRY(json_writer_end(&json, err));
    printf("%.*s\n", STR_ARG(buf_str(&text)));
    return OK;
}

/* "       1234  2026-01-31T12:34:56.789Z  docs/a.txt": 15 digits are 1 PB. */
static ErrCode print_entry(const ClientOptions *options, const ListingEntry *entry, Err *err)
{
    if (options->json) return print_json(entry, err);
    AUTO_BUF(name, 64 * KIB);
    TRY(show_name_append(&name, entry->file.key, err));
    if (options->long_form && entry->is_prefix) {
        printf("%15s  %-24s  ", "-", "-");
    } else if (options->long_form && options->human) {
        char size[SHOW_SIZE_SIZE];
        printf("%15s  %-24.*s  ", show_size(entry->file.size, size),
               STR_ARG(entry->file.updated_at));
    } else if (options->long_form) {
        printf("%15" PRIu64 "  %-24.*s  ", entry->file.size, STR_ARG(entry->file.updated_at));
    }
    printf("%.*s\n", STR_ARG(buf_str(&name)));
    return OK;
}

/* Prints all there is; *only: nothing but the one folder `prefix/` was found, and not printed. */
static ErrCode print_all(Session *session, Str bucket, Str prefix, bool *only, Err *err)
{
    const ClientOptions *options = &session->options;
    AUTO(Listing, listing_close) listing = NULL;
    ListingOptions wanted = session_listing(session, bucket, prefix,
                                            options->recursive ? '\0' : '/');
    TRY(listing_open(&wanted, &listing, err));
    ListingEntry entry;
    bool found = false;
    TRY(listing_next(listing, &entry, &found, err));
    *only = false;
    if (!found) {
        /* An empty bucket is no failure; a prefix that nothing begins with is. */
        return prefix.len == 0 ? OK : err_set(err, ERR_NOT_FOUND, "no file's key begins with this");
    }
    AUTO_BUF(first, 4 * KEY_MAX);
    bool folder = entry.is_prefix && entry.file.key.len == prefix.len + 1 && prefix.len > 0;
    if (folder) TRY(buf_append_str(&first, entry.file.key, err));
    if (!folder) TRY(print_entry(options, &entry, err));
    for (bool again = false;; again = true) {
        TRY(listing_next(listing, &entry, &found, err));
        if (!again && folder) {
            *only = !found;
            if (!found) return OK;
            ListingEntry held = {.is_prefix = true, .file = {.key = buf_str(&first)}};
            TRY(print_entry(options, &held, err));
        }
        if (!found || ferror(stdout) != 0 || client_stopped(session->client)) return OK;
        TRY(print_entry(options, &entry, err));
    }
}

static ErrCode list(Session *session, Err *err)
{
    Str bucket;
    Str prefix;
    bool only = false;
    TRY(key_split(session->options.args[0], &bucket, &prefix, err));
    TRY(print_all(session, bucket, prefix, &only, err));
    if (!only) return OK;
    /* `ls files/doc` where all there is lies below doc/: what is in it, as ls has it. */
    AUTO_BUF(inside, REMOTE_TARGET_MAX);
    TRY(buf_append_str(&inside, prefix, err));
    TRY(buf_append_str(&inside, STR("/"), err));
    return print_all(session, bucket, buf_str(&inside), &only, err);
}

int command_ls(int argc, char **argv)
{
    Session session;
    int status = 0;
    Err err = {0};
    if (!session_begin(&session, &spec, argc, argv, &status)) return status;
    if (session.options.arg_count == 0) {
        status = bucket_list(&session);
    } else if (list(&session, &err) != OK) {
        status = session_fail(&session, str_from_cstr(session.options.args[0]), &err);
    } else if (client_stopped(session.client)) {
        status = TALLY_INTERRUPTED;
    }
    return session_end(&session, status);
}
