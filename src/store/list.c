/* Listing: index cursor and table merged in name order.
 *
 * The cursor is one snapshot of the index. A record that the applier moved from table to index
 * after that snapshot would be in neither, so the applier raises apply_generation between its index
 * commit and the removal; a list that sees another generation than at its cursor's opening opens it
 * again. */
#include <string.h>

#include "store/store_priv.h"

#define SKIP_STEPS 8 /* older versions stepped over before a seek */

struct StoreList {
    StoreReader *reader;
    BucketUid bucket;
    char delimiter;
    Buf prefix;
    Buf from;            /* names ≥ this come next */
    Buf group;           /* of the rolled-up prefix last given */
    IndexCursor *cursor; /* NULL: to be opened at from */
    uint64_t generation;
    bool index_done;
    bool index_ahead; /* index_name holds the cursor's next name */
    Buf index_name;
    const Str *only; /* names that begin with one of these; count 0: all */
    size_t only_count;
    bool done;
    bool versions;  /* all of them are given … */
    bool over;      /* … even those whose time is over */
    bool in_name;   /* the next is of `name`, older than `last` */
    bool told_name; /* the newest of `name` was given, or is not to be told apart */
    Buf name;
    VersionId last;
};

/* The list goes on behind key. */
static ErrCode move_behind(StoreList *list, Str key, Err *err)
{
    buf_clear(&list->from);
    TRY(buf_append_str(&list->from, key, err));
    return buf_append(&list->from, "\x01", 1, err);
}

/* Length of the rolled-up prefix that key falls under; 0: none. */
static size_t group_len(const StoreList *list, Str key)
{
    if (list->delimiter == 0 || !str_starts_with(key, buf_str(&list->prefix))) return 0;
    Str rest = str_slice(key, list->prefix.len, key.len);
    size_t at = str_find_char(rest, list->delimiter);
    return at == rest.len ? 0 : list->prefix.len + at + 1;
}

/* The cursor goes where the list does, which may be far. */
static ErrCode seek_from(StoreList *list, Err *err)
{
    if (list->cursor == NULL) return OK;
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_bucket_prefix(key, list->bucket, buf_str(&list->from));
    list->index_ahead = false;
    return list->index_done ? OK : index_seek(list->cursor, str_of(key, len), err);
}

/* The list goes on behind every name that starts with the group. */
static ErrCode move_behind_group(StoreList *list, Err *err)
{
    buf_clear(&list->from);
    TRY(buf_append_str(&list->from, buf_str(&list->group), err));
    uint8_t *last = &list->from.data[list->from.len - 1];
    ASSERT(*last < 0xff); /* the delimiter is ASCII */
    (*last)++;
    return seek_from(list, err);
}

/* May name be given? If not, *next is where names may be again; its ptr NULL: nowhere. */
static bool is_shown(const StoreList *list, Str name, Str *next)
{
    *next = (Str){NULL, 0};
    if (list->only_count == 0) return true;
    for (size_t i = list->only_count; i-- > 0;) {
        if (str_starts_with(name, list->only[i])) return true;
        if (str_cmp(list->only[i], name) < 0) break; /* so are all before */
        *next = list->only[i];
    }
    return false;
}

static ErrCode move_to(StoreList *list, Str next, Err *err)
{
    buf_clear(&list->from);
    TRY(buf_append_str(&list->from, next, err));
    return seek_from(list, err);
}

