/* holdfast put: sends a file, or all files below a directory. A small file is read and hashed
 * first and sent with its digest; a large one is hashed on its way out, and the server's SHA-256
 * must be the same. Sending again by name is idempotent, so every failure may be retried. */
#include "cli/session.h"

#include "cli/command.h"
#include "cli/key_path.h"
#include "cli/walk.h"
#include <inttypes.h>
#include <string.h>

#define SMALL_MAX (1 * MIB) /* bytes that are read before they are sent */
#define COUNT_STEP 200      /* entries counted ahead at a time, for the time left */

static const ClientSpec spec = {
    .name = "put",
    .usage = "put PATH BUCKET/KEY\nput -r DIRECTORY BUCKET[/PREFIX]",
    .text =
        "Stores a file under a name, or every file below a directory. Symbolic links, devices,\n"
        "sockets and pipes are left out, and told. When the server goes away it is waited for.\n"
        "With a KEY that is empty or ends in / the file keeps its own name behind it.",
    .example = "  holdfast put report.pdf files/2026/report.pdf\n"
               "  holdfast put -r /usr/share/doc files/doc",
    .options = OPTION_RECURSIVE | OPTION_CONNECTIONS | OPTION_JSON | OPTION_QUIET,
    .args_min = 2,
    .args_max = 2,
};

typedef struct {
    ClientCall call;
    char *path;     /* owned */
    Buf key;        /* bytes */
    Buf target;     /* of the request, terminated */
    LocalFile file; /* a large one, while it is sent */
    HashCtx *hash;
    Buf small;     /* all of a small one */
    Sha256 digest; /* of a small one */
    uint64_t size;
} Item;

typedef struct {
    Session *session;
    Str bucket;
    Str prefix; /* of keys; with its '/' */
    const char *root;
    bool recursive;
    bool taken; /* the one file was given out */
    Walk *walk;
    Walk *counter; /* walks ahead, only to count; NULL when it has done */
    bool counted;
    uint64_t files_total;
    uint64_t bytes_total;
    Item *items[OPTIONS_CONNECTIONS_MAX];
    size_t item_count;
} Put;

/* ---- one file ---- */

static ErrCode send_piece(void *ctx, void *data, size_t max, size_t *len, Err *err)
{
    Item *item = ctx;
    TRY(local_read(&item->file, data, max, len, err));
    /* Shorter than announced: nothing of it is stored. */
    if (*len == 0) TRY(local_check_unchanged(&item->file, err));
    hash_update(item->hash, data, *len);
    return OK;
}

static ErrCode send_again(void *ctx, Err *err)
{
    Item *item = ctx;
    hash_reset(item->hash);
    return local_rewind(&item->file, err);
}

static ErrCode read_small(Item *item, Err *err)
{
    size_t len = 0;
    uint8_t probe;
    size_t beyond = 0;
    buf_clear(&item->small);
    TRY(buf_reserve(&item->small, (size_t)item->size + 1, err));
    TRY(local_read(&item->file, item->small.data, (size_t)item->size, &len, err));
    TRY(local_read(&item->file, &probe, 1, &beyond, err));
    if (len + beyond != item->size) {
        return err_set(err, ERR_ABORTED, "it changed while it was read: it had %" PRIu64 " bytes",
                       item->size);
    }
    item->small.len = len;
    item->digest = sha256_of(item->small.data, len);
    return OK;
}

