/* holdfast put and sync: send a file, or what is new below a directory; sync also deletes. */
#include "cli/session.h"

#include "cli/command.h"
#include "cli/key_path.h"
#include "cli/merge.h"
#include "cli/same.h"
#include "cli/show.h"
#include "cli/upload.h"
#include <stdio.h>
#include <string.h>

#define COUNT_STEP 200 /* entries counted ahead at a time, for the time left */

const CommandSpec spec_put = {
    .name = "put",
    .arguments = "[-r] PATH BUCKET/KEY",
    .summary = "stores a file, or all below a directory",
    .usage = "put PATH BUCKET/KEY\nput -r DIRECTORY BUCKET[/PREFIX]",
    .text =
        "Stores a file under a name, or every file below a directory. Symbolic links, devices,\n"
        "sockets and pipes are left out, and told. When the server goes away it is waited for.\n"
        "With a KEY that is empty or ends in / the file keeps its own name behind it.\n"
        "With -r, what is there already with the same SHA-256 is not sent again, so that a run\n"
        "that was cut off goes on where it was; --force sends all.\n"
        "A file of 128 MiB or more goes in pieces. When a run ends in the middle of it, the same\n"
        "command within a day goes on there, unless the file has changed; less than 1 % of it is\n"
        "sent again.",
    .example = "  holdfast put report.pdf files/2026/report.pdf\n"
               "  holdfast put -r /usr/share/doc files/doc",
    .options = OPTION_RECURSIVE | OPTION_FORCE | OPTION_CONNECTIONS | OPTION_JSON | OPTION_QUIET,
    .paths = 1,
    .args_min = 2,
    .args_max = 2,
};

const CommandSpec spec_sync = {
    .name = "sync",
    .arguments = "DIRECTORY BUCKET[/PREFIX]",
    .summary = "stores what has changed, may delete",
    .usage = "sync [--delete] [--dry-run] DIRECTORY BUCKET[/PREFIX]",
    .text =
        "Sends what is new or changed below a directory: what differs in size, and what differs\n"
        "in time of change and then in SHA-256 too. --checksum does not trust size and time.\n"
        "--delete also deletes the files below PREFIX/ that are not in the directory, and never\n"
        "others; a whole bucket is written BUCKET/. What a link, a device or a directory that\n"
        "can't be read stands for is kept. --json tells of what is sent and deleted.",
    .example = "  holdfast sync --dry-run --delete photos files/photos\n"
               "  holdfast sync --delete photos files/photos",
    .options = OPTION_SYNC | OPTION_CONNECTIONS | OPTION_JSON | OPTION_QUIET,
    .paths = 1,
    .args_min = 2,
    .args_max = 2,
};

typedef enum {
    DO_SEND,
    DO_COMPARE, /* by SHA-256, then it is sent or not */
    DO_NOTHING, /* it is there already */
    DO_DELETE
} ItemKind;

typedef struct {
    Upload up; /* first: its call is the item's */
    ItemKind kind;
    const char *reason; /* why it is sent */
    Same same;
    Sha256 wanted;
    bool asked;     /* its DELETE was sent before */
    char etag[256]; /* "If-Match: …" of a DELETE: the file that was listed, and no later one */
    char repeat[REMOTE_REPEAT_SIZE];       /* of a DELETE */
    char header[256 + REMOTE_REPEAT_SIZE]; /* both */
} Item;

typedef struct {
    Session *session;
    Str bucket;
    Str prefix; /* of keys; with its '/' */
    const char *root;
    UploadTo to;
    bool tree;  /* not one file */
    bool sync;  /* decides by size and time first */
    bool taken; /* the one file was given out */
    bool found; /* a file, here */
    LocalDir *dir;
    Walk *walk;
    Listing *listing;
    Merge merge;
    Walk *counter; /* walks ahead, only to count; NULL when it has done */
    bool counted;
    uint64_t files_total;
    uint64_t bytes_total;
    Item *items[OPTIONS_CONNECTIONS_MAX];
    size_t item_count;
} Put;

/* ---- one file ---- */