ErrCode store_list_open(StoreReader *reader, const StoreListOptions *options, StoreList **out,
                        Err *err)
{
    AUTO(StoreList, store_list_close) list = mem_new(sizeof *list);
    list->reader = reader;
    list->bucket = options->bucket;
    list->delimiter = options->delimiter;
    buf_init(&list->prefix, KEY_MAX);
    buf_init(&list->from, KEY_MAX + 1);
    buf_init(&list->group, KEY_MAX);
    buf_init(&list->index_name, KEY_MAX);
    buf_init(&list->name, KEY_MAX);
    list->only = options->only;
    list->only_count = options->only_count;
    list->versions = options->versions;
    list->over = options->over;
    if (options->prefix.len > KEY_MAX || options->after.len > KEY_MAX) {
        return err_set(err, ERR_KEY_TOO_LONG, "prefix or after is longer than %d bytes", KEY_MAX);
    }
    if ((unsigned char)options->delimiter > 0x7f) {
        return err_set(err, ERR_INVALID, "a delimiter is one ASCII character");
    }
    TRY(buf_append_str(&list->prefix, options->prefix, err));
    Str after = options->after;
    size_t group = group_len(list, after);
    if (group > 0) {
        /* A page that ended with a rolled-up prefix, or a place within one, as S3 has it: behind
         * all names under it. */
        TRY(buf_append_str(&list->group, str_slice(after, 0, group), err));
        TRY(move_behind_group(list, err));
    } else if (after.len > 0 && str_cmp(after, options->prefix) >= 0) {
        TRY(buf_append_str(&list->from, after, err));
        /* No name lies between `after` and `after` 0x01, for names have no NUL. */
        TRY(buf_append(&list->from, "\x01", 1, err));
    } else {
        TRY(buf_append_str(&list->from, options->prefix, err));
    }
    Str next;
    if (options->versions && options->after_version.lsn != 0 && key_valid(after) &&
        is_shown(list, after, &next) && str_starts_with(after, options->prefix) &&
        group_len(list, after) == 0) {
        TRY(buf_append_str(&list->name, after, err));
        list->last = options->after_version;
        list->in_name = true;
    }
    *out = TAKE(list);
    return OK;
}

void store_list_close(StoreList *list)
{
    if (list == NULL) return;
    index_cursor_close(list->cursor);
    buf_deinit(&list->prefix);
    buf_deinit(&list->from);
    buf_deinit(&list->group);
    buf_deinit(&list->index_name);
    buf_deinit(&list->name);
    mem_free(list);
}

static ErrCode open_cursor(StoreList *list, Err *err)
{
    index_cursor_close(list->cursor);
    list->cursor = NULL;
    list->index_done = false;
    list->index_ahead = false;
    list->generation = atomic_load(&list->reader->store->apply_generation);
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_bucket_prefix(key, list->bucket, buf_str(&list->from));
    return index_scan(list->reader->scan, str_of(key, len), &list->cursor, err);
}

/* Brings the cursor to the first name ≥ from and that name into index_name. */
static ErrCode index_name(StoreList *list, Err *err)
{
    if (list->index_ahead && str_cmp(buf_str(&list->index_name), buf_str(&list->from)) >= 0) {
        return OK;
    }
    list->index_ahead = false;
    uint8_t end[ROW_KEY_MAX];
    size_t end_len = row_key_bucket_prefix(end, list->bucket, (Str){NULL, 0});
    for (int steps = 0; !list->index_done; steps++) {
        Str row_key = {NULL, 0};
        Str value = {NULL, 0};
        bool found = false;
        if (steps == SKIP_STEPS) {
            uint8_t from[ROW_KEY_MAX];
            size_t len = row_key_bucket_prefix(from, list->bucket, buf_str(&list->from));
            TRY(index_seek(list->cursor, str_of(from, len), err));
        }
        TRY(index_next(list->cursor, &row_key, &value, &found, err));
        if (!found || !str_starts_with(row_key, str_of(end, end_len))) {
            list->index_done = true;
            return OK;
        }
        BucketUid bucket;
        Str key;
        VersionId version;
        if (!row_key_name_parse(row_key, &bucket, &key, &version)) {
            return err_set(err, ERR_CORRUPT, "index.db: the key of a file's row is malformed");
        }
        if (str_cmp(key, buf_str(&list->from)) < 0) continue;
        buf_clear(&list->index_name);
        TRY(buf_append_str(&list->index_name, key, err));
        list->index_ahead = true;
        return OK;
    }
    return OK;
}

/* The next candidate name of table and index, into out; false: the list was outrun, begin again. */
static ErrCode next_name(StoreList *list, Buf *out, bool *found, bool *outrun, Err *err)
{
    *found = false;
    *outrun = false;
    if (list->cursor == NULL) TRY(open_cursor(list, err));
    TRY(index_name(list, err));
    if (list->index_ahead) {
        TRY(buf_append_str(out, buf_str(&list->index_name), err));
        *found = true;
    }
    Store *store = list->reader->store;
    ErrCode code = OK;
    table_read_lock(store->table);
    if (atomic_load(&store->apply_generation) != list->generation) {
        *outrun = true;
    } else {
        Str key = {NULL, 0};
        const Record *record = table_next_name(store->table, list->bucket, buf_str(&list->from),
                                               true, true, &key);
        if (record != NULL && (!*found || str_cmp(key, buf_str(out)) < 0)) {
            buf_clear(out);
            code = buf_append_str(out, key, err);
            *found = true;
        }
    }
    table_unlock(store->table);
    return code;
}

