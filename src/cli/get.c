/* holdfast get: fetches a file, or all files below a prefix. Content goes to a temporary file
 * beside its place and gets its name when its SHA-256 is right; a key that is no safe path below
 * the target is refused. */
#include "cli/session.h"

#include "cli/command.h"
#include "cli/key_path.h"
#include "cli/local_file.h"
#include "cli/same.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const CommandSpec spec_get = {
    .name = "get",
    .arguments = "[-r] BUCKET/KEY PATH",
    .summary = "fetches a file, or all below a prefix",
    .usage = "get BUCKET/KEY PATH\nget -r BUCKET[/PREFIX] DIRECTORY",
    .text =
        "Fetches a file, or every file below a prefix into a directory, which is made if it is\n"
        "missing. Nothing is ever written outside of it. Content is checked by its SHA-256 and\n"
        "takes its name only when it is whole. A PATH that is a directory takes the file under\n"
        "the last part of its key; the PATH - is standard output.\n"
        "With -r, what is here already with the same SHA-256 is not fetched again, so that a run\n"
        "that was cut off goes on where it was; --force fetches all.",
    .example = "  holdfast get files/2026/report.pdf report.pdf\n"
               "  holdfast get -r files/doc /tmp/doc",
    .options = OPTION_RECURSIVE | OPTION_FORCE | OPTION_CONNECTIONS | OPTION_JSON | OPTION_QUIET,
    .paths = 2,
    .args_min = 2,
    .args_max = 2,
};

const CommandSpec spec_cat = {
    .name = "cat",
    .arguments = "BUCKET/KEY",
    .summary = "writes a file's content to standard output",
    .usage = "cat BUCKET/KEY",
    .text =
        "Writes a file's content to standard output, as `get BUCKET/KEY -` does. It is checked by\n"
        "its SHA-256 when all of it was written, so look at the exit status.",
    .example = "  holdfast cat files/2026/notes.txt | less",
    .options = OPTION_QUIET,
    .args_min = 1,
    .args_max = 1,
};

typedef struct {
    ClientCall call;
    Buf key;
    Buf target; /* of the request, terminated */
    Buf path;   /* below the root; the place of the file */
    LocalNew file;
    HashCtx *hash;
    Same same;     /* what is here already */
    bool compared; /* it was; a transfer that is tried again changes nothing in that */
    bool skip;     /* it is the same */
    uint64_t listed_size;
    uint64_t size; /* bytes received by this attempt */
    bool has_wanted;
    Sha256 wanted; /* of the listing; the answer's own goes before */
} Item;

typedef struct {
    Session *session;
    Str bucket;
    Str key; /* or prefix, with its '/' */
    bool to_stdout;
    bool taken; /* the one file was given out */
    uint64_t found;
    LocalDir *root;
    char *single_name; /* owned: the file's own name, without -r */
    Listing *listing;
    Item *items[OPTIONS_CONNECTIONS_MAX];
    size_t item_count;
} Get;

/* ---- one file ---- */

static ErrCode take_piece(void *ctx, Str piece, Err *err)
{
    Item *item = ctx;
    hash_update(item->hash, piece.ptr, piece.len);
    item->size += piece.len;
    if (item->file.fd >= 0) return local_new_write(&item->file, piece, err);
    if (fwrite(piece.ptr, 1, piece.len, stdout) == piece.len) return OK;
    return err_set(err, ERR_IO, "standard output takes no more");
}

/* A file of the right size is compared; what else there is the transfer meets. */
static ErrCode get_prepare(void *ctx, void *arg, PoolVerdict *verdict, Err *err)
{
    const Get *get = ctx;
    Item *item = arg;
    SameVerdict same = SAME_MORE;
    *verdict = POOL_SEND;
    if (get->listing == NULL || get->session->options.force || !item->has_wanted) return OK;
    if (item->compared) return OK;
    if (item->same.file.fd < 0) {
        /* Whether it can be replaced is found out when it is. */
        if (local_open_below(get->root, buf_str(&item->path), &item->same.file, NULL) != OK) {
            return OK;
        }
        if (item->same.file.fd < 0 || item->same.file.size != item->listed_size) return OK;
    }
    TRY(same_step(&item->same, &item->wanted, &same, err));
    item->compared = same != SAME_MORE;
    item->skip = same == SAME_EQUAL;
    if (same == SAME_MORE) *verdict = POOL_MORE;
    if (same == SAME_EQUAL) *verdict = POOL_SKIP;
    return OK;
}

static ErrCode get_begin(void *ctx, void *arg, Err *err)
{
    Get *get = ctx;
    Item *item = arg;
    ClientCall *call = &item->call;
    if (get->to_stdout && item->size > 0) {
        return err_set(err, ERR_END, "a part was written to standard output already");
    }
    if (get->session->options.recursive) TRY(key_path_check(buf_str(&item->path), err));
    TRY(remote_file_target(&item->target, get->bucket, buf_str(&item->key), err));
    if (item->file.fd >= 0) {
        TRY(local_new_restart(&item->file, err));
    } else if (!get->to_stdout) {
        TRY(local_new_open(get->root, buf_str(&item->path), &get->session->rng, &item->file, err));
    }
    hash_reset(item->hash);
    item->size = 0;
    call->moved_bytes = 0;
    call->method = "GET";
    call->target = (const char *)item->target.data;
    call->ctx = item;
    call->receive = take_piece;
    return OK;
}

