/* holdfast ls: names the files of a bucket, one level like `ls`, or all with -R. */
#include "cli/bucket.h"

#include "cli/command.h"
#include "cli/key_path.h"
#include "cli/show.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const CommandSpec spec_ls = {
    .name = "ls",
    .arguments = "[BUCKET[/PREFIX]]",
    .summary = "names files, or buckets",
    .usage = "ls [-l] [-h] [-R] [-t|-S] [-r] [--versions] [BUCKET[/PREFIX]]",
    .text =
        "Names the files whose keys begin with PREFIX, one level deep: what lies behind the next\n"
        "/ is one line that ends in /. With -R every key is named. Control bytes of names are\n"
        "shown as \\xNN; --json gives them as they are. Without BUCKET it names the buckets.\n"
        "In the order of names; with -t, -S or -r all of them are held in memory first.\n"
        "--versions names every version, the newest of a file first, with its id before the\n"
        "name; * stands for the current one, - for where the file was deleted.",
    .example = "  holdfast ls\n  holdfast ls -lh files\n  holdfast ls -lRt files/2026/",
    .options = OPTION_LISTING | OPTION_LONG | OPTION_HUMAN | OPTION_JSON | OPTION_QUIET |
               OPTION_VERSIONS,
    .args_min = 0,
    .args_max = 1,
};

/* Lines that wait until all are there, to be sorted. */
typedef struct {
    char *line; /* owned */
    size_t len;
    size_t order; /* in which it came: that of names */
    uint64_t size;
    char time[32];
} Held;

typedef struct {
    Session *session;
    bool sorted;
    Held *held;
    size_t count;
    size_t capacity;
} Ls;

/* "       1234  2026-01-31T12:34:56.789Z  docs/a.txt": 15 digits are 1 PB. */
static ErrCode format_text(const ClientOptions *options, const ListingEntry *entry, Buf *out,
                           Err *err)
{
    const RemoteFile *file = &entry->file;
    if (options->long_form && entry->is_prefix) {
        TRY(buf_printf(out, err, "%15s  %-24s  ", "-", "-"));
    } else if (options->long_form && options->human) {
        char size[SHOW_SIZE_SIZE];
        TRY(buf_printf(out, err, "%15s  %-24.*s  ", show_size(file->size, size),
                       STR_ARG(file->updated_at)));
    } else if (options->long_form) {
        TRY(buf_printf(out, err, "%15" PRIu64 "  %-24.*s  ", file->size,
                       STR_ARG(file->updated_at)));
    }
    if (options->versions && !entry->is_prefix) {
        char mark = file->delete_marker ? '-' : file->latest ? '*' : ' ';
        TRY(buf_printf(out, err, "%-20.*s %c ", STR_ARG(file->version), mark));
    } else if (options->versions) {
        TRY(buf_printf(out, err, "%-20s   ", ""));
    }
    return show_name_append(out, file->key, err);
}

static ErrCode format_json(const ListingEntry *entry, Buf *out, Err *err)
{
    if (!entry->is_prefix) {
        size_t size = json_dumpb(entry->file.json, NULL, 0, JSON_COMPACT);
        TRY(buf_reserve(out, size, err));
        out->len = json_dumpb(entry->file.json, (char *)out->data, size, JSON_COMPACT);
        return OK;
    }
    JsonWriter json;
    json_writer_init(&json, out);
    json_write_object_begin(&json);
    json_member_str(&json, "prefix", entry->file.key);
    json_write_object_end(&json);
    return json_writer_end(&json, err);
}

static void hold(Ls *ls, const ListingEntry *entry, Str line)
{
    if (ls->count == ls->capacity) {
        ls->capacity = MAX(2 * ls->capacity, (size_t)1024);
        ls->held = mem_resize(ls->held, ls->capacity * sizeof *ls->held);
    }
    Held *held = &ls->held[ls->count];
    *held = (Held){.line = mem_new(line.len + 1),
                   .len = line.len,
                   .order = ls->count++,
                   .size = entry->file.size};
    memcpy(held->line, line.ptr, line.len);
    Str time = str_slice(entry->file.updated_at, 0, sizeof held->time - 1);
    if (time.len > 0) memcpy(held->time, time.ptr, time.len);
}