/* --dry-run: what would be done, as a line. */
static void tell(const Put *put, Item *item, const char *what)
{
    AUTO_BUF(text, 64 * KIB);
    Str key = buf_str(&item->up.key);
    if (!put->session->options.json) {
        char shown[SHOW_NAME_SIZE];
        printf("%s %s%s%s%s\n", what, show_name(key, shown), item->reason != NULL ? " (" : "",
               item->reason != NULL ? item->reason : "", item->reason != NULL ? ")" : "");
        return;
    }
    JsonWriter json;
    json_writer_init(&json, &text);
    json_write_object_begin(&json);
    json_member_str(&json, "bucket", put->bucket);
    json_member_str(&json, "key", key);
    json_member_cstr(&json, "would", what);
    if (item->reason != NULL) json_member_cstr(&json, "reason", item->reason);
    json_write_object_end(&json);
    if (json_writer_end(&json, NULL) == OK) printf("%.*s\n", STR_ARG(buf_str(&text)));
}

/* Is it still so that there is no such file here? Asked just before it is deleted there, each time
 * that is tried. */
static ErrCode check_gone(Put *put, Item *item, bool *gone, Err *err)
{
    LocalPresence presence = LOCAL_THERE;
    Str key = buf_str(&item->up.key);
    Str relative = str_slice(key, put->prefix.len, key.len - put->prefix.len);
    ASSERT(str_starts_with(key, put->prefix));
    ErrCode code = local_look_below(put->dir, relative, &presence, err);
    if (code != OK) return err_wrap(err, code, "kept, for nobody can tell if it is here");
    *gone = presence == LOCAL_ABSENT;
    Err why = {0};
    if (presence == LOCAL_OTHERWISE) {
        code = err_set(&why, ERR_EXISTS, "kept, for here a link or device stands in its place");
    } else if (presence == LOCAL_THERE && item->asked) {
        /* The server may have done it before its answer was lost. */
        code = err_set(&why, ERR_EXISTS,
                       "it came back here while it was being deleted there; sync once more");
    }
    ASSERT(code == why.code);
    if (code != OK) tally_skip(&put->session->tally, key, &why);
    return OK;
}

static ErrCode prepare_delete(Put *put, Item *item, PoolVerdict *verdict, Err *err)
{
    bool gone = true;
    TRY(check_gone(put, item, &gone, err));
    if (!gone) {
        item->kind = DO_NOTHING;
        *verdict = POOL_SKIP;
        return OK;
    }
    if (item->etag[0] != '\0') return OK;
    return err_set(err, ERR_PEER,
                   "kept, for the listing has no ETag for it, and a later version may be there");
}

static ErrCode compare(Item *item, PoolVerdict *verdict, Err *err)
{
    SameVerdict same = SAME_MORE;
    if (item->same.file.fd < 0) {
        TRY(local_open(item->up.path, false, &item->same.file, err));
    }
    TRY(same_step(&item->same, &item->wanted, &same, err));
    *verdict = same == SAME_MORE ? POOL_MORE : POOL_SKIP;
    if (same == SAME_EQUAL) item->kind = DO_NOTHING;
    if (same != SAME_OTHER) return OK;
    item->kind = DO_SEND;
    item->reason = "content";
    *verdict = POOL_SEND;
    return OK;
}

static ErrCode put_prepare(void *ctx, void *arg, PoolVerdict *verdict, Err *err)
{
    Put *put = ctx;
    Item *item = arg;
    *verdict = item->kind == DO_NOTHING ? POOL_SKIP : POOL_SEND;
    if (item->kind == DO_COMPARE) TRY(compare(item, verdict, err));
    if (item->kind == DO_DELETE) TRY(prepare_delete(put, item, verdict, err));
    if (*verdict != POOL_SEND) return OK;
    if (!put->session->options.dry_run) {
        return item->kind == DO_DELETE ? OK : upload_prepare(&item->up, &put->to, verdict, err);
    }
    tell(put, item, item->kind == DO_DELETE ? "delete" : "store");
    *verdict = POOL_SKIP;
    return OK;
}