static ErrCode put_begin(void *ctx, void *arg, Err *err)
{
    const Put *put = ctx;
    Item *item = arg;
    ClientCall *call = &item->call;
    local_close(&item->file);
    TRY(key_check(buf_str(&item->key), err));
    TRY(remote_file_target(&item->target, put->bucket, buf_str(&item->key), err));
    TRY(local_open(item->path, !put->recursive, &item->file, err));
    item->size = item->file.size;
    call->moved_bytes = 0;
    call->method = "PUT";
    call->target = (const char *)item->target.data;
    call->has_body = true;
    call->body_size = item->size;
    call->ctx = item;
    call->send = send_piece;
    call->rewind = send_again;
    call->body = (Str){NULL, 0};
    call->digest = NULL;
    if (item->size <= SMALL_MAX) {
        ErrCode code = read_small(item, err);
        local_close(&item->file);
        if (code != OK) return code;
        call->body = buf_str(&item->small);
        call->digest = &item->digest;
        return OK;
    }
    if (item->hash == NULL) item->hash = hash_new(HASH_SHA256);
    hash_reset(item->hash);
    return OK;
}

static ErrCode check_stored(Item *item, json_t *object, Err *err)
{
    RemoteFile stored;
    TRY(remote_file_parse(object, &stored, err));
    if (item->file.fd >= 0) {
        hash_final(item->hash, item->digest.bytes);
        TRY(local_check_unchanged(&item->file, err));
    }
    if (stored.size == item->size && stored.has_sha256 &&
        sha256_eq(&stored.sha256, &item->digest)) {
        return OK;
    }
    return err_set(err, ERR_CORRUPT,
                   "the server has stored other bytes than were sent (%" PRIu64 " of %" PRIu64 ")",
                   stored.size, item->size);
}

static ErrCode put_end(void *ctx, void *arg, Err *err)
{
    const Put *put = ctx;
    Item *item = arg;
    AUTO(json_t, json_free) object = NULL;
    ErrCode code = json_parse(buf_str(&item->call.answer), &object, err);
    if (code != OK) return err_wrap(err, ERR_PEER, "the server's answer");
    TRY(check_stored(item, object, err));
    if (put->session->options.json) session_json_line(object);
    return OK;
}

static void forget(Put *put, Item *item)
{
    for (size_t i = 0; i < put->item_count; i++) {
        if (put->items[i] == item) put->items[i] = put->items[--put->item_count];
    }
    local_close(&item->file);
    mem_free(TAKE(item->path));
    hash_free(TAKE(item->hash));
    buf_deinit(&item->small);
    buf_deinit(&item->target);
    buf_deinit(&item->key);
}

static void put_done(void *ctx, void *arg, const Err *err)
{
    Put *put = ctx;
    Item *item = arg;
    Session *session = put->session;
    if (err->code == OK) {
        tally_done(&session->tally, item->size);
    } else if (!client_stopped(session->client)) {
        Str path = str_from_cstr(item->path);
        tally_fail(&session->tally, path, err);
        session_json_failure(session, "path", path, err);
    }
    forget(put, item);
}

/* ---- which files ---- */

static ErrCode make_item(Put *put, Item *item, Str relative, Err *err)
{
    size_t size = strlen(put->root) + relative.len + 2;
    item->file = LOCAL_FILE_NONE;
    buf_init(&item->small, SMALL_MAX + 1);
    buf_init(&item->target, REMOTE_TARGET_MAX + 4 * WALK_PATH_MAX);
    buf_init(&item->key, 2 * WALK_PATH_MAX);
    item->path = mem_new(size);
    memcpy(item->path, put->root, strlen(put->root));
    if (relative.len > 0) {
        size_t at = strlen(put->root);
        item->path[at] = '/';
        memcpy(item->path + at + 1, relative.ptr, relative.len);
    }
    item->size = 0;
    ASSERT(put->item_count < OPTIONS_CONNECTIONS_MAX);
    put->items[put->item_count++] = item;
    ErrCode code = buf_append_str(&item->key, put->prefix, err);
    if (code == OK) code = buf_append_str(&item->key, relative, err);
    if (code != OK) forget(put, item);
    return code;
}

