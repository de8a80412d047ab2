#include "service/keys.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"

/* What a key's grants and label point to. Shared by the sets that hold the key. */
typedef struct {
    _Atomic unsigned refs;
    uint64_t created_ms;
    Str label;
    AuthGrant grants[KEY_GRANTS_MAX];
    char texts[];
} KeyText;

typedef struct {
    _Atomic unsigned refs;
    size_t count;
    AuthKey *keys;   /* in the order of their ids */
    KeyText **texts; /* of each; NULL: the root key's */
} KeySet;

struct KeyHold {
    KeySet *set;
    uint64_t generation;
    size_t users; /* requests, and the view whose newest it is */
};

struct Keys {
    RwLock lock;
    KeySet *set;
    _Atomic uint64_t generation;
    _Atomic bool loaded;
    char root_id[KEY_ID_LEN + 1];
};

/* --- sets --- */

static KeySet *set_new(size_t count)
{
    KeySet *set = mem_new(sizeof *set);
    atomic_store(&set->refs, 1);
    set->keys = mem_new_array(MAX(count, (size_t)1), sizeof *set->keys);
    set->texts = mem_new_array(MAX(count, (size_t)1), sizeof(KeyText *));
    return set;
}

static void text_unref(KeyText *text)
{
    if (text != NULL && atomic_fetch_sub(&text->refs, 1) == 1) mem_free(text);
}

static void set_unref(KeySet *set)
{
    if (set == NULL || atomic_fetch_sub(&set->refs, 1) > 1) return;
    for (size_t i = 0; i < set->count; i++) {
        key_wipe(&set->keys[i].key);
        text_unref(set->texts[i]);
    }
    mem_free(set->keys);
    mem_free(set->texts);
    mem_free(set);
}

/* Where id is, or would be. */
static size_t set_find(const KeySet *set, Str id, bool *there)
{
    size_t low = 0;
    size_t high = set->count;
    *there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(str_from_cstr(set->keys[middle].key.id), id);
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
            *there = *there || order == 0;
        }
    }
    return low;
}

/* Takes over text. */
static void set_add(KeySet *set, const AuthKey *key, KeyText *text)
{
    set->keys[set->count] = *key;
    set->texts[set->count++] = text;
}

static void set_add_shared(KeySet *set, const KeySet *from, size_t at)
{
    if (from->texts[at] != NULL) atomic_fetch_add(&from->texts[at]->refs, 1);
    set_add(set, &from->keys[at], from->texts[at]);
}

