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
    .usage = "get [--version ID] BUCKET/KEY PATH\nget -r BUCKET[/PREFIX] DIRECTORY",
    .text =
        "Fetches a file, or every file below a prefix into a directory, which is made if it is\n"
        "missing. Nothing is ever written outside of it. Content is checked by its SHA-256 and\n"
        "takes its name only when it is whole. A PATH that is a directory takes the file under\n"
        "the last part of its key; the PATH - is standard output.\n"
        "With -r, what is here already with the same SHA-256 is not fetched again, so that a run\n"
        "that was cut off goes on where it was; --force fetches all.\n"
        "Of a file of 16 MiB or more, what came before a run ended is kept beside its place as\n"
        ".holdfast-…, and the same command goes on there, unless the file has changed.",
    .example = "  holdfast get files/2026/report.pdf report.pdf\n"
               "  holdfast get -r files/doc /tmp/doc",
    .options = OPTION_RECURSIVE | OPTION_FORCE | OPTION_CONNECTIONS | OPTION_JSON | OPTION_QUIET |
               OPTION_VERSION,
    .paths = 2,
    .args_min = 2,
    .args_max = 2,
};

const CommandSpec spec_cat = {
    .name = "cat",
    .arguments = "BUCKET/KEY",
    .summary = "writes a file's content to standard output",
    .usage = "cat [--version ID] [--json] BUCKET/KEY",
    .text =
        "Writes a file's content to standard output, as `get BUCKET/KEY -` does. It is checked by\n"
        "its SHA-256 when all of it was written, so look at the exit status. As standard output\n"
        "has the content, the object of --json goes to standard error.",
    .example = "  holdfast cat files/2026/notes.txt | less",
    .options = OPTION_QUIET | OPTION_JSON | OPTION_VERSION,
    .args_min = 1,
    .args_max = 1,
};

#define PART_MIN (16 * MIB)     /* bytes of a file of which a part is kept for a later run … */
#define PART_KEPT_MIN (1 * MIB) /* … if it has so many */
#define READ_STEP (4 * MIB)     /* bytes of a part that are read again, as others wait meanwhile */

/* What the headers of an answer say. */
typedef struct {
    char etag[LOCAL_ETAG_MAX + 1]; /* "": none that can be asked for again */
    bool partial;
    uint64_t from; /* of the content, if partial */
    uint64_t size; /* of the whole content; 0: not told */
} Answer;

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
    uint64_t size;   /* bytes of it that are here, with those of an earlier run or attempt */
    uint64_t kept;   /* of these, an earlier run's */
    uint64_t hashed; /* of these, in hash */
    char etag[LOCAL_ETAG_MAX + 1]; /* of what they are a part of; "": not known */
    char tag[LOCAL_TAG_LEN + 1];   /* by which a later run finds them */
    Buf header;                    /* of the request, terminated */
    Answer answer;
    bool opened;  /* its place was looked at */
    bool started; /* the answer's first byte was taken */
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

static void header_came(void *ctx, Str name, Str value)
{
    Answer *answer = &((Item *)ctx)->answer;
    if (str_eq_nocase(name, STR("etag"))) {
        answer->etag[0] = '\0';
        bool strong = value.len > 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"';
        if (strong &&
            !str_to_cstr(str_slice(value, 1, value.len - 2), answer->etag, sizeof answer->etag)) {
            answer->etag[0] = '\0';
        }
    } else if (str_eq_nocase(name, STR("content-length")) && !answer->partial) {
        if (!str_to_u64(value, INT64_MAX, &answer->size)) answer->size = 0;
    } else if (str_eq_nocase(name, STR("content-range"))) { /* "bytes FROM-TO/SIZE" */
        Str from;
        Str to;
        Str size;
        Str unit = STR("bytes ");
        Str range = str_slice(value, unit.len, value.len);
        answer->partial = str_starts_with(value, unit) && str_split(range, '-', &from, &to) &&
                          str_split(to, '/', &to, &size) &&
                          str_to_u64(from, INT64_MAX, &answer->from) &&
                          str_to_u64(size, INT64_MAX, &answer->size);
    }
}