static ErrCode put_begin(void *ctx, void *arg, Err *err)
{
    const Put *put = ctx;
    Item *item = arg;
    ClientCall *call = &item->up.call;
    if (item->kind != DO_DELETE) return upload_begin(&item->up, &put->to, err);
    Str key = buf_str(&item->up.key);
    TRY(remote_file_target(&item->up.target, put->bucket, key, err));
    call->method = "DELETE";
    call->target = (const char *)item->up.target.data;
    remote_repeat_header(call, put->to.rng, item->repeat);
    snprintf(item->header, sizeof item->header, "%s\n%s", item->etag, item->repeat);
    call->header = item->header;
    item->asked = true;
    call->has_body = false;
    call->body = (Str){NULL, 0};
    call->digest = NULL;
    return OK;
}

static ErrCode put_end(void *ctx, void *arg, Err *err)
{
    const Put *put = ctx;
    Item *item = arg;
    AUTO(json_t, json_free) object = NULL;
    if (item->kind == DO_DELETE) {
        session_json_deleted(put->session, put->bucket, buf_str(&item->up.key));
        return OK;
    }
    TRY(upload_end(&item->up, &put->to, err));
    if (!put->session->options.json || !upload_over(&item->up, &put->to)) return OK;
    TRY(upload_stored(&item->up, &put->to, &object, err));
    session_json_line(object);
    return OK;
}

static PoolNext put_follow(void *ctx, void *arg, ErrCode code)
{
    const Put *put = ctx;
    Item *item = arg;
    return item->kind == DO_DELETE ? POOL_OVER : upload_follow(&item->up, &put->to, code);
}

static void forget(Put *put, Item *item)
{
    for (size_t i = 0; i < put->item_count; i++) {
        if (put->items[i] == item) put->items[i] = put->items[--put->item_count];
    }
    same_deinit(&item->same);
    upload_deinit(&item->up);
}

static void count_done(Put *put, const Item *item)
{
    Tally *tally = &put->session->tally;
    if (item->kind == DO_DELETE) {
        tally->deleted++;
    } else if (item->kind == DO_NOTHING) {
        tally->unchanged++;
        tally->unchanged_bytes += item->up.size;
    } else {
        tally_done(tally, item->up.size, upload_kept(&item->up));
    }
}

static void put_done(void *ctx, void *arg, const Err *err)
{
    Put *put = ctx;
    Item *item = arg;
    Session *session = put->session;
    bool deletes = item->kind == DO_DELETE;
    if (err->code == OK || (deletes && err->code == ERR_NOT_FOUND)) {
        count_done(put, item);
    } else if (!client_stopped(session->client)) {
        Str name = deletes ? buf_str(&item->up.key) : str_from_cstr(item->up.path);
        tally_fail(&session->tally, name, err);
        session_json_failure(session, deletes ? "key" : "path", name, err);
    }
    if (err->code != OK && upload_begun(&item->up) > 0)
        tally_begun(&session->tally, upload_begun(&item->up));
    forget(put, item);
}

/* ---- which files ---- */

static ErrCode make_item(Put *put, Item *item, Str relative, Err *err)
{
    item->kind = DO_SEND;
    item->reason = NULL;
    item->same = SAME_NONE;
    item->asked = false;
    item->etag[0] = '\0';
    item->repeat[0] = '\0';
    ASSERT(put->item_count < OPTIONS_CONNECTIONS_MAX);
    put->items[put->item_count++] = item;
    ErrCode code = upload_init(&item->up, put->root, put->prefix, relative, err);
    if (code != OK) forget(put, item);
    return code;
}

static bool same_mtime(const MergeStep *step)
{
    char here[UPLOAD_MTIME_SIZE];
    const json_t *meta = json_object_get(step->remote.json, "meta");
    const char *there = json_string_value(json_object_get(meta, UPLOAD_MTIME_NAME));
    return there != NULL && strcmp(there, upload_mtime_text(step->mtime_ns, here)) == 0;
}

/* The header for what the listing has; "" if that can't be named: etagc of RFC 9110, which no line
 * break is, and no longer than ours ever are. */