static void json_done(const Get *get, const Item *item, const Sha256 *digest)
{
    char hex[2 * SHA256_LEN + 1];
    AUTO_BUF(text, 64 * KIB);
    JsonWriter json;
    hex_encode(digest->bytes, SHA256_LEN, hex);
    json_writer_init(&json, &text);
    json_write_object_begin(&json);
    json_member_str(&json, "bucket", get->bucket);
    json_member_str(&json, "key", buf_str(&item->key));
    json_member_str(&json, "path", buf_str(&item->path));
    json_member_u64(&json, "size", item->size);
    json_member_cstr(&json, "sha256", hex);
    json_write_object_end(&json);
    if (json_writer_end(&json, NULL) == OK) printf("%.*s\n", STR_ARG(buf_str(&text)));
}

static ErrCode get_end(void *ctx, void *arg, Err *err)
{
    const Get *get = ctx;
    Item *item = arg;
    const ClientCall *call = &item->call;
    Sha256 digest;
    hash_final(item->hash, digest.bytes);
    const Sha256 *wanted = call->has_answer_digest ? &call->answer_digest
                           : item->has_wanted      ? &item->wanted
                                                   : NULL;
    /* Without one (a file put together from parts, not read since) length is all there is. */
    if (wanted != NULL && !sha256_eq(wanted, &digest)) {
        return err_set(err, ERR_CORRUPT, "what arrived does not have the file's SHA-256");
    }
    if (!get->to_stdout) TRY(local_new_commit(&item->file, err));
    if (get->session->options.json) json_done(get, item, &digest);
    return OK;
}

static void forget(Get *get, Item *item)
{
    for (size_t i = 0; i < get->item_count; i++) {
        if (get->items[i] == item) get->items[i] = get->items[--get->item_count];
    }
    local_new_discard(&item->file);
    same_deinit(&item->same);
    hash_free(TAKE(item->hash));
    buf_deinit(&item->path);
    buf_deinit(&item->target);
    buf_deinit(&item->key);
}

static void get_done(void *ctx, void *arg, const Err *err)
{
    Get *get = ctx;
    Item *item = arg;
    Session *session = get->session;
    if (item->skip) {
        session->tally.unchanged++;
        session->tally.unchanged_bytes += item->listed_size;
    } else if (err->code == OK) {
        tally_done(&session->tally, item->size);
    } else if (!client_stopped(session->client)) {
        tally_fail(&session->tally, buf_str(&item->key), err);
        session_json_failure(session, "key", buf_str(&item->key), err);
    }
    forget(get, item);
}

/* ---- which files ---- */

static ErrCode fill(Item *item, Str key, Str path, Err *err)
{
    TRY(buf_append_str(&item->key, key, err));
    return buf_append_str(&item->path, path, err);
}

static ErrCode make_item(Get *get, Item *item, Str key, Str path, Err *err)
{
    item->file = LOCAL_NEW_NONE;
    item->same = SAME_NONE;
    item->compared = false;
    item->skip = false;
    item->listed_size = 0;
    item->size = 0;
    item->has_wanted = false;
    item->hash = hash_new(HASH_SHA256);
    buf_init(&item->key, 4 * KEY_MAX);
    buf_init(&item->path, 4 * KEY_MAX);
    buf_init(&item->target, REMOTE_TARGET_MAX);
    ASSERT(get->item_count < OPTIONS_CONNECTIONS_MAX);
    get->items[get->item_count++] = item;
    ErrCode code = fill(item, key, path, err);
    if (code != OK) forget(get, item);
    return code;
}

static ErrCode next_single(Get *get, Item *item, bool *found, Err *err)
{
    *found = !get->taken;
    if (get->taken) return OK;
    get->taken = true;
    return make_item(get, item, get->key, str_from_cstr(get->single_name), err);
}

static ErrCode get_next(void *ctx, void *arg, bool *found, Err *err)
{
    Get *get = ctx;
    Item *item = arg;
    ListingEntry entry;
    if (get->listing == NULL) return next_single(get, item, found, err);
    TRY(listing_next(get->listing, &entry, found, err));
    if (!*found) return OK;
    get->found++;
    if (!str_starts_with(entry.file.key, get->key)) {
        return err_set(err, ERR_PEER, "the listing has a key outside of the prefix");
    }
    Str path = str_slice(entry.file.key, get->key.len, entry.file.key.len - get->key.len);
    TRY(make_item(get, item, entry.file.key, path, err));
    item->listed_size = entry.file.size;
    item->has_wanted = entry.file.has_sha256;
    item->wanted = entry.file.sha256;
    return OK;
}

