/* Access keys: the root key, and a copy in memory of the keys in the system shard, which each
 * request of both doors is held against. What is known is a KeySet that never changes; a change
 * makes another (the engine, when it is committed, before it is answered) and raises a number. A
 * loop keeps the set that it last saw and compares that number for each request: no lock, and no
 * shared memory is written to, unless a key was made or revoked since. A request keeps the set that
 * it began with until it ends.
 *
 * Locks: LOCK_RANK_TABLE, while a set is taken or changed. */
#ifndef HOLDFAST_SERVICE_KEYS_H
#define HOLDFAST_SERVICE_KEYS_H

#include "auth/auth.h"
#include "store/store.h"

#define ACCESS_KEYS_MAX 10000 /* beside the root key */

typedef struct Keys Keys;
typedef struct KeyHold KeyHold;

/* The root key may do everything, is in no store, and cannot be revoked. */
Keys *keys_new(const AccessKey *root);
void keys_free(Keys *keys); /* every view is closed; NULL is fine */

/* ---- the engine's ---- */
/* Reads all of them from the store (committed ones; at start, when the system shard is ready). */
MUST_USE ErrCode keys_load(Keys *keys, StoreReader *reader, Err *err);
/* A committed one; what was known of that id is over. An id or a secret that is none of ours is
 * passed over: nobody can show it. */
void keys_put(Keys *keys, Str id, const KeyRecord *record);
void keys_remove(Keys *keys, Str id); /* unknown is fine */

/* ---- any thread ---- */
/* Are the store's keys known? Until then only the root key is. */
bool keys_loaded(Keys *keys);
size_t keys_count(Keys *keys); /* without the root key */
bool keys_is_root(Keys *keys, Str id);

/* What one loop holds of them; all zero at first, the loop's thread's alone. */
typedef struct {
    KeyHold *now;
} KeyView;
/* The set of this moment, for one request; until key_hold_drop() on the same loop. */
KeyHold *key_view_take(KeyView *view, Keys *keys);
void key_hold_drop(KeyHold *hold); /* NULL is fine */
void key_view_close(KeyView *view);
AuthKeys key_hold_keys(const KeyHold *hold);

/* A key as administrators see it. Views as long as the hold. */
typedef struct {
    const AuthKey *key;
    Str label;
    uint64_t created_ms; /* root: 0 */
    bool is_root;
} KeyInfo;
bool key_hold_find(const KeyHold *hold, Str id, KeyInfo *out);
/* The first whose id is > after (empty: the first); false at the end. */
bool key_hold_next(const KeyHold *hold, Str after, KeyInfo *out);

AUTO_DEFINE(Keys, keys_free);

#endif