static void make_if_match(const RemoteFile *remote, Item *item)
{
    item->etag[0] = '\0';
    const char *etag = json_string_value(json_object_get(remote->json, "etag"));
    if (etag == NULL || etag[0] == '\0') return;
    for (const char *c = etag; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == '"' || *c == 0x7f) return;
    }
    int len = snprintf(item->etag, sizeof item->etag, "If-Match: \"%s\"", etag);
    ASSERT(len >= 0);
    if ((size_t)len >= sizeof item->etag) item->etag[0] = '\0';
}

static void decide(const Put *put, const MergeStep *step, Item *item)
{
    const ClientOptions *options = &put->session->options;
    item->up.size = step->size;
    if (step->kind == MERGE_NEW) {
        item->reason = "new";
    } else if (step->kind == MERGE_GONE) {
        item->kind = DO_DELETE;
        make_if_match(&step->remote, item);
    } else if (step->size != step->remote.size) {
        item->reason = "size";
    } else if (put->sync && !options->checksum && same_mtime(step)) {
        item->kind = DO_NOTHING;
    } else if (step->remote.has_sha256) {
        item->kind = DO_COMPARE;
        item->wanted = step->remote.sha256;
    } else {
        item->reason = "content";
    }
}

/* The next step that is an item; what can't be sent goes to the tally. */
static ErrCode next_step(Put *put, MergeStep *step, Err *err)
{
    Session *session = put->session;
    for (;;) {
        TRY(merge_next(&put->merge, step, err));
        if (step->kind == MERGE_SKIPPED) {
            tally_skip(&session->tally, step->relative, &step->why);
        } else if (step->kind == MERGE_FAILED) {
            tally_fail(&session->tally, step->relative, &step->why);
            session_json_failure(session, "path", step->relative, &step->why);
        } else {
            return OK;
        }
        if (client_stopped(session->client)) return err_set(err, ERR_ABORTED, "stopped");
    }
}

static ErrCode put_next(void *ctx, void *arg, bool *found, Err *err)
{
    Put *put = ctx;
    MergeStep step = {.kind = MERGE_NEW};
    *found = false;
    if (put->tree) {
        TRY(next_step(put, &step, err));
        if (step.kind == MERGE_END) return OK;
        /* A disk that is not mounted looks like this. */
        if (step.kind == MERGE_GONE && !put->found && put->merge.local.kind == WALK_END) {
            return err_set(err, ERR_USAGE,
                           "there are no files in %s, so --delete would delete all; "
                           "`holdfast rm -r` does that",
                           put->root);
        }
        put->found = put->found || step.kind != MERGE_GONE;
    } else {
        if (put->taken) return OK;
        put->taken = true;
    }
    TRY(make_item(put, arg, step.relative, err));
    if (put->tree) decide(put, &step, arg);
    *found = true;
    return OK;
}

/* ---- progress ---- */

/* A few more entries of the walk that only counts; memory stays what it is. */
static void count_ahead(Put *put)
{
    for (int i = 0; i < COUNT_STEP && put->counter != NULL; i++) {
        WalkEntry entry = walk_next(put->counter, NULL);
        if (entry.kind == WALK_END) {
            walk_close(TAKE(put->counter));
            put->counted = true;
        } else if (entry.kind == WALK_FILE) {
            put->files_total++;
            put->bytes_total += entry.size;
        }
    }
}

static void put_state(void *ctx, ProgressState *state)
{
    Put *put = ctx;
    const Tally *tally = &put->session->tally;
    for (int i = 0; i < 10; i++)
        count_ahead(put);
    for (size_t i = 0; i < put->item_count; i++) {
        state->bytes += upload_moving(&put->items[i]->up);
        state->bytes_kept += upload_kept(&put->items[i]->up);
    }
    state->total_known = put->counted;
    /* What turned out to be there already is no work. */
    state->files_total = put->files_total - MIN(put->files_total, tally->unchanged);
    state->bytes_total = put->bytes_total - MIN(put->bytes_total, tally->unchanged_bytes);
}

/* ---- the commands ---- */