static void get_state(void *ctx, ProgressState *state)
{
    const Get *get = ctx;
    for (size_t i = 0; i < get->item_count; i++)
        state->bytes += get->items[i]->call.moved_bytes;
}

/* ---- the command ---- */

/* A directory takes the file under the last part of its key; else path names it. */
static ErrCode open_single(Get *get, const char *path, Err *err)
{
    Str base = path_base_name(get->key);
    Str name = path_base_name(str_from_cstr(path));
    Str whole = str_from_cstr(path);
    LocalType type = LOCAL_OTHER;
    if (get->key.len == 0) return err_set(err, ERR_USAGE, "a key is missing; write BUCKET/KEY");
    bool is_dir = local_stat(path, true, &type, NULL, NULL) == OK && type == LOCAL_DIR;
    if (is_dir || (whole.len > 0 && whole.ptr[whole.len - 1] == '/')) {
        TRY(key_path_check(base, err));
        get->single_name = mem_new(base.len + 1);
        memcpy(get->single_name, base.ptr, base.len);
        return local_dir_open(NULL, path, &get->root, err);
    }
    if (name.len == 0) return err_set(err, ERR_USAGE, "the path is empty");
    get->single_name = mem_new(name.len + 1);
    memcpy(get->single_name, name.ptr, name.len);
    size_t folder = whole.len - name.len;
    AUTO(char, mem_free) parent = mem_new(folder + 2);
    memcpy(parent, folder > 0 ? path : ".", MAX(folder, (size_t)1));
    ErrCode code = local_dir_open(NULL, parent, &get->root, err);
    return code == OK ? OK : err_wrap(err, code, "%s", parent);
}

static ErrCode open_tree(Get *get, const char *path, Buf *prefix, Err *err)
{
    TRY(buf_append_str(prefix, get->key, err));
    if (get->key.len > 0 && get->key.ptr[get->key.len - 1] != '/') {
        TRY(buf_append_str(prefix, STR("/"), err));
    }
    get->key = buf_str(prefix);
    ErrCode code = local_make_dirs(path, err);
    if (code == OK) code = local_dir_open(NULL, path, &get->root, err);
    if (code != OK) return err_wrap(err, code, "%s", path);
    ListingOptions options = session_listing(get->session, get->bucket, get->key, 0);
    return listing_open(&options, &get->listing, err);
}

static ErrCode prepare(Get *get, Buf *prefix, Err *err)
{
    const ClientOptions *options = &get->session->options;
    const char *path = options->args[1];
    TRY(key_split(options->args[0], &get->bucket, &get->key, err));
    get->to_stdout = strcmp(path, "-") == 0;
    if (get->to_stdout && (options->recursive || options->json)) {
        return err_set(err, ERR_USAGE, "standard output takes one file, without -r and --json");
    }
    if (options->recursive) return open_tree(get, path, prefix, err);
    if (!get->to_stdout) return open_single(get, path, err);
    if (get->key.len == 0) return err_set(err, ERR_USAGE, "a key is missing; write BUCKET/KEY");
    get->single_name = mem_dup_cstr("-");
    return OK;
}

static int run(Get *get)
{
    Session *session = get->session;
    bool recursive = session->options.recursive;
    PoolOps ops = {.item_size = sizeof(Item),
                   .answer_max = CLIENT_ANSWER_MAX,
                   .next = get_next,
                   .prepare = get_prepare,
                   .begin = get_begin,
                   .end = get_end,
                   .done = get_done,
                   .ctx = get};
    session_run(session, &ops, get_state);
    const Tally *tally = &session->tally;
    if (recursive && get->found == 0 && tally->ended == OK && !tally->interrupted) {
        Err err = {0};
        ErrCode code = err_set(&err, ERR_NOT_FOUND, "there are no files below \"%.*s\"",
                               STR_ARG(str_slice(get->key, 0, 128)));
        ASSERT(code == ERR_NOT_FOUND);
        return session_fail(session, str_from_cstr(session->options.args[0]), &err);
    }
    return session_report(session, "fetched", !recursive);
}

static int fetch(Session *session)
{
    int status = 0;
    Err err = {0};
    AUTO_BUF(prefix, REMOTE_TARGET_MAX);
    Get get = {.session = session};
    if (prepare(&get, &prefix, &err) == OK) {
        status = run(&get);
    } else {
        status = session_fail(session, (Str){NULL, 0}, &err);
    }
    listing_close(get.listing);
    local_dir_close(get.root);
    mem_free(get.single_name);
    return session_end(session, status);
}

int command_cat(int argc, char **argv)
{
    Session session;
    int status = 0;
    if (!session_begin(&session, &spec_cat, argc, argv, &status)) return status;
    session.options.args[1] = "-";
    session.options.quiet = true;
    return fetch(&session);
}

int command_get(int argc, char **argv)
{
    Session session;
    int status = 0;
    if (!session_begin(&session, &spec_get, argc, argv, &status)) return status;
    return fetch(&session);
}