static Str put_text(char **at, Str text)
{
    Str copy = str_of(*at, text.len);
    if (text.len > 0) memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

static KeyText *text_of(const KeyRecord *record)
{
    size_t len = record->label.len;
    for (size_t i = 0; i < record->grant_count; i++)
        len += record->grants[i].bucket.len + record->grants[i].prefix.len;
    KeyText *text = mem_new(sizeof *text + len);
    char *at = text->texts;
    atomic_store(&text->refs, 1);
    text->created_ms = record->created_ms;
    text->label = put_text(&at, record->label);
    for (size_t i = 0; i < record->grant_count; i++) {
        const KeyGrant *grant = &record->grants[i];
        text->grants[i].rights = auth_rights_of(grant->rights);
        text->grants[i].bucket = put_text(&at, grant->bucket);
        text->grants[i].prefix = put_text(&at, grant->prefix);
    }
    return text;
}

/* False: no request can show such an id with such a secret. */
static bool key_of(Str id, const KeyRecord *record, AuthKey *key, KeyText **text)
{
    *key = (AuthKey){.expires_ms = record->expires_ms, .grant_count = record->grant_count};
    if (id.len != KEY_ID_LEN || record->secret.len != KEY_SECRET_LEN) return false;
    if (!str_to_cstr(id, key->key.id, sizeof key->key.id) ||
        !str_to_cstr(record->secret, key->key.secret, sizeof key->key.secret) ||
        !str_to_cstr(id, key->name, sizeof key->name))
        return false;
    *text = text_of(record);
    key->grants = (*text)->grants;
    for (size_t i = 0; i < record->grant_count; i++) {
        const AuthGrant *grant = &key->grants[i];
        if (str_eq(grant->bucket, STR("*")) && grant->prefix.len == 0) key->rights |= grant->rights;
    }
    return true;
}

/* --- life --- */

Keys *keys_new(const AccessKey *root)
{
    Keys *keys = mem_new(sizeof *keys);
    AuthKey key = {.key = *root, .name = "root", .rights = RIGHTS_ALL};
    rwlock_init(&keys->lock, LOCK_RANK_TABLE);
    memcpy(keys->root_id, root->id, sizeof keys->root_id);
    keys->set = set_new(1);
    set_add(keys->set, &key, NULL);
    key_wipe(&key.key);
    atomic_store(&keys->generation, 1);
    return keys;
}

void keys_free(Keys *keys)
{
    if (keys == NULL) return;
    set_unref(keys->set);
    rwlock_deinit(&keys->lock);
    mem_free(keys);
}

/* --- changes --- */

/* set is what is known from now on. */
static void publish(Keys *keys, KeySet *set)
{
    rwlock_write(&keys->lock);
    KeySet *old = keys->set;
    keys->set = set;
    atomic_fetch_add_explicit(&keys->generation, 1, memory_order_release);
    rwlock_give(&keys->lock);
    set_unref(old);
}

/* A set without id, or with key in its place. */
static void replace(Keys *keys, Str id, const AuthKey *key, KeyText *text)
{
    bool there = false;
    const KeySet *old = keys->set; /* changed by this thread only */
    size_t at = set_find(old, id, &there);
    KeySet *set = set_new(old->count + 1);
    for (size_t i = 0; i < at; i++)
        set_add_shared(set, old, i);
    if (key != NULL) set_add(set, key, text);
    for (size_t i = at + there; i < old->count; i++)
        set_add_shared(set, old, i);
    publish(keys, set);
}

void keys_put(Keys *keys, Str id, const KeyRecord *record)
{
    AuthKey key;
    KeyText *text = NULL;
    if (keys_is_root(keys, id) || !key_of(id, record, &key, &text)) return;
    replace(keys, id, &key, text);
    key_wipe(&key.key);
}

void keys_remove(Keys *keys, Str id)
{
    if (!keys_is_root(keys, id)) replace(keys, id, NULL, NULL);
}

/* In the order of their ids, which is that of the names: the store gives them so. */
static ErrCode load_one(Keys *keys, KeySet **set, size_t *room, const StoreFound *file, Err *err)
{
    Str value;
    KeyRecord record;
    AuthKey key;
    KeyText *text = NULL;
    if (!attr_get(file->row.attrs, ATTR_IDENTITY_RECORD, &value))
        return err_set(err, ERR_CORRUPT, "%.*s has no record of a key", STR_ARG(file->key));
    TRY(key_record_decode(value, &record, err));
    Str id = str_slice(file->key, sizeof KEY_RECORD_PREFIX - 1, file->key.len);
    if (keys_is_root(keys, id) || !key_of(id, &record, &key, &text)) return OK;
    if ((*set)->count == *room) {
        *room *= 2;
        (*set)->keys = mem_resize((*set)->keys, *room * sizeof *(*set)->keys);
        (*set)->texts = mem_resize((*set)->texts, *room * sizeof(KeyText *));
    }
    set_add(*set, &key, text);
    key_wipe(&key.key);
    return OK;
}

static ErrCode load_all(Keys *keys, StoreReader *reader, KeySet **set, Err *err)
{
    StoreListOptions options = {.bucket = BUCKET_UID_SYSTEM, .prefix = STR(KEY_RECORD_PREFIX)};
    AUTO(StoreList, store_list_close) list = NULL;
    size_t room = 16;
    TRY(store_list_open(reader, &options, &list, err));
    for (;;) {
        StoreFound file;
        bool is_prefix = false;
        bool found = false;
        TRY(store_list_next(list, &file, &is_prefix, &found, err));
        if (!found) return OK;
        TRY(load_one(keys, set, &room, &file, err));
    }
}

ErrCode keys_load(Keys *keys, StoreReader *reader, Err *err)
{
    KeySet *loaded = set_new(16);
    ErrCode code = load_all(keys, reader, &loaded, err);
    if (code == OK) {
        bool there = false;
        const KeySet *old = keys->set;
        size_t root = set_find(old, str_from_cstr(keys->root_id), &there);
        size_t at = set_find(loaded, str_from_cstr(keys->root_id), &there);
        KeySet *set = set_new(loaded->count + 1);
        for (size_t i = 0; i < at; i++)
            set_add_shared(set, loaded, i);
        set_add_shared(set, old, root);
        for (size_t i = at; i < loaded->count; i++)
            set_add_shared(set, loaded, i);
        publish(keys, set);
        atomic_store_explicit(&keys->loaded, true, memory_order_release);
    }
    set_unref(loaded);
    return code;
}

/* --- reading --- */

bool keys_loaded(Keys *keys)
{
    return atomic_load_explicit(&keys->loaded, memory_order_acquire);
}

size_t keys_count(Keys *keys)
{
    rwlock_read(&keys->lock);
    size_t count = keys->set->count - 1;
    rwlock_give(&keys->lock);
    return count;
}

bool keys_is_root(Keys *keys, Str id)
{
    return str_eq(id, str_from_cstr(keys->root_id));
}

static KeyHold *hold_new(Keys *keys)
{
    KeyHold *hold = mem_new(sizeof *hold);
    rwlock_read(&keys->lock);
    hold->set = keys->set;
    hold->generation = atomic_load_explicit(&keys->generation, memory_order_relaxed);
    atomic_fetch_add(&hold->set->refs, 1);
    rwlock_give(&keys->lock);
    hold->users = 1;
    return hold;
}

KeyHold *key_view_take(KeyView *view, Keys *keys)
{
    uint64_t now = atomic_load_explicit(&keys->generation, memory_order_acquire);
    if (view->now == NULL || view->now->generation != now) {
        key_hold_drop(view->now);
        view->now = hold_new(keys);
    }
    view->now->users++;
    return view->now;
}

void key_hold_drop(KeyHold *hold)
{
    if (hold == NULL) return;
    ASSERT(hold->users > 0);
    if (--hold->users > 0) return;
    set_unref(hold->set);
    mem_free(hold);
}

void key_view_close(KeyView *view)
{
    key_hold_drop(TAKE(view->now));
}

AuthKeys key_hold_keys(const KeyHold *hold)
{
    return (AuthKeys){.keys = hold->set->keys, .count = hold->set->count};
}

static void info_of(const KeySet *set, size_t at, KeyInfo *out)
{
    const KeyText *text = set->texts[at];
    *out = (KeyInfo){.key = &set->keys[at],
                     .label = text == NULL ? STR("root") : text->label,
                     .created_ms = text == NULL ? 0 : text->created_ms,
                     .is_root = text == NULL};
}

bool key_hold_find(const KeyHold *hold, Str id, KeyInfo *out)
{
    bool there = false;
    size_t at = set_find(hold->set, id, &there);
    if (there) info_of(hold->set, at, out);
    return there;
}

bool key_hold_next(const KeyHold *hold, Str after, KeyInfo *out)
{
    bool there = false;
    size_t at = set_find(hold->set, after, &there) + there;
    if (at >= hold->set->count) return false;
    info_of(hold->set, at, out);
    return true;
}