/* Before the first byte of an answer: does it go on with what is here? */
static ErrCode start(Item *item, Err *err)
{
    const Answer *answer = &item->answer;
    item->started = true;
    if (answer->partial && answer->from != item->size)
        return err_set(err, ERR_PEER, "the server sent another part than was asked for");
    if (!answer->partial && item->size > 0) { /* it is another file by now */
        item->size = item->hashed = item->kept = 0;
        hash_reset(item->hash);
        if (item->file.fd < 0)
            return err_set(err, ERR_END, "a part was written to standard output already");
        TRY(local_new_cut(&item->file, 0, err));
    }
    memcpy(item->etag, answer->etag, sizeof item->etag);
    if (item->file.fd < 0 || answer->size < PART_MIN) return OK;
    return local_new_name_part(&item->file, str_from_cstr(item->tag), str_from_cstr(item->etag),
                               err);
}

static ErrCode take_piece(void *ctx, Str piece, Err *err)
{
    Item *item = ctx;
    if (!item->started) TRY(start(item, err));
    if (item->file.fd >= 0) {
        TRY(local_new_write(&item->file, piece, err));
    } else if (fwrite(piece.ptr, 1, piece.len, stdout) != piece.len) {
        return err_set(err, ERR_IO, "standard output takes no more");
    }
    hash_update(item->hash, piece.ptr, piece.len);
    item->size += piece.len;
    item->hashed = item->size;
    return OK;
}

/* The name of what an earlier run of the same command left. */
static void make_tag(const Get *get, Item *item)
{
    AUTO(HashCtx, hash_free) hash = hash_new(HASH_SHA256);
    const char *version = get->session->options.version;
    Str parts[] = {str_from_cstr(client_url(get->session->client)), get->bucket,
                   buf_str(&item->key), buf_str(&item->path),
                   str_from_cstr(version != NULL ? version : "")};
    uint8_t digest[SHA256_LEN];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        uint64_t len = parts[i].len;
        hash_update(hash, &len, sizeof len);
        hash_update(hash, parts[i].ptr, parts[i].len);
    }
    hash_final(hash, digest);
    hex_encode(digest, LOCAL_TAG_LEN / 2, item->tag);
}

/* Opens its place, with what an earlier run left there. */
static ErrCode open_place(const Get *get, Item *item, Err *err)
{
    Session *session = get->session;
    Str path = buf_str(&item->path);
    if (session->options.recursive) TRY(key_path_check(path, err));
    make_tag(get, item);
    bool small = get->listing != NULL && item->listed_size < PART_MIN;
    if (small || session->options.force) {
        TRY(local_new_open(get->root, path, &session->rng, &item->file, err));
    } else {
        TRY(local_new_resume(get->root, path, str_from_cstr(item->tag), &session->rng, &item->file,
                             &item->size, item->etag, err));
    }
    item->opened = true;
    if (item->size == 0) return OK;
    /* Its last byte is fetched again: of a part that is whole there is nothing else to ask for. */
    item->size--;
    item->kept = item->size;
    return local_new_cut(&item->file, item->size, err);
}

/* Hashes on what an earlier run left. */
static ErrCode read_part(Item *item, PoolVerdict *verdict, Err *err)
{
    uint8_t bytes[64 * KIB];
    for (size_t done = 0; done < READ_STEP && item->hashed < item->size;) {
        size_t len = 0;
        size_t max = (size_t)MIN(item->size - item->hashed, (uint64_t)sizeof bytes);
        TRY(local_new_read(&item->file, item->hashed, bytes, max, &len, err));
        if (len == 0) return err_set(err, ERR_IO, "what was here of it has become shorter");
        hash_update(item->hash, bytes, len);
        item->hashed += len;
        done += len;
    }
    if (item->hashed < item->size) *verdict = POOL_MORE;
    return OK;
}