/* The prefix of keys, terminated by '/' unless empty; or the key of a single file. */
static ErrCode make_prefix(const Put *put, Str key, Buf *out, Err *err)
{
    bool is_folder = key.len == 0 || key.ptr[key.len - 1] == '/';
    TRY(buf_append_str(out, key, err));
    if (put->tree) return is_folder ? OK : buf_append_str(out, STR("/"), err);
    return is_folder ? buf_append_str(out, path_base_name(str_from_cstr(put->root)), err) : OK;
}

static ErrCode open_tree(Put *put, Err *err)
{
    Session *session = put->session;
    TRY(local_dir_open(NULL, put->root, &put->dir, err));
    TRY(walk_open(put->root, WALK_SORTED, &put->walk, err));
    if (session->progress.shown) {
        TRY(walk_open(put->root, WALK_ANY_ORDER, &put->counter, err));
    }
    if (!session->options.force) {
        ListingOptions listing = session_listing(session, put->bucket, put->prefix, 0);
        TRY(listing_open(&listing, &put->listing, err));
    }
    merge_init(&put->merge, put->walk, put->listing, put->prefix, session->options.remove_extra);
    return OK;
}

static ErrCode prepare(Put *put, Buf *prefix, Err *err)
{
    Str key;
    LocalType type = LOCAL_FILE;
    const ClientOptions *options = &put->session->options;
    put->root = options->args[0];
    put->tree = put->sync || options->recursive;
    TRY(key_split(options->args[1], &put->bucket, &key, err));
    if (options->remove_extra && strchr(options->args[1], '/') == NULL) {
        return err_set(err, ERR_USAGE, "write %s/ to delete in the whole bucket", options->args[1]);
    }
    TRY(make_prefix(put, key, prefix, err));
    put->prefix = buf_str(prefix);
    put->to = (UploadTo){.bucket = put->bucket,
                         .url = client_url(put->session->client),
                         .follow = !put->tree,
                         .describe = options->json,
                         .rng = &put->session->rng};
    ErrCode code = local_stat(put->root, true, &type, &put->bytes_total, err);
    if (code == ERR_NOT_FOUND && strcmp(put->root, "-") == 0) {
        return err_set(err, ERR_USAGE,
                       "standard input is not taken: its length is not known; write it to a file");
    }
    if (code != OK) return err_wrap(err, code, "%s", put->root);
    if (!put->tree) {
        put->files_total = 1;
        put->counted = true;
        if (type != LOCAL_DIR) return OK;
        return err_set(err, ERR_USAGE, "%s is a directory; `put -r` sends what is in it",
                       put->root);
    }
    put->bytes_total = 0;
    if (type != LOCAL_DIR) {
        return err_set(err, ERR_USAGE, "%s is no directory%s", put->root,
                       put->sync ? "; `put` sends a file" : "; leave -r out");
    }
    code = open_tree(put, err);
    return code == OK ? OK : err_wrap(err, code, "%s", put->root);
}

static int command(const CommandSpec *spec, int argc, char **argv)
{
    Session session;
    int status = 0;
    Err err = {0};
    if (!session_begin(&session, spec, argc, argv, &status)) return status;
    AUTO_BUF(prefix, 2 * WALK_PATH_MAX);
    Put put = {.session = &session, .sync = spec == &spec_sync};
    if (prepare(&put, &prefix, &err) != OK) {
        status = session_fail(&session, (Str){NULL, 0}, &err);
    } else {
        PoolOps ops = {.item_size = sizeof(Item),
                       .answer_max = CLIENT_ANSWER_MAX,
                       .next = put_next,
                       .prepare = put_prepare,
                       .begin = put_begin,
                       .end = put_end,
                       .follow = put_follow,
                       .done = put_done,
                       .ctx = &put};
        session.tally.dry_run = session.options.dry_run;
        session_run(&session, &ops, put_state);
        status = session_report(&session, session.options.dry_run ? "would store" : "stored",
                                !put.tree);
    }
    merge_deinit(&put.merge);
    listing_close(put.listing);
    walk_close(put.walk);
    walk_close(put.counter);
    local_dir_close(put.dir);
    return session_end(&session, status);
}

int command_put(int argc, char **argv)
{
    return command(&spec_put, argc, argv);
}

int command_sync(int argc, char **argv)
{
    return command(&spec_sync, argc, argv);
}