/* The next file of the walk; what can't be sent goes to the tally. */
static bool next_file(Put *put, Str *relative)
{
    Session *session = put->session;
    for (;;) {
        Err err = {0};
        WalkEntry entry = walk_next(put->walk, &err);
        if (entry.kind == WALK_END) return false;
        *relative = entry.relative;
        if (entry.kind == WALK_FILE) return true;
        if (entry.kind == WALK_SKIPPED) {
            tally_skip(&session->tally, entry.relative, &err);
        } else {
            tally_fail(&session->tally, entry.relative, &err);
            session_json_failure(session, "path", entry.relative, &err);
        }
        if (client_stopped(session->client)) return false;
    }
}

static ErrCode put_next(void *ctx, void *arg, bool *found, Err *err)
{
    Put *put = ctx;
    Str relative = {NULL, 0};
    *found = false;
    if (put->recursive) {
        if (!next_file(put, &relative)) return OK;
    } else {
        if (put->taken) return OK;
        put->taken = true;
    }
    TRY(make_item(put, arg, relative, err));
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
    for (int i = 0; i < 10; i++)
        count_ahead(put);
    for (size_t i = 0; i < put->item_count; i++) {
        const Item *item = put->items[i];
        if (item->file.fd >= 0) state->bytes += MIN(item->call.moved_bytes, item->size);
    }
    state->total_known = put->counted;
    state->files_total = put->files_total;
    state->bytes_total = put->bytes_total;
}

/* ---- the command ---- */

/* The prefix of keys, terminated by '/' unless empty; or the key of a single file. */
static ErrCode make_prefix(const Put *put, Str key, Buf *out, Err *err)
{
    bool is_folder = key.len == 0 || key.ptr[key.len - 1] == '/';
    TRY(buf_append_str(out, key, err));
    if (put->recursive) return is_folder ? OK : buf_append_str(out, STR("/"), err);
    return is_folder ? buf_append_str(out, path_base_name(str_from_cstr(put->root)), err) : OK;
}

static ErrCode prepare(Put *put, Buf *prefix, Err *err)
{
    Str key;
    LocalType type = LOCAL_FILE;
    const ClientOptions *options = &put->session->options;
    put->root = options->args[0];
    put->recursive = options->recursive;
    TRY(key_split(options->args[1], &put->bucket, &key, err));
    TRY(make_prefix(put, key, prefix, err));
    put->prefix = buf_str(prefix);
    ErrCode code = local_stat(put->root, true, &type, &put->bytes_total, err);
    if (code != OK) return err_wrap(err, code, "%s", put->root);
    if (!put->recursive) {
        put->files_total = 1;
        put->counted = true;
        if (type != LOCAL_DIR) return OK;
        return err_set(err, ERR_USAGE, "%s is a directory; `put -r` sends what is in it",
                       put->root);
    }
    put->bytes_total = 0;
    if (type != LOCAL_DIR) {
        return err_set(err, ERR_USAGE, "%s is no directory; leave -r out", put->root);
    }
    code = walk_open(put->root, &put->walk, err);
    if (code == OK && put->session->progress.shown) {
        code = walk_open(put->root, &put->counter, err);
    }
    return code == OK ? OK : err_wrap(err, code, "%s", put->root);
}

int command_put(int argc, char **argv)
{
    Session session;
    int status = 0;
    Err err = {0};
    if (!session_begin(&session, &spec, argc, argv, &status)) return status;
    AUTO_BUF(prefix, 2 * WALK_PATH_MAX);
    Put put = {.session = &session};
    if (prepare(&put, &prefix, &err) != OK) {
        status = session_fail(&session, (Str){NULL, 0}, &err);
    } else {
        PoolOps ops = {.item_size = sizeof(Item),
                       .answer_max = CLIENT_ANSWER_MAX,
                       .next = put_next,
                       .begin = put_begin,
                       .end = put_end,
                       .done = put_done,
                       .ctx = &put};
        session_run(&session, &ops, put_state);
        status = session_report(&session, "stored", !put.recursive);
    }
    walk_close(put.walk);
    walk_close(put.counter);
    return session_end(&session, status);
}
