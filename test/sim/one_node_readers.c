#include "one_node_readers.h"

#include <inttypes.h>
#include <string.h>

void readers_init(Readers *readers, Model *model, NodeKit *kit)
{
    memset(readers, 0, sizeof *readers);
    readers->model = model;
    readers->kit = kit;
    buf_init(&readers->last, KEY_MAX);
}

void readers_open(Readers *readers)
{
    Err err = {0};
    ErrCode code = store_reader_open(readers->kit->store, &readers->finder, &err);
    if (code == OK) code = store_reader_open(readers->kit->store, &readers->lister, &err);
    if (code != OK) model_fail(readers->model, "open a reader: %s", err_text(&err));
}

void readers_close(Readers *readers)
{
    store_list_close(TAKE(readers->list));
    store_reader_free(TAKE(readers->finder));
    store_reader_free(TAKE(readers->lister));
    buf_deinit(&readers->last);
    readers->holds = false;
}

void readers_note(Readers *readers)
{
    for (unsigned k = 0; k < MODEL_SLOTS && readers->list != NULL; k++) {
        bool there = readers->model->values[readers->list_bucket][k] != 0;
        readers->always[k] = readers->always[k] && there;
        readers->ever[k] = readers->ever[k] || there;
    }
}

/* --- what was found, read later --- */

static void look_up(Readers *r)
{
    BucketRecord record;
    Err err = {0};
    Str name = model_key_name(r->model, r->bucket, r->key);
    bool there = false;
    r->holds = false;
    if (name.len == 0) return;
    r->value = r->model->values[r->bucket][r->key];
    r->moment = history_now(r->model->history);
    if (buckets_find(r->kit->buckets, model_bucket_name(r->bucket), &record)) {
        ErrCode code = store_find(r->finder, record.uid, name, NULL, STORE_COMMITTED, &r->found,
                                  &there, &err);
        if (model_excuses(r->model, code)) return;
        if (code != OK) model_fail(r->model, "find %.*s: %s", STR_ARG(name), err_text(&err));
    }
    if (there != (r->value != 0)) {
        model_fail(r->model, "find: %.*s is %s", STR_ARG(name), there ? "there" : "not there");
    }
    r->holds = there;
}

static ErrCode read_held(Readers *r)
{
    Err err = {0};
    AUTO_BUF(got, MIB);
    ErrCode code = node_kit_read(r->kit, r->finder, &r->found, &got, &err);
    r->holds = false;
    if (code == ERR_NOT_FOUND || model_excuses(r->model, code)) return code;
    if (code != OK) {
        model_fail(r->model, "read what was found: %s: %s", err_info(code)->name, err_text(&err));
    } else if (model_value_of(&got) != r->value) {
        model_fail(r->model, "read what was found: the body of another value");
    } else {
        model_saw(r->model, r->bucket, r->key, r->value, r->moment);
    }
    return code;
}

uint64_t readers_find(Readers *r, Rng *rng)
{
    if (!r->holds) {
        r->bucket = (unsigned)rng_below(rng, MODEL_BUCKETS);
        r->key = (unsigned)rng_below(rng, MODEL_SLOTS);
        look_up(r);
        return r->holds ? r->value : 0;
    }
    ErrCode code = read_held(r);
    if (code != ERR_NOT_FOUND) return r->value;
    look_up(r); /* it moved: found again it must be there, for nothing happens in between */
    if (r->holds && read_held(r) == ERR_NOT_FOUND) {
        model_fail(r->model, "a file that was just found has no body");
    }
    return r->value;
}

/* --- a list, one entry at a time --- */

static void list_open(Readers *r)
{
    Err err = {0};
    r->options.after = buf_str(&r->last);
    ErrCode code = store_list_open(r->lister, &r->options, &r->list, &err);
    if (code != OK && !model_excuses(r->model, code))
        model_fail(r->model, "list: %s", err_text(&err));
}