static bool is_over(const StoreList *list, const StoreFound *file)
{
    return !list->over && store_is_over(list->reader->store, &file->row);
}

/* The next version of the name in hand; *found false: it is over, or there is none. */
static ErrCode next_version(StoreList *list, StoreFound *file, bool *found, Err *err)
{
    Str name = buf_str(&list->name);
    StoreFound newest = {.latest = false};
    bool any = false;
    if (!list->told_name) { /* the one that the list goes on behind may be gone since */
        TRY(store_look(list->reader, list->bucket, name, STORE_NEWEST, list->last, STORE_COMMITTED,
                       &newest, &any, err));
    }
    TRY(store_look(list->reader, list->bucket, name, STORE_OLDER, list->last, STORE_COMMITTED, file,
                   found, err));
    if (*found) {
        file->latest = any && version_id_cmp(newest.row.version, file->row.version) == 0;
        list->last = file->row.version;
    }
    list->told_name = true;
    list->in_name = *found;
    *found = *found && !is_over(list, file);
    return OK;
}

/* Versions older than file, of the same name, come next. */
static ErrCode go_into(StoreList *list, const StoreFound *file, Err *err)
{
    buf_clear(&list->name);
    TRY(buf_append_str(&list->name, file->key, err));
    list->last = file->row.version;
    list->in_name = true;
    list->told_name = true;
    return OK;
}

/* What is to be given of name: its current version, or its newest. */
static ErrCode look_at_name(StoreList *list, Str name, StoreFound *file, bool *found, Err *err)
{
    if (!list->versions) {
        return store_find(list->reader, list->bucket, name, NULL, STORE_COMMITTED, file, found,
                          err);
    }
    TRY(store_look(list->reader, list->bucket, name, STORE_NEWEST, (VersionId){0}, STORE_COMMITTED,
                   file, found, err));
    file->latest = true;
    if (!*found || !is_over(list, file)) return OK;
    *found = false;
    return go_into(list, file, err);
}

/* name gives file: goes behind it, or behind all that is rolled up with it. */
static ErrCode roll_up(StoreList *list, StoreFound *file, bool *is_prefix, Err *err)
{
    size_t group = group_len(list, file->key);
    *is_prefix = group > 0;
    if (group > 0) {
        buf_clear(&list->group);
        TRY(buf_append_str(&list->group, str_slice(file->key, 0, group), err));
        TRY(move_behind_group(list, err));
        file->key = buf_str(&list->group);
        return OK;
    }
    return list->versions ? go_into(list, file, err) : OK;
}

ErrCode store_list_next(StoreList *list, StoreFound *file, bool *is_prefix, bool *found, Err *err)
{
    AUTO_BUF(name, KEY_MAX);
    *is_prefix = false;
    while (!list->done) {
        bool there = false;
        bool outrun = false;
        if (list->in_name) {
            TRY(next_version(list, file, found, err));
            if (*found) return OK;
            continue;
        }
        buf_clear(&name);
        TRY(next_name(list, &name, &there, &outrun, err));
        if (outrun) {
            TRY(open_cursor(list, err));
            continue;
        }
        if (!there || !str_starts_with(buf_str(&name), buf_str(&list->prefix))) break;
        Str next;
        if (!is_shown(list, buf_str(&name), &next)) {
            if (next.ptr == NULL) break;
            TRY(move_to(list, next, err));
            continue;
        }
        StoreFound result;
        bool alive = false;
        TRY(look_at_name(list, buf_str(&name), &result, &alive, err));
        TRY(move_behind(list, buf_str(&name), err));
        if (!alive) continue;
        TRY(roll_up(list, &result, is_prefix, err));
        *file = result;
        *found = true;
        return OK;
    }
    list->done = true;
    *found = false;
    return OK;
}

ErrCode store_bucket_empty(StoreReader *reader, BucketUid bucket, bool *empty, Err *err)
{
    StoreListOptions options = {.bucket = bucket, .versions = true, .over = true};
    AUTO(StoreList, store_list_close) list = NULL;
    TRY(store_list_open(reader, &options, &list, err));
    StoreFound file;
    bool is_prefix = false;
    bool any = false;
    TRY(store_list_next(list, &file, &is_prefix, &any, err));
    *empty = !any && !table_bucket_busy(reader->store->table, bucket);
    return OK;
}