static ErrCode print_entry(Ls *ls, const ListingEntry *entry, Err *err)
{
    const ClientOptions *options = &ls->session->options;
    AUTO_BUF(line, 256 * KIB);
    TRY(options->json ? format_json(entry, &line, err) : format_text(options, entry, &line, err));
    if (ls->sorted) {
        hold(ls, entry, buf_str(&line));
    } else {
        printf("%.*s\n", STR_ARG(buf_str(&line)));
    }
    return OK;
}

/* Folders have neither size nor time: they go behind all files. */
static int by_size(const void *left, const void *right)
{
    const Held *a = left;
    const Held *b = right;
    if ((a->time[0] == '\0') != (b->time[0] == '\0')) return a->time[0] == '\0' ? 1 : -1;
    if (a->size != b->size) return a->size > b->size ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static int by_time(const void *left, const void *right)
{
    const Held *a = left;
    const Held *b = right;
    int order = strcmp(b->time, a->time);
    if (order != 0) return order;
    return a->order < b->order ? -1 : 1;
}

static void print_held(const Ls *ls)
{
    const ClientOptions *options = &ls->session->options;
    bool sort = (options->by_size || options->by_time) && ls->count > 1;
    if (sort) {
        qsort(ls->held, ls->count, sizeof *ls->held, options->by_size ? by_size : by_time);
    }
    for (size_t i = 0; i < ls->count; i++) {
        const Held *held = &ls->held[options->reverse ? ls->count - 1 - i : i];
        printf("%.*s\n", (int)held->len, held->line);
    }
}

static void forget(Ls *ls)
{
    for (size_t i = 0; i < ls->count; i++)
        mem_free(ls->held[i].line);
    mem_free(TAKE(ls->held));
}

/* Prints all there is; *only: nothing but the one folder `prefix/` was found, and not printed. */
static ErrCode print_all(Ls *ls, Str bucket, Str prefix, bool *only, Err *err)
{
    Session *session = ls->session;
    const ClientOptions *options = &session->options;
    AUTO(Listing, listing_close) listing = NULL;
    ListingOptions wanted = session_listing(session, bucket, prefix,
                                            options->recursive ? '\0' : '/');
    wanted.versions = options->versions;
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
    if (!folder) TRY(print_entry(ls, &entry, err));
    for (bool again = false;; again = true) {
        TRY(listing_next(listing, &entry, &found, err));
        if (!again && folder) {
            *only = !found;
            if (!found) return OK;
            ListingEntry held = {.is_prefix = true, .file = {.key = buf_str(&first)}};
            TRY(print_entry(ls, &held, err));
        }
        if (!found || ferror(stdout) != 0 || client_stopped(session->client)) return OK;
        TRY(print_entry(ls, &entry, err));
    }
}

static ErrCode list(Ls *ls, Err *err)
{
    Str bucket;
    Str prefix;
    bool only = false;
    TRY(key_split(ls->session->options.args[0], &bucket, &prefix, err));
    TRY(print_all(ls, bucket, prefix, &only, err));
    if (!only) return OK;
    /* `ls files/doc` where all there is lies below doc/: what is in it, as ls has it. */
    AUTO_BUF(inside, REMOTE_TARGET_MAX);
    TRY(buf_append_str(&inside, prefix, err));
    TRY(buf_append_str(&inside, STR("/"), err));
    return print_all(ls, bucket, buf_str(&inside), &only, err);
}

int command_ls(int argc, char **argv)
{
    Session session;
    int status = 0;
    Err err = {0};
    if (!session_begin(&session, &spec_ls, argc, argv, &status)) return status;
    const ClientOptions *options = &session.options;
    Ls ls = {.session = &session,
             .sorted = options->by_time || options->by_size || options->reverse};
    if (options->arg_count == 0) {
        status = bucket_list(&session);
    } else if (list(&ls, &err) != OK) {
        status = session_fail(&session, str_from_cstr(options->args[0]), &err);
    } else if (client_stopped(session.client)) {
        status = TALLY_INTERRUPTED;
    } else {
        print_held(&ls);
    }
    forget(&ls);
    return session_end(&session, status);
}