static void list_begin(Readers *r, Rng *rng)
{
    static const char *const prefixes[] = {"", "", "a", "a/", "dir/", "dir", "l"};
    BucketRecord record;
    r->list_bucket = (unsigned)rng_below(rng, MODEL_BUCKETS);
    r->options = (StoreListOptions){
        .prefix = str_from_cstr(prefixes[rng_below(rng, ARRAY_LEN(prefixes))]),
        .delimiter = rng_below(rng, 2) == 0 ? '/' : 0};
    buf_clear(&r->last);
    if (!buckets_find(r->kit->buckets, model_bucket_name(r->list_bucket), &record)) return;
    r->options.bucket = record.uid;
    r->list_moment = history_now(r->model->history);
    for (unsigned k = 0; k < MODEL_SLOTS; k++) {
        r->always[k] = r->model->values[r->list_bucket][k] != 0;
        r->ever[k] = r->always[k];
        r->seen[k] = false;
    }
    list_open(r);
}

/* The list shows each key as it was at some instant since it began. */
static void note_entry(Readers *r, const StoreFound *file)
{
    unsigned k = model_slot(r->model, r->list_bucket, file->key);
    ValueId value = model_value_of_digest(r->model, &file->row.digest);
    if (k == MODEL_SLOTS) return; /* which is failed already */
    if (value == 0) model_fail(r->model, "list: %.*s has a strange digest", STR_ARG(file->key));
    model_saw(r->model, r->list_bucket, k, value, r->list_moment);
}

/* Is key what an entry stands for? */
static bool stands_for(Str entry, bool is_prefix, Str key)
{
    return is_prefix ? str_starts_with(key, entry) : str_eq(key, entry);
}

static void check_entry(Readers *r, Str entry, bool is_prefix)
{
    Model *model = r->model;
    Str rest = str_slice(entry, MIN(r->options.prefix.len, entry.len), entry.len);
    bool right = str_starts_with(entry, r->options.prefix);
    if (r->options.delimiter != 0) {
        size_t at = str_find_char(rest, r->options.delimiter);
        right = right && (is_prefix ? at + 1 == rest.len : at == rest.len);
    } else {
        right = right && !is_prefix;
    }
    if (!right) model_fail(model, "list: %.*s does not belong to it", STR_ARG(entry));
    if (r->last.len > 0 && str_cmp(entry, buf_str(&r->last)) <= 0)
        model_fail(model, "list: %.*s out of order", STR_ARG(entry));
    bool ever = false;
    for (unsigned k = 0; k < MODEL_SLOTS; k++) {
        Str key = model_key_name(model, r->list_bucket, k);
        if (key.len == 0 || !stands_for(entry, is_prefix, key)) continue;
        r->seen[k] = true;
        ever = ever || r->ever[k];
    }
    if (!ever) model_fail(model, "list: %.*s never was there", STR_ARG(entry));
}

static void check_end(Readers *r)
{
    for (unsigned k = 0; k < MODEL_SLOTS; k++) {
        Str key = model_key_name(r->model, r->list_bucket, k);
        if (key.len == 0 || r->seen[k] || !str_starts_with(key, r->options.prefix)) continue;
        model_saw(r->model, r->list_bucket, k, 0, r->list_moment);
        if (!r->always[k]) continue;
        model_fail(r->model, "list: %.*s was always there and is not listed", STR_ARG(key));
    }
    store_list_close(TAKE(r->list));
}

uint64_t readers_list(Readers *r, Rng *rng)
{
    Err err = {0};
    StoreFound file;
    bool is_prefix = false;
    bool found = false;
    if (r->list == NULL) {
        list_begin(r, rng);
        return r->list_bucket;
    }
    ErrCode code = store_list_next(r->list, &file, &is_prefix, &found, &err);
    if (model_excuses(r->model, code)) {
        store_list_close(TAKE(r->list));
        return 0;
    }
    if (code != OK) {
        model_fail(r->model, "list: %s: %s", err_info(code)->name, err_text(&err));
        return 0;
    }
    if (!found) {
        check_end(r);
        return 0;
    }
    check_entry(r, file.key, is_prefix);
    if (!is_prefix) note_entry(r, &file);
    buf_clear(&r->last);
    code = buf_append_str(&r->last, file.key, &err);
    ASSERT(code == OK);           /* an entry is at most KEY_MAX bytes */
    if (rng_below(rng, 4) == 0) { /* the page ends; the next goes on behind it */
        store_list_close(TAKE(r->list));
        list_open(r);
    }
    return r->last.len;
}