/* A file of the right size is compared; what else there is the transfer meets. */
static ErrCode compare(const Get *get, Item *item, PoolVerdict *verdict, Err *err)
{
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

static ErrCode get_prepare(void *ctx, void *arg, PoolVerdict *verdict, Err *err)
{
    const Get *get = ctx;
    Item *item = arg;
    TRY(compare(get, item, verdict, err));
    if (*verdict != POOL_SEND || get->to_stdout) return OK;
    if (!item->opened) TRY(open_place(get, item, err));
    return read_part(item, verdict, err);
}

static ErrCode get_begin(void *ctx, void *arg, Err *err)
{
    Get *get = ctx;
    Item *item = arg;
    ClientCall *call = &item->call;
    TRY(remote_version_target(&item->target, get->bucket, buf_str(&item->key),
                              get->session->options.version, err));
    call->header = NULL;
    if (item->size > 0 && item->etag[0] != '\0') {
        /* Of another version by now: all of it; but what was written to a pipe can't be taken back.
         */
        buf_clear(&item->header);
        TRY(buf_printf(&item->header, err, "Range: bytes=%" PRIu64 "-\n%s: \"%s\"", item->size,
                       get->to_stdout ? "If-Match" : "If-Range", item->etag));
        TRY(buf_append_zeros(&item->header, 1, err));
        call->header = (const char *)item->header.data;
    } else if (item->size > 0) {
        if (get->to_stdout)
            return err_set(err, ERR_END, "a part was written to standard output already");
        item->size = item->hashed = item->kept = 0;
        hash_reset(item->hash);
        TRY(local_new_cut(&item->file, 0, err));
    }
    item->answer = (Answer){.size = 0};
    item->started = false;
    call->moved_bytes = 0;
    call->method = "GET";
    call->target = (const char *)item->target.data;
    call->ctx = item;
    call->receive = take_piece;
    call->header_came = header_came;
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
    if (item->kept > 0) json_member_u64(&json, "resumed", item->kept);
    json_write_object_end(&json);
    if (json_writer_end(&json, NULL) == OK)
        fprintf(get->session->json_out, "%.*s\n", STR_ARG(buf_str(&text)));
}

static ErrCode get_end(void *ctx, void *arg, Err *err)
{
    const Get *get = ctx;
    Item *item = arg;
    const ClientCall *call = &item->call;
    Sha256 digest;
    if (!item->started) TRY(start(item, err)); /* an empty one */
    hash_final(item->hash, digest.bytes);
    item->hashed = 0;
    const Sha256 *wanted = call->has_answer_digest ? &call->answer_digest
                           : item->has_wanted      ? &item->wanted
                                                   : NULL;
    /* Without one (a file put together from parts, not read since) length is all there is. */
    if (wanted != NULL && !sha256_eq(wanted, &digest)) {
        item->etag[0] = '\0'; /* nothing of it is gone on with */
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
    local_new_discard(&item->file); /* unless it was committed, or left as a part */
    buf_deinit(&item->header);
    same_deinit(&item->same);
    hash_free(TAKE(item->hash));
    buf_deinit(&item->path);
    buf_deinit(&item->target);
    buf_deinit(&item->key);
}

/* What is here of a file that is not done stays for the next run, if that can go on with it. */
static void leave_part(Session *session, Item *item, const Err *err)
{
    bool again = client_stopped(session->client) || err_info(err->code)->retry;
    if (!again || !item->file.part || item->etag[0] == '\0' || item->size < PART_KEPT_MIN) return;
    tally_begun(&session->tally, item->size);
    local_new_leave(&item->file);
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
        tally_done(&session->tally, item->size, MIN(item->kept, item->size));
    } else if (!client_stopped(session->client)) {
        Str typed = str_from_cstr(session->options.args[0]);
        tally_fail(&session->tally, get->listing == NULL ? typed : buf_str(&item->key), err);
        session_json_failure(session, "key", buf_str(&item->key), err);
    }
    if (err->code != OK) leave_part(session, item, err);
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
    item->kept = 0;
    item->hashed = 0;
    item->etag[0] = '\0';
    item->opened = false;
    item->has_wanted = false;
    buf_init(&item->header, 4 * KIB);
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
    for (size_t i = 0; i < get->item_count; i++) {
        const Item *item = get->items[i];
        state->bytes += item->size - MIN(item->kept, item->size);
        state->bytes_kept += item->kept;
    }
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
    if (get->to_stdout && options->recursive) {
        return err_set(err, ERR_USAGE, "standard output takes one file, without -r");
    }
    if (get->to_stdout) get->session->json_out = stderr; /* the other has the content */
    if (options->recursive && options->version != NULL)
        return err_set(err, ERR_USAGE, "a version is of one file; -r fetches the current ones");
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
