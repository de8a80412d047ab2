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
    bool done;
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

/* The list goes on behind every name that starts with the group. */
static ErrCode move_behind_group(StoreList *list, Err *err)
{
    buf_clear(&list->from);
    TRY(buf_append_str(&list->from, buf_str(&list->group), err));
    uint8_t *last = &list->from.data[list->from.len - 1];
    ASSERT(*last < 0xff); /* the delimiter is ASCII */
    (*last)++;
    if (list->cursor == NULL) return OK;
    uint8_t key[ROW_KEY_MAX];
    size_t len = row_key_bucket_prefix(key, list->bucket, buf_str(&list->from));
    list->index_ahead = false;
    return list->index_done ? OK : index_seek(list->cursor, str_of(key, len), err);
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
    if (options->prefix.len > KEY_MAX || options->after.len > KEY_MAX) {
        return err_set(err, ERR_KEY_TOO_LONG, "prefix or after is longer than %d bytes", KEY_MAX);
    }
    if ((unsigned char)options->delimiter > 0x7f) {
        return err_set(err, ERR_INVALID, "a delimiter is one ASCII character");
    }
    TRY(buf_append_str(&list->prefix, options->prefix, err));
    Str after = options->after;
    if (after.len > 0 && group_len(list, after) == after.len) {
        /* A page that ended with a rolled-up prefix: behind all names under it. */
        TRY(buf_append_str(&list->group, after, err));
        TRY(move_behind_group(list, err));
    } else if (after.len > 0 && str_cmp(after, options->prefix) >= 0) {
        TRY(buf_append_str(&list->from, after, err));
        /* No name lies between `after` and `after` 0x01, for names have no NUL. */
        TRY(buf_append(&list->from, "\x01", 1, err));
    } else {
        TRY(buf_append_str(&list->from, options->prefix, err));
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

ErrCode store_list_next(StoreList *list, StoreFound *file, bool *is_prefix, bool *found, Err *err)
{
    AUTO_BUF(name, KEY_MAX);
    while (!list->done) {
        bool there = false;
        bool outrun = false;
        buf_clear(&name);
        TRY(next_name(list, &name, &there, &outrun, err));
        if (outrun) {
            TRY(open_cursor(list, err));
            continue;
        }
        if (!there || !str_starts_with(buf_str(&name), buf_str(&list->prefix))) break;
        StoreFound result;
        bool alive = false;
        TRY(store_find_name(list->reader, list->bucket, buf_str(&name), NULL, STORE_COMMITTED,
                            &result, &alive, err));
        TRY(move_behind(list, buf_str(&name), err));
        if (!alive) continue;
        size_t group = group_len(list, result.key);
        *is_prefix = group > 0;
        if (group > 0) {
            buf_clear(&list->group);
            TRY(buf_append_str(&list->group, str_slice(result.key, 0, group), err));
            TRY(move_behind_group(list, err));
            result.key = buf_str(&list->group);
        }
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
    StoreListOptions options = {.bucket = bucket};
    AUTO(StoreList, store_list_close) list = NULL;
    TRY(store_list_open(reader, &options, &list, err));
    StoreFound file;
    bool is_prefix = false;
    bool any = false;
    TRY(store_list_next(list, &file, &is_prefix, &any, err));
    *empty = !any && !table_bucket_busy(reader->store->table, bucket);
    return OK;
}
